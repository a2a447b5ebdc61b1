"""Minutes that are missing in the middle of the running day: no signal rests on what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.provider.world import TICKERS, World, world

HOLE = {"first": 10.84, "last": 11.0}
"""Hours of the day: the minutes 10:51 .. 10:59, of which the decision at 11:00 and P11 read the last."""


def hide_minutes(found: World) -> None:
    found.provider.misbehave("midday-hole", only="/minute/", **HOLE)


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
    """At a full hour the day is asked for whole, and comes back with a hole."""
    with world(tmp_path, monkeypatch, "2025-03-11 11:57:07") as found:
        found.directions()
        found.run(2, ask=found.directions)
        before = found.directions()
        hide_minutes(found)
        found.run(2.5, ask=found.directions)
        board = found.directions()
        for ticker in TICKERS:
            entry = board["tickers"][ticker]
            assert entry["price_11am"] == before["tickers"][ticker]["price_11am"]
            assert entry["locked_at"] == "2025-03-11T11:00:00-04:00", "the hour before stands in for two minutes"
        assert board["data_status"]["stale"]
        found.run(2, ask=found.directions)
        assert {entry["action"] for entry in found.directions()["tickers"].values()} == {"NO_TRADE"}
        found.provider.behave()
        found.run(3, ask=found.directions)
        assert signals(found.directions()) == healthy


def test_minutes_that_come_late_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10:51 .. 10:59 come after those of 11:00: the signal of 11:00 is the one of a server that had them in time."""
    with world(tmp_path / "late", monkeypatch, "2025-03-11 10:48:07") as found:
        found.directions()
        hide_minutes(found)
        found.run(16, every_s=30, ask=found.directions)
        entry = found.directions()["tickers"]["SPY"]
        assert (entry["action"], entry["locked_at"], entry["price_11am"]) == ("NO_TRADE", None, None)
        assert "the bars from 10:51 to 11:00 are missing" in entry["reason"].lower()
        found.provider.behave()
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
        for entry in found.directions()["tickers"].values():
            assert (entry["action"], entry["price_11am"]) == ("NO_TRADE", None)
            assert "the bars from 10:51 to 11:00 are missing" in entry["reason"].lower()
        replayed = found.get("/replay?date=2025-03-11&time=12:05")[1]["tickers"]["SPY"]
        assert replayed["error_code"] == "DATA_FETCH_ERROR"
        found.provider.behave()
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


def test_a_single_minute_that_is_taken_back_costs_one_more_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second answer without it is the provider's correction; prices go on."""
    with world(tmp_path, monkeypatch, "2025-03-11 10:48:07") as found:
        found.directions()
        found.provider.misbehave("midday-hole", only="/minute/", first=10.75, last=10.76)
        found.run(5, every_s=30, ask=found.directions)
        status = found.directions()["data_status"]
        assert (status["stale"], status["as_of"]) == (False, "2025-03-11T10:53:00-04:00")
