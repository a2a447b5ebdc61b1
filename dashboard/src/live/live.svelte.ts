// What the page knows of the server: its connection, the state of each ticker, and market time. Panels read it; the link writes it.

import { SvelteMap } from "svelte/reactivity"
import type { Failure } from "../api/problem.ts"
import type { Status } from "../api/types.ts"
import { newYorkInstant } from "../format/newyork.ts"
import type { Route } from "../router.ts"
import { TICKERS, type Ticker } from "../tickers.ts"
import { truthOf, worst, type Facts, type Truth } from "../truth/truth.ts"
import { DayDecisions } from "./day-decisions.ts"
import { MarketClock } from "./market-clock.ts"
import { leastMarket } from "./market.ts"
import { isNews } from "./news.ts"
import { Replays } from "./replays.svelte.ts"
import { NOTHING } from "./state.ts"
import type { Connection, HelloEvent, Market, TickerState, TradingSignal } from "./types.ts"

/** What the page shows of a ticker at its route, and what may be claimed about it. */
export interface Shown {
  readonly signal: TradingSignal | null
  /** While a past moment is on its way: the signal of the moment that was shown before it. It is not of the moment of the route. */
  readonly before: TradingSignal | null
  readonly truth: Truth
}

/** A decision that is new and of now. */
export interface News {
  readonly ticker: Ticker
  readonly signal: TradingSignal
}

const TICK_MS = 250

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
  /** Why the newest request for all signals had no answer; null where it had one. */
  failure: Failure | null = $state.raw(null)
  /** When the page last got an answer of version 2 in place of events (`performance.now()`). */
  polledMs: number | null = $state(null)
  /** The newest decision that came while the viewer looked; null before the first one. */
  news: News | null = $state.raw(null)
  /** How often something has come about a ticker, in events or in answers. Nothing is rendered because of it. */
  heard = 0
  /** Connect and ask again at once. */
  retry: () => void = () => undefined
  readonly clock = new MarketClock()
  readonly decisions = new DayDecisions()
  readonly #tickers = new SvelteMap<Ticker, TickerState>(TICKERS.map((ticker) => [ticker, NOTHING]))
  readonly #replays = new Replays()

  /** What is known of a ticker now. */
  of(ticker: Ticker): TickerState {
    return this.#tickers.get(ticker) ?? NOTHING
  }

  put(ticker: Ticker, state: TickerState): void {
    this.heard += 1
    if (isNews(this.of(ticker), state) && state.signal !== null) this.news = { ticker, signal: state.signal }
    this.#tickers.set(ticker, state)
  }

  /** Market time now, ms since the epoch; null before the server has said it. */
  get marketNow(): number | null {
    return this.clock.at(this.nowMs)
  }

  /** What the page shows of a ticker: now, or at the past moment of the route. */
  shown(ticker: Ticker, route: Route): Shown {
    const before = route.at === null ? null : this.#replays.before(ticker, route.at)
    return { signal: this.#signal(ticker, route), before, truth: truthOf(this.#facts(ticker, route)) }
  }

  /** What may be claimed about the page as a whole: of its tickers the one that may be trusted least. */
  pageTruth(route: Route): Truth {
    return worst(TICKERS.map((ticker) => ({ ticker, truth: this.shown(ticker, route).truth })))
  }

  /** The market that the prices of the page are of; null while it is not known. */
  market(route: Route): Market | null {
    return leastMarket(TICKERS.map((ticker) => this.#marketOf(ticker, route)))
  }

  #marketOf(ticker: Ticker, route: Route): Market | null {
    const shown = route.at === null ? this.of(ticker).source : this.#signal(ticker, route)?.source
    return leastMarket([shown, this.hello?.source, this.status?.source])
  }

  #signal(ticker: Ticker, route: Route): TradingSignal | null {
    return route.at === null ? this.of(ticker).signal : (this.#replays.of(ticker, route.at)?.data ?? null)
  }

  #facts(ticker: Ticker, route: Route): Facts {
    const { connection, nowMs, marketNow, status, failure, polledMs } = this
    const source = this.#marketOf(ticker, route)
    const replay = route.at === null ? null : (this.#replays.of(ticker, route.at) ?? "asked")
    const replayAt = route.at === null ? null : newYorkInstant(route.at.date, route.at.time)
    return { connection, nowMs, marketNow, status, failure, polledMs, source, state: this.of(ticker), replay, replayAt }
  }

  /** Whether the cards of a route have their answers: the server takes few replays of a client at a time, and theirs come first. */
  isAnswered({ at }: Route): boolean {
    return at === null || TICKERS.every((ticker) => this.#replays.of(ticker, at) !== undefined)
  }

  /** Ask for the past moment of a route where it has one. */
  follow({ at }: Route): void {
    this.#replays.follow(at)
  }

  /** Let ages and clocks go on. Returns what ends it. */
  tick(): () => void {
    const timer = setInterval(() => (this.nowMs = performance.now()), TICK_MS)
    return () => {
      clearInterval(timer)
    }
  }
}
