"""Price, change and number of bars beside an answer: one rule for every door, whoever asked before and however fetches race."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.errors import Unavailable
from app.factory import Core, build, create_app
from app.market.bars import Span
from app.market.calendar import ny_day
from app.market.market_data import MarketData
from app.market.polygon import Reply
from app.market.shared_fetches import SharedFetches
from tests.support import FakeClock, ScriptedMarket, dropping, new_york, settings

Serve = Callable[..., Flask]
SERIES = (Span.DAY, Span.FIVE_MINUTES, Span.MINUTE)
SUBSETS = list(chain.from_iterable(combinations(SERIES, n) for n in range(len(SERIES) + 1)))
FIVE_MINUTES_ONLY = "2024-06-12"
BOTH_SPANS = "2026-03-17"


def ask(app: Flask, path: str) -> dict[str, Any]:
    answer = app.test_client().get(path)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = json.loads(answer.text)
    return body


def entry_of(app: Flask, path: str, ticker: str = "SPY") -> dict[str, Any]:
    entry: dict[str, Any] = ask(app, path)["tickers"][ticker]
    return entry


# The change of today


@pytest.mark.parametrize("at", ["09:30:00", "09:30:59", "09:31:04"])
def test_there_is_no_change_before_a_bar_of_the_day_has_ended(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, at: str
) -> None:
    opens = new_york("2025-03-11 09:30").timestamp() * 1000
    market.edit = dropping("/minute/2025-03-11", lambda row: row["t"] < opens)
    clock.set(f"2025-03-11 {at}")
    app = serve()
    assert entry_of(app, "/trading_directions")["today_change_pct"] is None
    assert entry_of(app, f"/replay?date=2025-03-11&time={at[:5]}").get("today_change_pct") is None
    clock.set("2025-03-12 09:00")
    assert entry_of(app, "/replay?date=2025-03-11&time=09:30")["today_change_pct"] is None
    assert entry_of(app, "/replay?date=2025-03-11&time=09:31")["today_change_pct"] is not None


def test_with_five_minute_bars_only_there_is_none_before_five_minutes_are_over(
    serve_recorded: Serve, clock: FakeClock
) -> None:
    app = serve_recorded()
    clock.set("2024-06-13 09:00")
    changes = {
        minute: entry_of(app, f"/replay?date={FIVE_MINUTES_ONLY}&time=09:{minute}")["today_change_pct"]
        for minute in (30, 31, 34, 35)
    }
    assert [changes[minute] for minute in (30, 31, 34)] == [None, None, None]
    assert changes[35] is not None
    clock.set(f"{FIVE_MINUTES_ONLY} 09:34")
    assert entry_of(serve_recorded(), "/trading_directions")["today_change_pct"] is None


# The number of bars


@pytest.mark.parametrize("time", ["09:55", "10:30", "14:35", "15:59"])
def test_a_day_with_five_minute_bars_only_counts_the_bars_that_live_counts(
    serve_recorded: Serve, clock: FakeClock, time: str
) -> None:
    app = serve_recorded()
    clock.set(f"{FIVE_MINUTES_ONLY} {time}")
    live = entry_of(app, "/trading_directions")["bars_analyzed"]
    clock.set("2024-06-13 09:00")
    assert live > 0
    assert entry_of(app, f"/replay?date={FIVE_MINUTES_ONLY}&time={time}")["bars_analyzed"] == live


def test_a_signal_counts_the_bars_up_to_its_hour_and_an_analysis_the_minutes_up_to_its_moment(
    serve_recorded: Serve, clock: FakeClock
) -> None:
    """Signals of recorded bars read those of five minutes (ruling M6)."""
    clock.set(f"{BOTH_SPANS} 13:20")
    app = serve_recorded()
    assert entry_of(app, "/trading_directions")["bars_analyzed"] == 3.5 * 60 / 5
    minutes = entry_of(app, "/rpe")["bars_analyzed"]
    assert minutes == pytest.approx(3 * 60 + 50, abs=5), "all but quiet ones"
    assert entry_of(app, "/northstar")["bars_analyzed"] == minutes
    assert entry_of(app, f"/replay?date={BOTH_SPANS}&time=13:20")["bars_analyzed"] == minutes


# The closing price


@pytest.mark.parametrize("day", [FIVE_MINUTES_ONLY, BOTH_SPANS])
def test_when_closed_every_door_shows_one_closing_price(serve_recorded: Serve, clock: FakeClock, day: str) -> None:
    app = serve_recorded()
    clock.set(f"{day} 15:58")
    ask(app, "/trading_directions")
    clock.set(f"{day} 16:20")
    for ticker in ("SPY", "QQQ", "IWM"):
        mtf = entry_of(app, "/mtf", ticker)
        replay = entry_of(app, f"/replay?date={day}&time=16:20", ticker)
        directions = entry_of(app, "/trading_directions", ticker)
        prices = {mtf["current_price"], replay["current_price"], directions["current_price"]}
        assert len(prices) == 1, (ticker, prices)
        assert directions["today_change_pct"] == replay["today_change_pct"]


def test_a_quiet_session_closes_at_its_last_regular_price_at_every_door(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    """Fewer than thirty regular minutes: after-hours trades are no closing price."""
    first, last = (new_york(f"2025-03-11 {at}").timestamp() * 1000 for at in ("09:45", "16:00"))
    market.edit = dropping("/minute/", lambda row: first <= row["t"] < last)
    clock.set("2025-03-11 18:00")
    app = serve()
    mtf = entry_of(app, "/mtf")["current_price"]
    assert mtf == entry_of(app, "/trading_directions")["current_price"]
    assert mtf == entry_of(app, "/replay?date=2025-03-11&time=09:45")["current_price"]


# However fetches race


@pytest.fixture
def fresh(
    monkeypatch: pytest.MonkeyPatch, recorded_dir: Path, tmp_path: Path, clock: FakeClock, market: ScriptedMarket
) -> Callable[[str, int], tuple[Flask, Core]]:
    """A server that has just started on a market, of which nothing is fetched before it is read."""
    made: list[Core] = []

    def keeping(*args: Any, **kwargs: Any) -> Core:
        made.append(build(*args, **kwargs))
        return made[-1]

    def begin(kind: str, number: int) -> tuple[Flask, Core]:
        monkeypatch.setattr("app.factory.build", keeping)
        monkeypatch.setattr(SharedFetches, "start", lambda self, ticker, spans, day: None)
        for record in recorded_dir.glob("recorded-*/record.sqlite3*"):
            record.unlink(missing_ok=True)  # one that its server, which is gone, has removed meanwhile
        if kind == "recorded":
            return create_app(settings(market=kind, data_dir=recorded_dir), clock=clock), made[-1]
        values = settings(market=kind, polygon_api_key="k", data_dir=tmp_path / str(number))
        return create_app(values, clock=clock, transport=market), made[-1]

    return begin


def bring(source: MarketData, span: Span, ticker: str, at: Any) -> None:
    """One fetch lands."""
    if span is Span.DAY:
        source.daily(ticker, ny_day(at))
    elif span is source.plan.signal_span:
        source.intraday(ticker, at)
    elif span is Span.MINUTE:
        source.minutes(ticker, at)


@pytest.mark.parametrize(
    ("kind", "day", "path"),
    [
        ("recorded", FIVE_MINUTES_ONLY, "/mtf"),
        ("recorded", BOTH_SPANS, "/northstar"),
        ("polygon", "2025-03-11", "/mtf"),
        pytest.param("recorded", FIVE_MINUTES_ONLY, "/northstar", marks=pytest.mark.soak),
        pytest.param("recorded", BOTH_SPANS, "/mtf", marks=pytest.mark.soak),
        pytest.param("polygon", "2025-03-11", "/northstar", marks=pytest.mark.soak),
    ],
)
def test_a_fresh_server_gives_one_answer_whichever_fetches_land_before_it_reads(
    fresh: Callable[[str, int], tuple[Flask, Core]], clock: FakeClock, kind: str, day: str, path: str
) -> None:
    """Every subset of the day's series is there when the answer is begun; the others land when they are read."""
    clock.set(f"{day} 16:03")
    answers = []
    for number, landed in enumerate(SUBSETS):
        app, core = fresh(kind, number)
        for span in landed:
            bring(core.source, span, "SPY", clock())
        answers.append(ask(app, f"{path}?tickers=SPY"))
        core.close()
    for answer in answers:
        assert answer == answers[0]
    entry = answers[0]["tickers"]["SPY"]
    if path == "/mtf":
        assert entry["intraday"] is None or entry["intraday"]["price_11am"] is not None
        assert entry["current_price"] is not None


