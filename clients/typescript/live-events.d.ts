// The messages of Socket.IO as types. `make asyncapi` makes them from the AsyncAPI document of the predict server.

/** A moment, ISO 8601 with its offset. */
export type Moment = string

/** The answer to every event of a client that asks for one, also to an event that could not be used. */
export interface Acknowledgement {
  /** All tickers that the client is subscribed to now. */
  readonly subscribed: ReadonlyArray<string>
  /** Those that it asked for and did not get. */
  readonly rejected: ReadonlyArray<RejectedTicker>
  /** When the next event comes at the latest, whatever happens, in real time of the server; null where the client
   * is subscribed to nothing. A client that gets nothing for as long as `next_by` lies behind `server_time` has
   * lost its connection; the clock of the client has no part in that. */
  readonly next_by: Moment | null
  /** Real time of the server. */
  readonly server_time: Moment
  /** Market time of the server. A `signal`, `price` or `status` event behind `after` whose `generated_at` is
   * earlier is replayed. */
  readonly market_time: Moment
  /** Why nothing was done; null where the event was read. The same is also sent as the event `error`. */
  readonly error: ErrorEvent | null
}

/** What the policy makes of the active probability. */
export type Action =
  | "BUY_CALL"
  | "BUY_PUT"
  | "NO_TRADE"

/** Whether an answer is about now, or about a past moment as the live server showed it or would have. */
export type AnswerMode =
  | "live"
  | "replay"

/** The side a position may take. */
export type Bias =
  | "LONG"
  | "SHORT"
  | "NEUTRAL"

/** The last event of a connection that the server ends. The client library connects again by itself. */
export interface ByeEvent {
  /** Why, for programs. */
  readonly reason: ByeReason
  /** What happened, in words. */
  readonly detail: string
  /** When to come back, real milliseconds from now. It differs between clients, so that they do not all come at
   * once. */
  readonly retry_after_ms: number
}

/** Why the server ends a connection.
 *
 * - `restart`: The server stops or is replaced. `retry_after_ms` differs between clients, so that they do not all
 *   come at once.
 * - `slow`: The client did not read what it was sent for too long, or too much was waiting for it.
 * - `replaced`: The same client has connected again.
 * - `too_many_messages`: The client went on to send more messages than it may, though it was told so.
 * - `message_too_large`: The client sent a message of more bytes than `limits.message_bytes`.
 * - `invalid_message`: The client sent binary data, or something that is no message of Socket.IO. */
export type ByeReason =
  | "restart"
  | "slow"
  | "replaced"
  | "too_many_messages"
  | "message_too_large"
  | "invalid_message"

/** What the client library gets when it is connected (Socket.IO's CONNECT packet). */
export interface ConnectAnswer {
  /** The id of the connection (`socket.id`). */
  readonly sid: string
  /** The client library sends it when it comes back, to find its state again. */
  readonly pid: string
}

/** What a client may put into `auth` when it connects. Other keys are the application's own and are not read. */
export interface ConnectAuth {
  /** Tickers that the client is subscribed to at once, as if it had sent `subscribe`. A client that gives `auth` as
   * a function is subscribed again after each reconnect. */
  readonly subscribe?: string | ReadonlyArray<string>
  /** The same as in `subscribe`. */
  readonly after?: string | Readonly<Record<string, string | null>>
  /** The API key. */
  readonly key?: string
  /** The client library sets it when it comes back (Socket.IO's connection state recovery). */
  readonly pid?: string
  /** The client library sets it when it comes back: the offset of the last event that it has. */
  readonly offset?: string
  readonly [key: string]: unknown
}

/** Why a client may not connect: `error.data` of `connect_error` (Socket.IO's CONNECT_ERROR packet). The JavaScript
 * client does not try again by itself: its program calls `socket.connect()` after `retry_after_ms`, unless that is
 * null. */
export interface ConnectRefusal {
  /** What is wrong, for programs. */
  readonly code: ErrorCode
  /** What happened, in words. */
  readonly detail: string
  /** When to try again, real milliseconds from now; null where the same would be refused again. */
  readonly retry_after_ms: number | null
}

