"""The track record: the signals that were locked, with what became of them, and the decision hours that have none.

It is read from the record alone: an hour without a signal is a gap, and is never computed afterwards (ruling S7). Outcomes are
computed when they are asked for, from the bars of days that have closed, which are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from app.errors import PredictError
from app.market.bars import Bars
from app.market.calendar import ONE_DAY, Calendar, midnight_ms, ny
from app.market.expectations import BarsAsOf
from app.market.freshness import MORNING
from app.market.inception import has_begun
from app.market.market_data import MarketData
from app.market.single_flight import deadline
from app.model.features import decision_hours
from app.pipeline.charts import DAY_ENDS, Charts
from app.pipeline.prefetch import Prefetch
from app.signals.lock import validity
from app.signals.outcomes import Exit, Outcome, exit_of, is_rebased, outcome_of
from app.signals.policy import Decision
from app.signals.store import SignalStore

MOST_FETCHED_DAYS = 10
"""Of how many days one page of the record asks the provider for bars, at most; other days are left to later answers."""

NOT_CLOSED = "the day has not closed yet"
NO_CLOSE_YET = "the official close of the day is not known yet"
NO_CLOSE = "the daily bar of the day is missing"
REBASED = (
    "the prices of the day were re-based after the signal, as a split does, so that they cannot be compared with it"
)
LATER = "the bars of the day are not kept yet, and enough days were asked for with this page: ask again"


class Hour(NamedTuple):
    """A decision hour."""

    day: date
    hour: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A signal with its outcome. unknown: why there is none; exit: how its trade ended, exit_unknown: why that is not known."""

    decision: Decision
    outcome: Outcome | None = None
    unknown: str | None = None
    exit: Exit | None = None
    exit_unknown: str | None = None


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A part of the record in the order of time. gaps: the decision hours of this part that are over and have no signal; next:
    the hour after which the next part begins, None at the end; begins: the day of the first signal at all."""

    signals: Sequence[Judged]
    gaps: Mapping[date, Sequence[int]]
    next: Hour | None
    begins: date | None


class TrackRecord:
    """Reads the record of one deployment."""

    def __init__(
        self, source: MarketData, store: SignalStore, charts: Charts, prefetch: Prefetch, calendar: Calendar
    ) -> None:
        self._source = source
        self._store = store
        self._charts = charts
        self._prefetch = prefetch
        self._calendar = calendar

    def page(self, ticker: str, after: Hour, last: date, limit: int, at: datetime) -> RecordPage:
        """The first `limit` signals after an hour and up to the day `last`, with the gaps between them. Raises Unavailable
        while the record cannot be read."""
        listed = self._store.listing(ticker, after, last, limit + 1)
        found = [decision for decision in listed if decision.locked_at <= at]  # a market clock can be set back
        shown = found[:limit]
        end = Hour(shown[-1].day, shown[-1].hour) if len(found) > limit else None
        recorded = {(decision.day, decision.hour) for decision in found}
        gaps: dict[date, list[int]] = {}
        for due in due_hours(self._calendar, ticker, after, end or Hour(last, 24), at):
            if due not in recorded:
                gaps.setdefault(due.day, []).append(due.hour)
        first = self._store.listing(ticker, Hour(date.min, 0), last, 1)
        begins = first[0].day if first and first[0].locked_at <= at else None
        return RecordPage(self._judged(ticker, shown, at), gaps, end, begins)

    def _judged(self, ticker: str, signals: Sequence[Decision], at: datetime) -> list[Judged]:
        """The signals with their outcomes, all bars within one deadline."""
        closed = [decision for decision in signals if self._is_closed(decision.day, at)]
        if not closed:
            return [Judged(decision, unknown=NOT_CLOSED) for decision in signals]
        traded = list(dict.fromkeys(decision.day for decision in closed if decision.action != "NO_TRADE"))
        asked = self._askable(ticker, traded)
        span = self._source.plan.signal_span
        with deadline(self._prefetch.start([(ticker, [span], day) for day in asked])):
            daily = self._daily(ticker, closed[-1].day, at)
            bars = {day: self._bars(ticker, day, at) if day in asked else LATER for day in traded}
        return [self._judge(decision, daily, bars.get(decision.day, LATER), at) for decision in signals]

    def _judge(self, decision: Decision, daily: Bars | str, bars: BarsAsOf | str, at: datetime) -> Judged:
        if not self._is_closed(decision.day, at):
            return Judged(decision, unknown=NOT_CLOSED)
        if isinstance(daily, str):
            return Judged(decision, unknown=daily)
        is_due = at >= ny(decision.day + ONE_DAY, MORNING)
        close = close_of(decision, daily, NO_CLOSE if is_due else NO_CLOSE_YET)
        if isinstance(close, str):
            return Judged(decision, unknown=close)
        outcome = outcome_of(decision, close)
        if decision.action == "NO_TRADE":
            return Judged(decision, outcome)
        if isinstance(bars, str):
            return Judged(decision, outcome, exit_unknown=bars)
        left = exit_of(decision, bars.bars)
        return Judged(
            decision, outcome, exit=left, exit_unknown=None if left else "there are no bars after the decision"
        )

    def _is_closed(self, day: date, at: datetime) -> bool:
        session = self._calendar.session(day)
        return at >= (ny(day, DAY_ENDS) if session is None else session.close)

    def _askable(self, ticker: str, days: Sequence[date]) -> set[date]:
        """The days whose bars this page reads: those that are kept, and the first ones that are not."""
        span = self._source.plan.signal_span
        kept = {
            day
            for day in days
            if self._source.holds(ticker, [span], day) or self._source.cache.covers(ticker, span, day, day)
        }
        return kept | set([day for day in days if day not in kept][:MOST_FETCHED_DAYS])

    def _daily(self, ticker: str, last: date, at: datetime) -> Bars | str:
        """The daily bars up to `last`, or why they cannot be had."""
        try:
            return self._charts.completed_days(ticker, last, at)
        except PredictError as exc:
            return exc.message

    def _bars(self, ticker: str, day: date, at: datetime) -> BarsAsOf | str:
        """The bars of a day that signals read, or why a trade cannot be followed on them."""
        try:
            known = self._source.intraday(ticker, min(at, ny(day, DAY_ENDS)))
        except PredictError as exc:
            return exc.message
        if known.missing:
            return f"{known.missing} bars of the session are missing"
        return "the bars of the day do not reach its close yet" if known.stale else known


def due_hours(calendar: Calendar, ticker: str, after: Hour, end: Hour, at: datetime) -> Iterator[Hour]:
    """The decision hours after `after` up to `end` that are over at `at`."""
    for day in calendar.trading_days(after.day, end.day):
        session = calendar.session(day)
        assert session is not None
        hours = decision_hours(session) if has_begun(ticker, day) else ()
        due = (Hour(day, hour) for hour in hours if validity(session, hour)[1] <= at)
        yield from (hour for hour in due if after < hour <= end)


def close_of(decision: Decision, daily: Bars, missing: str) -> float | str:
    """The official close of a signal's day, USD, by daily bars; or why it is not known: `missing`, or the day was re-based."""
    place = int(np.searchsorted(daily.t, midnight_ms(decision.day)))
    if place == len(daily) or daily.t[place] != midnight_ms(decision.day):
        return missing
    return REBASED if is_rebased(decision, float(daily.o[place])) else float(daily.c[place])
