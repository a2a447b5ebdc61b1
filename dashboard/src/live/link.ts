// The Socket.IO connection of the page: it connects, comes back, checks the sequence, and writes what it hears into the store.
// (docs/socket-io.md)

import { io, type Socket } from "socket.io-client"
import { apiKey } from "../api/key.svelte.ts"
import { isTicker, TICKERS, type Ticker } from "../tickers.ts"
import { delayMs } from "./backoff.ts"
import type { Live } from "./live.svelte.ts"
import { alive, doubted, failing, lacks, merged, orderOf, QUIET_MS } from "./state.ts"
import type {
  Acknowledgement,
  ByeEvent,
  ClientToServerEvents,
  ConnectAuth,
  ConnectionState,
  ConnectRefusal,
  ErrorEvent,
  HeartbeatEvent,
  HelloEvent,
  LiveEvent,
  Refusal,
  ServerToClientEvents,
} from "./types.ts"

type LiveSocket = Socket<ServerToClientEvents, ClientToServerEvents>
/** How long a connection may take until its first event. */
const HELLO_MS = 10_000
/** How often in a row events behind a position are asked for before a snapshot is. */
const MENDS = 1

export class Link {
  readonly #live: Live
  readonly #socket: LiveSocket
  readonly #mends = new Map<Ticker, number>()
  #connectedAt = ""
  #attempts = 0
  #alarm: ReturnType<typeof setTimeout> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #isEnded = false