/** What is wrong.
 *
 * - `UNKNOWN_EVENT`: The server has no event of that name.
 * - `INVALID_PAYLOAD`: The event, or `auth`, is not followed by what it takes; `detail` names each field that is
 *   wrong.
 * - `UNKNOWN_NAMESPACE`: The client asks for another namespace than `/`.
 * - `ALREADY_CONNECTED`: The client has sent a second CONNECT packet on the same connection. The first one holds.
 * - `UNSUPPORTED_TICKER`: The server has no signals of this ticker.
 * - `TOO_MANY_MESSAGES`: The client sends more messages than it may (`limits.messages_per_second`); this one was
 *   not read.
 * - `TOO_MANY_CONNECTIONS`: The address or key of the client has as many connections as it may
 *   (`limits.connections_per_client`).
 * - `UNAUTHORIZED`: The API key in `auth.key` is unknown or has expired.
 * - `UNAVAILABLE`: The state of the ticker cannot be computed now, so that neither events nor heartbeats come.
 * - `INTERNAL`: The server has a fault. The connection goes on. */
export type ErrorCode =
  | "UNKNOWN_EVENT"
  | "INVALID_PAYLOAD"
  | "UNKNOWN_NAMESPACE"
  | "ALREADY_CONNECTED"
  | "UNSUPPORTED_TICKER"
  | "TOO_MANY_MESSAGES"
  | "TOO_MANY_CONNECTIONS"
  | "UNAUTHORIZED"
  | "UNAVAILABLE"
  | "INTERNAL"

/** Something that the client sent could not be used, or a subscription cannot go on. The connection goes on. */
export interface ErrorEvent {
  /** What is wrong, for programs. */
  readonly code: ErrorCode
  /** What happened, in words. */
  readonly detail: string
  /** The ticker that it is about; null where it is about none. */
  readonly ticker: string | null
  /** When to try again, real milliseconds from now; null where that would not help. */
  readonly retry_after_ms: number | null
}

/** How Northstar permits to trade. */
export type ExecutionMode =
  | "TREND_CONTINUATION"
  | "MEAN_REVERSION"
  | "SCALP"
  | "NO_TRADE"

/** Between which prices the session is forecast to stay from the decision until its close, and how often such
 * ranges held. It is locked with the decision. */
export interface ForecastRange {
  /** The share of days on which the price is forecast to go no higher than `high`, and that on which it goes no
   * lower than `low`. That of staying within both is lower. */
  readonly level: number
  readonly low: number
  readonly high: number
  /** On which share of the days the price stayed within both at this hour and level, in the out-of-sample
   * evaluation of the loaded model. Null in a demo market, and for a decision of a model that is not the loaded
   * one; as are the two below. */
  readonly coverage: number | null
  /** How many days were evaluated, those of all tickers added up. */
  readonly days: number | null
  /** First and last day of the evaluation. */
  readonly span: string | null
}

/** How far the price in an answer can be trusted.
 *
 * live: the newest bar that should be known is known. delayed: the same, but the plan's bars come late, or this
 * hour's are not all here. stale: a bar is overdue, or none can be had. closed: the market is not open.
 * historical: the answer is about a past moment. */
export type Freshness =
  | "live"
  | "delayed"
  | "stale"
  | "closed"
  | "historical"

/** The conditions of a trade, in the order in which they are checked. */
export type GateName =
  | "supported_ticker"
  | "market_open"
  | "market_data"
  | "model"
  | "probability"

/** One condition of a trade. */
export interface GateResult {
  readonly gate: GateName
  /** Null where an earlier gate failed, so that this one was not checked. */
  readonly passed: boolean | null
  /** The error code or reason code of a gate that failed. */
  readonly code: string | null
  /** Why a gate failed, in words; like `reason` it says first that the market is not the real one, where it is not. */
  readonly reason: string | null
}

/** How far the intraday reading can be trusted. */
export type HealthTier =
  | "HEALTHY"
  | "DEGRADED"
  | "UNSTABLE"

/** Nothing changed, or nothing is known yet. It comes every 15 s, real time. */
export interface HeartbeatEvent {
  readonly kind: "heartbeat"
  /** The id of the last event; null, as `epoch` and `seq` are, while the server computes the first state of the
   * ticker. */
  readonly id: string | null
  readonly ticker: string
  readonly epoch: string | null
  readonly seq: number | null
  /** Real time of the server. */
  readonly server_time: Moment
  /** When the next event comes at the latest, whatever happens. Like `server_time` it is real time of the server,
   * whereas `generated_at` and `as_of` of other events are market time. A client that gets nothing for as long as
   * it lies behind `server_time` has lost its connection; the clock of the client has no part in that. */
  readonly next_by: Moment
}

