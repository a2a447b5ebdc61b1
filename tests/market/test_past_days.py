"""Market data: days that are over and incomplete, and holes in the daily history (polygon.md 7)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.market.bars import Span, to_ms
from app.market.cache import BarCache
from app.market.calendar import midnight_ms
from app.market.completeness import AGAIN_AFTER, DAYS_AGAIN
from app.market.market_data import MarketData
from app.market.polygon import Reply
from tests.market.answers import DAY, minute_calls
from tests.support import CALENDAR, FakeClock, ScriptedMarket, dropping, new_york


def between(first: str, last: str) -> Callable[[dict[str, Any]], bool]:
    """Rows that start between two New York times of 2025-02-26."""
    lo, hi = (to_ms(new_york(f"2025-02-26 {at}")) for at in (first, last))
    return lambda row: bool(lo <= row["t"] < hi)


def one_in(n: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["t"] // 60_000 % n == 0


INCOMPLETE = {
    "cut off at noon": between("12:00", "23:00"),
    "cut off ten minutes before the close": between("15:50", "23:00"),
    "begins at ten": between("04:00", "10:00"),
    "a hole at midday": between("12:00", "12:10"),
    "one row in five": one_in(5),
    "nothing at all": lambda row: True,
}
NOON = new_york("2025-02-26 12:30")
FORTNIGHT = [timedelta(minutes=m) for m in (*range(1, 90), *range(90, 14 * 24 * 60, 60))]


@pytest.mark.parametrize("drop", INCOMPLETE.values(), ids=list(INCOMPLETE))
def test_an_incomplete_past_day_is_asked_for_again_and_replaced(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket, drop: Callable[[dict[str, Any]], bool]
) -> None:
    whole = build(folder="whole").intraday("SPY", NOON).bars
    market.edit, source = dropping("/minute/", drop), build()
    found = source.intraday("SPY", NOON)
    assert found.missing
    assert "bars_incomplete" in source.heard  # type: ignore[attr-defined]
    market.edit = lambda path, body: body
    clock.forward(minutes=1)
    healed = build().intraday("SPY", NOON)
    assert (healed.bars.equals(whole), healed.missing) == (True, 0)
    calls = minute_calls(market)
    clock.forward(minutes=60 * 24 * 30)
    assert build().intraday("SPY", NOON).bars.equals(whole)
    assert minute_calls(market) == calls, "a whole day is kept for good"


def test_a_day_that_stays_incomplete_costs_seven_calls_whoever_asks(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """Two processes and many restarts on one folder, for two weeks."""
    market.edit = dropping("/minute/", between("12:00", "12:10"))
    began, running = clock(), [build(), build()]
    for i, passed in enumerate(FORTNIGHT):
        clock.at = began + passed
        for source in running if i % 30 else [build()]:
            assert source.intraday("SPY", NOON).missing == 10
    assert minute_calls(market) == 1 + len(AGAIN_AFTER) == 7


def test_an_answer_that_lacks_more_does_not_replace_what_is_known(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = dropping("/minute/", between("12:00", "12:10"))
    before = build().intraday("SPY", NOON).bars
    market.edit = dropping("/minute/", between("10:00", "16:00"))
    clock.forward(minutes=2)
    assert build().intraday("SPY", NOON).bars.equals(before)
    market.fault = lambda path: Reply(500, None)
    clock.forward(minutes=30)
    assert build().intraday("SPY", NOON).bars.equals(before), "nor does a failure hide it"


@pytest.mark.parametrize(
    ("at", "drop"),
    [
        pytest.param("2025-02-26 12:30", one_in(17), id="single quiet minutes"),
        pytest.param("2025-02-26 12:30", between("12:00", "12:03"), id="three quiet minutes"),
        pytest.param("2024-11-29 12:30", lambda row: row["t"] >= to_ms(new_york("2024-11-29 13:00")), id="half day"),
    ],
)
def test_a_thin_day_and_a_half_day_are_whole(
    build: Callable[..., MarketData],
    clock: FakeClock,
    market: ScriptedMarket,
    at: str,
    drop: Callable[[dict[str, Any]], bool],
) -> None:
    market.edit = dropping("/minute/", drop)
    assert not build().intraday("SPY", new_york(at)).missing
    clock.forward(minutes=60 * 24)
    build().intraday("SPY", new_york(at))
    assert minute_calls(market) == 1


def test_an_incomplete_day_of_an_older_cache_is_asked_for_again(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    day = NOON.date()
    whole = build(folder="whole").intraday("SPY", NOON).bars
    cache = BarCache(tmp_path / "a" / "bars.sqlite3", lambda event, **fields: None)
    cache.put("SPY", Span.MINUTE, day, day, whole[:200], clock())
    assert build().intraday("SPY", NOON).bars.equals(whole)


def test_days_brought_in_incomplete_are_brought_in_again_when_they_are_due(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source, first, last = build(), date(2025, 2, 24), date(2025, 2, 28)
    market.edit = dropping("/minute/", between("12:00", "23:00"))
    source.fetcher.bring("SPY", first, last)
    assert source.fetcher.missing("SPY", first, last) == [], "not within the minute"
    clock.forward(minutes=1)
    assert build().fetcher.missing("SPY", first, last) == [NOON.date()]
    market.edit = lambda path, body: body
    source.fetcher.bring("SPY", first, last)
    clock.forward(minutes=60)
    assert source.fetcher.missing("SPY", first, last) == []
    assert minute_calls(market) == 2


HOLE = date(2025, 3, 4)


def without_hole(market: ScriptedMarket) -> None:
    market.edit = dropping("/day/", lambda row: row["t"] == midnight_ms(HOLE))


def test_a_missing_daily_bar_is_asked_for_again_at_a_pace_and_filled_when_it_comes(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    without_hole(market)
    source = build()
    assert midnight_ms(HOLE) not in source.daily("SPY", DAY).t
    assert source.missing_days("SPY", DAY) == [HOLE]
    market.edit = lambda path, body: body
    clock.forward(minutes=1)
    assert midnight_ms(HOLE) in source.daily("SPY", DAY).t
    assert source.missing_days("SPY", DAY) == []
    assert midnight_ms(HOLE) in build().daily("SPY", DAY).t
    assert len(market.calls) == 2


def test_a_daily_bar_that_stays_missing_costs_a_bounded_number_of_calls(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """For replays of four days that read it and for the running day, in two processes, for a day."""
    without_hole(market)
    days, running, began = CALENDAR.days_before(DAY, 4), [build(), build()], clock()
    for passed in FORTNIGHT[:110]:
        clock.at = began + passed
        for source in running:
            for day in (*days, DAY):
                source.daily("SPY", day)
    assert len(market.calls) <= 1 + len(DAYS_AGAIN) + len(days)


def test_a_rejected_daily_bar_is_a_missing_one_and_one_a_rounding_off_is_not(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    def bent(by: float) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        def edit(path: str, body: dict[str, Any]) -> dict[str, Any]:
            rows = [{**r, "h": max(r["o"], r["c"]) * by} if r["t"] == midnight_ms(HOLE) else r for r in body["results"]]
            return {**body, "results": rows}

        return edit

    market.edit = bent(0.99)
    source = build()
    source.daily("SPY", DAY)
    assert source.missing_days("SPY", DAY) == [HOLE]
    market.edit = bent(1 - 2e-16)
    source = build(folder="b")
    source.daily("SPY", DAY)
    assert source.missing_days("SPY", DAY) == []
    assert "bars_repaired" in source.heard  # type: ignore[attr-defined]
