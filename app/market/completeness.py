"""Whether the bars of days that are over are whole by the calendar, and when what they lack is asked for again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from app.market.bars import Bars, Span, to_ms
from app.market.calendar import Calendar, Session, midnight_ms

UNBROKEN_DAYS = 21
"""How many daily bars before a day are judged: those that V6 reads (ruling T4)."""

MOST_QUIET_BARS = {Span.MINUTE: 5, Span.FIVE_MINUTES: 3}
"""How many bars in a row a session may lack, because nothing traded. In recorded sessions of one venue's prints of SPY, QQQ and
IWM it is three one-minute bars and three five-minute bars; the consolidated tape lacks fewer."""

MOST_MISSING = 0.12
"""Share of a session's bars that may be missing in all; in such recorded sessions it is a tenth."""

HOUR, DAY, WEEK = 60, 24 * 60, 7 * 24 * 60
AGAIN_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, HOUR, DAY, WEEK))
"""How long after each try a past day's incomplete minutes are asked for again. After the last one they stay as they are, so
that a day which the provider does not have whole costs seven calls in all."""

DAYS_AGAIN = tuple(timedelta(minutes=minutes) for minutes in (1, 5, *[15] * 7, *[HOUR] * 5, DAY, WEEK))
"""The same of a missing daily bar, which costs signals as long as it is missing: 17 calls in all, 14 within a session."""


@dataclass(frozen=True, slots=True)
class Tries:
    """How often a day that stayed incomplete was asked for, and when last."""

    count: int
    last: datetime

    def again(self, span: Span) -> datetime | None:
        """When to ask again; None: never."""
        waits = DAYS_AGAIN if span is Span.DAY else AGAIN_AFTER
        return self.last + waits[self.count - 1] if self.count <= len(waits) else None


def missing_bars(bars: Bars, span: Span, session: Session) -> int:
    """How many bars a session lacks; 0 if quiet minutes alone can explain it, and for spans that no signal reads."""
    if span not in MOST_QUIET_BARS:
        return 0
    expected = np.arange(to_ms(session.open), to_ms(session.close), span.ms)
    missing = ~np.isin(expected, bars.t)
    count = int(missing.sum())
    too_many = count > MOST_MISSING * len(expected)
    return count if too_many or _longest_run(missing) > MOST_QUIET_BARS[span] else 0


def missing_days(daily: Bars, day: date, calendar: Calendar) -> list[date]:
    """Which of the last UNBROKEN_DAYS trading days before `day` have no daily bar, ascending."""
    there = set(daily.t[-2 * UNBROKEN_DAYS :].tolist())
    return [before for before in calendar.days_before(day, UNBROKEN_DAYS) if midnight_ms(before) not in there]


def resumes_after(missing: Sequence[date], calendar: Calendar) -> date:
    """The first trading day that reads none of the `missing` daily bars."""
    days = calendar.days_after(max(missing))
    return [next(days) for _ in range(UNBROKEN_DAYS + 1)][-1]


def _longest_run(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """Length of the longest run of set flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