/** The first event of every connection. */
export interface HelloEvent {
  /** The version of this protocol. */
  readonly protocol: 1
  /** Real time of the server. */
  readonly server_time: Moment
  /** Market time of the server, which differs from real time in a demo and in a recorded market. A `signal`,
   * `price` or `status` event whose `generated_at` is earlier is replayed: it happened before the client
   * connected, and its `freshness` is that of its own moment. */
  readonly market_time: Moment
  /** How fast the clock of the market runs: market seconds per real second. 1 in the live market. */
  readonly clock_speed: number
  /** The name of the count to which the offsets of this connection belong. It is not the `epoch` of a ticker's
   * events. */
  readonly epoch: string
  /** Real seconds between two heartbeats of a ticker. */
  readonly heartbeat_seconds: number
  /** Where bars come from. */
  readonly source: Market
  /** Whether the client library found its state again, subscriptions included, so that no event is missing
   * (`socket.recovered` says the same). */
  readonly recovered: boolean
  /** What this client may do. */
  readonly limits: Limits
}

/** What the loaded model's own out-of-sample evaluation says of one target at one decision hour. */
export interface HitRate {
  readonly target: Target
  readonly decision_hour: number
  /** How often the model was right about the side, out of sample. */
  readonly hit_rate: number
  /** How often the random walk, which says that the price stays on the side where it is, was right on the same
   * days; null of target B at 11:00, where the price is on no side yet. */
  readonly baseline_hit_rate: number | null
  /** How often "up" was right on the same days. */
  readonly always_up_hit_rate: number
  /** How many days were evaluated. */
  readonly days: number
  /** First and last day of the evaluation. */
  readonly span: string
  /** What the evaluation allows to be said, from the 95 % interval of its log-loss beside the random walk's. */
  readonly verdict: Verdict
}

/** Where a trade is entered and left, USD. */
export interface Levels {
  readonly entry_type: OrderType | null
  readonly entry_price: number | null
  readonly take_profit: number | null
  readonly stop_loss: number | null
  readonly time_stop: Moment
  /** Whether an order that is filled at the entry price is past its stop at once, since the two are computed from
   * different distances. */
  readonly entry_beyond_stop: boolean
}

/** What a client may do. */
export interface Limits {
  /** How many tickers a connection may be subscribed to at a time. */
  readonly subscriptions: number
  /** How many connections one address, or one API key, may have open at a time. */
  readonly connections_per_client: number
  /** How many messages a connection may send a second. */
  readonly messages_per_second: number
  /** How many bytes a message may have. */
  readonly message_bytes: number
}

/** Whether a decision holds, and until when. */
export interface Lock {
  readonly state: LockState
  /** The full hour of the decision, by rule, also where it was recorded some minutes later. */
  readonly locked_at: Moment | null
  readonly expires_at: Moment | null
  /** Whether the decision stands in the record: it was recorded within its hour, possibly some minutes after the
   * hour began, since it depends on nothing but bars that had ended by then. False where it was computed for this
   * answer, null without a decision. */
  readonly recorded: boolean | null
  /** The hash of the features that the decision was made from: equal in two regions that locked the hour from equal
   * bars. Null without a decision. */
  readonly inputs_sha256: string | null
  /** Whether the bars known now give this decision. False where the provider has corrected a bar since, or where
   * another server locked the hour from other bars: the decision then stays as it was first shown, and `reason`
   * says so. Null without a decision, and where it is not known (a model that is not the loaded one, re-based
   * prices, bars that are not in memory). */
  readonly bars_agree: boolean | null
}

/** locked: the decision of this hour stands until it expires. previous: that of the hour before stands for a short
 * while, because the bars of this hour are not all here. none: there is no decision; `gates` say why. */
export type LockState =
  | "locked"
  | "previous"
  | "none"

/** Where bars come from. The values are those of the setting MARKET and of `data_status.source`. */
export type Market =
  | "polygon"
  | "recorded"
  | "demo"

/** What stands around the signals of a ticker. */
export interface MarketStatus {
  readonly market_open: boolean
  /** When the market next opens; null while it is open. */
  readonly next_open: Moment | null
  /** Whether a bar is overdue in an open market. */
  readonly data_stale: boolean
  /** Whether calls to the provider are held back, because many failed. */
  readonly provider_held_back: boolean
  /** Which models are loaded. */
  readonly models: string
}

