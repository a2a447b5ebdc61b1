// Where a trade is entered and left, with the distance from the price. Pure.

import type { TradingSignal } from "../../live/types.ts"
import { dollars, percent, signedDollars, signedPercent } from "../../format/numbers.ts"

/** A level: its price, and how far it is from the price that the distances are measured from. */
export interface Level {
  readonly name: string
  readonly price: string
  readonly distance: string
  /** Whether the price has passed it since the decision. */
  readonly isPassed: boolean
}

/** The price that distances are measured from, and how it is called. */
export interface Reference {
  readonly price: number
  readonly name: string
}

/** The price now, where one is known, else that of the decision; null with neither. */
export function referenceOf({ prices }: TradingSignal, isTrusted: boolean): Reference | null {
  if (isTrusted && prices.now !== null) return { price: prices.now, name: "from now" }
  return prices.at_decision === null ? null : { price: prices.at_decision, name: "from the decision" }
}

/** Entry, stop and target. Empty without a trade. */
export function levelsOf(signal: TradingSignal, isTrusted: boolean): readonly Level[] {
  const { levels, action } = signal
  if (levels === null) return []
  const reference = referenceOf(signal, isTrusted)
  const [call, now] = [action === "BUY_CALL", isTrusted ? signal.prices.now : null]
  const passed = (level: number | null, isAbove: boolean): boolean =>
    level !== null && now !== null && (isAbove ? now >= level : now <= level)
  return [
    row(`Entry (${levels.entry_type ?? "order unknown"})`, levels.entry_price, reference, false),
    row("Stop", levels.stop_loss, reference, passed(levels.stop_loss, !call)),
    row("Target", levels.take_profit, reference, passed(levels.take_profit, call)),
  ]
}

function row(name: string, level: number | null, reference: Reference | null, isPassed: boolean): Level {
  const apart = level === null || reference === null ? null : level - reference.price
  const share = apart === null || reference === null ? null : (apart / reference.price) * 100
  const distance = apart === null ? "distance unknown" : `${signedDollars(apart)} (${signedPercent(share)})`
  return { name, price: dollars(level), distance, isPassed }
}

/** What must be known before an order is placed: a LIMIT order that is past its stop when it is filled; null where that is not so. */
export function entryWarning({ levels }: TradingSignal): string | null {
  if (levels?.entry_beyond_stop !== true) return null
  return "The entry lies beyond the stop: an order that is filled there is past its stop at once."
}

/** The size in words, with what it is multiplied by. */
export function sizeInWords({ size, action }: TradingSignal): string {
  if (size === null || action === "NO_TRADE") return "No capital: there is no trade."
  const { percent_of_capital: share, time_multiplier: time, agreement_multiplier: agreement } = size
  return `${percent(share)} of capital (hour × ${time}, agreement × ${agreement})`
}
