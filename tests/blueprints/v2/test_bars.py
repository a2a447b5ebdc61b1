"""The bars of v2: those that were known, in the spans of a chart; what is said where there are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest
from flask import Flask

from app.errors import Upstream
from app.market.bars import Bars, Span, from_ms, to_ms
from app.market.calendar import midnight_ms
from app.market.recorded import RecordedBars
from tests.blueprints.v2.calls import ask, call
from tests.support import FakeClock, ScriptedMarket, demo_feed, dropping, new_york

Serve = Callable[..., Flask]
MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30}


def starts(answer: dict[str, Any]) -> list[str]:
    return [bar["start"][11:16] for bar in answer["bars"]]


def rows(bars: Bars) -> list[tuple[float, ...]]:
    columns = [[round(price, 2) for price in column.tolist()] for column in (bars.o, bars.h, bars.l, bars.c)]
    return list(zip(*columns, bars.v.tolist(), strict=True))


def shown(answer: dict[str, Any]) -> list[tuple[float, ...]]:
    return [tuple(bar[name] for name in ("open", "high", "low", "close", "volume")) for bar in answer["bars"]]


def of_feed(day: str, first: str, end: str) -> Bars:
    edges = (to_ms(new_york(f"{day} {time}")) for time in (first, end))
    return demo_feed().bars("SPY", Span.MINUTE, *edges)


def test_todays_bars_are_the_regular_ones_that_have_ended(serve: Serve, clock: FakeClock) -> None:
    clock.forward(seconds=40)
    answer = ask(serve(), "/bars/SPY")
    assert (answer["span"], answer["first_day"], answer["last_day"]) == ("1m", "2025-03-11", "2025-03-11")
    assert shown(answer) == rows(of_feed("2025-03-11", "09:30", "11:30"))
    assert (starts(answer)[0], starts(answer)[-1]) == ("09:30", "11:29")
    assert (answer["as_of"], answer["age_seconds"]) == ("2025-03-11T11:30:00-04:00", 40)
    assert (answer["freshness"], answer["source"], answer["reason"]) == ("live", "polygon", None)
    assert (answer["session"]["close"], answer["missing_bars"]) == ("2025-03-11T16:00:00-04:00", 0)
    day = demo_feed().bars("SPY", Span.DAY, midnight_ms(date(2025, 3, 11)), midnight_ms(date(2025, 3, 12)))
    assert (answer["session_open"], answer["session_open_source"]) == (round(float(day.o[0]), 2), "daily")


def test_bars_outside_the_session_are_asked_for_and_marked(standing: Flask) -> None:
    answer = ask(standing, "/bars/SPY?extended=true")
    early = [bar for bar in answer["bars"] if not bar["regular"]]
    assert early
    assert max(bar["end"] for bar in early) <= "2025-03-11T09:30:00-04:00"
    assert [bar for bar in answer["bars"] if bar["regular"]] == ask(standing, "/bars/SPY")["bars"]


@pytest.mark.parametrize("span", ["5m", "15m", "30m"])
def test_longer_bars_are_made_of_whole_ones_alone(serve: Serve, clock: FakeClock, span: str) -> None:
    """Each is what its minutes come to, and the last of them has arrived."""
    app = serve()
    for now in ("10:00:20", "11:29:59", "11:30:02", "11:31:10", "15:59:50", "16:30:00"):
        clock.set(f"2025-03-11 {now}")
        agree(ask(app, f"/bars/SPY?span={span}"), ask(app, "/bars/SPY")["bars"], span)


def agree(answer: dict[str, Any], minutes: list[dict[str, Any]], span: str) -> None:
    for bar in answer["bars"]:
        parts = [minute for minute in minutes if bar["start"] <= minute["start"] < bar["end"]]
        assert (bar["open"], bar["close"]) == (parts[0]["open"], parts[-1]["close"])
        assert (bar["high"], bar["low"]) == (max(p["high"] for p in parts), min(p["low"] for p in parts))
        assert bar["volume"] == pytest.approx(sum(p["volume"] for p in parts))
        length = datetime.fromisoformat(bar["end"]) - datetime.fromisoformat(bar["start"])
        assert length.total_seconds() == MINUTES[span] * 60
    newest = minutes[-1]["end"]
    whole = [minute["end"] for minute in minutes if int(minute["end"][14:16]) % MINUTES[span] == 0]
    assert answer["as_of"] == max(end for end in whole if end <= newest)


def test_no_bar_is_shown_before_it_has_ended(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 13:59:01")
    app = serve()
    for _ in range(12):
        for query in ("span=1m&extended=true", "span=5m", "span=30m", "span=1d"):
            newest = ask(app, f"/bars/SPY?{query}")["bars"][-1]
            assert datetime.fromisoformat(newest["end"]) <= clock()
        clock.forward(seconds=7)


def test_a_past_day_costs_what_its_replay_costs_and_only_once(serve: Serve, market: ScriptedMarket) -> None:
    app = serve()
    answer = ask(app, "/bars/SPY?day=2025-03-05")
    assert (len(answer["bars"]), answer["freshness"]) == (390, "historical")
    assert shown(answer) == rows(of_feed("2025-03-05", "09:30", "16:00"))
    once = len(market.calls)
    for span in ("1m", "5m", "30m"):
        ask(app, f"/bars/SPY?day=2025-03-05&span={span}&extended=true")
    ask(app, "/replay/SPY?at=2025-03-05T12:00:00-05:00")
    assert len(market.calls) == once


def test_on_a_day_without_trading_the_last_session_is_shown(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-15 12:00")
    answer = ask(serve(), "/bars/SPY?span=30m")
    assert (answer["first_day"], len(answer["bars"]), answer["freshness"]) == ("2025-03-14", 13, "historical")


def test_an_early_close_ends_the_regular_bars(standing: Flask) -> None:
    answer = ask(standing, "/bars/SPY?day=2024-11-29&span=30m")
    assert (len(answer["bars"]), answer["as_of"], answer["session"]["early_close"]) == (
        7,
        answer["as_of"],
        True,
    )
    assert answer["bars"][-1]["end"] == "2024-11-29T13:00:00-05:00"


def test_daily_bars_end_with_the_last_complete_one(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    answer = ask(app, "/bars/SPY?span=1d")
    assert (len(answer["bars"]), answer["last_day"], answer["age_seconds"]) == (60, "2025-03-10", 19.5 * 3600)
    assert answer["bars"][-1]["end"] == answer["as_of"] == "2025-03-10T16:00:00-04:00"
    assert answer["bars"][0]["start"].startswith(answer["first_day"])
    assert (answer["session"], answer["session_open"], answer["freshness"]) == (None, None, "historical")
    past = ask(app, "/bars/SPY?span=1d&day=2025-03-05&days=3")
    assert [bar["start"][:10] for bar in past["bars"]] == ["2025-03-03", "2025-03-04", "2025-03-05"]
    assert past["bars"] == answer["bars"][-6:-3]
    clock.set("2025-03-11 16:20")
    today = ask(app, "/bars/SPY?span=1d&days=1")
    assert (today["bars"][0]["end"], today["last_day"]) == ("2025-03-11T16:00:00-04:00", "2025-03-11")
    assert today["freshness"] == "closed"


def test_daily_bars_that_lack_the_newest_day_are_stale(serve: Serve, market: ScriptedMarket) -> None:
    market.edit = dropping("/day/", lambda row: row["t"] == to_ms(new_york("2025-03-10 00:00")))
    answer = ask(serve(), "/bars/SPY?span=1d")
    assert (answer["last_day"], answer["freshness"]) == ("2025-03-07", "stale")


def test_daily_bars_of_long_ago_are_those_of_then(serve: Serve, market: ScriptedMarket) -> None:
    app = serve()
    answer = ask(app, "/bars/SPY?span=1d&day=2023-03-10&days=5")
    assert [bar["start"][:10] for bar in answer["bars"]] == [f"2023-03-{day:02d}" for day in (6, 7, 8, 9, 10)]
    once = len(market.calls)
    ask(app, "/bars/SPY?span=1d&day=2023-03-10&days=20")
    assert len(market.calls) == once


@pytest.mark.parametrize(
    ("query", "pointer", "said"),
    [
        ("day=2025-03-12", "/day", "Lies ahead: in this market it is 2025-03-11."),
        ("day=tomorrow", "/day", "Must be a day of the calendar, YYYY-MM-DD."),
        ("span=1min", "/span", "Must be '1m', '5m', '15m', '30m' or '1d'."),
        ("span=1M", "/span", "Must be '1m', '5m', '15m', '30m' or '1d'."),
        ("days=5", "/days", "Is for the span 1d alone."),
        ("span=1d&days=0", "/days", "Must be 1 or more."),
        ("span=1d&days=251", "/days", "Must be 250 or less."),
        ("span=1d&days=5.0", "/days", "Must be a whole number."),
        ("span=1d&extended=true", "/extended", "Is for no daily bars."),
        ("extended=1", "/extended", "Must be true or false."),
    ],
)
def test_a_wrong_query_is_refused_with_its_place(standing: Flask, query: str, pointer: str, said: str) -> None:
    response = call(standing, f"/bars/SPY?{query}")
    assert response.status_code == 400
    (fault,) = response.get_json()["errors"]
    assert fault["pointer"] == pointer
    assert said in fault["detail"]


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2025-03-09", "that is no trading day (Sunday)"),
        ("2025-01-09", "that is no trading day"),
        ("1994-01-04", "it began to trade on"),
    ],
)
def test_a_day_that_has_no_bars_is_not_found_and_says_why(standing: Flask, day: str, said: str) -> None:
    response = call(standing, f"/bars/QQQ?day={day}")
    assert (response.status_code, response.get_json()["error_code"]) == (404, "NO_MARKET_DATA")
    assert said in response.get_json()["detail"]


def test_a_trading_day_without_bars_is_no_quiet_market(serve: Serve, market: ScriptedMarket) -> None:
    market.edit = dropping("/minute/2025-03-05", lambda row: True)
    response = call(serve(), "/bars/SPY?day=2025-03-05")
    assert (response.status_code, response.get_json()["error_code"]) == (404, "NO_MARKET_DATA")


@pytest.mark.parametrize("now", ["2024-06-12 12:00", "2024-06-14 12:00"])
def test_a_day_with_longer_bars_alone_has_no_one_minute_bars_and_says_so(
    serve_recorded: Serve, clock: FakeClock, now: str
) -> None:
    clock.set(now)
    app = serve_recorded()
    minutes = ask(app, "/bars/QQQ?day=2024-06-12")
    assert minutes["bars"] == []
    assert "no one-minute bars of QQQ for 2024-06-12, but longer ones (span=5m)" in minutes["reason"]
    longer = ask(app, "/bars/QQQ?day=2024-06-12&span=5m")
    assert longer["bars"]
    assert minutes["session"] == longer["session"]


def test_a_provider_that_fails_is_no_quiet_market(serve: Serve, market: ScriptedMarket) -> None:
    def broken(path: str) -> None:
        raise Upstream("the provider did not answer in time")

    market.fault = broken
    for query in ("", "?day=2025-03-05", "?span=1d"):
        assert call(serve(), f"/bars/SPY{query}").status_code == 503


@pytest.mark.parametrize(("now", "extended"), [("03:59", "true"), ("09:30", "false"), ("08:00", "false")])
def test_before_the_first_bar_the_answer_says_that_there_is_none(
    serve: Serve, clock: FakeClock, now: str, extended: str
) -> None:
    clock.set(f"2025-03-11 {now}")
    answer = ask(serve(), f"/bars/SPY?extended={extended}")
    assert answer["bars"] == []
    assert answer["reason"].endswith("of 2025-03-11 has ended yet, or none has come yet.")
    assert answer["session"]["open"] == "2025-03-11T09:30:00-04:00"


def test_bars_are_kept_until_the_next_one_can_come(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    ask(app, "/bars/SPY")
    first = call(app, "/bars/SPY")
    assert call(app, "/bars/SPY", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    clock.forward(seconds=70)
    later = call(app, "/bars/SPY", headers={"If-None-Match": first.headers["ETag"]})
    assert (later.status_code, starts(later.get_json())[-1]) == (200, "11:30")


def test_recorded_bars_are_answered_as_they_are(
    serve_recorded: Serve, recorded: RecordedBars, clock: FakeClock
) -> None:
    clock.set("2024-06-14 12:00")
    app = serve_recorded()
    for day in ("2024-06-12", "2024-06-13"):
        first, end = (to_ms(new_york(f"{day} {time}")) for time in ("09:30", "16:00"))
        answer = ask(app, f"/bars/QQQ?day={day}&span=5m")
        bars = recorded.bars("QQQ", Span.FIVE_MINUTES, first, end)
        assert shown(answer) == rows(bars)
        assert [to_ms(datetime.fromisoformat(bar["start"])) for bar in answer["bars"]] == bars.t.tolist()
    daily = ask(app, "/bars/QQQ?span=1d&days=3")
    wanted = recorded.all_bars("QQQ", Span.DAY).until(clock())
    assert shown(daily) == rows(wanted[len(wanted) - 3 :])
    assert [bar["end"] for bar in daily["bars"]] == [
        from_ms(end).astimezone(clock().tzinfo).isoformat() for end in wanted.end[-3:].tolist()
    ]
