"""The types of v2's answers. The OpenAPI document is made from them, and every answer is made through them.

Names are whole words. Times have New York's offset. Prices are in USD with two decimals, shares of one are `probability` and
`rate`, per cent is in the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from app.market.plan import Market
from app.model.verdicts import Verdict
from app.structure.terms import Bias, Direction, ExecutionMode, HealthTier, RangeState, RiskLevel, SwingDirection
from blueprints.shared.values import iso


def to_the_second(at: datetime) -> str:
    """The moment as v2 writes it: ISO 8601, to the second, with New York's offset."""
    return iso(at.replace(microsecond=0))


Moment = Annotated[
    datetime,
    PlainSerializer(to_the_second, return_type=str, when_used="json"),
    Field(json_schema_extra={"format": "date-time"}),
]
"""A moment, written to the second in New York time with its offset."""

Price = Annotated[
    float,
    AfterValidator(lambda value: round(value, 2)),
    Field(gt=0),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),  # pydantic writes `gt` for a bound behind a validator
]
"""USD, rounded once, here, to two decimals (ruling S5)."""

Share = Annotated[float, Field(ge=0, le=1)]


class Answer(BaseModel):
    """What all answers share: they are closed, hold neither infinity nor NaN, and always have all of their fields."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
        defer_build=True,
    )


class Page(Answer):
    """A part of a list that may be longer."""

    next: str | None
    """The path of the next page, which the header `Link` names too (RFC 8288); null on the last one. A page that was read does
    not change because of later entries."""


class Action(StrEnum):
    """What the policy makes of the active probability."""

    BUY_CALL = "BUY_CALL"
    BUY_PUT = "BUY_PUT"
    NO_TRADE = "NO_TRADE"


class SignalDirection(StrEnum):
    """Where a signal points."""

    LONG = "LONG"
    SHORT = "SHORT"
    NEUTRAL = "NEUTRAL"


class Strength(StrEnum):
    """How far the active probability is beyond its threshold (policy.md 5)."""

    NEUTRAL = "neutral"
    WEAK = "weak"
    MODERATE = "moderate"
    STRONG = "strong"
    VERY_STRONG = "very_strong"


class Target(StrEnum):
    """What a probability is about: that the session closes above its official open (A), or above its 11:00 price (B)."""

    A = "A"
    B = "B"


class Freshness(StrEnum):
    """How far the price in an answer can be trusted.

    live: the newest bar that should be known is known. delayed: the same, but the plan's bars come late, or this hour's are not
    all here. stale: a bar is overdue, or none can be had. closed: the market is not open. historical: the answer is about a
    past moment."""

    LIVE = "live"
    DELAYED = "delayed"
    STALE = "stale"
    CLOSED = "closed"
    HISTORICAL = "historical"


class LockState(StrEnum):
    """locked: the decision of this hour stands until it expires. previous: that of the hour before stands for a short while,
    because the bars of this hour are not all here. none: there is no decision; `gates` say why."""

    LOCKED = "locked"
    PREVIOUS = "previous"
    NONE = "none"


class AnswerMode(StrEnum):
    """Whether an answer is about now, or about a past moment as the live server showed it or would have."""

    LIVE = "live"
    REPLAY = "replay"


class GateName(StrEnum):
    """The conditions of a trade, in the order in which they are checked."""

    SUPPORTED_TICKER = "supported_ticker"
    MARKET_OPEN = "market_open"
    MARKET_DATA = "market_data"
    MODEL = "model"
    PROBABILITY = "probability"


class GateResult(Answer):
    """One condition of a trade."""

    gate: GateName
    passed: bool | None
    """Null where an earlier gate failed, so that this one was not checked."""
    code: str | None = None
    """The error code or reason code of a gate that failed."""
    reason: str | None = None
    """Why a gate failed, in words; like `reason` it says first that the market is not the real one, where it is not."""


class HitRate(Answer):
    """What the loaded model's own out-of-sample evaluation says of one target at one decision hour."""

    target: Target
    decision_hour: int
    hit_rate: Share
    """How often the model was right about the side, out of sample."""
    baseline_hit_rate: Share | None
    """How often the random walk, which says that the price stays on the side where it is, was right on the same days; null of
    target B at 11:00, where the price is on no side yet."""
    always_up_hit_rate: Share
    """How often "up" was right on the same days."""
    days: int
    """How many days were evaluated."""
    span: str
    """First and last day of the evaluation."""
    verdict: Verdict
    """What the evaluation allows to be said, from the 95 % interval of its log-loss beside the random walk's."""


class Lock(Answer):
    """Whether a decision holds, and until when."""

    state: LockState
    locked_at: Moment | None = None
    """The full hour of the decision, by rule, also where it was recorded some minutes later."""
    expires_at: Moment | None = None
    recorded: bool | None = None
    """Whether the decision stands in the record: it was recorded within its hour, possibly some minutes after the hour began,
    since it depends on nothing but bars that had ended by then. False where it was computed for this answer, null without a
    decision."""
    inputs_sha256: str | None = None
    """The hash of the features that the decision was made from: equal in two regions that locked the hour from equal bars. Null
    without a decision."""
    bars_agree: bool | None = None
    """Whether the bars known now give this decision. False where the provider has corrected a bar since, or where another
    server locked the hour from other bars: the decision then stays as it was first shown, and `reason` says so. Null without
    a decision, and where it is not known (a model that is not the loaded one, re-based prices, bars that are not in memory)."""


