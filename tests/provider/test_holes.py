"""Minutes that are missing in the middle of the running day: no signal rests on what is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.factory import create_app
from app.market.bars import to_ms
from app.model.features import Features
from app.pipeline.decisions import _features
from app.simulator.faults import FAULTS, Fault
from tests.provider.world import KEY, TICKERS, World, world
from tests.support import new_york, settings

HOLE = {"first": 10.84, "last": 11.0}
"""Hours of the day: the minutes 10:51 .. 10:59, of which the decision at 11:00 and P11 read the last."""


def hide_minutes(found: World) -> None:
    found.provider.inject_fault("midday-hole", only="/minute/", **HOLE)


def signals(board: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    fields = ("action", "probability", "price_11am", "locked_at")
    return {ticker: tuple(board["tickers"][ticker][field] for field in fields) for ticker in TICKERS}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, ...]]:
    """The signals at 12:01 of a day without faults."""
    with (
        pytest.MonkeyPatch.context() as patch,
        world(tmp_path_factory.mktemp("healthy"), patch, "2025-03-11 11:57:07") as found,
    ):
        found.directions()
        found.run(4, ask=found.directions)
        return signals(found.directions())


def test_minutes_that_vanish_from_a_later_answer_move_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: dict[str, tuple[Any, ...]]
) -> None:
    """At a full hour the day is asked for whole, and comes back with a hole: what was known of it stays."""
    with world(tmp_path, monkeypatch, "2025-03-11 11:57:07") as found:
        found.directions()
        found.run(2, ask=found.directions)
        before = found.directions()
        hide_minutes(found)
        found.run(2.5, ask=found.directions)
        board = found.directions()
        for ticker in TICKERS:
            assert board["tickers"][ticker]["price_11am"] == before["tickers"][ticker]["price_11am"]
        assert signals(board) == healthy


def test_minutes_that_come_late_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10:51 .. 10:59 come after those of 11:00: the signal of 11:00 is the one of a server that had them in time."""
    with world(tmp_path / "late", monkeypatch, "2025-03-11 10:48:07") as found:
        found.directions()
        hide_minutes(found)
        found.run(16, every_s=60, ask=found.directions)
        entry = found.directions()["tickers"]["SPY"]
        assert (entry["action"], entry["locked_at"], entry["price_11am"]) == ("NO_TRADE", None, None)
        assert "the bars from 10:51 to 11:00 are missing" in entry["reason"].lower()
        found.provider.clear_fault()
        found.run(3, every_s=30, ask=found.directions)
        late = signals(found.directions())
    with world(tmp_path / "in time", monkeypatch, "2025-03-11 11:02:07") as found:
        found.run(2, ask=found.directions)
        board = found.directions()
        assert late == signals(board), board["tickers"]


def test_a_server_that_starts_on_a_day_with_a_hole_says_so_and_gives_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: dict[str, tuple[Any, ...]]
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 12:05:07", fault="midday-hole", options=HOLE) as found:
        found.run(1, ask=found.directions)
        for entry in found.directions()["tickers"].values():
            assert (entry["action"], entry["price_11am"]) == ("NO_TRADE", None)
            assert "the bars from 10:51 to 11:00 are missing" in entry["reason"].lower()
        replayed = found.get("/replay?date=2025-03-11&time=12:05")[1]["tickers"]["SPY"]
        assert replayed["error_code"] == "DATA_FETCH_ERROR"
        found.provider.clear_fault()
        found.run(2, ask=found.directions)
        assert signals(found.directions()) == healthy


