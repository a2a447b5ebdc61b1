"""Which series an answer reads, fetched all at once before it is computed, and how long it may wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from app.clock import Clock
from app.market.bars import Span
from app.market.calendar import NY, ONE_DAY, Calendar, ny_day
from app.market.inception import has_begun
from app.market.market_data import MarketData
from app.market.shared_fetches import FETCH
from app.pipeline.gates import known_of
from app.telemetry.stages import Stages

Series = tuple[str, Sequence[Span], date]
"""What an answer reads: a ticker, spans and the day that they are known by."""

READ_S, COLD_S = 5.0, 10.0
"""How long a request may wait for bars, all in all, real seconds (ruling A2): where memory holds the series that it reads, of
whatever age, and where it does not, or a past moment is replayed."""

DAILY_BAR_AFTER = timedelta(minutes=15)
"""How long after the close the day's own daily bar is asked for (polygon.md 5), beside the delay of the plan: until that is
over, too, a daily bar of delayed data lacks the last bars of the session."""

FIRST_HOUR = 4
"""New York hour at which a day's first bars may trade."""


class Prefetch:
    """Starts the fetches of an answer."""

    def __init__(self, source: MarketData, calendar: Calendar, clock: Clock, stages: Stages) -> None:
        self._source = source
        self._calendar = calendar
        self._clock = clock
        self._stages = stages

    def start(self, series: Sequence[Series]) -> float:
        """Start all fetches that an answer needs at once; a request that waits for one then waits for the slowest, not for the
        sum. Of followed tickers all is on its way. Returns for how many seconds the answer may wait for bars."""
        today = ny_day(self._clock())
        held = [self._source.holds(ticker, spans, day) for ticker, spans, day in series]
        for ticker, spans, day in series:
            if day == today and self._source.is_followed(ticker):
                with self._stages(FETCH, ticker=ticker, cache="followed") as stage:
                    stage.skip()
            else:
                self._source.fetches.start(ticker, spans, day)
        return READ_S if all(held) else COLD_S

    def is_needless(self, series: Sequence[Series]) -> bool:
        """Whether memory holds all of it, and nothing newer is due."""
        return all(self._is_current(ticker, span, day) for ticker, spans, day in series for span in spans)

    def current(self, tickers: Sequence[str], at: datetime) -> list[Series]:
        """What signals and structure at `at` read; on a day without bars yet the completed days alone."""
        day = ny_day(at)
        traded = self._calendar.session_at(at) is not None and at.astimezone(NY).hour >= FIRST_HOUR
        spans = list(dict.fromkeys((Span.DAY, self._source.plan.signal_span, Span.MINUTE))) if traded else [Span.DAY]
        return [(ticker, spans, day) for ticker in known_of(tickers) if has_begun(ticker, day)]

    def completed_days(self, tickers: Sequence[str], at: datetime) -> list[Series]:
        """The daily bars that are complete at `at`."""
        return [(ticker, [Span.DAY], self.day_after_completed(at)) for ticker in tickers]

    def day_after_completed(self, at: datetime) -> date:
        """The day whose daily bars are the completed ones at `at`: today, or tomorrow once today's can be had."""
        session = self._calendar.session_at(at)
        over = session is not None and at >= session.close + DAILY_BAR_AFTER + self._source.plan.delay
        return ny_day(at) + ONE_DAY if over else ny_day(at)

    def _is_current(self, ticker: str, span: Span, day: date) -> bool:
        kept = self._source.memory.get(ticker, span, day)
        return kept is not None and self._source.expectations.is_fresh(kept, span, day)
