// A probability and what it is worth: never one without the other. Pure.

import type { Schemas } from "../../api/types.ts"
import type { TradingSignal } from "../../live/types.ts"
import { counted, dollars, shareInPercent } from "../../format/numbers.ts"
import { fullHour, spanInWords } from "../../format/times.ts"
import { TARGETS } from "../../format/words.ts"

type HitRate = Schemas["HitRate"]

/** The model's probability, of what, and the price that it is about: `81.2%: the model's probability that the day closes above its 11:00
 * price, $399.00`. Null without one. */
export function belief({ probability, active_target: target, prices }: TradingSignal): string | null {
  if (probability === null || target === null) return null
  const reference = target === "A" ? prices.session_open : prices.at_11
  const price = reference === null ? "" : `, ${dollars(reference)}`
  return `${shareInPercent(probability)}: the model's probability that ${TARGETS[target]}${price}`
}

/** What the probability is not, since the decision price is not the price that it is about; empty without a probability. */
export function notOfTrade({ probability, active_target: target, prices }: TradingSignal): string {
  if (probability === null || target === null) return ""
  const at = prices.at_decision === null ? "" : `, ${dollars(prices.at_decision)} at the decision`
  return `It is about the day's close, not about a trade from here${at}.`
}

/** What the model's own evaluation says of the target that decides at this hour; null where it says nothing. */
export function hitRateOf(signal: TradingSignal): HitRate | null {
  return signal.hit_rates.find(({ target }) => target === signal.active_target) ?? null
}

/** How often the side was right out of sample, with the verdict beside the random walk, which is as large as the numbers that it
 * qualifies; why there is no hit rate where there is none; empty without a decision. */
export function worth(signal: TradingSignal): string {
  const rate = hitRateOf(signal)
  if (rate !== null) return `Right on ${shareInPercent(rate.hit_rate)} of days at this hour: ${rate.verdict}`
  if (signal.decision_hour === null) return ""
  if (signal.source === "demo")
    return "No hit rate: the evaluation is about real days, and the days of the demo market are not."
  return "No hit rate: the decision is of a model that is not the loaded one."
}

/** The level of the range that the card shows: four of five days go no further up, and four of five no further down. */
const LEVEL = 0.8

/** Where the price is forecast to stay until the close, with how often such ranges held out of sample; empty without a forecast, as in
 * a signal of a server from before there were any. */
export function rangeInWords(ranges: TradingSignal["ranges"] | undefined): string {
  const found = ranges?.find(({ level }) => level === LEVEL)
  if (found === undefined) return ""
  const { low, high, coverage, days } = found
  const forecast = `Forecast until the close: between ${dollars(low)} and ${dollars(high)}`
  if (coverage === null) return `${forecast}. How often such ranges held is not known here.`
  const held = `held on ${(coverage * 100).toFixed(0)} of 100 days, out of sample`
  return `${forecast}; such ranges ${held}${days === null ? "" : ` (${counted(days, "day")}, all tickers added up)`}.`
}

/** What stands below both in small print. */
export function basis(signal: TradingSignal): string {
  const sentences = [compared(signal), notOfTrade(signal), inSample(signal)]
  return sentences.filter((sentence) => sentence !== null && sentence !== "").join(" ")
}

/** What the hit rate is of, and the two simple rules on the same days; empty without a hit rate. */
export function compared(signal: TradingSignal): string {
  const rate = hitRateOf(signal)
  if (rate === null) return ""
  const days = `${counted(rate.days, "day")} of ${spanInWords(rate.span)}`
  const price = rate.target === "A" ? "open" : "11:00 price"
  return `Out of sample at ${fullHour(rate.decision_hour)} on ${days}, from the ${price} to the close: ${baseline(rate)}.`
}

function baseline({ baseline_hit_rate: walk, always_up_hit_rate: up }: HitRate): string {
  const always = `"always up" ${shareInPercent(up)}`
  return walk === null
    ? `the random walk has no side yet, ${always}`
    : `the random walk was right on ${shareInPercent(walk)}, ${always}`
}

/** Whether the model was trained on the day of the signal, in words; null where it was not. */
export function inSample({ model }: TradingSignal): string | null {
  return model?.in_sample === true
    ? "In-sample: the model was trained on this day, which says nothing about how good it is."
    : null
}
