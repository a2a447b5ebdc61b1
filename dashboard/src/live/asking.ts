// Requests of the page about now: the state of the server at times, and all signals where events cannot be relied on. Bounded: one request
// of a kind at a time, never before the server says, and ever more slowly while they fail.

import { api, answer } from "../api/client.ts"
import { unreachable, type Failure } from "../api/problem.ts"
import type { Board } from "../api/types.ts"
import { isTicker, TICKERS } from "../tickers.ts"
import type { Live } from "./live.svelte.ts"
import { isBoard } from "./readable.ts"
import { answered, isBehind, isToldSince } from "./state.ts"

/** How often the state of the server is asked for, and all signals while there is no connection. */
const STATUS_MS = 60_000
const BOARD_MS = 15_000
const LONGEST_MS = 120_000
/** An answer about now comes from the server: the browser's cache would give one while there is no connection. */
const FROM_SERVER = { cache: "no-cache" } as const
/** What an answer is that this page cannot read. */
const UNREADABLE: Failure = {
  status: 200,
  code: "UNREADABLE",
  detail: "The answer of the server cannot be read.",
  retryAfterS: null,
  requestId: null,
}
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
  /** How often the tickers had been doubted when all signals were last asked for. */
  #doubts = 0

  constructor(live: Live) {
    this.#live = live
    this.#status = new Repeated(STATUS_MS, (signal) => this.#askStatus(signal))
    this.#board = new Repeated(BOARD_MS, (signal) => this.#askBoard(signal))
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
    this.#cancelIfDoubted()
    if (!document.hidden) this.#status.askIfDue()
    if (this.#isOutdated()) this.#board.ask()
    else if (this.#isAlone() || this.#isFoundAfterwards()) this.#board.askIfDue()
  }

  /** Ask for all signals at once, as after the tab slept. What is on its way was asked for before, and does not count. */
  readonly askNow = (): void => {
    for (const repeated of [this.#board, this.#status]) {
      repeated.cancel()
      repeated.ask()
    }
  }

  /** An answer that was asked for before a loss, a cut, sleep or a gap may be of before it. */
  #cancelIfDoubted(): void {
    if (this.#doubts !== doubtsOf(this.#live)) this.#board.cancel()
  }

  /** The newest answer came before the connection is as it is now, as while the page still tried for the first time, and does not stand in
   * for events any more. */
  #isOutdated(): boolean {
    const { polledMs, connection } = this.#live
    return connection.state !== "open" && polledMs !== null && polledMs <= connection.sinceMs
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

  async #askStatus(signal: AbortSignal): Promise<Failure | null> {
    const sentMs = performance.now()
    const { data, failure } = await answer(api.GET("/v2/status", { ...FROM_SERVER, signal }))
    if (data !== null && !signal.aborted) {
      this.#live.status = data
      this.#live.clock.atLeast(Date.parse(data.generated_at), sentMs)
    }
    return failure
  }

  async #askBoard(signal: AbortSignal): Promise<Failure | null> {
    const sentMs = performance.now()
    this.#doubts = doubtsOf(this.#live)
    const { data, failure: refusal } = await answer(api.GET("/v2/trading-directions", { ...FROM_SERVER, signal }))
    if (!signal.aborted) this.#cancelIfDoubted()
    if (signal.aborted) return refusal
    const failure = data === null || isBoard(data) ? refusal : UNREADABLE
    this.#live.failure = failure
    if (data !== null && failure === null) this.#take(data, sentMs)
    else this.#live.polledMs = null
    return failure
  }

  #take(board: Board, sentMs: number): void {
    const nowMs = performance.now()
    this.#live.clock.atLeast(Date.parse(board.generated_at), nowMs)
    for (const signal of board.signals) {
      if (!isTicker(signal.ticker)) continue
      const state = this.#live.of(signal.ticker)
      if (isToldSince(state, sentMs) || isBehind(state, signal, sentMs)) continue
      this.#live.put(signal.ticker, answered(state, signal, board, nowMs))
    }
    if (this.#live.connection.state !== "open") this.#live.polledMs = sentMs
  }
}

function doubtsOf(live: Live): number {
  return TICKERS.reduce((sum, ticker) => sum + live.of(ticker).doubts, 0)
}

/** A request that is made again and again. */
class Repeated {
  readonly #pauseMs: number
  readonly #request: (signal: AbortSignal) => Promise<Failure | null>
  #running: AbortController | null = null
  #failures = 0
  #dueMs = 0
  #allowedMs = 0

  constructor(pauseMs: number, request: (signal: AbortSignal) => Promise<Failure | null>) {
    this.#pauseMs = pauseMs
    this.#request = request
  }

  askIfDue(): void {
    if (performance.now() >= this.#dueMs) this.ask()
  }

  /** Ask now, unless an answer is on its way or the server has said to wait. */
  ask(): void {
    if (this.#running !== null || performance.now() < this.#allowedMs) return
    const running = new AbortController()
    this.#running = running
    void this.#request(running.signal)
      .catch(unreachable)
      .then((failure) => {
        this.#obey(failure)
        if (this.#running === running) this.#end(failure)
      })
  }

  /** The answer that is on its way does not count, and another one is due. */
  cancel(): void {
    if (this.#running === null) return
    this.#running.abort()
    this.#running = null
    this.#dueMs = 0
  }

  #obey(failure: Failure | null): void {
    this.#allowedMs = Math.max(this.#allowedMs, performance.now() + (failure?.retryAfterS ?? 0) * 1000)
  }

  #end(failure: Failure | null): void {
    this.#running = null
    this.#failures = failure === null ? 0 : this.#failures + 1
    this.#dueMs = performance.now() + pauseAfter(failure, this.#failures, this.#pauseMs)
  }
}
