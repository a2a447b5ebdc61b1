"""The types of v2's track record: locked signals, what became of them, and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

from pydantic import AfterValidator

from app.market.plan import Market
from app.signals.outcomes import ExitKind
from blueprints.v2.types import (
    Action,
    Answer,
    Levels,
    Moment,
    Page,
    Price,
    Share,
    SignalDirection,
    Size,
    Strength,
    Target,
    Versions,
)

Percent = Annotated[float, AfterValidator(lambda value: round(value, 4) + 0.0)]
"""Per cent, rounded once, here, to four decimals. Adding 0.0 makes 0.0 of -0.0."""


class TradeExit(Answer):
    """How the trade of a signal ended, on the bars from its decision to its time stop, without slippage and costs.

    Each trade is followed for itself until it is left: beyond the hour of its signal, and whatever later signals say, so that
    the trades of several hours may overlap. A LIMIT order stays open until the time stop, also after the signal has expired. An
    order that is filled at a price beyond the stop counts as left at once, at the price at which it was filled."""

    kind: ExitKind
    entry_price: Price | None
    """The price at which the order was filled: that of the order, or the open of a bar that opened at a better one than the
    LIMIT price; null where it never was."""
    exit_price: Price | None
    """The level that was reached, or the open of a bar that began beyond it; at the time stop the close of the last bar before
    it. Null where the exit is ambiguous, and where there was no trade."""
    exited_at: Moment | None
    """The end of the bar in which it was left."""
    return_percent: Percent | None
    """From `entry_price` to `exit_price`, positive where the trade gained."""


class SignalOutcome(Answer):
    """What became of a signal when its day had closed."""

    session_close: Price
    """The official close, of the daily bar."""
    target_reached: bool
    """Whether the active target came true: the close is above the official open (A) or above the 11:00 price (B). A close that
    is equal to it is not above it (v6.md 2)."""
    right: bool | None
    """Whether the active probability was on that side, above or below one half; null at one half."""
    change_percent: Percent
    """From the decision price to the close, whatever the signal said."""
    return_percent: Percent | None
    """The same with the sign of the trade: positive where its side gained; null without a trade."""
    exit: TradeExit | None
    """How the trade ended at its levels; null without a trade, and where that is not known."""
    exit_reason: str | None
    """Why it is not known; null where it is, and without a trade."""


class DecisionPrices(Answer):
    """The prices that a decision was made at, USD."""

    at_decision: Price
    session_open: Price
    """The official open, as it was known then."""
    at_11: Price | None
    """The price at 11:00; null before 11:00."""


class RecordedModel(Answer):
    """The model that spoke."""

    model_id: str
    in_sample: bool
    """Whether the model was trained on the day of this signal: it then says nothing about how good it is. It is false in a demo
    market, whose bars are of no real day."""


class LockedSignal(Answer):
    """A signal as it was locked, which never changes."""

    day: date
    decision_hour: int
    locked_at: Moment
    """The full hour, by rule. A signal is recorded within its hour, possibly some minutes after it began: it depends on nothing
    but bars that had ended by the full hour."""
    expires_at: Moment
    action: Action
    direction: SignalDirection
    strength: Strength
    active_target: Target
    probability: Share
    """The probability of the active target."""
    probability_a: Share
    probability_b: Share | None
    """Null before 11:00 (ruling L6)."""
    size: Size
    prices: DecisionPrices
    levels: Levels | None
    """Null without a trade."""
    reason: str
    """What was said, in words."""
    model: RecordedModel
    inputs_sha256: str
    """The hash of the features that the decision was made from. Records of different regions have equal hashes where their
    bars were equal."""
    versions: Versions


class RecordedSignal(LockedSignal):
    """A signal as it was locked, which never changes, and what became of it."""

    outcome: SignalOutcome | None
    outcome_reason: str | None
    """Why there is no outcome (yet); null where there is one."""


class Gap(Answer):
    """A trading day with decision hours that are over and have no signal in the record: the server could not decide, or did not
    run at any time of the hour. What it would have said is not computed after the hour (ruling S7)."""

    day: date
    decision_hours: Sequence[int]


class RecordCounts(Answer):
    """Counts over the signals of this page."""

    signals: int
    trades: int
    right: int
    wrong: int
    without_outcome: int


class RecordPage(Page):
    """A page of the track record of one ticker, in the order of time, with the gaps between its signals."""

    ticker: str
    generated_at: Moment
    source: Market
    first_day: date
    last_day: date
    record_begins: date | None
    """The day of the first signal of the record up to `last_day`; null without one. Gaps before it are of a time before the
    record."""
    home_region: str | None
    """The region whose record is published; null where the operator names none, since there is one record."""
    is_home_record: bool
    """Whether this is that record. False on a server of another region that keeps a record of its own: signals of equal bars
    are equal in both, and where the provider gave two regions different bars for a moment, the home region's signal counts."""
    signals: Sequence[RecordedSignal]
    gaps: Sequence[Gap]
    out_of_sample: RecordCounts
    """Of signals whose model was not trained on their day."""
    in_sample: RecordCounts
    """Of the others. They say nothing about how good the model is."""