def test_a_past_day_with_a_hole_gives_no_signal_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was no signal live is none in a replay either; the hours before the hole stand."""
    with world(tmp_path, monkeypatch, "2025-03-11 12:05:07", fault="midday-hole", options=HOLE) as found:
        before, behind = (found.get(f"/replay?date=2025-03-10&time={at}")[1] for at in ("10:30", "11:30"))
        for ticker in TICKERS:
            assert before["tickers"][ticker]["v6"]["probability_a"] is not None
            assert behind["tickers"][ticker]["error_code"] == "DATA_FETCH_ERROR"
            assert "the bars from 10:51 to 11:00 are missing" in behind["tickers"][ticker]["error"].lower()


@pytest.mark.parametrize("lost", [(10.75, 10.76), (10.9, 11.0)], ids=["one minute", "the last ones before 11:00"])
def test_what_a_provider_says_nothing_of_any_more_stays(
    lost: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: dict[str, tuple[Any, ...]]
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:54:07") as found:
        found.run(1, ask=found.directions)
        found.provider.inject_fault("midday-hole", only="/minute/", first=lost[0], last=lost[1])
        found.run(7, every_s=60, ask=found.directions)
        board = found.directions()
        assert signals(board) == healthy
        assert (board["data_status"]["stale"], board["data_status"]["as_of"]) == (False, "2025-03-11T12:02:00-04:00")


def test_a_bar_that_is_corrected_moves_no_price_that_was_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P11 of the day is the one of the first signal after 11:00."""
    with world(tmp_path, monkeypatch, "2025-03-11 11:02:07") as found:
        found.run(1, ask=found.directions)
        before = found.directions()["tickers"]["SPY"]["price_11am"]
        eleven = to_ms(new_york("2025-03-11 10:59"))

        def corrected(body: Any, options: Any, call: Any) -> Any:
            rows = [
                {**row, "c": row["h"] + 0.4, "h": row["h"] + 0.4} if row["t"] == eleven else row
                for row in body["results"]
            ]
            return {**body, "results": rows}

        monkeypatch.setitem(FAULTS, "corrected", Fault("the bar of 10:59 is corrected", edit_body=corrected))  # type: ignore[arg-type]
        found.provider.inject_fault("corrected", only="/SPY/range/1/minute/")
        found.clock.set("2025-03-11 12:01:07")
        found.run(2, ask=found.directions)
        entry = found.directions()["tickers"]["SPY"]
        assert (entry["locked_at"], entry["price_11am"]) == ("2025-03-11T12:00:00-04:00", before)


def _bad_print(factor: list[float]) -> Fault:
    """A provider whose bar of 10:59 closes at `factor` times its price."""
    eleven = to_ms(new_york("2025-03-11 10:59"))

    def edit(body: Any, options: Any, call: Any) -> Any:
        close = [row["c"] * factor[0] for row in body.get("results") or []]
        rows = [
            {**row, "c": c, "h": max(row["h"], c), "l": min(row["l"], c)} if row["t"] == eleven else row
            for row, c in zip(body.get("results") or [], close, strict=True)
        ]
        return {**body, "results": rows}

    return Fault("a bad print at 10:59", edit_body=edit)  # type: ignore[arg-type]


