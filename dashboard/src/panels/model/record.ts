// What the record of signals says of a model, in a sentence. Pure.

import type { Model, Schemas } from "../../api/types.ts"
import { counted, shareInPercent } from "../../format/numbers.ts"
import { dayInWords } from "../../format/times.ts"

type Recorded = Schemas["ModelRecord"]
type Traded = Schemas["TradedSignals"]

const WRONG: Record<Schemas["ContradictionSide"], string> = {
  too_sure: "too sure, since less comes true than they state",
  not_sure_enough: "not sure enough, since more comes true than they state",
}

/** Whether the probabilities of the model came true as often as its locked signals stated, or why that is not known. */
export function recordSentence({ record, record_reason }: Model): string {
  if (record === null) return `Nothing can be said yet of its live record. ${record_reason ?? ""}`.trim()
  return `${verdictOf(record)} ${record.traded === null ? TOO_FEW : ratesOf(record.traded)}`
}

const TOO_FEW = "Too few days have a signal beyond the thresholds to say how often those were right."

function verdictOf({ contradicted_since, contradiction, days, last_day }: Recorded): string {
  const span = `${counted(days, "day")} up to ${dayInWords(last_day)}`
  if (contradicted_since === null || contradiction === null)
    return `Its live record of ${span} does not contradict its probabilities.`
  return `Its live record contradicts its probabilities since ${dayInWords(contradicted_since)}: they are ${WRONG[contradiction]}.`
}

function ratesOf({ signals, days, stated, right, right_low, right_high }: Traded): string {
  const interval =
    right_low === null ? "" : ` (95% interval ${shareInPercent(right_low)} to ${shareInPercent(right_high)})`
  const rate = `${shareInPercent(right)}${interval} were right, where ${shareInPercent(stated)} was stated`
  return `Of ${counted(signals, "signal")} beyond the thresholds on ${counted(days, "day")}, ${rate}.`
}
