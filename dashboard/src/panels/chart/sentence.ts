// The sentence above the chart, the summary of the chart for people who do not see it, and what the cursor says. Pure.

import type { Bar } from "../../api/types.ts"
import { counted, dollars, NONE, shareInPercent, signedDollars, signedPercent, whole } from "../../format/numbers.ts"
import { dayInWords, fullHour, milliseconds, newYorkTime } from "../../format/times.ts"
import { ACTIONS } from "../../format/words.ts"
import type { Decision } from "./decisions.ts"
import { dayOf } from "./known.ts"
import type { Pivots, PriceRange } from "./measures.ts"

/** What is known of the day at the moment that the chart shows. */
export interface Day {
  readonly ticker: string
  /** The shortest ones that there are. */
  readonly bars: readonly Bar[]
  readonly open: number | null
  /** The newest price: that of the signal which is shown may be newer than the newest bar. */
  readonly now: number | null
  readonly openingRange: PriceRange | null
  readonly vwap: number | null
  readonly pivots: Pivots | null
  readonly at11: number | null
  readonly decisions: readonly Decision[]
}

/** Prices that differ by less than half a cent are the same. */
const SAME = 0.005

/** Where the price stands, in one sentence: `SPY at $459.03 (12:07 New York) is −$0.80 (−0.17%) from its open ...`. */
export function sentenceOf(day: Day): string {
  const newest = day.bars.at(-1)
  if (newest === undefined) return `${day.ticker} has no bar of the session yet.`
  const price = newest.close
  const places = [
    day.open === null
      ? null
      : `${signedDollars(price - day.open)} (${signedPercent((price / day.open - 1) * 100)}) from its open`,
    day.vwap === null ? null : `${beside(price, day.vwap)} VWAP (${dollars(day.vwap)})`,
    day.openingRange === null ? null : `${besideRange(price, day.openingRange)} the opening range`,
    day.pivots === null ? null : betweenPivots(price, day.pivots),
    day.at11 === null ? null : `${beside(price, day.at11)} its 11:00 price`,
  ].filter((place) => place !== null)
  const where = places.length === 0 ? "" : ` is ${listed(places)}`
  return `${day.ticker} at ${dollars(price)} (${newYorkTime(newest.end)} New York)${where}.`
}

/** The chart in words: extremes with their times, levels, decisions. */
export function summaryOf(day: Day): readonly string[] {
  const { bars, openingRange, vwap, pivots, at11, decisions } = day
  const [first, newest] = [bars[0], bars.at(-1)]
  if (first === undefined || newest === undefined) return [`There are no bars of ${day.ticker} yet.`]
  const highest = bars.reduce((best, bar) => (bar.high > best.high ? bar : best), first)
  const lowest = bars.reduce((best, bar) => (bar.low < best.low ? bar : best), first)
  return [
    `${whole(bars.length)} bars of ${lengthInWords(first)} from ${newYorkTime(first.start)} to ${newYorkTime(newest.end)}.`,
    `Highest ${dollars(highest.high)} at ${newYorkTime(highest.start)}, lowest ${dollars(lowest.low)} at ${newYorkTime(lowest.start)}, last ${dollars(newest.close)}.`,
    openingRange === null
      ? "The opening range is not known yet."
      : `Opening range ${dollars(openingRange.low)} to ${dollars(openingRange.high)}.`,
    `VWAP ${dollars(vwap)}. 11:00 price ${dollars(at11)}.`,
    pivots === null
      ? "Pivots are not known."
      : `Pivot ${dollars(pivots.pivot)}, R1 ${dollars(pivots.r1)}, S1 ${dollars(pivots.s1)}.`,
    decisions.length === 0 ? "No decision yet." : `Decisions: ${decisions.map(decisionInWords).join("; ")}.`,
  ]
}

function lengthInWords({ start, end }: Bar): string {
  return counted((milliseconds(end) - milliseconds(start)) / 60_000, "minute")
}

/** `14:00 BUY CALL at $459.03, 78.1%`. */
export function decisionInWords({ hour, action, price, probability }: Decision): string {
  return `${fullHour(hour)} ${ACTIONS[action]} at ${dollars(price)}, ${shareInPercent(probability)}`
}

/** The chart of days in one sentence. */
export function sentenceOfDays(ticker: string, days: readonly Bar[]): string {
  const [first, newest] = [days[0], days.at(-1)]
  if (first === undefined || newest === undefined) return `${ticker} has no daily bars.`
  const change = signedPercent((newest.close / first.close - 1) * 100)
  return `${ticker} closed at ${dollars(newest.close)} on ${dayInWords(dayOf(newest))}, ${change} from ${dayInWords(dayOf(first))}.`
}

/** A bar as the cursor says it. vwap: null for daily bars. */
export function barInWords(bar: Bar, vwap: number | null, isDaily: boolean, decisions: readonly Decision[]): string {
  const when = isDaily ? dayInWords(dayOf(bar)) : `${newYorkTime(bar.start)} to ${newYorkTime(bar.end)}`
  const prices = `open ${dollars(bar.open)}, high ${dollars(bar.high)}, low ${dollars(bar.low)}, close ${dollars(bar.close)}`
  const rest = [
    `volume ${whole(bar.volume)}`,
    vwap === null ? null : `VWAP ${dollars(vwap)}`,
    ...decisions.map(decisionInWords),
  ]
  return `${when}: ${prices}, ${rest.filter((part) => part !== null).join(", ")}.`
}

function beside(price: number, level: number): string {
  if (Math.abs(price - level) < SAME) return "at"
  return price > level ? "above" : "below"
}

function besideRange(price: number, { high, low }: PriceRange): string {
  if (price > high) return "above"
  return price < low ? "below" : "inside"
}

function betweenPivots(price: number, { pivot, r1, s1 }: Pivots): string {
  if (price >= r1) return `above R1 (${dollars(r1)})`
  if (price < s1) return `below S1 (${dollars(s1)})`
  return price >= pivot
    ? `between the pivot (${dollars(pivot)}) and R1`
    : `between S1 and the pivot (${dollars(pivot)})`
}

function listed(parts: readonly string[]): string {
  const last = parts.at(-1) ?? NONE
  return parts.length < 2 ? last : `${parts.slice(0, -1).join(", ")} and ${last}`
}
