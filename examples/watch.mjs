// Prints the signals of SPY and QQQ as they change. Run `npm install` and `node watch.mjs`, with the address of another server than
// this machine's behind it. live.mjs has what every client needs.
import { io } from "socket.io-client"
import { follow } from "./live.mjs"

function show({ kind, ticker, as_of, signal, status }, freshness) {
  const trust = `(${freshness}, price as of ${as_of ?? "no moment"})`
  if (signal) console.log(ticker, kind, signal.action, trust, signal.reason)
  else if (status) console.log(ticker, kind, `the market is ${status.market_open ? "open" : "closed"}`, trust)
}

follow(io, process.argv[2] ?? "http://127.0.0.1:8000", ["SPY", "QQQ"], show, console.error)
