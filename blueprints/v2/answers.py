"""The types of v2's answers beside the signals: analyses, models, calendar, status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from app.market.plan import Market
from app.model.swing import SwingVerdict
from app.model.verdicts import Verdict
from app.pipeline import ChartSpan
from app.signals.evidence import Side
from app.structure import Northstar, Rpe, Swing
from app.structure.terms import SwingDirection
from blueprints.v2.types import Answer, Freshness, HitRate, Moment, Price, Share, Target, Versions


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


class SwingEvaluation(Answer):
    """How good the probabilities of one horizon were, out of sample: all tickers pooled, of which a day is one observation.
    Losses are in nats; of the skill, above 0 is better."""

    span: str
    days: int
    hit_rate: float
    base_rate_hit_rate: float
    """Of the base rate, which is on one side on all days of a year."""
    always_up_hit_rate: float
    log_loss: float
    baseline_log_loss: float
    skill: float
    """The mean of (log-loss of the base rate - log-loss of the model)."""
    skill_low: float
    skill_high: float
    """The 95 % interval of the skill, by resampling blocks of 21 days."""
    brier: float
    expected_calibration_error: float
    verdict: SwingVerdict


class SwingHorizon(Answer):
    """The probability that the close after some trading days is higher than that of the last completed day."""

    horizon: int
    """Trading days."""
    ends: date
    """The day whose close decides."""
    probability: Share | None
    """Null without a model of the horizon, and once that close is past."""
    base_rate: Share | None
    """How often the close was higher on the days that the model was trained on. The probability is the same where the
    evaluation shows no model to be better."""
    signal: SwingDirection
    """BULLISH above 0.80, BEARISH below 0.20; not for trading within the day."""
    evaluation: SwingEvaluation | None
    """Null without a model of the horizon, and in a demo market, whose bars are of no real day."""


class SwingProbabilities(Answer):
    """The swing probabilities of one ticker. They rest on completed days and change once a day, when the bar of the day can be
    had after its close."""

    day: date
    """The last completed day."""
    as_of: Moment
    """Its close."""
    horizons: Sequence[SwingHorizon]
    model_id: str
    data_end: date
    """The last day that the model was trained on."""
    in_sample: bool
    """Whether the model was trained on `day`: it then says nothing about how good it is."""


class SwingAnswer(Analysis):
    """The analysis of the days, and beside it what the models of the days say; neither reads the other."""

    price: Price | None
    daily_bars: int
    """How many completed days are known; 30 are needed."""
    swing: Swing | None
    reason: str | None
    """Why the analysis is missing; null where it is not."""
    probabilities: SwingProbabilities | None
    probabilities_reason: str | None
    """Why the probabilities are missing; null where they are not."""


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
    skill_beyond_volatility: float
    """The same as `skill`, beside a random walk that is given the model's forecast of the volatility: what is left of the skill
    then is not the forecast's."""
    skill_beyond_volatility_low: float
    skill_beyond_volatility_high: float
    verdict_beyond_volatility: Verdict
    """The verdict on that skill."""


class PooledCells(Answer):
    """The evaluation of one target, out of sample, pooled over all tickers and decision hours, with days as clusters."""

    target: Target
    decisions: int
    days: int
    log_loss: float
    baseline_log_loss: float
    skill: float
    skill_low: float
    skill_high: float
    verdict: Verdict
    skill_beyond_volatility: float
    skill_beyond_volatility_low: float
    skill_beyond_volatility_high: float
    verdict_beyond_volatility: Verdict
    expected_calibration_error: float
    covered: Share
    """The share of the decisions beyond 0.75 or 0.25."""
    covered_hit_rate: Share | None
    """How often these were right about the side; null where there are none."""
    covered_stated: Share | None
    """The mean probability of the side that they stated."""


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
    pooled: Sequence[PooledCells]
    """The evaluation of each target over all three tickers: the same for each of them."""
    record: ModelRecord | None
    """What the record says of the model, as of the last daily bars that the server keeps."""
    record_reason: str | None
    """Why that is nothing (yet); null where there is a record."""


class SwingComparison(Answer):
    """Another rule or model on the same days, which is not served. Of the gain, above 0 is better than the base rate."""

    name: str
    hit_rate: float
    log_loss: float
    gain: float
    """The mean of (log-loss of the base rate - its log-loss)."""
    gain_low: float
    gain_high: float


class SwingYear(Answer):
    """One test year, predicted by what was fitted on the days before it."""

    year: int
    days: int
    up: float
    """The share of closes that were higher."""
    base_rate: float
    chosen: str
    """What inner validation chose."""
    served: bool
    """Whether that would have been served: not before the years until then had shown it to be better than the base rate."""
    hit_rate: float
    log_loss: float
    baseline_log_loss: float


class SwingModelHorizon(Answer):
    """The model of one horizon. Its probability is the base rate, moved towards a regression as far as `weight` says."""

    horizon: int
    base_rate: float
    weight: float
    """0 where the evaluation does not show the regression to be better than the base rate."""
    evaluation: SwingEvaluation
    compared: Sequence[SwingComparison]
    years: Sequence[SwingYear]


class SwingModels(Answer):
    """The models of the days, which are the same for all tickers, and what their own evaluation says of them."""

    model_id: str
    artifact_sha256: str
    engine: str
    trained_at: Moment
    data_end: date
    training_days: int
    tickers: Sequence[str]
    inputs: Sequence[str]
    horizons: Sequence[SwingModelHorizon]


class LoadedModels(Answer):
    """All models, and why one is missing."""

    set_id: str
    models: Sequence[Model]
    swing: SwingModels | None
    missing: dict[str, str]
    """Per ticker without a model the reason, and under `swing` that of the models of the days."""


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
