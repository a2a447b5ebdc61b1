// What the chart asks the server for: bars, daily bars, and the day's decisions.

import { api, answer, type Answer } from "../../api/client.ts"
import { Renewed } from "../../api/renewed.svelte.ts"
import { inTurn } from "../../api/turns.ts"
import type { BarSeries } from "../../api/types.ts"
import { newYorkInstant, timeOfMinute, withOffset } from "../../format/newyork.ts"
import type { Ticker } from "../../tickers.ts"
import { ofRecord, ofSeries, type Decision } from "./decisions.ts"
import type { Span } from "./view.ts"

/** Between two requests for the same; a market minute of the demo lasts less than a second. */
const PAUSE_MS = 4_000
const DAYS = 60
/** Minutes behind a full hour by which its decision is out. */
const BEHIND_THE_HOUR = 5

interface BarsTarget {
  readonly ticker: Ticker
  /** Null for the day that the server shows now. */
  readonly day: string | null
  readonly span: Span
}

interface DecisionsTarget {
  readonly ticker: Ticker
  readonly day: string
  /** The moments of a series of replays; null for the record of the day. */
  readonly replayed: { readonly from: string; readonly to: string } | null
}

/** What to ask for the decisions of the day of a series of bars: of a day that is over its replays, which have those that were
 * recorded and those that would have been; of the running day the record. Null where the day has none. */
export function decisionsTarget(ticker: Ticker, minutes: BarSeries | null): string | null {
  const session = minutes?.session ?? null
  const hours = session?.decision_hours ?? []
  const [first, last] = [hours[0], hours.at(-1)]
  if (session === null || first === undefined || last === undefined) return null
  const { day } = session
  const moment = (hour: number): string => withOffset(newYorkInstant(day, timeOfMinute(hour * 60 + BEHIND_THE_HOUR)))
  const replayed = minutes?.freshness === "historical" ? { from: moment(first), to: moment(last) } : null
  return JSON.stringify({ ticker, day, replayed } satisfies DecisionsTarget)
}

/** The answers, each renewed for itself. Nothing of an earlier ticker or day stays. */
export class ChartFeed {
  readonly minutes = new Renewed<BarSeries>(bars, PAUSE_MS)
  readonly longer = new Renewed<BarSeries>(bars, PAUSE_MS)
  readonly days = new Renewed<BarSeries>(bars, PAUSE_MS)
  readonly decisions = new Renewed<readonly Decision[]>(decisions, PAUSE_MS)

  askBars({ ticker, day, span }: BarsTarget): void {
    this.minutes.ask(JSON.stringify({ ticker, day, span: "1m" }))
    if (span === "5m" || span === "15m") this.longer.ask(JSON.stringify({ ticker, day, span }))
    else this.longer.stop()
  }

  askDays(ticker: Ticker, day: string | null): void {
    this.days.ask(JSON.stringify({ ticker, day, span: "1d" }))
  }

  stop(): void {
    for (const one of [this.minutes, this.longer, this.days, this.decisions]) one.stop()
  }
}

async function bars(target: string, signal: AbortSignal): Promise<Answer<BarSeries>> {
  const { ticker, day, span } = JSON.parse(target) as BarsTarget
  const query = { span, ...(day === null ? {} : { day }), ...(span === "1d" ? { days: DAYS } : {}) }
  return answer(api.GET("/v2/bars/{ticker}", { params: { path: { ticker }, query }, signal }))
}

async function decisions(target: string, signal: AbortSignal): Promise<Answer<readonly Decision[]>> {
  const { ticker, day, replayed } = JSON.parse(target) as DecisionsTarget
  if (replayed === null) {
    const query = { from: day, to: day }
    const page = await answer(api.GET("/v2/signals/{ticker}", { params: { path: { ticker }, query }, signal }))
    return page.failure === null ? { data: page.data.signals.map(ofRecord), failure: null } : page
  }
  const query = { ...replayed, step: 60 }
  const params = { path: { ticker }, query }
  const lines = await inTurn(() => answer(api.GET("/v2/replay/{ticker}", { params, parseAs: "text", signal })), signal)
  return lines.failure === null ? { data: ofSeries(lines.data), failure: null } : lines
}
