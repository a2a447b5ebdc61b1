// Events and answers for tests.

import type {
  Acknowledgement,
  HeartbeatEvent,
  HelloEvent,
  Moment,
  PriceEvent,
  SignalEvent,
  SnapshotEvent,
  StatusEvent,
  TickerState,
  TradingSignal,
} from "./types.ts"
import { NOTHING } from "./state.ts"

const EPOCH = "e1"
export const NOON = "2025-01-03T12:00:00-05:00"

export function at(time: string): Moment {
  return `2025-01-03T${time}-05:00`
}

export function signalOf(changes: Partial<TradingSignal> = {}): TradingSignal {
  return {
    ticker: "SPY",
    mode: "live",
    generated_at: NOON,
    session_date: "2025-01-03",
    decision_hour: 12,
    as_of: NOON,
    age_seconds: 0,
    expires_at: at("13:00:00"),
    freshness: "live",
    source: "polygon",
    lock: {
      state: "locked",
      locked_at: NOON,
      expires_at: at("13:00:00"),
      recorded: true,
      inputs_sha256: null,
      bars_agree: null,
    },
    action: "NO_TRADE",
    direction: "NEUTRAL",
    strength: "neutral",
    active_target: "B",
    probability: 0.49,
    probability_a: 0.6,
    probability_b: 0.49,
    hit_rates: [],
    size: null,
    prices: { at_decision: 460, now: 461, session_open: 459, at_11: 460, change_percent: 0.4 },
    levels: null,
    ranges: [],
    gates: [],
    reason: "Neutral.",
    missing_bars: 0,
    structure: null,
    swing: null,
    model: null,
    versions: { policy: "p", engine: "V6.1" },
    ...changes,
  }
}

function head(
  seq: number,
  generatedAt: Moment,
): Pick<
  SignalEvent,
  "id" | "ticker" | "epoch" | "seq" | "generated_at" | "as_of" | "freshness" | "source" | "told_afterwards"
> {
  return {
    id: `${EPOCH}-${seq}`,
    ticker: "SPY",
    epoch: EPOCH,
    seq,
    generated_at: generatedAt,
    as_of: generatedAt,
    freshness: "live",
    source: "polygon",
    told_afterwards: false,
  }
}

const STATUS = {
  market_open: true,
  next_open: null,
  data_stale: false,
  provider_held_back: false,
  models: "m1",
} as const

export function snapshot(seq: number, generatedAt = NOON, changes: Partial<SnapshotEvent> = {}): SnapshotEvent {
  const signal = signalOf({ generated_at: generatedAt, as_of: generatedAt })
  return {
    kind: "snapshot",
    ...head(seq, generatedAt),
    signal,
    status: STATUS,
    resumed: null,
    missed: null,
    ...changes,
  }
}

export function price(seq: number, generatedAt: Moment, now: number, changes: Partial<PriceEvent> = {}): PriceEvent {
  const prices = { at_decision: 460, now, session_open: 459, at_11: 460, change_percent: 0.5 }
  return { kind: "price", ...head(seq, generatedAt), prices, structure: null, ...changes }
}

export function signal(seq: number, generatedAt: Moment, changes: Partial<TradingSignal> = {}): SignalEvent {
  const body = signalOf({ generated_at: generatedAt, as_of: generatedAt, ...changes })
  return { kind: "signal", ...head(seq, generatedAt), signal: body }
}

export function statusEvent(seq: number, generatedAt: Moment, changes: Partial<StatusEvent> = {}): StatusEvent {
  return { kind: "status", ...head(seq, generatedAt), status: STATUS, ...changes }
}

export function heartbeat(seq: number | null, changes: Partial<HeartbeatEvent> = {}): HeartbeatEvent {
  const place = { id: seq === null ? null : `${EPOCH}-${seq}`, epoch: seq === null ? null : EPOCH, seq }
  const times = { server_time: at("12:00:00"), next_by: at("12:00:30") }
  return { kind: "heartbeat", ticker: "SPY", ...place, ...times, ...changes }
}

export function hello(marketTime: Moment = NOON): HelloEvent {
  const limits = { subscriptions: 3, connections_per_client: 20, messages_per_second: 10, message_bytes: 16_384 }
  const times = { server_time: marketTime, market_time: marketTime, clock_speed: 1, heartbeat_seconds: 15 }
  return { protocol: 1, ...times, epoch: "c1", source: "polygon", recovered: false, limits }
}

export function acknowledgement(marketTime: Moment): Acknowledgement {
  return {
    subscribed: ["SPY", "QQQ", "IWM"],
    rejected: [],
    next_by: null,
    server_time: marketTime,
    market_time: marketTime,
    error: null,
  }
}

/** A state of now, of which everything is known. */
export function stateOf(changes: Partial<TickerState> = {}): TickerState {
  const body = signalOf()
  return {
    ...NOTHING,
    signal: body,
    status: STATUS,
    prices: body.prices,
    asOf: NOON,
    source: "polygon",
    freshness: "live",
    generatedAt: NOON,
    epoch: EPOCH,
    seq: 5,
    id: `${EPOCH}-5`,
    receivedMs: 0,
    isCurrent: true,
    ...changes,
  }
}
