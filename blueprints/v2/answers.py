"""The types of v2's answers beside the signals: analyses, models, calendar, status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from app.market.plan import Market
from app.pipeline import ChartSpan
from app.signals.evidence import Side
from app.structure import Northstar, Rpe, Swing
from blueprints.v2.types import Answer, Freshness, HitRate, Moment, Price, Share, Versions


class Analysis(Answer):
    """What all analyses share: of which ticker they are, and how old."""

    ticker: str
    generated_at: Moment
    as_of: Moment | None
    age_seconds: int | None
    freshness: Freshness
    source: Market


class Structure(Analysis):
    """Both analyses of the session, with the price beside them."""

    price: Price | None
    """The last price of the day, before the open that of the newest minute; null where none can be trusted."""
    session_open: Price | None
    """The official open."""
    change_percent: float | None
    """`price` beside `session_open`, per cent."""
    minute_bars: int
    """How many one-minute bars of the day are known; 30 are needed."""
    northstar: Northstar | None
    """The four phases; null with too few one-minute bars. Whether phase 4 permits a trade looks at no trading hours."""
    rpe: Rpe | None
    """The five phases, of which the last alone reads the model; null with too few one-minute bars. Phase 3 knows no earlier
    signals, so that its cooldown and budget are always untouched. The probabilities of direction, regime and barrier in phase 5
    are fixed tables, not estimates that were measured."""
    reason: str | None
    """Why an analysis is missing; null where none is."""


class SwingAnswer(Analysis):
    """The analysis of the days."""

    price: Price | None
    daily_bars: int
    """How many completed days are known; 30 are needed."""
    swing: Swing | None
    reason: str | None
    """Why the analysis is missing; null where it is not."""


class Session(Answer):
    """A trading day."""

    day: date
    open: Moment
    close: Moment
    early_close: bool
    decision_hours: Sequence[int]
    """New York hours at which a signal is decided."""


class OpenSource(StrEnum):
    """Where an official open was learned: from the daily bar of its day, from the provider's snapshot, or from the session's
    first minute, where neither has it (policy.md 3)."""

    DAILY = "daily"
    SNAPSHOT = "snapshot"
    MINUTE = "minute"


class Bar(Answer):
    """One bar. It had ended when it was answered, and it does not change afterwards, but for a provider's correction."""

    start: Moment
    end: Moment
    """The first moment after the bar; of a daily bar the close of its session."""
    open: Price
    high: Price
    low: Price
    close: Price
    volume: float
    """Shares."""
    regular: bool
    """Whether it lies within the regular session."""


class BarSeries(Analysis):
    """The bars of one ticker that were known at the moment of the answer.

    Bars of a day that is over are `historical`. Daily bars that end with the day before are so too, unless a newer one is
    overdue."""

    span: ChartSpan
    first_day: date
    """The day of the bars; of daily bars that of the first one."""
    last_day: date
    """The same as `first_day`, but of daily bars the day of the last one."""
    session: Session | None
    """The regular session of the day; null for daily bars."""
    session_open: Price | None
    """The official open of the day, which may differ from the open of its first bar; null for daily bars, before the session
    has opened, and while it is not known."""
    session_open_source: OpenSource | None
    missing_bars: int
    """How many bars the session lacks of those that should be known; 0 where minutes without trades explain it."""
    bars: Sequence[Bar]
    """In the order of time. A span of time without trades has no bar."""
    reason: str | None
    """Why there are no bars; null where there are some."""


class Cell(HitRate):
    """The evaluation of one target at one decision hour, out of sample. Losses are in nats; of the skill, above 0 is better."""

    log_loss: float
    baseline_log_loss: float
    skill: float
    """The mean of (log-loss of the random walk - log-loss of the model)."""
    skill_low: float
    skill_high: float
    """The 95 % interval of the skill, with days as clusters."""
    brier: float
    expected_calibration_error: float


class TradedSignals(Answer):
    """The signals of the record beyond 0.75 or 0.25: what they stated on average, and how often that came true."""

    signals: int
    days: int
    stated: Share
    """The mean probability of the side of the signal."""
    right: Share
    """The share of them whose side came true."""
    right_low: Share | None
    right_high: Share | None
    """The 95 % interval of `right`, with days as clusters; null where all came true, or none."""


class ModelRecord(Answer):
    """What the record of locked signals says of a model, on days that it was not trained on: do its probabilities come true as
    often as they state?"""

    days: int
    """Days whose outcome is known."""
    last_day: date
    signals: int
    """Signals of these days."""
    signals_without_outcome: int
    """Signals of the model on other days up to yesterday, whose close is not known."""
    traded: TradedSignals | None
    """Null where fewer than 20 days have such a signal."""
    contradicted_since: date | None
    """The day since which the record contradicts the probabilities of the model, by a sequential test that raises one false
    alarm in two years at most, of all tickers together; null where it does not contradict them."""
    contradiction: Side | None
    """Whether the probabilities are too sure, or not sure enough; null where nothing contradicts them."""


class Model(Answer):
    """A loaded model and what its own evaluation says of it."""

    ticker: str
    model_id: str
    artifact_sha256: str
    engine: str
    trained_at: Moment
    data_end: date
    training_days: int
    inputs: Sequence[str]
    evaluation: Sequence[Cell]
    record: ModelRecord | None
    """What the record says of the model, as of the last daily bars that the server keeps."""
    record_reason: str | None
    """Why that is nothing (yet); null where there is a record."""


class LoadedModels(Answer):
    """All models, and why one is missing."""

    set_id: str
    models: Sequence[Model]
    missing: dict[str, str]
    """Per ticker without a model the reason."""


class CalendarAnswer(Answer):
    """The trading days from one day to another."""

    generated_at: Moment
    market_open: bool
    sessions: Sequence[Session]


class Status(Answer):
    """What the server serves with."""

    generated_at: Moment
    market_open: bool
    next_open: Moment | None
    """When the market next opens; null while it is open."""
    source: Market
    plan: str | None
    """The provider's plan: unknown until it has shown itself; null without one."""
    delay_seconds: int
    """How late the plan's bars are."""
    ready: bool
    reason: str | None
    """Why it is not ready."""
    degraded: Sequence[str]
    """What works less well than it should."""
    tickers: Sequence[str]
    versions: Versions
    server: str
    """Version of the server."""
