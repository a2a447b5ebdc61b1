"""What is said of a ticker, and of several, at a moment: frozen values that the shapes of every version read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, Literal, NamedTuple

from app.errors import PredictError
from app.market.calendar import TradingHours
from app.model.swing import SwingModel
from app.pipeline.alignment import Alignment, alignment_of
from app.signals.daily_signal import DailySignal
from app.signals.policy import (
    Action,
    Decision,
    Gate,
    SessionName,
    SwingSignal,
    action_of,
    actionable,
    best,
    swing_signal_of,
)
from app.structure import Intraday, Probabilities, SessionAnalysis, Swing
from app.structure.terms import Bias

Target = Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class Quote:
    """The price and what belongs to it, which change while a signal is locked. Prices are in USD, `high` and `low` are those of
    the session so far, `as_of` is the end of the newest bar known, and `missing` is how many bars the session of a day that
    is over lacks."""

    price: float | None = None
    today_open: float | None = None
    bars: int = 0
    as_of: datetime | None = None
    stale: bool = False
    high: float | None = None
    low: float | None = None
    missing: int = 0


@dataclass(frozen=True, slots=True)
class TickerSignal:
    """The signal of one ticker at one moment: a locked decision, or the gate that stands before it.

    detail: why, in words; cause: the fault behind the gate, if there is one; recorded: the decision comes out of the
    record (else it was computed for this answer); waiting: it is the hour before's, this hour's bars are not here yet;
    gated_price_11am: USD, the 11:00 price as it is shown where there is no decision; bars_agree: whether the bars known now
    give the decision, None where that is not known.
    """

    ticker: str
    session: SessionName
    quote: Quote
    decision: Decision | None = None
    gate: Gate | None = None
    detail: str = ""
    cause: PredictError | None = None
    recorded: bool = False
    waiting: bool = False
    gated_price_11am: float | None = None
    bars_agree: bool | None = None

    @property
    def bars(self) -> int:
        """How many regular-session bars it rests on."""
        return self.quote.bars if self.decision is None else self.decision.bars_analyzed

    @property
    def as_of(self) -> datetime | None:
        return self.quote.as_of

    @property
    def stale(self) -> bool:
        return self.quote.stale

    @property
    def action(self) -> Action:
        """What it says to do: nothing where a gate stands before the decision."""
        return "NO_TRADE" if self.decision is None else self.decision.action

    @property
    def reason_code(self) -> str | None:
        if self.decision is not None:
            return self.decision.reason_code
        return None if self.gate is None else self.gate.value

    @property
    def active_target(self) -> Target | None:
        """The target that decides in its session; None in a closed market (policy.md 4)."""
        if self.gate is Gate.MARKET_CLOSED:
            return None
        return "A" if self.session == "early" else "B"

    @property
    def price_11am(self) -> float | None:
        """USD, the 11:00 price that the decision rests on, else as it is shown without one."""
        return self.gated_price_11am if self.decision is None else self.decision.price_11am


@dataclass(frozen=True, slots=True)
class DataPart:
    """What is known of the market of one ticker at one moment.

    price: USD, `today_price`, else the last daily close; None from the open on once a bar of the day is overdue or its fetch
    failed, and while newer bars are known that are too old to tell the price.
    today_price: USD, the day's last regular price, else its last minute's close; None before a bar of the day has ended.
    as_of, stale: the end of the newest bar that the state rests on, and whether any of its bars are older than they should be.
    minutes, days: how many one-minute bars of the day and how many daily bars there are.
    fault: why daily bars that should be there are not; minutes_fault: the same of minute bars, the days are served;
    quote_fault: the same of the quote of an open market.
    """

    part: ClassVar[Literal["data"]] = "data"
    ticker: str
    quote: Quote = field(default_factory=Quote)
    price: float | None = None
    today_price: float | None = None
    today_open: float | None = None
    as_of: datetime | None = None
    stale: bool = False
    minutes: int = 0
    days: int = 0
    fault: PredictError | None = None
    minutes_fault: PredictError | None = None
    quote_fault: PredictError | None = None

    @classmethod
    def of_quote(cls, ticker: str, quote: Quote) -> DataPart:
        """What is known where nothing but the quote is read."""
        return cls(
            ticker=ticker,
            quote=quote,
            price=quote.price,
            today_price=quote.price,
            today_open=quote.today_open,
            as_of=quote.as_of,
            stale=quote.stale,
        )

    @property
    def broken(self) -> PredictError | None:
        """Whatever is missing that should be there, days first."""
        return self.fault or self.minutes_fault


@dataclass(frozen=True, slots=True)
class RpePart:
    """What the market of a ticker is doing, as far as that needs no model: Northstar, RPE's phases 1 to 4, and swing.

    session: None with fewer than 30 minute bars; swing: None with fewer than 30 daily bars.
    """

    part: ClassVar[Literal["rpe"]] = "rpe"
    ticker: str
    session: SessionAnalysis | None = None
    swing: Swing | None = None


@dataclass(frozen=True, slots=True)
class V6Part:
    """What the model says for the hour, as it is locked, and RPE's phase 5, which reads it.

    probabilities: unrounded; None where a gate stands before the decision. hour: the decision hour that they are of.
    intraday: both intraday analyses, complete; None with fewer than 30 minute bars.
    """

    part: ClassVar[Literal["v6"]] = "v6"
    ticker: str
    probabilities: Probabilities | None = None
    hour: int | None = None
    in_sample: bool = False
    intraday: Intraday | None = None

    @property
    def action_a(self) -> Action | None:
        """What target A alone would say to do."""
        return None if self.probabilities is None else _action_of(self.probabilities.target_a)

    @property
    def action_b(self) -> Action | None:
        """What target B alone would say to do. Before 11:00 it is no prediction and has no action (rpe.md R11)."""
        probabilities = self.probabilities
        return None if probabilities is None or probabilities.early else _action_of(probabilities.target_b)


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether an analysis permits a trade at a moment, and on which side."""

    ticker: str
    bias: Bias
    is_given: bool

    @classmethod
    def of_northstar(cls, ticker: str, session: Intraday | SessionAnalysis, is_open: bool) -> Permission:
        """What Northstar permits: nothing in a closed market."""
        phase4 = session.northstar.phase4
        return cls(ticker, phase4.bias, is_open and phase4.allowed)

    @classmethod
    def of_rpe(cls, ticker: str, session: Intraday | SessionAnalysis, is_open: bool) -> Permission:
        """What RPE permits: nothing in a closed market."""
        posture = session.rpe.phase4_execution_posture
        return cls(ticker, posture.bias.bias, is_open and posture.allowed)

    @property
    def has_side(self) -> bool:
        """Whether there is a side to trade on; without one a permission permits nothing that can be executed."""
        return self.bias is not Bias.NEUTRAL

    @property
    def is_executable(self) -> bool:
        """Whether it permits a trade that can be executed."""
        return self.is_given and self.has_side


