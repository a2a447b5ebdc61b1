"""Locked signals in `/trading_directions`: one answer for an hour, whoever asks and whatever changes."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

from app.factory import create_app
from app.market.polygon import Reply
from tests.blueprints.trading_directions.checking import ENTRY, Body, Serve, ask, gated
from tests.support import FakeClock, ScriptedMarket, new_york, settings

LOCKED_FIELDS = sorted(set(ENTRY) - {"current_price", "today_change_pct", "reason"})


def locked_part(entry: Body) -> Body:
    return {name: entry[name] for name in LOCKED_FIELDS}


def test_five_moments_two_servers_one_data_dir_any_order_one_answer(recorded_dir: Path, clock: FakeClock) -> None:
    dice = random.Random(7)
    apps = [create_app(settings(market="recorded", data_dir=recorded_dir), clock=clock) for _ in range(2)]
    for day in ("2024-06-12", "2025-11-05", "2022-10-13"):
        for hour in (10, 12, 15):
            moments = [new_york(f"{day} {hour}:{m}") for m in ("00:00", "00:01", "17:31", "42:00", "59:59.999")]
            dice.shuffle(moments)
            answers = []
            for at in moments:
                clock.at = at
                tickers = ask(dice.choice(apps))["tickers"]
                answers.append({ticker: locked_part(entry) for ticker, entry in tickers.items()})
            assert all(entry["locked"] for entry in answers[0].values())
            assert all(answer == answers[0] for answer in answers), (day, hour)


def test_a_provider_that_revises_its_bars_never_changes_a_locked_signal(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    said = locked_part(ask(serve())["tickers"]["SPY"])

    def revise(path: str, body: Body) -> Body:
        return {**body, "results": [{**r, "c": r["h"]} for r in body.get("results", [])]}

    market.edit = revise
    clock.forward(minutes=20)
    assert locked_part(ask(serve())["tickers"]["SPY"]) == said


def test_a_lost_record_gives_the_same_signal_again(serve: Serve, tmp_path: Path) -> None:
    app = serve()
    said = ask(app)["tickers"]["SPY"]
    app.extensions["predict-server"].close()
    for file in (tmp_path / "polygon").iterdir():
        file.unlink()
    assert ask(serve())["tickers"]["SPY"] == said


def test_a_provider_that_dies_within_the_hour_leaves_the_lock_standing(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    said = ask(app)["tickers"]["SPY"]
    market.fault = lambda path: Reply(500, None)
    clock.set("2025-03-11 11:40")
    later = ask(app)
    assert locked_part(later["tickers"]["SPY"]) == locked_part(said)
    assert later["data_status"]["stale"]
    assert "stale" in later["tickers"]["SPY"]["reason"]
    clock.set("2025-03-11 11:59")
    last = ask(app)["tickers"]["SPY"]
    assert locked_part(last) == locked_part(said)
    assert last["current_price"] is None, "a price older than 15 minutes is not shown as the current one"
    assert "stale, from 11:29 AM ET" in last["reason"]
    assert "error" not in last


def test_the_hour_before_stands_until_two_minutes_past_and_then_the_fault_shows(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    said = ask(app)["tickers"]["SPY"]
    market.fault = lambda path: Reply(500, None)
    clock.set("2025-03-11 12:01:59")
    entry = ask(app)["tickers"]["SPY"]
    assert locked_part(entry) == locked_part(said)
    assert "12:00 is not ready" in entry["reason"]
    assert ask(app)["data_status"]["delayed"]
    clock.set("2025-03-11 12:02")
    gated(ask(app), "DATA_FETCH_ERROR", fault=True)
    market.fault = lambda path: None
    clock.set("2025-03-11 12:03:30")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2025-03-11T12:00:00-04:00"


def test_before_the_last_bars_of_the_hour_are_final_the_hour_before_stands(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    clock.set("2025-03-11 12:00:04")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2025-03-11T11:00:00-04:00"
    clock.set("2025-03-11 12:00:05")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2025-03-11T12:00:00-04:00"


def test_a_bar_that_becomes_final_while_the_signal_is_made_is_not_missed(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    """The clock passes the moment of completeness in the middle of the request."""

    def tick(path: str) -> Reply | None:
        if "/minute/" in path:
            clock.forward(seconds=0.4)
        return None

    clock.set("2025-03-11 12:00:04.800")
    market.fault = tick
    app = serve(data_dir=tmp_path / "1")
    ask(app)
    market.fault = lambda path: None
    clock.set("2025-03-11 12:05")
    raced = ask(app)["tickers"]["SPY"]
    assert locked_part(raced) == locked_part(ask(serve(data_dir=tmp_path / "2"))["tickers"]["SPY"])


def test_at_ten_sharp_the_first_signal_waits_for_its_bars(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    clock.set("2025-03-11 10:00:04")
    gated(ask(app), "INSUFFICIENT_DATA", fault=False)
    clock.set("2025-03-11 10:00:05")
    assert ask(app)["tickers"]["SPY"]["locked"]


def test_a_delayed_plan_serves_the_hour_when_its_bars_are_there_and_says_so(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    market.delay = timedelta(minutes=15)
    app = serve(polygon_delay_minutes=15)
    clock.set("2025-03-11 12:14")
    early = ask(app)
    assert early["data_status"]["delayed"]
    assert early["tickers"]["SPY"]["locked_at"] == "2025-03-11T11:00:00-04:00"
    assert "15 minutes late" in early["tickers"]["SPY"]["reason"]
    clock.set("2025-03-11 12:15:05")
    late = ask(app)["tickers"]["SPY"]
    assert late["locked_at"] == "2025-03-11T12:00:00-04:00"


def test_in_sample_days_are_said_to_be_so(serve_recorded: Serve, clock: FakeClock) -> None:
    clock.set("2024-06-12 12:30")
    assert "In-sample" in ask(serve_recorded())["tickers"]["SPY"]["reason"]


def test_only_price_and_words_float_within_the_hour(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    one = ask(app)["tickers"]["SPY"]
    clock.set("2025-03-11 11:51")
    two = ask(app)["tickers"]["SPY"]
    changed = {name for name in one if one[name] != two[name]}
    assert changed <= {"current_price", "today_change_pct"}
    assert "current_price" in changed
