"""Loads a series into memory: out of the cache, from the provider, or from another process that has brought it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

from app.clock import Clock
from app.errors import Upstream
from app.market.bars import Span, no_bars, united
from app.market.calendar import Calendar, ny_day
from app.market.expectations import BarsAsOf
from app.market.fetching import HISTORY, SHRUNK, Fetcher, is_due, last_of
from app.market.inception import first_day_of
from app.market.observed_plan import ObservedPlan
from app.market.running_day import SharedSeries
from app.market.series_memory import SeriesMemory


class Loader:
    """Brings series into memory, one fetch at a time for each; who calls sees to that."""

    def __init__(
        self,
        fetcher: Fetcher,
        memory: SeriesMemory,
        plan: ObservedPlan,
        calendar: Calendar,
        clock: Clock,
        emit: Callable[..., None],
        on_answered_elsewhere: Callable[[], None],
    ) -> None:
        """`on_answered_elsewhere()` hears that another process has fetched since this one began."""
        self._began, self._on_answered_elsewhere = clock(), on_answered_elsewhere
        self._fetcher = fetcher
        self._memory = memory
        self._plan = plan
        self._calendar = calendar
        self._clock = clock
        self._emit = emit

    def load(self, ticker: str, span: Span, day: date) -> BarsAsOf:
        """From the cache if the days are over and covered, else from the provider, and then into the cache."""
        before = self._memory.get(ticker, span, day)
        if before is not None and self._fetcher.expected.is_fresh(before, span, day):
            return before  # a twin came just before
        now, overrides = self._clock(), self._calendar.overrides
        if last_of(span, day) < first_day_of(ticker):
            return BarsAsOf(no_bars(), now)
        known = _with_known(self._fetched(ticker, span, day, now, before), before, span, day)
        if span is Span.DAY and before is None and day == ny_day(now):
            self._forget_past_days(ticker, day)
        newest = self._newer(ticker, span, day, known)
        if newest is not None:
            return newest  # another process's, taken over during this fetch
        self._memory.put(ticker, span, day, known)
        if span is Span.DAY and self._calendar.overrides is not overrides:
            self._memory.put(ticker, span, day, replace(known, again=now))
            return self.load(ticker, span, day)  # these bars were chosen by the calendar of before
        self._emit(self._fetcher.event_of(day, "bars_known"), ticker=ticker, span=str(span), bars=len(known.bars))
        return known

    def _fetched(self, ticker: str, span: Span, day: date, now: datetime, before: BarsAsOf | None) -> BarsAsOf:
        first = self._plan.earliest(ticker, day - HISTORY) if span is Span.DAY else day
        kept = self._fetcher.on_disk(ticker, span, first, day) if last_of(span, day) < ny_day(now) else None
        if kept is not None and not is_due(kept, now):
            return kept
        return self._fetcher.ask(ticker, span, first, day, kept, before)

    def adopt(self, ticker: str, span: Span, day: date, series: SharedSeries | None) -> BarsAsOf | None:
        """Takes over the series of another process if it is newer than what is here; what is here then, if it is fresh."""
        kept = self._memory.get(ticker, span, day)
        newer = series is not None and (kept is None or kept.fetched < series.fetched)
        if series is not None and newer and series.fetched <= self._clock():
            kept = BarsAsOf(
                series.bars, series.fetched, delayed=series.delayed, missing=series.missing, again=series.again
            )
            if span is Span.DAY:
                kept = self._fetcher.adopted(ticker, day, kept)
            kept = self._newer(ticker, span, day, kept) or self._take_over(ticker, span, day, kept)
        return kept if kept is not None and self._fetcher.expected.is_fresh(kept, span, day) else None

    def _newer(self, ticker: str, span: Span, day: date, known: BarsAsOf) -> BarsAsOf | None:
        """What memory has by now, if that was asked for later."""
        newest = self._memory.get(ticker, span, day)
        return newest if newest is not None and known.fetched < newest.fetched <= self._clock() else None

    def _take_over(self, ticker: str, span: Span, day: date, known: BarsAsOf) -> BarsAsOf:
        """What comes from another process counts like a fetch of this one's."""
        if known.fetched >= self._began:
            self._on_answered_elsewhere()
        today = day == ny_day(self._clock())
        if span is Span.DAY and today:
            self._forget_past_days(ticker, day)
        elif today:
            self._plan.observe_today(known.delayed, known.fetched)
        self._memory.put(ticker, span, day, known)
        self._emit(self._fetcher.event_of(day, "bars_known"), ticker=ticker, span=str(span), bars=len(known.bars))
        return known

    def _forget_past_days(self, ticker: str, day: date) -> None:
        """A new day's prices may be on another basis; past days come again out of the cache and the record, which know."""
        self._fetcher.opens.read_again(ticker, day)
        self._memory.forget_past(ticker, day)


def _with_known(known: BarsAsOf, before: BarsAsOf | None, span: Span, day: date) -> BarsAsOf:
    """What an answer brings, and the bars of the running day that an earlier one brought: what a provider says of a bar is
    taken, that it says nothing of it any more is not. Raises Upstream for an answer that ends before the one before."""
    if before is None or not len(before.bars) or known.fetched < before.fetched:
        return known
    if not len(known.bars) or known.bars.t[-1] < before.bars.t[-1]:
        raise Upstream(SHRUNK)
    if span is Span.DAY or day < ny_day(known.fetched):
        return known
    return replace(known, bars=united(before.bars, known.bars))
