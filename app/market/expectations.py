"""Which bars of a series should be here by when, and what follows: whole, arrived, fresh, stale, expired.

The rules of the calendar, the plan and completeness joined; the clock is asked for what a fetch could bring now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from app.clock import Clock
from app.market.bars import Bars, Span, from_ms, to_ms
from app.market.calendar import NY, Calendar, Overrides, Session, close_by_rule, midnight_ms, ny, ny_day
from app.market.completeness import (
    REFERENCE,
    UNBROKEN_DAYS,
    Hole,
    hole,
    missing_bars,
    missing_days,
    reaches_past,
)
from app.market.freshness import LATE_AFTER, MORNING, Freshness, Timetable, is_behind, newest_end
from app.market.observed_plan import DELAYED_BY, ObservedPlan

CLOSE_AGAIN_AFTER = timedelta(minutes=5)
"""How long bars of today that do not reach the close are kept after it before they are asked for again."""


@dataclass(frozen=True, slots=True)
class BarsAsOf:
    """Bars that were asked for at `fetched` (market time). `stale`: newer ones should be here, or the fetch that would have
    brought them failed; `expired`: they have been missing for so long that the price is not known any more; `delayed`: the
    provider itself called them late. `missing`: how many bars of its session a day that is over lacks, or how many of the
    last days have no daily bar; `again`: when these are asked for again, None: not any more."""

    bars: Bars
    fetched: datetime
    stale: bool = False
    delayed: bool = False
    expired: bool = False
    missing: int = 0
    again: datetime | None = None


class Expectations:
    """What is expected of the series of one deployment."""

    def __init__(self, plan: ObservedPlan, calendar: Calendar, clock: Clock) -> None:
        self._plan = plan
        self._calendar = calendar
        self._clock = clock
        self._doubtful: Callable[[], Overrides] = lambda: {}

    def doubt_by(self, doubtful: Callable[[], Overrides]) -> None:
        """`doubtful()`: past days whose announced hours bars have to show, with their closes, None without trading."""
        self._doubtful = doubtful

    @property
    def is_provided(self) -> bool:
        """Whether past days can get better: recorded and made-up ones are what they are."""
        return self._plan.market.is_live

    def lack(self, bars: Bars, until: datetime) -> str | None:
        """What signal bars of a day lack up to `until`, in words; None if quiet minutes can explain it."""
        span, session = self._plan.signal_span, self._session_to_fill(until)
        count = 0 if session is None else missing_bars(bars, span, session, until)
        if not count:
            return None
        missing = self.hole(bars, span, until)
        if missing is not None:
            return f"the bars from {missing[0]:%H:%M} to {missing[1]:%H:%M} are missing"
        return f"{count} of the session's bars up to {until:%H:%M} are missing"

    def hole(self, bars: Bars, span: Span, until: datetime) -> Hole | None:
        """From when to when bars of the session are missing in a row before `until`, more than quiet minutes can explain."""
        session = self._session_to_fill(until)
        return None if session is None else hole(bars, span, session, until)

    def _session_to_fill(self, until: datetime) -> Session | None:
        """The session whose bars must all be there by `until`; None on a day without trading."""
        return self._calendar.session(ny_day(until))

    def is_whole(self, known: BarsAsOf, span: Span, until: datetime) -> bool:
        """Whether all bars up to `until` have arrived, without a hole."""
        return self.has_arrived(known, until) and self.hole(known.bars, span, until) is None

    def has_arrived(self, known: BarsAsOf, until: datetime) -> bool:
        """A last bar that is not here may still come, unless a later one is here, the day was over, or bars of this plan are
        final at their end."""
        if len(known.bars.since(until)) or ny_day(known.fetched) > ny_day(until):
            return True
        newest = newest_end(known.bars)
        reaches = not self._plan.current.settle or (newest is not None and newest >= until)
        return reaches and known.fetched >= until + self._lateness(known)

    def _lateness(self, known: BarsAsOf) -> timedelta:
        return self._plan.current.settle + max(self._plan.current.delay, DELAYED_BY if known.delayed else timedelta(0))

    def _timetable(self, known: BarsAsOf, span: Span, day: date) -> Timetable:
        return Timetable(self._calendar.session(day), span, self._lateness(known))

    def as_of(self, known: BarsAsOf, span: Span, at: datetime) -> BarsAsOf:
        """What had ended by `at`, with how fresh that was. After the close it is stale unless it surely reaches the close."""
        bars, timetable = known.bars.until(at), self._timetable(known, span, ny_day(at))
        freshness, session = timetable.freshness(newest_end(bars), at), timetable.session
        ends_early = session is not None and at >= session.close and not self.is_whole(known, span, session.close)
        stale = known.stale or ends_early or freshness is not Freshness.CURRENT
        missing = known.missing or self.missing(bars, span, ny_day(at), newest_end(bars) or at)
        return replace(known, bars=bars, stale=stale, expired=freshness is Freshness.EXPIRED, missing=missing)

    def is_expired(self, kept: BarsAsOf, span: Span, day: date) -> bool:
        """Whether bars that are kept may stand in no longer for newer ones. Daily bars do while they reach the day."""
        now = self._clock()
        if span is Span.DAY:
            return is_behind(kept.bars, day, now, self._calendar)
        return self._timetable(kept, span, day).freshness(newest_end(kept.bars), now) is Freshness.EXPIRED

    def is_fresh(self, known: BarsAsOf, span: Span, day: date) -> bool:
        """Whether no bar that is read can have become final since the fetch. Days that were over then are final; of the
        running one nothing after the close is read before the day is over, once its bars reach the close. Daily bars are
        final if they came that morning (polygon.md 3.9). What is incomplete is asked for again after a while."""
        now = self._clock()
        if span is Span.DAY or ny_day(known.fetched) > day:
            if known.again is not None:
                return known.fetched <= now < known.again
            return span is not Span.DAY or known.fetched >= ny(day, MORNING) or now < ny(day, MORNING)
        if ny_day(now) > day:
            return False
        session = self._calendar.session(day)
        if session is not None and known.fetched >= session.close + self._plan.current.lateness:
            return self.is_whole(known, span, session.close) or abs(self._clock() - known.fetched) < CLOSE_AGAIN_AFTER
        return self._last_final(known.fetched, span) == self._last_final(self._clock(), span)

    def _last_final(self, at: datetime, span: Span) -> int:
        return to_ms(at - self._plan.current.lateness) // span.ms

    def turns(self, kept: BarsAsOf, span: Span, day: date) -> tuple[datetime, ...]:
        """When bars that are kept become stale, and expired; daily bars do not within their day."""
        if span is Span.DAY:
            return ()
        return self._timetable(kept, span, day).turns(newest_end(kept.bars))

    def steady_until(self, at: datetime, running: Sequence[tuple[Span, BarsAsOf]]) -> datetime:
        """Until when an answer about `at` stands that rests on these series of its day, if nothing comes in: the next minute,
        the next moment at which a bar becomes final or the one before it old, or the end of the patience with old bars. Where
        newer bars are due, it is asked anew in a second."""
        plan, day = self._plan.current, ny_day(at)
        delayed = plan.settle + max(plan.delay, DELAYED_BY)
        afters = (timedelta(0), plan.lateness, plan.lateness + LATE_AFTER, delayed)
        turns = [turn for span, kept in running for turn in self.turns(kept, span, day)]
        due = any(not self.is_fresh(kept, span, day) for span, kept in running)
        turns += [at + timedelta(seconds=1)] * due
        return min([next_minute(at, after) for after in afters] + [turn for turn in turns if turn > at])

    def age_allowed_s(self) -> float:
        """How old the newest bar of a ticker that is kept current may be: two bars, and their lateness."""
        return Timetable(None, self._plan.signal_span, self._plan.current.lateness).age_allowed().total_seconds()

    def lacking(self, ticker: str, bars: Bars, span: Span, day: date) -> list[date]:
        """The days whose bars are to be asked for again: those that are not whole by the calendar (of daily bars the last ones
        before `day`, else `day` itself), and of REFERENCE those that do not show the hours of a doubtful day."""
        unshown = self._unshown(bars, span, day) if ticker == REFERENCE else []
        if span is Span.DAY:
            return sorted({*missing_days(bars, day, self._calendar), *unshown})
        return [day] if self.missing(bars, span, day) else unshown

    def _unshown(self, bars: Bars, span: Span, day: date) -> list[date]:
        """The doubtful days whose hours these bars do not show: closed ones, whose daily bar may still come, and `day` if its
        minutes end with its early close."""
        if span is Span.DAY:
            there = set(bars.t[-2 * UNBROKEN_DAYS :].tolist())
            return [closed for closed in self.doubtful_closures(day) if midnight_ms(closed) not in there]
        session, close = self._calendar.session(day), close_by_rule(day)
        if span is not Span.MINUTE or self._doubtful().get(day) is None or session is None or close is None:
            return []
        return [] if reaches_past(bars, session, ny(day, close)) is not None else [day]

    def doubtful_closures(self, day: date) -> list[date]:
        """The doubtful days without trading among those whose daily bars signals of `day` would read if they had traded."""
        doubtful = self._doubtful()
        first = self._calendar.days_before(day, UNBROKEN_DAYS)[0] if doubtful else day
        return [known for known, close in doubtful.items() if close is None and first <= known < day]

    def missing(self, bars: Bars, span: Span, day: date, until: datetime | None = None) -> int:
        """How many bars these days lack; of a session, of those that end by `until` (None: by its close)."""
        if span is Span.DAY:
            return len(missing_days(bars, day, self._calendar))
        session = self._calendar.session(day)
        return 0 if session is None else missing_bars(bars, span, session, until or session.close)

    def final(self, bars: Bars, now: datetime) -> Bars:
        """The bars that have ended, without a last one that may still change (ruling T2)."""
        ended = bars.until(now)
        may_change = len(ended) and ended.end[-1] > to_ms(now - self._plan.current.lateness)
        return ended[: len(ended) - 1] if may_change else ended

    def clock_hour(self, at: datetime) -> int:
        """The New York hour of the newest final bar's end."""
        return (at - self._plan.current.lateness).astimezone(NY).hour


def next_minute(at: datetime, after: timedelta) -> datetime:
    """The first moment behind `at` that lies `after` past a full minute."""
    now, late = to_ms(at), after // timedelta(milliseconds=1)
    return from_ms(now + Span.MINUTE.ms - (now - late) % Span.MINUTE.ms)
