"""How fresh bars are: the newest one's end against what should have ended by now. When they were asked for says nothing.

A provider that answers every minute with the same bars is as stale as one that does not answer. Pure: no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from app.market.bars import Bars, Span, from_ms
from app.market.calendar import NY, Calendar, Session, midnight_ms

STALE_AFTER = timedelta(minutes=15)
"""How long the next bar may be missing before the bars that are known say nothing of the market any more."""

LATE_AFTER = timedelta(seconds=15)
"""How long after a bar became final it may still be missing: the time of a fetch and its retries."""

MORNING = time(4)
"""From then on the daily bars of the days before have their last corrections (polygon.md 5)."""


class Freshness(StrEnum):
    """current: nothing that should be here is missing, one bar without trades aside; stale: newer bars are missing; expired:
    they have been missing for so long that the price is not known."""

    CURRENT = "current"
    STALE = "stale"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Timetable:
    """When the bars of one day should be here. Bars are expected of the regular session alone: outside it, and on a day
    without one (`session` None), minutes without trades are ordinary.

    lateness: how long after its end a bar may come (the plan's delay, and until it is final).
    """

    session: Session | None
    span: Span
    lateness: timedelta

    @property
    def length(self) -> timedelta:
        return timedelta(milliseconds=self.span.ms)

    def age_allowed(self) -> timedelta:
        """How old the end of the newest bar may be: two bars, because a single one may be without trades, and lateness."""
        return self.lateness + 2 * self.length

    def freshness(self, newest_end: datetime | None, at: datetime) -> Freshness:
        """How fresh bars are at `at` of which the newest ended at `newest_end` (None: there are none)."""
        overdue = self._overdue(newest_end, at)
        if overdue >= STALE_AFTER:
            return Freshness.EXPIRED
        return Freshness.STALE if overdue >= self._tolerated else Freshness.CURRENT

    def turns(self, newest_end: datetime | None) -> tuple[datetime, ...]:
        """The moments at which these bars become stale, and expired, if no newer bar comes."""
        if self.session is None:
            return ()
        here = self._next_end(newest_end, self.session) + self.lateness
        return here + self._tolerated, here + STALE_AFTER

    @property
    def _tolerated(self) -> timedelta:
        return self.length + LATE_AFTER

    def _overdue(self, newest_end: datetime | None, at: datetime) -> timedelta:
        """How long ago the next bar should have been here; not positive if it need not be here yet. The close ends the wait:
        afterwards nothing is due any more."""
        if self.session is None:
            return timedelta(0)
        return min(at - self.lateness, self.session.close) - self._next_end(newest_end, self.session)

    def _next_end(self, newest_end: datetime | None, session: Session) -> datetime:
        """When the first regular bar after the newest one ends."""
        return max(newest_end or session.open, session.open) + self.length


def newest_end(bars: Bars) -> datetime | None:
    """When the newest bar ended, New York; None without bars."""
    return from_ms(int(bars.end[-1])).astimezone(NY) if len(bars) else None


def is_behind(daily: Bars, day: date, at: datetime, calendar: Calendar) -> bool:
    """Whether daily bars of the days before `day` lack the newest of these, and `at` is late enough for it to be there."""
    if at < datetime.combine(day, MORNING, NY):
        return False
    return not len(daily) or bool(daily.t[-1] < midnight_ms(calendar.previous_trading_day(day)))
