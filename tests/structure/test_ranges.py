"""The six ranges: which minutes belong to which, on ordinary, short and closed days, and never a minute too early."""

from __future__ import annotations

import math
from datetime import date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars import Bars, no_bars
from app.market.calendar import Session, ny
from app.structure.ranges import (
    CurrentSession,
    FirstHalfHour,
    Premarket,
    Range,
    Ranges,
    YesterdaySession,
    price_ranges,
)
from tests.structure.making import CALENDAR, joined, minutes

FRIDAY, THURSDAY = date(2025, 12, 5), date(2025, 12, 4)
HALF_DAY, MONDAY = date(2025, 11, 28), date(2025, 12, 1)
FOUR = time(4)


def session(day: date) -> Session:
    found = CALENDAR.session(day)
    assert found is not None
    return found


def minute_of(hour: int, minute: int) -> int:
    """How many minutes after 04:00."""
    return (hour - 4) * 60 + minute


def whole(day: date, base: float) -> Bars:
    """04:00 to 20:00, minute i: opens at base + i, closes a quarter higher, half a dollar around."""
    o = [base + i for i in range(16 * 60)]
    return minutes([x + 0.25 for x in o], o=o, h=[x + 0.5 for x in o], low=[x - 0.5 for x in o], start=FOUR, day=day)


def ranges(at: datetime, day: date = FRIDAY, before: date = THURSDAY) -> Ranges:
    return price_ranges(at, CALENDAR.session(day), whole(day, 5000.0), session(before), whole(before, 1000.0))


def at(hour: int, minute: int, day: date = FRIDAY) -> datetime:
    return ny(day, time(hour, minute))


def test_late_in_the_day_every_range_is_whole() -> None:
    found = ranges(at(19, 0))
    opened, ten, closed = minute_of(9, 30), minute_of(10, 0), minute_of(16, 0)
    assert found == Ranges(
        premarket=Premarket(5000 + opened - 0.5, 4999.5, open=5000.0, close=5000 + opened - 0.75),
        first_30min=FirstHalfHour(5000 + ten - 0.5, 5000 + opened - 0.5, range=30.0),
        current_session=CurrentSession(
            5000 + closed - 0.5, 5000 + opened - 0.5, open=5000 + opened, last=5000 + closed - 0.75
        ),
        aftermarket=Range(1000 + 960 - 0.5, 1000 + closed - 0.5),
        yesterday_session=YesterdaySession(1000 + closed - 0.5, 1000 + opened - 0.5, close=1000 + closed - 0.75),
        rolling_24h=Range(5000 + closed - 0.5, 1000 + closed - 0.5),
    )


def test_the_first_half_hour_does_not_take_the_ten_o_clock_minute() -> None:
    assert ranges(at(10, 0)).first_30min == ranges(at(10, 5)).first_30min
    assert ranges(at(9, 59)).first_30min != ranges(at(10, 0)).first_30min


@pytest.mark.parametrize(
    ("moment", "known"),
    [
        (at(3, 0), set()),
        (at(4, 0), set()),
        (at(4, 1), {"premarket"}),
        (at(9, 30), {"premarket"}),
        (at(9, 31), {"premarket", "first_30min", "current_session"}),
    ],
)
def test_a_range_appears_with_its_first_ended_minute(moment: datetime, known: set[str]) -> None:
    found = ranges(moment)
    today = {name for name in ("premarket", "first_30min", "current_session") if getattr(found, name) is not None}
    assert today == known


def test_a_minute_that_has_not_ended_is_not_seen() -> None:
    before, after = ranges(ny(FRIDAY, time(11, 0, 59))), ranges(at(11, 1))
    assert before == ranges(at(11, 0))
    assert after.current_session is not None
    assert before.current_session is not None
    assert after.current_session.last == before.current_session.last + 1


def test_yesterdays_minutes_are_cut_too() -> None:
    found = price_ranges(at(16, 0, THURSDAY), None, no_bars(), session(THURSDAY), whole(THURSDAY, 1000.0))
    assert found.yesterday_session is not None
    assert found.aftermarket is None


