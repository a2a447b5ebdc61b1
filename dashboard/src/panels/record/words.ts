// The sentences and rows of the track record. Pure.

import type { RecordedSignal } from "../../api/types.ts"
import { counted, shareInPercent, signedPercent } from "../../format/numbers.ts"
import { fullHour } from "../../format/times.ts"
import { inWords, withoutMark } from "../../format/words.ts"
import type { Plotted } from "../../parts/plot/options.ts"
import type { Book } from "./pages.ts"
import { dayOfEntry, latestOf, linesOf, type Counts, type Entry, type GapEntry, type Trades } from "./running.ts"

/** Hit rate beside promise, in a sentence. */
export function standing(entries: readonly (Entry | GapEntry)[], source: Book["source"]): string {
  const last = latestOf(entries)
  if (last === null)
    return "No signal of a day on which the model was not trained has an outcome yet, so that there is no hit rate."
  const rate = `The side was right in ${shareInPercent(last.hitRate)} of ${counted(last.judged, "signal")} with an outcome`
  if (source === "demo")
    return `${rate}. The prices are those of a demo market, for which the model's evaluation promises nothing.`
  if (last.promised === null)
    return `${rate}. Not all of them are of the loaded model, so that nothing is promised for them together.`
  return `${rate}; ${shareInPercent(last.promised)} were promised for these hours and targets by the model's own evaluation.`
}

/** Counts in a sentence. */
export function countsInWords({ signals, trades, right, wrong, withoutOutcome }: Counts): string {
  const judged = `${right} right, ${wrong} wrong, ${withoutOutcome} without an outcome yet`
  return `${counted(signals, "signal")}, ${counted(trades, "trade")}: ${judged}.`
}

/** What became of the trades, in a sentence. */
export function tradesInWords({ gained, lost, even, sumPercent }: Trades): string {
  const count = gained + lost + even
  if (count === 0) return "No trade has an outcome yet."
  const rest = even === 0 ? "" : `, ${even} neither`
  return `Of ${counted(count, "trade")} with an outcome ${gained} gained and ${lost} lost${rest} from the decision price to the close, ${signedPercent(sumPercent)} of the price together, without costs.`
}

/** What became of a signal. */
export function outcomeOf({ outcome }: RecordedSignal): { readonly word: string; readonly shape: string } {
  if (outcome === null) return { word: "not known yet", shape: "…" }
  if (outcome.right === null) return { word: "on no side", shape: "=" }
  return outcome.right ? { word: "right", shape: "✓" } : { word: "wrong", shape: "✗" }
}

/** How the trade of a signal ended; empty without a trade. */
export function exitOf({ levels, outcome, outcome_reason }: RecordedSignal): string {
  if (levels === null) return "no trade"
  if (outcome === null) return withoutMark(outcome_reason ?? "not known yet")
  if (outcome.exit === null) return outcome.exit_reason ?? "not known"
  return `${inWords(outcome.exit.kind)} ${signedPercent(outcome.exit.return_percent)}`.replace(" –", "")
}

/** The hours of a gap. */
export function gapInWords({ gap }: GapEntry): string {
  const hours = gap.decision_hours.map((hour) => fullHour(hour)).join(", ")
  return `No signal of ${hours}: the server could not decide, or did not run.`
}

/** The chart: one place per signal and gap, in the order of time, with a line where the record begins. */
export function plottedOf(entries: readonly (Entry | GapEntry)[], recordBegins: string | null): Plotted {
  const lines = linesOf(entries)
  const days = lines.entries.map(dayOfEntry)
  const begins = days.findIndex((day) => day === recordBegins)
  return {
    x: days.map((_, place) => place),
    marks: begins < 0 ? [] : [{ x: begins - 0.5, name: "The record begins" }],
    limits: [0, 1],
    nameOf: (place) => (days[place] ?? "").slice(5),
    valueOf: (share) => shareInPercent(share, 0),
    lines: [
      {
        name: "Hit rate so far",
        token: "link",
        style: "solid",
        values: lines.hitRate,
        hasPoints: lines.hitRate.length < 60,
      },
      { name: "Promised so far", token: "text", style: "dashed", values: lines.promised },
    ],
  }
}

/** Gaps before the record begins, together; the others are rows of their own. */
export function daysBefore(entries: readonly (Entry | GapEntry)[]): number {
  return entries.filter((entry) => entry.kind === "gap" && entry.isBeforeRecord).length
}

/** How many days the viewer can choose; the server answers about fewer than 400. */
export const PERIODS = [30, 90, 365] as const
const DAY_MS = 86_400_000

/** The first of so many days up to `lastDay` (YYYY-MM-DD); null for the server's own default, the last 30 days. */
export function firstDayOf(lastDay: string | null, days: number): string | null {
  if (lastDay === null) return null
  return new Date(Date.parse(`${lastDay}T00:00:00Z`) - days * DAY_MS).toISOString().slice(0, 10)
}
