// What the clock of the page says beside the time. Pure.

import { milliseconds } from "../format/times.ts"
import type { TradingSignal } from "../live/types.ts"

/** Market seconds until the first of the locks ends; null where nothing is locked, the locks are over, or market time is not known. */
export function lockLeftS(signals: readonly (TradingSignal | null)[], marketNow: number | null): number | null {
  if (marketNow === null) return null
  const ends = signals.flatMap((signal) => {
    const { state, expires_at } = signal?.lock ?? { state: "none", expires_at: null }
    return state === "locked" && expires_at !== null ? [milliseconds(expires_at)] : []
  })
  const left = ends.map((end) => (end - marketNow) / 1000).filter((seconds) => seconds > 0)
  return left.length === 0 ? null : Math.min(...left)
}
