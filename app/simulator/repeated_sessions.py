"""A feed that repeats recorded or synthetic sessions, so that a synthetic market has bars of today."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from app.market.bars import COLUMNS, Bars, Span, no_bars
from app.market.calendar import Calendar, day_of_ms, midnight_ms
from app.market.feed_transport import BarFeed

DAY_MS = Span.DAY.ms


class RepeatedSessions:
    """A feed that shows the whole sessions of another feed's days first .. last on the market's trading days since `first`, one
    after the other and over and over. On a day with an early close its minutes go on to 16:00."""

    def __init__(self, feed: BarFeed, calendar: Calendar, first: date, last: date) -> None:
        self._feed, self._calendar, self._first = feed, calendar, first
        sessions = [calendar.session(day) for day in calendar.trading_days(first, last)]
        self._days = [session.day for session in sessions if session is not None and not session.is_short]

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        """Returns the bars that start in [first_ms, end_ms)."""
        if end_ms <= midnight_ms(self._first):
            return no_bars()
        first, last = day_of_ms(first_ms), day_of_ms(end_ms - 1)
        pairs = [(day, original) for day, original in self._pairs(last) if day >= first]
        parts = [self._moved(ticker, span, day, original) for day, original in pairs]
        whole = Bars(*(np.concatenate([getattr(p, n) for p in [no_bars(), *parts]]) for n in COLUMNS))
        lo, hi = np.searchsorted(whole.t, [first_ms, end_ms])
        return whole[int(lo) : int(hi)]

    def official_open(self, ticker: str, day: date) -> float | None:
        """Returns the official open of the session that is shown on `day`, if there is one."""
        original = dict(self._pairs(day)).get(day)
        return None if original is None else self._feed.official_open(ticker, original)

    def _pairs(self, last: date) -> list[tuple[date, date]]:
        """Returns the trading days up to `last`, each with the day of the feed that is shown on it."""
        days = self._calendar.trading_days(self._first, last)
        return [(day, self._days[i % len(self._days)]) for i, day in enumerate(days)]

    def _moved(self, ticker: str, span: Span, day: date, original: date) -> Bars:
        """Returns the bars of the day `original`, moved to `day`."""
        begin, shift = midnight_ms(original), midnight_ms(day) - midnight_ms(original)
        bars = self._feed.bars(ticker, span, begin, begin + DAY_MS)
        t = bars.t + shift
        return replace(bars, t=t, end=self._calendar.day_ends(t) if span is Span.DAY else bars.end + shift)
