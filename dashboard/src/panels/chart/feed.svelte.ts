// What the chart asks the server for: bars, daily bars, and the day's decisions.

import { api, answer, type Answer } from "../../api/client.ts"
import { Renewed } from "../../api/renewed.svelte.ts"
import type { BarSeries, Session } from "../../api/types.ts"
import type { DayDecisions } from "../../live/day-decisions.ts"
import type { Ticker } from "../../tickers.ts"
import { ofRecord, ofSeries, type Decision } from "./decisions.ts"
import type { Span } from "./view.ts"

/** Between two requests for the same; a market minute of the demo lasts less than a second. */
const PAUSE_MS = 4_000
/** Bars of now come as late as this in real time, where all is well. */
export const LATE_MS = 2 * PAUSE_MS
const DAYS = 60

interface BarsTarget {
  readonly ticker: Ticker
  /** Null for the day that the server shows now. */
  readonly day: string | null
  readonly span: Span
}

type Intraday = Exclude<Span, "1d">

interface DecisionsTarget {
  readonly ticker: Ticker
  readonly session: Session
  readonly isOver: boolean
}

/** The spans that a day's chart of `span` needs: the finest bars, which say opening range and VWAP, and its own. */
export function neededSpans(span: Span, hasMinutes: boolean): readonly Intraday[] {
  const finest: readonly Intraday[] = hasMinutes ? ["1m"] : ["1m", "5m"]
  return span === "1d" || finest.includes(span) ? finest : [...finest, span]
}

/** The finest bars of the day: those of one minute, or of five where there are none of one. */
export function finestOf(minutes: BarSeries | null, fives: BarSeries | null): BarSeries | null {
  if (minutes === null || minutes.bars.length > 0 || fives === null) return minutes
  const isSame = minutes.ticker === fives.ticker && minutes.first_day === fives.first_day
  return isSame && fives.bars.length > 0 ? fives : minutes
}

/** What to ask for the decisions of the day of a series of bars; null where the day has none. */
export function decisionsTarget(ticker: Ticker, series: BarSeries | null): string | null {
  const session = series?.session ?? null
  if (session === null || session.decision_hours.length === 0) return null
  return JSON.stringify({ ticker, session, isOver: series?.freshness === "historical" } satisfies DecisionsTarget)
}

/** The answers, each renewed for itself. Nothing of an earlier ticker or day stays. */
export class ChartFeed {
  readonly series: Readonly<Record<Span, Renewed<BarSeries>>> = {
    "1m": new Renewed(bars, PAUSE_MS),
    "5m": new Renewed(bars, PAUSE_MS),
    "15m": new Renewed(bars, PAUSE_MS),
    "1d": new Renewed(bars, PAUSE_MS),
  }
  readonly decisions: Renewed<readonly Decision[]>

  constructor(decisions: DayDecisions) {
    this.decisions = new Renewed((target, signal) => askDecisions(decisions, target, signal), PAUSE_MS)
  }

  get finest(): BarSeries | null {
    return finestOf(this.series["1m"].data, this.series["5m"].data)
  }

  /** Whether the day has one-minute bars, as far as is known. */
  get hasMinutes(): boolean {
    return this.series["1m"].data?.bars.length !== 0
  }

  /** Ask for the bars of a day in these spans, and for no others. */
  askBars(ticker: Ticker, day: string | null, spans: readonly Intraday[]): void {
    for (const span of ["1m", "5m", "15m"] as const) {
      if (spans.includes(span)) this.series[span].ask(JSON.stringify({ ticker, day, span } satisfies BarsTarget))
      else this.series[span].stop()
    }
  }

  askDays(ticker: Ticker, day: string | null): void {
    this.series["1d"].ask(JSON.stringify({ ticker, day, span: "1d" } satisfies BarsTarget))
  }

  stop(): void {
    for (const one of [...Object.values(this.series), this.decisions]) one.stop()
  }
}

async function bars(target: string, signal: AbortSignal): Promise<Answer<BarSeries>> {
  const { ticker, day, span } = JSON.parse(target) as BarsTarget
  const query = { span, ...(day === null ? {} : { day }), ...(span === "1d" ? { days: DAYS } : {}) }
  return answer(api.GET("/v2/bars/{ticker}", { params: { path: { ticker }, query }, signal }))
}

/** Of a day that is over its replays, which have the decisions that were recorded and those that would have been; of the running day the
 * record. */
async function askDecisions(
  decisions: DayDecisions,
  target: string,
  signal: AbortSignal,
): Promise<Answer<readonly Decision[]>> {
  const { ticker, session, isOver } = JSON.parse(target) as DecisionsTarget
  if (isOver) {
    const found = await decisions.replays(ticker, session, Infinity, signal)
    return found.failure === null ? { data: ofSeries(found.data), failure: null } : found
  }
  const found = await decisions.record(ticker, session.day, signal)
  return found.failure === null ? { data: found.data.map(ofRecord), failure: null } : found
}
