// A signal of the record beside the replay of its moment: whether they say the same. Pure.

import type { RecordedSignal, Signal } from "../../api/types.ts"

/** A field that differs, as it stands in the record and as it was answered by the replay. */
export interface Difference {
  readonly field: string
  readonly recorded: string
  readonly replayed: string
}

type Row = readonly [field: string, recorded: unknown, replayed: unknown]

/** The fields in which a replay differs from the record; none where both are equal. */
export function differences(recorded: RecordedSignal, replayed: Signal): readonly Difference[] {
  return rowsOf(recorded, replayed)
    .filter(([, one, other]) => textOf(one) !== textOf(other))
    .map(([field, one, other]) => ({ field, recorded: textOf(one), replayed: textOf(other) }))
}

/** What is said of a comparison. */
export function verdictOf(recorded: RecordedSignal, replayed: Signal): string {
  const found = differences(recorded, replayed)
  if (found.length === 0) return "Equal: computed anew, it is the same decision."
  const said = found.map(({ field, recorded: one, replayed: other }) => `${field} ${one} became ${other}`)
  return `Different: ${said.join("; ")}.`
}

function rowsOf(recorded: RecordedSignal, replayed: Signal): readonly Row[] {
  const fields = ["decision_hour", "action", "direction", "strength", "active_target"] as const
  const probabilities = ["probability", "probability_a", "probability_b"] as const
  const prices = ["at_decision", "session_open", "at_11"] as const
  const sizes = ["percent_of_capital", "time_multiplier", "agreement_multiplier"] as const
  return [
    ["day", recorded.day, replayed.session_date],
    ...[...fields, ...probabilities].map((name): Row => [name, recorded[name], replayed[name]]),
    ...prices.map((name): Row => [`prices.${name}`, recorded.prices[name], replayed.prices[name]]),
    ...sizes.map((name): Row => [`size.${name}`, recorded.size[name], replayed.size?.[name] ?? null]),
    ...levelsOf(recorded, replayed),
    ["model", recorded.model.model_id, replayed.model?.model_id ?? null],
    ["policy", recorded.versions.policy, replayed.versions.policy],
    ["engine", recorded.versions.engine, replayed.versions.engine],
  ]
}

function levelsOf(recorded: RecordedSignal, replayed: Signal): readonly Row[] {
  const names = ["entry_type", "entry_price", "take_profit", "stop_loss", "time_stop", "entry_beyond_stop"] as const
  return names.map((name): Row => {
    return [`levels.${name}`, recorded.levels?.[name] ?? null, replayed.levels?.[name] ?? null]
  })
}

function textOf(value: unknown): string {
  return value === null || value === undefined ? "none" : JSON.stringify(value).replaceAll('"', "")
}
