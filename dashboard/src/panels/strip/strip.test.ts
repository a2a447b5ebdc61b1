import { describe, expect, it } from "vitest"
import type { RecordedSignal } from "../../api/types.ts"
import type { TradingSignal } from "../../live/types.ts"
import { joined, momentOf, ofRecord, ofReplay, sessionAt, sessionOf, slotsOf, type Session } from "./day.ts"
import { headOf, hoursInWords, outcomeInWords, probabilityOf } from "./words.ts"

const SESSION: Session = {
  day: "2025-01-03",
  open: "2025-01-03T09:30:00-05:00",
  close: "2025-01-03T16:00:00-05:00",
  early_close: false,
  decision_hours: [10, 11, 12, 13, 14, 15],
}
const SHORT: Session = {
  day: "2024-12-24",
  open: "2024-12-24T09:30:00-05:00",
  close: "2024-12-24T13:00:00-05:00",
  early_close: true,
  decision_hours: [10, 11, 12],
}
const OUTCOME = { right: true, change_percent: 0.31 }

function recorded(hour: number, outcome: object | null = OUTCOME): RecordedSignal {
  return {
    decision_hour: hour,
    action: "BUY_CALL",
    probability: 0.81,
    active_target: "B",
    outcome,
    outcome_reason: outcome === null ? "The day has not closed yet." : null,
  } as RecordedSignal
}

function at(time: string, day = "2025-01-03"): number {
  return Date.parse(`${day}T${time}-05:00`)
}

function states(time: string, hours: number[]): string[] {
  return slotsOf(
    SESSION,
    hours.map((hour) => ofRecord(recorded(hour))),
    at(time),
  ).map(({ state }) => state)
}

describe("the day", () => {
  it("that is shown is that of the day, also before the open, else the last one", () => {
    expect(sessionAt([SHORT, SESSION], at("23:59:59", "2025-01-02"))).toBe(SHORT)
    expect(sessionAt([SHORT, SESSION], at("00:00:00"))).toBe(SESSION)
    expect(sessionAt([SHORT, SESSION], at("12:00:00", "2025-01-04"))).toBe(SESSION)
    expect(states("09:29:59", [])).toEqual(Array<string>(6).fill("later"))
    expect(sessionAt([], at("09:30:00"))).toBeNull()
    expect(sessionOf([SHORT, SESSION], "2025-01-04")).toBeNull()
  })

  it("has an hour for each decision, fewer on an early close", () => {
    expect(momentOf(SESSION, 14)).toBe(at("14:00:00"))
    expect(slotsOf(SHORT, [], at("12:30:00", "2024-12-24")).map(({ hour }) => hour)).toEqual([10, 11, 12])
    expect(hoursInWords(SHORT)).toMatch(/3 decisions/)
    expect(hoursInWords(SESSION)).toBeNull()
  })
})

describe("an hour", () => {
  it("is decided, being decided, a gap or later", () => {
    expect(states("12:00:01", [10])).toEqual(["decided", "gap", "due", "later", "later", "later"])
    expect(states("16:30:00", [10, 11, 12, 13, 14])).toEqual([...Array<string>(5).fill("decided"), "gap"])
  })

  it("that has begun is no gap while the decisions of the day are not known", () => {
    const slots = slotsOf(SESSION, null, at("12:00:01"))
    expect(slots.map(({ state }) => state)).toEqual(["unknown", "unknown", "unknown", "later", "later", "later"])
    expect(slots.slice(0, 1).map(headOf)).toEqual(["not known yet"])
  })

  it("knows no outcome before the close, also in a replay of a day that is over", () => {
    const decisions = [ofRecord(recorded(10))]
    const before = slotsOf(SESSION, decisions, at("15:59:59"))[0]
    const behind = slotsOf(SESSION, decisions, at("16:00:00"))[0]
    expect(before).toMatchObject({ decision: { outcome: null } })
    expect(behind).toMatchObject({ decision: { outcome: OUTCOME } })
  })
})

describe("a replay", () => {
  const replayed = {
    decision_hour: 10,
    action: "NO_TRADE",
    probability: 0.5,
    active_target: "A",
    lock: { recorded: false },
  } as TradingSignal

  it("has a decision where its hour has one", () => {
    const without = { decision_hour: null, lock: { recorded: null } } as TradingSignal
    expect([replayed, without].map(ofReplay)).toMatchObject([{ hour: 10, isRecorded: false }, null])
  })

  it("fills the hours that the record lacks", () => {
    const computed = ofReplay(replayed)
    if (computed === null) throw new Error("there is a decision")
    const decisions = joined([computed, { ...computed, hour: 11 }], [ofRecord(recorded(10)), ofRecord(recorded(12))])
    expect(new Map(decisions.map(({ hour, isRecorded }) => [hour, isRecorded]))).toEqual(
      new Map([
        [10, true],
        [11, false],
        [12, true],
      ]),
    )
    expect(outcomeInWords(computed)).toBe("computed, not in the record")
  })
})

describe("the words", () => {
  it("of a cell", () => {
    const [decided, gap] = slotsOf(SESSION, [ofRecord(recorded(10))], at("16:00:00"))
    if (decided?.state !== "decided" || gap === undefined) throw new Error("one is decided")
    expect([headOf(decided), probabilityOf(decided.decision), outcomeInWords(decided.decision)]).toEqual([
      "▲ BUY CALL",
      "81.0% above 11:00",
      "✓ right, close +0.31%",
    ])
    expect(headOf(gap)).toBe("no decision")
    expect(outcomeInWords(ofRecord(recorded(10, null)))).toBe("no outcome yet")
  })
})
