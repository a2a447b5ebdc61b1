"""What a client sees of the faults of bars."""

from __future__ import annotations

import math

import pytest

from app.market.bars import Span, to_ms
from app.market.calendar import midnight_ms
from app.simulator.faults import FAULTS
from app.simulator.server import PolygonSimulator
from tests.simulator.paths import DAILY, DAY, MINUTES, SNAPSHOT, Get, rows
from tests.support import new_york

pytestmark = pytest.mark.integration


def test_nan_prices(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get)
    provider.inject_fault("nan-prices")
    bad = rows(get)
    assert {math.isnan(row["c"]) for row in bad} == {True, False}
    assert [row["t"] for row in bad] == [row["t"] for row in good]


def test_negative_prices(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("negative-prices")
    assert {row["c"] < 0 for row in rows(get)} == {True, False}


def test_unsorted_rows_are_the_same_rows_every_time(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get)
    provider.inject_fault("unsorted")
    bad = rows(get)
    assert bad == rows(get) != good
    assert sorted(bad, key=lambda row: row["t"]) == good


def test_duplicates(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get)
    provider.inject_fault("duplicates")
    bad = rows(get)
    assert len(good) < len(bad) < 2 * len(good)
    assert [row for i, row in enumerate(bad) if row not in bad[:i]] == good


def test_missing_minutes_are_the_same_from_wherever_they_are_asked_for(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get)
    provider.inject_fault("missing-minute")
    bad = rows(get)
    start = good[10]["t"]
    assert good[-1] == bad[-1]
    assert 0.8 * len(good) < len(bad) < 0.9 * len(good)
    later = rows(get, f"/v2/aggs/ticker/SPY/range/1/minute/{start}/{DAY}")
    assert later == [row for row in bad if row["t"] >= start]
    assert len(rows(get, DAILY)) == 7


def test_yesterday(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get)
    provider.inject_fault("yesterday")
    assert [row["t"] + Span.DAY.ms for row in rows(get)] == [row["t"] for row in good]


def test_empty_is_what_the_provider_says_of_a_day_without_bars(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("empty")
    assert get(MINUTES).json() == {"ticker": "SPY", "status": "OK", "adjusted": True, "resultsCount": 0}


def test_the_next_page_is_this_one(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("next-url-loop")
    assert get(f"{MINUTES}?limit=9").json()["next_url"] == f"https://api.polygon.io{MINUTES}?limit=9"


def test_the_next_page_is_on_another_host(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("next-url-foreign")
    assert get(MINUTES).json()["next_url"].startswith("https://evil.example/")


def test_a_split_rebases_the_rows_before_a_moment(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get, DAILY)
    provider.inject_fault("split", factor=4, before=midnight_ms(DAY))
    bad = rows(get, DAILY)
    assert bad[-1] == good[-1]
    assert [(4 * new["c"], new["v"] / 4) for new in bad[:-1]] == [(row["c"], row["v"]) for row in good[:-1]]
    provider.inject_fault("split")
    assert [2 * row["o"] for row in rows(get, DAILY)] == [row["o"] for row in good]


def test_frozen_minutes_end_before_a_moment_and_days_go_on(provider: PolygonSimulator, get: Get) -> None:
    since = to_ms(new_york("2025-03-11 10:20"))
    good, days = rows(get), rows(get, DAILY)
    provider.inject_fault("frozen", since=since)
    assert rows(get) == [row for row in good if row["t"] < since]
    assert rows(get, DAILY) == days


def test_future_bars_come_after_the_good_ones(provider: PolygonSimulator, get: Get) -> None:
    good = rows(get)
    provider.inject_fault("future-bars")
    found = rows(get)
    assert found[:-2] == good
    assert [row["t"] - good[-1]["t"] for row in found[-2:]] == [3_600_000, 7_200_000]


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.edit_body])
def test_broken_rows_leave_other_answers_alone(provider: PolygonSimulator, get: Get, fault: str) -> None:
    good = get(SNAPSHOT).json()
    provider.inject_fault(fault, times=1)
    assert get(SNAPSHOT).json() == good
    assert get(MINUTES).json() != get(MINUTES).json(), "the one hit is the first aggregates answer"


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.edit_body])
def test_broken_rows_stay_possible_where_there_are_none(provider: PolygonSimulator, get: Get, fault: str) -> None:
    provider.inject_fault(fault)
    body = get("/v2/aggs/ticker/ZZZ/range/1/minute/2025-03-11/2025-03-11").json()
    assert (body["status"], body["resultsCount"]) == ("OK", 0)
