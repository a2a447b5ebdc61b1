"""Freshness: the newest bar's end against what should have ended, by market time alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from app.market.bars import Bars, Span, to_ms
from app.market.calendar import NY
from app.market.freshness import Freshness, Timetable, is_behind, newest_end
from tests.support import CALENDAR, new_york, some_bars

PROMPT, LATE = timedelta(seconds=5), timedelta(minutes=15, seconds=5)
CURRENT, STALE, EXPIRED = Freshness.CURRENT, Freshness.STALE, Freshness.EXPIRED


def on(text: str | None, day: str = "2025-03-11") -> datetime | None:
    return None if text is None else new_york(f"{day} {text}")


@pytest.mark.parametrize(
    ("span", "lateness", "newest", "at", "expected"),
    [
        # one-minute bars of a real-time plan
        (Span.MINUTE, PROMPT, "10:20", "10:20:30", CURRENT),
        (Span.MINUTE, PROMPT, "10:20", "10:22:19", CURRENT),
        (Span.MINUTE, PROMPT, "10:20", "10:22:20", STALE),
        (Span.MINUTE, PROMPT, "10:20", "10:36:04", STALE),
        (Span.MINUTE, PROMPT, "10:20", "10:36:05", EXPIRED),
        (Span.MINUTE, PROMPT, "10:20", "10:58:00", EXPIRED),
        # a single minute without trades: the next one is fetched before the one before is stale
        (Span.MINUTE, PROMPT, "10:20", "10:22:06", CURRENT),
        # a delayed plan: the newest bar is a quarter of an hour old
        (Span.MINUTE, LATE, "10:20", "10:36:04", CURRENT),
        (Span.MINUTE, LATE, "10:20", "10:37:19", CURRENT),
        (Span.MINUTE, LATE, "10:20", "10:37:20", STALE),
        (Span.MINUTE, LATE, "10:20", "10:51:05", EXPIRED),
        # five-minute bars of a recorded market, one of them missing, then two, then more
        (Span.FIVE_MINUTES, timedelta(0), "10:20", "10:30:00", CURRENT),
        (Span.FIVE_MINUTES, timedelta(0), "10:20", "10:30:14", CURRENT),
        (Span.FIVE_MINUTES, timedelta(0), "10:20", "10:30:15", STALE),
        (Span.FIVE_MINUTES, timedelta(0), "10:20", "10:40:00", EXPIRED),
        # before the session nothing is due, whatever trades or does not
        (Span.MINUTE, PROMPT, None, "09:29:59", CURRENT),
        (Span.MINUTE, PROMPT, "04:10", "09:29:59", CURRENT),
        (Span.MINUTE, PROMPT, None, "04:00:00", CURRENT),
        # the first bars of the session count from its open
        (Span.MINUTE, PROMPT, "08:00", "09:32:19", CURRENT),
        (Span.MINUTE, PROMPT, "08:00", "09:32:20", STALE),
        (Span.MINUTE, PROMPT, None, "09:46:05", EXPIRED),
        # after the close nothing more is due
        (Span.MINUTE, PROMPT, "16:00", "18:30:00", CURRENT),
        (Span.MINUTE, PROMPT, "15:59", "18:30:00", CURRENT),
        (Span.MINUTE, PROMPT, "15:50", "18:30:00", STALE),
        (Span.MINUTE, PROMPT, "12:00", "18:30:00", EXPIRED),
        (Span.MINUTE, PROMPT, "17:10", "18:30:00", CURRENT),
    ],
)
def test_freshness_is_that_of_the_newest_bar(
    span: Span, lateness: timedelta, newest: str | None, at: str, expected: Freshness
) -> None:
    session = CALENDAR.session(new_york("2025-03-11").date())
    moment = on(at)
    assert moment is not None
    assert Timetable(session, span, lateness).freshness(on(newest), moment) is expected


def test_an_early_close_ends_the_wait_at_one() -> None:
    session = CALENDAR.session(new_york("2024-11-29").date())
    table = Timetable(session, Span.MINUTE, PROMPT)
    assert table.freshness(on("13:00", "2024-11-29"), new_york("2024-11-29 15:00")) is CURRENT
    assert table.freshness(on("12:50", "2024-11-29"), new_york("2024-11-29 15:00")) is STALE


def test_a_day_without_a_session_expects_nothing() -> None:
    table = Timetable(None, Span.MINUTE, PROMPT)
    assert table.freshness(None, new_york("2025-03-08 12:00")) is CURRENT
    assert table.turns(None) == ()


@pytest.mark.parametrize("newest", ["10:20", "09:00", None])
def test_the_turns_are_the_first_moments_of_the_new_state(newest: str | None) -> None:
    table = Timetable(CALENDAR.session(new_york("2025-03-11").date()), Span.MINUTE, PROMPT)
    stale, expired = table.turns(on(newest))
    before = timedelta(milliseconds=1)
    states = [table.freshness(on(newest), at) for at in (stale - before, stale, expired - before, expired)]
    assert states == [CURRENT, STALE, STALE, EXPIRED]


def test_the_age_allowed_is_two_bars_and_the_lateness() -> None:
    assert Timetable(None, Span.MINUTE, PROMPT).age_allowed() == timedelta(seconds=125)
    assert Timetable(None, Span.FIVE_MINUTES, LATE).age_allowed() == timedelta(minutes=25, seconds=5)


def test_the_newest_end_is_said_in_new_york() -> None:
    bars = some_bars(3)
    found = newest_end(bars)
    assert found is not None
    assert found.tzinfo is NY
    assert to_ms(found) == bars.end[-1]
    assert newest_end(bars[:0]) is None


@pytest.mark.parametrize(
    ("last", "day", "at", "behind"),
    [
        ("2025-03-10", "2025-03-11", "2025-03-11 11:00", False),
        ("2025-03-07", "2025-03-11", "2025-03-11 11:00", True),
        ("2025-03-07", "2025-03-11", "2025-03-11 03:59", False),
        ("2025-03-07", "2025-03-10", "2025-03-10 11:00", False),
        ("2025-03-06", "2025-03-08", "2025-03-08 12:00", True),
        ("2025-03-11", "2025-03-11", "2025-03-11 17:00", False),
    ],
)
def test_daily_bars_are_behind_without_the_last_trading_day(last: str, day: str, at: str, behind: bool) -> None:
    t = np.array([to_ms(new_york(last))])
    one = np.ones(1)
    daily = Bars(t=t, end=CALENDAR.day_ends(t), o=one, h=one, l=one, c=one, v=one)
    assert is_behind(daily, new_york(day).date(), new_york(at), CALENDAR) is behind
    assert is_behind(daily[:0], new_york(day).date(), new_york("2025-03-20 12:00"), CALENDAR)
