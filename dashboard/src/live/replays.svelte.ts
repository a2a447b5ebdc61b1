// The signals of past moments: asked for at a bounded pace while a slider moves, and some of them kept.

import { SvelteMap } from "svelte/reactivity"
import { Allowance } from "../api/allowance.ts"
import { api, answer, type Answer } from "../api/client.ts"
import { Paced, type Refused } from "../api/paced.ts"
import { pauseOf } from "../api/resource.svelte.ts"
import { newYorkInstant, withOffset } from "../format/newyork.ts"
import type { Moment } from "../router.ts"
import { TICKERS, type Ticker } from "../tickers.ts"
import type { TradingSignal } from "./types.ts"

/** The hand rests for so long before its moment is asked for: longer than the address takes to follow a slider. */
export const REST_MS = 600
/** Between the requests for two moments at least. A moment takes three requests, and the server answers sixty in a minute, of which the
 * decisions of the day need some. */
const PACE = { quick: 8, shortMs: 1_500, longMs: 5_000, windowMs: 60_000 }
/** Answers, one for each ticker and moment, and for how long they are kept unless the server calls them immutable. */
const KEPT = 180
const KEPT_MS = 600_000

interface Kept {
  readonly answer: Answer<TradingSignal>
  readonly endMs: number
}

export class Replays {
  readonly #answers = new SvelteMap<string, Kept>()
  /** The signals that were shown last. */
  readonly #last = new SvelteMap<Ticker, TradingSignal>()
  readonly #allowance = new Allowance(PACE)
  readonly #asking = new Paced(
    (moment, signal) => this.#ask(JSON.parse(moment) as Moment, signal),
    () => this.#allowance.take(performance.now()),
    REST_MS,
  )

  /** What the server said of a ticker at a moment; undefined while it is asked. */
  of(ticker: Ticker, at: Moment): Answer<TradingSignal> | undefined {
    return this.#answers.get(keyOf(ticker, at))?.answer
  }

  /** The signal of the moment that was shown before, for as long as nothing is known of the one that is asked for, or the server is to be
   * asked again; null where there is none, and where the server has said that it has none. */
  before(ticker: Ticker, at: Moment): TradingSignal | null {
    const found = this.of(ticker, at)
    const isAwaited = found === undefined || found.failure?.status === 0 || found.failure?.status === 429
    return isAwaited ? (this.#last.get(ticker) ?? null) : null
  }

  /** Ask for a moment, null for none. Moments that were asked for before and have not been answered are dropped. */
  follow(at: Moment | null): void {
    if (at === null) this.#last.clear()
    else this.#see(at)
    if (at === null || this.#missingAt(at).length === 0) this.#asking.stop()
    else this.#asking.ask(JSON.stringify(at))
  }

  #see(at: Moment): void {
    for (const ticker of TICKERS) {
      const signal = this.of(ticker, at)?.data ?? null
      if (signal !== null) this.#last.set(ticker, signal)
    }
  }

  #missingAt(at: Moment): readonly Ticker[] {
    return TICKERS.filter((ticker) => {
      const kept = this.#answers.get(keyOf(ticker, at))
      return kept === undefined || kept.answer.failure !== null || performance.now() >= kept.endMs
    })
  }

  /** One ticker behind the other: the server takes few replays of a client at a time. */
  async #ask(at: Moment, signal: AbortSignal): Promise<Refused> {
    for (const ticker of this.#missingAt(at)) {
      const refused = await this.#askOne(ticker, at, signal)
      if (refused !== null) return refused
    }
    return null
  }

  async #askOne(ticker: Ticker, { date, time }: Moment, signal: AbortSignal): Promise<Refused> {
    const query = { at: withOffset(newYorkInstant(date, time)) }
    const request = api.GET("/v2/replay/{ticker}", { params: { path: { ticker }, query }, signal })
    const found = await answer(request)
    const isImmutable = found.failure === null && saysImmutable((await request).response)
    this.#keep(keyOf(ticker, { date, time }), found, isImmutable ? Infinity : KEPT_MS)
    if (found.failure !== null) return pauseOf(found.failure)
    this.#last.set(ticker, found.data)
    return null
  }

  #keep(key: string, answer: Answer<TradingSignal>, forMs: number): void {
    this.#answers.delete(key)
    this.#answers.set(key, { answer, endMs: performance.now() + forMs })
    for (const oldest of [...this.#answers.keys()].slice(0, -KEPT)) this.#answers.delete(oldest)
  }
}

function saysImmutable({ headers }: Response): boolean {
  return /\bimmutable\b/.test(headers.get("Cache-Control") ?? "")
}

function keyOf(ticker: Ticker, { date, time }: Moment): string {
  return `${ticker} ${date} ${time}`
}
