// Requests of the page about now: the state of the server at times, and all signals where events cannot be relied on. Bounded: one request
// of a kind at a time, never before the server says, and ever more slowly while they fail.

import { api, answer, type Answer } from "../api/client.ts"
import type { Failure } from "../api/problem.ts"
import type { Board } from "../api/types.ts"
import { isTicker, TICKERS } from "../tickers.ts"
import type { Live } from "./live.svelte.ts"
import { answered, isToldSince } from "./state.ts"

/** How often the state of the server is asked for, and all signals while there is no connection. */
const STATUS_MS = 60_000
const BOARD_MS = 15_000
const LONGEST_MS = 120_000
/** An answer about now comes from the server: the browser's cache would give one while there is no connection. */
const FROM_SERVER = { cache: "no-cache" } as const
/** For how long a connection may be away before the page asks in its place. */
const PATIENCE_MS = 4_000

/** How long to wait after an answer: `pauseMs`, longer after failures in a row, and never less than the server says. */
export function pauseAfter(failure: Failure | null, failures: number, pauseMs: number): number {
  const grown = Math.min(LONGEST_MS, pauseMs * 2 ** Math.min(failures, 10))
  return Math.max(grown, (failure?.retryAfterS ?? 0) * 1000)
}

export class Asking {
  readonly #live: Live
  readonly #status: Repeated
  readonly #board: Repeated

  constructor(live: Live) {
    this.#live = live
    this.#status = new Repeated(STATUS_MS, () => this.#askStatus())
    this.#board = new Repeated(BOARD_MS, () => this.#askBoard())
  }

  /** Begin. Returns what ends it. */
  start(): () => void {
    this.#status.ask()
    const timer = setInterval(() => {
      this.look()
    }, 1_000)
    return () => {
      clearInterval(timer)
    }
  }

  /** Ask for what is due. A hidden page asks for signals alone, and only while there is no connection. */
  look(): void {
    if (!document.hidden) this.#status.askIfDue()
    if (this.#isAlone() || this.#isFoundAfterwards()) this.#board.askIfDue()
  }

  /** Ask for all signals at once, as after the tab slept. */
  readonly askNow = (): void => {
    this.#board.ask()
    this.#status.ask()
  }

  #isAlone(): boolean {
    const { state, sinceMs } = this.#live.connection
    return state === "refused" || (state !== "open" && performance.now() - sinceMs > PATIENCE_MS)
  }

  /** What the newest event says was found after its moment, as after a restart of the server, so that it does not say how fresh prices
   * are now. The next event may be a minute away. */
  #isFoundAfterwards(): boolean {
    return TICKERS.map((ticker) => this.#live.of(ticker)).some(
      ({ isCurrent, freshness }) => isCurrent && freshness === "historical",
    )
  }

  async #askStatus(): Promise<Failure | null> {
    const sentMs = performance.now()
    const { data, failure } = await answer(api.GET("/v2/status", FROM_SERVER))
    if (data !== null) {
      this.#live.status = data
      this.#live.clock.atLeast(Date.parse(data.generated_at), sentMs)
    }
    return failure
  }

  async #askBoard(): Promise<Failure | null> {
    const sentMs = performance.now()
    const found: Answer<Board> = await answer(api.GET("/v2/trading-directions", FROM_SERVER))
    this.#live.failure = found.failure
    if (found.data !== null) this.#take(found.data, sentMs)
    else this.#live.polledMs = null
    return found.failure
  }

  #take(board: Board, sentMs: number): void {
    const nowMs = performance.now()
    this.#live.clock.atLeast(Date.parse(board.generated_at), nowMs)
    if (this.#live.connection.state !== "open") this.#live.polledMs = nowMs
    for (const signal of board.signals)
      if (isTicker(signal.ticker) && !isToldSince(this.#live.of(signal.ticker), sentMs))
        this.#live.put(signal.ticker, answered(this.#live.of(signal.ticker), signal, board, nowMs))
  }
}

/** A request that is made again and again. */
class Repeated {
  readonly #pauseMs: number
  readonly #request: () => Promise<Failure | null>
  #isRunning = false
  #failures = 0
  #dueMs = 0
  #allowedMs = 0

  constructor(pauseMs: number, request: () => Promise<Failure | null>) {
    this.#pauseMs = pauseMs
    this.#request = request
  }

  askIfDue(): void {
    if (performance.now() >= this.#dueMs) this.ask()
  }

  /** Ask now, unless an answer is on its way or the server has said to wait. */
  ask(): void {
    if (this.#isRunning || performance.now() < this.#allowedMs) return
    this.#isRunning = true
    void this.#request().then((failure) => {
      this.#isRunning = false
      this.#failures = failure === null ? 0 : this.#failures + 1
      const nowMs = performance.now()
      this.#dueMs = nowMs + pauseAfter(failure, this.#failures, this.#pauseMs)
      this.#allowedMs = nowMs + (failure?.retryAfterS ?? 0) * 1000
    })
  }
}
