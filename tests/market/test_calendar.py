from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from app.market.bars import Span, to_ms
from app.market.calendar import Calendar, day_of_ms, ny
from app.market.recorded import RecordedBars
from tests.support import new_york

CALENDAR = Calendar()

CLOSED = {
    2025: "0101 0109 0120 0217 0418 0526 0619 0704 0901 1127 1225",
    2026: "0101 0119 0216 0403 0525 0619 0703 0907 1126 1225",
    2027: "0101 0118 0215 0326 0531 0618 0705 0906 1125 1224",
    2028: "0117 0221 0414 0529 0619 0704 0904 1123 1225",
}
EARLY = {2025: "0703 1128 1224", 2026: "1127 1224", 2027: "1126", 2028: "0703 1124"}
ONE_OFF = ["2004-06-11", "2007-01-02", "2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"]


def days_of(table: str, year: int) -> set[date]:
    return {datetime.strptime(f"{year}{day}", "%Y%m%d").date() for day in table.split()}


@pytest.mark.parametrize("year", CLOSED)
def test_holidays_and_early_closes_of_the_year(year: int) -> None:
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(365 + (year % 4 == 0))]
    weekdays = [day for day in days if day.weekday() < 5]
    assert {day for day in weekdays if CALENDAR.session(day) is None} == days_of(CLOSED[year], year)
    short = {day for day in weekdays if (s := CALENDAR.session(day)) and s.is_short}
    assert short == days_of(EARLY[year], year)


@pytest.mark.parametrize("day", ONE_OFF)
def test_one_off_closures(day: str) -> None:
    assert CALENDAR.session(date.fromisoformat(day)) is None


def test_columbus_and_veterans_day_are_trading_days() -> None:
    assert CALENDAR.session(date(2025, 10, 13)) is not None
    assert CALENDAR.session(date(2025, 11, 11)) is not None


def test_new_year_on_a_saturday_is_not_observed() -> None:
    assert CALENDAR.session(date(2021, 12, 31)) is not None


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2025-03-11 09:29:59.999", False),
        ("2025-03-11 09:30", True),
        ("2025-03-11 15:59:59.999", True),
        ("2025-03-11 16:00", False),
        ("2025-11-28 12:59:59.999", True),
        ("2025-11-28 13:00", False),
        ("2025-11-27 12:00", False),
        ("2025-03-08 12:00", False),
        ("2025-03-09 12:00", False),
    ],
)
def test_open_is_inclusive_and_close_exclusive(at: str, is_open: bool) -> None:
    assert CALENDAR.is_open(new_york(at)) is is_open


@pytest.mark.parametrize(
    ("at", "utc"),
    [
        ("2025-03-07 09:30", "14:30"),
        ("2025-03-10 09:30", "13:30"),
        ("2025-10-31 09:30", "13:30"),
        ("2025-11-03 09:30", "14:30"),
    ],
)
def test_the_open_moves_in_utc_on_both_sides_of_a_clock_change(at: str, utc: str) -> None:
    session = CALENDAR.session_at(new_york(at))
    assert session is not None
    assert session.open.astimezone(UTC).strftime("%H:%M") == utc
    assert session.close - session.open == timedelta(minutes=390)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2025-03-11 08:00", "2025-03-11"),
        ("2025-03-11 15:59", "2025-03-11"),
        ("2025-03-11 16:00", "2025-03-12"),
        ("2025-11-26 16:00", "2025-11-28"),
        ("2025-11-28 13:00", "2025-12-01"),
        ("2025-03-08 12:00", "2025-03-10"),
    ],
)
def test_next_trading_day(at: str, expected: str) -> None:
    assert CALENDAR.next_trading_day(new_york(at)) == date.fromisoformat(expected)


def test_previous_trading_day_skips_weekend_and_holiday() -> None:
    assert CALENDAR.previous_trading_day(date(2025, 11, 28)) == date(2025, 11, 26)
    assert CALENDAR.previous_trading_day(date(2025, 3, 10)) == date(2025, 3, 7)


def test_progress_of_ordinary_and_short_sessions() -> None:
    ordinary, short = CALENDAR.session(date(2025, 3, 11)), CALENDAR.session(date(2025, 11, 28))
    assert ordinary is not None
    assert short is not None
    assert ordinary.progress(new_york("2025-03-11 10:00")) == 30 / 390
    assert short.progress(new_york("2025-11-28 10:00")) == 30 / 210
    assert short.progress(new_york("2025-11-28 14:00")) == 1.0
    assert short.progress(new_york("2025-11-28 09:00")) == 0.0


def test_what_the_provider_announces_wins_over_the_rules() -> None:
    calendar = Calendar({date(2025, 3, 11): None, date(2025, 3, 12): time(13), date(2025, 12, 25): time(16)})
    assert calendar.session(date(2025, 3, 11)) is None
    assert calendar.session(date(2025, 3, 12)) is not None
    assert calendar.session(date(2025, 3, 12)).close == ny(date(2025, 3, 12), time(13))  # type: ignore[union-attr]
    assert calendar.session(date(2025, 12, 25)) is not None


def test_the_calendar_agrees_with_every_recorded_session(recorded: RecordedBars) -> None:
    """SPY's daily bars are exactly the sessions; five-minute bars end at 13:00 exactly on the early closes."""
    daily = recorded.all_bars("SPY", Span.DAY)
    traded = {day_of_ms(ms) for ms in daily.t.tolist()}
    first, last = min(traded), max(traded)
    everyday = [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1)]
    assert {day for day in everyday if CALENDAR.session(day)} == traded
    five = recorded.all_bars("SPY", Span.FIVE_MINUTES)
    for day in {day_of_ms(ms) for ms in five.t.tolist()}:
        session = CALENDAR.session(day)
        assert session is not None
        if session.is_short:
            afternoon = ((five.t >= to_ms(ny(day, time(13, 15)))) & (five.t < to_ms(ny(day, time(15, 55))))).sum()
            assert afternoon < 20, f"{day} should have closed at 13:00"