/** Why the events behind a position cannot be sent.
 *
 * unknown_epoch: the sequence of that name has ended, for instance because nobody followed for hours.
 * unknown_position: it has not come so far. too_old: its events are not kept any more. slow: the listener fell
 * behind. */
export type MissedReason =
  | "unknown_epoch"
  | "unknown_position"
  | "too_old"
  | "slow"

/** Which model spoke. */
export interface ModelReference {
  readonly model_id: string
  /** The hash of the loaded model; null where the decision is of another one. */
  readonly artifact_sha256: string | null
  /** The last day that the loaded model was trained on; null where the decision is of another one. */
  readonly data_end: string | null
  /** Whether the model was trained on the day of this signal: it then says nothing about how good it is. It is
   * false in a demo market, whose bars are of no real day. */
  readonly in_sample: boolean
}

/** The order that enters a trade. */
export type OrderType =
  | "MARKET"
  | "LIMIT"

/** A new bar. */
export interface PriceEvent {
  readonly kind: "price"
  /** `epoch-seq`: the place behind which a client goes on that comes back. */
  readonly id: string
  readonly ticker: string
  /** The name of the sequence. Another one begins where the one before cannot be continued. */
  readonly epoch: string
  /** The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before
   * it. */
  readonly seq: number
  /** Market time of the state that is told of. */
  readonly generated_at: Moment
  /** The end of the newest bar that the price rests on. */
  readonly as_of: Moment | null
  /** How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
   * sent, which is later where a client gets what it missed. */
  readonly freshness: Freshness
  readonly source: Market
  /** Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment.
   * The newest signal of the events is the one that holds until its lock expires, also where this is true. */
  readonly told_afterwards: boolean
  readonly prices: Prices
  /** Null in a closed market, and while fewer than 30 one-minute bars of the day are known. */
  readonly structure: StructureSummary | null
}

/** Prices in USD: those that the decision was made at, and those of now. */
export interface Prices {
  readonly at_decision: number | null
  /** The close of the newest bar that had ended; null where none can be trusted. */
  readonly now: number | null
  /** The official open. */
  readonly session_open: number | null
  /** The price at 11:00, with which target B compares the close. */
  readonly at_11: number | null
  /** `now` beside `session_open`, per cent. */
  readonly change_percent: number | null
}

/** What the last 30 bars did with their range. */
export type RangeState =
  | "TREND"
  | "BALANCE"
  | "FAILED_EXPANSION"

/** A ticker that the client is not subscribed to, though it asked for it. */
export interface RejectedTicker {
  /** The ticker as the server read it. */
  readonly ticker: string
  /** What is wrong, for programs. */
  readonly code: ErrorCode
  /** Why, in words. */
  readonly detail: string
}

/** How much risk the state of the market leaves room for. */
export type RiskLevel =
  | "NORMAL"
  | "REDUCED"
  | "DEFENSIVE"

/** The signal of one ticker at one moment: the decision that holds, what it rests on, and how old all of it is. */
export interface Signal {
  readonly ticker: string
  readonly mode: AnswerMode
  /** Market time of the answer; of a replay the moment that it is about. */
  readonly generated_at: Moment
  /** The trading day that the answer is about; null on a day without trading. */
  readonly session_date: string | null
  /** New York hour of the decision, 10 to 15; null without one. */
  readonly decision_hour: number | null
  /** The end of the newest bar that the price rests on; null where no bar is known. */
  readonly as_of: Moment | null
  /** Market seconds from `as_of` to `generated_at`. */
  readonly age_seconds: number | null
  /** When the decision expires; null without one. */
  readonly expires_at: Moment | null
  readonly freshness: Freshness
  readonly source: Market
  readonly lock: Lock
  readonly action: Action
  readonly direction: SignalDirection
  readonly strength: Strength
  /** The target that decides at this hour; null while the market is closed. */
  readonly active_target: Target | null
  /** The probability of the active target. */
  readonly probability: number | null
  /** Of target A: that the session closes above its official open. */
  readonly probability_a: number | null
  /** Of target B: that the session closes above its 11:00 price; null before 11:00. */
  readonly probability_b: number | null
  /** One for each probability that is given. Empty in a demo market, without a decision, and for a decision of a
   * model that is not the loaded one. */
  readonly hit_rates: ReadonlyArray<HitRate>
  readonly size: Size | null
  readonly prices: Prices
  /** Null without a trade. */
  readonly levels: Levels | null
  /** From the narrowest to the widest. Empty without a decision, and for one that was recorded before there were
   * ranges. */
  readonly ranges: ReadonlyArray<ForecastRange>
  readonly gates: ReadonlyArray<GateResult>
  /** All of it in words. */
  readonly reason: string
  /** How many bars the session of a day that is over lacks. */
  readonly missing_bars: number
  /** Null in a closed market, whose analysis `/v2/structure/{ticker}` has, but not in a replay of such a moment of
   * a trading day. Null while fewer than 30 one-minute bars of the day are known, those before the open included. */
  readonly structure: StructureSummary | null
  /** Null in a closed market, whose analysis `/v2/swing/{ticker}` has, but not in a replay of such a moment of a
   * trading day. Null while fewer than 30 daily bars are known. */
  readonly swing: SwingSummary | null
  readonly model: ModelReference | null
  readonly versions: Versions
}

