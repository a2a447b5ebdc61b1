// What the page knows of the server: its connection, the state of each ticker, and market time. Panels read it; the link writes it.

import { SvelteMap } from "svelte/reactivity"
import { api, answer, type Answer } from "../api/client.ts"
import type { Failure } from "../api/problem.ts"
import type { Status } from "../api/types.ts"
import { newYorkInstant, withOffset } from "../format/newyork.ts"
import type { Route } from "../router.ts"
import { TICKERS, type Ticker } from "../tickers.ts"
import { truthOf, worst, type Facts, type Truth } from "../truth/truth.ts"
import { MarketClock } from "./market-clock.ts"
import { NOTHING } from "./state.ts"
import type { Connection, HelloEvent, TickerState, TradingSignal } from "./types.ts"

/** What the page shows of a ticker at its route, and what may be claimed about it. */
export interface Shown {
  readonly signal: TradingSignal | null
  readonly truth: Truth
}

const TICK_MS = 250
const KEPT_REPLAYS = 600
const REST_MS = 80

/** The store. It changes with each event and, for ages and clocks, four times a second. */
export class Live {
  connection: Connection = $state.raw({
    state: "connecting",
    sinceMs: performance.now(),
    retryAtMs: null,
    refusal: null,
  })
  /** `performance.now()` of the newest tick. */
  nowMs: number = $state(performance.now())
  /** What the server said when the page connected; null before that. */
  hello: HelloEvent | null = $state.raw(null)
  /** GET /v2/status, asked at times; null before the first answer. */
  status: Status | null = $state.raw(null)
  /** Why the newest request about now had no answer. */
  failure: Failure | null = $state.raw(null)
  /** When the page last got an answer of version 2 in place of events (`performance.now()`). */
  polledMs: number | null = $state(null)
  readonly clock = new MarketClock()
  readonly #tickers = new SvelteMap<Ticker, TickerState>(TICKERS.map((ticker) => [ticker, NOTHING]))
  readonly #replays = new SvelteMap<string, Answer<TradingSignal>>()

  /** What is known of a ticker now. */
  of(ticker: Ticker): TickerState {
    return this.#tickers.get(ticker) ?? NOTHING
  }

  put(ticker: Ticker, state: TickerState): void {
    this.#tickers.set(ticker, state)
  }

  /** Market time now, ms since the epoch; null before the server has said it. */
  get marketNow(): number | null {
    return this.clock.at(this.nowMs)
  }

  /** What the page shows of a ticker: now, or at the past moment of the route. */
  shown(ticker: Ticker, route: Route): Shown {
    return { signal: this.#signal(ticker, route), truth: truthOf(this.#facts(ticker, route)) }
  }

  /** What may be claimed about the page as a whole: of its tickers the one that may be trusted least. */
  pageTruth(route: Route): Truth {
    return worst(TICKERS.map((ticker) => this.shown(ticker, route).truth))
  }

  #signal(ticker: Ticker, route: Route): TradingSignal | null {
    return route.at === null ? this.of(ticker).signal : (this.#replays.get(keyOf(ticker, route))?.data ?? null)
  }

  #facts(ticker: Ticker, route: Route): Facts {
    const { connection, nowMs, marketNow, status, failure, polledMs, hello } = this
    const source = hello?.source ?? status?.source ?? null
    const replay = route.at === null ? null : (this.#replays.get(keyOf(ticker, route)) ?? "asked")
    return { connection, nowMs, marketNow, status, failure, polledMs, source, state: this.of(ticker), replay }
  }

  /** Ask for the past moment of a route where it has one, after a short rest, so that a slider that moves asks for few. Returns what
   * ends it. */
  follow(route: Route): (() => void) | undefined {
    if (route.at === null) return undefined
    const abort = new AbortController()
    const timer = setTimeout(() => void this.#askReplays(route, abort.signal), REST_MS)
    return () => {
      clearTimeout(timer)
      abort.abort()
    }
  }

  async #askReplays(route: Route, signal: AbortSignal): Promise<void> {
    const missing = TICKERS.filter((ticker) => this.#replays.get(keyOf(ticker, route))?.data === undefined)
    await Promise.allSettled(missing.map((ticker) => this.#askReplay(ticker, route, signal)))
  }

  async #askReplay(ticker: Ticker, route: Route, signal: AbortSignal): Promise<void> {
    if (route.at === null) return
    const query = { at: withOffset(newYorkInstant(route.at.date, route.at.time)) }
    const found = await answer(api.GET("/v2/replay/{ticker}", { params: { path: { ticker }, query }, signal }))
    this.#keep(keyOf(ticker, route), found)
  }

  #keep(key: string, found: Answer<TradingSignal>): void {
    this.#replays.delete(key)
    this.#replays.set(key, found)
    for (const oldest of [...this.#replays.keys()].slice(0, -KEPT_REPLAYS)) this.#replays.delete(oldest)
  }

  /** Let ages and clocks go on. Returns what ends it. */
  tick(): () => void {
    const timer = setInterval(() => (this.nowMs = performance.now()), TICK_MS)
    return () => {
      clearInterval(timer)
    }
  }
}

function keyOf(ticker: Ticker, { at }: Route): string {
  return `${ticker} ${at?.date} ${at?.time}`
}
