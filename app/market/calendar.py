"""The trading calendar of the US cash market: sessions, holidays, early closes (policy.md 1). All in New York time.

The rules and the one-off closures come from the `holidays` package (NYSE); it agrees with every session of
1993-2026 in the recorded data. A table of overrides takes what the provider announces. Pure: no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from app.market.bars import Ints, from_ms, to_ms
from app.market.nyse import closures, half_days

NY = ZoneInfo("America/New_York")
OPEN = time(9, 30)
CLOSE = time(16, 0)
EARLY_CLOSE = time(13, 0)
ONE_DAY = timedelta(days=1)


@lru_cache(maxsize=4096)
def ny(day: date, at: time) -> datetime:
    """The moment of New York wall time `at` on `day`."""
    return datetime.combine(day, at, NY)


@lru_cache(maxsize=4096)
def midnight_ms(day: date) -> int:
    """00:00 New York of `day`, ms since the epoch: the start of its daily bar."""
    return to_ms(ny(day, time(0)))


def ny_day(at: datetime) -> date:
    """The New York calendar day of a moment."""
    return at.astimezone(NY).date()


def day_of_ms(ms: int) -> date:
    """The New York calendar day of a moment in ms."""
    return ny_day(from_ms(ms))


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: `open` inclusive, `close` exclusive."""

    day: date
    open: datetime
    close: datetime

    def is_open(self, at: datetime) -> bool:
        return self.open <= at < self.close

    def progress(self, at: datetime) -> float:
        """Share of the session gone at `at`, clipped to [0, 1]."""
        share = (at - self.open) / (self.close - self.open)
        return min(1.0, max(0.0, share))

    @property
    def is_short(self) -> bool:
        return self.close.astimezone(NY).time() < CLOSE


@dataclass(frozen=True, slots=True)
class TradingHours:
    """What the calendar says of a moment `at`: the session of its New York day (None on a day without one), the session that
    runs or opens next, and the exchange's name for a day without a session (None for a weekend and for a closure without a
    name)."""

    at: datetime
    session: Session | None
    upcoming: Session
    holiday: str | None

    @property
    def is_open(self) -> bool:
        return self.session is not None and self.session.is_open(self.at)


Overrides = Mapping[date, time | None]
"""What is known better than the rules, per day: its closing time, or None if the market is closed."""


OVERRIDE_CLOSES = time(10), CLOSE
"""A close that overrides the rules lies in between, the last one included."""


def is_usable_override(day: date, close: time | None) -> bool:
    """Whether `close` can be the close of `day`: a weekday's, on a full minute after 10:00 and by 16:00, or none."""
    if day.weekday() >= 5:
        return False
    return close is None or (
        OVERRIDE_CLOSES[0] < close <= OVERRIDE_CLOSES[1] and close.second == close.microsecond == 0
    )


class _Days:
    """The rules with one set of overrides, never changed; what is derived from both is cached with them: of more days than the
    funds have existed, since a longer series that is read in order would find none of its days cached."""

    def __init__(self, overrides: Overrides) -> None:
        self.overrides = dict(overrides)
        self.days_before = lru_cache(maxsize=256)(self._find_days_before)
        self.session = lru_cache(maxsize=16_384)(self._find_session)
        self.trading_days = lru_cache(maxsize=64)(self._find_trading_days)
        self.end_of_bar = lru_cache(maxsize=16_384)(self._find_end_of_bar)

    def _find_session(self, day: date) -> Session | None:
        close = self.overrides[day] if day in self.overrides else close_by_rule(day)
        return None if close is None else Session(day, ny(day, OPEN), ny(day, close))

    def _find_days_before(self, day: date, n: int) -> tuple[date, ...]:
        days: list[date] = []
        while len(days) < n:
            day -= ONE_DAY
            if self.session(day) is not None:
                days.append(day)
        return tuple(reversed(days))

    def _find_trading_days(self, first: date, last: date) -> tuple[date, ...]:
        days = (date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1))
        return tuple(day for day in days if self.session(day) is not None)

    def _find_end_of_bar(self, ms: int) -> int:
        try:
            day = day_of_ms(ms)
        except OverflowError:
            return ms
        session = self.session(day)
        return to_ms(session.close if session else ny(day, CLOSE))


_BY_RULES = _Days({})
"""Of all calendars that know no better."""


class Calendar:
    """Sessions by day. `overrides` win over the rules (the provider's word for the future, policy.md 1); a running server
    swaps them for everyone who holds the calendar."""

    def __init__(self, overrides: Overrides | None = None) -> None:
        self._days = _Days(overrides) if overrides else _BY_RULES

    @property
    def overrides(self) -> Overrides:
        """What is known better than the rules."""
        return self._days.overrides

    def override(self, overrides: Overrides) -> None:
        """Replace all overrides at once: no caller sees a part of them, and nothing derived from the old ones stays."""
        self._days = _Days(overrides) if overrides else _BY_RULES

    def session(self, day: date) -> Session | None:
        """The session of `day`, or None if it is not a trading day."""
        return self._days.session(day)

    def session_at(self, at: datetime) -> Session | None:
        """The session of the New York day of `at`, open or not."""
        return self.session(ny_day(at))

    def is_open(self, at: datetime) -> bool:
        session = self.session_at(at)
        return session is not None and session.is_open(at)

    def hours_at(self, at: datetime) -> TradingHours:
        """The trading hours around a moment."""
        upcoming = self.session(self.next_trading_day(at))
        assert upcoming is not None
        return TradingHours(at, self.session_at(at), upcoming, self.holiday(ny_day(at)))

    def holiday(self, day: date) -> str | None:
        """The exchange's name for a weekday without a session; None where there is one or it has no name."""
        return None if self.session(day) is not None else closures(day.year).get(day)

    def next_trading_day(self, at: datetime) -> date:
        """Today if it is a trading day and its close is still to come, else the next one by calendar."""
        session = self.session_at(at)
        if session is not None and at < session.close:
            return session.day
        return next(self.days_after(ny_day(at)))

    def previous_trading_day(self, day: date) -> date:
        """The last trading day before `day`."""
        day -= ONE_DAY
        while self.session(day) is None:
            day -= ONE_DAY
        return day

    def days_before(self, day: date, n: int) -> tuple[date, ...]:
        """The last n trading days before `day`, ascending."""
        return self._days.days_before(day, n)

    def trading_days(self, first: date, last: date) -> list[date]:
        """The trading days first .. last, ascending."""
        return list(self._days.trading_days(first, last))

    def days_after(self, day: date) -> Iterator[date]:
        """The trading days after `day`, without end."""
        while True:
            day += ONE_DAY
            if self.session(day) is not None:
                yield day

    def day_ends(self, t: Ints) -> Ints:
        """Ends, ms, of daily bars that start at `t`: the session's close; 16:00 on a day the calendar does not trade."""
        end_of_bar = self._days.end_of_bar
        return np.array([end_of_bar(ms) for ms in t.tolist()], dtype=np.int64)


def differs_from_rules(day: date, close: time | None) -> bool:
    """Whether the rules have another close for `day`, or none."""
    return close_by_rule(day) != close


@lru_cache(maxsize=32_768)
def close_by_rule(day: date) -> time | None:
    """The closing time of `day` by the rules alone, New York; None on a day without trading."""
    if day.weekday() >= 5 or day in closures(day.year):
        return None
    return EARLY_CLOSE if day in half_days(day.year) else CLOSE
