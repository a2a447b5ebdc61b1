// What the strip asks the server for: the calendar around a day, the record of a day, and the replay of its hours.

import { api, answer, type Answer } from "../../api/client.ts"
import { inTurn } from "../../api/turns.ts"
import { isoDay } from "../../format/times.ts"
import type { Ticker } from "../../tickers.ts"
import { joined, momentOf, ofRecord, ofReplay, signalsIn, type Decision, type Session } from "./day.ts"

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
  ticker: Ticker,
  day: string,
  signal: AbortSignal,
): Promise<Answer<readonly Decision[]>> {
  const params = { path: { ticker }, query: { from: day, to: day } }
  const found = await answer(api.GET("/v2/signals/{ticker}", { params, signal }))
  return found.failure === null ? { data: found.data.signals.map(ofRecord), failure: null } : found
}

/** The decisions of the hours of a past session up to `until`, from the record or computed by replay. */
export async function askReplay(
  ticker: Ticker,
  session: Session,
  until: number,
  signal: AbortSignal,
): Promise<Answer<readonly Decision[]>> {
  const hours = session.decision_hours.map((hour) => momentOf(session, hour)).filter((moment) => moment <= until)
  const [first, last] = [hours[0], hours.at(-1)]
  if (first === undefined || last === undefined) return { data: [], failure: null }
  const recorded = await askRecord(ticker, session.day, signal)
  if (recorded.failure !== null) return recorded
  const query = { from: new Date(first).toISOString(), to: new Date(last).toISOString(), step: 60 }
  const params = { path: { ticker }, query }
  const lines = await inTurn(() => answer(api.GET("/v2/replay/{ticker}", { params, parseAs: "text", signal })), signal)
  if (lines.failure !== null) return lines
  const replayed = signalsIn(lines.data).map(ofReplay)
  return {
    data: joined(
      replayed.filter((one) => one !== null),
      recorded.data,
    ),
    failure: null,
  }
}
