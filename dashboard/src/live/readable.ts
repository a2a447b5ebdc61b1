// Whether what the server says can be read, in events and in answers: what the page counts on is there and is what the protocol says. Pure.

import type { Board } from "../api/types.ts"
import type {
  Action,
  ByeEvent,
  ConnectRefusal,
  ErrorEvent,
  Freshness,
  HeartbeatEvent,
  HelloEvent,
  LiveEvent,
  LockState,
  Market,
} from "./types.ts"

type Fields = Readonly<Record<string, unknown>>
type Check = (value: unknown) => boolean

const FRESHNESS: Readonly<Record<Freshness, true>> = {
  live: true,
  delayed: true,
  stale: true,
  closed: true,
  historical: true,
}
const MARKETS: Readonly<Record<Market, true>> = { polygon: true, recorded: true, demo: true }
const ACTIONS: Readonly<Record<Action, true>> = { BUY_CALL: true, BUY_PUT: true, NO_TRADE: true }
const LOCK_STATES: Readonly<Record<LockState, true>> = { locked: true, previous: true, none: true }

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

const isText: Check = (value) => typeof value === "string"
const isNumber: Check = (value) => typeof value === "number" && Number.isFinite(value)
const isSpeed: Check = (value) => isNumber(value) && Number(value) > 0
const isMoment: Check = (value) => typeof value === "string" && Number.isFinite(Date.parse(value))

function orNull(check: Check): Check {
  return (value) => value === null || check(value)
}

/** For what a server of a version before may leave out. */
function orAbsent(check: Check): Check {
  return (value) => value === undefined || check(value)
}

function oneOf(names: Readonly<Record<string, true>>): Check {
  return (value) => typeof value === "string" && Object.hasOwn(names, value)
}

function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check)
}

function fieldsOf(checks: Readonly<Record<string, Check>>): Check {
  const all = Object.entries(checks)
  return (value) => isFields(value) && all.every(([name, check]) => check(value[name]))
}

const isPrices = fieldsOf({
  at_decision: orNull(isNumber),
  now: orNull(isNumber),
  session_open: orNull(isNumber),
  at_11: orNull(isNumber),
  change_percent: orNull(isNumber),
})
const isRange = fieldsOf({ level: isNumber, low: isNumber, high: isNumber, coverage: orNull(isNumber) })
const isStatus = fieldsOf({ next_open: orNull(isMoment) })
const isStructure = orNull(isFields)

const HEAD = {
  id: isText,
  ticker: isText,
  epoch: isText,
  seq: isNumber,
  generated_at: isMoment,
  as_of: orNull(isMoment),
  freshness: oneOf(FRESHNESS),
  source: oneOf(MARKETS),
}

const isSignal = fieldsOf({
  ticker: isText,
  generated_at: isMoment,
  as_of: orNull(isMoment),
  expires_at: orNull(isMoment),
  freshness: oneOf(FRESHNESS),
  source: oneOf(MARKETS),
  lock: fieldsOf({ state: oneOf(LOCK_STATES), locked_at: orNull(isMoment), expires_at: orNull(isMoment) }),
  action: oneOf(ACTIONS),
  probability: orNull(isNumber),
  hit_rates: listOf(isFields),
  size: orNull(isFields),
  prices: isPrices,
  levels: orNull(fieldsOf({ time_stop: isMoment })),
  ranges: orAbsent(listOf(isRange)),
  gates: listOf(isFields),
  reason: isText,
  structure: isStructure,
  swing: orNull(isFields),
  model: orNull(isFields),
  versions: isFields,
})

const KINDS: Readonly<Record<LiveEvent["kind"], Check>> = {
  snapshot: fieldsOf({ ...HEAD, signal: isSignal, status: isStatus }),
  signal: fieldsOf({ ...HEAD, signal: isSignal }),
  price: fieldsOf({ ...HEAD, prices: isPrices, structure: isStructure }),
  status: fieldsOf({ ...HEAD, status: isStatus }),
}

const isRetry = orNull(isNumber)
const FAULT = { code: isText, detail: isText, retry_after_ms: isRetry }
const checks = {
  hello: fieldsOf({
    market_time: isMoment,
    clock_speed: isSpeed,
    source: oneOf(MARKETS),
    heartbeat_seconds: isNumber,
    limits: fieldsOf({ connections_per_client: isNumber }),
  }),
  heartbeat: fieldsOf({ ticker: isText, id: orNull(isText), server_time: isMoment, next_by: isMoment }),
  error: fieldsOf({ ...FAULT, ticker: orNull(isText) }),
  bye: fieldsOf({ reason: isText, detail: isText, retry_after_ms: isRetry }),
  refusal: fieldsOf(FAULT),
  board: fieldsOf({ generated_at: isMoment, next_open: orNull(isMoment), signals: listOf(isSignal) }),
} as const

export const isHello = (found: unknown): found is HelloEvent => checks.hello(found)
export const isHeartbeat = (found: unknown): found is HeartbeatEvent => checks.heartbeat(found)
export const isErrorEvent = (found: unknown): found is ErrorEvent => checks.error(found)
export const isBye = (found: unknown): found is ByeEvent => checks.bye(found)
export const isRefusal = (found: unknown): found is ConnectRefusal => checks.refusal(found)
/** An answer about all tickers, whoever gave it: something between page and server may answer 200 as well. */
export const isBoard = (found: unknown): found is Board => checks.board(found)

/** The ticker that a message names, whatever else it holds. */
export function tickerOf(message: unknown): string | null {
  return isFields(message) && typeof message["ticker"] === "string" ? message["ticker"] : null
}

/** Whether all that the page counts on is in the message: objects are there, moments can be read, and names are known. */
export function isReadable(message: unknown): message is LiveEvent {
  if (!isFields(message) || typeof message["kind"] !== "string") return false
  const check = Object.entries(KINDS).find(([kind]) => kind === message["kind"])?.[1]
  return check?.(message) === true && isOfItsTicker(message)
}

/** The signal of an event is that of its ticker. */
function isOfItsTicker({ ticker, signal }: Fields): boolean {
  return !isFields(signal) || signal["ticker"] === ticker
}
