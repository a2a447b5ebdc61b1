import { describe, expect, it } from "vitest"
import type { Session } from "../../api/types.ts"
import { boundsOf, dayLater, nextDay, nextDecision, stepped } from "./moments.ts"

function session(day: string, offset = "-05:00", close = "16:00", hours = [10, 11, 12, 13, 14, 15]): Session {
  return {
    day,
    open: `${day}T09:30:00${offset}`,
    close: `${day}T${close}:00${offset}`,
    early_close: close !== "16:00",
    decision_hours: hours,
  }
}

const DAY = "2026-03-06"
const AT = { date: DAY, time: "14:35" }
const EARLY = session("2025-11-28", "-05:00", "13:00", [10, 11, 12])

describe("the slider", () => {
  it("goes over the session, on both sides of a change of clocks", () => {
    expect(boundsOf(session(DAY), AT, null)).toEqual({ min: 570, max: 960 })
    expect(boundsOf(session("2026-03-09", "-04:00"), { ...AT, date: "2026-03-09" }, null)).toEqual({
      min: 570,
      max: 960,
    })
  })

  it("ends at an early close", () => {
    expect(boundsOf(EARLY, { date: EARLY.day, time: "10:00" }, null).max).toBe(780)
  })

  it("reaches the moment of the address, also outside the session", () => {
    expect(boundsOf(session(DAY), { date: DAY, time: "08:15" }, null).min).toBe(495)
    expect(boundsOf(EARLY, { date: EARLY.day, time: "15:00" }, null).max).toBe(900)
  })

  it("goes to now on the market's own day, and no further", () => {
    expect(boundsOf(session(DAY), { date: DAY, time: "10:00" }, Date.parse("2026-03-06T12:07:30-05:00")).max).toBe(727)
    expect(boundsOf(session(DAY), { date: DAY, time: "10:00" }, Date.parse("2026-03-09T12:07:30-04:00")).max).toBe(960)
  })

  it("is there on a day without trading", () => {
    expect(boundsOf(null, AT, null)).toEqual({ min: 570, max: 960 })
  })
})

describe("a step", () => {
  const bounds = { min: 570, max: 960 }

  it.each([
    ["14:35", 1, "14:36"],
    ["14:35", -1, "14:34"],
    ["09:30", -1, "09:30"],
    ["16:00", 1, "16:00"],
  ])("from %s by %i minutes leads to %s", (time, minutes, to) => {
    expect(stepped(time, minutes, bounds)).toBe(to)
  })

  it.each([
    ["14:35", 1, "15:00"],
    ["14:00", 1, "15:00"],
    ["14:35", -1, "14:00"],
    ["14:00", -1, "13:00"],
    ["09:45", -1, null],
    ["15:00", 1, null],
  ] as const)("from %s to the decision %i leads to %s", (time, direction, to) => {
    expect(nextDecision(time, direction, session(DAY), bounds)).toBe(to)
  })

  it("leads to no decision that lies ahead, and to none on a day without trading", () => {
    expect(nextDecision("10:30", 1, session(DAY), { min: 570, max: 655 })).toBeNull()
    expect(nextDecision("10:30", 1, null, bounds)).toBeNull()
  })

  it("leads over a weekend and not beyond the market's own day", () => {
    const sessions = ["2026-03-05", DAY, "2026-03-09", "2026-03-10"].map((day) => session(day))
    expect(nextDay(DAY, 1, sessions, "2026-03-09")).toBe("2026-03-09")
    expect(nextDay("2026-03-09", 1, sessions, "2026-03-09")).toBeNull()
    expect(nextDay("2026-03-08", -1, sessions, null)).toBe(DAY)
    expect(nextDay("2026-03-05", -1, sessions, null)).toBeNull()
  })

  it("of days is one of the calendar", () => {
    expect(dayLater("2026-03-08", 1)).toBe("2026-03-09")
    expect(dayLater("2026-11-01", -1)).toBe("2026-10-31")
  })
})
