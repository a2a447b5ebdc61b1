// What the swing models say, as the panel shows it. Pure.

import type { Schemas } from "../../api/types.ts"
import { counted, shareInPercent, whole } from "../../format/numbers.ts"
import { dayInWords, spanInWords } from "../../format/times.ts"
import type { Phase } from "../structure/phases.ts"

type Probabilities = Schemas["SwingProbabilities"]
type Horizon = Schemas["SwingHorizon"]

/** One line for each horizon, with what its probability is worth. */
export function horizonLines(found: Probabilities): readonly Phase[] {
  return found.horizons.map((horizon) => ({
    name: counted(horizon.horizon, "trading day"),
    says: saysOf(horizon),
    reasons: worthOf(horizon),
  }))
}

/** From which close the days are counted, and whether that day says anything about the models. */
export function basisOf(found: Probabilities): string {
  const seen = found.in_sample
    ? " The models were trained on this day, so that it says nothing about how good they are."
    : ""
  return `Counted from the close of ${dayInWords(found.day)}. It changes once a day, after the close.${seen}`
}

function saysOf({ probability, ends }: Horizon): string {
  if (probability === null) return `nothing is said of the close of ${dayInWords(ends)}`
  return `${shareInPercent(probability)} that the close of ${dayInWords(ends)} is higher`
}

function worthOf({ base_rate: rate, evaluation }: Horizon): readonly string[] {
  if (rate === null) return []
  const base = `base rate: it was higher after ${shareInPercent(rate)} of the days of training`
  if (evaluation === null) return [base]
  const { verdict, days, span } = evaluation
  return [base, `${verdict}, on ${whole(days)} days that the models had not seen (${spanInWords(span)})`]
}