def test_a_signal_is_about_the_eleven_oclock_price_that_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The price of 11:00 is a bad print, 2 % too low, that is corrected after it was shown: that the close lies above it is all
    but certain. A server that starts later, and a replay whose record is lost, say the same."""
    factor = [0.98]
    monkeypatch.setitem(FAULTS, "bad", _bad_print(factor))
    with world(tmp_path, monkeypatch, "2025-03-11 11:02:07", fault="bad") as found:
        found.run(1, ask=found.directions)
        first = found.directions()["tickers"]["QQQ"]
        factor[0] = 1.0
        known = {"polygon_base_url": found.provider.address, "polygon_api_key": KEY, "data_dir": tmp_path}
        for at in ("2025-03-11 12:01:07", "2025-03-11 14:01:07"):
            found.clock.set(at)
            found.timer.forward(3600)
            found.run(2, ask=found.directions)
        live = found.directions()["tickers"]["QQQ"]
        noon = found.get("/replay?date=2025-03-11&time=12:01")[1]["tickers"]["QQQ"]
        assert live["locked_at"] == "2025-03-11T14:00:00-04:00"
        assert (noon["price_11am"], live["price_11am"]) == (first["price_11am"], first["price_11am"])
        assert live["current_price"] / first["price_11am"] > 1.01
        assert min(noon["target_b_prob"], live["probability"]) > 0.9
        said = {hour: found.core.store.get("QQQ", date(2025, 3, 11), hour) for hour in (12, 14)}
        with closing(sqlite3.connect(next(tmp_path.glob("*/record.sqlite3")))) as record, record:
            record.execute("DELETE FROM signals WHERE hour >= 12")
        found.clock.set("2025-03-12 09:40:07")
        found.timer.forward(3600)
        again = create_app(settings(**known), clock=found.clock, timer=found.timer.timer)
        pipeline = again.extensions["predict-server"].pipeline
        for hour, decision in said.items():
            assert decision is not None
            replayed = pipeline.signal("QQQ", new_york(f"2025-03-11 {hour}:01"), keep=False)
            assert not replayed.recorded
            assert replayed.decision == decision
        again.extensions["predict-server"].close()


def test_the_eleven_oclock_price_of_the_hour_before_that_stands_in_does_not_move_when_bars_come_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts behind 12:00, and the bar that the decision of 12:00 waits for is not there yet."""
    missing = {to_ms(new_york(f"2025-03-11 {minute}")) for minute in ("10:56", "10:57", "10:58", "10:59", "11:59")}

    def edit(body: Any, options: Any, call: Any) -> Any:
        hidden = missing if "/range/1/minute/" in call.path else set()
        return {**body, "results": [row for row in body.get("results") or [] if row["t"] not in hidden]}

    def shown(board: Any) -> dict[str, Any]:
        return {ticker: entry["price_11am"] for ticker, entry in board["tickers"].items()}

    monkeypatch.setitem(FAULTS, "late", Fault("lacks bars", edit_body=edit))  # type: ignore[arg-type]
    with world(tmp_path, monkeypatch, "2025-03-11 12:00:20", fault="late") as found:
        found.run(0.2, every_s=6, ask=found.directions)
        before = found.directions()
        assert before["tickers"]["SPY"]["locked_at"] == "2025-03-11T11:00:00-04:00"
        missing.clear()
        found.run(3, ask=found.directions)
        after = found.directions()
        assert after["tickers"]["SPY"]["locked_at"] == "2025-03-11T12:00:00-04:00"
        assert None not in shown(before).values()
        assert shown(after) == shown(before)
        assert shown(found.get("/replay?date=2025-03-11&time=11:30")[1]) == shown(before)


