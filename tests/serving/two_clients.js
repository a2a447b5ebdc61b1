// Two stock clients of Socket.IO, one as it comes (polling, then an upgrade) and one of WebSockets alone. Both listen while
// events are published, are sent away by the server, come back by themselves, and listen again. Prints what each has seen, and
// its transports: the first and the last one of each connection.
const { io } = require("socket.io-client");
const base = process.argv[2];
const post = (path, body = {}) => fetch(base + path, { method: "POST", body: JSON.stringify(body) }).then((answer) => answer.text());

function client(name, options) {
  const seen = { name, numbers: [], transports: [], reasons: [], byes: [], connects: 0 };
  const socket = io(base, { reconnectionDelay: 50, reconnectionDelayMax: 100, ...options });
  const listening = () => new Promise((resolve) => (seen.listening = resolve));
  seen.ready = listening();
  const transport = () => seen.transports.push(socket.io.engine.transport.name);
  socket.io.on("open", transport);
  socket.on("bye", transport);
  socket.on("connect", () => {
    seen.connects += 1;
    socket.emit("listen", () => seen.listening());
  });
  socket.on("disconnect", (reason) => {
    seen.reasons.push(reason);
    seen.ready = listening();
  });
  socket.on("tick", ({ number }) => seen.numbers.push(number));
  socket.on("bye", ({ reason }) => seen.byes.push(reason));
  seen.socket = socket;
  return seen;
}

const until = async (isSo) => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
};

(async () => {
  const clients = [client("default", {}), client("websocket", { transports: ["websocket"] })];
  for (let round = 1; round <= 2; round += 1) {
    await until(() => clients.every((each) => each.connects === round));
    await Promise.all(clients.map((each) => each.ready));
    const last = Number(await post("/publish", { events: 100, size: 1000, pause_s: 0.002 }));
    await until(() => clients.every((each) => each.numbers.at(-1) === last));
    await until(() => clients.every((each) => each.socket.io.engine.transport.name === "websocket"));
    await post("/finish?new");
    await until(() => clients.every((each) => each.reasons.length === round));
  }
  clients.forEach(({ socket }) => socket.disconnect());
  console.log(JSON.stringify(clients.map(({ socket, listening, ready, ...seen }) => seen)));
  process.exit(0);
})();
