// The Socket.IO connection of the page (docs/socket-io.md): it connects, comes back, notices silence, checks the sequence, and writes what
// it hears into the store. Durations are those of performance.now() and of timers: the viewer's clock may be wrong.

import { io, type Socket } from "socket.io-client"
import { apiKey } from "../api/key.svelte.ts"
import { report } from "../fault.ts"
import { isTicker, TICKERS } from "../tickers.ts"
import { delayMs } from "./backoff.ts"
import type { Live } from "./live.svelte.ts"
import { isBye, isErrorEvent, isHello, isRefusal, tickerOf } from "./readable.ts"
import { Sequence } from "./sequence.ts"
import { doubted, failing, QUIET_MS } from "./state.ts"
import type { ClientToServerEvents, ConnectAuth, ConnectionState, Refusal, ServerToClientEvents } from "./types.ts"

export type LiveSocket = Socket<ServerToClientEvents, ClientToServerEvents>
/** How long a connection may take until its first event, and an acknowledgement until it comes. */
const ANSWER_MS = 8_000
/** What a ticker has where the server tells of an error that cannot be read: nothing of it counts as current all the same. */
const UNREADABLE = {
  code: "UNAVAILABLE",
  detail: "The server tells of an error that this page cannot read.",
  retry_after_ms: null,
} as const

export class Link {
  readonly #live: Live
  readonly #socket: LiveSocket
  readonly #sequence: Sequence
  readonly #noticed: () => void
  #attempts = 0
  #heardMs = 0
  #alarm: ReturnType<typeof setTimeout> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #isEnded = false

  /** `noticed` is called before each event is read. */
  constructor(live: Live, noticed: () => void = () => undefined, open: typeof io = io) {
    this.#live = live
    this.#noticed = noticed
    this.#socket = open({
      autoConnect: false,
      reconnection: false,
      timeout: ANSWER_MS,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      auth: (give: (auth: ConnectAuth) => void) => {
        give(this.#auth())
      },
    })
    this.#sequence = new Sequence(live, (message, done) => {
      if (!this.#socket.connected) return
      this.#socket.timeout(ANSWER_MS).emit("subscribe", message, (error: Error | null, answer) => {
        if (error === null) done(answer)
        else this.#overdue()
      })
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

  /** Connect again at once: the viewer asks for it, the key is another one, or the browser is online again. */
  readonly restart = (): void => {
    this.#socket.disconnect()
    this.#attempts = 0
    this.#lose("lost", 0)
  }

  /** The browser says that it is offline: what is shown may not be taken for now. */
  readonly cut = (): void => {
    this.#socket.disconnect()
    this.#doubt()
    this.#lose("lost")
  }

  /** The tab slept: what came meanwhile says nothing about now. Ask for what is missing, over a new connection where this one has been
   * silent for too long. */
  readonly wake = (): void => {
    const { state } = this.#live.connection
    if (state === "connecting") return
    this.#doubt()
    if (state === "open" && performance.now() - this.#heardMs < this.#quietMs()) this.#sequence.renew()
    else if (state !== "refused") this.restart()
  }

  #auth(): ConnectAuth {
    const known = TICKERS.map((ticker) => [ticker, this.#live.of(ticker).id] as const).filter(([, id]) => id !== null)
    return {
      subscribe: TICKERS,
      ...(known.length > 0 ? { after: Object.fromEntries(known) } : {}),
      ...(apiKey.secret !== null ? { key: apiKey.secret } : {}),
    }
  }

  #listen(): void {
    const socket = this.#socket
    socket.onAny(() => {
      this.#noticed()
      this.#heard()
    })
    socket.on("hello", (hello) => {
      this.#open(hello)
    })
    for (const kind of ["snapshot", "signal", "price", "status"] as const) socket.on(kind, this.#sequence.hear)
    socket.on("heartbeat", (heartbeat) => {
      this.#sequence.beat(heartbeat)
      this.#heard()
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
    socket.on("connect_error", (error: Error & { data?: unknown }) => {
      const refusal = error.data ?? null
      if (isRefusal(refusal)) this.#lose("refused", refusal.retry_after_ms, refusal)
      else this.#lose("lost")
    })
  }

  #connect(): void {
    if (this.#isEnded) return
    this.#stopTimers()
    this.#socket.connect()
    this.#watch(ANSWER_MS)
    const { state, refusal } = this.#live.connection
    this.#say(state, null, refusal)
  }

  /** A connection that begins with what cannot be read is no connection: it is tried again, ever more slowly. */
  #open(hello: unknown): void {
    if (!isHello(hello)) {
      report("the connection", new TypeError("the greeting of the server cannot be read"))
      this.#socket.disconnect()
      this.#lose("lost")
      return
    }
    this.#attempts = 0
    this.#doubt()
    this.#live.hello = hello
    this.#live.clock.runAt(hello.clock_speed)
    this.#live.clock.observe(Date.parse(hello.market_time), performance.now())
    this.#sequence.open(hello.market_time)
    this.#say("open", null)
  }

  #fail(error: unknown): void {
    const ticker = tickerOf(error)
    if (ticker === null || !isTicker(ticker)) return
    const told = isErrorEvent(error) ? error : { ...UNREADABLE, ticker }
    this.#live.put(ticker, failing(this.#live.of(ticker), told, performance.now()))
  }

  #leave(bye: unknown): void {
    this.#socket.disconnect()
    if (isBye(bye)) this.#lose("lost", bye.retry_after_ms, { code: bye.reason, detail: bye.detail })
    else this.#lose("lost")
  }

  /** The connection is over. It comes back after `retryMs`; null: not by itself; without it after a delay that grows. */
  #lose(state: ConnectionState, retryMs?: number | null, refusal: Refusal | null = null): void {
    if (this.#isEnded) return
    this.#stopTimers()
    if (this.#live.connection.state === "open") this.#doubt()
    const waitMs = retryMs === undefined ? delayMs(this.#attempts++, Math.random()) : retryMs
    this.#say(state, waitMs === null ? null : performance.now() + waitMs, refusal)
    if (waitMs === null) return
    this.#retry = setTimeout(() => {
      this.#connect()
    }, waitMs)
  }

  /** What is shown may be of before: events have ended or begin, or the page was away. An attempt to connect that fails is no reason: what
   * the page asks for in place of events holds. */
  #doubt(): void {
    this.#sequence.close()
    this.#live.polledMs = null
    for (const ticker of TICKERS) this.#live.put(ticker, doubted(this.#live.of(ticker)))
  }

  /** Something came: silence begins anew. */
  #heard(): void {
    this.#heardMs = performance.now()
    this.#watch(this.#quietMs())
  }

  #quietMs(): number {
    return this.#live.hello === null ? QUIET_MS : Math.max(...TICKERS.map((ticker) => this.#live.of(ticker).quietMs))
  }

  #watch(quietMs: number): void {
    clearTimeout(this.#alarm)
    this.#alarm = setTimeout(() => {
      this.#overdue()
    }, quietMs)
  }

  /** Nothing came in time: the connection is lost, whatever the library says. */
  #overdue(): void {
    this.#socket.disconnect()
    this.#lose(this.#live.connection.state === "open" ? "mute" : "lost")
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
