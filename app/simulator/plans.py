"""What each data plan may read (polygon.md 4), and the provider's refusal of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from app.clock import Clock
from app.market.calendar import day_of_ms, ny_day
from app.market.feed_transport import AGGREGATES, SNAPSHOT
from app.market.polygon import Reply

NO_ENDPOINT = Reply(403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."})
NO_TIMEFRAME = Reply(403, {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this data timeframe."})


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What a plan may read. `history_years`: None for all history; `has_intraday`: whether bars of the running day;
    `is_delayed`: whether its bars are marked as delayed."""

    history_years: int | None = None
    has_intraday: bool = True
    has_snapshots: bool = True
    is_delayed: bool = False

    def refusal(self, path: str, clock: Clock | None) -> Reply | None:
        """Returns the provider's 403 if the plan may not read `path` at the moment of `clock`; None if it may, and for a path
        whose dates cannot be read. Without a clock all days are allowed."""
        if SNAPSHOT.fullmatch(path):
            return None if self.has_snapshots else NO_ENDPOINT
        match = AGGREGATES.fullmatch(path)
        if match is None or clock is None:
            return None
        try:
            first, last = _day(match[3]), _day(match[4])
        except (ValueError, OverflowError):
            return None
        return None if self._includes(first, last, ny_day(clock())) else NO_TIMEFRAME

    def _includes(self, first: date, last: date, today: date) -> bool:
        years = self.history_years
        return (self.has_intraday or last < today) and (years is None or first >= _years_before(today, years))


PLANS: Mapping[str, PlanTerms] = {
    "advanced": PlanTerms(),
    "starter": PlanTerms(history_years=5, is_delayed=True),
    "basic": PlanTerms(history_years=2, has_intraday=False, has_snapshots=False),
}


def _day(text: str) -> date:
    """Returns the New York day of a path's `from` or `to`, which is a day or a moment in ms."""
    return day_of_ms(int(text)) if text.isdigit() else date.fromisoformat(text)


def _years_before(day: date, years: int) -> date:
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - years, day=28 if is_leap_day else day.day)
