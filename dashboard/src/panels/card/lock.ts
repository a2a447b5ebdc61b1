// What is said of the decision of the hour: since when it holds, until when, and how long still. Pure.

import type { TradingSignal } from "../../live/types.ts"
import { dayInWords, duration, fullHour, isoDay, milliseconds, newYorkMoment, newYorkTime } from "../../format/times.ts"
import type { Moment } from "../../router.ts"

/** The sentence about the lock. decidedAt: market time at which the decision was first told, where that is known. */
export function lockSentence(signal: TradingSignal, decidedAt: string | null, marketNow: number | null): string {
  const { decision_hour: hour, lock } = signal
  if (hour === null || lock.state === "none") return "There is no decision of this hour."
  const expires = newYorkTime(lock.expires_at)
  if (lock.state === "previous") return `${fullHour(hour)}'s stands, ${fullHour(hour + 1)}'s is being decided.`
  if (isExpired(signal, marketNow))
    return `${fullHour(hour)}'s decision expired at ${expires}; what follows has not arrived.`
  return `${decided(signal, decidedAt)} on bars up to ${fullHour(hour)}, locked until ${expires}.`
}

/** In place of that, where the signal is of another past moment than the one that is asked for. */
export function beforeSentence({ generated_at }: TradingSignal, { date, time }: Moment): string {
  const asked = isoDay(generated_at) === date ? time : `${dayInWords(date)}, ${time}`
  return `Still the values of ${newYorkMoment(generated_at)}: those of ${asked} have not come yet.`
}

function decided({ decision_hour: hour, lock }: TradingSignal, decidedAt: string | null): string {
  if (decidedAt !== null) return `Decided ${newYorkTime(decidedAt, { seconds: true })}`
  return lock.recorded === false ? `Computed for ${fullHour(hour)}` : `Decided for ${fullHour(hour)}`
}

/** Whether the lock is over. A decision of the hour before stands for a while beyond its own. */
export function isExpired({ lock }: TradingSignal, marketNow: number | null): boolean {
  return (
    lock.state === "locked" &&
    lock.expires_at !== null &&
    marketNow !== null &&
    marketNow >= milliseconds(lock.expires_at)
  )
}

/** Time left in the lock, market time; null without one, or where market time is not known. */
export function leftS({ lock }: TradingSignal, marketNow: number | null): number | null {
  if (lock.state !== "locked" || lock.expires_at === null || marketNow === null) return null
  return Math.max(0, (milliseconds(lock.expires_at) - marketNow) / 1000)
}

/** The same in words; empty where nothing is locked. isOfNow: what is said holds now, as far as the page knows; a lock holds for its hour
 * in any case, but for that of a replay, which is over. */
export function leftInWords(
  signal: TradingSignal,
  marketNow: number | null,
  isOfNow: boolean,
  isReplay = false,
): string {
  const seconds = leftS(signal, marketNow)
  if (seconds !== null) return `${duration(seconds)} ${isReplay ? "were " : ""}left in this hour's lock`
  if (signal.lock.state === "none") return ""
  if (signal.lock.state === "previous") return `The next decision ${isOfNow && !isReplay ? "is" : "was"} due`
  return "Time left is not known"
}
