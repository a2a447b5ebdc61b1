"""`/trading_directions` while the market is closed, and at the edges of hours, sessions and time zones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blueprints.trading_directions.checking import Serve, ask, gated
from tests.support import FakeClock, ScriptedMarket, models_saying


@pytest.mark.parametrize(
    "at",
    [
        "2025-03-11 03:00",
        "2025-03-11 09:29:59.999",
        "2025-03-11 16:00",
        "2025-03-08 12:00",
        "2025-03-09 12:00",
        "2025-01-09 12:00",
        "2024-11-28 12:00",
        "2024-11-29 13:00",
    ],
)
def test_closed_answers_in_full_without_asking_the_provider(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, at: str
) -> None:
    clock.set(at)
    body = ask(serve())
    assert (body["market_open"], body["action"], body["best_ticker"]) == (False, "NO_TRADE", None)
    assert "9:30 AM to 4:00 PM ET" in body["reason"]
    assert body["summary"]["actionable_tickers"] == []
    assert body["summary"]["best_opportunity"] is None
    gated(body, "MARKET_CLOSED", fault=False)
    assert market.calls == []


def test_after_the_close_the_last_price_is_shown_without_a_new_call(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    clock.set("2025-03-11 15:59:30")
    ask(app)
    calls = len(market.calls)
    clock.set("2025-03-11 16:30")
    entry = ask(app)["tickers"]["SPY"]
    assert entry["current_price"] is not None
    assert entry["today_open"] is not None
    assert len(market.calls) == calls


def test_closed_one_ticker_mirrors_too(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    assert ask(serve(), "?ticker=IWM")["reason"].startswith("Market closed")


@pytest.mark.parametrize(
    ("at", "session", "hour"),
    [
        ("2025-03-11 10:59:59", "early", "10:00"),
        ("2025-03-11 10:59:59.999", "early", "10:00"),
        ("2025-03-11 11:00:05", "late", "11:00"),
        ("2025-03-10 10:59:59", "early", "10:00"),
        ("2025-03-10 11:00:05", "late", "11:00"),
        ("2024-11-04 11:00:05", "late", "11:00"),
        ("2024-11-29 12:30", "late", "12:00"),
    ],
)
def test_session_and_decision_hour_at_the_edges(
    serve: Serve, clock: FakeClock, at: str, session: str, hour: str
) -> None:
    clock.set(at)
    entry = ask(serve())["tickers"]["SPY"]
    assert entry["session"] == session
    assert entry["active_target"] == {"early": "A", "late": "B"}[session]
    assert f"T{hour}:00" in entry["locked_at"]
    assert (entry["price_11am"] is None) == (session == "early")
    assert (entry["probability_b"] == 0.5) == (session == "early")


def test_early_and_late_on_recorded_bars_change_at_eleven_sharp(serve_recorded: Serve, clock: FakeClock) -> None:
    app = serve_recorded()
    clock.set("2024-06-12 10:59:59.999")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2024-06-12T10:00:00-04:00"
    clock.set("2024-06-12 11:00:00")
    entry = ask(app)["tickers"]["SPY"]
    assert (entry["session"], entry["locked_at"]) == ("late", "2024-06-12T11:00:00-04:00")
    assert entry["reason"].startswith("RECORDED: ")


def test_an_early_close_locks_until_one(serve: Serve, clock: FakeClock, tmp_path: Path) -> None:
    clock.set("2024-11-29 12:55")
    body = ask(serve(models_dir=models_saying(tmp_path / "m", 0.9)))
    entry = body["tickers"]["SPY"]
    assert entry["lock_expires_at"] == "2024-11-29T13:00:00-05:00"
    assert entry["exit"]["time_limit"] == "2024-11-29T12:50:00-05:00"
    assert "time stop" in entry["reason"], "it has passed, and the locked action stays"
    assert entry["action"] == "LONG"


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the zone of the machine, until the test ends."""

    def to(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield to
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles", "UTC"])
def test_a_machine_in_another_time_zone_says_the_same(
    serve: Serve, clock: FakeClock, set_zone: Callable[[str], None], zone: str, tmp_path: Path
) -> None:
    set_zone("America/New_York")
    expected = ask(serve(data_dir=tmp_path / "one"))
    set_zone(zone)
    body = ask(serve(data_dir=tmp_path / "two"))
    assert body["current_time_et"] == "11:30 AM ET"
    assert body["generated_at"] == "2025-03-11T11:30:00-04:00"
    assert body["tickers"]["SPY"] == expected["tickers"]["SPY"]


@pytest.mark.parametrize(("at", "text"), [("2025-03-11 14:05", "02:05 PM ET"), ("2025-03-11 00:05", "12:05 AM ET")])
def test_time_of_day_is_twelve_hours_zero_padded(serve: Serve, clock: FakeClock, at: str, text: str) -> None:
    clock.set(at)
    assert ask(serve())["current_time_et"] == text


@pytest.mark.parametrize(
    ("at", "multiplier"),
    [("2025-03-11 13:59", 1.2), ("2025-03-11 15:30", 0.8), ("2025-03-11 09:45", 0.7), ("2025-03-11 18:00", 0.5)],
)
def test_time_multiplier_is_that_of_the_hour(serve: Serve, clock: FakeClock, at: str, multiplier: float) -> None:
    clock.set(at)
    assert ask(serve())["time_multiplier"] == multiplier
