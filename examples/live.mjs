// What a client of the live events does beside showing them, for browsers and for Node. It comes back after a lost connection and
// after a refusal, tells replayed events from live ones, and notices silence. `io` is that of the package socket.io-client.
//
//   show(event, freshness)  for each event of a ticker; freshness is "replayed" where the event happened before this connection,
//                           and otherwise what the event says
//   say(text)               for what happens to the connection
export function follow(io, url, tickers, show, say) {
  const after = {} // the id of the last event of each ticker, behind which the next connection goes on
  let connectedAt = -Infinity // market time
  let quietMs = 30_000 // for how long the server may say nothing, in real time
  let alarm
  let isQuiet = false
  const transports = ["websocket"] // a server that may have several processes refuses long polling
  const socket = io(url, { transports, auth: (give) => give({ subscribe: tickers, after }) })

  function heard() {
    if (isQuiet) say("Connected")
    isQuiet = false
    clearTimeout(alarm)
    alarm = setTimeout(fallQuiet, quietMs)
  }

  function fallQuiet() {
    isQuiet = true
    say("Nothing comes any more: what was shown last says nothing about now")
  }

  function receive(event) {
    after[event.ticker] = event.id
    const isReplayed = event.kind !== "snapshot" && Date.parse(event.generated_at) < connectedAt
    show(event, isReplayed ? "replayed" : event.freshness)
  }

  socket.onAny(heard)
  socket.on("hello", (hello) => { connectedAt = Date.parse(hello.market_time); say("Connected") })
  for (const kind of ["snapshot", "signal", "price", "status"]) socket.on(kind, receive)
  socket.on("heartbeat", ({ server_time, next_by }) => { // two moments of the server's clock: only their difference counts here
    quietMs = Date.parse(next_by) - Date.parse(server_time)
    heard()
  })
  socket.on("error", ({ ticker, detail }) => say(ticker === null ? detail : `${ticker}: ${detail}`))
  socket.on("bye", ({ reason, detail }) => say(`The server ends the connection (${reason}). ${detail}`))
  socket.on("disconnect", (reason) => {
    clearTimeout(alarm)
    say(`Not connected (${reason}): what was shown last says nothing about now`)
  })
  socket.on("connect_error", (error) => {
    say(error.data?.detail ?? `The server does not answer: ${error.message}`)
    const retryMs = error.data?.retry_after_ms ?? null
    if (!socket.active && retryMs !== null) setTimeout(() => socket.connect(), retryMs) // the library does not try again itself
  })
  return socket
}
