// The running hit rate of the track record beside what the model's evaluation promised for the same signals. Pure.

import type { Gap, RecordedSignal, Schemas } from "../../api/types.ts"

export type Cell = Schemas["Cell"]

/** What the loaded model's evaluation says: its name and its cells; the promise holds for signals of that model alone. */
export interface Evaluated {
  readonly modelId: string
  readonly cells: readonly Cell[]
}

/** A signal in the order of time, with the rates up to it. A rate is null before anything was judged, and beside a signal of a day on
 * which the model was trained: that one enters no rate (docs/spec, ruling S6). */
export interface Entry {
  readonly kind: "signal"
  readonly signal: RecordedSignal
  readonly isInSample: boolean
  readonly judged: number
  readonly hitRate: number | null
  /** The mean of what was promised for the judged signals so far; null if one of them has no promise. */
  readonly promised: number | null
}

export interface GapEntry {
  readonly kind: "gap"
  readonly gap: Gap
  readonly isBeforeRecord: boolean
}

export interface Counts {
  readonly signals: number
  readonly trades: number
  readonly right: number
  readonly wrong: number
  readonly withoutOutcome: number
}

/** Whether the model was on the right side; null without an outcome, and at one half. */
export function rightOf(signal: RecordedSignal): boolean | null {
  return signal.outcome?.right ?? null
}

/** What the evaluation promised for the side of a signal; null where it says nothing of it. */
export function promiseOf(signal: RecordedSignal, promise: Evaluated | null): number | null {
  if (promise === null || signal.model.model_id !== promise.modelId) return null
  const cell = promise.cells.find(
    ({ target, decision_hour }) => target === signal.active_target && decision_hour === signal.decision_hour,
  )
  return cell?.hit_rate ?? null
}

class Running {
  judged = 0
  #right = 0
  #promised = 0
  #isPromised = true

  /** Count a signal, and return it with the rates up to it. */
  entry(signal: RecordedSignal, promise: Evaluated | null): Entry {
    const right = rightOf(signal)
    if (right !== null) this.#count(right, promiseOf(signal, promise))
    const isPromised = this.judged > 0 && this.#isPromised
    return {
      kind: "signal",
      signal,
      isInSample: signal.model.in_sample,
      judged: this.judged,
      hitRate: this.judged > 0 ? this.#right / this.judged : null,
      promised: isPromised ? this.#promised / this.judged : null,
    }
  }

  #count(right: boolean, promised: number | null): void {
    this.judged += 1
    this.#right += Number(right)
    this.#promised += promised ?? 0
    this.#isPromised &&= promised !== null
  }
}

/** All signals and gaps in the order of time. */
export function entriesOf(
  signals: readonly RecordedSignal[],
  gaps: readonly Gap[],
  recordBegins: string | null,
  promise: Evaluated | null,
): readonly (Entry | GapEntry)[] {
  const running = new Running()
  const entries = signals.map((signal) => (signal.model.in_sample ? unrated(signal) : running.entry(signal, promise)))
  const holes = gaps.map((gap): GapEntry => {
    return { kind: "gap", gap, isBeforeRecord: recordBegins === null || gap.day < recordBegins }
  })
  return [...entries, ...holes].sort((one, other) => compare(keyOf(one), keyOf(other)))
}

function unrated(signal: RecordedSignal): Entry {
  return { kind: "signal", signal, isInSample: true, judged: 0, hitRate: null, promised: null }
}

/** Counts of the signals with or without a model that was trained on their day. */
export function countsOf(signals: readonly RecordedSignal[], isInSample: boolean): Counts {
  const counted = signals.filter((signal) => signal.model.in_sample === isInSample)
  const rights = counted.map(rightOf)
  return {
    signals: counted.length,
    trades: counted.filter((signal) => signal.action !== "NO_TRADE").length,
    right: rights.filter((right) => right === true).length,
    wrong: rights.filter((right) => right === false).length,
    withoutOutcome: counted.filter((signal) => signal.outcome === null).length,
  }
}

/** What became of the trades of days on which the model was not trained, from the decision price to the close. */
export interface Trades {
  readonly gained: number
  readonly lost: number
  readonly even: number
  /** The sum of their returns, per cent of the price. */
  readonly sumPercent: number
}

export function tradesOf(signals: readonly RecordedSignal[]): Trades {
  const returns = signals
    .filter((signal) => !signal.model.in_sample)
    .map((signal) => signal.outcome?.return_percent ?? null)
    .filter((one) => one !== null)
  return {
    gained: returns.filter((one) => one > 0).length,
    lost: returns.filter((one) => one < 0).length,
    even: returns.filter((one) => one === 0).length,
    sumPercent: returns.reduce((sum, one) => sum + one, 0),
  }
}

/** The last rates: what the sentence above the chart says. */
export function latestOf(entries: readonly (Entry | GapEntry)[]): Entry | null {
  const judged = entries.filter((entry): entry is Entry => entry.kind === "signal" && entry.judged > 0)
  return judged.at(-1) ?? null
}

/** The lines of the chart: one place for each signal and gap from where the record begins; a gap breaks the lines. */
export interface Lines {
  readonly entries: readonly (Entry | GapEntry)[]
  readonly hitRate: readonly Value[]
  readonly promised: readonly Value[]
}

/** A value of a line: null breaks the line (a gap), undefined does not (a signal that enters no rate). */
export type Value = number | null | undefined

export function linesOf(entries: readonly (Entry | GapEntry)[]): Lines {
  const drawn = entries.filter((entry) => entry.kind === "signal" || !entry.isBeforeRecord)
  const line = (value: (entry: Entry) => number | null): Value[] =>
    drawn.map((entry) => (entry.kind === "gap" ? null : (value(entry) ?? undefined)))
  return {
    entries: drawn,
    hitRate: line((entry) => entry.hitRate),
    promised: line((entry) => entry.promised),
  }
}

/** The day of an entry. */
export function dayOfEntry(entry: Entry | GapEntry): string {
  return entry.kind === "signal" ? entry.signal.day : entry.gap.day
}

function keyOf(entry: Entry | GapEntry): string {
  const hour = entry.kind === "signal" ? entry.signal.decision_hour : (entry.gap.decision_hours[0] ?? 0)
  return `${dayOfEntry(entry)} ${String(hour).padStart(2, "0")}`
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other)
}
