// What the strip asks the server for: the calendar around a day, and the decisions of a day.

import { api, answer, type Answer } from "../../api/client.ts"
import { isoDay } from "../../format/times.ts"
import type { DayDecisions } from "../../live/day-decisions.ts"
import type { Ticker } from "../../tickers.ts"
import { joined, ofRecord, ofReplay, type Decision, type Session } from "./day.ts"

const DAY_MS = 86_400_000
const DAYS_BACK = 7

/** The sessions of the week up to a day (YYYY-MM-DD). */
export async function askSessions(day: string, signal: AbortSignal): Promise<Answer<readonly Session[]>> {
  const from = isoDay(Date.parse(`${day}T12:00:00Z`) - DAYS_BACK * DAY_MS)
  const found = await answer(api.GET("/v2/calendar", { params: { query: { from, to: day } }, signal }))
  return found.failure === null ? { data: found.data.sessions, failure: null } : found
}

/** The decisions of a day that stand in the record. */
export async function askRecord(
  decisions: DayDecisions,
  ticker: Ticker,
  day: string,
  signal: AbortSignal,
): Promise<Answer<readonly Decision[]>> {
  const found = await decisions.record(ticker, day, signal)
  return found.failure === null ? { data: found.data.map(ofRecord), failure: null } : found
}

/** The decisions of the hours of a past session up to `until`, from the record or computed by replay. */
export async function askReplay(
  decisions: DayDecisions,
  ticker: Ticker,
  session: Session,
  until: number,
  signal: AbortSignal,
): Promise<Answer<readonly Decision[]>> {
  const recorded = await askRecord(decisions, ticker, session.day, signal)
  if (recorded.failure !== null) return recorded
  const found = await decisions.replays(ticker, session, until, signal)
  if (found.failure !== null) return found
  const replayed = found.data.map(ofReplay).filter((one) => one !== null)
  return { data: joined(replayed, recorded.data), failure: null }
}
