// The decisions of a day, which several panels show: what the record has, and the replays of its decision hours. Each is asked for once for
// all panels, and the replays, which cost the server much, one series after another.

import { api, answer, type Answer } from "../api/client.ts"
import { Shared } from "../api/shared.ts"
import { inTurn } from "../api/turns.ts"
import type { RecordedSignal, Session } from "../api/types.ts"
import { newYorkInstant, timeOfMinute, withOffset } from "../format/newyork.ts"
import type { Ticker } from "../tickers.ts"
import type { TradingSignal } from "./types.ts"

/** Minutes behind a full hour by which its decision is out. */
const BEHIND_THE_HOUR = 5
/** Bars of a past day that are missing now may come later. */
const KEEP_MS = 300_000
/** Series of replays: four days of all tickers. */
const MOST = 12

export class DayDecisions {
  readonly #records = new Shared<readonly RecordedSignal[]>()
  readonly #series = new Shared<readonly TradingSignal[]>(KEEP_MS, MOST)

  /** The decisions of a day (YYYY-MM-DD) that stand in the record. */
  record(ticker: Ticker, day: string, signal: AbortSignal): Promise<Answer<readonly RecordedSignal[]>> {
    return this.#records.ask(`${ticker} ${day}`, (ends) => askRecord(ticker, day, ends), signal)
  }

  /** The signals of the decision hours of a session that are out by `until`, milliseconds since the epoch, as a replay has them: those
   * that were recorded, and those that would have been. */
  async replays(
    ticker: Ticker,
    session: Session,
    until: number,
    signal: AbortSignal,
  ): Promise<Answer<readonly TradingSignal[]>> {
    const moments = momentsOf(session).filter((moment) => moment <= until)
    const [first, last] = [moments[0], moments.at(-1)]
    if (first === undefined || last === undefined) return { data: [], failure: null }
    const query = { from: withOffset(first), to: withOffset(last), step: 60 }
    return this.#series.ask(`${ticker} ${query.to}`, (ends) => askSeries(ticker, query, ends), signal)
  }
}

/** The moments at which the decisions of a session are out, milliseconds since the epoch. */
function momentsOf({ day, decision_hours: hours }: Session): readonly number[] {
  return hours.map((hour) => newYorkInstant(day, timeOfMinute(hour * 60 + BEHIND_THE_HOUR)))
}

async function askRecord(ticker: Ticker, day: string, signal: AbortSignal): Promise<Answer<readonly RecordedSignal[]>> {
  const params = { path: { ticker }, query: { from: day, to: day } }
  const found = await answer(api.GET("/v2/signals/{ticker}", { params, signal }))
  return found.failure === null ? { data: found.data.signals, failure: null } : found
}

async function askSeries(
  ticker: Ticker,
  query: { readonly from: string; readonly to: string; readonly step: number },
  signal: AbortSignal,
): Promise<Answer<readonly TradingSignal[]>> {
  const params = { path: { ticker }, query }
  const lines = await inTurn(() => answer(api.GET("/v2/replay/{ticker}", { params, parseAs: "text", signal })), signal)
  return lines.failure === null ? { data: signalsIn(lines.data), failure: null } : lines
}

/** The signals in the lines of a series of replays (JSON lines). Raises SyntaxError for a line that is no JSON. */
export function signalsIn(lines: string): readonly TradingSignal[] {
  return lines
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line) as { readonly signal?: TradingSignal })
    .flatMap(({ signal }) => (signal === undefined ? [] : [signal]))
}
