"""The simulated provider answers like the real one, and never from the future."""

from __future__ import annotations

from datetime import date

import pytest

from app.market.bars import Span, to_ms
from app.market.calendar import midnight_ms
from app.market.polygon import Polygon
from app.market.wire import Wire
from tests.support import CALENDAR, FakeClock, demo_feed, new_york

DAY = date(2025, 3, 11)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(new_york("2025-03-11 11:30"))


@pytest.fixture
def polygon(clock: FakeClock) -> Polygon:
    return Polygon(Wire(demo_feed(), CALENDAR, clock), CALENDAR)


def test_no_minute_bar_that_has_not_ended(polygon: Polygon, clock: FakeClock) -> None:
    bars = polygon.aggregates("SPY", Span.MINUTE, DAY, DAY).bars
    assert bars.end[-1] == to_ms(clock.at)


def test_the_running_day_shows_the_official_open_and_the_range_so_far(polygon: Polygon) -> None:
    running = polygon.aggregates("SPY", Span.DAY, DAY, DAY).bars
    whole = demo_feed().bars("SPY", Span.DAY, midnight_ms(DAY), midnight_ms(DAY) + 1)
    minutes = polygon.aggregates("SPY", Span.MINUTE, DAY, DAY).bars.since(new_york("2025-03-11 09:30"))
    assert running.o[0] == whole.o[0]
    assert running.c[0] == minutes.c[-1]
    assert running.h[0] == max(minutes.h.max(), whole.o[0])


def test_before_the_open_there_is_no_bar_of_the_day(polygon: Polygon, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:29:59")
    assert len(polygon.aggregates("SPY", Span.DAY, DAY, DAY).bars) == 0
    assert len(polygon.aggregates("SPY", Span.MINUTE, DAY, DAY).bars) > 0, "pre-market"


def test_after_the_close_the_daily_bar_is_whole(polygon: Polygon, clock: FakeClock) -> None:
    clock.set("2025-03-11 16:00")
    found = polygon.aggregates("SPY", Span.DAY, DAY, DAY).bars
    assert found.equals(demo_feed().bars("SPY", Span.DAY, midnight_ms(DAY), midnight_ms(DAY) + 1))


def test_an_unknown_ticker_is_empty_as_polygon_has_it(polygon: Polygon) -> None:
    assert len(polygon.aggregates("ZZZ", Span.MINUTE, DAY, DAY).bars) == 0


def test_more_than_the_limit_comes_in_pages(clock: FakeClock) -> None:
    wire = Wire(demo_feed(), CALENDAR, clock)
    path = f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}"
    whole = wire(path, {"limit": "50000"}).body["results"]
    pages = []

    def small_pages(asked: str, params: object) -> object:
        reply = wire(asked, {"limit": "50"})
        pages.append(reply.body["resultsCount"])
        return reply

    bars = Polygon(small_pages, CALENDAR).aggregates("SPY", Span.MINUTE, DAY, DAY).bars  # type: ignore[arg-type]
    assert bars.t.tolist() == [row["t"] for row in whole]
    assert len(pages) == -(-len(whole) // 50)
    assert max(pages) == 50


@pytest.mark.parametrize(
    "path", ["/v2/aggs/ticker/SPY/range/7/minute/2025-03-11/2025-03-11", "/v2/aggs/ticker/SPY/range/1/day/x/y"]
)
def test_bad_requests_get_polygons_kind_of_answer(clock: FakeClock, path: str) -> None:
    reply = Wire(demo_feed(), CALENDAR, clock)(path, {})
    assert reply.status == 400
    assert reply.body["status"] == "ERROR"
