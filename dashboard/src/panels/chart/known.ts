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

/** The last daily bar before a day; null if it is not among them. */
export function dayBefore(daily: readonly Bar[], day: string): Bar | null {
  return daily.filter((bar) => bar.start.slice(0, 10) < day).at(-1) ?? null
}

/** The day of a bar, as the API writes it. */
export function dayOf(bar: Bar): string {
  return bar.start.slice(0, 10)
}
