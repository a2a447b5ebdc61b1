"""The messages of Socket.IO as types. `make asyncapi` makes them from the AsyncAPI document of the predict server."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Moment = str
"""A moment, ISO 8601 with its offset."""


class Acknowledgement(TypedDict):
    """The answer to every event of a client that asks for one, also to an event that could not be used."""

    # All tickers that the client is subscribed to now.
    subscribed: list[str]
    # Those that it asked for and did not get.
    rejected: list[RejectedTicker]
    # When the next event comes at the latest, whatever happens, in real time of the server; null where the client is
    # subscribed to nothing. A client that gets nothing for as long as `next_by` lies behind `server_time` has lost
    # its connection; the clock of the client has no part in that.
    next_by: Moment | None
    # Real time of the server.
    server_time: Moment
    # Market time of the server. A `signal`, `price` or `status` event behind `after` whose `generated_at` is earlier
    # is replayed.
    market_time: Moment
    # Why nothing was done; null where the event was read. The same is also sent as the event `error`.
    error: ErrorEvent | None


Action = Literal[
    "BUY_CALL",
    "BUY_PUT",
    "NO_TRADE",
]
"""What the policy makes of the active probability."""

AnswerMode = Literal[
    "live",
    "replay",
]
"""Whether an answer is about now, or about a past moment as the live server showed it or would have."""

Bias = Literal[
    "LONG",
    "SHORT",
    "NEUTRAL",
]
"""The side a position may take."""


class ByeEvent(TypedDict):
    """The last event of a connection that the server ends. The client library connects again by itself."""

    # Why, for programs.
    reason: ByeReason
    # What happened, in words.
    detail: str
    # When to come back, real milliseconds from now. It differs between clients, so that they do not all come at once.
    retry_after_ms: int


ByeReason = Literal[
    "restart",
    "slow",
    "replaced",
    "too_many_messages",
    "message_too_large",
    "invalid_message",
]
"""Why the server ends a connection.

- `restart`: The server stops or is replaced. `retry_after_ms` differs between clients, so that they do not all
  come at once.
