"""A new version with another model beside the old one, on one record: within an hour nobody mixes their answers, and a recorded
day stays as it was decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support import FakeClock, models_saying, new_york

DAY = "2025-03-11"
OLD_P, NEW_P = 0.9, 0.1
OLD, NEW = ("LONG", 0.9), ("SHORT", 0.1)


@pytest.fixture
def pair(serve: Callable[..., Flask], clock: FakeClock, tmp_path: Path, redis_url: str) -> Iterator[list[FlaskClient]]:
    """A server with the old model, which has locked the signals of 11:00, and one with the new model."""
    apps = []
    with ExitStack() as stack:
        for name, p in (("old", OLD_P), ("new", NEW_P)):
            models = models_saying(tmp_path / f"{name}-models", p)
            app = serve(models_dir=models, data_dir=tmp_path / name, redis_url=redis_url)
            stack.callback(app.extensions["predict-server"].close)
            apps.append(app)
        old, new = (app.test_client() for app in apps)
        assert v1(old) == OLD
        yield [old, new]


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


def v1(client: FlaskClient) -> tuple[str, float]:
    entries = get(client, "/trading_directions")["tickers"].values()  # of all tickers, so that a replay is recorded
    (found,) = {(entry["action"], entry["probability"]) for entry in entries}
    return found


def v2(client: FlaskClient, path: str = "/v2/trading-directions/SPY") -> tuple[str, float]:
    body = get(client, path)
    return {"BUY_CALL": "LONG", "BUY_PUT": "SHORT"}[body["action"]], body["probability"]


def replayed(client: FlaskClient, time: str) -> tuple[tuple[str, float], str]:
    body = get(client, f"/replay?date={DAY}&time={time}")
    spy = body["tickers"]["SPY"]
    return (spy["v6"]["action"], spy["v6"]["probability_b"]), body["source"]


def live(client: FlaskClient, clock: FakeClock) -> float:
    """What those who follow are told."""
    state = client.application.extensions["predict-server"].pipeline.live("SPY", clock())
    assert state.signal.decision is not None
    return float(state.signal.decision.p_active)


def test_within_an_hour_all_servers_say_what_was_locked_and_the_new_model_decides_from_the_next_hour_on(
    pair: list[FlaskClient], clock: FakeClock
) -> None:
    old, new = pair
    for client in pair:
        assert v1(client) == v2(client) == OLD
        assert live(client, clock) == pytest.approx(OLD_P)
        assert replayed(client, "11:20") == (OLD, "recorded")
        assert v2(client, f"/v2/replay/SPY?at={DAY}T11:20:00-04:00") == OLD
    assert get(new, "/models")["models"]["SPY"] != get(old, "/models")["models"]["SPY"]
    clock.set(f"{DAY} 12:00:30")
    assert v1(new) == NEW, "who is first decides"
    for client in pair:
        assert v1(client) == v2(client) == NEW
        assert live(client, clock) == pytest.approx(NEW_P)
        assert replayed(client, "12:00") == (NEW, "recorded")
        assert replayed(client, "11:59") == (OLD, "recorded")


def test_a_recorded_day_stays_as_the_old_model_decided_it_and_an_hour_without_a_record_is_recomputed(
    pair: list[FlaskClient], clock: FakeClock
) -> None:
    _, new = pair
    clock.at = new_york("2025-03-12 11:30")
    assert replayed(new, "11:30") == (OLD, "recorded")
    assert v2(new, f"/v2/replay/SPY?at={DAY}T11:30:00-04:00") == OLD
    assert v2(new, f"/v2/replay/SPY?at={DAY}T11:30:00-04:00&recompute=true") == NEW
    assert replayed(new, "13:30") == (NEW, "recomputed")


def test_the_figures_of_one_model_stand_beside_no_decision_of_another(pair: list[FlaskClient]) -> None:
    old, new = pair
    for client, is_own in ((old, True), (new, False)):
        entry = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]
        assert (entry["model_accuracy"]["late_b"] is not None) == is_own
        daily = get(client, "/daily_signals")["tickers"]["SPY"]
        assert (daily["model_accuracy"] is not None) == is_own
        assert (daily["highlow_model"] is not None) == is_own
        assert daily["predicted_range"] == get(old, "/daily_signals")["tickers"]["SPY"]["predicted_range"], "as locked"
        model = get(client, "/v2/trading-directions/SPY")["model"]
        assert (model["artifact_sha256"] is not None) == is_own
        assert model["model_id"] == get(old, "/v2/models/SPY")["model_id"]