class Prices(Answer):
    """Prices in USD: those that the decision was made at, and those of now."""

    at_decision: Price | None = None
    now: Price | None = None
    """The close of the newest bar that had ended; null where none can be trusted."""
    session_open: Price | None = None
    """The official open."""
    at_11: Price | None = None
    """The price at 11:00, with which target B compares the close."""
    change_percent: float | None = None
    """`now` beside `session_open`, per cent."""


class OrderType(StrEnum):
    """The order that enters a trade."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class Levels(Answer):
    """Where a trade is entered and left, USD."""

    entry_type: OrderType | None
    entry_price: Price | None
    take_profit: Price | None
    stop_loss: Price | None
    time_stop: Moment
    entry_beyond_stop: bool
    """Whether an order that is filled at the entry price is past its stop at once, since the two are computed from different
    distances (policy.md 8)."""


class ForecastRange(Answer):
    """Between which prices the session is forecast to stay from the decision until its close, and how often such ranges held.
    It is locked with the decision."""

    level: Share
    """The share of days on which the price is forecast to go no higher than `high`, and that on which it goes no lower than
    `low`. That of staying within both is lower."""
    low: Price
    high: Price
    coverage: Share | None
    """On which share of the days the price stayed within both at this hour and level, in the out-of-sample evaluation of the
    loaded model. Null in a demo market, and for a decision of a model that is not the loaded one; as are the two below."""
    days: int | None
    """How many days were evaluated, those of all tickers added up."""
    span: str | None
    """First and last day of the evaluation."""


class Size(Answer):
    """How much of the capital a trade takes, and what that is multiplied by."""

    percent_of_capital: float
    time_multiplier: float
    agreement_multiplier: float


class StructureSummary(Answer):
    """The session in short: Northstar's reading and RPE's posture."""

    direction: Direction
    range_state: RangeState
    health: HealthTier
    northstar_allowed: bool
    """Whether Northstar permits a trade at this moment on the side of `northstar_bias`: never while the market is closed, and
    never without a side. Phase 4 of `/v2/structure/{ticker}` looks at neither."""
    northstar_bias: Bias
    execution_mode: ExecutionMode
    risk: RiskLevel
    rpe_allowed: bool
    """The same of RPE, on the side of `rpe_bias`."""
    rpe_bias: Bias
    minute_bars: int
    """How many one-minute bars it rests on."""


class SwingSummary(Answer):
    """The days in short."""

    direction: SwingDirection
    allowed: bool
    """Whether the days permit a trade, whatever the market's hours, since it is held for days."""
    bias: Bias
    daily_bars: int
    """How many completed days it rests on."""


class ModelReference(Answer):
    """Which model spoke."""

    model_id: str
    artifact_sha256: str | None
    """The hash of the loaded model; null where the decision is of another one."""
    data_end: date | None
    """The last day that the loaded model was trained on; null where the decision is of another one."""
    in_sample: bool
    """Whether the model was trained on the day of this signal: it then says nothing about how good it is. It is false in a demo
    market, whose bars are of no real day."""


class Versions(Answer):
    """Versions of the policy and of the model family."""

    policy: str
    engine: str


class Signal(Answer):
    """The signal of one ticker at one moment: the decision that holds, what it rests on, and how old all of it is."""

    ticker: str
    mode: AnswerMode
    generated_at: Moment
    """Market time of the answer; of a replay the moment that it is about."""
    session_date: date | None
    """The trading day that the answer is about; null on a day without trading."""
    decision_hour: int | None
    """New York hour of the decision, 10 to 15; null without one."""
    as_of: Moment | None
    """The end of the newest bar that the price rests on; null where no bar is known."""
    age_seconds: int | None
    """Market seconds from `as_of` to `generated_at`."""
    expires_at: Moment | None
    """When the decision expires; null without one."""
    freshness: Freshness
    source: Market
    lock: Lock
    action: Action
    direction: SignalDirection
    strength: Strength
    active_target: Target | None
    """The target that decides at this hour; null while the market is closed."""
    probability: Share | None
    """The probability of the active target."""
    probability_a: Share | None
    """Of target A: that the session closes above its official open."""
    probability_b: Share | None
    """Of target B: that the session closes above its 11:00 price; null before 11:00 (ruling L6)."""
    hit_rates: Sequence[HitRate]
    """One for each probability that is given. Empty in a demo market, without a decision, and for a decision of a model that is
    not the loaded one."""
    size: Size | None
    prices: Prices
    levels: Levels | None
    """Null without a trade."""
    ranges: Sequence[ForecastRange]
    """From the narrowest to the widest. Empty without a decision, and for one that was recorded before there were ranges."""
    gates: Sequence[GateResult]
    reason: str
    """All of it in words."""
    missing_bars: int
    """How many bars the session of a day that is over lacks."""
    structure: StructureSummary | None
    """Null in a closed market, whose analysis `/v2/structure/{ticker}` has, but not in a replay of such a moment of a trading
    day. Null while fewer than 30 one-minute bars of the day are known, those before the open included."""
    swing: SwingSummary | None
    """Null in a closed market, whose analysis `/v2/swing/{ticker}` has, but not in a replay of such a moment of a trading day.
    Null while fewer than 30 daily bars are known."""
    model: ModelReference | None
    versions: Versions


class Board(Answer):
    """The signals of several tickers at one moment."""

    generated_at: Moment
    market_open: bool
    next_open: Moment | None
    """When the market next opens; null while it is open."""
    signals: Sequence[Signal]
    best: str | None
    """The ticker whose decision ranks first; null where none trades."""
