"""Whether the bars of days that are over are whole by the calendar, and when what they lack is asked for again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from app.market.bars import Bars, Ints, Span, from_ms, to_ms
from app.market.calendar import NY, Calendar, Session, midnight_ms

UNBROKEN_DAYS = 21
"""How many daily bars before a day are judged: those that V6 reads (ruling T4)."""

MOST_QUIET_BARS = {Span.MINUTE: 5, Span.FIVE_MINUTES: 3}
"""How many bars in a row a session may lack, because nothing traded. In recorded sessions of one venue's prints of SPY, QQQ and
IWM it is three one-minute bars and three five-minute bars; the consolidated tape lacks fewer."""

MOST_MISSING = 0.12
"""Share of a session's bars that may be missing in all, beyond MOST_QUIET_BARS; in such recorded sessions it is a tenth."""

HALTS = (
    ("2020-03-09 09:34", "2020-03-09 09:50"),
    ("2020-03-12 09:35", "2020-03-12 09:51"),
    ("2020-03-16 09:30", "2020-03-16 09:46"),
    ("2020-03-18 12:56", "2020-03-18 13:12"),
)
"""The times, New York, in which all trading was halted by the market-wide circuit breaker (NYSE Rule 7.12)."""

REGULAR_VOLUME = 0.2
"""The median minute's volume against that of the session before it, from which on minutes are regular trading. From 13:00 to
16:00 it is 0.36 at least in 159 recorded sessions of SPY and QQQ each; the extended hours after an early close are thin."""

REFERENCE = "SPY"
"""The fund whose bars show how long the exchange was open on a past day (policy.md 1)."""

TRADED_VOLUME = 0.05
"""The volume of a daily bar against the median of the UNBROKEN_DAYS daily bars before it, from which on it shows that the
exchange was open. A stray bar of a closed day has little or none."""

SHOWN_FOR = timedelta(minutes=30)
"""How far beyond an early close one-minute bars must reach to show whether regular trading ended with it."""

Hole = tuple[datetime, datetime]
"""From when to when bars are missing, New York."""

_HALTS_MS = [tuple(to_ms(datetime.fromisoformat(at).replace(tzinfo=NY)) for at in halt) for halt in HALTS]

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


def missing_bars(bars: Bars, span: Span, session: Session, until: datetime) -> int:
    """Returns how many of the bars that end by `until` a session lacks; 0 if quiet minutes alone can explain it, and
    for spans that no signal reads."""
    if span not in MOST_QUIET_BARS:
        return 0
    expected = _expected(span, session, until)
    count = int((~bars.has(expected)).sum())
    too_many = count > max(MOST_QUIET_BARS[span], MOST_MISSING * len(expected))
    return count if too_many or hole(bars, span, session, until) else 0


def hole(bars: Bars, span: Span, session: Session, until: datetime) -> Hole | None:
    """Returns from when to when, New York, the first bars in a row are missing that are more than quiet minutes can explain, of
    the session's bars that end by `until`; None if there are none, and for spans that no signal reads."""
    if span not in MOST_QUIET_BARS:
        return None
    expected = _expected(span, session, until)
    missing = np.concatenate([[False], ~bars.has(expected), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(missing)).reshape(-1, 2)
    for first, end in edges[edges[:, 1] - edges[:, 0] > MOST_QUIET_BARS[span]].tolist():
        return from_ms(int(expected[first])).astimezone(NY), from_ms(int(expected[end - 1]) + span.ms).astimezone(NY)
    return None


def _expected(span: Span, session: Session, until: datetime) -> Ints:
    """Starts of the bars that end by `until`, without those that lie in a halt, entirely or in part."""
    last = to_ms(min(until, session.close)) - span.ms
    starts = np.arange(to_ms(session.open), last + 1, span.ms)
    for first, end in _HALTS_MS:
        starts = starts[(starts + span.ms <= first) | (starts >= end)]
    return starts


def reaches_past(minutes: Bars, session: Session, until: datetime) -> datetime | None:
    """The end of the last one-minute bar by `until` if it lies SHOWN_FOR beyond the close of `session`, or at `until` if that
    comes sooner. None for bars that end before: they may be the first part of a longer day."""
    ended = minutes.until(until)
    newest = from_ms(int(ended.end[-1])) if len(ended) else session.open
    return newest if newest >= min(session.close + SHOWN_FOR, until) else None


def is_traded_past(minutes: Bars, session: Session, until: datetime) -> bool:
    """Whether regular trading went on from the close of `session` to `until`, by the day's one-minute bars. The median is taken
    over all minutes, those without trades included, so that the closing auction alone does not count."""
    before = _median_volume(minutes, session.open, session.close)
    after = _median_volume(minutes, session.close, until)
    return after > 0 and after >= REGULAR_VOLUME * before


def _median_volume(minutes: Bars, since: datetime, until: datetime) -> float:
    """Returns the median volume of the minutes since .. until; a minute without a bar has volume 0."""
    volume = np.zeros((to_ms(until) - to_ms(since)) // Span.MINUTE.ms)
    inside = minutes.since(since).until(until)
    volume[(inside.t - to_ms(since)) // Span.MINUTE.ms] = inside.v
    return float(np.median(volume))


def is_traded_day(daily: Bars, index: int) -> bool:
    """Whether the daily bar at `index` has the volume of a trading day, by those before it; False without any before it."""
    before = daily.v[max(0, index - UNBROKEN_DAYS) : index]
    volume = float(daily.v[index])
    return len(before) > 0 and volume > 0 and volume >= TRADED_VOLUME * float(np.median(before))


def missing_days(daily: Bars, day: date, calendar: Calendar) -> list[date]:
    """Which of the last UNBROKEN_DAYS trading days before `day` have no daily bar, ascending."""
    there = set(daily.t[-2 * UNBROKEN_DAYS :].tolist())
    return [before for before in calendar.days_before(day, UNBROKEN_DAYS) if midnight_ms(before) not in there]


def resumes_after(missing: Sequence[date], calendar: Calendar) -> date:
    """The first trading day that reads none of the `missing` daily bars."""
    days = calendar.days_after(max(missing))
    return [next(days) for _ in range(UNBROKEN_DAYS + 1)][-1]