@pytest.mark.parametrize("day", [FIVE_MINUTES_ONLY, BOTH_SPANS])
def test_a_fresh_servers_replay_after_the_close_does_not_depend_on_who_asked_before(
    fresh: Callable[[str, int], tuple[Flask, Core]], clock: FakeClock, day: str
) -> None:
    clock.set(f"{day} 18:03")
    answers = []
    for number, landed in enumerate(SUBSETS):
        app, core = fresh("recorded", number)
        for span in landed:
            bring(core.source, span, "SPY", clock())
        answers.append(entry_of(app, f"/replay?date={day}&time=16:30&ticker=SPY"))
        core.close()
    for answer in answers:
        assert answer == answers[0]
    assert answers[0]["price_11am"] is not None
    assert answers[0]["today_open"] is not None


# A fetch that fails


@pytest.mark.parametrize("at", ["18:00:00", "21:00:00"])
def test_with_the_market_closed_a_failing_fetch_is_stale_too(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, at: str
) -> None:
    clock.set(f"2025-03-11 {at}")
    market.fault = lambda path: Reply(500, None) if "/minute/" in path else None
    body = ask(serve(), "/swing")
    assert body["data_status"]["stale"] is True


def test_a_ticker_without_minutes_keeps_its_price_while_its_bars_are_not_old(
    serve_recorded: Serve, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one-minute bars cannot be read; the five-minute bar of 13:35 is the newest that is due."""
    clock.set(f"{FIVE_MINUTES_ONLY} 13:36")
    app = serve_recorded()
    before = entry_of(app, "/trading_directions")["current_price"]
    assert before is not None

    def broken(*args: object) -> Any:
        raise Unavailable("the bars cannot be read", part="data", code="INSUFFICIENT_DATA")

    monkeypatch.setattr("app.market.pinned.PinnedBars.bars", broken)
    clock.set(f"{FIVE_MINUTES_ONLY} 13:37:30")
    assert entry_of(app, "/trading_directions")["current_price"] == before
