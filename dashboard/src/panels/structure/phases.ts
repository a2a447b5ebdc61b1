// The analyses of the session and of the days as phases: what each says, and why. Pure.

import type { Schemas, Structure } from "../../api/types.ts"
import { dollars, NONE } from "../../format/numbers.ts"
import { inWords, inWordsAtStart } from "../../format/words.ts"

type Northstar = Schemas["Northstar"]
type Rpe = Omit<Schemas["Rpe"], "phase5_learning_forecasting">
type Swing = Schemas["Swing"]

/** Both analyses of the session, as far as the page reads them. */
export type Analyses = Omit<Structure, "rpe"> & { readonly rpe: Rpe | null }

export interface Phase {
  readonly name: string
  readonly says: string
  readonly reasons: readonly string[]
}

/** The four phases of Northstar. */
export function northstarPhases({ phase1, phase2, phase3, phase4 }: Northstar): readonly Phase[] {
  const side = `${inWordsAtStart(phase1.direction)} in the range state ${inWords(phase1.range.state)}, evidence: ${inWords(phase1.confidence_band)}`
  return [
    {
      name: "1 Reality",
      says: side,
      reasons: [
        phase1.acceptance.acceptance_reason,
        ...phase1.failure.failure_types,
        ...phase1.volatility_expansion.reasons,
      ],
    },
    {
      name: "2 Health",
      says: `${inWordsAtStart(phase2.tier)}, ${phase2.health_score} of 100`,
      reasons: phase2.reasons,
    },
    {
      name: "3 Density",
      says: `${inWordsAtStart(phase3.throttle)}, ${phase3.density_score} of 100`,
      reasons: phase3.reasons,
    },
    {
      name: "4 Permission",
      says: permission(
        phase4.allowed,
        phase4.bias,
        `${inWords(phase4.execution_mode)}, risk ${inWords(phase4.risk_state)}`,
      ),
      reasons: phase4.invalidation_context,
    },
  ]
}

/** The phases of RPE without its forecast, whose probabilities are fixed tables and no estimates. */
export function rpePhases(rpe: Rpe): readonly Phase[] {
  const [truth, health, density, posture] = [
    rpe.phase1_truth,
    rpe.phase2_signal_health,
    rpe.phase3_signal_density,
    rpe.phase4_execution_posture,
  ]
  const { aggregation } = truth
  return [
    {
      name: "1 Truth",
      says: `${inWordsAtStart(aggregation.direction)}, ${aggregation.truth_score} of 100, VWAP ${dollars(truth.core12.vwap)}`,
      reasons: [
        truth.acceptance.at_level ?? "No level is accepted",
        ...truth.failures.failure_types.map(inWordsAtStart),
      ],
    },
    {
      name: "2 Signal health",
      says: `${inWordsAtStart(health.tier)}, ${health.health_score} of 100`,
      reasons: health.blockers,
    },
    {
      name: "3 Signal density",
      says: `${inWordsAtStart(density.mode.mode)}, ${density.density_score} of 100`,
      reasons: density.reasons,
    },
    {
      name: "4 Posture",
      says: permission(posture.allowed, posture.bias.bias, inWords(posture.play_type.play_type)),
      reasons: [...posture.bias.reasons, ...posture.stand_down_logic.reasons],
    },
    {
      name: "5 Forecast",
      says: "",
      reasons: ["Not shown: its probabilities are fixed tables, not estimates that were measured"],
    },
  ]
}

/** The four phases of the analysis of the days. */
export function swingPhases({ phase1, phase2, phase3, phase4 }: Swing): readonly Phase[] {
  const { levels } = phase1
  return [
    {
      name: "1 Reality",
      says: `${inWordsAtStart(phase1.direction)}, evidence: ${inWords(phase1.confidence)}, 20-day mean ${dollars(levels.sma_20)}, 50-day mean ${dollars(levels.sma_50)}`,
      reasons: phase1.structure_notes,
    },
    {
      name: "2 Health",
      says: `${inWordsAtStart(phase2.health_tier)}, ${phase2.health_score} of 100`,
      reasons: phase2.reasons,
    },
    {
      name: "3 Density",
      says: `${phase3.is_clean_setup ? "A clean set-up" : "No clean set-up"}, ${phase3.density_score} of 100`,
      reasons: phase3.wait_for === "" ? phase3.reasons : [`Wait for: ${phase3.wait_for}`, ...phase3.reasons],
    },
    {
      name: "4 Permission",
      says: permission(phase4.allowed, phase4.bias, `${inWords(phase4.mode)}, held ${inWords(phase4.holding_period)}`),
      reasons: phase4.invalidation_levels,
    },
  ]
}

/** What a phase 4 permits. A permission without a side permits nothing that can be executed. */
export function permission(isAllowed: boolean, bias: string, rest: string): string {
  if (!isAllowed) return `No trade is permitted (${rest})`
  return bias === "NEUTRAL" ? `Permitted, but on no side (${rest})` : `Permitted on the side ${inWords(bias)} (${rest})`
}

/** The short form that every signal carries, for moments of which the phases are not known. */
export function summaryPhases(summary: Schemas["StructureSummary"]): readonly Phase[] {
  const side = `${inWordsAtStart(summary.direction)} in the range state ${inWords(summary.range_state)}, ${inWords(summary.health)}`
  return [
    { name: "Session", says: `${side}, from ${summary.minute_bars} one-minute bars`, reasons: [] },
    {
      name: "Northstar",
      says: permission(summary.northstar_allowed, summary.northstar_bias, inWords(summary.execution_mode)),
      reasons: [],
    },
    {
      name: "RPE",
      says: permission(summary.rpe_allowed, summary.rpe_bias, `risk ${inWords(summary.risk)}`),
      reasons: [],
    },
  ]
}

/** Key levels of the session with their names; those that are not known have no row. */
export function keyLevels({
  northstar,
}: Pick<Structure, "northstar">): readonly (readonly [name: string, price: string])[] {
  const levels = northstar?.phase1.key_levels
  if (levels === undefined) return []
  const named = [
    ["Recent high", levels.recent_high],
    ["Recent low", levels.recent_low],
    ["Pivot", levels.pivot],
    ["Pivot R1", levels.pivot_r1],
    ["Pivot S1", levels.pivot_s1],
    ["Previous close", levels.prev_close],
  ] as const
  return named.map(([name, price]) => [name, dollars(price)] as const).filter(([, price]) => price !== NONE)
}
