"""Answers about the day and the days: the overview, indicators, volatility, ranges (v1-contract.md 4.7, 5.1, 5.3, 5.4)."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.errors import PredictError, Unavailable, Upstream
from app.market.bars import Bars, no_bars
from app.market.calendar import Calendar, ny_day
from app.market.market_data import MarketData
from app.pipeline.gates import why_undecided
from app.pipeline.prefetch import Prefetch
from app.pipeline.quotes import Quotes
from app.pipeline.signals import HourlySignals
from app.pipeline.states import Overview
from app.signals.daily_signal import Vix, daily_signal, vix
from app.signals.policy import atr, shown_active
from app.structure.indicators import Breakdown, breakdown
from app.structure.ranges import Ranges, price_ranges
from app.structure.volatility import Volatility, volatility

FEAR_TICKER = "VIXY"
EXTENDED_HOURS = timedelta(hours=4)


class DailyAnswers:
    """The answers about one ticker. All of them raise PredictError where there is none."""

    def __init__(
        self, source: MarketData, quotes: Quotes, signals: HourlySignals, prefetch: Prefetch, calendar: Calendar
    ) -> None:
        self._source = source
        self._quotes = quotes
        self._signals = signals
        self._prefetch = prefetch
        self._calendar = calendar

    def overview(self, ticker: str, at: datetime) -> Overview:
        """The daily signal (v1-contract.md 4.7)."""
        signal = self._signals.signal(ticker, at)
        session = self._calendar.session_at(at)
        if signal.decision is None:
            raise why_undecided(signal)
        if session is None or signal.quote.price is None:
            if signal.quote.stale:
                raise Upstream("the current price cannot be had")
            raise Unavailable("the current price is not known", part="data", code="INSUFFICIENT_DATA")
        spread = atr(self._source.daily(ticker, session.day))
        if spread is None:
            raise Unavailable("too few daily bars for a range", part="data", code="INSUFFICIENT_DATA")
        daily = daily_signal(shown_active(signal.decision.p_active), signal.quote.price, spread)
        return Overview(signal, daily, session.progress(at))

    def fear(self, at: datetime) -> Vix | None:
        """The state of the volatility ETF by its daily closes; None if they cannot be had."""
        try:
            return vix(self._completed(FEAR_TICKER, at))
        except PredictError:
            return None

    def breakdown(self, ticker: str, at: datetime) -> Breakdown:
        """The twelve daily indicators (v1-contract.md 5.1)."""
        return breakdown(self._completed(ticker, at))

    def volatility(self, ticker: str, at: datetime) -> Volatility:
        """The volatility meter (v1-contract.md 5.3)."""
        return volatility(self._completed(ticker, at))

    def _completed(self, ticker: str, at: datetime) -> Bars:
        """Daily bars that are complete: today's too, once the provider has had time to make it."""
        return self._source.daily(ticker, self._prefetch.day_after_completed(at))

    def ranges(self, ticker: str, at: datetime) -> Ranges:
        """The day's price ranges (v1-contract.md 5.4)."""
        session = self._calendar.session_at(at)
        previous = self._calendar.session(self._calendar.previous_trading_day(ny_day(at)))
        assert previous is not None
        minutes = no_bars() if session is None else self._quotes.minutes(ticker, session, at).bars
        before = self._source.minutes(ticker, previous.close + EXTENDED_HOURS).bars
        return price_ranges(at, session, minutes, previous, before)
