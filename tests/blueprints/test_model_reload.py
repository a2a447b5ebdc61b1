"""A model set that is promoted under a running server: what each answer says before, at and after the turn of the hour."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.config.settings import ARTEFACTS
from app.factory import create_app
from app.live import model_watch
from app.model.registry import Registry
from app.signals.policy import SUPPORTED
from tests.support import (
    FakeClock,
    ScriptedMarket,
    counting_from,
    models_saying,
    new_york,
    promoted_files,
    promoted_set,
    settings,
)
from tests.telemetry.metrics.scraping import scrape
from tests.waiting import wait_for

DAY = "2025-03-11"
OLD_P, NEW_P = 0.9, 0.1
Serve = Callable[..., Flask]


class Promotions:
    """A registry with the set `old`, promoted the evening before, and with `new`."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder, self._clock, self._registry = folder / "models", clock, Registry(folder / "models")
        self.old, self.new = (self._copied(promoted_set(models_saying(folder / str(p), p))) for p in (OLD_P, NEW_P))
        self._registry.promote(self.old, counting_from(new_york("2025-03-10 17:00")))

    def _copied(self, model_set: Path) -> str:
        return shutil.copytree(model_set, self.folder / model_set.name).name

    def promote_new(self, at: str) -> None:
        self._clock.set(f"{DAY} {at}")
        self._registry.promote(self.new, counting_from(self._clock.at))

    def break_new(self) -> None:
        (self.folder / self.new / "v6_IWM.npz").write_bytes(b"damaged")


@pytest.fixture
def promotions(tmp_path: Path, clock: FakeClock) -> Promotions:
    return Promotions(tmp_path, clock)


@pytest.fixture
def app(serve: Serve, promotions: Promotions, clock: FakeClock, tmp_path: Path) -> Flask:
    clock.set(f"{DAY} 10:05")
    return serve(models_dir=promotions.folder, data_dir=tmp_path / "data")


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


def v6_live(client: FlaskClient) -> dict[str, Any]:
    """What is locked of SPY's decision, as version 2 says it."""
    return locked_part(get(client, "/v2/trading-directions/SPY"))


def v6_replayed(client: FlaskClient, time: str, *, recompute: bool = False) -> dict[str, Any]:
    more = "&recompute=true" if recompute else ""
    return locked_part(get(client, f"/v2/replay/SPY?at={DAY}T{time}:00-04:00{more}"))


def locked_part(signal: dict[str, Any]) -> dict[str, Any]:
    names = (
        "decision_hour",
        "action",
        "strength",
        "probability",
        "probability_a",
        "probability_b",
        "size",
        "levels",
        "versions",
    )
    ranges = [(found["level"], found["low"], found["high"]) for found in signal["ranges"]]
    assert len(ranges) == 2
    return {**{name: signal[name] for name in names}, "model_id": signal["model"]["model_id"], "ranges": ranges}


def test_live_is_replay_bit_for_bit_through_a_reload_also_for_a_server_that_starts_later(
    app: Flask, serve: Serve, promotions: Promotions, clock: FakeClock, tmp_path: Path
) -> None:
    client, live = app.test_client(), {}
    for time in ("10:05", "10:20", "10:55", "11:05", "11:55", "12:10"):
        clock.set(f"{DAY} {time}")
        if time == "10:20":
            promotions.promote_new(time)
        live[time] = v6_live(client)
    assert [said["action"] for said in live.values()] == ["BUY_CALL"] * 3 + ["BUY_PUT"] * 3
    assert len({said["model_id"] for said in live.values()}) == 2
    clock.set(f"{DAY} 12:40")
    late = serve(models_dir=promotions.folder, data_dir=tmp_path / "late").test_client()
    for time, said in live.items():
        assert v6_replayed(client, time) == said, "as it was recorded"
        assert v6_replayed(client, time, recompute=True) == said, "computed anew beside the record"
        assert v6_replayed(late, time) == said, "by a server that has no record, and began after the reload"
    assert v6_live(late) == live["12:10"]