@pytest.mark.parametrize("fault", ["nan-prices", "negative-prices", "missing-minute"])
def test_with_more_than_an_eighth_of_the_bars_missing_there_is_no_signal(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 09:20:07") as found:
        found.directions()
        found.provider.inject_fault(fault, only="/minute/")
        found.clock.set("2025-03-11 12:05:07")
        found.run(2, ask=found.directions)
        for entry in found.directions()["tickers"].values():
            assert entry["action"] == "NO_TRADE"
            assert "of the session's bars up to 12:00 are missing" in entry["reason"].lower()
            assert entry["current_price"] is not None


def test_a_price_that_stands_still_does_not_come_back_at_the_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 15:29:07") as found:
        found.run(1, ask=found.directions)
        found.provider.inject_fault("frozen", since=to_ms(new_york("2025-03-11 15:30")))
        found.run(28, every_s=240, ask=found.directions)
        assert found.directions()["tickers"]["SPY"]["current_price"] is None
        found.run(5, every_s=60, ask=found.directions)
        for path in ("/trading_directions", "/swing", "/mtf"):
            body = found.get(path)[1]
            assert (body["tickers"]["SPY"]["current_price"], body["data_status"]["stale"]) == (None, True), path
        assert "error" in found.get("/northstar")[1]["tickers"]["SPY"]


def test_a_hole_that_is_filled_while_a_signal_is_made_does_not_make_it_of_what_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bars that are judged are those that were read."""
    hole = {"first": 9.75, "last": 10.9}
    with world(tmp_path, monkeypatch, "2025-03-11 11:58:07", fault="midday-hole", options=hole) as found:
        found.run(2.4, ask=found.directions)
        found.step(60)
        filled: list[None] = []

        def filling(*args: Any) -> Features:
            features = _features(*args)
            if not filled:
                filled.append(None)
                found.provider.clear_fault()
                found.step(60)
            return features

        monkeypatch.setattr("app.pipeline.decisions._features", filling)
        found.directions()
        assert filled
        found.run(1, ask=found.directions)
        kept = found.core.store.get("SPY", date(2025, 3, 11), 12)
        assert kept is not None
        assert kept.bars_analyzed == 150


def _gated(hidden: list[int]) -> Callable[[Any, Any, Any], Any]:
    """A provider without the daily bar of yesterday, and without the minutes from 10:56 to 10:59 as long as `hidden` is not
    empty."""

    def edit(body: Any, options: Any, call: Any) -> Any:
        rows = body.get("results") or []
        if "/range/1/minute/" in call.path and hidden:
            first, last = (to_ms(new_york(f"2025-03-11 10:{minute}")) for minute in (56, 59))
            rows = [row for row in rows if not first <= row["t"] <= last]
        elif "/range/1/day/" in call.path:
            rows = [row for row in rows if row["t"] != to_ms(new_york("2025-03-10 00:00"))]
        return {**body, "results": rows}

    return edit


def test_the_eleven_oclock_price_that_was_shown_without_a_signal_does_not_move_when_bars_come_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a daily bar was missing no signal was locked that would have kept it."""
    hidden = [1]
    monkeypatch.setitem(FAULTS, "gated", Fault("lacks bars", edit_body=_gated(hidden)))
    with world(tmp_path, monkeypatch, "2025-03-11 10:58:07", fault="gated") as found:
        found.run(4, ask=found.directions)
        before = {ticker: entry["price_11am"] for ticker, entry in found.directions()["tickers"].items()}
        assert None not in before.values()
        hidden.clear()
        found.run(4, ask=found.directions)
        board = found.directions()["tickers"]
        assert not any(entry["locked"] for entry in board.values())
        assert {ticker: entry["price_11am"] for ticker, entry in board.items()} == before
        found.provider.clear_fault()
        found.clock.set("2025-03-11 12:01:07")
        found.timer.forward(3600)
        found.run(2, ask=found.directions)
        board = found.directions()["tickers"]
        assert all(entry["locked"] for entry in board.values())
        assert {ticker: entry["price_11am"] for ticker, entry in board.items()} == before
        known = {"polygon_base_url": found.provider.address, "polygon_api_key": KEY, "data_dir": tmp_path}
        again = create_app(settings(**known), clock=found.clock, timer=found.timer.timer)
        for client in (found.client, again.test_client()):
            for time in ("11:05", "12:01"):
                replayed = client.get(f"/replay?date=2025-03-11&time={time}").get_json()["tickers"]
                assert {ticker: entry["price_11am"] for ticker, entry in replayed.items()} == before
        again.extensions["predict-server"].close()


@pytest.mark.parametrize("moment", ["09:40:07", "11:57:07", "16:30:07"])
def test_a_session_of_which_no_bar_is_known_has_no_price(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the close of the day before."""
    with world(tmp_path, monkeypatch, f"2025-03-11 {moment}", fault="frozen", options={"since": 0}) as found:
        found.run(2, ask=found.directions)
        assert found.directions()["tickers"]["SPY"]["current_price"] is None
        for path in ("/swing", "/mtf"):
            body = found.get(path)[1]
            assert (body["tickers"]["SPY"]["current_price"], body["data_status"]["stale"]) == (None, True), path
            swing = body["tickers"]["SPY"]
            assert (swing.get("swing") or swing)["phase1"]["levels"]["current_price"] > 0, "the level is the days' own"


def test_before_the_open_the_price_is_the_close_of_the_day_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 09:20:07", fault="frozen", options={"since": 0}) as found:
        found.run(2, ask=found.directions)
        assert found.get("/swing")[1]["tickers"]["SPY"]["current_price"] > 0
