"""What is asked of the provider, what is kept of its answers, and what they say of plan, calendar and prices.

Past days come from the cache on disk where it has them whole; the running day is asked for whole once an hour, and then for its
new bars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np

from app.clock import Clock, Timer
from app.errors import NotEntitled, PredictError, Upstream
from app.market.bars import Bars, Bools, Floats, Span, are_among, to_ms, united
from app.market.budget import Priority, call_context
from app.market.cache import BarCache
from app.market.calendar import ONE_DAY, Calendar, Overrides, day_of_ms, midnight_ms, ny, ny_day
from app.market.completeness import AGAIN_AFTER, REFERENCE, is_traded_day
from app.market.expectations import BarsAsOf, Expectations
from app.market.freshness import MORNING, newest_end
from app.market.observed_plan import ObservedPlan
from app.market.opens import OfficialOpen, OfficialOpens, OpenStore
from app.market.polygon import OUTSIDE, Aggregates, Polygon

HISTORY = timedelta(days=730)
RETRY_AFTER = timedelta(seconds=60)
DAYS_AGAIN_AFTER = timedelta(minutes=5)
"""How long daily bars that lack the days just before are kept before they are asked for again."""

REVISED_FOR = timedelta(days=2)
"""How long after a day its daily bar may still be missing or change (polygon.md 3.9, 5)."""

REBASED_BY = 1e-3
"""Closes of days that no longer change that differ by more than this share, all by the same, were re-based: a split
(polygon.md 3.13)."""

ONE_FACTOR = 0.9
"""Share of days that must have a split's factor."""

MOST_ODD_DAYS = 0.02
"""Share of daily bars that may lie on days without trading before the answer is taken for another's."""

FUTURE = "in the future"
"""Why bars are rejected that begin after now."""

SHRUNK = "the provider's answer lacks bars that it gave before"
BACKFILL_PATIENCE_S = 900.0
OVERLAP = 5
"""Bars asked for again with the new ones of a minute: late prints are met, and a gap cannot go unseen."""


