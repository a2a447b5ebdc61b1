// The decisions of a day's hours, out of the track record or out of replays, and which of them were known at a moment. Pure.

import type { RecordedSignal, Schemas } from "../../api/types.ts"
import { milliseconds } from "../../format/times.ts"
import type { TradingSignal } from "../../live/types.ts"

/** For so long after the full hour the decision of the hour before may stand. */
const UNDECIDED_MS = 2 * 60_000

export interface Decision {
  readonly hour: number
  /** The full hour. */
  readonly lockedAt: string
  readonly action: Schemas["Action"]
  readonly probability: number | null
  readonly price: number | null
  readonly at11: number | null
}

export function ofRecord(signal: RecordedSignal): Decision {
  const { decision_hour: hour, locked_at: lockedAt, action, probability, prices } = signal
  return { hour, lockedAt, action, probability, price: prices.at_decision, at11: prices.at_11 }
}

/** The decision that a signal holds; null where its hour has none. */
export function ofSignal(signal: TradingSignal): Decision | null {
  const { decision_hour: hour, lock, action, probability, prices } = signal
  if (hour === null || lock.locked_at === null || lock.state === "none") return null
  return { hour, lockedAt: lock.locked_at, action, probability, price: prices.at_decision, at11: prices.at_11 }
}

/** The decisions that a series of replays holds, one for each hour. */
export function ofSeries(signals: readonly TradingSignal[]): readonly Decision[] {
  return merged(signals.map(ofSignal).filter((decision) => decision !== null))
}

/** One decision for each hour, in the order of time; of two the later one in the list. */
export function merged(decisions: readonly Decision[]): readonly Decision[] {
  const byHour = new Map(decisions.map((decision) => [decision.lockedAt, decision]))
  return [...byHour.values()].sort((one, other) => milliseconds(one.lockedAt) - milliseconds(other.lockedAt))
}

/** The decisions that were known at a moment: that of the signal which is shown, and all that were out by then for certain.
 * at: null for all of them. */
export function decidedBy(
  decisions: readonly Decision[],
  at: number | null,
  shown: TradingSignal | null,
): readonly Decision[] {
  const current = shown === null ? null : ofSignal(shown)
  const out = decisions.filter((one) => at === null || milliseconds(one.lockedAt) + UNDECIDED_MS <= at)
  return merged(current === null ? out : [...out, current])
}
