import { expect, test } from "vitest"
import type { Schemas } from "../../api/types.ts"
import { basisOf, horizonLines } from "./outlook.ts"

const EVALUATION: Schemas["SwingEvaluation"] = {
  span: "1999-01-01..2024-12-31",
  days: 6536,
  hit_rate: 0.561327,
  base_rate_hit_rate: 0.561327,
  always_up_hit_rate: 0.561327,
  log_loss: 0.687424,
  baseline_log_loss: 0.687424,
  skill: 0,
  skill_low: 0,
  skill_high: 0,
  brier: 0.247,
  expected_calibration_error: 0.009,
  verdict: "no measurable difference from the base rate",
}

function horizon(values: Partial<Schemas["SwingHorizon"]> = {}): Schemas["SwingHorizon"] {
  return {
    horizon: 5,
    ends: "2025-03-17",
    probability: 0.57,
    base_rate: 0.57,
    signal: "NEUTRAL",
    evaluation: EVALUATION,
    ...values,
  }
}

function probabilities(horizons: Schemas["SwingHorizon"][], inSample = false): Schemas["SwingProbabilities"] {
  return {
    day: "2025-03-10",
    as_of: "2025-03-10T16:00:00-04:00",
    horizons,
    model_id: "swing-0",
    data_end: "2024-12-31",
    in_sample: inSample,
  }
}

test("a horizon says its close, its probability, its base rate, and that no difference was measured", () => {
  const [line] = horizonLines(probabilities([horizon()]))
  expect(line?.name).toBe("5 trading days")
  expect(line?.says).toContain("57.0% that the close of")
  expect(line?.says).toContain("17")
  expect(line?.reasons[0]).toContain("57.0%")
  expect(line?.reasons[1]).toContain("no measurable difference from the base rate, on 6,536 days")
})

test("a horizon without a probability invents none", () => {
  const [line] = horizonLines(probabilities([horizon({ probability: null, base_rate: null, evaluation: null })]))
  expect(line?.says).toContain("nothing is said")
  expect(line?.says).not.toContain("%")
  expect(line?.reasons).toEqual([])
})

test("a demo market has a base rate and no verdict", () => {
  const [line] = horizonLines(probabilities([horizon({ evaluation: null })]))
  expect(line?.reasons).toHaveLength(1)
})

test("the day from which the horizons are counted is said, and whether the models know it", () => {
  expect(basisOf(probabilities([]))).toContain("10")
  expect(basisOf(probabilities([]))).not.toContain("trained on this day")
  expect(basisOf(probabilities([], true))).toContain("trained on this day")
})
