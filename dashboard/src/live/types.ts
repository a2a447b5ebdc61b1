// The types of live events, which `make asyncapi` makes for all clients, and what the page keeps of them.

import type {
  ErrorEvent,
  Freshness,
  Market,
  MarketStatus,
  MissedReason,
  Moment,
  Prices,
  Signal,
  StructureSummary,
} from "../../../clients/typescript/live-events.d.ts"

export type * from "../../../clients/typescript/live-events.d.ts"

/** The signal of one ticker, from a live event or from an answer of version 2, which have the same fields. */
export type TradingSignal = Signal

/** How the connection is.
 *
 * connecting: nothing has come yet. open: events come. mute: nothing came for as long as the server said. lost: the connection broke, or
 * the server cannot be reached. refused: the server does not let the page connect. */
export type ConnectionState = "connecting" | "open" | "mute" | "lost" | "refused"

/** Why the server refuses the connection. */
export interface Refusal {
  readonly code: string
  readonly detail: string
}

/** The connection of the page. Moments are those of `performance.now()`. */
export interface Connection {
  readonly state: ConnectionState
  /** Since when it is in this state. */
  readonly sinceMs: number
  /** When the page tries again by itself; null while it does not wait for that. */
  readonly retryAtMs: number | null
  readonly refusal: Refusal | null
}

/** What is known of a ticker. Merged from events in the order of `seq`; pure functions of state.ts make it. */
export interface TickerState {
  /** What holds now, with the newest prices and structure; null while nothing has come. */
  readonly signal: TradingSignal | null
  /** Market time at which the decision that holds was first told; null where the page was not there then. */
  readonly decidedAt: Moment | null
  readonly status: MarketStatus | null
  /** Prices of the newest event that has some, and the end of the bar that they rest on. */
  readonly prices: Prices | null
  readonly asOf: Moment | null
  readonly structure: StructureSummary | null
  readonly source: Market | null
  /** How far the price could be trusted at `generatedAt`, market time of the newest event. */
  readonly freshness: Freshness | null
  readonly generatedAt: Moment | null
  readonly epoch: string | null
  readonly seq: number | null
  readonly id: string | null
  /** When something last came about this ticker, heartbeats included (`performance.now()`). */
  readonly receivedMs: number | null
  /** For how long nothing may come about it, in real milliseconds. */
  readonly quietMs: number
  /** Whether all that the server has sent of it up to now is in this state: no event is missing, and none is behind. */
  readonly isCurrent: boolean
  /** How often it had to be doubted that this state holds now. What was asked for before the last time may be of before it. */
  readonly doubts: number
  /** Why events are missing that cannot be had any more; null where none are. */
  readonly missed: MissedReason | null
  /** Why the server cannot compute the state of the ticker now. */
  readonly error: ErrorEvent | null
}