class Fetcher:
    """Brings series from the provider or the cache on disk.

    on_rebase(ticker)  hears that all history of a ticker is on another basis
    """

    def __init__(
        self,
        polygon: Polygon,
        cache: BarCache,
        opens: OpenStore,
        plan: ObservedPlan,
        calendar: Calendar,
        clock: Clock,
        emit: Callable[..., None],
        timer: Timer,
        on_rebase: Callable[[str], None],
    ) -> None:
        self._polygon = polygon
        self._cache = cache
        self._plan = plan
        self._calendar = calendar
        self._clock = clock
        self._emit = emit
        self._timer = timer
        self._on_rebase = on_rebase
        self._withdraw: Callable[[Sequence[date]], None] = lambda days: None
        self.expected = Expectations(plan, calendar, clock)
        self.opens = OfficialOpens(opens, polygon, plan, clock, emit, self._aggregates, self.event_of)

    def settle_calendar_by(self, doubtful: Callable[[], Overrides], withdraw: Callable[[Sequence[date]], None]) -> None:
        """`doubtful()`: past days whose announced hours bars have to show. `withdraw(days)` hears of past days that SPY traded
        by its daily bars although the calendar has no session of them, and may change the calendar."""
        self.expected.doubt_by(doubtful)
        self._withdraw = withdraw

    def event_of(self, day: date, event: str) -> str:
        """`past_...` if no answer about now can rest on the day: replays of old days change nothing else."""
        today = ny_day(self._clock())
        recent = day >= today or day >= self._calendar.previous_trading_day(today)
        return event if recent else f"past_{event}"

    def bring(self, ticker: str, first: date, last: date) -> int:
        """Past days' one-minute bars into the cache, as few calls as pages; the days that are there cost none. Returns how
        many bars came. Days first .. last must be over. Blocks for as long as the budget takes."""
        missing = self.missing(ticker, first, last)
        if not missing:
            return 0
        with call_context(Priority.BACKFILL, BACKFILL_PATIENCE_S, self._timer):
            fetched = self._aggregates(ticker, Span.MINUTE, missing[0], missing[-1]).bars
        for day in missing:
            bars = fetched[slice(*np.searchsorted(fetched.t, (midnight_ms(day), midnight_ms(day + ONE_DAY))).tolist())]
            self._keep_past(ticker, Span.MINUTE, day, bars)
        return len(fetched)

    def bring_days(self, ticker: str, first: date) -> int:
        """The daily bars that replays from `first` on need, in one call. Returns how many there are."""
        now = self._clock()
        today = ny_day(now)
        start, end = self._plan.earliest(ticker, first - HISTORY), today - ONE_DAY
        kept = self.on_disk(ticker, Span.DAY, start, today)
        if kept is None or is_due(kept, now):
            with call_context(Priority.BACKFILL, BACKFILL_PATIENCE_S, self._timer):
                bars = self._daily_bars(ticker, start, end, now)
            self._forget_if_rebased(ticker, bars, now)
            kept = self._keep_past(ticker, Span.DAY, today, bars, start)
        return len(kept.bars)

    def missing(self, ticker: str, first: date, last: date) -> Sequence[date]:
        """The trading days first .. last of the plan's history whose one-minute bars are to be asked for: they are not in the
        cache, or are incomplete and their next try is due."""
        now = self._clock()
        days = self._calendar.trading_days(self._plan.earliest(ticker, first), last)
        kept = ((day, self.on_disk(ticker, Span.MINUTE, day, day)) for day in days)
        return [day for day, known in kept if known is None or is_due(known, now)]

    def ask(
        self, ticker: str, span: Span, first: date, day: date, kept: BarsAsOf | None, before: BarsAsOf | None
    ) -> BarsAsOf:
        """The provider's word. `kept`, which is on disk although incomplete, stands in for a fetch that fails; `before` is what
        memory holds of the series."""
        now = self._clock()
        try:
            bars, delayed = self._fetch(ticker, span, first, day, now, before)
        except PredictError:
            if kept is None:
                raise
            return replace(kept, again=now + RETRY_AFTER)
        if last_of(span, day) >= ny_day(now) and span is not Span.DAY:
            return BarsAsOf(bars, now, delayed=delayed)
        return replace(self._keep_past(ticker, span, day, bars, first), delayed=delayed)

    def _keep_past(self, ticker: str, span: Span, day: date, bars: Bars, first: date | None = None) -> BarsAsOf:
        """What is known of days that are over, after they were fetched: on disk from then on, unless they may still change;
        of two answers the one that lacks less."""
        now, last, first = self._clock(), last_of(span, day), first or day
        if self._may_change(bars, span, day, now):
            missing = self.expected.missing(bars, span, day)
            wait = DAYS_AGAIN_AFTER if len(bars) else RETRY_AFTER
            return BarsAsOf(bars, now, missing=missing, again=now + wait if missing else None)
        kept = self._cache.get(ticker, span, first, last)
        if kept is not None and self.expected.missing(kept, span, day) < self.expected.missing(bars, span, day):
            bars = kept
        lacking = self.expected.lacking(ticker, bars, span, day)
        self._cache.put(ticker, span, first, last, bars, now, lacking if self.expected.is_provided else ())
        known = self._judged(ticker, span, day, bars, now)
        if lacking and self.expected.is_provided:
            self._emit("bars_incomplete", ticker=ticker, span=str(span), days=_listed(lacking), again=known.again)
        return known if known.again is None else replace(known, again=max(known.again, now + AGAIN_AFTER[0]))

    def on_disk(self, ticker: str, span: Span, first: date, day: date) -> BarsAsOf | None:
        """Bars of the cache; daily ones end as the calendar has it now."""
        bars = self._cache.get(ticker, span, first, last_of(span, day))
        if bars is not None and span is Span.DAY:
            bars = self._on_trading_days(ticker, bars)
        self._emit("looked_up", cache="disk", outcome="miss" if bars is None else "hit")
        return None if bars is None else self._judged(ticker, span, day, bars, self._clock())

    def _judged(self, ticker: str, span: Span, day: date, bars: Bars, now: datetime) -> BarsAsOf:
        """Bars of days that are over, with what they lack and when that is asked for again: at once if it never was."""
        lacking = self.expected.lacking(ticker, bars, span, day)
        again = None
        if lacking and self.expected.is_provided:
            tries = self._cache.tries(ticker, span, lacking)
            turns = [tries[lack].again(span) if lack in tries else now for lack in lacking]
            again = min((turn for turn in turns if turn is not None), default=None)
        return BarsAsOf(bars, now, missing=self.expected.missing(bars, span, day), again=again)

    def adopted(self, ticker: str, day: date, known: BarsAsOf) -> BarsAsOf:
        """The daily bars before `day` that another process fetched, by the calendar of this one, which may be another."""
        bars = self._on_trading_days(ticker, known.bars)
        judged = self._judged(ticker, Span.DAY, day, bars, self._clock())
        again = known.again if judged.missing == known.missing else judged.again
        return replace(known, bars=bars, missing=judged.missing, again=again)

    @staticmethod
    def _may_change(bars: Bars, span: Span, day: date, now: datetime) -> bool:
        """Whether daily bars are not to be kept yet: none came, or the morning may correct them (polygon.md 3.9)."""
        return span is Span.DAY and (not len(bars) or now < ny(day, MORNING))

    def _fetch(
        self, ticker: str, span: Span, first: date, day: date, now: datetime, before: BarsAsOf | None
    ) -> tuple[Bars, bool]:
        """The provider's final bars of first .. day, and whether it calls them delayed; of daily bars that of `day` is not
        kept, only its open is learned."""
        self._plan.refuse_unentitled(span, day, now)
        if span is not Span.DAY:
            return self._intraday_bars(ticker, span, day, now, before)
        bars = self._daily_bars(ticker, first, day, now)
        until = int(np.searchsorted(bars.t, midnight_ms(day)))
        session = self._calendar.session(day)
        self._forget_if_rebased(ticker, bars[:until], now)
        if until < len(bars) and session is not None and now >= session.open + self._plan.current.lateness:
            self.opens.keep(ticker, day, OfficialOpen(float(bars.o[until]), "daily"))
        return bars[:until], False

    def _intraday_bars(
        self, ticker: str, span: Span, day: date, now: datetime, before: BarsAsOf | None
    ) -> tuple[Bars, bool]:
        """What today's bars say of the plan is remembered; a past day's say nothing of it."""
        today = day == ny_day(now)
        try:
            continued = self._continued(ticker, span, day, now, before) if today else None
            aggregates, bars = continued or self._whole(ticker, span, day)
        except NotEntitled:
            if today:
                self._plan.observe_refusal_of_today()
            raise
        if today:
            self._plan.observe_today(aggregates.delayed, now)
        return self.expected.final(bars, now), aggregates.delayed

    def _whole(self, ticker: str, span: Span, day: date) -> tuple[Aggregates, Bars]:
        aggregates = self._aggregates(ticker, span, day, day)
        return aggregates, aggregates.bars

    def _continued(
        self, ticker: str, span: Span, day: date, now: datetime, kept: BarsAsOf | None
    ) -> tuple[Aggregates, Bars] | None:
        """The new bars, and the whole series with them. None where the day has to be asked for whole: at first, when a full
        hour is passed, so that a decision rests on the same bars whether its server has followed all day or has just
        started, and when what is known has a hole."""
        if (
            kept is None
            or not len(kept.bars)
            or self.expected.clock_hour(kept.fetched) != self.expected.clock_hour(now)
        ):
            return None
        if self.expected.hole(kept.bars, span, newest_end(kept.bars) or now) is not None:
            return None
        newer = self._aggregates(ticker, span, int(kept.bars.t[-OVERLAP:][0]), day)
        if not len(newer.bars):
            raise Upstream(SHRUNK)
        passed = kept.bars.end[-1] // Span.HOUR.ms != newer.bars.end[-1] // Span.HOUR.ms
        return None if passed else (newer, united(kept.bars, newer.bars))

    def _daily_bars(self, ticker: str, first: date, day: date, now: datetime) -> Bars:
        """Up to `day`, or up to the day before on a plan that refuses a range that ends today (polygon.md 6)."""
        last = min(day, ny_day(now))
        if self._plan.is_end_of_day and last == day == ny_day(now):
            return self._dated(ticker, first, day - ONE_DAY)
        try:
            return self._dated(ticker, first, last)
        except NotEntitled:
            return self._dated(ticker, first, last - ONE_DAY)

    def _dated(self, ticker: str, first: date, last: date) -> Bars:
        """Daily bars of trading days. Raises Upstream if too many are not: those are another day's bars. A few on days that are
        past may show that the calendar is wrong."""
        aggregates = self._aggregates(ticker, Span.DAY, first, last)
        bars = aggregates.bars
        if aggregates.delayed and last == ny_day(self._clock()):
            self._plan.observe_delayed_days()
        if len(bars) and 1 - self._is_of_trading_day(bars).mean() > MOST_ODD_DAYS:
            raise Upstream("the provider's daily bars are of other days than those asked for")
        return self._on_trading_days(ticker, bars)

    def _on_trading_days(self, ticker: str, daily: Bars) -> Bars:
        """The daily bars of trading days, which end as the calendar has it now. Before that, SPY's bars on other days may
        change the calendar."""
        past = self._traded_against_calendar(daily) if ticker == REFERENCE else []
        if past:
            self._withdraw(past)
        traded = self._is_of_trading_day(daily)
        bars = daily if traded.all() else daily.where(traded)
        return replace(bars, end=self._calendar.day_ends(bars.t))

    def _traded_against_calendar(self, daily: Bars) -> list[date]:
        """The past days without a session that the volume of their daily bars shows to have been trading days."""
        odd = [(int(i), day_of_ms(int(daily.t[i]))) for i in np.flatnonzero(~self._is_of_trading_day(daily))]
        past = [(i, day) for i, day in odd if day < ny_day(self._clock()) and daily.t[i] == midnight_ms(day)]
        return [day for i, day in past if is_traded_day(daily, i)]

    def _is_of_trading_day(self, daily: Bars) -> Bools:
        """Which bars begin at midnight of a trading day."""
        if not len(daily):
            return np.zeros(0, dtype=np.bool_)
        first, last = (day_of_ms(int(t)) for t in (daily.t[0], daily.t[-1]))
        midnights = [midnight_ms(day) for day in self._calendar.trading_days(first, last)]
        return are_among(daily.t, np.array(midnights, dtype=np.int64))

    def _forget_if_rebased(self, ticker: str, daily: Bars, now: datetime) -> None:
        """After a split the provider re-bases all history: what is kept of the ticker is on the old basis (polygon.md
        3.13). The record of signals stays as it was said."""
        known = self._cache.peek(ticker, Span.DAY)
        firm = known[: int(np.searchsorted(known.t, to_ms(now - REVISED_FOR - ONE_DAY)))]
        _, ours, theirs = np.intersect1d(firm.t, daily.t, return_indices=True)
        if not _is_rebased(firm.c[ours], daily.c[theirs]):
            return
        self._emit("history_rebased", ticker=ticker)
        self._cache.forget(ticker)
        self._on_rebase(ticker)
        self.opens.forget(ticker, ny_day(now))

    def _aggregates(self, ticker: str, span: Span, first: date | int, last: date) -> Aggregates:
        aggregates = _begun(self._polygon.aggregates(ticker, span, first, last), self._clock())
        if aggregates.rejected:
            self._emit("bars_rejected", ticker=ticker, span=str(span), rows=aggregates.rejected.total())
        if aggregates.widened:
            self._emit("bars_repaired", ticker=ticker, span=str(span), rows=aggregates.widened)
        if aggregates.rejected[OUTSIDE] and not len(aggregates.bars):
            raise Upstream("the provider's bars are of other days than those asked for")
        return aggregates


