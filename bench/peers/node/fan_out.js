// (d) Node's server of Socket.IO, with its defaults.
"use strict";

const net = require("node:net");
const { Server } = require("socket.io");

const { PORT, TRIGGER_PORT, ROOM, NAME, TEXT, FIRST } = process.env;
const io = new Server(Number(PORT), { pingInterval: 3600_000 });
let number = Number(FIRST);

io.on("connection", (socket) => socket.join(ROOM));

// Each byte that arrives is one event.
net
  .createServer((client) => {
    client.on("data", (bytes) => {
      for (let n = 0; n < bytes.length; n++) io.to(ROOM).emit(NAME, { n: number++, text: TEXT });
    });
    client.on("error", () => {});
  })
  .listen(Number(TRIGGER_PORT), "127.0.0.1");
