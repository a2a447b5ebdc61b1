"""Many clients, few calls: the existing dashboard's load, cold starts, a slow provider, a half-open circuit."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from app.errors import Upstream
from app.market.budget import PAID_PLAN, SMALL_PLAN
from tests.provider.world import TICKERS, World, world
from tests.waiting import PATIENCE_S, wait_for

TAB = ["/trading_directions"] * 4 + [
    f"/mtf?tickers={t}" for t in ("SPY", "QQQ", "IWM", "UVXY", "SPY", "QQQ", "IWM", "SPY")
]
"""What a tab of the dashboard asks in a minute (polygon.md 5)."""

STEP_S = 10.0
WARM_UP, MINUTES = 5, 8


def poll(found: World, tabs: int) -> Callable[[], None]:
    """A step's share of what `tabs` tabs ask, spread over the minute."""
    asked = [(second * 60 / len(TAB) + tab) % 60 for tab in range(tabs) for second in range(len(TAB))]
    slots: dict[int, list[str]] = {}
    for number, moment in enumerate(asked):
        slots.setdefault(int(moment // STEP_S), []).append(TAB[number % len(TAB)])
    turn = iter(range(1_000_000))

    def ask() -> None:
        for path in slots.get(next(turn) % round(60 / STEP_S), []):
            assert found.get(path)[0] == 200

    return ask


def calls_per_minute(found: World, since: float) -> list[int]:
    minutes = Counter(int((call.at - since) // 60) for call in found.provider.calls if call.at >= since)
    return [minutes[minute] for minute in range(MINUTES)]


def dashboards(folder: Path, patch: pytest.MonkeyPatch, tabs: int, cap: int | None) -> tuple[list[int], list[float]]:
    """Eight simulated minutes over a decision hour: calls of each minute, and the moments of all calls from the start on. Who
    waits for a turn waits in market time, which stands, and so not for long in real time."""
    patch.setattr("app.market.shared_fetches.DEADLINE_S", 0.05)
    for name in ("READ_S", "COLD_S"):
        patch.setattr(f"app.pipeline.prefetch.{name}", 0.1)
    with world(folder, patch, "2025-03-11 10:48:30", hasty=False, polygon_calls_per_minute=cap) as found:
        ask = poll(found, tabs)
        found.run(WARM_UP, every_s=STEP_S, ask=poll(found, 1))
        since = found.timer.at
        found.run(MINUTES, every_s=STEP_S, ask=ask)
        board = found.directions()
        assert {entry["locked_at"][11:16] for entry in board["tickers"].values()} == {"11:00"}
        assert not board["data_status"]["stale"]
        return calls_per_minute(found, since), [call.at for call in found.provider.calls]


@pytest.mark.parametrize("most", [4, *(pytest.param(tabs, marks=pytest.mark.soak) for tabs in (10, 50))])
def test_calls_do_not_grow_with_the_number_of_tabs(most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    for tabs in (1, most):
        seen[tabs], _ = dashboards(tmp_path / str(tabs), monkeypatch, tabs, cap=None)
        print(f"{tabs} tabs, {tabs * len(TAB)} requests a minute: calls per minute {seen[tabs]}")
    assert max(seen[1]) <= 3
    assert seen[1] == seen[most]


@pytest.mark.parametrize("tabs", [4, *(pytest.param(tabs, marks=pytest.mark.soak) for tabs in (1, 10, 50))])
def test_with_a_cap_of_five_there_are_never_more_in_any_rolling_minute(
    tabs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_minute, moments = dashboards(tmp_path, monkeypatch, tabs, cap=5)
    print(f"cap 5, {tabs} tabs: calls per minute {per_minute}")
    assert max(per_minute) <= 3
    assert all(later - earlier >= 60 for earlier, later in zip(moments, moments[5:], strict=False))


REAL_STEP_S = 0.01
"""While many ask, the timer goes on with real time: a thread that waits for its turn takes no time from those before it."""


def ask_at_once(found: World, clients: int, path: str) -> list[Any]:
    barrier = threading.Barrier(clients)
    app = found.client.application

    def ask() -> Any:
        client = app.test_client()
        barrier.wait(PATIENCE_S)
        return client.get(path).get_json()

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        while wait(asking, REAL_STEP_S).not_done:
            found.timer.forward(REAL_STEP_S)
        return [future.result() for future in asking]


def test_a_hundred_requests_for_a_cold_ticker_are_one_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07", hasty=False) as found:
        found.provider.inject_fault("slow", seconds=0.3)
        bodies = ask_at_once(found, 100, "/trading_directions?ticker=IWM")
        found.settle()
        paths = [call.path for call in found.provider.calls if "/IWM/" in call.path]
        assert sum("/minute/" in path for path in paths) == 1
        assert sum("/day/" in path for path in paths) == 1
    assert {body["tickers"]["IWM"]["locked_at"] for body in bodies} == {"2025-03-11T11:00:00-04:00"}


def test_half_open_one_of_fifty_waiting_callers_reaches_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(50) as pool, world(tmp_path, monkeypatch, "2025-03-11 11:40:07") as found:
        breaker = found.core.market.breaker
        assert breaker is not None
        path = "/v2/aggs/ticker/SPY/range/1/minute/2025-03-10/2025-03-10"
        found.provider.inject_fault("500")
        for _ in range(5):
            assert breaker(path, {}).status == 500
        with pytest.raises(Upstream, match="keeps failing"):
            breaker(path, {})
        found.provider.clear_fault()
        found.provider.inject_fault("silence")
        found.timer.forward(30)
        before, barrier = len(found.provider.calls), threading.Barrier(50)

        def call() -> int:
            barrier.wait(PATIENCE_S)
            try:
                return breaker(path, {}).status
            except Upstream:
                return 0

        asked = [pool.submit(call) for _ in range(50)]
        wait_for(lambda: sum(one.done() for one in asked) == 49, "the others wait too")
        found.provider.clear_fault()
        assert sorted(one.result(PATIENCE_S) for one in asked) == [0] * 49 + [200]
        assert len(found.provider.calls) == before + 1


def test_the_state_of_breaker_budget_plan_and_follower_is_in_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07") as found:
        found.directions()
        found.run(1, ask=found.directions)
        _, health = found.get("/health")
        operations = health["operations"]
        assert health["degraded"] == []
        assert operations["plan"] == {
            "name": "real_time",
            "delay_s": 0.0,
            "probed": True,
            "history_from": "2003-09-10",
            "clock_ahead_s": 0.0,
        }
        assert operations["breaker"]["bars"]["state"] == "closed"
        assert operations["budget"]["limit"] == {"calls": 50, "window_s": 1.0}
        assert operations["follower"]["tickers"] == sorted(TICKERS)
        found.provider.inject_fault("500")
        found.run(5, ask=found.directions)
        _, health = found.get("/health")
        assert "provider_failing" in health["degraded"]
        assert health["operations"]["breaker"]["bars"]["state"] != "closed"


def test_a_basic_plan_serves_replay_and_swing_and_says_why_there_are_no_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07", plan="basic") as found:
        found.run(3, ask=found.directions)
        board = found.directions()
        for entry in board["tickers"].values():
            assert (entry["action"], entry["reason_code"]) == ("NO_TRADE", "MISSING_DAILY_BAR")
            assert "end_of_day" in entry["reason"]
            assert "error" not in entry
        assert found.get("/swing")[1]["tickers"]["SPY"]["phase1"]
        status, replayed = found.get("/replay?date=2025-03-10&time=12:05&ticker=SPY")
        assert status == 200
        assert replayed["tickers"]["SPY"]["v6"]["probability_a"] is not None
        plan = found.get("/health")[1]["operations"]["plan"]
        assert (plan["name"], plan["history_from"]) == ("end_of_day", "2023-03-15")
        before = len(found.provider.calls)
        found.run(20, ask=found.directions)
        snapshots = [call for call in found.provider.calls[before:] if "snapshot" in call.path]
        assert len(snapshots) <= 2, "whether the plan is still the same"
        assert len(found.provider.calls) - before <= 2 * len(snapshots), "nothing of today is asked for"
        assert found.get("/health")[1]["operations"]["budget"]["limit"] == {"calls": 5, "window_s": 60.0}


def test_a_day_before_the_plans_history_costs_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07", plan="basic") as found:
        before = len(found.provider.calls)
        status, body = found.get("/replay?date=2023-01-17&time=12:00&ticker=SPY")
        assert status == 200
        assert "history begins on 2023-03-15" in body["tickers"]["SPY"]["error"]
        assert len(found.provider.calls) == before


def test_a_restart_within_a_minute_of_five_calls_is_not_held_to_five_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.factory.markets.namespace_of", lambda base_url: "provider")
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07") as found:
        found.directions()
        assert found.core.source.observed_plan.entitlement is not None
        assert len(found.provider.calls) >= 5
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:20", hasty=False) as found:
        budget = found.core.market.budget
        assert budget is not None
        assert budget.limit == PAID_PLAN
        found.directions()  # on a busy machine it answers before all bars are there
        for _ in range(40):  # the probe goes on in the background, after the calls of requests
            found.timer.forward(0.25)
            found.settle()
        assert found.timer.sleeping == 0, "ten seconds later nothing waits for a turn; a budget of five a minute would"
        assert all(entry["locked_at"] for entry in found.directions()["tickers"].values())


def test_a_kept_plan_is_checked_anew_by_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.factory.markets.namespace_of", lambda base_url: "provider")
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07"):
        pass
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:20", plan="basic") as found:
        assert found.core.market.budget is not None
        assert found.core.market.budget.limit == SMALL_PLAN
