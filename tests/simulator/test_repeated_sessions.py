"""The synthetic market whose sessions are repeated up to today."""

from __future__ import annotations

from datetime import date

import pytest

from app.market.bars import Span
from app.market.calendar import day_of_ms, midnight_ms
from app.market.demo import HISTORY_FROM, LAP
from app.simulator.repeated_sessions import RepeatedSessions
from tests.support import CALENDAR, demo_feed, new_york


@pytest.fixture(scope="module")
def repeated() -> RepeatedSessions:
    return RepeatedSessions(demo_feed(), CALENDAR, HISTORY_FROM, LAP[1])


TODAY = date(2026, 11, 24)


def test_a_synthetic_market_has_a_today(repeated: RepeatedSessions) -> None:
    bars = repeated.bars("SPY", Span.MINUTE, midnight_ms(TODAY), midnight_ms(TODAY) + Span.DAY.ms)
    session = bars.since(new_york("2026-11-24 09:30")).until(new_york("2026-11-24 16:00"))
    assert len(session) == 390
    assert {day_of_ms(t) for t in bars.t.tolist()} == {TODAY}


def test_its_days_are_the_trading_days_each_with_its_open(repeated: RepeatedSessions) -> None:
    past = CALENDAR.days_before(TODAY, 500)
    daily = repeated.bars("SPY", Span.DAY, midnight_ms(past[0]), midnight_ms(TODAY))
    assert daily.t.tolist() == [midnight_ms(day) for day in past]
    assert daily.o.tolist() == [repeated.official_open("SPY", day) for day in past]
    assert daily.end.tolist() == CALENDAR.day_ends(daily.t).tolist()


def test_a_day_shows_the_same_bars_whatever_is_asked_with_it(repeated: RepeatedSessions) -> None:
    alone = repeated.bars("QQQ", Span.MINUTE, midnight_ms(TODAY), midnight_ms(TODAY) + Span.DAY.ms)
    longer = repeated.bars("QQQ", Span.MINUTE, midnight_ms(date(2026, 10, 30)), midnight_ms(date(2026, 12, 2)))
    inside = (longer.t >= alone.t[0]) & (longer.t <= alone.t[-1])
    assert longer.c[inside].tolist() == alone.c.tolist()
    part = repeated.bars("QQQ", Span.MINUTE, int(alone.t[7]), int(alone.t[9]))
    assert part.t.tolist() == alone.t[7:9].tolist()


def test_it_has_nothing_before_its_first_day_nor_on_holidays(repeated: RepeatedSessions) -> None:
    assert len(repeated.bars("SPY", Span.DAY, 0, midnight_ms(HISTORY_FROM))) == 0
    assert repeated.official_open("SPY", date(2026, 11, 26)) is None
