import { describe, expect, it } from "vitest"
import { newYorkOffsetMs, offsetName } from "./offset.ts"

const HOUR_MS = 3_600_000
const STEP_MS = 6 * HOUR_MS
const shown = new Intl.DateTimeFormat("en-US", { timeZone: "America/New_York", timeZoneName: "longOffset" })

/** New York's offset as the database of time zones has it. */
function ofDatabase(moment: number): number {
  const name = shown.formatToParts(moment).find(({ type }) => type === "timeZoneName")?.value ?? ""
  return Number(name.replace("GMT", "").slice(0, 3)) * HOUR_MS
}

/** The moments of a year at which an offset changes, to the second. */
function changes(year: number, offset: (moment: number) => number): readonly number[] {
  const found: number[] = []
  for (let at = Date.UTC(year, 0, 1); at < Date.UTC(year + 1, 0, 1); at += STEP_MS)
    if (offset(at) !== offset(at + STEP_MS)) found.push(firstBehind(at, at + STEP_MS, offset))
  return found
}

function firstBehind(before: number, behind: number, offset: (moment: number) => number): number {
  if (behind - before <= 1000) return behind
  const middle = before + Math.floor((behind - before) / 2000) * 1000
  return offset(middle) === offset(before) ? firstBehind(middle, behind, offset) : firstBehind(before, middle, offset)
}

describe("the offset of New York", () => {
  it.each([1993, 2003, 2006, 2007, 2010, 2015, 2020, 2024, 2025, 2026, 2027, 2028, 2032, 2037])(
    "changes in %i when the database of time zones says so",
    (year) => {
      expect(changes(year, newYorkOffsetMs)).toEqual(changes(year, ofDatabase))
      expect(newYorkOffsetMs(Date.UTC(year, 0, 1))).toBe(ofDatabase(Date.UTC(year, 0, 1)))
    },
  )

  it.each([
    [-5, "2025-01-03T12:00:00Z", "EST"],
    [-4, "2025-07-03T12:00:00Z", "EDT"],
    [-5, "2025-07-03T12:00:00Z", "UTC−5"],
    [1, "2025-01-03T12:00:00Z", "UTC+1"],
    [0, "2025-01-03T12:00:00Z", "UTC+0"],
    [-3.5, "2025-01-03T12:00:00Z", "UTC−3:30"],
    [5.75, "2025-01-03T12:00:00Z", "UTC+5:45"],
  ])("%d hours at %s is called %s", (hours, moment, name) => {
    expect(offsetName(hours * HOUR_MS, Date.parse(moment))).toBe(name)
  })
})
