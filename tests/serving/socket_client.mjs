// The stock JavaScript client under the eyes of a test: it prints what happens, one JSON object a line, and does what each line of
// its input says. Arguments: address, options of `io`, and what `auth` as a function gives beside `after`.
import { createInterface } from "node:readline"
import { io } from "socket.io-client"

const [, , url, options, subscribe] = process.argv
const say = (what, more = {}) => console.log(JSON.stringify({ what, ...more }))
const after = {}
const auth = (give) => give({ ...JSON.parse(subscribe), after })
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 250, ...JSON.parse(options), auth })

socket.io.on("open", () => {
  say("open", { transport: socket.io.engine.transport.name })
  socket.io.engine.on("upgrade", (transport) => say("upgrade", { transport: transport.name }))
})
socket.on("connect", () => say("connect", { recovered: socket.recovered }))
socket.on("disconnect", (reason, details) => say("disconnect", { reason, code: details?.context?.code ?? null }))
socket.on("connect_error", (error) => say("connect_error", { message: error.message, data: error.data ?? null }))
socket.onAny((name, event, offset) => {
  if (event.id && name !== "heartbeat") after[event.ticker] = event.id
  say(name, { ...event, signal: event.signal?.action ?? null, offset: offset ?? null })
})

const cuts = {
  engine: () => socket.io.engine.close(),
  terminate: () => socket.io.engine.transport.ws.terminate(),
  flood: () => { for (let count = 0; count < 200; count += 1) socket.emit("subscrbe", {}) },
}
for await (const line of createInterface({ input: process.stdin })) {
  const { cut, emit, payload } = JSON.parse(line)
  if (cut) cuts[cut]()
  else socket.emit(emit, payload, (answer) => say("acknowledged", answer))
}
socket.close()
