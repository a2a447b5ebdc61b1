"""Answers about the day and the days: the overview, indicators, volatility, ranges (v1-contract.md 4.7, 5.1, 5.3, 5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.errors import PredictError, Unavailable, Upstream
from app.market.bars import Bars, no_bars
from app.market.calendar import Calendar, ny_day
from app.market.market_data import MarketData
from app.pipeline.gates import known_of, why_undecided
from app.pipeline.outlooks import Outlooks
from app.pipeline.prefetch import Prefetch, Series
from app.pipeline.quotes import Quotes
from app.pipeline.signals import HourlySignals
from app.pipeline.states import Overview, SwingOutlook, TickerSignal
from app.signals.daily_signal import PredictedRange, Vix, daily_signal, vix
from app.signals.policy import DAY_LEVEL, FEAR_TICKER, Decision, atr, shown_active, shown_swing
from app.structure.indicators import Breakdown, breakdown
from app.structure.ranges import Ranges, price_ranges
from app.structure.volatility import Volatility, volatility

EXTENDED_HOURS = timedelta(hours=4)


class DailyAnswers:
    """The answers about one ticker. All of them raise PredictError where there is none."""

    def __init__(
        self,
        source: MarketData,
        quotes: Quotes,
        signals: HourlySignals,
        outlooks: Outlooks,
        prefetch: Prefetch,
        calendar: Calendar,
    ) -> None:
        self._source = source
        self._quotes = quotes
        self._signals = signals
        self._outlooks = outlooks
        self._prefetch = prefetch
        self._calendar = calendar

    def reads(self, tickers: Sequence[str], at: datetime) -> list[Series]:
        """What the overviews of these tickers read."""
        signals = self._prefetch.current(tickers, at) if self._calendar.is_open(at) else []
        return [*signals, *self._prefetch.completed_days([*known_of(tickers), FEAR_TICKER], at)]

    def overview(self, ticker: str, at: datetime) -> Overview:
        """The daily signal (v1-contract.md 4.7): of the hour's decision, and where there is none of the 1-day swing probability
        (ruling V6)."""
        signal = self._signals.signal(ticker, at)
        outlook = self._outlook(ticker, at)
        if signal.decision is not None:
            p = shown_active(signal.decision.p_active)
        elif outlook is not None and outlook.horizons[1].probability is not None:
            p = shown_swing(outlook.horizons[1].probability)
        else:
            raise why_undecided(signal)
        session = self._calendar.session_at(at)
        price = _price_of(signal, outlook, is_open=session is not None and session.is_open(at))
        spread = atr(self._completed(ticker, at))
        if spread is None:
            raise Unavailable("too few daily bars for a range", part="data", code="INSUFFICIENT_DATA")
        progress = 0.0 if session is None else session.progress(at)
        return Overview(signal, daily_signal(p, price, spread, _forecast(signal.decision)), price, progress, outlook)

    def _outlook(self, ticker: str, at: datetime) -> SwingOutlook | None:
        try:
            return self._outlooks.outlook(ticker, at)
        except PredictError:
            return None

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


def _forecast(decision: Decision | None) -> PredictedRange | None:
    """The range that was forecast at the decision, where one was."""
    found = None if decision is None else decision.range_at(DAY_LEVEL)
    return None if found is None else PredictedRange(high=found.high, low=found.low)


def _price_of(signal: TickerSignal, outlook: SwingOutlook | None, *, is_open: bool) -> float:
    """USD: the price of the session, in a closed market else the last daily close. Raises PredictError if it is not known."""
    if signal.quote.price is not None:
        return signal.quote.price
    if not is_open and outlook is not None:
        return outlook.close
    if signal.quote.stale:
        raise Upstream("the current price cannot be had")
    raise Unavailable("the current price is not known", part="data", code="INSUFFICIENT_DATA")
