import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Schemas, Structure } from "../../api/types.ts"
import { inPlainWords } from "../../format/words.ts"
import { keyLevels, permission, summaryPhases } from "./phases.ts"
import { isTooOld, whenChanged } from "./refresh.ts"

describe("a phase", () => {
  it("permits nothing that cannot be executed", () => {
    expect(permission(false, "LONG", "no trade")).toBe("No trade is permitted (no trade)")
    expect(permission(true, "NEUTRAL", "scalp")).toBe("Permitted, but on no side (scalp)")
    expect(permission(true, "LONG", "trend follow")).toBe("Permitted on the side long (trend follow)")
  })

  it("is said in short of a moment of which the reasons are not known", () => {
    const summary = {
      direction: "BALANCED",
      range_state: "BALANCE",
      health: "HEALTHY",
      northstar_allowed: false,
      northstar_bias: "NEUTRAL",
      execution_mode: "NO_TRADE",
      risk: "DEFENSIVE",
      rpe_allowed: false,
      rpe_bias: "NEUTRAL",
      minute_bars: 105,
    } as Schemas["StructureSummary"]
    expect(summaryPhases(summary)[0]?.says).toBe(
      "Balanced in the range state balance, healthy, from 105 one-minute bars",
    )
  })

  it("has no name of the server's own in its reasons", () => {
    expect(inPlainWords("FAILED_LOW_BREAKOUT: the drop to $446.15 was bought back")).toBe(
      "Failed low breakout: the drop to $446.15 was bought back",
    )
    expect(inPlainWords("The evidence is too thin (NO_TRADE) below VWAP")).toBe(
      "The evidence is too thin (no trade) below VWAP",
    )
  })

  it("has no row for a level that is not known", () => {
    const key_levels = {
      recent_high: 461.1,
      recent_low: null,
      pivot: null,
      pivot_r1: null,
      pivot_s1: null,
      prev_close: null,
    }
    const structure = { northstar: { phase1: { key_levels } } } as unknown as Structure
    expect(keyLevels(structure)).toEqual([["Recent high", "$461.10"]])
  })
})

describe("an analysis", () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it("is asked for again when a bar has ended, every ten seconds at most", () => {
    let version = 0
    const [ended, ask] = [vi.fn(), vi.fn()]
    const end = whenChanged(
      () => version,
      () => {
        ask()
        return ended
      },
    )
    vi.advanceTimersByTime(30_000)
    expect(ask).toHaveBeenCalledTimes(1)
    version = 5
    vi.advanceTimersByTime(30_000)
    expect(ask).toHaveBeenCalledTimes(2)
    end()
    version = 6
    vi.advanceTimersByTime(30_000)
    expect(ask).toHaveBeenCalledTimes(2)
    expect(ended).toHaveBeenCalledTimes(2)
  })

  it("is too old after fifteen minutes of an open market", () => {
    const judged = [isTooOld(900, true, 1), isTooOld(901, true, 1), isTooOld(901, false, 1), isTooOld(null, true, 1)]
    expect(judged).toEqual([false, true, false, true])
  })

  it("of a market that runs faster than time is no older than it can be", () => {
    expect([isTooOld(1_800, true, 60), isTooOld(1_801, true, 60)]).toEqual([false, true])
  })
})
