// When the decision that holds was made, as far as the page heard of it. Pure.

import type { Moment, SignalEvent, SnapshotEvent, TickerState, TradingSignal } from "./types.ts"

/** Market time at which the decision of an event was first told; null where the page was not there then. */
export function decidedAt(state: TickerState, event: SnapshotEvent | SignalEvent): Moment | null {
  if (isSameDecision(state.signal, event.signal)) return state.decidedAt
  const isNew = event.kind === "signal" && !event.told_afterwards && event.signal.lock.state === "locked"
  return isNew && state.signal !== null ? event.generated_at : null
}

/** Whether two signals are of the same decision. */
export function isSameDecision(one: TradingSignal | null, other: TradingSignal): boolean {
  return one?.session_date === other.session_date && one.decision_hour === other.decision_hour
}
