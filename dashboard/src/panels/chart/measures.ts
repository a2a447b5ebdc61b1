// What the chart draws beside the bars: opening range, VWAP, pivots, extremes. Pure; USD.

import type { Bar, Session } from "../../api/types.ts"
import { milliseconds } from "../../format/times.ts"

/** The opening range is that of the first half hour of the session. */
const OPENING_RANGE_MS = 30 * 60_000

export interface PriceRange {
  readonly high: number
  readonly low: number
}

export interface Pivots {
  readonly pivot: number
  readonly r1: number
  readonly s1: number
}

/** Highest and lowest price; null without bars. */
export function rangeOf(bars: readonly Bar[]): PriceRange | null {
  if (bars.length === 0) return null
  return { high: Math.max(...bars.map((bar) => bar.high)), low: Math.min(...bars.map((bar) => bar.low)) }
}

/** The range of the first half hour; null until it is over. */
export function openingRange(bars: readonly Bar[], session: Session): PriceRange | null {
  const ends = milliseconds(session.open) + OPENING_RANGE_MS
  const newest = bars.at(-1)
  if (newest === undefined || milliseconds(newest.end) < ends) return null
  return rangeOf(bars.filter((bar) => milliseconds(bar.end) <= ends))
}

/** The volume-weighted average price from the open to the end of each bar, of (high + low + close) / 3. */
export function vwap(bars: readonly Bar[]): readonly number[] {
  let [value, shares] = [0, 0]
  return bars.map((bar) => {
    value += ((bar.high + bar.low + bar.close) / 3) * bar.volume
    shares += bar.volume
    return shares === 0 ? bar.close : value / shares
  })
}

/** The pivots that the day before gives (docs/spec/northstar.md 3.9). */
export function pivots(previous: Bar): Pivots {
  const pivot = cents((previous.high + previous.low + previous.close) / 3)
  return { pivot, r1: cents(2 * pivot - previous.low), s1: cents(2 * pivot - previous.high) }
}

function cents(price: number): number {
  return Math.round(price * 100) / 100
}