/** Where a signal points. */
export type SignalDirection =
  | "LONG"
  | "SHORT"
  | "NEUTRAL"

/** A decision was locked, or a gate changed. */
export interface SignalEvent {
  readonly kind: "signal"
  /** `epoch-seq`: the place behind which a client goes on that comes back. */
  readonly id: string
  readonly ticker: string
  /** The name of the sequence. Another one begins where the one before cannot be continued. */
  readonly epoch: string
  /** The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before
   * it. */
  readonly seq: number
  /** Market time of the state that is told of. */
  readonly generated_at: Moment
  /** The end of the newest bar that the price rests on. */
  readonly as_of: Moment | null
  /** How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
   * sent, which is later where a client gets what it missed. */
  readonly freshness: Freshness
  readonly source: Market
  /** Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment.
   * The newest signal of the events is the one that holds until its lock expires, also where this is true. */
  readonly told_afterwards: boolean
  readonly signal: Signal
}

/** How much of the capital a trade takes, and what that is multiplied by. */
export interface Size {
  readonly percent_of_capital: number
  readonly time_multiplier: number
  readonly agreement_multiplier: number
}

/** All that is known now: the first event, and what comes in place of events that cannot be sent. */
export interface SnapshotEvent {
  readonly kind: "snapshot"
  /** `epoch-seq`: the place behind which a client goes on that comes back. */
  readonly id: string
  readonly ticker: string
  /** The name of the sequence. Another one begins where the one before cannot be continued. */
  readonly epoch: string
  /** The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before
   * it. */
  readonly seq: number
  /** Market time of the state that is told of. */
  readonly generated_at: Moment
  /** The end of the newest bar that the price rests on. */
  readonly as_of: Moment | null
  /** How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
   * sent, which is later where a client gets what it missed. */
  readonly freshness: Freshness
  readonly source: Market
  /** Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment.
   * The newest signal of the events is the one that holds until its lock expires, also where this is true. */
  readonly told_afterwards: boolean
  readonly signal: Signal
  readonly status: MarketStatus
  /** False where events are missing that the client should have got; null where it asked for none. */
  readonly resumed: boolean | null
  /** Why they are missing. */
  readonly missed: MissedReason | null
}

/** The market opened or closed, data became stale or current, calls to the provider are held back or made again, or
 * other models were loaded. */
export interface StatusEvent {
  readonly kind: "status"
  /** `epoch-seq`: the place behind which a client goes on that comes back. */
  readonly id: string
  readonly ticker: string
  /** The name of the sequence. Another one begins where the one before cannot be continued. */
  readonly epoch: string
  /** The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before
   * it. */
  readonly seq: number
  /** Market time of the state that is told of. */
  readonly generated_at: Moment
  /** The end of the newest bar that the price rests on. */
  readonly as_of: Moment | null
  /** How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
   * sent, which is later where a client gets what it missed. */
  readonly freshness: Freshness
  readonly source: Market
  /** Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment.
   * The newest signal of the events is the one that holds until its lock expires, also where this is true. */
  readonly told_afterwards: boolean
  readonly status: MarketStatus
}

/** How far the active probability is beyond its threshold. */
export type Strength =
  | "neutral"
  | "weak"
  | "moderate"
  | "strong"
  | "very_strong"

/** Where price is going. */
export type StructureDirection =
  | "UP"
  | "DOWN"
  | "BALANCED"

