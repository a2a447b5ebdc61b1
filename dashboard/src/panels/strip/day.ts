// The decisions of one day: which hours there are, and what stands in each. Pure.

import type { RecordedSignal, Schemas } from "../../api/types.ts"
import { isoDay, milliseconds } from "../../format/times.ts"
import type { TradingSignal } from "../../live/types.ts"

export type Session = Schemas["Session"]
export type Outcome = Schemas["SignalOutcome"]
const HOUR_MS = 3_600_000

/** A decision, from the record or from a replay. */
export interface Decision {
  readonly hour: number
  readonly action: Schemas["Action"]
  readonly probability: number | null
  readonly target: Schemas["Target"] | null
  readonly outcome: Outcome | null
  readonly outcomeReason: string | null
  readonly isRecorded: boolean
}

/** What stands at an hour of the strip. due: the hour has begun and has no decision yet. gap: it is over and has none. unknown: it has begun,
 * and the server has not said yet what it has. */
export type Slot =
  | { readonly hour: number; readonly state: "decided"; readonly decision: Decision; readonly isNow: boolean }
  | { readonly hour: number; readonly state: "gap" | "due" | "later" | "unknown"; readonly isNow: boolean }

/** The session that is shown at a moment, as in the chart: that of the day, also before it has opened, else the last one; null without
 * one. */
export function sessionAt(sessions: readonly Session[], at: number): Session | null {
  return sessions.filter((session) => session.day <= isoDay(at)).at(-1) ?? null
}

/** The session of a day; null on a day without trading. */
export function sessionOf(sessions: readonly Session[], day: string): Session | null {
  return sessions.find((session) => session.day === day) ?? null
}

/** The moment of a decision hour, milliseconds: hours count from the open, 9:30 or another half hour. */
export function momentOf(session: Session, hour: number): number {
  const open = milliseconds(session.open)
  const openHour = Number(session.open.slice(11, 13))
  const openMinute = Number(session.open.slice(14, 16))
  return open - openMinute * 60_000 + (hour - openHour) * HOUR_MS
}

/** The hours of a session with what is known of them at a moment. decisions: null while they are not known. */
export function slotsOf(session: Session, decisions: readonly Decision[] | null, at: number): readonly Slot[] {
  const close = milliseconds(session.close)
  return session.decision_hours.map((hour): Slot => {
    const begins = momentOf(session, hour)
    const ends = Math.min(begins + HOUR_MS, close)
    const isNow = begins <= at && at < ends
    if (begins > at) return { hour, state: "later", isNow }
    if (decisions === null) return { hour, state: "unknown", isNow }
    const decision = decisions.find((one) => one.hour === hour)
    if (decision !== undefined) return { hour, state: "decided", decision: asKnownAt(decision, session, at), isNow }
    return { hour, state: isNow ? "due" : "gap", isNow }
  })
}

/** A decision without what was not known at the moment: no outcome before the close. */
function asKnownAt(decision: Decision, session: Session, at: number): Decision {
  if (decision.outcome === null || at >= milliseconds(session.close)) return decision
  return { ...decision, outcome: null, outcomeReason: "The day has not closed yet." }
}

export function ofRecord(signal: RecordedSignal): Decision {
  return {
    hour: signal.decision_hour,
    action: signal.action,
    probability: signal.probability,
    target: signal.active_target,
    outcome: signal.outcome,
    outcomeReason: signal.outcome_reason,
    isRecorded: true,
  }
}

/** The decision of a replayed moment; null where none was made. */
export function ofReplay(signal: TradingSignal): Decision | null {
  if (signal.decision_hour === null) return null
  return {
    hour: signal.decision_hour,
    action: signal.action,
    probability: signal.probability,
    target: signal.active_target,
    outcome: null,
    outcomeReason: null,
    isRecorded: signal.lock.recorded === true,
  }
}

/** The decisions of the record, and those of a replay for the hours that it lacks. */
export function joined(replayed: readonly Decision[], recorded: readonly Decision[]): readonly Decision[] {
  return [...recorded, ...replayed.filter(({ hour }) => !recorded.some((one) => one.hour === hour))]
}
