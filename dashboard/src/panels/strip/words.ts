// The words of the strip. Pure.

import { shareInPercent, signedPercent } from "../../format/numbers.ts"
import { ACTION_SHAPES, ACTIONS, TARGETS_IN_SHORT } from "../../format/words.ts"
import type { Decision, Session, Slot } from "./day.ts"

const WORDS = { gap: "no decision", due: "being decided", later: "later", unknown: "not known yet" } as const

/** What stands in a cell: the action, or why there is none. */
export function headOf(slot: Slot): string {
  if (slot.state !== "decided") return WORDS[slot.state]
  return `${ACTION_SHAPES[slot.decision.action]} ${ACTIONS[slot.decision.action]}`
}

/** The probability of a decision, and what it is about: that the day closes above something. */
export function probabilityOf({ probability, target }: Decision): string {
  if (probability === null) return "no probability"
  return `${shareInPercent(probability)}${target === null ? "" : ` ${TARGETS_IN_SHORT[target]}`}`
}

/** What became of a decision. */
export function outcomeInWords({ outcome, outcomeReason, isRecorded }: Decision): string {
  if (outcome === null) return outcomeReason === null && !isRecorded ? "computed, not in the record" : "no outcome yet"
  const side = outcome.right === null ? "on no side" : outcome.right ? "✓ right" : "✗ wrong"
  return `${side}, close ${signedPercent(outcome.change_percent)}`
}

/** Which hours a day has, where they are not the ordinary six. */
export function hoursInWords(session: Session): string | null {
  if (!session.early_close) return null
  return `An early close: the day has ${session.decision_hours.length} decisions.`
}
