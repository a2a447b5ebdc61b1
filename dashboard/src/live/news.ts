// Which decisions are new, so that they are announced once: not those that a page finds when it loads or comes back. Pure.

import type { TickerState, TradingSignal } from "./types.ts"

/** What tells decisions apart: the day, the hour, and what it says. Null without a decision. */
export function decisionKey(signal: TradingSignal | null): string | null {
  if (signal === null || signal.decision_hour === null || signal.lock.state !== "locked") return null
  return [signal.ticker, signal.session_date, signal.decision_hour, signal.action].join(" ")
}

/** Whether the state behind an event or an answer has a decision that the viewer has not seen, and that is of now.
 *
 * `before` has to hold as well: what a page finds at load, or after a connection was lost, happened while it did not look. */
export function isNews(before: TickerState, after: TickerState): boolean {
  const key = decisionKey(after.signal)
  if (key === null || key === decisionKey(before.signal) || !before.isCurrent || !after.isCurrent) return false
  return after.freshness === "live" || after.freshness === "delayed"
}