/** The session in short: Northstar's reading and RPE's posture. */
export interface StructureSummary {
  readonly direction: StructureDirection
  readonly range_state: RangeState
  readonly health: HealthTier
  /** Whether Northstar permits a trade at this moment on the side of `northstar_bias`: never while the market is
   * closed, and never without a side. Phase 4 of `/v2/structure/{ticker}` looks at neither. */
  readonly northstar_allowed: boolean
  readonly northstar_bias: Bias
  readonly execution_mode: ExecutionMode
  readonly risk: RiskLevel
  /** The same of RPE, on the side of `rpe_bias`. */
  readonly rpe_allowed: boolean
  readonly rpe_bias: Bias
  /** How many one-minute bars it rests on. */
  readonly minute_bars: number
}

/** Subscribes to tickers, in addition to those that the client is subscribed to. A ticker that it is subscribed to
 * already begins anew: behind `after`, or with a snapshot. */
export interface SubscribeByTicker {
  /** One ticker. */
  readonly ticker: string
  /** One ticker or more, instead of `ticker`. */
  readonly tickers?: never
  /** Where to go on: the `id` of the last event that the client has, or an object with an id for each ticker. Of a
   * ticker without one a snapshot comes first. */
  readonly after?: string | Readonly<Record<string, string | null>>
}

/** Subscribes to tickers, in addition to those that the client is subscribed to. A ticker that it is subscribed to
 * already begins anew: behind `after`, or with a snapshot. */
export interface SubscribeByTickers {
  /** One ticker. */
  readonly ticker?: never
  /** One ticker or more, instead of `ticker`. */
  readonly tickers: ReadonlyArray<string>
  /** Where to go on: the `id` of the last event that the client has, or an object with an id for each ticker. Of a
   * ticker without one a snapshot comes first. */
  readonly after?: string | Readonly<Record<string, string | null>>
}

export type Subscribe = SubscribeByTicker | SubscribeByTickers

/** Where the days and weeks point; also the sign of MACD. */
export type SwingDirection =
  | "BULLISH"
  | "BEARISH"
  | "NEUTRAL"

/** The days in short. */
export interface SwingSummary {
  readonly direction: SwingDirection
  /** Whether the days permit a trade, whatever the market's hours, since it is held for days. */
  readonly allowed: boolean
  readonly bias: Bias
  /** How many completed days it rests on. */
  readonly daily_bars: number
}

/** What a probability is about: that the session closes above its official open (A), or above its 11:00 price (B). */
export type Target =
  | "A"
  | "B"

/** Ends the events of tickers. It does nothing about those that the client is not subscribed to. */
export interface UnsubscribeByTicker {
  /** One ticker. */
  readonly ticker: string
  /** One ticker or more, instead of `ticker`. */
  readonly tickers?: never
}

/** Ends the events of tickers. It does nothing about those that the client is not subscribed to. */
export interface UnsubscribeByTickers {
  /** One ticker. */
  readonly ticker?: never
  /** One ticker or more, instead of `ticker`. */
  readonly tickers: ReadonlyArray<string>
}

export type Unsubscribe = UnsubscribeByTicker | UnsubscribeByTickers

/** The only words that may be used for a cell. */
export type Verdict =
  | "measurably better than the random walk"
  | "no measurable difference"
  | "measurably worse than the random walk"

/** Versions of the policy and of the model family. */
export interface Versions {
  readonly policy: string
  readonly engine: string
}

/** What is sent about a ticker, heartbeats aside. `kind` says which one it is. */
export type LiveEvent = SnapshotEvent | SignalEvent | PriceEvent | StatusEvent

export interface ServerToClientEvents {
  hello: (event: HelloEvent, offset: string | null) => void
  snapshot: (event: SnapshotEvent, offset: string | null) => void
  signal: (event: SignalEvent, offset: string | null) => void
  price: (event: PriceEvent, offset: string | null) => void
  status: (event: StatusEvent, offset: string | null) => void
  heartbeat: (event: HeartbeatEvent, offset: null) => void
  error: (event: ErrorEvent) => void
  bye: (event: ByeEvent) => void
}

export interface ClientToServerEvents {
  subscribe: (message: Subscribe, acknowledge: (answer: Acknowledgement) => void) => void
  unsubscribe: (message: Unsubscribe, acknowledge: (answer: Acknowledgement) => void) => void
}
