"""What a key may do, found out in few calls (polygon.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, get_args

import pytest

from app.config.settings import Settings
from app.errors import Unavailable, Upstream
from app.market.calling import with_clock_skew
from app.market.plan import ClockSkew, Entitlement, Market, probe, probe_history
from app.market.polygon import Polygon, Reply
from tests.support import CALENDAR, new_york

TODAY = date(2026, 3, 10)
NOW = new_york("2026-03-10 11:00")


class Key:
    """A provider's answers to one key. `years` of history, None for all."""

    def __init__(self, *, snapshots: bool = True, years: int | None = None) -> None:
        self.snapshots, self.years, self.calls = snapshots, years, list[str]()

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        self.calls.append(path)
        if "snapshot" in path:
            return Reply(200, {"status": "OK", "ticker": {}}) if self.snapshots else Reply(403, {"message": "no"})
        first = date.fromisoformat(path.split("/")[-2])
        old = self.years is not None and first < TODAY - timedelta(days=365 * self.years)
        return Reply(403, {"message": "timeframe"}) if old else Reply(200, {"status": "OK", "ticker": "SPY"})


def found(key: Key) -> Entitlement:
    polygon = Polygon(key, CALENDAR)
    return probe_history(probe(polygon, "SPY", TODAY), polygon, "SPY", TODAY)


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
def test_each_plan_is_told_from_the_others_in_at_most_three_calls(key: Key, today: bool, since: date) -> None:
    known = found(key)
    assert (known.has_intraday, known.history_from) == (today, since)
    assert len(key.calls) <= 3


def test_whether_there_is_a_running_day_is_known_after_one_call() -> None:
    key = Key(snapshots=False)
    assert not probe(Polygon(key, CALENDAR), "SPY", TODAY).has_intraday
    assert len(key.calls) == 1


@pytest.mark.parametrize(("status", "error"), [(500, Upstream), (401, Unavailable)])
def test_a_probe_that_fails_says_why_and_finds_nothing(status: int, error: type[Exception]) -> None:
    def failing(path: str, params: Any) -> Reply:
        return Reply(status, None)

    with pytest.raises(error):
        probe(Polygon(failing, CALENDAR), "SPY", TODAY)


@pytest.mark.parametrize(("plan", "today"), [("paid", True), ("basic", False)])
def test_snapshots_that_fail_say_nothing_of_the_plan_and_the_minutes_of_today_do(plan: str, today: bool) -> None:
    """A paid key stayed at five calls a minute for as long as its snapshots failed."""

    def failing(path: str, params: Any) -> Reply:
        if "snapshot" in path:
            return Reply(500, None)
        return Reply(200, {"status": "OK"}) if plan == "paid" else Reply(403, {"message": "timeframe"})

    assert probe(Polygon(failing, CALENDAR), "SPY", TODAY).has_intraday is today


class Clocks:
    """This server's clock, and what it knows of the provider's."""

    def __init__(self) -> None:
        self.at, self.heard = NOW, list[float]()
        self.skew = ClockSkew(lambda: self.at, lambda event, ahead_s: self.heard.append(ahead_s))

    def answer(self, ahead_s: float, *, took_s: float = 0.1) -> timedelta:
        """An answer comes while this server's clock runs so far ahead."""
        self.skew.observe((self.at - timedelta(seconds=ahead_s)).replace(microsecond=0), took_s)
        return self.skew.offset()


@pytest.mark.parametrize("ahead_s", [20, 90, -300, 3599])
def test_the_difference_of_the_clocks_is_seen_with_the_first_answer_and_told_once(ahead_s: int) -> None:
    clocks = Clocks()
    assert clocks.skew.measured is None
    for _ in range(3):
        assert clocks.answer(ahead_s) == timedelta(seconds=ahead_s)
        clocks.at += timedelta(seconds=60)
    assert clocks.heard == [ahead_s]
    assert clocks.answer(0) == timedelta(0), "the clock was set right"


def test_whole_seconds_and_the_time_of_a_call_are_no_difference() -> None:
    clocks = Clocks()
    for ms in range(0, 3000, 170):
        clocks.at += timedelta(milliseconds=170)
        assert clocks.answer(0.4 if ms % 2 else -0.4) == timedelta(0)
        assert clocks.answer(2.5, took_s=2.5) == timedelta(0)
    assert clocks.skew.measured == timedelta(0)
    assert clocks.heard == []


@pytest.mark.parametrize("ahead_s", [86_400, 3601, -7200])
def test_a_date_of_another_hour_is_not_the_providers_clock(ahead_s: float) -> None:
    """An old answer would make every bar late by its age."""
    clocks = Clocks()
    clocks.answer(20)
    assert clocks.answer(ahead_s) == timedelta(seconds=20)


@pytest.mark.parametrize(
    ("reply", "measured"),
    [
        (Reply(200, {}, date=NOW - timedelta(seconds=30)), timedelta(seconds=30)),
        (Reply(200, {}), None),
        (Reply(502, None, date=NOW - timedelta(seconds=30)), None),
    ],
    ids=["good", "without a date", "a gateway's"],
)
def test_good_answers_tell_the_time(reply: Reply, measured: timedelta | None) -> None:
    clocks = Clocks()
    assert with_clock_skew(lambda path, params: reply, clocks.skew)("/", {}) is reply
    assert clocks.skew.measured == measured


def test_every_market_that_can_be_set_says_once_what_it_is() -> None:
    assert get_args(Settings.model_fields["market"].annotation) == tuple(Market)
    said = {market: (market.is_live, market.is_real, market.label, market.description) for market in Market}
    assert said == {
        Market.POLYGON: (True, True, None, "market data"),
        Market.RECORDED: (False, True, "RECORDED", "recorded bars"),
        Market.DEMO: (False, False, "DEMO", "a synthetic demo market"),
    }
