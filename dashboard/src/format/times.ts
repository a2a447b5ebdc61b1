// Moments and durations as the page writes them. Pure. Moments are ISO 8601 with an offset, or milliseconds since the epoch.

import { NONE } from "./numbers.ts"

export type Instant = string | number
export const NEW_YORK = "America/New_York"

const OF_DAY = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const
const DATE = { weekday: "short", day: "numeric", month: "short" } as const
const TO_THE_SECOND = { ...OF_DAY, second: "2-digit" } as const
const [timeOf, secondOf, viewerTimeOf, viewerSecondOf] = [
  new Intl.DateTimeFormat("en-GB", { ...OF_DAY, timeZone: NEW_YORK }),
  new Intl.DateTimeFormat("en-GB", { ...TO_THE_SECOND, timeZone: NEW_YORK }),
  new Intl.DateTimeFormat("en-GB", OF_DAY),
  new Intl.DateTimeFormat("en-GB", TO_THE_SECOND),
]
const dayOf = new Intl.DateTimeFormat("en-GB", { ...DATE, timeZone: NEW_YORK })
const dateOf = new Intl.DateTimeFormat("en-GB", { ...DATE, year: "numeric", timeZone: "UTC" })
const isoOf = new Intl.DateTimeFormat("en-CA", {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  timeZone: NEW_YORK,
})

/** Milliseconds since the epoch. */
export function milliseconds(at: Instant): number {
  return typeof at === "number" ? at : Date.parse(at)
}

/** The time of day in New York: `14:00`, to the second `14:00:05`. */
export function newYorkTime(at: Instant | null, { seconds = false } = {}): string {
  return at === null ? NONE : (seconds ? secondOf : timeOf).format(milliseconds(at))
}

/** The time of day where the viewer is. */
export function viewerTime(at: Instant | null, { seconds = false } = {}): string {
  return at === null ? NONE : (seconds ? viewerSecondOf : viewerTimeOf).format(milliseconds(at))
}

/** The day in New York without its year: `Fri 3 Jan`. */
export function newYorkDay(at: Instant | null): string {
  return at === null ? NONE : spaced(dayOf, milliseconds(at))
}

/** The day in New York as the API writes it: `2025-01-03`. */
export function isoDay(at: Instant): string {
  return isoOf.format(milliseconds(at))
}

/** The day and the time in New York: `Fri 3 Jan, 14:00`. */
export function newYorkMoment(at: Instant | null): string {
  return at === null ? NONE : `${newYorkDay(at)}, ${newYorkTime(at)}`
}

/** What a zone is called at a moment, like `EST`, `EDT` or `GMT+1`; without a zone that of the viewer. */
export function zoneName(at: Instant, zone?: string): string {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZoneName: "short",
    ...(zone === undefined ? {} : { timeZone: zone }),
  })
  return format.formatToParts(milliseconds(at)).find(({ type }) => type === "timeZoneName")?.value ?? NONE
}

/** A day of the API (`2025-01-03`) in words: `Fri 3 Jan 2025`. */
export function dayInWords(day: string | null): string {
  return day === null ? NONE : spaced(dateOf, Date.parse(`${day}T00:00:00Z`))
}

/** A span of days of the API (`2022-01-01..2024-12-31`) in words: `2022 to 2024` where its years are whole. */
export function spanInWords(span: string): string {
  const [first = "", last = ""] = span.split("..")
  const isWhole = first.endsWith("-01-01") && last.endsWith("-12-31")
  return isWhole ? `${first.slice(0, 4)} to ${last.slice(0, 4)}` : `${dayInWords(first)} to ${dayInWords(last)}`
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

/** The offset of New York from UTC at a moment, milliseconds (negative): for charts, which know no time zones. */
export function newYorkOffsetMs(at: Instant): number {
  const parts = new Map(partsOf.formatToParts(milliseconds(at)).map(({ type, value }) => [type, Number(value)]))
  const part = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0
  const shown = Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second"))
  return shown - Math.floor(milliseconds(at) / 1000) * 1000
}

const partsOf = new Intl.DateTimeFormat("en-GB", {
  year: "numeric",
  month: "numeric",
  day: "numeric",
  ...TO_THE_SECOND,
  timeZone: NEW_YORK,
})

/** The parts of a date with one space between them: versions of a browser differ in the commas. */
function spaced(format: Intl.DateTimeFormat, at: number): string {
  const parts = format.formatToParts(at).filter(({ type }) => type !== "literal")
  return parts.map(({ value }) => value).join(" ")
}

function twoDigits(count: number): string {
  return String(count).padStart(2, "0")
}
