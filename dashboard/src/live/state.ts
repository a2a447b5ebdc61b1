// The state of a ticker, merged from its events. Pure: every function takes the state before and gives the state behind.

import { decidedAt, isSameDecision } from "./decided.ts"
import type {
  ErrorEvent,
  HeartbeatEvent,
  LiveEvent,
  MarketStatus,
  Moment,
  PriceEvent,
  SignalEvent,
  SnapshotEvent,
  TickerState,
  TradingSignal,
} from "./types.ts"

/** For how long nothing may come until a heartbeat says it. */
export const QUIET_MS = 30_000

export const NOTHING: TickerState = {
  signal: null,
  decidedAt: null,
  status: null,
  prices: null,
  asOf: null,
  structure: null,
  source: null,
  freshness: null,
  generatedAt: null,
  epoch: null,
  seq: null,
  id: null,
  receivedMs: null,
  quietMs: QUIET_MS,
  isCurrent: false,
  doubts: 0,
  missed: null,
  error: null,
}

/** How an event follows the state. next: it is the one behind; known: it is in it already; gap: events between are missing. */
export type Order = "next" | "known" | "gap"

export function orderOf(state: TickerState, event: LiveEvent): Order {
  if (event.kind === "snapshot") return "next"
  if (state.seq === null || event.epoch !== state.epoch) return "gap"
  if (event.seq <= state.seq) return "known"
  return event.seq === state.seq + 1 ? "next" : "gap"
}

/** An event was made after this moment of market time. A snapshot holds now, but may be a minute old. */
export function isMadeSince(event: LiveEvent, since: Moment): boolean {
  return Date.parse(event.generated_at) >= Date.parse(since)
}

/** An event happened before the connection at `connectedAt`, market time. A snapshot is always of now (docs/socket-io.md, Replayed
 * events). */
export function isReplayed(event: LiveEvent, connectedAt: Moment): boolean {
  return event.kind !== "snapshot" && !isMadeSince(event, connectedAt)
}

/** The state behind an event that is `next`. `isNow`: it has been made since the page connected, and no event is missing. */
export function merged(state: TickerState, event: LiveEvent, isNow: boolean, nowMs: number): TickerState {
  const place = { epoch: event.epoch, seq: event.seq, id: event.id, receivedMs: nowMs, isCurrent: isNow, error: null }
  if (isOlder(state, event)) return { ...state, ...place }
  return { ...state, ...head(event), ...bodyOf(state, event), ...place }
}

/** An answer of version 2 has told of a later moment already, and of no older bar. A snapshot counts in any case: the clock of a demo begins
 * anew. */
function isOlder({ generatedAt, asOf }: TickerState, event: LiveEvent): boolean {
  if (event.kind === "snapshot" || generatedAt === null) return false
  return Date.parse(event.generated_at) < Date.parse(generatedAt) && barOf(event.as_of) <= barOf(asOf)
}

function barOf(asOf: Moment | null): number {
  return asOf === null ? -Infinity : Date.parse(asOf)
}

function head(event: LiveEvent): Partial<TickerState> {
  return {
    asOf: event.as_of,
    generatedAt: event.generated_at,
    freshness: event.freshness,
    source: event.source,
  }
}

function bodyOf(state: TickerState, event: LiveEvent): Partial<TickerState> {
  switch (event.kind) {
    case "snapshot":
      return {
        ...signalled(event),
        decidedAt: decidedAt(state, event),
        status: event.status,
        missed: event.resumed === false ? event.missed : null,
      }
    case "signal":
      return { ...signalled(event), decidedAt: decidedAt(state, event) }
    case "price":
      return { prices: event.prices, structure: event.structure, signal: repriced(state.signal, event) }
    case "status":
      return { status: event.status }
  }
}

function signalled({ signal }: SnapshotEvent | SignalEvent): Partial<TickerState> {
  return { signal, prices: signal.prices, structure: signal.structure }
}

/** The signal with the prices of a newer bar. */
function repriced(signal: TradingSignal | null, event: PriceEvent): TradingSignal | null {
  if (signal === null) return null
  const { prices, structure, as_of, generated_at, freshness } = event
  const age = as_of === null ? null : Math.round((Date.parse(generated_at) - Date.parse(as_of)) / 1000)
  return { ...signal, prices, structure, as_of, generated_at, freshness, age_seconds: age }
}

/** The state behind a heartbeat. `isNow`: it names the last event of the state, and the page does not wait for others. */
export function alive(state: TickerState, heartbeat: HeartbeatEvent, isNow: boolean, nowMs: number): TickerState {
  const quietMs = Date.parse(heartbeat.next_by) - Date.parse(heartbeat.server_time)
  return { ...state, receivedMs: nowMs, quietMs: quietMs > 0 ? quietMs : state.quietMs, isCurrent: isNow, error: null }
}

/** How a heartbeat follows the state: `gap` where it names an event that the state does not have; `next` where it has it; `known` where
 * the server has none yet. */
export function orderOfHeartbeat(state: TickerState, heartbeat: HeartbeatEvent): Order {
  if (heartbeat.id === null) return "known"
  return heartbeat.id === state.id ? "next" : "gap"
}

/** The state where the server says that it cannot compute it now. */
export function failing(state: TickerState, error: ErrorEvent, nowMs: number): TickerState {
  return { ...state, receivedMs: nowMs, error }
}

/** The state of which is not known whether it holds now: the connection ended, events are missing, or the tab slept. */
export function doubted(state: TickerState): TickerState {
  return { ...state, isCurrent: false, doubts: state.doubts + 1 }
}

/** Whether events have said since a moment what holds now, so that an answer to a request of that moment may be older. */
export function isToldSince({ isCurrent, freshness, receivedMs }: TickerState, sentMs: number): boolean {
  return isCurrent && freshness !== "historical" && receivedMs !== null && receivedMs > sentMs
}

/** Whether an answer to a request of `sentMs` tells of less than the state. The clock of a demo or recorded market may begin anew: what
 * such a market says when it is asked afterwards counts. */
export function isBehind(state: TickerState, signal: TradingSignal, sentMs: number): boolean {
  const { generatedAt, source, asOf, receivedMs } = state
  if (generatedAt === null || signal.source !== source) return false
  if (source !== "polygon" && receivedMs !== null && receivedMs < sentMs) return false
  const isOlderBar = signal.as_of !== null && barOf(signal.as_of) < barOf(asOf)
  return isOlderBar || Date.parse(signal.generated_at) < Date.parse(generatedAt)
}

/** The state behind an answer of version 2 about now. It has no place in the sequence: events go on from where they were. */
export function answered(
  state: TickerState,
  signal: TradingSignal,
  market: Pick<MarketStatus, "market_open" | "next_open">,
  nowMs: number,
): TickerState {
  const { prices, structure, as_of, generated_at, freshness, source } = signal
  const rest = state.status ?? { data_stale: freshness === "stale", provider_held_back: false, models: "" }
  return {
    ...state,
    signal,
    decidedAt: isSameDecision(state.signal, signal) ? state.decidedAt : null,
    prices,
    structure,
    asOf: as_of,
    generatedAt: generated_at,
    freshness,
    source,
    status: { ...rest, ...market },
    receivedMs: nowMs,
    isCurrent: true,
    error: null,
  }
}
