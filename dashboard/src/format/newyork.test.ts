import { describe, expect, it } from "vitest"
import { minuteOfDay, newYorkInstant, timeOfMinute, wallSeconds, withOffset } from "./newyork.ts"

const MINUTE_S = 60

function wall(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 16)
}

describe("on the day on which clocks go forward, 2026-03-08", () => {
  it.each([
    ["2026-03-08T01:59:00-05:00", "2026-03-08T01:59"],
    ["2026-03-08T03:00:00-04:00", "2026-03-08T03:00"],
    ["2026-03-08T16:00:00-04:00", "2026-03-08T16:00"],
  ])("the chart shows %s as New York's clock does", (at, shown) => {
    expect(wall(wallSeconds(at))).toBe(shown)
  })

  it("an hour is missing on the chart's clock, and none between two sessions", () => {
    expect(wallSeconds("2026-03-08T03:00:00-04:00") - wallSeconds("2026-03-08T01:59:00-05:00")).toBe(61 * MINUTE_S)
    expect(wallSeconds("2026-03-09T09:30:00-04:00") - wallSeconds("2026-03-06T09:30:00-05:00")).toBe(3 * 86_400)
  })

  it.each([
    ["2026-03-08", "01:59", "2026-03-08T01:59:00-05:00"],
    ["2026-03-08", "03:00", "2026-03-08T03:00:00-04:00"],
    ["2026-03-08", "02:30", "2026-03-08T03:30:00-04:00"],
    ["2026-03-06", "14:35", "2026-03-06T14:35:00-05:00"],
    ["2026-03-09", "14:35", "2026-03-09T14:35:00-04:00"],
  ])("%s %s in New York is %s", (day, time, moment) => {
    expect(withOffset(newYorkInstant(day, time))).toBe(moment)
  })
})

describe("on the day on which clocks go back, 2026-11-01", () => {
  it.each([
    ["2026-11-01T00:59:00-04:00", "2026-11-01T00:59"],
    ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30"],
    ["2026-11-01T01:30:00-05:00", "2026-11-01T01:30"],
    ["2026-11-01T16:00:00-05:00", "2026-11-01T16:00"],
  ])("the chart shows %s as New York's clock does", (at, shown) => {
    expect(wall(wallSeconds(at))).toBe(shown)
  })

  it.each([
    ["2026-11-01", "00:59", "2026-11-01T00:59:00-04:00"],
    ["2026-11-01", "01:30", "2026-11-01T01:30:00-04:00"],
    ["2026-11-01", "02:00", "2026-11-01T02:00:00-05:00"],
    ["2026-10-30", "09:30", "2026-10-30T09:30:00-04:00"],
    ["2026-11-02", "09:30", "2026-11-02T09:30:00-05:00"],
  ])("%s %s in New York is %s", (day, time, moment) => {
    expect(withOffset(newYorkInstant(day, time))).toBe(moment)
  })
})

describe("a time of day", () => {
  it.each([
    ["00:00", 0],
    ["09:30", 570],
    ["23:59", 1439],
  ])("%s is minute %i", (time, minute) => {
    expect(minuteOfDay(time)).toBe(minute)
    expect(timeOfMinute(minute)).toBe(time)
  })
})
