"""What is known of a ticker's market at a moment: its quote, its bars, its price, and how fresh all of that is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from app.errors import PredictError
from app.market.bars import Bars, no_bars
from app.market.calendar import NY, Calendar, ny_day
from app.market.expectations import BarsAsOf
from app.market.freshness import is_behind, newest_end
from app.market.inception import has_begun
from app.market.market_data import MarketData
from app.market.opens import MissingOpen
from app.pipeline.gates import hides_newer
from app.pipeline.prefetch import FIRST_HOUR
from app.pipeline.quotes import Quotes
from app.pipeline.states import DataPart, Quote
from app.signals.policy import SUPPORTED
from app.structure import View, view_at


class Read(NamedTuple):
    """The data of a state, and the view of its bars that structure is computed from; None where daily bars are missing."""

    data: DataPart
    view: View | None = None


class Reader:
    """Reads the bars that a state rests on."""

    def __init__(self, source: MarketData, quotes: Quotes, calendar: Calendar) -> None:
        self._source = source
        self._quotes = quotes
        self._calendar = calendar

    def read(self, ticker: str, at: datetime) -> Read:
        """Everything that is known of `ticker`; nothing of one that is not supported or had not begun to trade. Never raises
        for a fault of the market."""
        if ticker not in SUPPORTED or not has_begun(ticker, ny_day(at)):
            return Read(DataPart(ticker))
        quote, fault = self._quotes.at(ticker, at, fetch=True)
        minutes, minutes_fault = self._minutes(ticker, at)
        try:
            view = self._view(ticker, at, minutes.bars)
        except PredictError as exc:
            return Read(_without_days(ticker, quote, exc, fault))
        hidden = hides_newer(minutes_fault)
        as_of = quote.as_of or newest_end(view.minutes if len(view.minutes) else view.completed)
        today_price = quote.price or _last_close(view.minutes)
        data = DataPart(
            ticker=ticker,
            quote=quote,
            price=today_price or _price_of_days(as_of, view, minutes.stale or hidden),
            today_price=today_price,
            today_open=self._quotes.known_open(ticker, at),
            as_of=as_of,
            stale=quote.stale or hidden or self._is_stale(minutes, view),
            minutes=len(view.minutes),
            days=len(view.days),
            minutes_fault=minutes_fault,
            quote_fault=fault,
        )
        return Read(data, view)

    def _minutes(self, ticker: str, at: datetime) -> tuple[BarsAsOf, PredictError | None]:
        """The day's one-minute bars; none at night and on days without trading, and none with the fault that hides them."""
        nothing, session = BarsAsOf(no_bars(), at), self._calendar.session_at(at)
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

    def _is_stale(self, minutes: BarsAsOf, view: View) -> bool:
        """Whether newer bars than those of the view should be here."""
        behind = is_behind(view.completed, ny_day(view.at), view.at, self._calendar)
        return behind or (minutes.stale and len(minutes.bars) > 0)


def _without_days(ticker: str, quote: Quote, fault: PredictError, quote_fault: PredictError | None) -> DataPart:
    """What is known where the daily bars cannot be had: the quote alone."""
    stale = quote.stale or hides_newer(fault)
    return replace(DataPart.of_quote(ticker, quote), stale=stale, fault=fault, quote_fault=quote_fault)


def _last_close(bars: Bars) -> float | None:
    """USD, unrounded; None without bars."""
    return float(bars.c[-1]) if len(bars) else None


def _price_of_days(as_of: datetime | None, view: View, is_overdue: bool) -> float | None:
    """The last daily close, which is the price while there is no newer one. It is not once a session has begun whose bars are
    overdue, nor if what is known is not as old as the last completed day, since the close has that age."""
    has_opened = view.session is not None and view.at >= view.session.open
    if (has_opened and is_overdue) or as_of != newest_end(view.completed):
        return None
    return _last_close(view.days)
