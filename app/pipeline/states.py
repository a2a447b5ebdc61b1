"""What is said of a ticker, and of several, at a moment: frozen values that the shapes of every version read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.errors import PredictError
from app.market.calendar import TradingHours
from app.signals.daily_signal import DailySignal
from app.signals.policy import Decision, Gate, SessionName
from app.structure import Intraday, Swing


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
    price_11am: float | None = None
    missing: int = 0


@dataclass(frozen=True, slots=True)
class TickerSignal:
    """The answer for one ticker at one moment: a locked decision, or the gate that stands before it.

    detail: why, in words; cause: the fault behind the gate, if there is one; recorded: the decision comes out of the
    record (else it was computed for this answer); waiting: it is the hour before's, this hour's bars are not here yet.
    """

    ticker: str
    session: SessionName
    market: Quote
    decision: Decision | None = None
    gate: Gate | None = None
    detail: str = ""
    cause: PredictError | None = None
    recorded: bool = False
    waiting: bool = False

    @property
    def bars(self) -> int:
        """How many regular-session bars it rests on."""
        return self.market.bars if self.decision is None else self.decision.bars_analyzed


@dataclass(frozen=True, slots=True)
class Structure:
    """Structure and signal of one ticker at one moment; live and replay give the same.

    price: USD, `today_price`, else the last daily close; None from the open on once a bar of the day is overdue or its fetch
    failed, and while newer bars are known that are too old to tell the price.
    today_price: USD, the day's last regular price, else its last minute's close; None before a bar of the day has ended.
    intraday: None with fewer than 30 minute bars (`minutes` tells how many); swing: None with fewer than 30 daily bars.
    fault: why daily bars that should be there are not; minutes_fault: the same of minute bars, the days are served.
    """

    ticker: str
    signal: TickerSignal
    price: float | None = None
    today_price: float | None = None
    today_open: float | None = None
    intraday: Intraday | None = None
    swing: Swing | None = None
    minutes: int = 0
    days: int = 0
    fault: PredictError | None = None
    minutes_fault: PredictError | None = None

    @property
    def bars(self) -> int:
        """How many bars of the day it rests on: the minutes, else those of the signal (ruling M6)."""
        return self.minutes or self.signal.bars

    @property
    def broken(self) -> PredictError | None:
        """Whatever is missing that should be there, days first."""
        return self.fault or self.minutes_fault


@dataclass(frozen=True, slots=True)
class Board:
    """Trading directions at one moment."""

    at: datetime
    market_open: bool
    session: SessionName
    time_multiplier: float
    hours: TradingHours
    tickers: Mapping[str, TickerSignal]
    best: Decision | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The daily signal of one ticker (v1-contract.md 4.7) and the hourly one that it rests on. progress: share of the
    session gone."""

    signal: TickerSignal
    daily: DailySignal
    progress: float