def _begun(aggregates: Aggregates, now: datetime) -> Aggregates:
    """Without bars that are stamped in the future; they count as rejected."""
    begun = int(np.searchsorted(aggregates.bars.t, to_ms(now), side="right"))
    future = len(aggregates.bars) - begun
    if not future:
        return aggregates
    return replace(aggregates, bars=aggregates.bars[:begun], rejected=aggregates.rejected + Counter({FUTURE: future}))


def last_of(span: Span, day: date) -> date:
    """The last day of the series that is known by `day`: daily bars are those before it."""
    return day - ONE_DAY if span is Span.DAY else day


def is_due(known: BarsAsOf, now: datetime) -> bool:
    """Whether what is incomplete is to be asked for again."""
    return known.again is not None and known.again <= now


def _listed(days: Sequence[date]) -> str:
    return ",".join(day.isoformat() for day in days)


def _is_rebased(before: Floats, after: Floats) -> bool:
    """Whether these closes of the same days are the same but for one factor, a few corrected ones aside. A factor of its own
    for each day is no split but a wrong answer."""
    if not len(before):
        return False
    ratios = before / after
    factor = float(np.median(ratios))
    shared = float((np.abs(ratios / factor - 1) < REBASED_BY).mean())
    return abs(factor - 1) > REBASED_BY and shared >= ONE_FACTOR
