// Moments and durations as the page writes them. Pure. Moments are ISO 8601 with an offset, or milliseconds since the epoch.

import { NONE } from "./numbers.ts"
import { newYorkOffsetMs, offsetName, viewerOffsetMs } from "./offset.ts"

export type Instant = string | number
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const

/** Milliseconds since the epoch. */
export function milliseconds(at: Instant): number {
  return typeof at === "number" ? at : Date.parse(at)
}

/** The time of day in New York: `14:00`, to the second `14:00:05`. */
export function newYorkTime(at: Instant | null, { seconds = false } = {}): string {
  return at === null ? NONE : timeOf(inNewYork(at), seconds)
}

/** The time of day where the viewer is. */
export function viewerTime(at: Instant | null, { seconds = false } = {}): string {
  if (at === null) return NONE
  const moment = milliseconds(at)
  return timeOf(new Date(moment + viewerOffsetMs(moment)), seconds)
}

/** The day in New York without its year: `Fri 3 Jan`. */
export function newYorkDay(at: Instant | null): string {
  return at === null ? NONE : dayOf(inNewYork(at))
}

/** The day in New York as the API writes it: `2025-01-03`. */
export function isoDay(at: Instant): string {
  return inNewYork(at).toISOString().slice(0, 10)
}

/** The day and the time in New York: `Fri 3 Jan, 14:00`. */
export function newYorkMoment(at: Instant | null): string {
  return at === null ? NONE : `${newYorkDay(at)}, ${newYorkTime(at)}`
}

/** What New York's offset from UTC is called at a moment: `EST` or `EDT`. */
export function newYorkZone(at: Instant): string {
  const moment = milliseconds(at)
  return offsetName(newYorkOffsetMs(moment), moment)
}

/** What the viewer's is called: as New York's where it is the same, else like `UTC+1`. */
export function viewerZone(at: Instant): string {
  const moment = milliseconds(at)
  return offsetName(viewerOffsetMs(moment), moment)
}

/** A day of the API (`2025-01-03`) in words: `Fri 3 Jan 2025`. */
export function dayInWords(day: string | null): string {
  if (day === null) return NONE
  const date = new Date(`${day}T00:00:00Z`)
  return `${dayOf(date)} ${date.getUTCFullYear()}`
}

/** A span of days of the API (`2022-01-01..2024-12-31`) in words: `2022 to 2024` where its years are whole. */
export function spanInWords(span: string): string {
  const [first = "", last = ""] = span.split("..")
  const isWhole = first.endsWith("-01-01") && last.endsWith("-12-31")
  return isWhole ? `${first.slice(0, 4)} to ${last.slice(0, 4)}` : `${dayInWords(first)} to ${dayInWords(last)}`
}

/** What a clock that is shifted to New York shows (`wallSeconds`), for the axis of a chart. */
export function wallParts(seconds: number): { year: string; month: string; day: string; clock: string } {
  const shifted = new Date(seconds * 1000)
  return {
    year: String(shifted.getUTCFullYear()),
    month: MONTHS[shifted.getUTCMonth()] ?? NONE,
    day: String(shifted.getUTCDate()),
    clock: timeOf(shifted, false),
  }
}

/** The same as a day and a time: `3 Jan 2025 14:35`; of a midnight the day alone. */
export function wallMoment(seconds: number): string {
  const { year, month, day, clock } = wallParts(seconds)
  return `${day} ${month} ${year}${clock === "00:00" ? "" : ` ${clock}`}`
}

/** A full hour: 14 is `14:00`. */
export function fullHour(hour: number | null): string {
  return hour === null ? NONE : `${String(hour).padStart(2, "0")}:00`
}

/** Seconds as a duration of two parts at most: `7 s`, `4 min 05 s`, `1 h 03 min`, `2 d 4 h`. */
export function duration(seconds: number | null): string {
  if (seconds === null) return NONE
  const whole = Math.max(0, Math.floor(seconds))
  const [minutes, hours, days] = [Math.floor(whole / 60), Math.floor(whole / 3600), Math.floor(whole / 86_400)]
  if (minutes === 0) return `${whole} s`
  if (hours === 0) return `${minutes} min ${twoDigits(whole % 60)} s`
  return days === 0 ? `${hours} h ${twoDigits(minutes % 60)} min` : `${days} d ${hours % 24} h`
}

/** How old something is: `12 s old`. */
export function age(seconds: number | null): string {
  return seconds === null ? "age unknown" : `${duration(seconds)} old`
}

/** A date whose UTC fields are what New York's clock and calendar show. */
function inNewYork(at: Instant): Date {
  const moment = milliseconds(at)
  return new Date(moment + newYorkOffsetMs(moment))
}

function timeOf(shifted: Date, seconds: boolean): string {
  return shifted.toISOString().slice(11, seconds ? 19 : 16)
}

function dayOf(shifted: Date): string {
  return `${WEEKDAYS[shifted.getUTCDay()]} ${shifted.getUTCDate()} ${MONTHS[shifted.getUTCMonth()]}`
}

function twoDigits(count: number): string {
  return String(count).padStart(2, "0")
}
