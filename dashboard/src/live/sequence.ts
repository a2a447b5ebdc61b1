// Puts the events of each ticker into the store in the order of `seq`. What is missing is asked for, and until it has come nothing of the
// ticker counts as current.

import { report } from "../fault.ts"
import { isTicker, TICKERS, type Ticker } from "../tickers.ts"
import { delayMs } from "./backoff.ts"
import type { Live } from "./live.svelte.ts"
import { isHeartbeat, isReadable, tickerOf } from "./readable.ts"
import { alive, doubted, isMadeSince, isReplayed, merged, orderOf, orderOfHeartbeat } from "./state.ts"
import type { Acknowledgement, HeartbeatEvent, LiveEvent, Moment, Subscribe } from "./types.ts"

/** Sends `subscribe`, and calls `done` with its acknowledgement. */
export type SendSubscribe = (message: Subscribe, done: (answer: Acknowledgement) => void) => void

/** For how long the page waits for the server to say that it has all events, before it asks for a snapshot, which says what holds now. A
 * quiet market says it with its next heartbeat alone, up to 15 s later. */
const CATCH_UP_MS = 1_000

export class Sequence {
  readonly #live: Live
  readonly #send: SendSubscribe
  /** Market time from which on the events of a ticker are of now; a ticker that waits for an acknowledgement has none. */
  readonly #since = new Map<Ticker, Moment>()
  /** Tickers of which a snapshot was asked for and not acknowledged, and whether one has come: it often comes before the
   * acknowledgement, and that says that it is of now. */
  readonly #snapshots = new Map<Ticker, boolean>()
  /** How often in a row the events of a ticker had to be asked for. */
  readonly #mends = new Map<Ticker, number>()
  #timers: readonly ReturnType<typeof setTimeout>[] = []

  constructor(live: Live, send: SendSubscribe) {
    this.#live = live
    this.#send = send
  }

  /** A connection has begun at this market time. All tickers are subscribed by `auth`. */
  open(marketTime: Moment): void {
    this.close()
    for (const ticker of TICKERS) this.#since.set(ticker, marketTime)
    this.#later(CATCH_UP_MS, () => {
      this.#ensureCurrent()
    })
  }

  /** The connection is over, or cannot be relied on. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers = []
    this.#since.clear()
    this.#snapshots.clear()
  }

  /** Subscribe again to all tickers, each behind the last event that it has. */
  renew(): void {
    for (const ticker of TICKERS) this.#subscribe(ticker, this.#live.of(ticker).id)
    this.#later(CATCH_UP_MS, () => {
      this.#ensureCurrent()
    })
  }

  /** An event that cannot be read, or that the page has a fault with, counts as missing; the events behind it go on. */
  readonly hear = (message: unknown): void => {
    this.#guarded(message, (ticker) => {
      if (!isReadable(message)) throw new TypeError("an event cannot be read")
      this.#take(ticker, message)
    })
  }

  readonly beat = (heartbeat: unknown): void => {
    this.#guarded(heartbeat, (ticker) => {
      if (!isHeartbeat(heartbeat)) throw new TypeError("a heartbeat cannot be read")
      this.#beatOf(ticker, heartbeat)
    })
  }

  #guarded(message: unknown, read: (ticker: Ticker) => void): void {
    const ticker = tickerOf(message)
    if (ticker === null || !isTicker(ticker)) return
    try {
      read(ticker)
    } catch (error) {
      report(`events of ${ticker}`, error)
      this.#mend(ticker)
    }
  }

  #take(ticker: Ticker, event: LiveEvent): void {
    const state = this.#live.of(ticker)
    const order = orderOf(state, event)
    if (order === "gap") this.#mend(ticker)
    if (order !== "next") return
    if (event.kind === "snapshot") this.#mends.delete(ticker)
    if (event.kind === "snapshot" && this.#snapshots.has(ticker)) this.#snapshots.set(ticker, true)
    const since = this.#since.get(ticker)
    const nowMs = performance.now()
    const isNow = since !== undefined && !isReplayed(event, since)
    if (isNow && isMadeSince(event, since)) this.#live.clock.observe(Date.parse(event.generated_at), nowMs)
    this.#live.put(ticker, merged(state, event, isNow, nowMs))
  }

  #beatOf(ticker: Ticker, heartbeat: HeartbeatEvent): void {
    const state = this.#live.of(ticker)
    const order = orderOfHeartbeat(state, heartbeat)
    const isNow = order === "next" && this.#since.get(ticker) !== undefined
    this.#live.put(ticker, alive(state, heartbeat, isNow, performance.now()))
    if (order === "gap") this.#mend(ticker)
    else this.#mends.delete(ticker)
  }

  /** Ask for the events that are missing; where that did not help, for a snapshot, ever more slowly. */
  #mend(ticker: Ticker): void {
    if (this.#since.get(ticker) === undefined) return
    const mends = this.#mends.get(ticker) ?? 0
    this.#mends.set(ticker, mends + 1)
    this.#live.put(ticker, doubted(this.#live.of(ticker)))
    const after = mends === 0 ? this.#live.of(ticker).id : null
    if (mends < 2) this.#subscribe(ticker, after)
    else this.#subscribeLater(ticker, delayMs(mends, 1))
  }

  /** Ask for what holds now of the tickers that the page knows, but not up to now. */
  #ensureCurrent(): void {
    for (const ticker of TICKERS) {
      const { id, isCurrent } = this.#live.of(ticker)
      if (id !== null && !isCurrent && this.#since.has(ticker)) this.#subscribe(ticker, null)
    }
  }

  #subscribeLater(ticker: Ticker, waitMs: number): void {
    this.#since.delete(ticker)
    this.#later(waitMs, () => {
      this.#subscribe(ticker, null)
    })
  }

  #later(waitMs: number, run: () => void): void {
    this.#timers = [...this.#timers.slice(-8), setTimeout(run, waitMs)]
  }

  #subscribe(ticker: Ticker, after: string | null): void {
    this.#since.delete(ticker)
    if (after === null) this.#snapshots.set(ticker, false)
    else this.#snapshots.delete(ticker)
    this.#send({ ticker, ...(after === null ? {} : { after }) }, (answer) => {
      if (answer.error !== null) {
        this.#subscribeLater(ticker, answer.error.retry_after_ms ?? delayMs(8, 1))
        return
      }
      this.#since.set(ticker, answer.market_time)
      if (this.#snapshots.get(ticker) === true) this.#live.put(ticker, { ...this.#live.of(ticker), isCurrent: true })
      this.#snapshots.delete(ticker)
      this.#live.clock.observe(Date.parse(answer.market_time), performance.now())
    })
  }
}
