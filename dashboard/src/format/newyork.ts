// From a day and a time in New York to a moment and back, and the shifted seconds that a chart needs. Pure.

import { newYorkOffsetMs } from "./offset.ts"
import { milliseconds, type Instant } from "./times.ts"

const MINUTE_MS = 60_000

/** Seconds since the epoch of a clock in UTC that shows what New York's clock shows at a moment: charts know no time zones. */
export function wallSeconds(at: Instant): number {
  const moment = milliseconds(at)
  return Math.floor((moment + newYorkOffsetMs(moment)) / 1000)
}

/** The moment at which New York's clock shows a time (`14:35`) on a day (`2025-01-03`), milliseconds since the epoch. A time that
 * is shown twice is the first one; one that is skipped is as far behind the change as it names. */
export function newYorkInstant(day: string, time: string): number {
  const shown = Date.parse(`${day}T${time}:00Z`)
  const before = shown - newYorkOffsetMs(shown - 24 * 60 * MINUTE_MS)
  const guess = before + newYorkOffsetMs(before) === shown ? before : shown - newYorkOffsetMs(before)
  return guess + newYorkOffsetMs(guess) === shown ? guess : before
}

/** A moment as the API takes it, with New York's offset: `2025-01-03T14:35:00-05:00`. */
export function withOffset(at: Instant): string {
  const moment = milliseconds(at)
  const minutes = Math.round(newYorkOffsetMs(moment) / MINUTE_MS)
  const wall = new Date(moment + minutes * MINUTE_MS).toISOString().slice(0, 19)
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60]
  return `${wall}${minutes < 0 ? "-" : "+"}${twoDigits(hours)}:${twoDigits(rest)}`
}

/** Minutes since midnight of a time: `09:30` is 570. */
export function minuteOfDay(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5))
}

/** The time that is so many minutes after midnight: 570 is `09:30`. */
export function timeOfMinute(minute: number): string {
  return `${twoDigits(Math.floor(minute / 60))}:${twoDigits(minute % 60)}`
}

function twoDigits(count: number): string {
  return String(count).padStart(2, "0")
}