def test_a_server_that_starts_within_the_hour_decides_it_by_the_model_that_was_promoted_when_it_began(
    serve: Serve, promotions: Promotions, clock: FakeClock, tmp_path: Path
) -> None:
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 10:40")
    client = serve(models_dir=promotions.folder, data_dir=tmp_path / "late").test_client()
    entry = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]
    assert (entry["action"], get(client, "/models")["active_version"]) == ("LONG", promotions.old)
    clock.set(f"{DAY} 11:05")
    entry = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]
    assert (entry["action"], get(client, "/models")["active_version"]) == ("SHORT", promotions.new)


PATHS = ("/models", "/v2/models", "/v2/models/SPY")


def test_all_that_is_said_of_models_changes_at_the_turn_of_the_hour_and_not_before(
    app: Flask, promotions: Promotions, clock: FakeClock
) -> None:
    client = app.test_client()
    before = {path: get(client, path) for path in PATHS}
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 10:59:59")
    assert {path: get(client, path) for path in PATHS} == before
    clock.set(f"{DAY} 11:00")
    assert all(get(client, path) != before[path] for path in PATHS)
    assert get(client, "/models")["active_version"] == get(client, "/v2/models")["set_id"] == promotions.new
    assert get(client, "/health")["active_model"] == promotions.new
    own = {model["ticker"]: model["model_id"] for model in get(client, "/v2/models")["models"]}
    clock.set(f"{DAY} 11:01")
    assert get(client, "/v2/trading-directions/SPY")["model"]["model_id"] == own["SPY"]


def test_health_says_what_is_promoted_and_when_it_takes_over(
    app: Flask, promotions: Promotions, clock: FakeClock
) -> None:
    client = app.test_client()
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 11:00")
    get(client, "/models")
    clock.set(f"{DAY} 11:20")
    Registry(promotions.folder).roll_back(counting_from(clock.at))
    look(app)
    said = get(client, "/health")["operations"]["models"]
    takes_over_at = f"{DAY}T12:00-04:00"
    assert said == {
        "served": promotions.new,
        "promoted": promotions.old,
        "takes_over_at": takes_over_at,
        "refused": None,
    }


def test_the_figures_of_the_new_model_stand_beside_no_decision_of_the_old_one(
    app: Flask, promotions: Promotions, clock: FakeClock
) -> None:
    client = app.test_client()
    own = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]
    assert own["model_accuracy"]["early"] is not None
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 11:00:02")  # the bars up to 11:00 are not here yet: the decision of 10:00 stands
    entry = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]
    assert (entry["action"], entry["probability_a"]) == (own["action"], own["probability_a"])
    assert get(client, "/models")["active_version"] == promotions.new
    assert set(entry["model_accuracy"].values()) == {None}
    assert get(client, "/v2/trading-directions/SPY")["model"]["artifact_sha256"] is None


