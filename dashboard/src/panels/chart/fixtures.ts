// Bars and signals for tests: a session of 2026-03-09, the Monday behind the change of clocks.

import type { Bar, RecordedSignal, Session } from "../../api/types.ts"
import { withOffset } from "../../format/newyork.ts"

export const SESSION: Session = {
  day: "2026-03-09",
  open: "2026-03-09T09:30:00-04:00",
  close: "2026-03-09T16:00:00-04:00",
  early_close: false,
  decision_hours: [10, 11, 12, 13, 14, 15],
}

/** Bars of so many minutes from the open on, whose prices rise by ten cents each. */
export function minuteBars(count: number, minutes = 1, session = SESSION): readonly Bar[] {
  return Array.from({ length: count }, (_, place) => {
    const start = Date.parse(session.open) + place * minutes * 60_000
    return barOf(withOffset(start), withOffset(start + minutes * 60_000), 100 + place / 10)
  })
}

export function dailyBar(day: string, price: number): Bar {
  return barOf(`${day}T00:00:00-04:00`, `${day}T16:00:00-04:00`, price)
}

function barOf(start: string, end: string, open: number): Bar {
  return { start, end, open, high: open + 0.2, low: open - 0.1, close: open + 0.1, volume: 1000, regular: true }
}

/** What of a recorded signal the chart reads. */
export function recorded(hour: number, action: RecordedSignal["action"]): RecordedSignal {
  return {
    decision_hour: hour,
    locked_at: `2026-03-09T${hour}:00:00-04:00`,
    action,
    probability: 0.781,
    prices: { at_decision: 103.1, session_open: 100, at_11: hour < 11 ? null : 109 },
  } as RecordedSignal
}
