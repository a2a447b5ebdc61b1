// How old what a card shows is. Pure.

import type { TradingSignal } from "../../live/types.ts"

/** Market seconds from the end of the newest bar to `marketNow`; null where one of them is not known. */
export function ageOf({ as_of: asOf }: Pick<TradingSignal, "as_of">, marketNow: number | null): number | null {
  if (asOf === null || marketNow === null) return null
  return Math.max(0, Math.round((marketNow - Date.parse(asOf)) / 1000))
}
