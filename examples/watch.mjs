// Prints the signals of SPY and QQQ as they change. `auth` is a function, so that each reconnect subscribes again, behind the
// last event that came: no code is needed for it.
import { io } from "socket.io-client"

const after = {}
const socket = io("http://127.0.0.1:8000", { auth: (give) => give({ subscribe: ["SPY", "QQQ"], after }) })

function show(event) {
  after[event.ticker] = event.id
  console.log(event.ticker, event.kind, event.signal.action, `(${event.freshness})`, event.signal.reason)
}

socket.on("snapshot", show).on("signal", show)
socket.on("error", ({ code, detail }) => console.error(code, detail))
socket.on("bye", ({ reason, retry_after_ms }) => console.error(`The server ends the connection (${reason}).`, retry_after_ms))
socket.on("connect_error", (error) => console.error(error.data?.detail ?? error.message))
