// Which bars were known at a moment. /v2/bars answers what is known now, so that a past moment needs fewer of them. Pure.

import type { Bar } from "../../api/types.ts"
import { milliseconds } from "../../format/times.ts"

/** How long after its close the bar of a day comes, as the server has it. */
const DAILY_BAR_AFTER_MS = 15 * 60_000

/** The bars that had ended at a moment. at: null for all of them, since the server answers none that has not ended. */
export function endedBy(bars: readonly Bar[], at: number | null): readonly Bar[] {
  return at === null ? bars : bars.filter((bar) => milliseconds(bar.end) <= at)
}

/** The daily bars that were known at a moment. */
export function daysKnownAt(bars: readonly Bar[], at: number | null): readonly Bar[] {
  return endedBy(bars, at === null ? null : at - DAILY_BAR_AFTER_MS)
}

/** Whether the newest of the bars of a running day has ended more than two bars before `asOf`, the end of the newest bar that the page
 * heard of. slackMs: market time that may pass besides, while bars are asked for. */
export function isBehind(bars: readonly Bar[], asOf: string | null, slackMs: number): boolean {
  const last = bars.at(-1)
  if (last === undefined || asOf === null) return false
  const end = milliseconds(last.end)
  return milliseconds(asOf) - end > 2 * (end - milliseconds(last.start)) + slackMs
}

/** The last daily bar before a day; null if it is not among them. */
export function dayBefore(daily: readonly Bar[], day: string): Bar | null {
  return daily.filter((bar) => bar.start.slice(0, 10) < day).at(-1) ?? null
}

/** The day of a bar, as the API writes it. */
export function dayOf(bar: Bar): string {
  return bar.start.slice(0, 10)
}
