import { describe, expect, it } from "vitest"
import type { Model } from "../../api/types.ts"
import { cellsOf, conclusion, hitRatesOf, hitRateSummary, skillOf, type Cell } from "./cells.ts"

const WORDS = {
  better: "measurably better than the random walk",
  same: "no measurable difference",
  worse: "measurably worse than the random walk",
} as const

function cell(decision_hour: number, verdict: keyof typeof WORDS, baseline: number | null = 0.6): Cell {
  return {
    target: "B",
    decision_hour,
    hit_rate: 0.62,
    baseline_hit_rate: baseline,
    always_up_hit_rate: 0.55,
    verdict: WORDS[verdict],
    skill: -0.0122,
    skill_low: -0.0279,
    skill_high: 0.0043,
  } as Cell
}

function model(...evaluation: Cell[]): Model {
  return { evaluation } as Model
}

describe("the model page", () => {
  it("says plainly that nothing is better than the random walk", () => {
    expect(conclusion(model(cell(11, "same"), cell(12, "worse"), cell(13, "same")))).toBe(
      "Nothing here is measurably better than the random walk: of 3 cells 2 show no measurable difference, 1 is measurably worse.",
    )
  })

  it("claims no more than the cells do", () => {
    expect(conclusion(model(cell(11, "better"), cell(12, "worse")))).toMatch(/^Of 2 cells 1 is measurably better/)
    expect(conclusion(model())).toMatch(/no evaluation/)
  })

  it("writes the interval of the skill", () => {
    expect(skillOf(cell(11, "same"))).toBe("−0.0122 (−0.0279 to +0.0043)")
  })

  it("draws no random walk where it has no side", () => {
    const cells = cellsOf(model(cell(12, "same"), cell(11, "same", null)), "B")
    expect(hitRatesOf(cells).lines[1]?.values).toEqual([null, 0.6])
    expect(hitRateSummary("B", cells)).toContain("11:00 62.0% beside –, 12:00 62.0% beside 60.0%")
  })
})
