"""The signal as the server answers with it. The server's OpenAPI document describes every field."""

from __future__ import annotations

from typing import Literal, TypedDict


class Lock(TypedDict):
    """Whether a decision holds, and until when."""

    state: Literal["locked", "previous", "none"]
    locked_at: str | None
    expires_at: str | None
    recorded: bool | None


class HitRate(TypedDict):
    """What the loaded model's own out-of-sample evaluation says of one target at one decision hour."""

    target: Literal["A", "B"]
    decision_hour: int
    hit_rate: float
    baseline_hit_rate: float | None
    always_up_hit_rate: float
    days: int
    span: str
    verdict: Literal[
        "measurably better than the random walk", "no measurable difference", "measurably worse than the random walk"
    ]


class Size(TypedDict):
    """How much of the capital a trade takes, and what that is multiplied by."""

    percent_of_capital: float
    time_multiplier: float
    agreement_multiplier: float


class Prices(TypedDict):
    """Prices in USD: those that the decision was made at, and those of now."""

    at_decision: float | None
    now: float | None
    session_open: float | None
    at_11: float | None
    change_percent: float | None


class Levels(TypedDict):
    """Where a trade is entered and left, USD."""

    entry_type: Literal["MARKET", "LIMIT"] | None
    entry_price: float | None
    take_profit: float | None
    stop_loss: float | None
    time_stop: str
    entry_beyond_stop: bool


class GateResult(TypedDict):
    """One condition of a trade."""

    gate: Literal["supported_ticker", "market_open", "market_data", "model", "probability"]
    passed: bool | None
    code: str | None
    reason: str | None


class StructureSummary(TypedDict):
    """The session in short: Northstar's reading and RPE's posture."""

    direction: Literal["UP", "DOWN", "BALANCED"]
    range_state: Literal["TREND", "BALANCE", "FAILED_EXPANSION"]
    health: Literal["HEALTHY", "DEGRADED", "UNSTABLE"]
    northstar_allowed: bool
    northstar_bias: Literal["LONG", "SHORT", "NEUTRAL"]
    execution_mode: Literal["TREND_CONTINUATION", "MEAN_REVERSION", "SCALP", "NO_TRADE"]
    risk: Literal["NORMAL", "REDUCED", "DEFENSIVE"]
    rpe_allowed: bool
    rpe_bias: Literal["LONG", "SHORT", "NEUTRAL"]
    minute_bars: int


class SwingSummary(TypedDict):
    """The days in short."""

    direction: Literal["BULLISH", "BEARISH", "NEUTRAL"]
    allowed: bool
    bias: Literal["LONG", "SHORT", "NEUTRAL"]
    daily_bars: int


class ModelReference(TypedDict):
    """Which model spoke."""

    model_id: str
    artifact_sha256: str | None
    data_end: str | None
    in_sample: bool


class Versions(TypedDict):
    """Versions of the policy and of the model family."""

    policy: str
    engine: str


class Signal(TypedDict):
    """The signal of one ticker at one moment: the decision that holds, what it rests on, and how old all of it is."""

    ticker: str
    mode: Literal["live", "replay"]
    generated_at: str
    session_date: str | None
    decision_hour: int | None
    as_of: str | None
    age_seconds: int | None
    expires_at: str | None
    freshness: Literal["live", "delayed", "stale", "closed", "historical"]
    source: Literal["polygon", "recorded", "demo"]
    lock: Lock
    action: Literal["BUY_CALL", "BUY_PUT", "NO_TRADE"]
    direction: Literal["LONG", "SHORT", "NEUTRAL"]
    strength: Literal["neutral", "weak", "moderate", "strong", "very_strong"]
    active_target: Literal["A", "B"] | None
    probability: float | None
    probability_a: float | None
    probability_b: float | None
    hit_rates: list[HitRate]
    size: Size | None
    prices: Prices
    levels: Levels | None
    gates: list[GateResult]
    reason: str
    missing_bars: int
    structure: StructureSummary | None
    swing: SwingSummary | None
    model: ModelReference | None
    versions: Versions
