import { describe, expect, it } from "vitest"
import { decidedAt } from "./decided.ts"
import { answered, NOTHING } from "./state.ts"
import type { SignalEvent, TickerState, TradingSignal } from "./types.ts"

function signal(hour: number, state: "locked" | "previous" = "locked"): TradingSignal {
  return { session_date: "2025-01-03", decision_hour: hour, lock: { state } } as unknown as TradingSignal
}

function told(hour: number, at: string, afterwards = false, state: "locked" | "previous" = "locked"): SignalEvent {
  const generated_at = `2025-01-03T${at}-05:00`
  return { kind: "signal", generated_at, told_afterwards: afterwards, signal: signal(hour, state) } as SignalEvent
}

const BEFORE: TickerState = { ...NOTHING, signal: signal(13) }
const DECIDED: TickerState = { ...NOTHING, signal: signal(14), decidedAt: "2025-01-03T14:00:05-05:00" }

describe("the moment of a decision", () => {
  it("is that of the event that told it, and stays", () => {
    expect(decidedAt(BEFORE, told(14, "14:00:05"))).toBe("2025-01-03T14:00:05-05:00")
    expect(decidedAt(DECIDED, told(14, "14:20:00"))).toBe("2025-01-03T14:00:05-05:00")
  })

  it.each([
    ["of a decision that was told afterwards", told(14, "14:00:05", true), BEFORE],
    ["of the first one that the page hears of", told(14, "14:20:00"), NOTHING],
    ["of one that stands from the hour before", told(14, "14:00:01", false, "previous"), BEFORE],
  ])("is not known %s", (_, event, state) => {
    expect(decidedAt(state, event)).toBeNull()
  })

  it("is not known of a decision that an answer brought", () => {
    const market = { market_open: true, next_open: null }
    expect(answered(DECIDED, signal(15), market, 0).decidedAt).toBeNull()
    expect(answered(DECIDED, signal(14), market, 0).decidedAt).toBe(DECIDED.decidedAt)
  })
})
