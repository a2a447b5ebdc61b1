"""What was announced and withdrawn, or announced late, while a server was down (policy.md 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.market.bars import to_ms
from app.market.calendar import ONE_DAY, midnight_ms
from app.market.completeness import AGAIN_AFTER, DAYS_AGAIN
from app.simulator.faults import FAULTS, Fault
from app.sqlite import REOPEN_AFTER_S
from tests.provider.test_processes import Servers, servers
from tests.support import CALENDAR, new_york

DAY = date(2025, 3, 11)
LIST = "/v1/marketstatus/upcoming"
Row = dict[str, Any]


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
    found.run(120, every_s=40)
    return numbers[0]


@contextmanager
def down_on(
    folder: Path, patch: pytest.MonkeyPatch, fault: str, *, behaves: bool = True, **options: float
) -> Iterator[Servers]:
    """A server that learned the day before that DAY is not traded as usual, and is down until noon of the day after.
    `behaves`: the provider withdrew it meanwhile, and has the bars of the day."""
    with servers(folder, patch, "2025-03-10 08:01:00", 0) as found:
        found.provider.inject_fault(fault, day=20250311, **options)
        found.start()
        found.step(0)
        found.run(120, every_s=40)
        if behaves:
            found.provider.clear_fault()
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


def test_a_signal_asked_for_before_spys_bars_showed_that_a_closure_was_withdrawn_rests_on_them_too(
    right: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of several processes to have its bars locked the hour for all, some on one daily bar too few."""
    with down_on(tmp_path / "down", monkeypatch, "unscheduled-closure") as found:
        found.dead.update(found.living())
        found.clock.at = new_york("2025-03-12 12:00:37")
        found.time.forward(2 * 86_400)
        number = found.start()
        entry = found.get(number, "/trading_directions?ticker=QQQ")["tickers"]["QQQ"]
        assert (entry["probability"], entry["reason"]) == right[0]["QQQ"]


def test_a_weekend_start_that_nobody_asks_anything_learns_that_friday_traded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-13 08:01:00", 0) as found:
        found.provider.inject_fault("unscheduled-closure", day=20250314)
        found.start()
        found.step(0)
        found.run(60, every_s=20)
        found.provider.clear_fault()
        number = restart(found, "2025-03-15 10:00:00")
        assert found.cores[number].calendar.session(date(2025, 3, 14)) == CALENDAR.session(date(2025, 3, 14))
        before = len(found.provider.calls)
        found.run(3600, every_s=300)
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
        found.run(1200, every_s=60)
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
        found.provider.clear_fault()
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
        found.run(120, every_s=40)
        assert lists(found) == 1
        found.provider.inject_fault("early-close", day=20250311, hour=12.0)
        first = restart(found, "2025-03-11 11:00:07", count=3)
        for number in found.living():
            upcoming = found.get(number, "/health")["operations"]["calendar"]["upcoming"]
            assert upcoming[0] == {"day": "2025-03-11", "close": "12:00"}
        assert lists(found) == 2, "three processes that start together ask once"
        found.dead.add(first)
        found.run(3600, every_s=300)
        restart(found, "2025-03-11 12:12:00")
        found.run(600, every_s=60)
        assert lists(found) == 3
        restart(found, "2025-03-11 12:26:00")
        assert lists(found) == 3, "an answer of the last quarter of an hour will do"