  constructor(live: Live, open: typeof io = io) {
    this.#live = live
    this.#socket = open({
      autoConnect: false,
      reconnection: false,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      auth: (give: (auth: ConnectAuth) => void) => {
        give(this.#auth())
      },
    })
    this.#listen()
  }

  /** Connect. Returns what ends the connection for good. */
  start(): () => void {
    this.#connect()
    return () => {
      this.#isEnded = true
      this.#stopTimers()
      this.#socket.disconnect()
    }
  }

  /** Connect again at once, as after a new key. */
  restart(): void {
    this.#socket.disconnect()
    this.#attempts = 0
    this.#connect()
  }

  #auth(): ConnectAuth {
    const after = Object.fromEntries(TICKERS.map((ticker) => [ticker, this.#live.of(ticker).id]))
    const known = Object.fromEntries(Object.entries(after).filter(([, id]) => id !== null))
    return {
      subscribe: TICKERS,
      ...(Object.keys(known).length > 0 ? { after: known } : {}),
      ...(apiKey.secret !== null ? { key: apiKey.secret } : {}),
    }
  }

  #listen(): void {
    const socket = this.#socket
    socket.on("hello", (hello) => {
      this.#open(hello)
    })
    for (const kind of ["snapshot", "signal", "price", "status"] as const)
      socket.on(kind, (event: LiveEvent) => {
        this.#hear(event)
      })
    socket.on("heartbeat", (heartbeat) => {
      this.#beat(heartbeat)
    })
    socket.on("error", (error) => {
      this.#fail(error)
    })
    socket.on("bye", (bye) => {
      this.#leave(bye)
    })
    socket.on("disconnect", (reason) => {
      if (reason !== "io client disconnect") this.#lose("lost")
    })
    socket.on("connect_error", (error: Error & { data?: ConnectRefusal }) => {
      this.#refuse(error.data ?? null)
    })
  }

  #connect(): void {
    if (this.#isEnded) return
    this.#stopTimers()
    this.#socket.connect()
    this.#watch(HELLO_MS)
    if (this.#live.connection.state !== "connecting") this.#say(this.#live.connection.state, null)
  }

  #open(hello: HelloEvent): void {
    this.#attempts = 0
    this.#connectedAt = hello.market_time
    this.#live.hello = hello
    this.#live.clock.observe(Date.parse(hello.market_time), performance.now())
    this.#say("open", null)
    this.#watch(QUIET_MS)
  }

  #hear(event: LiveEvent): void {
    const { ticker } = event
    if (!isTicker(ticker)) return
    this.#heard()
    const state = this.#live.of(ticker)
    const order = orderOf(state, event)
    if (order === "gap") this.#mend(ticker)
    if (order !== "next") return
    if (event.kind === "snapshot") this.#mends.delete(ticker)
    const nowMs = performance.now()
    const next = merged(state, event, this.#connectedAt, nowMs)
    if (next.isCurrent) this.#live.clock.observe(Date.parse(event.generated_at), nowMs)
    this.#live.put(ticker, next)
  }

  #beat(heartbeat: HeartbeatEvent): void {
    const { ticker } = heartbeat
    if (!isTicker(ticker)) return
    const state = this.#live.of(ticker)
    if (lacks(state, heartbeat)) this.#mend(ticker)
    else this.#mends.delete(ticker)
    const next = alive(state, heartbeat, performance.now())
    this.#live.put(ticker, next)
    this.#heard(next.quietMs)
  }

  #fail(error: ErrorEvent): void {
    this.#heard()
    if (error.ticker !== null && isTicker(error.ticker))
      this.#live.put(error.ticker, failing(this.#live.of(error.ticker), error, performance.now()))
  }

  /** Ask for the events that are missing, and for a snapshot where that did not help. */
  #mend(ticker: Ticker): void {
    const state = this.#live.of(ticker)
    const mends = this.#mends.get(ticker) ?? 0
    this.#mends.set(ticker, mends + 1)
    this.#live.put(ticker, doubted(state))
    const after = mends < MENDS && state.id !== null ? { after: state.id } : {}
    this.#socket.emit("subscribe", { ticker, ...after }, (answer: Acknowledgement) => {
      this.#connectedAt = answer.market_time
      this.#live.clock.observe(Date.parse(answer.market_time), performance.now())
    })
  }

  #leave(bye: ByeEvent): void {
    this.#socket.disconnect()
    this.#lose("lost", bye.retry_after_ms, { code: bye.reason, detail: bye.detail })
  }

  #refuse(refusal: ConnectRefusal | null): void {
    if (refusal === null) {
      this.#lose("lost")
      return
    }
    this.#lose("refused", refusal.retry_after_ms, refusal)
  }

  /** The connection is over. Come back after `retryMs`; null: not by itself; undefined: after a delay that grows. */
  #lose(state: ConnectionState, retryMs?: number | null, refusal: Refusal | null = null): void {
    if (this.#isEnded) return
    this.#stopTimers()
    for (const ticker of TICKERS) this.#live.put(ticker, doubted(this.#live.of(ticker)))
    const waitMs = retryMs === undefined ? delayMs(this.#attempts++, Math.random()) : retryMs
    this.#say(state, waitMs === null ? null : performance.now() + waitMs, refusal)
    if (waitMs !== null)
      this.#retry = setTimeout(() => {
        this.#connect()
      }, waitMs)
  }

  /** Something came: silence begins anew. */
  #heard(quietMs?: number): void {
    if (this.#live.connection.state === "mute") this.#say("open", null)
    this.#watch(quietMs ?? Math.max(...TICKERS.map((ticker) => this.#live.of(ticker).quietMs)))
  }

  #watch(quietMs: number): void {
    clearTimeout(this.#alarm)
    this.#alarm = setTimeout(() => {
      this.#fallMute()
    }, quietMs)
  }

  #fallMute(): void {
    this.#socket.disconnect()
    this.#lose("mute")
  }

  #say(state: ConnectionState, retryAtMs: number | null, refusal: Refusal | null = null): void {
    const { connection } = this.#live
    const sinceMs = connection.state === state ? connection.sinceMs : performance.now()
    this.#live.connection = { state, sinceMs, retryAtMs, refusal }
  }

  #stopTimers(): void {
    clearTimeout(this.#alarm)
    clearTimeout(this.#retry)
  }
}
