"""A plan without the running day, once that has opened: values of the day before say so in every answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.provider.world import world

NOTE = "This data plan has no bars of today: values are of Monday, Mar 10."
STATUS = ("/trading_directions", "/mtf", "/swing", "/northstar", "/rpe", "/daily_signals")


@pytest.mark.parametrize("at", ["2025-03-11 16:40", "2025-03-11 11:40:07"])
def test_a_plan_without_today_marks_what_it_shows_of_the_day_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with world(tmp_path, monkeypatch, at, plan="basic") as found:
        found.run(3)
        bodies: dict[str, dict[str, Any]] = {route: found.get(f"{route}?ticker=SPY")[1] for route in STATUS}
        for route, body in bodies.items():
            assert body["data_status"]["plan"] == "end_of_day", route
            assert body["data_status"]["stale"] is True, route
        for route in ("/mtf", "/swing"):
            assert bodies[route]["data_status"]["as_of"] == "2025-03-10T16:00:00-04:00"
            assert bodies[route]["tickers"]["SPY"]["current_price"] is not None
        assert bodies["/mtf"]["summary"]["recommendation"].endswith(NOTE)
        if at.endswith("16:40"):
            assert bodies["/trading_directions"]["reason"].endswith(NOTE)
            assert bodies["/trading_directions"]["tickers"]["SPY"]["reason"].endswith(NOTE)
            assert NOTE in bodies["/daily_signals"]["tickers"]["SPY"]["error"]
        assert found.get("/volatility_meter?ticker=SPY")[1]["trading_guidance"].endswith(NOTE)
        rows = found.get("/signal_breakdown?ticker=SPY")[1]["tickers"]["SPY"]["indicators"]
        assert all(row["reason"].endswith(f". {NOTE}") for row in rows)
        for route in ("/northstar", "/rpe", "/price_ranges"):
            assert (
                "plan has no bars of the running day" in found.get(f"{route}?ticker=SPY")[1]["tickers"]["SPY"]["error"]
            )


def test_a_plan_without_today_says_nothing_of_it_about_days_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 16:40", plan="basic") as found:
        found.run(3)
        _, replayed = found.get("/replay?date=2025-03-10&time=12:05&ticker=SPY")
        assert (replayed["data_status"]["stale"], NOTE in str(replayed)) == (False, False)
        assert found.get("/replay?date=2025-03-11&time=12:05&ticker=SPY")[1]["data_status"]["stale"] is True
        found.step(14 * 3600)
        _, morning = found.get("/swing?ticker=SPY")
        assert morning["data_status"]["stale"] is False, "before the open the day before is the last one that there is"
        assert morning["data_status"]["as_of"] == "2025-03-11T16:00:00-04:00"


def test_a_plan_with_today_says_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 16:40") as found:
        found.run(3)
        for route in (*STATUS, "/signal_breakdown", "/volatility_meter"):
            _, body = found.get(f"{route}?ticker=SPY")
            assert "has no bars of today" not in str(body), route
            assert not body.get("data_status", {}).get("stale"), route
