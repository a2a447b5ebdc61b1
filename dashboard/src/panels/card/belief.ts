// A probability and what it is worth: never one without the other. Pure.

import type { Schemas } from "../../api/types.ts"
import type { TradingSignal } from "../../live/types.ts"
import { counted, shareInPercent } from "../../format/numbers.ts"
import { fullHour, spanInWords } from "../../format/times.ts"
import { TARGETS } from "../../format/words.ts"

type HitRate = Schemas["HitRate"]

/** The probability of the target that decides: `49.1% that it closes above its 11:00 price`; null without one. */
export function belief({ probability, active_target: target }: TradingSignal): string | null {
  return probability === null || target === null ? null : `${shareInPercent(probability)} that ${TARGETS[target]}`
}

/** What the model's own evaluation says of the target that decides at this hour; null where it says nothing. */
export function hitRateOf(signal: TradingSignal): HitRate | null {
  return signal.hit_rates.find(({ target }) => target === signal.active_target) ?? null
}

/** What the probability is worth, in a sentence that stands beside it; empty without a decision. */
export function worth(signal: TradingSignal): string {
  const rate = hitRateOf(signal)
  if (rate !== null) return worthOf(rate)
  if (signal.decision_hour === null) return ""
  if (signal.source === "demo")
    return "No hit rate: the evaluation is about real days, and the days of the demo market are not."
  return "No hit rate: the decision is of a model that is not the loaded one."
}

function worthOf(rate: HitRate): string {
  const days = `${counted(rate.days, "day")} of ${spanInWords(rate.span)}`
  return `At ${fullHour(rate.decision_hour)} the side was right on ${shareInPercent(rate.hit_rate)} of ${days}; ${baseline(rate)}: ${rate.verdict}.`
}

function baseline({ baseline_hit_rate: walk, always_up_hit_rate: up }: HitRate): string {
  const always = `"always up" on ${shareInPercent(up)}`
  return walk === null
    ? `the random walk has no side yet, ${always}`
    : `the random walk on ${shareInPercent(walk)}, ${always}`
}

/** Whether the model was trained on the day of the signal, in words; null where it was not. */
export function inSample({ model }: TradingSignal): string | null {
  return model?.in_sample === true
    ? "In-sample: the model was trained on this day, which says nothing about how good it is."
    : null
}
