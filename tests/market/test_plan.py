"""What a key may do, found out in few calls (polygon.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from app.errors import Unavailable, Upstream
from app.market.plan import Entitlement, deepened, probe, timed
from app.market.polygon import Polygon, Reply
from tests.support import CALENDAR, new_york

TODAY = date(2026, 3, 10)
NOW = new_york("2026-03-10 11:00")


class Key:
    """A provider's answers to one key. `years` of history, None for all."""

    def __init__(self, *, snapshots: bool = True, years: int | None = None, server: str = "") -> None:
        self.snapshots, self.years, self.calls = snapshots, years, list[str]()
        self.server = server or NOW.isoformat()

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        self.calls.append(path)
        if "marketstatus" in path:
            return Reply(200, {"market": "open", "serverTime": self.server})
        if "snapshot" in path:
            return Reply(200, {"status": "OK", "ticker": {}}) if self.snapshots else Reply(403, {"message": "no"})
        first = date.fromisoformat(path.split("/")[-2])
        old = self.years is not None and first < TODAY - timedelta(days=365 * self.years)
        return Reply(403, {"message": "timeframe"}) if old else Reply(200, {"status": "OK", "ticker": "SPY"})


def found(key: Key) -> Entitlement:
    polygon = Polygon(key, CALENDAR)
    known = timed(probe(polygon, "SPY", TODAY), polygon, lambda: NOW)
    return deepened(known, polygon, "SPY", TODAY)


@pytest.mark.parametrize(
    ("key", "today", "since"),
    [
        (Key(snapshots=False, years=2), False, date(2024, 3, 13)),
        (Key(years=5), True, date(2021, 3, 14)),
        (Key(years=10), True, date(2016, 3, 15)),
        (Key(), True, date(2003, 9, 10)),
    ],
    ids=["basic", "starter", "developer", "advanced"],
)
def test_each_plan_is_told_from_the_others_in_at_most_four_calls(key: Key, today: bool, since: date) -> None:
    known = found(key)
    assert (known.today, known.history_from) == (today, since)
    assert len(key.calls) <= 4


def test_whether_there_is_a_running_day_is_known_after_one_call() -> None:
    key = Key(snapshots=False)
    assert not probe(Polygon(key, CALENDAR), "SPY", TODAY).today
    assert len(key.calls) == 1


@pytest.mark.parametrize(
    ("server", "ahead_s"),
    [("2026-03-10T10:59:40-04:00", 20), ("2026-03-10T15:05:00Z", -300), ("2026-03-10T15:00:00Z", 0)],
)
def test_the_difference_of_the_clocks_is_seen(server: str, ahead_s: int) -> None:
    assert found(Key(server=server)).ahead == timedelta(seconds=ahead_s)


@pytest.mark.parametrize("server", ["soon", "2026-03-10T11:00:00"])
def test_a_clock_that_cannot_be_read_is_the_providers_failure(server: str) -> None:
    with pytest.raises(Upstream, match="clock"):
        found(Key(server=server))


@pytest.mark.parametrize(("status", "error"), [(500, Upstream), (401, Unavailable)])
def test_a_probe_that_fails_says_why_and_finds_nothing(status: int, error: type[Exception]) -> None:
    def failing(path: str, params: Any) -> Reply:
        return Reply(status, None)

    with pytest.raises(error):
        probe(Polygon(failing, CALENDAR), "SPY", TODAY)


def test_a_market_status_without_a_body_is_the_providers_failure() -> None:
    def empty(path: str, params: Any) -> Reply:
        return Reply(200, None)

    clock: datetime = NOW
    with pytest.raises(Upstream):
        timed(Entitlement(True, TODAY, timedelta(0)), Polygon(empty, CALENDAR), lambda: clock)


@pytest.mark.parametrize(("plan", "today"), [("paid", True), ("basic", False)])
def test_snapshots_that_fail_say_nothing_of_the_plan_and_the_minutes_of_today_do(plan: str, today: bool) -> None:
    """A paid key stayed at five calls a minute for as long as its snapshots failed."""

    def failing(path: str, params: Any) -> Reply:
        if "snapshot" in path:
            return Reply(500, None)
        return Reply(200, {"status": "OK"}) if plan == "paid" else Reply(403, {"message": "timeframe"})

    assert probe(Polygon(failing, CALENDAR), "SPY", TODAY).today is today


@pytest.mark.parametrize("server", ["2026-03-09T11:00:00-04:00", "2026-03-10T13:00:00-04:00"])
def test_a_time_of_another_hour_is_not_the_providers_clock(server: str) -> None:
    """An old answer would make every bar late by its age."""
    with pytest.raises(Upstream, match="more than an hour apart"):
        found(Key(server=server))
