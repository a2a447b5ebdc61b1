import { describe, expect, it } from "vitest"
import type { Model } from "../../api/types.ts"
import {
  beyondVolatility,
  cellsOf,
  conclusion,
  hitRatesOf,
  hitRateSummary,
  skillBeyondVolatilityOf,
  skillOf,
  type Cell,
} from "./cells.ts"
import { recordSentence } from "./record.ts"

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
    skill_beyond_volatility: 0.0001,
    skill_beyond_volatility_low: -0.004,
    skill_beyond_volatility_high: 0.0042,
    verdict_beyond_volatility: WORDS.same,
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

  it("says whose the skill is", () => {
    expect(beyondVolatility(model(cell(11, "better"), cell(12, "better")))).toMatch(
      /forecast of the volatility, 0 are measurably better and 0 are measurably worse/,
    )
    expect(skillBeyondVolatilityOf(cell(11, "better"))).toBe("+0.0001 (−0.0040 to +0.0042)")
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

describe("the live record of a model", () => {
  const traded = { signals: 690, days: 115, stated: 0.8, right: 0.626, right_low: 0.539, right_high: 0.704 }
  const record = {
    days: 120,
    last_day: "2026-08-13",
    signals: 720,
    signals_without_outcome: 0,
    traded,
    contradicted_since: null,
    contradiction: null,
  }
  const withRecord = (changes: object): Model =>
    ({ evaluation: [], record: { ...record, ...changes }, record_reason: null }) as unknown as Model

  it("says that nothing contradicts it beside what was stated and what came true", () => {
    expect(recordSentence(withRecord({}))).toBe(
      "Its live record of 120 days up to Thu 13 Aug 2026 does not contradict its probabilities. " +
        "Of 690 signals beyond the thresholds on 115 days, 62.6% (95% interval 53.9% to 70.4%) were right, where 80.0% was stated.",
    )
  })

  it("says since when it is contradicted, and how it is wrong", () => {
    const since = { contradicted_since: "2026-06-09" }
    expect(recordSentence(withRecord({ ...since, contradiction: "too_sure" }))).toContain(
      "contradicts its probabilities since Tue 9 Jun 2026: they are too sure",
    )
    expect(recordSentence(withRecord({ ...since, contradiction: "not_sure_enough" }))).toContain("not sure enough")
  })

  it("gives no rate of too few days, and no interval where there is none", () => {
    expect(recordSentence(withRecord({ traded: null }))).toMatch(/Too few days/)
    const none = { ...traded, right: 1, right_low: null, right_high: null }
    expect(recordSentence(withRecord({ traded: none }))).toContain("100.0% were right, where 80.0% was stated")
  })

  it("says why it knows nothing", () => {
    const reason = "DEMO: This is the demo market."
    expect(recordSentence({ evaluation: [], record: null, record_reason: reason } as unknown as Model)).toBe(
      "Nothing can be said yet of its live record. DEMO: This is the demo market.",
    )
  })
})
