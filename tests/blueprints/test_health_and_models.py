"""`/health`, `/models`, readiness, error shapes, CORS: counted field by field where v1 fixes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from app.clock import Timer
from app.config.settings import ARTEFACTS
from app.factory import POLICY, create_app
from app.model.features import FEATURES
from app.model.served import load_models
from app.signals.policy import SUPPORTED
from app.sqlite import REOPEN_AFTER_S
from tests.support import FakeClock, ScriptedMarket, models_saying, promoted_set, settings

Serve = Callable[..., Flask]
HEALTH = {
    "status": str,
    "model_loaded": bool,
    "version": str,
    "engine_version": str,
    "spec_version": str,
    "models_loaded": list,
    "v6_models_loaded": list,
    "swing_models_loaded": list,
    "supported_tickers": list,
    "active_model": str,
    "uptime_seconds": int,
    "timestamp": str,
    "degraded": list,
    "operations": dict,
}
UNLOADED = {"v6_loaded", "swing_loaded", "swing_3d_loaded", "swing_1d_loaded"}
LOADED = UNLOADED | {
    "v6_accuracy",
    "version",
    "trained_at",
    "data_end",
    "feature_count",
    "metrics",
    "baselines",
    "artifact_sha256",
}


def test_health_has_exactly_its_fields_and_asks_nobody(serve: Serve, market: ScriptedMarket) -> None:
    body = serve().test_client().get("/health").get_json()
    assert {name: type(value) for name, value in body.items()} == HEALTH
    assert (body["status"], body["model_loaded"], body["degraded"]) == ("ok", False, [])
    assert body["v6_models_loaded"] == ["SPY", "QQQ", "IWM"]
    assert market.calls == []


def test_health_stays_200_and_names_what_is_degraded(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    folder = models_saying(tmp_path / "m", 0.9)
    (promoted_set(folder) / "v6_IWM.json").unlink()
    app = serve(models_dir=folder, data_dir=tmp_path / "file", railway_replica="r1")
    response = app.test_client().get("/health")
    assert response.status_code == 200
    assert response.get_json()["degraded"] == ["no_model_IWM", "store", "calendar_unshared", "can_forget"]
    assert "IWM" in response.get_json()["operations"]["models_missing"]


def test_models_carry_the_artefacts_own_account(standing: Flask) -> None:
    body = standing.test_client().get("/models").get_json()
    assert set(body) == {
        "active_version",
        "models",
        "supported_tickers",
        "recommended_threshold",
        "spec_version",
        "engine_version",
    }
    for ticker, model in load_models(ARTEFACTS, SUPPORTED, POLICY).models.items():
        said = body["models"][ticker]
        assert set(said) == LOADED
        assert said["artifact_sha256"] == model.artifact_sha256
        assert said["feature_count"] == len(FEATURES)
        assert len(said["metrics"]["cells"]) == 11
        assert {"b1_accuracy", "b2_log_loss", "verdict", "n", "base_rate"} <= set(said["metrics"]["cells"][0])


def test_a_model_that_is_not_loaded_claims_no_accuracy(serve: Serve, tmp_path: Path) -> None:
    folder = models_saying(tmp_path / "m", 0.9)
    (promoted_set(folder) / "v6_IWM.json").unlink()
    said = serve(models_dir=folder).test_client().get("/models").get_json()["models"]["IWM"]
    assert set(said) == UNLOADED
    assert said["v6_loaded"] is False


def test_readiness_is_models_store_and_not_stopping_never_the_provider(
    serve: Serve, market: ScriptedMarket, tmp_path: Path
) -> None:
    app = serve()
    assert app.test_client().get("/readyz").status_code == 200
    app.extensions["predict-server"].stop()
    response = app.test_client().get("/readyz")
    assert (response.status_code, response.get_json()["reason"]) == (503, "stopping")
    assert app.test_client().get("/livez").status_code == 200
    assert serve(models_dir=tmp_path / "none").test_client().get("/readyz").status_code == 503
    (tmp_path / "file").write_text("not a folder")
    assert serve(data_dir=tmp_path / "file").test_client().get("/readyz").status_code == 503
    assert market.calls == []


@pytest.mark.parametrize("path", ["/readyz", "/health"])
def test_a_store_that_can_be_used_again_is_found_by_asking_for_health_alone(
    clock: FakeClock, market: ScriptedMarket, tmp_path: Path, path: str
) -> None:
    now = [1000.0]
    (tmp_path / "file").write_text("not a folder")
    known = settings(market="polygon", polygon_api_key="k-secret", data_dir=tmp_path / "file")
    client = create_app(known, clock=clock, transport=market, timer=Timer(now=lambda: now[0])).test_client()
    assert client.get("/readyz").status_code == 503
    assert "store" in client.get("/health").get_json()["degraded"]
    assert client.get("/health").get_json()["operations"]["cache"]["failing"] is True
    (tmp_path / "file").unlink()
    assert client.get("/readyz").status_code == 503, "it is tried again now and then, not with every probe"
    now[0] += REOPEN_AFTER_S
    client.get(path)
    assert client.get("/readyz").get_json() == {"status": "ok", "reason": None}
    health = client.get("/health").get_json()
    assert "store" not in health["degraded"]
    assert (health["operations"]["store"]["failing"], health["operations"]["cache"]["failing"]) == (False, False)


def test_readiness_names_the_store_and_shows_neither_its_path_nor_sqlites_words(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    client = serve(data_dir=tmp_path / "file").test_client()
    assert client.get("/readyz").get_json()["reason"] == "the store cannot be used"
    for shown in ("/readyz", "/health", "/trading_directions", "/replay?date=2025-03-10&time=11:00"):
        text = client.get(shown).text
        assert str(tmp_path) not in text
        assert "Errno" not in text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing-here", 404, "NOT_FOUND"),
        ("GET", "/trading_directions/", 404, "NOT_FOUND"),
        ("POST", "/trading_directions", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/debug/files", 404, "NOT_FOUND"),
        ("POST", "/set_model_version", 404, "NOT_FOUND"),
    ],
)
def test_wrong_paths_and_methods_get_json(standing: Flask, method: str, path: str, status: int, code: str) -> None:
    response = standing.test_client().open(path, method=method)
    assert response.status_code == status
    assert response.get_json()["error_code"] == code
    assert set(response.get_json()) == {"error", "error_code"}


def test_an_unforeseen_fault_says_nothing_but_its_id(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = serve()

    def broken(*args: object) -> None:
        raise RuntimeError("the secret is k-secret")

    monkeypatch.setattr("app.pipeline.Pipeline.board", broken)
    response = app.test_client().get("/trading_directions")
    assert response.status_code == 500
    assert response.get_json()["error_code"] == "INTERNAL"
    assert "k-secret" not in response.text
    assert "Traceback" not in response.text
    request_id = response.headers["X-Request-Id"]
    assert request_id in response.get_json()["error"]
    assert request_id in caplog.text
    assert "the secret is k-secret" in caplog.text


@pytest.mark.parametrize("path", ["/trading_directions", "/health", "/nothing-here"])
def test_any_origin_may_read(standing: Flask, path: str) -> None:
    response = standing.test_client().get(path, headers={"Origin": "https://example.test"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_demo_says_so_in_every_reason(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    for at in ("2025-03-11 11:30", "2025-03-11 09:40", "2025-03-08 12:00"):
        clock.set(at)
        body = app.test_client().get("/trading_directions?ticker=SPY").get_json()
        assert body["data_status"]["source"] == "demo"
        assert body["reason"].startswith("DEMO: ")
        assert body["tickers"]["SPY"]["reason"].startswith("DEMO: ")
        assert body["summary"]["recommendation"].startswith("DEMO: ")


def test_demo_and_recorded_signals_never_enter_the_real_record(tmp_path: Path, clock: FakeClock) -> None:
    create_app(settings(market="demo", data_dir=tmp_path), clock=clock).test_client().get("/trading_directions")
    folders = {path.parent.name for path in tmp_path.rglob("record.sqlite3")}
    assert len(folders) == 1
    assert folders.pop().startswith("demo-")