@dataclass(frozen=True, slots=True)
class State:
    """All that is said of one ticker at one moment; live and replay give the same. It is the last of `Pipeline.steps`, the one
    that brings the signal, and holds those before it."""

    part: ClassVar[Literal["signal"]] = "signal"
    data: DataPart
    rpe: RpePart
    v6: V6Part
    signal: TickerSignal

    @property
    def ticker(self) -> str:
        return self.signal.ticker

    @property
    def intraday(self) -> Intraday | None:
        return self.v6.intraday

    @property
    def swing(self) -> Swing | None:
        return self.rpe.swing

    @property
    def bars(self) -> int:
        """How many bars of the day it rests on: the minutes, else those of the signal (ruling M6)."""
        return self.data.minutes or self.signal.bars

    @property
    def as_of(self) -> datetime | None:
        return self.data.as_of

    @property
    def stale(self) -> bool:
        return self.data.stale

    @property
    def waiting(self) -> bool:
        return self.signal.waiting

    @property
    def is_open(self) -> bool:
        """Whether its market is open."""
        return self.signal.gate is not Gate.MARKET_CLOSED

    @property
    def northstar_allows(self) -> bool:
        """Whether Northstar's phase 4 allows a trade, whatever the market's hours."""
        return self.intraday is not None and self.intraday.northstar.phase4.allowed

    @property
    def northstar_permission(self) -> Permission | None:
        """What Northstar permits. None where it has not analysed the session."""
        session = self.intraday
        return None if session is None else Permission.of_northstar(self.ticker, session, self.is_open)

    @property
    def rpe_permission(self) -> Permission | None:
        """The same of RPE."""
        session = self.intraday
        return None if session is None else Permission.of_rpe(self.ticker, session, self.is_open)

    @property
    def alignment(self) -> Alignment | None:
        """How session and days stand to each other; None unless both are known (v1-contract.md 4.2)."""
        if self.intraday is None or self.swing is None:
            return None
        return alignment_of(self.intraday.northstar.phase4.bias, self.swing.phase4.bias)


Step = DataPart | RpePart | V6Part | State


class Ranking(NamedTuple):
    """Signals of several tickers beside each other (policy.md 9): the decisions there are, those that trade, the best."""

    decisions: tuple[Decision, ...]
    actionable: tuple[Decision, ...]
    best: Decision | None

    @classmethod
    def of(cls, signals: Iterable[TickerSignal]) -> Ranking:
        decisions = tuple(signal.decision for signal in signals if signal.decision is not None)
        return cls(decisions, tuple(actionable(decisions)), best(decisions))


@dataclass(frozen=True, slots=True)
class Board:
    """Trading directions at one moment. `tickers` are the signals of the tickers' states."""

    at: datetime
    market_open: bool
    session: SessionName
    time_multiplier: float
    hours: TradingHours
    tickers: Mapping[str, TickerSignal]

    @property
    def ranking(self) -> Ranking:
        return Ranking.of(self.tickers.values())


@dataclass(frozen=True, slots=True)
class HorizonOutlook:
    """What is said of one horizon. ends: the day whose close is compared with that of the outlook's day; probability: that it
    is higher, unrounded; None without a model of the horizon, and once that close is past."""

    horizon: int
    ends: date
    probability: float | None

    @property
    def signal(self) -> SwingSignal:
        return "NEUTRAL" if self.probability is None else swing_signal_of(self.probability)


@dataclass(frozen=True, slots=True)
class SwingOutlook:
    """The swing probabilities of one ticker. day: the last completed day; as_of: its close; close: USD, its closing price;
    in_sample: whether the model was trained on that day."""

    ticker: str
    model: SwingModel
    day: date
    as_of: datetime
    close: float
    in_sample: bool
    horizons: Mapping[int, HorizonOutlook]


@dataclass(frozen=True, slots=True)
class Overview:
    """The daily signal of one ticker (v1-contract.md 4.7), and the hourly one that it rests on. Without a decision there it
    rests on `outlook`. price: USD, where its levels begin; progress: share of the session gone."""

    signal: TickerSignal
    daily: DailySignal
    price: float
    progress: float
    outlook: SwingOutlook | None


def _action_of(p: float | None) -> Action | None:
    return None if p is None else action_of(p)
