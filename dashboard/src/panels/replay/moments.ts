// The moments of a replay: where the slider may go, and where a step leads. Pure; minutes are those of the day in New York.

import type { Session } from "../../api/types.ts"
import { minuteOfDay, timeOfMinute } from "../../format/newyork.ts"
import { isoDay, newYorkTime } from "../../format/times.ts"
import type { Moment } from "../../router.ts"

export interface Bounds {
  readonly min: number
  readonly max: number
}

/** A session where the day's own is not known, as on a day without trading. */
const USUAL: Bounds = { min: minuteOfDay("09:30"), max: minuteOfDay("16:00") }

/** Where the slider may go: over the session, and to the moment that the address names; on the market's own day not beyond its now.
 * now: market time, milliseconds; null where it is not known. */
export function boundsOf(session: Session | null, at: Moment, now: number | null): Bounds {
  const { min, max } = session === null ? USUAL : { min: minuteIn(session.open), max: minuteIn(session.close) }
  const own = minuteOfDay(at.time)
  const latest = now !== null && isoDay(now) === at.date ? Math.max(min, minuteOfDay(newYorkTime(now))) : max
  return { min: Math.min(min, own), max: Math.max(Math.min(max, latest), own) }
}

/** So many minutes later, or earlier, within bounds. */
export function stepped(time: string, minutes: number, { min, max }: Bounds): string {
  return timeOfMinute(Math.min(max, Math.max(min, minuteOfDay(time) + minutes)))
}

/** The next decision of the session behind (`direction` 1) or before (-1) a time; null where there is none. */
export function nextDecision(time: string, direction: 1 | -1, session: Session | null, { max }: Bounds): string | null {
  const own = minuteOfDay(time)
  const hours = (session?.decision_hours ?? []).map((hour) => hour * 60).filter((minute) => minute <= max)
  const found = direction === 1 ? hours.find((minute) => minute > own) : hours.findLast((minute) => minute < own)
  return found === undefined ? null : timeOfMinute(found)
}

/** The trading day behind (`direction` 1) or before (-1) a day; null where the calendar at hand has none. today: the market's day,
 * which is the last one. */
export function nextDay(
  day: string,
  direction: 1 | -1,
  sessions: readonly Session[],
  today: string | null,
): string | null {
  const days = sessions.map((session) => session.day).filter((one) => today === null || one <= today)
  const found = direction === 1 ? days.find((one) => one > day) : days.findLast((one) => one < day)
  return found ?? null
}

/** A day so many calendar days later: 2026-03-08, -1 is 2026-03-07. */
export function dayLater(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10)
}

function minuteIn(at: string): number {
  return minuteOfDay(newYorkTime(at))
}
