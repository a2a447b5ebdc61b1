// The connection of the page as rows. Pure.

import { NONE } from "../../format/numbers.ts"
import { duration, newYorkTime } from "../../format/times.ts"
import type { Connection, HelloEvent, TickerState } from "../../live/types.ts"
import type { Row } from "./rows.ts"

const STATES = {
  connecting: "connecting",
  open: "open: events come",
  mute: "silent: nothing comes, though the connection seems to be open",
  lost: "lost",
  refused: "refused by the server",
} as const

export function connectionRows(
  connection: Connection,
  hello: HelloEvent | null,
  speed: number,
  nowMs: number,
): readonly Row[] {
  const { state, sinceMs, retryAtMs, refusal } = connection
  const retryS = retryAtMs === null ? null : Math.max(0, Math.ceil((retryAtMs - nowMs) / 1000))
  return [
    { name: "State", value: `${STATES[state]}, for ${duration((nowMs - sinceMs) / 1000)}` },
    { name: "Reason", value: refusal === null ? NONE : `${refusal.code}: ${refusal.detail}` },
    { name: "Next attempt", value: retryS === null ? NONE : `in ${duration(retryS)}` },
    { name: "Heartbeats", value: hello === null ? NONE : `every ${duration(hello.heartbeat_seconds)} for each ticker` },
    { name: "Speed of the market's clock", value: `${speed.toFixed(speed === 1 ? 0 : 1)} times real time` },
    {
      name: "Connections that you may have",
      value: hello === null ? NONE : String(hello.limits.connections_per_client),
    },
  ]
}

/** What is known of the events of a ticker: its cells in a table. */
export function eventCells(state: TickerState, nowMs: number): readonly string[] {
  const { seq, epoch, generatedAt, freshness, receivedMs, isCurrent, missed, error } = state
  const heard = receivedMs === null ? NONE : `${duration((nowMs - receivedMs) / 1000)} ago`
  const gap =
    error?.detail ??
    (missed === null ? (isCurrent ? "none" : "being asked for") : `lost: ${missed.replaceAll("_", " ")}`)
  return [
    seq === null ? NONE : `${seq}`,
    epoch ?? NONE,
    generatedAt === null ? NONE : newYorkTime(generatedAt, { seconds: true }),
    freshness ?? NONE,
    heard,
    gap,
  ]
}