- `slow`: The client did not read what it was sent for too long, or too much was waiting for it.
- `replaced`: The same client has connected again.
- `too_many_messages`: The client went on to send more messages than it may, though it was told so.
- `message_too_large`: The client sent a message of more bytes than `limits.message_bytes`.
- `invalid_message`: The client sent binary data, or something that is no message of Socket.IO."""


class ConnectAnswer(TypedDict):
    """What the client library gets when it is connected (Socket.IO's CONNECT packet)."""

    # The id of the connection (`socket.id`).
    sid: str
    # The client library sends it when it comes back, to find its state again.
    pid: str


class ConnectAuth(TypedDict):
    """What a client may put into `auth` when it connects. Other keys are the application's own and are not read."""

    # Tickers that the client is subscribed to at once, as if it had sent `subscribe`. A client that gives `auth` as a
    # function is subscribed again after each reconnect.
    subscribe: NotRequired[str | list[str]]
    # The same as in `subscribe`.
    after: NotRequired[str | dict[str, str | None]]
    # The API key.
    key: NotRequired[str]
    # The client library sets it when it comes back (Socket.IO's connection state recovery).
    pid: NotRequired[str]
    # The client library sets it when it comes back: the offset of the last event that it has.
    offset: NotRequired[str]


class ConnectRefusal(TypedDict):
    """Why a client may not connect: `error.data` of `connect_error` (Socket.IO's CONNECT_ERROR packet). The
    JavaScript client does not try again by itself: its program calls `socket.connect()` after `retry_after_ms`,
    unless that is null."""

    # What is wrong, for programs.
    code: ErrorCode
    # What happened, in words.
    detail: str
    # When to try again, real milliseconds from now; null where the same would be refused again.
    retry_after_ms: int | None


ErrorCode = Literal[
    "UNKNOWN_EVENT",
    "INVALID_PAYLOAD",
    "UNKNOWN_NAMESPACE",
    "ALREADY_CONNECTED",
    "UNSUPPORTED_TICKER",
    "TOO_MANY_MESSAGES",
    "TOO_MANY_CONNECTIONS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "INTERNAL",
]
"""What is wrong.

- `UNKNOWN_EVENT`: The server has no event of that name.
- `INVALID_PAYLOAD`: The event, or `auth`, is not followed by what it takes; `detail` names each field that is
  wrong.
- `UNKNOWN_NAMESPACE`: The client asks for another namespace than `/`.
- `ALREADY_CONNECTED`: The client has sent a second CONNECT packet on the same connection. The first one holds.
- `UNSUPPORTED_TICKER`: The server has no signals of this ticker.
- `TOO_MANY_MESSAGES`: The client sends more messages than it may (`limits.messages_per_second`); this one was
  not read.
- `TOO_MANY_CONNECTIONS`: The address or key of the client has as many connections as it may
  (`limits.connections_per_client`).
- `UNAUTHORIZED`: The API key in `auth.key` is unknown or has expired.
- `UNAVAILABLE`: The state of the ticker cannot be computed now, so that neither events nor heartbeats come.
- `INTERNAL`: The server has a fault. The connection goes on."""


class ErrorEvent(TypedDict):
    """Something that the client sent could not be used, or a subscription cannot go on. The connection goes on."""

    # What is wrong, for programs.
    code: ErrorCode
    # What happened, in words.
    detail: str
    # The ticker that it is about; null where it is about none.
    ticker: str | None
    # When to try again, real milliseconds from now; null where that would not help.
    retry_after_ms: int | None


ExecutionMode = Literal[
    "TREND_CONTINUATION",
    "MEAN_REVERSION",
    "SCALP",
    "NO_TRADE",
]
"""How Northstar permits to trade."""


class ForecastRange(TypedDict):
    """Between which prices the session is forecast to stay from the decision until its close, and how often such
    ranges held. It is locked with the decision."""

    # The share of days on which the price is forecast to go no higher than `high`, and that on which it goes no lower
    # than `low`. That of staying within both is lower.
    level: float
    low: float
    high: float
    # On which share of the days the price stayed within both at this hour and level, in the out-of-sample evaluation
    # of the loaded model. Null in a demo market, and for a decision of a model that is not the loaded one; as are the
    # two below.
    coverage: float | None
    # How many days were evaluated, those of all tickers added up.
    days: int | None
    # First and last day of the evaluation.
    span: str | None


Freshness = Literal[
    "live",
    "delayed",
    "stale",
    "closed",
    "historical",
]
"""How far the price in an answer can be trusted.

live: the newest bar that should be known is known. delayed: the same, but the plan's bars come late, or this
hour's are not all here. stale: a bar is overdue, or none can be had. closed: the market is not open.
historical: the answer is about a past moment."""

GateName = Literal[
    "supported_ticker",
    "market_open",
    "market_data",
    "model",
    "probability",
]
"""The conditions of a trade, in the order in which they are checked."""


class GateResult(TypedDict):
    """One condition of a trade."""

    gate: GateName
    # Null where an earlier gate failed, so that this one was not checked.
    passed: bool | None
    # The error code or reason code of a gate that failed.
    code: str | None
    # Why a gate failed, in words; like `reason` it says first that the market is not the real one, where it is not.
    reason: str | None


HealthTier = Literal[
    "HEALTHY",
    "DEGRADED",
    "UNSTABLE",
]
"""How far the intraday reading can be trusted."""


class HeartbeatEvent(TypedDict):
    """Nothing changed, or nothing is known yet. It comes every 15 s, real time."""

    kind: Literal["heartbeat"]
    # The id of the last event; null, as `epoch` and `seq` are, while the server computes the first state of the
    # ticker.
    id: str | None
    ticker: str
    epoch: str | None
    seq: int | None
    # Real time of the server.
    server_time: Moment
    # When the next event comes at the latest, whatever happens. Like `server_time` it is real time of the server,
    # whereas `generated_at` and `as_of` of other events are market time. A client that gets nothing for as long as it
    # lies behind `server_time` has lost its connection; the clock of the client has no part in that.
    next_by: Moment


class HelloEvent(TypedDict):
    """The first event of every connection."""

    # The version of this protocol.
    protocol: Literal[1]
    # Real time of the server.
    server_time: Moment
    # Market time of the server, which differs from real time in a demo and in a recorded market. A `signal`, `price`
    # or `status` event whose `generated_at` is earlier is replayed: it happened before the client connected, and its
    # `freshness` is that of its own moment.
    market_time: Moment
    # How fast the clock of the market runs: market seconds per real second. 1 in the live market.
    clock_speed: float
    # The name of the count to which the offsets of this connection belong. It is not the `epoch` of a ticker's
    # events.
    epoch: str
    # Real seconds between two heartbeats of a ticker.
    heartbeat_seconds: float
    # Where bars come from.
    source: Market
    # Whether the client library found its state again, subscriptions included, so that no event is missing
    # (`socket.recovered` says the same).
    recovered: bool
    # What this client may do.
    limits: Limits


class HitRate(TypedDict):
    """What the loaded model's own out-of-sample evaluation says of one target at one decision hour."""

    target: Target
    decision_hour: int
    # How often the model was right about the side, out of sample.
    hit_rate: float
    # How often the random walk, which says that the price stays on the side where it is, was right on the same days;
    # null of target B at 11:00, where the price is on no side yet.
    baseline_hit_rate: float | None
    # How often "up" was right on the same days.
    always_up_hit_rate: float
    # How many days were evaluated.
    days: int
    # First and last day of the evaluation.
    span: str
    # What the evaluation allows to be said, from the 95 % interval of its log-loss beside the random walk's.
    verdict: Verdict


class Levels(TypedDict):
    """Where a trade is entered and left, USD."""

    entry_type: OrderType | None
    entry_price: float | None
    take_profit: float | None
    stop_loss: float | None
    time_stop: Moment
    # Whether an order that is filled at the entry price is past its stop at once, since the two are computed from
    # different distances.
    entry_beyond_stop: bool


class Limits(TypedDict):
    """What a client may do."""

    # How many tickers a connection may be subscribed to at a time.
    subscriptions: int
    # How many connections one address, or one API key, may have open at a time.
    connections_per_client: int
    # How many messages a connection may send a second.
    messages_per_second: float
    # How many bytes a message may have.
    message_bytes: int


class Lock(TypedDict):
    """Whether a decision holds, and until when."""

    state: LockState
    # The full hour of the decision, by rule, also where it was recorded some minutes later.
    locked_at: Moment | None
    expires_at: Moment | None
    # Whether the decision stands in the record: it was recorded within its hour, possibly some minutes after the hour
    # began, since it depends on nothing but bars that had ended by then. False where it was computed for this answer,
    # null without a decision.
    recorded: bool | None
    # The hash of the features that the decision was made from: equal in two regions that locked the hour from equal
    # bars. Null without a decision.
    inputs_sha256: str | None
    # Whether the bars known now give this decision. False where the provider has corrected a bar since, or where
    # another server locked the hour from other bars: the decision then stays as it was first shown, and `reason` says
    # so. Null without a decision, and where it is not known (a model that is not the loaded one, re-based prices,
    # bars that are not in memory).
    bars_agree: bool | None


LockState = Literal[
    "locked",
    "previous",
    "none",
]
"""locked: the decision of this hour stands until it expires. previous: that of the hour before stands for a short
while, because the bars of this hour are not all here. none: there is no decision; `gates` say why."""

Market = Literal[
    "polygon",
    "recorded",
    "demo",
]
"""Where bars come from. The values are those of the setting MARKET and of `data_status.source`."""


class MarketStatus(TypedDict):
    """What stands around the signals of a ticker."""

    market_open: bool
    # When the market next opens; null while it is open.
    next_open: Moment | None
    # Whether a bar is overdue in an open market.
    data_stale: bool
    # Whether calls to the provider are held back, because many failed.
    provider_held_back: bool
    # Which models are loaded.
    models: str


MissedReason = Literal[
    "unknown_epoch",
    "unknown_position",
    "too_old",
    "slow",
]
"""Why the events behind a position cannot be sent.

unknown_epoch: the sequence of that name has ended, for instance because nobody followed for hours.
unknown_position: it has not come so far. too_old: its events are not kept any more. slow: the listener fell
behind."""


class ModelReference(TypedDict):
    """Which model spoke."""

    model_id: str
    # The hash of the loaded model; null where the decision is of another one.
    artifact_sha256: str | None
    # The last day that the loaded model was trained on; null where the decision is of another one.
    data_end: str | None
    # Whether the model was trained on the day of this signal: it then says nothing about how good it is. It is false
    # in a demo market, whose bars are of no real day.
    in_sample: bool


OrderType = Literal[
    "MARKET",
    "LIMIT",
]
"""The order that enters a trade."""


class PriceEvent(TypedDict):
    """A new bar."""

    kind: Literal["price"]
    # `epoch-seq`: the place behind which a client goes on that comes back.
    id: str
    ticker: str
    # The name of the sequence. Another one begins where the one before cannot be continued.
    epoch: str
    # The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before it.
    seq: int
    # Market time of the state that is told of.
    generated_at: Moment
    # The end of the newest bar that the price rests on.
    as_of: Moment | None
    # How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
    # sent, which is later where a client gets what it missed.
    freshness: Freshness
    source: Market
    # Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment. The
    # newest signal of the events is the one that holds until its lock expires, also where this is true.
    told_afterwards: bool
    prices: Prices
    # Null in a closed market, and while fewer than 30 one-minute bars of the day are known.
    structure: StructureSummary | None


class Prices(TypedDict):
    """Prices in USD: those that the decision was made at, and those of now."""

    at_decision: float | None
    # The close of the newest bar that had ended; null where none can be trusted.
    now: float | None
    # The official open.
    session_open: float | None
    # The price at 11:00, with which target B compares the close.
    at_11: float | None
    # `now` beside `session_open`, per cent.
    change_percent: float | None


RangeState = Literal[
    "TREND",
    "BALANCE",
    "FAILED_EXPANSION",
]
"""What the last 30 bars did with their range."""


class RejectedTicker(TypedDict):
    """A ticker that the client is not subscribed to, though it asked for it."""

    # The ticker as the server read it.
    ticker: str
    # What is wrong, for programs.
    code: ErrorCode
    # Why, in words.
    detail: str


RiskLevel = Literal[
    "NORMAL",
    "REDUCED",
    "DEFENSIVE",
]
"""How much risk the state of the market leaves room for."""


class Signal(TypedDict):
    """The signal of one ticker at one moment: the decision that holds, what it rests on, and how old all of it is."""

    ticker: str
    mode: AnswerMode
    # Market time of the answer; of a replay the moment that it is about.
    generated_at: Moment
    # The trading day that the answer is about; null on a day without trading.
    session_date: str | None
    # New York hour of the decision, 10 to 15; null without one.
    decision_hour: int | None
    # The end of the newest bar that the price rests on; null where no bar is known.
    as_of: Moment | None
    # Market seconds from `as_of` to `generated_at`.
    age_seconds: int | None
    # When the decision expires; null without one.
    expires_at: Moment | None
    freshness: Freshness
    source: Market
    lock: Lock
    action: Action
    direction: SignalDirection
    strength: Strength
    # The target that decides at this hour; null while the market is closed.
    active_target: Target | None
    # The probability of the active target.
    probability: float | None
    # Of target A: that the session closes above its official open.
    probability_a: float | None
    # Of target B: that the session closes above its 11:00 price; null before 11:00.
    probability_b: float | None
    # One for each probability that is given. Empty in a demo market, without a decision, and for a decision of a
    # model that is not the loaded one.
    hit_rates: list[HitRate]
    size: Size | None
    prices: Prices
    # Null without a trade.
    levels: Levels | None
    # From the narrowest to the widest. Empty without a decision, and for one that was recorded before there were
    # ranges.
    ranges: list[ForecastRange]
    gates: list[GateResult]
    # All of it in words.
    reason: str
    # How many bars the session of a day that is over lacks.
    missing_bars: int
    # Null in a closed market, whose analysis `/v2/structure/{ticker}` has, but not in a replay of such a moment of a
    # trading day. Null while fewer than 30 one-minute bars of the day are known, those before the open included.
    structure: StructureSummary | None
    # Null in a closed market, whose analysis `/v2/swing/{ticker}` has, but not in a replay of such a moment of a
    # trading day. Null while fewer than 30 daily bars are known.
    swing: SwingSummary | None
    model: ModelReference | None
    versions: Versions


SignalDirection = Literal[
    "LONG",
    "SHORT",
    "NEUTRAL",
]
"""Where a signal points."""


class SignalEvent(TypedDict):
    """A decision was locked, or a gate changed."""

    kind: Literal["signal"]
    # `epoch-seq`: the place behind which a client goes on that comes back.
    id: str
    ticker: str
    # The name of the sequence. Another one begins where the one before cannot be continued.
    epoch: str
    # The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before it.
    seq: int
    # Market time of the state that is told of.
    generated_at: Moment
    # The end of the newest bar that the price rests on.
    as_of: Moment | None
    # How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
    # sent, which is later where a client gets what it missed.
    freshness: Freshness
    source: Market
    # Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment. The
    # newest signal of the events is the one that holds until its lock expires, also where this is true.
    told_afterwards: bool
    signal: Signal


class Size(TypedDict):
    """How much of the capital a trade takes, and what that is multiplied by."""

    percent_of_capital: float
    time_multiplier: float
    agreement_multiplier: float


class SnapshotEvent(TypedDict):
    """All that is known now: the first event, and what comes in place of events that cannot be sent."""

    kind: Literal["snapshot"]
    # `epoch-seq`: the place behind which a client goes on that comes back.
    id: str
    ticker: str
    # The name of the sequence. Another one begins where the one before cannot be continued.
    epoch: str
    # The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before it.
    seq: int
    # Market time of the state that is told of.
    generated_at: Moment
    # The end of the newest bar that the price rests on.
    as_of: Moment | None
    # How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
    # sent, which is later where a client gets what it missed.
    freshness: Freshness
    source: Market
    # Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment. The
    # newest signal of the events is the one that holds until its lock expires, also where this is true.
    told_afterwards: bool
    signal: Signal
    status: MarketStatus
    # False where events are missing that the client should have got; null where it asked for none.
    resumed: bool | None
    # Why they are missing.
    missed: MissedReason | None


class StatusEvent(TypedDict):
    """The market opened or closed, data became stale or current, calls to the provider are held back or made
    again, or other models were loaded."""

    kind: Literal["status"]
    # `epoch-seq`: the place behind which a client goes on that comes back.
    id: str
    ticker: str
    # The name of the sequence. Another one begins where the one before cannot be continued.
    epoch: str
    # The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before it.
    seq: int
    # Market time of the state that is told of.
    generated_at: Moment
    # The end of the newest bar that the price rests on.
    as_of: Moment | None
    # How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is
    # sent, which is later where a client gets what it missed.
    freshness: Freshness
    source: Market
    # Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment. The
    # newest signal of the events is the one that holds until its lock expires, also where this is true.
    told_afterwards: bool
    status: MarketStatus


Strength = Literal[
    "neutral",
    "weak",
    "moderate",
    "strong",
    "very_strong",
]
"""How far the active probability is beyond its threshold."""

StructureDirection = Literal[
    "UP",
    "DOWN",
    "BALANCED",
]
"""Where price is going."""


class StructureSummary(TypedDict):
    """The session in short: Northstar's reading and RPE's posture."""

    direction: StructureDirection
    range_state: RangeState
    health: HealthTier
    # Whether Northstar permits a trade at this moment on the side of `northstar_bias`: never while the market is
    # closed, and never without a side. Phase 4 of `/v2/structure/{ticker}` looks at neither.
    northstar_allowed: bool
    northstar_bias: Bias
    execution_mode: ExecutionMode
    risk: RiskLevel
    # The same of RPE, on the side of `rpe_bias`.
    rpe_allowed: bool
    rpe_bias: Bias
    # How many one-minute bars it rests on.
    minute_bars: int


class SubscribeByTicker(TypedDict):
    """Subscribes to tickers, in addition to those that the client is subscribed to. A ticker that it is subscribed
    to already begins anew: behind `after`, or with a snapshot."""

    # One ticker.
    ticker: str
    # Where to go on: the `id` of the last event that the client has, or an object with an id for each ticker. Of a
    # ticker without one a snapshot comes first.
    after: NotRequired[str | dict[str, str | None]]


class SubscribeByTickers(TypedDict):
    """Subscribes to tickers, in addition to those that the client is subscribed to. A ticker that it is subscribed
    to already begins anew: behind `after`, or with a snapshot."""

    # One ticker or more, instead of `ticker`.
    tickers: list[str]
    # Where to go on: the `id` of the last event that the client has, or an object with an id for each ticker. Of a
    # ticker without one a snapshot comes first.
    after: NotRequired[str | dict[str, str | None]]


Subscribe = SubscribeByTicker | SubscribeByTickers

SwingDirection = Literal[
    "BULLISH",
    "BEARISH",
    "NEUTRAL",
]
"""Where the days and weeks point; also the sign of MACD."""


class SwingSummary(TypedDict):
    """The days in short."""

    direction: SwingDirection
    # Whether the days permit a trade, whatever the market's hours, since it is held for days.
    allowed: bool
    bias: Bias
    # How many completed days it rests on.
    daily_bars: int


Target = Literal[
    "A",
    "B",
]
"""What a probability is about: that the session closes above its official open (A), or above its 11:00 price (B)."""


class UnsubscribeByTicker(TypedDict):
    """Ends the events of tickers. It does nothing about those that the client is not subscribed to."""

    # One ticker.
    ticker: str


class UnsubscribeByTickers(TypedDict):
    """Ends the events of tickers. It does nothing about those that the client is not subscribed to."""

    # One ticker or more, instead of `ticker`.
    tickers: list[str]


Unsubscribe = UnsubscribeByTicker | UnsubscribeByTickers

Verdict = Literal[
    "measurably better than the random walk",
    "no measurable difference",
    "measurably worse than the random walk",
]
"""The only words that may be used for a cell."""


class Versions(TypedDict):
    """Versions of the policy and of the model family."""

    policy: str
    engine: str


LiveEvent = SnapshotEvent | SignalEvent | PriceEvent | StatusEvent
"""What is sent about a ticker, heartbeats aside. `kind` says which one it is."""
