// What the chart draws, out of bars, levels and decisions. Pure; times are seconds of New York's clock, prices USD.

import type { Bar, Session } from "../../api/types.ts"
import { dollars } from "../../format/numbers.ts"
import { wallSeconds } from "../../format/newyork.ts"
import { milliseconds } from "../../format/times.ts"
import { ACTION_TONES, ACTIONS } from "../../format/words.ts"
import type { Decision } from "./decisions.ts"
import { dayOf } from "./known.ts"
import type { Day } from "./sentence.ts"

export type Span = "1m" | "5m" | "15m" | "1d"
export const SPANS: readonly Span[] = ["1m", "5m", "15m", "1d"]
export const SPAN_NAMES: Readonly<Record<Span, string>> = {
  "1m": "1 min",
  "5m": "5 min",
  "15m": "15 min",
  "1d": "Days",
}
const MINUTES: Readonly<Record<Exclude<Span, "1d">, number>> = { "1m": 1, "5m": 5, "15m": 15 }

/** The title of the newest price. */
const NOW = "Price"

/** A place on the axis of time, and the bar that is there, if any. */
export interface Slot {
  readonly time: number
  readonly bar: Bar | null
}

/** A point of a line. */
export interface Point {
  readonly time: number
  readonly value: number
}

/** A horizontal line. */
export interface Level {
  readonly title: string
  readonly price: number
  /** The colour by its name in tokens.css. */
  readonly tone: "text" | "quiet" | "link"
  readonly dashed: boolean
  /** Whether it is the newest price, which the axis names too. */
  readonly isNow: boolean
}

/** A decision on the bar that it rests on. */
export interface Mark {
  readonly time: number
  readonly text: string
  readonly tone: "call" | "put" | "none"
}

/** All that the chart draws. key: what it is of; another one begins with all bars in sight. */
export interface ChartView {
  readonly key: string
  readonly slots: readonly Slot[]
  readonly vwap: readonly Point[]
  readonly levels: readonly Level[]
  readonly marks: readonly Mark[]
}

/** The places of a session's bars, whether they have come or not, so that nothing moves when one comes. */
export function slotsOf(session: Session, span: Exclude<Span, "1d">, bars: readonly Bar[]): readonly Slot[] {
  const byStart = new Map(bars.map((bar) => [milliseconds(bar.start), bar]))
  const length = MINUTES[span] * 60_000
  const [open, close] = [milliseconds(session.open), milliseconds(session.close)]
  const first = wallSeconds(open)
  const count = Math.ceil((close - open) / length)
  return Array.from({ length: count }, (_, place) => {
    const passed = place * length
    return { time: first + passed / 1000, bar: byStart.get(open + passed) ?? null }
  })
}

/** The places of daily bars: the midnights of their days. */
export function slotsOfDays(days: readonly Bar[]): readonly Slot[] {
  return days.map((bar) => ({ time: Date.parse(`${dayOf(bar)}T00:00:00Z`) / 1000, bar }))
}

/** The VWAP at the end of each bar. finest: the shortest bars, `values` their VWAP. */
export function vwapAt(
  bars: readonly Bar[],
  finest: readonly Bar[],
  values: readonly number[],
): readonly (number | null)[] {
  const ends = new Map(finest.map((bar, place) => [bar.end, values[place] ?? null]))
  let last: number | null = null
  return bars.map((bar) => (last = ends.get(bar.end) ?? last))
}

/** The levels of the day that are known. */
export function levelsOf(day: Day): readonly Level[] {
  const { open, openingRange, pivots, at11, now } = day
  const lines: readonly (readonly [string, number | null | undefined, Level["tone"], boolean])[] = [
    [NOW, now, "text", true],
    ["Open", open, "quiet", false],
    ["11:00", at11, "text", false],
    ["OR high", openingRange?.high, "link", true],
    ["OR low", openingRange?.low, "link", true],
    ["R1", pivots?.r1, "quiet", true],
    ["Pivot", pivots?.pivot, "quiet", true],
    ["S1", pivots?.s1, "quiet", true],
  ]
  return lines.flatMap(([title, price, tone, dashed]) =>
    price === null || price === undefined ? [] : [{ title, price, tone, dashed, isNow: title === NOW }],
  )
}

/** The decisions on the last bars that had ended when they were made; those before the first bar are left out. */
export function marksOf(decisions: readonly Decision[], bars: readonly Bar[]): readonly Mark[] {
  return decisions.flatMap((decision) => {
    const bar = barBefore(decision, bars)
    if (bar === undefined) return []
    // Where there is no trade, the shape of the mark says so.
    const text = decision.action === "NO_TRADE" ? `${decision.hour}` : `${decision.hour} ${ACTIONS[decision.action]}`
    return [{ time: wallSeconds(bar.start), text, tone: ACTION_TONES[decision.action] }]
  })
}

/** The decisions that are marked on a bar. */
export function decisionsOn(bar: Bar, decisions: readonly Decision[], bars: readonly Bar[]): readonly Decision[] {
  return decisions.filter((decision) => barBefore(decision, bars) === bar)
}

function barBefore({ lockedAt }: Decision, bars: readonly Bar[]): Bar | undefined {
  const at = milliseconds(lockedAt)
  return bars.findLast((bar) => milliseconds(bar.end) <= at)
}

/** The words at the axis of a level. */
export function levelInWords({ title, price }: Level): string {
  return `${title} ${dollars(price)}`
}
