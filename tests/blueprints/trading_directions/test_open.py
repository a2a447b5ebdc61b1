"""`/trading_directions` while the market is open: signals, levels and accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blueprints.trading_directions.checking import Serve, ask
from tests.support import models_saying, new_york


def test_open_gives_each_ticker_its_signal(serve: Serve) -> None:
    body = ask(serve())
    assert list(body["tickers"]) == ["SPY", "QQQ", "IWM"]
    assert (body["market_open"], body["session"], body["current_hour"]) == (True, "late", 11)
    for entry in body["tickers"].values():
        assert entry["locked"]
        assert entry["locked_at"] == "2025-03-11T11:00:00-04:00"
        assert entry["lock_expires_at"] == "2025-03-11T12:00:00-04:00"
        assert entry["reason_code"] in ("SIGNAL", "NEUTRAL_ZONE")


def test_both_spellings_are_one_answer(serve: Serve) -> None:
    client = serve().test_client()
    assert client.get("/trading-directions").get_json() == client.get("/trading_directions").get_json()


def test_two_calls_at_one_moment_are_the_same_bytes(serve: Serve) -> None:
    client = serve().test_client()
    assert client.get("/trading_directions").data == client.get("/trading_directions").data


@pytest.mark.parametrize(
    ("p", "action", "label", "bucket"),
    [
        (0.91, "LONG", "BUY_CALL", "very_strong_bull"),
        (0.22, "SHORT", "BUY_PUT", "weak_bear"),
        (0.5, "NO_TRADE", "NO_TRADE", "neutral"),
    ],
)
def test_action_label_and_bucket_go_together(
    serve: Serve, tmp_path: Path, p: float, action: str, label: str, bucket: str
) -> None:
    body = ask(serve(models_dir=models_saying(tmp_path / "m", p)))
    entry = body["tickers"]["QQQ"]
    assert (entry["action"], entry["action_label"], entry["bucket"]) == (action, label, bucket)
    assert entry["direction"] == {"NO_TRADE": "NEUTRAL"}.get(action, action)
    assert body["best_ticker"] == (None if action == "NO_TRADE" else "SPY"), "ties go by order"
    assert body["summary"]["actionable_tickers"] == ([] if action == "NO_TRADE" else ["SPY", "QQQ", "IWM"])


def test_levels_are_rounded_once_from_the_decision_price(serve: Serve, tmp_path: Path) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.95))
    entry = ask(app, "?ticker=SPY")["tickers"]["SPY"]
    decision = app.extensions["predict-server"].pipeline.signal("SPY", new_york("2025-03-11 11:30")).decision
    assert entry["take_profit"] == round(decision.price * 1.0025, 2)
    assert entry["stop_loss"] == round(decision.price * (1 - 0.0033), 2)
    assert entry["entry"] == {"price": round(decision.price, 2), "type": "MARKET"}
    assert entry["exit"]["time_limit"] == "2025-03-11T15:50:00-04:00"


@pytest.mark.parametrize(
    ("p", "shown"), [(0.7499999999, 0.749), (0.7500000001, 0.751), (0.2499999999, 0.249), (0.2500000001, 0.251)]
)
def test_neighbours_of_a_threshold_are_shown_on_their_own_side(
    serve: Serve, tmp_path: Path, p: float, shown: float
) -> None:
    entry = ask(serve(models_dir=models_saying(tmp_path / "m", p)))["tickers"]["SPY"]
    assert entry["probability"] == shown
    assert (entry["action"] == "LONG") == (entry["probability"] >= 0.75) == (entry["probability"] > 0.75)
    assert (entry["action"] == "SHORT") == (entry["probability"] <= 0.25) == (entry["probability"] < 0.25)


def test_accuracy_in_the_answer_is_the_loaded_reports(serve: Serve) -> None:
    app = serve()
    models = app.test_client().get("/models").get_json()["models"]
    body = ask(app)
    for ticker, entry in body["tickers"].items():
        cells = models[ticker]["metrics"]["cells"]
        early = [c["accuracy"] for c in cells if c["hour"] == 10]
        late_a = [c["accuracy"] for c in cells if c["hour"] >= 11 and c["target"] == "A"]
        late_b = [c["accuracy"] for c in cells if c["target"] == "B"]
        means = {"early": early, "late_a": late_a, "late_b": late_b}
        assert entry["model_accuracy"] == {name: round(sum(v) / len(v), 3) for name, v in means.items()}
        assert f"{ticker} {sum(late_b) / len(late_b):.1%}" in body["model_accuracy"]["late_target_b"]
        assert "sign rule" in body["model_accuracy"]["late_target_b"]
