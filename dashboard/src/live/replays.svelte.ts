// The signals of past moments: asked for at a bounded pace while a slider moves, and some of them kept.

import { SvelteMap } from "svelte/reactivity"
import { api, answer, type Answer } from "../api/client.ts"
import { Paced, type Refused } from "../api/paced.ts"
import { pauseOf } from "../api/resource.svelte.ts"
import { newYorkInstant, withOffset } from "../format/newyork.ts"
import type { Moment } from "../router.ts"
import { TICKERS, type Ticker } from "../tickers.ts"
import type { TradingSignal } from "./types.ts"

/** The slider rests for so long before its moment is asked for. */
const REST_MS = 300
/** Between the requests for two moments at least. */
const PAUSE_MS = 1_500
/** Answers, one for each ticker and moment. */
const KEPT = 180

export class Replays {
  readonly #answers = new SvelteMap<string, Answer<TradingSignal>>()
  readonly #asking = new Paced((moment, signal) => this.#ask(JSON.parse(moment) as Moment, signal), PAUSE_MS, REST_MS)

  /** What the server said of a ticker at a moment; undefined while it is asked. */
  of(ticker: Ticker, at: Moment): Answer<TradingSignal> | undefined {
    return this.#answers.get(keyOf(ticker, at))
  }

  /** Ask for a moment, null for none. Moments that were asked for before and have not been answered are dropped. */
  follow(at: Moment | null): void {
    if (at === null || missingAt(this, at).length === 0) this.#asking.stop()
    else this.#asking.ask(JSON.stringify(at))
  }

  /** One ticker behind the other: the server takes few replays of a client at a time. */
  async #ask(at: Moment, signal: AbortSignal): Promise<Refused> {
    for (const ticker of missingAt(this, at)) {
      const refused = await this.#askOne(ticker, at, signal)
      if (refused !== null) return refused
    }
    return null
  }

  async #askOne(ticker: Ticker, { date, time }: Moment, signal: AbortSignal): Promise<Refused> {
    const query = { at: withOffset(newYorkInstant(date, time)) }
    const found = await answer(api.GET("/v2/replay/{ticker}", { params: { path: { ticker }, query }, signal }))
    this.#keep(keyOf(ticker, { date, time }), found)
    return found.failure === null ? null : pauseOf(found.failure)
  }

  #keep(key: string, found: Answer<TradingSignal>): void {
    this.#answers.delete(key)
    this.#answers.set(key, found)
    for (const oldest of [...this.#answers.keys()].slice(0, -KEPT)) this.#answers.delete(oldest)
  }
}

function missingAt(replays: Replays, at: Moment): readonly Ticker[] {
  return TICKERS.filter((ticker) => replays.of(ticker, at)?.data === undefined || replays.of(ticker, at)?.data === null)
}

function keyOf(ticker: Ticker, { date, time }: Moment): string {
  return `${ticker} ${date} ${time}`
}
