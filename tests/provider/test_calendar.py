"""What was announced and withdrawn, or announced late, while a server was down (policy.md 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.provider.test_processes import Servers, servers
from tests.support import CALENDAR, new_york

DAY = date(2025, 3, 11)
LIST = "/v1/marketstatus/upcoming"


def lists(found: Servers) -> int:
    """How often the list of holidays was asked for."""
    return sum(call.path == LIST for call in found.provider.calls)


def restart(found: Servers, at: str, count: int = 1, **values: Any) -> int:
    """All processes are dead; new ones start at `at`. The number of the first."""
    found.dead.update(found.living())
    found.time.forward((new_york(at) - found.clock.at).total_seconds())
    found.clock.at = new_york(at)
    numbers = [found.start(**values) for _ in range(count)]
    found.step(0)
    found.get(numbers[0], "/trading_directions")
    found.run(120, every_s=20)
    return numbers[0]


@contextmanager
def down_on(
    folder: Path, patch: pytest.MonkeyPatch, fault: str, *, behaves: bool = True, **options: float
) -> Iterator[Servers]:
    """A server that learned the day before that DAY is not traded as usual, and is down until noon of the day after.
    `behaves`: the provider withdrew it meanwhile, and has the bars of the day."""
    with servers(folder, patch, "2025-03-10 08:01:00", 0) as found:
        found.provider.misbehave(fault, day=20250311, **options)
        found.start()
        found.step(0)
        found.run(120, every_s=20)
        if behaves:
            found.provider.behave()
        yield found


def answers(found: Servers, number: int) -> Any:
    board = found.get(number, "/trading_directions")["tickers"]
    replayed = found.get(number, "/replay?date=2025-03-11&time=14:30")
    return (
        {ticker: (entry["probability"], entry["reason"]) for ticker, entry in board.items()},
        replayed["market_open"],
        {ticker: (entry["v6"], entry["current_price"]) for ticker, entry in replayed["tickers"].items()},
    )


@pytest.fixture
def right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a server answers that never heard of it."""
    with servers(tmp_path / "right", monkeypatch, "2025-03-12 12:00:37", 0) as found:
        return answers(found, restart(found, "2025-03-12 12:00:37"))


@pytest.mark.parametrize(
    ("fault", "options"), [("unscheduled-closure", {}), ("early-close", {"hour": 12.0})], ids=["closure", "early close"]
)
def test_what_was_withdrawn_while_the_server_was_down_is_a_whole_day_in_its_history(
    fault: str, options: dict[str, float], right: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day was lost to replay, and the signals after it rested on one daily bar too few."""
    with down_on(tmp_path / "down", monkeypatch, fault, **options) as found:
        first = restart(found, "2025-03-12 12:00:37", count=2)
        found.run(60, every_s=20)
        for number in (first, first + 1):
            assert found.cores[number].calendar.session(DAY) == CALENDAR.session(DAY)
            assert answers(found, number) == right
        again = restart(found, "2025-03-12 12:10:37")
        assert answers(found, again) == right, "it stays so"


def test_a_weekend_start_that_nobody_asks_anything_learns_that_friday_traded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-13 08:01:00", 0) as found:
        found.provider.misbehave("unscheduled-closure", day=20250314)
        found.start()
        found.step(0)
        found.run(60, every_s=20)
        found.provider.behave()
        number = restart(found, "2025-03-15 10:00:00")
        assert found.cores[number].calendar.session(date(2025, 3, 14)) == CALENDAR.session(date(2025, 3, 14))
        before = len(found.provider.calls)
        found.run(3600, every_s=120)
        assert len(found.provider.calls) == before


@pytest.mark.parametrize(
    ("fault", "options"), [("unscheduled-closure", {}), ("early-close", {"hour": 12.0})], ids=["closure", "early close"]
)
def test_what_took_place_as_announced_while_the_server_was_down_stays_and_costs_two_calls_at_most(
    fault: str, options: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with down_on(tmp_path, monkeypatch, fault, behaves=False, **options) as found:
        number = restart(found, "2025-03-12 12:00:37")
        assert found.get(number, "/replay?date=2025-03-11&time=14:30")["market_open"] is False
        assert found.get(number, "/trading_directions")["tickers"]["SPY"]["locked"]
        before = len(found.provider.calls)
        found.run(1200, every_s=20)
        spent = [call.path for call in found.provider.calls[before:]]
        asked = [path for path in spent if "2025-03-11/2025-03-11" in path or "/range/1/day/" in path]
        assert len(asked) <= 2, asked
        assert found.get(number, "/replay?date=2025-03-11&time=14:30")["market_open"] is False


def test_a_closure_that_a_list_of_its_own_day_confirmed_stands_against_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was closed live, and so it is in replay."""
    with down_on(tmp_path, monkeypatch, "unscheduled-closure", behaves=False) as found:
        found.clock.at = new_york("2025-03-11 08:05:00")
        found.time.forward(86_400)
        found.run(60, every_s=20)
        assert lists(found) == 2
        found.provider.behave()
        number = restart(found, "2025-03-12 12:00:37")
        assert found.cores[number].calendar.session(DAY) is None


def test_a_closure_that_the_operator_names_stands_against_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with down_on(tmp_path, monkeypatch, "unscheduled-closure") as found:
        number = restart(found, "2025-03-12 12:00:37", market_closures="2025-03-11")
        assert found.cores[number].calendar.session(DAY) is None
        assert found.get(number, "/replay?date=2025-03-11&time=14:30")["market_open"] is False


def test_a_start_learns_what_was_announced_after_the_list_of_the_morning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 08:30:00", 1) as found:
        found.step(0)
        found.run(120, every_s=20)
        assert lists(found) == 1
        found.provider.misbehave("early-close", day=20250311, hour=12.0)
        first = restart(found, "2025-03-11 11:00:07", count=3)
        for number in found.living():
            upcoming = found.get(number, "/health")["operations"]["calendar"]["upcoming"]
            assert upcoming[0] == {"day": "2025-03-11", "close": "12:00"}
        assert lists(found) == 2, "three processes that start together ask once"
        found.dead.add(first)
        found.run(3600, every_s=120)
        restart(found, "2025-03-11 12:12:00")
        found.run(600, every_s=20)
        assert lists(found) == 3
        restart(found, "2025-03-11 12:26:00")
        assert lists(found) == 3, "an answer of the last quarter of an hour will do"
