// All that the chart panel shows, out of what the server answered, at one moment. Pure.

import type { Bar, BarSeries } from "../../api/types.ts"
import { milliseconds } from "../../format/times.ts"
import { decidedBy, type Decision } from "./decisions.ts"
import { dayBefore, daysKnownAt, endedBy } from "./known.ts"
import { openingRange, pivots, vwap } from "./measures.ts"
import { sentenceOf, sentenceOfDays, summaryOf, type Day } from "./sentence.ts"
import { levelsOf, marksOf, slotsOf, slotsOfDays, vwapAt, type ChartView, type Span } from "./view.ts"
import type { TradingSignal } from "../../live/types.ts"

/** What is known. span: that of the bars which are drawn; at: the moment of a replay, null for now; finest: the day's shortest bars;
 * drawn: those of the span. */
export interface Known {
  readonly ticker: string
  readonly span: Span
  readonly at: number | null
  readonly finest: BarSeries | null
  readonly drawn: BarSeries | null
  readonly days: BarSeries | null
  readonly decisions: readonly Decision[]
  /** The signal that the page shows at that moment. */
  readonly signal: TradingSignal | null
}

/** What is shown. bars: those that are drawn; vwap: at the end of each of them, null for daily bars. */
export interface Chart {
  readonly day: Day
  readonly bars: readonly Bar[]
  readonly vwap: readonly (number | null)[]
  readonly view: ChartView
  readonly sentence: string
  readonly summary: readonly string[]
}

export function chartOf(known: Known): Chart {
  return known.span === "1d" ? ofDays(known) : ofDay(known, known.span)
}

function ofDays(known: Known): Chart {
  const bars = daysKnownAt(known.days?.bars ?? [], known.at)
  const sentence = sentenceOfDays(known.ticker, bars)
  return {
    day: dayAt(known),
    bars,
    vwap: bars.map(() => null),
    view: {
      key: `${known.ticker} days ${known.days?.last_day}`,
      slots: slotsOfDays(bars),
      vwap: [],
      levels: [],
      marks: [],
    },
    sentence,
    summary: [sentence],
  }
}

function ofDay(known: Known, span: Exclude<Span, "1d">): Chart {
  const day = dayAt(known)
  const bars = endedBy(known.drawn?.bars ?? [], known.at)
  const averages = vwapAt(bars, day.bars, vwap(day.bars))
  const session = known.finest?.session ?? null
  const slots = session === null ? [] : slotsOf(session, span, bars)
  const points = slots.filter(({ bar }) => bar !== null)
  const line = points.flatMap(({ time }, place) => {
    const value = averages[place] ?? null
    return value === null ? [] : [{ time, value }]
  })
  const key = `${known.ticker} ${session?.day} ${span}`
  const view = { key, slots, vwap: line, levels: levelsOf(day), marks: marksOf(day.decisions, bars) }
  return { day, bars, vwap: averages, view, sentence: sentenceOf(day), summary: summaryOf(day) }
}

/** What is known of the day at the moment. */
function dayAt({ ticker, at, finest, days, decisions, signal }: Known): Day {
  const session = finest?.session ?? null
  const bars = endedBy(finest?.bars ?? [], at)
  const decided = decidedBy(decisions, at, signal)
  const previous = session === null ? null : dayBefore(days?.bars ?? [], session.day)
  return {
    ticker,
    bars,
    open: bars.length === 0 ? null : (finest?.session_open ?? null),
    now: newestPrice(bars.at(-1), signal),
    openingRange: session === null ? null : openingRange(bars, session),
    vwap: vwap(bars).at(-1) ?? null,
    pivots: previous === null ? null : pivots(previous),
    at11: signal?.prices.at_11 ?? decided.findLast((decision) => decision.at11 !== null)?.at11 ?? null,
    decisions: decided,
  }
}

/** The price of the signal or of the newest bar, whichever is newer. */
function newestPrice(bar: Bar | undefined, signal: TradingSignal | null): number | null {
  const asOf = signal?.as_of ?? null
  const isNewer = asOf !== null && (bar === undefined || milliseconds(asOf) > milliseconds(bar.end))
  return (isNewer ? signal?.prices.now : bar?.close) ?? null
}
