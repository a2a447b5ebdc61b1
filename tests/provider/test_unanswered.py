"""A provider that has never answered, and a key whose plan nobody knows yet: every text says so, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.blueprints.test_texts import refuse_nonsense, texts
from tests.provider.world import World, world
from tests.support import FakeClock, new_york

ROUTES = ("/mtf", "/northstar", "/rpe", "/swing", "/daily_signals", "/signal_breakdown", "/volatility_meter")
ADVICE = "The market-data provider has not answered any call since the start: /health says what to check."
OPEN, CLOSED = "2025-03-11 11:40:07", "2025-03-08 12:00"


def unanswered(found: World) -> None:
    found.get("/swing")
    found.run(1)


def check(found: World, route: str) -> dict[str, Any]:
    """Every sentence of an answer begins with what is wrong."""
    _, body = found.get(route)
    said = [text for key, text in texts(body) if key in ("reason", "recommendation", "error")]
    assert said, body
    for text in said:
        assert text.startswith(ADVICE), (route, text)
        refuse_nonsense(text)
    status = body.get("data_status")
    assert status is None or (status["plan"], status["stale"], status["as_of"]) == ("unknown", True, None), status
    return body


@pytest.mark.parametrize("at", [OPEN, CLOSED])
def test_a_provider_that_never_answered_is_named_in_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with world(tmp_path, monkeypatch, at, fault="reset") as found:
        unanswered(found)
        for route in (*ROUTES, "/trading_directions", "/replay?date=2025-03-07&time=11:00"):
            check(found, route)
        assert "the provider has answered no call" in found.get("/")[1]["state"]
        assert "live" not in found.get("/")[1]["state"]


def test_health_says_that_the_provider_never_answered_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, CLOSED, fault="reset") as found:
        unanswered(found)
        _, health = found.get("/health")
        assert "provider_failing" in health["degraded"]
        assert (health["operations"]["plan"]["name"], health["operations"]["plan"]["probed"]) == ("unknown", False)
        provider = health["operations"]["provider"]
        assert provider["answered"] is False
        assert "connection to the provider failed" in provider["last_failure"]
        assert "check the network of this machine and POLYGON_BASE_URL" in provider["message"]


def test_once_the_provider_answers_nothing_of_it_is_said_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, OPEN, fault="reset") as found:
        unanswered(found)
        found.provider.clear_fault()
        found.run(6, ask=found.directions)
        _, health = found.get("/health")
        assert health["operations"]["provider"] == {"answered": True, "last_failure": None, "message": None}
        assert health["operations"]["plan"]["name"] == "real_time"
        assert "provider_failing" not in health["degraded"]
        board = found.directions()
        assert not [text for _, text in texts(board) if "not answered" in text]
        assert board["data_status"]["plan"] == "real_time"


def test_a_provider_that_answers_with_errors_has_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, CLOSED, fault="500") as found:
        unanswered(found)
        assert found.get("/health")[1]["operations"]["provider"]["answered"] is True
        _, body = found.get("/swing")
        assert not [text for _, text in texts(body) if "not answered" in text]


@pytest.mark.parametrize(("plan", "name"), [("advanced", "real_time"), ("basic", "end_of_day")])
def test_a_plan_is_unknown_until_the_probe_has_found_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: str, name: str
) -> None:
    with world(tmp_path, monkeypatch, CLOSED, plan=plan, fault="500", hasty=False) as found:
        assert found.directions()["data_status"]["plan"] == "unknown"
        assert found.get("/health")[1]["operations"]["plan"]["name"] == "unknown"
        assert "with a delay that is not known yet" in found.get("/")[1]["state"]
        found.provider.clear_fault()
        found.run(3)
        assert found.directions()["data_status"]["plan"] == name
        state = found.get("/")[1]["state"]
        assert ("that end with the last completed day" in state) == (plan == "basic")


def test_bars_of_the_running_day_show_the_plan_before_the_probe(serve: Any, clock: FakeClock) -> None:
    clock.at = new_york(CLOSED)
    client = serve().test_client()
    assert client.get("/trading_directions").get_json()["data_status"]["plan"] == "unknown"
    clock.at = new_york(OPEN)
    assert client.get("/trading_directions").get_json()["data_status"]["plan"] == "real_time"
