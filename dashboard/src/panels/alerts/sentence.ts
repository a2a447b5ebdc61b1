// What is announced of a new decision. Pure.

import { shareInPercent } from "../../format/numbers.ts"
import { fullHour, newYorkTime } from "../../format/times.ts"
import { ACTIONS } from "../../format/words.ts"
import type { TradingSignal } from "../../live/types.ts"
import { whyNot } from "../card/gate.ts"

const MARKS = { demo: "DEMO. ", recorded: "RECORDED. ", polygon: "" } as const

/** The first line: `SPY: BUY CALL`. */
export function headline({ ticker, action, source }: TradingSignal): string {
  return `${MARKS[source]}${ticker}: ${ACTIONS[action]}`
}

/** The rest, in sentences. */
export function details(signal: TradingSignal): string {
  const { decision_hour, lock, probability } = signal
  const decided = `Decided for ${fullHour(decision_hour)} New York, locked until ${newYorkTime(lock.expires_at)}.`
  const why = whyNot(signal)
  if (why !== null) return `${decided} ${why}`
  return `${decided} Probability ${shareInPercent(probability)}; the card says what that is worth.`
}

/** All of it, for a screen reader. */
export function announcement(signal: TradingSignal): string {
  return `${headline(signal)}. ${details(signal)}`
}
