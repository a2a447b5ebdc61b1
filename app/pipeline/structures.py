"""Northstar, RPE and swing of a ticker at a moment, beside its signal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from app.errors import PredictError
from app.market.bars import Bars, no_bars
from app.market.calendar import NY, Calendar, ny_day
from app.market.expectations import Known
from app.market.freshness import is_behind, newest_end
from app.market.inception import has_begun
from app.market.opens import MissingOpen
from app.market.source import Source
from app.pipeline.gates import hides_newer
from app.pipeline.prefetch import FIRST_HOUR
from app.pipeline.quotes import Quotes
from app.pipeline.signals import HourlySignals
from app.pipeline.states import Quote, Structure, TickerSignal
from app.signals.policy import Gate
from app.structure import ENOUGH_DAYS, Probabilities, View, analyse, analyse_swing, view_at
from app.telemetry.stages import Stages


class Structures:
    """Computes structure from the bars of the day and of the days before."""

    def __init__(
        self, source: Source, quotes: Quotes, signals: HourlySignals, calendar: Calendar, stages: Stages
    ) -> None:
        self._source = source
        self._quotes = quotes
        self._signals = signals
        self._calendar = calendar
        self._stages = stages

    def structure(self, ticker: str, at: datetime, *, keep: bool = True) -> Structure:
        """Northstar, RPE and swing of one ticker with its signal. Never raises for a fault of market or model."""
        signal = self._signals.signal(ticker, at, keep=keep, fetch=True)
        if signal.gate is Gate.UNSUPPORTED_TICKER or not has_begun(ticker, ny_day(at)):
            return Structure(ticker, signal)
        minutes, minutes_fault = self._minutes(ticker, at)
        try:
            view = self._view(ticker, at, minutes.bars)
        except PredictError as exc:
            market = replace(signal.market, stale=signal.market.stale or hides_newer(exc))
            price, opened = market.price, market.today_open
            return Structure(
                ticker, replace(signal, market=market), price, today_price=price, today_open=opened, fault=exc
            )
        stale = (minutes.stale and len(minutes.bars) > 0) or is_behind(view.completed, ny_day(at), at, self._calendar)
        stale = stale or hides_newer(minutes_fault)
        signal = replace(signal, market=_aged(signal.market, view, stale))
        with self._stages("compute-structure", ticker=ticker):
            intraday = analyse(ticker, view, v6=_probabilities(signal), stages=self._stages) if view.resolved else None
            swing = analyse_swing(ticker, view) if len(view.days) >= ENOUGH_DAYS else None
        today_price = signal.market.price or _last_close(view.minutes)
        return Structure(
            ticker=ticker,
            signal=signal,
            price=today_price or _price_of_days(signal.market, view, minutes.stale or hides_newer(minutes_fault)),
            today_price=today_price,
            today_open=self._quotes.known_open(ticker, at),
            intraday=intraday,
            swing=swing,
            minutes=len(view.minutes),
            days=len(view.days),
            minutes_fault=minutes_fault,
        )

    def _minutes(self, ticker: str, at: datetime) -> tuple[Known, PredictError | None]:
        """The day's one-minute bars; none at night and on days without trading, and none with the fault that hides them."""
        nothing, session = Known(no_bars(), at), self._calendar.session_at(at)
        if session is None or at.astimezone(NY).hour < FIRST_HOUR:
            return nothing, None
        try:
            return self._quotes.minutes(ticker, session, at), None
        except PredictError as exc:
            return nothing, exc

    def _view(self, ticker: str, at: datetime, minutes: Bars) -> View:
        """What structure may see at `at`. Without one-minute bars (ruling M6) it is the completed days alone."""
        session = self._calendar.session_at(at)
        daily = self._source.daily(ticker, ny_day(at))
        official: float | None = None
        if session is not None and at >= session.open and len(minutes):
            with suppress(MissingOpen):
                official = self._source.open_of(ticker, at).price
        return view_at(minutes, daily, session, at, official_open=official)


def _last_close(bars: Bars) -> float | None:
    """USD, unrounded; None without bars."""
    return float(bars.c[-1]) if len(bars) else None


def _probabilities(signal: TickerSignal) -> Probabilities | None:
    """The locked probabilities as RPE's phase 5 reads them."""
    decision = signal.decision
    return None if decision is None else Probabilities(decision.p_a, decision.p_b, decision.session == "early")


def _aged(market: Quote, view: View, stale: bool) -> Quote:
    """The market with the age of what a structure rests on: its last minute, else its last day."""
    bars = view.minutes if len(view.minutes) else view.completed
    return replace(market, as_of=market.as_of or newest_end(bars), stale=market.stale or stale)


def _price_of_days(market: Quote, view: View, is_overdue: bool) -> float | None:
    """The last daily close, which is the price while there is no newer one. It is not once a session has begun whose bars are
    overdue, nor if the market is not as old as the last completed day, since the close has the market's age."""
    has_begun = view.session is not None and view.at >= view.session.open
    if (has_begun and is_overdue) or market.as_of != newest_end(view.completed):
        return None
    return _last_close(view.days)