def test_a_list_that_was_read_in_the_night_does_not_confirm_what_the_morning_withdraws(
    right: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-10 09:01:00", 0) as found:
        found.provider.inject_fault("unscheduled-closure", day=20250311)
        found.start()
        found.step(0)
        found.run(120, every_s=40)
        restart(found, "2025-03-11 00:30:00")
        assert lists(found) == 2, "this start reads the list in the night of the day"
        found.provider.clear_fault()
        number = restart(found, "2025-03-12 12:00:37")
        assert answers(found, number) == right


@contextmanager
def edited(
    patch: pytest.MonkeyPatch, found: Servers, path: str, edit: Callable[[list[Row], str], list[Row]]
) -> Iterator[None]:
    """The rows of answers whose path has `path` are what `edit` makes of them and of the path."""

    def change(body: Row, options: Any, call: Any) -> Row:
        return {**body, "results": edit(body.get("results") or [], call.path)}

    patch.setitem(FAULTS, "edited", Fault("rows as a test edits them", edit_body=change))
    found.provider.inject_fault("edited", only=path)
    yield
    found.provider.clear_fault()


def without_day(rows: list[Row], path: str) -> list[Row]:
    return [row for row in rows if not midnight_ms(DAY) <= row["t"] < midnight_ms(DAY + ONE_DAY)]


@pytest.mark.parametrize("ticker", ["SPY", "QQQ"])
@pytest.mark.parametrize("share", [0.0, 0.04], ids=["no volume", "a twenty-fifth of the volume"])
def test_a_stray_daily_bar_does_not_make_a_closed_day_a_trading_day(
    ticker: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stray(rows: list[Row], path: str) -> list[Row]:
        before = [row for row in rows if row["t"] < midnight_ms(DAY)]
        if f"/{ticker}/" not in path or len(before) < 25:
            return without_day(rows, path)
        volume = share * sorted(row["v"] for row in before[-21:])[10]
        price = before[-1]["c"]
        bar = {**before[-1], "t": midnight_ms(DAY), "o": price, "h": price, "l": price, "v": volume}
        return [*before, bar, *(row for row in rows if row["t"] >= midnight_ms(DAY + ONE_DAY))]

    with down_on(tmp_path, monkeypatch, "unscheduled-closure", behaves=False) as found:
        found.provider.clear_fault()
        with edited(monkeypatch, found, "/range/1/day/", stray):
            number = restart(found, "2025-03-12 12:00:37")
            found.run(120, every_s=40)
            assert found.cores[number].calendar.session(DAY) is None
            entries = found.get(number, "/trading_directions")["tickers"].values()
            assert all(entry["locked"] for entry in entries), "no daily bar is missing"


@pytest.mark.parametrize("hour", [11.0, 12.0, 12.1], ids=["before the close", "at the close", "six minutes later"])
def test_minutes_that_were_cut_off_do_not_confirm_an_early_close_that_was_withdrawn(
    hour: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with down_on(tmp_path, monkeypatch, "early-close", hour=12.0) as found:
        found.provider.inject_fault("cut-day", only="/SPY/range/1/minute/", hour=hour)
        number = restart(found, "2025-03-12 12:00:37")
        assert found.cores[number].calendar.session(DAY) != CALENDAR.session(DAY)
        found.provider.clear_fault()
        found.run(3600, every_s=300)
        assert found.cores[number].calendar.session(DAY) == CALENDAR.session(DAY)
        assert found.get(number, "/replay?date=2025-03-11&time=14:30")["market_open"] is True


def doubtful(found: Servers, number: int) -> Any:
    announcements = found.cores[number].announcements
    assert announcements is not None
    return announcements.doubtful(found.clock.at)


def test_thin_minutes_after_an_early_close_confirm_it_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = to_ms(new_york("2025-03-11 12:00"))

    def thin(rows: list[Row], path: str) -> list[Row]:
        return [{**row, "v": row["v"] / 1000} if row["t"] >= close else row for row in rows]

    with down_on(tmp_path, monkeypatch, "early-close", hour=12.0) as found:
        with edited(monkeypatch, found, "/SPY/range/1/minute/2025-03-11", thin):
            number = restart(found, "2025-03-12 12:00:37")
            assert doubtful(found, number) == {}
            found.run(3600, every_s=300)
            assert found.get(number, "/replay?date=2025-03-11&time=14:30&ticker=SPY")["market_open"] is False
        assert len(of_day(found, "/SPY/range/1/minute/2025-03-11/2025-03-11")) == 1


def of_day(found: Servers, path: str) -> list[str]:
    return [call.path for call in found.provider.calls if path in call.path]


def test_minutes_that_never_go_beyond_an_early_close_cost_a_bounded_number_of_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with down_on(tmp_path, monkeypatch, "early-close", behaves=False, hour=12.0) as found:
        number = restart(found, "2025-03-12 12:00:37")
        found.run(4 * 3600, every_s=900)
        for day in ("2025-03-14", "2025-03-24", "2025-04-04"):
            number = restart(found, f"{day} 12:00:37")
            found.run(7200, every_s=900)
        assert len(of_day(found, "/SPY/range/1/minute/2025-03-11/2025-03-11")) <= 1 + len(AGAIN_AFTER)
        assert found.get(number, "/replay?date=2025-03-11&time=14:30")["market_open"] is False


def test_a_daily_bar_that_comes_minutes_late_settles_the_day_before_the_next_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All signals of the day rested on one daily bar too few, and were locked so."""
    with servers(tmp_path / "right", monkeypatch, "2025-03-12 11:01:37", 0) as found:
        expected = answers(found, restart(found, "2025-03-12 11:01:37"))
    with down_on(tmp_path / "down", monkeypatch, "unscheduled-closure") as found:
        with edited(monkeypatch, found, "/range/1/day/", without_day):
            number = restart(found, "2025-03-12 10:50:37")
        found.run(540, every_s=60)
        found.get(number, "/trading_directions")
        found.run(120, every_s=40)
        assert found.cores[number].calendar.session(DAY) == CALENDAR.session(DAY)
        assert answers(found, number) == expected


def test_a_closure_that_took_place_while_the_server_was_down_costs_a_bounded_number_of_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with down_on(tmp_path, monkeypatch, "unscheduled-closure", behaves=False) as found:
        for at in ("2025-03-12 09:31:37", "2025-03-13 11:00:37", "2025-03-20 11:00:37", "2025-03-31 11:00:37"):
            number = restart(found, at)
            found.run(4 * 3600, every_s=900)
        assert found.cores[number].calendar.session(DAY) is None
        anew = 4  # each of these days asks for its own series once
        assert len(of_day(found, "/SPY/range/1/day/2023-")) <= 2 + anew + len(DAYS_AGAIN)
        before = len(found.provider.calls)
        restart(found, "2025-03-31 15:30:37")
        assert not [call for call in found.provider.calls[before:] if "/SPY/range/1/day/2023-" in call.path]


@pytest.mark.parametrize("closures", ["2025-03-11", ""], ids=["one less", "one more"])
def test_a_start_with_other_closures_of_the_operator_answers_like_one_that_always_had_them(
    closures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took over the daily bars of the process before as they were."""
    then = "" if closures else "2025-03-11"
    with servers(tmp_path / "right", monkeypatch, "2025-03-12 12:40:37", 0) as found:
        number = restart(found, "2025-03-12 12:40:37", market_closures=then)
        expected = swing(found, number)
    with servers(tmp_path / "then", monkeypatch, "2025-03-12 12:35:37", 0) as found:
        restart(found, "2025-03-12 12:35:37", market_closures=closures)
        number = restart(found, "2025-03-12 12:40:37", market_closures=then)
        assert found.cores[number].source.daily("SPY", DAY + ONE_DAY).t[-1] == midnight_ms(
            found.cores[number].calendar.previous_trading_day(DAY + ONE_DAY)
        )
        assert swing(found, number) == expected


def swing(found: Servers, number: int) -> Any:
    return found.get(number, "/swing")["tickers"]["SPY"]["phase1"]


def test_health_says_for_how_long_the_calendar_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 09:01:00", 1) as found:
        announcements = found.cores[0].announcements
        assert announcements is not None
        announcements.close()  # every access to the file fails from now on
        announcements.load()
        assert "calendar_unshared" in found.get(0, "/health")["degraded"]
        found.time.forward(REOPEN_AFTER_S)
        assert "calendar_unshared" not in found.get(0, "/health")["degraded"]
