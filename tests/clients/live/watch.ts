// A client in TypeScript by the types of the events: what is right passes the compiler, and what is wrong does not.
import { io, type Socket } from "socket.io-client"
import type { ClientToServerEvents, ConnectAuth, LiveEvent, ServerToClientEvents } from "./live-events.js"

const after: Record<string, string> = {}
const auth: ConnectAuth = { subscribe: ["SPY", "QQQ"], after, theme: "dark" }
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io("http://127.0.0.1:8000", { auth: (give) => give(auth) })

function remember(event: LiveEvent): void {
  after[event.ticker] = event.id
  if (event.kind === "price") console.log(event.prices.now)
  if (event.kind === "snapshot" && event.resumed === false) console.log(event.missed)
  // @ts-expect-error: only some kinds have a signal
  void event.signal
}

socket.on("signal", (event, offset) => {
  const action: "BUY_CALL" | "BUY_PUT" | "NO_TRADE" = event.signal.action
  console.log(event.ticker, action, offset?.length)
  remember(event)
})
socket.on("bye", ({ reason, retry_after_ms }) => console.log(reason === "slow", retry_after_ms + 1))
socket.emit("subscribe", { ticker: "SPY" }, ({ subscribed, rejected, error }) => {
  if (error !== null) console.error(error.code === "INVALID_PAYLOAD", error.detail)
  console.log(subscribed.length, rejected[0]?.code === "UNSUPPORTED_TICKER")
})
const { next_by } = await socket.emitWithAck("unsubscribe", { tickers: ["QQQ"] })
console.log(next_by)

// @ts-expect-error: one of the two, and not both
socket.emit("subscribe", { ticker: "SPY", tickers: ["QQQ"] }, () => {})
// @ts-expect-error: there is no such field
socket.emit("subscribe", { ticker: "SPY", colour: "red" }, () => {})
// @ts-expect-error: there is no such event
socket.on("signals", () => {})
// @ts-expect-error: there is no such reason
socket.on("bye", ({ reason }) => reason === "tired")
