// How far the clocks of New York and of the viewer are from UTC. Pure. Intl knows New York's as well, but its first use takes browsers
// 60 ms, a quarter of a second on a slow machine, before anything is shown. The tests compare both.

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const STANDARD_MS = -5 * HOUR_MS
const DAYLIGHT_MS = -4 * HOUR_MS

/** New York's offset from UTC, milliseconds (negative). Daylight time begins and ends at 2:00: since 2007 on the second Sunday of March and
 * the first one of November, since 1987 on the first Sunday of April and the last one of October. */
export function newYorkOffsetMs(moment: number): number {
  const year = new Date(moment).getUTCFullYear()
  const [first, last] =
    year < 2007 ? [sundayFrom(year, 4, 1), sundayFrom(year, 10, 25)] : [sundayFrom(year, 3, 8), sundayFrom(year, 11, 1)]
  const isDaylight = moment >= first + 2 * HOUR_MS - STANDARD_MS && moment < last + 2 * HOUR_MS - DAYLIGHT_MS
  return isDaylight ? DAYLIGHT_MS : STANDARD_MS
}

/** The offset of the viewer from UTC, milliseconds. */
export function viewerOffsetMs(moment: number): number {
  return -60_000 * new Date(moment).getTimezoneOffset()
}

/** What an offset is called: that of New York `EST` or `EDT`, others like `UTC+1` or `UTC−3:30`. */
export function offsetName(offsetMs: number, moment: number): string {
  if (offsetMs === newYorkOffsetMs(moment)) return offsetMs === DAYLIGHT_MS ? "EDT" : "EST"
  const [hours, minutes] = [Math.trunc(Math.abs(offsetMs) / HOUR_MS), (Math.abs(offsetMs) % HOUR_MS) / 60_000]
  const rest = minutes === 0 ? "" : `:${String(minutes).padStart(2, "0")}`
  return `UTC${offsetMs < 0 ? "\u2212" : "+"}${hours}${rest}`
}

/** Midnight UTC of the first Sunday from a day of a month on. */
function sundayFrom(year: number, month: number, day: number): number {
  const midnight = Date.UTC(year, month - 1, day)
  return midnight + ((7 - new Date(midnight).getUTCDay()) % 7) * DAY_MS
}