def test_a_promoted_set_that_cannot_be_loaded_changes_no_answer_and_is_said_everywhere(
    app: Flask, promotions: Promotions, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = app.test_client()
    before = {path: get(client, path) for path in PATHS}
    promotions.break_new()
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 11:01")
    with caplog.at_level(logging.WARNING, "predict"):
        assert get(client, "/trading_directions?ticker=IWM")["tickers"]["IWM"]["action"] == "LONG"
    assert {path: get(client, path) for path in PATHS} == before
    why = (
        f"the promoted set {promotions.new} is not served: "
        "model of IWM refused: v6_IWM.npz is damaged: its hash is not the manifest's"
    )
    assert f"models_refused reason={why}" in [record.getMessage() for record in caplog.records]
    health = get(client, "/health")
    assert "model_set_refused" in health["degraded"]
    assert health["operations"]["models"] == {
        "served": promotions.old,
        "promoted": promotions.new,
        "takes_over_at": None,
        "refused": why,
    }
    assert health["operations"]["models_missing"] == {}
    found = scrape(app)
    assert found.by("predict_model_loaded", "ticker") == dict.fromkeys(SUPPORTED, 1)
    assert found.by("predict_model_reloads_total", "result") == {"served": 0, "refused": 1}
    assert found.value("predict_model_set_refused") == 1


def test_metrics_and_drift_are_those_of_the_new_models_from_the_turn_on(
    serve: Serve, clock: FakeClock, tmp_path: Path
) -> None:
    registry, shipped = Registry(tmp_path / "models"), promoted_files(ARTEFACTS)
    members = {ticker: shipped.member(ticker)[:2] for ticker in SUPPORTED}
    registry.promote(registry.write(members).name, counting_from(new_york("2025-03-10 17:00")))
    clock.set(f"{DAY} 10:05")
    app = serve(models_dir=registry.folder, data_dir=tmp_path / "data")
    client = app.test_client()
    get(client, "/trading_directions")
    assert scrape(app).by("predict_drift_decisions", "ticker") == dict.fromkeys(SUPPORTED, 1)
    other = {
        ticker: (arrays, {**about, "data": {**about["data"], "sha256": "of other bars"}})
        for ticker, (arrays, about) in members.items()
    }
    registry.promote(registry.write(other).name, counting_from(clock.at))
    clock.set(f"{DAY} 11:05")
    get(client, "/trading_directions?ticker=SPY")
    found = scrape(app)
    assert found.by("predict_drift_decisions", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 0}, (
        "those of the old are forgotten"
    )
    assert found.by("predict_model_reloads_total", "result") == {"served": 1, "refused": 0}
    assert found.value("predict_model_set_refused") == 0
    v6_replayed(client, "10:30", recompute=True)
    assert scrape(app).by("predict_drift_decisions", "ticker")["SPY"] == 1, "what the old model reads is not counted"


def test_those_who_follow_are_told_that_the_models_changed(
    app: Flask, promotions: Promotions, clock: FakeClock
) -> None:
    events = app.extensions["predict-server"]
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 10:30")
    before = events.cache_validity(("SPY",)).revision
    look(app)
    assert events.cache_validity(("SPY",)).revision == before, "nothing has changed yet"
    clock.set(f"{DAY} 11:00")
    look(app)
    assert events.cache_validity(("SPY",)).revision > before


def look(app: Flask) -> None:
    app.extensions["predict-server"].pipeline._models.look()


def test_a_running_server_takes_a_promotion_over_by_itself_while_the_market_is_closed(
    serve: Serve, promotions: Promotions, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_watch, "LOOK_AGAIN_S", 0.01)
    clock.set(f"{DAY} 17:00")
    app = serve(models_dir=promotions.folder, data_dir=tmp_path / "data")
    server, client = app.extensions["predict-server"], app.test_client()
    server.start()
    try:
        revision = server.cache_validity(SUPPORTED).revision
        promotions.promote_new("17:10")
        wait_for(lambda: server.pipeline.models.set_id == promotions.new)
        assert get(client, "/models")["active_version"] == promotions.new
        wait_for(lambda: server.cache_validity(SUPPORTED).revision > revision, "kept answers are of the old models")
    finally:
        server.close()


def test_the_record_of_the_demo_stays_where_it_is_when_models_change(
    promotions: Promotions, clock: FakeClock, tmp_path: Path
) -> None:
    clock.set(f"{DAY} 10:05")
    known = settings(market="demo", data_dir=tmp_path / "demo", models_dir=promotions.folder)
    client = create_app(known, clock=clock).test_client()
    old = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]["action"]
    promotions.promote_new("10:20")
    clock.set(f"{DAY} 11:05")
    new = get(client, "/trading_directions?ticker=SPY")["tickers"]["SPY"]["action"]
    assert (old, new) == ("LONG", "SHORT")
    signals = get(client, f"/v2/signals/SPY?from={DAY}&to={DAY}")["signals"]
    assert {signal["decision_hour"]: signal["action"] for signal in signals} == {10: "BUY_CALL", 11: "BUY_PUT"}
    assert len(list((tmp_path / "demo").glob("demo-*"))) == 1


def test_a_market_without_a_key_serves_a_new_set_too(
    promotions: Promotions, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    clock.set(f"{DAY} 17:00")
    known = settings(market="polygon", data_dir=tmp_path / "keyless", models_dir=promotions.folder)
    app = create_app(known, clock=clock)
    assert get(app.test_client(), "/models")["active_version"] == promotions.old
    promotions.promote_new("17:10")
    look(app)
    assert get(app.test_client(), "/models")["active_version"] == promotions.new
