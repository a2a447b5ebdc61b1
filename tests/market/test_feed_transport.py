"""The simulated provider answers like the real one, and never from the future."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from app.market.bars import Span, to_ms
from app.market.calendar import midnight_ms
from app.market.feed_transport import FeedTransport
from app.market.polygon import Polygon
from tests.support import CALENDAR, FakeClock, demo_feed, new_york

DAY = date(2025, 3, 11)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(new_york("2025-03-11 11:30"))


@pytest.fixture
def polygon(clock: FakeClock) -> Polygon:
    return Polygon(FeedTransport(demo_feed(), CALENDAR, clock), CALENDAR)


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
    transport = FeedTransport(demo_feed(), CALENDAR, clock)
    path = f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}"
    whole = transport(path, {"limit": "50000"}).body["results"]
    pages = []

    def small_pages(asked: str, params: object) -> object:
        reply = transport(asked, {"limit": "50"})
        pages.append(reply.body["resultsCount"])
        return reply

    bars = Polygon(small_pages, CALENDAR).aggregates("SPY", Span.MINUTE, DAY, DAY).bars  # type: ignore[arg-type]
    assert bars.t.tolist() == [row["t"] for row in whole]
    assert len(pages) == -(-len(whole) // 50)
    assert max(pages) == 50


@pytest.mark.parametrize(
    "path",
    [
        "/v2/aggs/ticker/SPY/range/7/minute/2025-03-11/2025-03-11",
        "/v2/aggs/ticker/SPY/range/1/day/x/y",
        "/v2/aggs/ticker/SPY/range/1/minute/99999999999999999/2025-03-11",
    ],
)
def test_bad_requests_get_polygons_kind_of_answer(clock: FakeClock, path: str) -> None:
    reply = FeedTransport(demo_feed(), CALENDAR, clock)(path, {})
    assert reply.status == 400
    assert reply.body["status"] == "ERROR"


def test_a_limit_that_is_no_number_is_a_bad_request(clock: FakeClock) -> None:
    path = f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}"
    assert FeedTransport(demo_feed(), CALENDAR, clock)(path, {"limit": "many"}).status == 400


def test_from_may_be_a_moment_and_to_a_day(polygon: Polygon, clock: FakeClock) -> None:
    first = to_ms(new_york("2025-03-11 11:00"))
    bars = polygon.aggregates("SPY", Span.MINUTE, first, DAY).bars
    assert bars.t[0] == first
    assert bars.end[-1] == to_ms(clock.at)
    assert len(bars) == 30


def test_late_bars_do_not_make_the_clock_late(clock: FakeClock) -> None:
    transport = FeedTransport(demo_feed(), CALENDAR, clock, timedelta(minutes=15))
    late = Polygon(transport, CALENDAR)
    assert late.aggregates("SPY", Span.MINUTE, DAY, DAY).bars.end[-1] == to_ms(new_york("2025-03-11 11:15"))
    assert datetime.fromisoformat(transport("/v1/marketstatus/now", {}).body["serverTime"]) == clock.at


@pytest.mark.parametrize(
    ("moment", "market", "early", "late"),
    [
        ("2025-03-11 03:59:59", "closed", False, False),
        ("2025-03-11 04:00", "extended-hours", True, False),
        ("2025-03-11 09:30", "open", False, False),
        ("2025-03-11 16:00", "extended-hours", False, True),
        ("2025-03-11 20:00", "closed", False, False),
        ("2024-11-29 13:00", "extended-hours", False, True),
        ("2025-03-15 11:00", "closed", False, False),
    ],
)
def test_the_market_status_is_that_of_the_clock(
    clock: FakeClock, moment: str, market: str, early: bool, late: bool
) -> None:
    clock.set(moment)
    body = FeedTransport(demo_feed(), CALENDAR, clock)("/v1/marketstatus/now", {}).body
    assert body["market"] == body["exchanges"]["nyse"] == body["exchanges"]["nasdaq"] == market
    assert (body["earlyHours"], body["afterHours"]) == (early, late)
    assert datetime.fromisoformat(body["serverTime"]) == clock.at
    assert body["serverTime"][-6:] in ("-04:00", "-05:00")


def announced(clock: FakeClock) -> Any:
    return FeedTransport(demo_feed(), CALENDAR, clock)("/v1/marketstatus/upcoming", {}).body


def test_holidays_and_early_closes_are_announced_once_per_exchange(clock: FakeClock) -> None:
    clock.set("2024-11-26 10:00")
    rows = announced(clock)
    assert [(row["date"], row["exchange"], row["status"]) for row in rows[:4]] == [
        ("2024-11-28", "NYSE", "closed"),
        ("2024-11-28", "NASDAQ", "closed"),
        ("2024-11-29", "NYSE", "early-close"),
        ("2024-11-29", "NASDAQ", "early-close"),
    ]
    assert "open" not in rows[0]
    assert (rows[2]["open"], rows[2]["close"]) == ("2024-11-29T14:30:00.000Z", "2024-11-29T18:00:00.000Z")


def test_what_is_announced_is_what_the_calendar_has_for_a_year(clock: FakeClock) -> None:
    said = {row["date"] for row in announced(clock)}
    weekdays = [day for day in (DAY + timedelta(days=n) for n in range(365)) if day.weekday() < 5]
    sessions = {day: CALENDAR.session(day) for day in weekdays}
    assert said == {day.isoformat() for day, session in sessions.items() if session is None or session.is_short}
