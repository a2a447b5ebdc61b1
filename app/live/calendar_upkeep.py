"""Keeps the calendar current: announced holidays are asked for once a day, and what traded otherwise corrects them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial

from app.live.jobs import Jobs
from app.market.announcements import Announcements
from app.market.bars import Span
from app.market.calendar import Calendar, close_by_rule, ny, ny_day
from app.market.completeness import REFERENCE, is_traded_past, missing_bars, reaches_past
from app.market.market_data import MarketData
from app.market.polygon import Polygon

CALENDAR_LOOKED_AT_AFTER = timedelta(seconds=30)
HOURS_AGAIN_AFTER = timedelta(minutes=15)


class CalendarUpkeep:
    """Looks after the announced holidays of a provider. polygon: None if it is not called over the network."""

    def __init__(
        self,
        announcements: Announcements,
        polygon: Polygon | None,
        source: MarketData,
        calendar: Calendar,
        jobs: Jobs,
    ) -> None:
        self._announcements = announcements
        self._polygon = polygon
        self._source = source
        self._calendar = calendar
        self._jobs = jobs

    def step(self, at: datetime, *, leads: bool) -> None:
        """Ask for announced holidays once a day for all processes that share it, and take over what another process got."""
        polygon = self._polygon
        if not self._jobs.is_time("calendar", at, CALENDAR_LOOKED_AT_AFTER):
            return
        self._announcements.load()
        if leads:
            self._settle(at)
        if leads and polygon is not None and self._announcements.is_due(at):
            self._jobs.start("calendar", lambda: self._announcements.refresh(polygon, at))

    def _settle(self, at: datetime) -> None:
        """Compare past days that may not have traded as announced with SPY's bars: closed days with daily bars, which correct
        the calendar when they are read, and early closes with the minutes of the day. While these do not show the hours of
        the day, the source asks for them again as often as for other incomplete days."""
        for day, close in self._announcements.doubtful(at).items():
            if close is None:
                self._source.fetches.start(REFERENCE, (Span.DAY,), ny_day(at))
            elif self._jobs.is_time(("hours", day), at, HOURS_AGAIN_AFTER):
                self._jobs.start(("hours", day), partial(self._settle_hours, day, at))

    def _settle_hours(self, day: date, at: datetime) -> None:
        session, close = self._calendar.session(day), close_by_rule(day)
        if session is None or close is None or ny(day, close) <= session.close:
            return
        minutes = self._source.minutes(REFERENCE, ny(day, close)).bars
        reach = reaches_past(minutes, session, ny(day, close))
        if reach is None:
            return
        if is_traded_past(minutes, session, reach):
            self._announcements.withdraw([day], at)
        elif not missing_bars(minutes, Span.MINUTE, session, session.close):
            self._announcements.confirm([day], at)