def test_on_a_short_day_the_session_ends_at_one() -> None:
    found = ranges(at(19, 0, HALF_DAY), HALF_DAY, date(2025, 11, 26))
    assert found.current_session is not None
    assert found.current_session.last == 5000 + minute_of(13, 0) - 0.75


def test_after_a_short_day_the_aftermarket_begins_at_one() -> None:
    found = ranges(at(11, 0, MONDAY), MONDAY, HALF_DAY)
    assert found.aftermarket == Range(1000 + 960 - 0.5, 1000 + minute_of(13, 0) - 0.5)
    assert found.yesterday_session is not None
    assert found.yesterday_session.close == 1000 + minute_of(13, 0) - 0.75


def test_the_aftermarket_ends_at_eight() -> None:
    evening = minutes([60.0, 61.0, 99.0, 99.0], start=time(19, 58), day=THURSDAY)
    found = price_ranges(at(3, 0), session(FRIDAY), no_bars(), session(THURSDAY), evening)
    assert found.aftermarket == Range(high=61.0, low=60.0)


def test_on_monday_friday_is_yesterday() -> None:
    monday = date(2025, 12, 8)
    found = ranges(at(8, 0, monday), monday, FRIDAY)
    assert found.aftermarket is not None
    assert found.yesterday_session is not None
    assert found.rolling_24h is not None
    assert found.rolling_24h.low == found.aftermarket.low


def test_on_a_closed_day_only_the_day_before_is_known() -> None:
    saturday = date(2025, 12, 6)
    found = price_ranges(at(12, 0, saturday), None, whole(saturday, 9000.0), session(FRIDAY), whole(FRIDAY, 1000.0))
    assert (found.premarket, found.first_30min, found.current_session) == (None, None, None)
    assert found.rolling_24h == found.aftermarket


def test_rolling_leaves_out_yesterdays_session() -> None:
    evening = joined(minutes([50.0] * 390, day=THURSDAY), minutes([70.0] * 5, start=time(16), day=THURSDAY))
    found = price_ranges(at(9, 0), session(FRIDAY), minutes([80.0] * 5, start=FOUR), session(THURSDAY), evening)
    assert found.rolling_24h == Range(high=80.0, low=70.0)


def test_rolling_skips_what_is_missing() -> None:
    found = price_ranges(at(9, 0), session(FRIDAY), minutes([80.0] * 5, start=FOUR), session(THURSDAY), no_bars())
    assert found.aftermarket is None
    assert found.rolling_24h == Range(80.0, 80.0)


def test_without_any_bars_everything_is_unknown() -> None:
    found = price_ranges(at(12, 0), session(FRIDAY), no_bars(), session(THURSDAY), no_bars())
    assert found == Ranges(None, None, None, None, None, None)


def test_a_market_that_never_moves_has_ranges_without_width() -> None:
    still = minutes([100.0] * 60)
    found = price_ranges(at(12, 0), session(FRIDAY), still, session(THURSDAY), no_bars())
    assert found.first_30min == FirstHalfHour(100.0, 100.0, range=0.0)


@settings(max_examples=60)
@given(minute=st.integers(0, 24 * 60 - 1), has_today=st.booleans(), has_before=st.booleans())
def test_at_every_minute_the_ranges_hold_their_own_prices_and_each_other(
    minute: int, has_today: bool, has_before: bool
) -> None:
    today, before = (
        whole(FRIDAY, 5000.0) if has_today else no_bars(),
        whole(THURSDAY, 1000.0) if has_before else no_bars(),
    )
    found = price_ranges(at(minute // 60, minute % 60), session(FRIDAY), today, session(THURSDAY), before)
    known = [found.premarket, found.first_30min, found.current_session, found.aftermarket]
    for part in filter(None, known):
        assert math.isfinite(part.high)
        assert part.low <= part.high
        assert found.rolling_24h is not None
        assert found.rolling_24h.low <= part.low
        assert found.rolling_24h.high >= part.high
    assert (found.rolling_24h is None) == (not any(known))
    if found.premarket:
        assert found.premarket.low <= min(found.premarket.open, found.premarket.close)
    if found.current_session:
        assert found.current_session.low <= found.current_session.last <= found.current_session.high
