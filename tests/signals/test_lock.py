"""When a signal begins, ends, and stands in for the next one."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from app.market.calendar import Session
from app.signals.lock import decision_hour, previous_hour, still_stands, validity
from app.signals.policy import session_of_hour
from tests.support import CALENDAR, new_york


def session(day: str) -> Session:
    found = CALENDAR.session(date.fromisoformat(day))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        ("2025-03-11 09:30", None),
        ("2025-03-11 09:59:59.999999", None),
        ("2025-03-11 10:00", 10),
        ("2025-03-11 10:59:59.999999", 10),
        ("2025-03-11 11:00", 11),
        ("2025-03-11 15:59:59", 15),
        ("2025-03-10 10:00", 10),
        ("2025-11-03 11:00", 11),
        ("2025-11-28 12:30", 12),
        ("2025-11-28 12:59:59", 12),
    ],
)
def test_decision_hour(at: str, hour: int | None) -> None:
    assert decision_hour(session(at[:10]), new_york(at)) == hour


def test_an_early_close_has_three_decision_hours() -> None:
    short = session("2025-11-28")
    assert [previous_hour(short, h) for h in (10, 11, 12)] == [None, 10, 11]
    assert decision_hour(short, new_york("2025-11-28 15:00")) == 12


@pytest.mark.parametrize(
    ("day", "hour", "until"), [("2025-03-11", 10, "11:00"), ("2025-03-11", 15, "16:00"), ("2025-11-28", 12, "13:00")]
)
def test_a_signal_holds_from_its_hour_to_the_next_or_the_close(day: str, hour: int, until: str) -> None:
    locked_at, expires_at = validity(session(day), hour)
    assert locked_at == new_york(f"{day} {hour}:00")
    assert expires_at == new_york(f"{day} {until}")


def test_the_hour_before_stands_for_two_minutes_and_the_plans_delay() -> None:
    day, delay = session("2025-03-11"), timedelta(minutes=15)
    assert still_stands(day, 11, new_york("2025-03-11 11:01:59.999"), timedelta(0))
    assert not still_stands(day, 11, new_york("2025-03-11 11:02"), timedelta(0))
    assert still_stands(day, 11, new_york("2025-03-11 11:16:59"), delay)
    assert not still_stands(day, 11, new_york("2025-03-11 11:17"), delay)


@pytest.mark.parametrize(("hour", "name"), [(0, "early"), (10, "early"), (11, "late"), (23, "late")])
def test_the_session_goes_by_the_hour_alone(hour: int, name: str) -> None:
    assert session_of_hour(hour) == name
