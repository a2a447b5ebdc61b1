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
const DAYS = 60

interface BarsTarget {
  readonly ticker: Ticker
  /** Null for the day that the server shows now. */
  readonly day: string | null
  readonly span: Span
}

interface DecisionsTarget {
  readonly ticker: Ticker
  readonly session: Session
  readonly isOver: boolean
}

/** What to ask for the decisions of the day of a series of bars; null where the day has none. */
export function decisionsTarget(ticker: Ticker, minutes: BarSeries | null): string | null {
  const session = minutes?.session ?? null
  if (session === null || session.decision_hours.length === 0) return null
  return JSON.stringify({ ticker, session, isOver: minutes?.freshness === "historical" } satisfies DecisionsTarget)
}

/** The answers, each renewed for itself. Nothing of an earlier ticker or day stays. */
export class ChartFeed {
  readonly minutes = new Renewed<BarSeries>(bars, PAUSE_MS)
  readonly longer = new Renewed<BarSeries>(bars, PAUSE_MS)
  readonly days = new Renewed<BarSeries>(bars, PAUSE_MS)
  readonly decisions: Renewed<readonly Decision[]>

  constructor(decisions: DayDecisions) {
    this.decisions = new Renewed((target, signal) => askDecisions(decisions, target, signal), PAUSE_MS)
  }

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
