"""What the swing models say, in v1: the shape that its readers dereference, whose day it is, and that no number is invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.config.settings import ARTEFACTS
from app.market.polygon import Reply
from app.model.swing import HORIZONS
from tests.support import FakeClock, ScriptedMarket, dropping, models_saying, new_york, promoted_files, save_models

Body = dict[str, Any]
Serve = Callable[..., Flask]
BASE_RATES = {1: 0.534, 3: 0.562, 5: 0.57, 10: 0.594}
PROBABILITIES = [f"prob_{horizon}d_up" for horizon in HORIZONS]
SIGNALS = [f"signal_{horizon}d" for horizon in HORIZONS]


def ask(app: Flask, path: str, status: int = 200) -> Body:
    response = app.test_client().get(path)
    assert response.status_code == status, response.text
    body: Body = response.get_json()
    return body


def v6_swing(app: Flask, path: str = "/mtf", ticker: str = "SPY") -> Any:
    entry = ask(app, path)["tickers"][ticker]
    return (entry["swing"] if path == "/mtf" else entry)["v6_swing"]


@pytest.mark.parametrize("path", ["/mtf", "/swing"])
@pytest.mark.parametrize("moment", ["2025-03-11 11:30", "2025-03-11 09:00", "2025-03-11 18:00", "2025-03-08 12:00"])
def test_every_horizon_has_a_probability_at_any_time(serve: Serve, clock: FakeClock, path: str, moment: str) -> None:
    clock.set(moment)
    found = v6_swing(serve(), path)
    assert list(found) == [*PROBABILITIES, *SIGNALS, "unavailable_horizons"]
    assert [found[name] for name in PROBABILITIES] == list(BASE_RATES.values()), "the base rates: no model was better"
    assert {found[name] for name in SIGNALS} == {"NEUTRAL"}
    assert found["unavailable_horizons"] == []


def test_a_missing_horizon_is_even_and_is_listed(serve: Serve, tmp_path: Path) -> None:
    """A null would be shown as bearish (v1-contract.md 4.2)."""
    found = v6_swing(serve(models_dir=models_saying(tmp_path / "m", 0.6, swing={1: 0.9, 5: 0.1})))
    assert [found[name] for name in PROBABILITIES] == [0.9, 0.5, 0.1, 0.5]
    assert [found[name] for name in SIGNALS] == ["BULLISH", "NEUTRAL", "BEARISH", "NEUTRAL"]
    assert found["unavailable_horizons"] == ["3d", "10d"]


@pytest.mark.parametrize(
    ("p", "shown", "signal"),
    [
        (0.8, 0.799, "NEUTRAL"),
        (0.80001, 0.801, "BULLISH"),
        (0.2, 0.201, "NEUTRAL"),
        (0.19999, 0.199, "BEARISH"),
        (0.9999, 0.999, "BULLISH"),
    ],
)
def test_a_shown_probability_is_on_the_side_of_its_signal(
    serve: Serve, tmp_path: Path, p: float, shown: float, signal: str
) -> None:
    found = v6_swing(serve(models_dir=models_saying(tmp_path / "m", 0.6, swing={5: p})))
    assert (found["prob_5d_up"], found["signal_5d"]) == (shown, signal)


def test_without_a_swing_model_there_is_no_object_and_the_intraday_models_serve_on(
    serve: Serve, tmp_path: Path
) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.6, swing={}))
    entry = ask(app, "/mtf")["tickers"]["SPY"]
    assert entry["swing"]["v6_swing"] is None
    assert entry["swing"]["phase1"]["resolved"]
    assert entry["intraday"]["v6"]["target_a_prob"] == 0.6
    health = ask(app, "/health")
    assert (health["swing_models_loaded"], health["v6_models_loaded"]) == ([], ["SPY", "QQQ", "IWM"])
    assert "swing" in health["operations"]["models_missing"]
    assert "no_model_swing" in health["degraded"]


def test_health_and_models_say_what_is_loaded(serve: Serve, tmp_path: Path) -> None:
    assert ask(serve(), "/health")["swing_models_loaded"] == ["SPY", "QQQ", "IWM"]
    app = serve(data_dir=tmp_path / "d", models_dir=models_saying(tmp_path / "m", 0.6, swing={1: 0.5, 5: 0.5, 10: 0.5}))
    entry = ask(app, "/models")["models"]["QQQ"]
    assert (entry["swing_loaded"], entry["swing_3d_loaded"], entry["swing_1d_loaded"]) == (True, False, True)


@pytest.mark.parametrize("moment", ["2025-03-11 18:00", "2025-03-08 12:00", "2025-03-11 09:45", "2025-03-11 07:00"])
def test_without_an_hourly_signal_the_overview_rests_on_one_day(
    serve: Serve, clock: FakeClock, tmp_path: Path, moment: str
) -> None:
    """Ruling V6."""
    clock.set(moment)
    app = serve(models_dir=models_saying(tmp_path / "m", 0.9, swing={1: 0.65, 5: 0.1}))
    body = ask(app, "/daily_signals")
    entry = body["tickers"]["SPY"]
    assert (entry["prediction_source"], entry["intraday_model"]) == ("daily", None)
    assert entry["probability"] == entry["daily_probability"] == 0.65
    assert (entry["signal"], entry["strength"], entry["action"]) == ("BUY", "MODERATE", "NO_TRADE")
    assert (entry["target_a_prob"], entry["target_b_prob"]) == (None, None)
    assert entry["model_accuracy"] == 0.534, "of the report of one day"
    assert entry["current_price"] > 0
    assert len(body["summary"]["buys"]) == 3


def test_with_an_hourly_signal_the_probability_of_one_day_stands_beside_it(serve: Serve, tmp_path: Path) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.9, swing={1: 0.65}))
    entry = ask(app, "/daily_signals")["tickers"]["SPY"]
    assert (entry["prediction_source"], entry["probability"], entry["daily_probability"]) == ("intraday", 0.9, 0.65)


def test_an_open_market_without_a_price_gets_no_daily_close_for_one(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 11:30")
    market.fault = lambda path: None if "/day/" in path else Reply(500, None)
    entry = ask(serve(), "/daily_signals")["tickers"]["SPY"]
    assert "probability" not in entry
    assert entry["error_code"] == "DATA_FETCH_ERROR"


def test_the_running_day_moves_nothing_and_its_close_does(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    """The features are of the last completed day: seen by the model's inputs, which a changed daily bar moves."""
    app = serve()
    pipeline = app.extensions["predict-server"].pipeline
    days = []
    for time in ("08:00", "11:30", "15:59", "16:10", "16:20", "23:30"):
        clock.set(f"2025-03-11 {time}")
        days.append(pipeline.outlooks.outlook("SPY", clock()).day.isoformat())
    assert days == ["2025-03-10"] * 4 + ["2025-03-11"] * 2
    clock.set("2025-03-12 08:00")
    assert pipeline.outlooks.outlook("SPY", clock()).day.isoformat() == "2025-03-11"


def test_a_probability_whose_close_is_past_is_not_said_any_more(serve: Serve, clock: FakeClock) -> None:
    """From the close on until the day's own bar can be had."""
    clock.set("2025-03-11 16:10")
    found = v6_swing(serve())
    assert found["unavailable_horizons"] == ["1d"]
    assert (found["prob_1d_up"], found["signal_1d"]) == (0.5, "NEUTRAL")
    assert found["prob_5d_up"] == BASE_RATES[5]


def test_a_day_whose_bar_is_late_is_never_replaced_by_the_one_before(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 18:00")
    late = new_york("2025-03-11 00:00").timestamp() * 1000
    market.edit = dropping("/day/", lambda row: row["t"] == late)
    app = serve()
    assert v6_swing(app) is None
    assert ask(app, "/daily_signals")["tickers"]["SPY"]["error_code"] == "INSUFFICIENT_DATA"


def test_a_replay_of_a_past_day_is_what_was_live_then(serve: Serve, clock: FakeClock, tmp_path: Path) -> None:
    clock.set("2025-03-11 12:00")
    live = serve().extensions["predict-server"].pipeline.outlooks.outlook("QQQ", clock())
    clock.set("2025-05-20 18:00")
    later = serve(data_dir=tmp_path / "later").extensions["predict-server"].pipeline.outlooks
    replayed = later.outlook("QQQ", new_york("2025-03-11 12:00"))
    assert (replayed.day, replayed.horizons, replayed.close) == (live.day, live.horizons, live.close)
    assert later.outlook("QQQ", clock()).day > live.day


def trained_until(folder: Path, day: str) -> Path:
    """The shipped swing models as if they had been trained on the days to `day`."""
    arrays, metadata, _ = promoted_files(ARTEFACTS).member("swing")
    save_models(folder, {"swing": (arrays, {**metadata, "data": {**metadata["data"], "last_day": day}})})
    return folder


@pytest.mark.parametrize(("last_day", "in_sample"), [("2025-03-07", False), ("2025-03-10", True)])
def test_days_that_the_model_was_trained_on_are_marked(
    serve: Serve, clock: FakeClock, tmp_path: Path, last_day: str, in_sample: bool
) -> None:
    app = serve(models_dir=trained_until(tmp_path / "m", last_day))
    outlook = app.extensions["predict-server"].pipeline.outlooks.outlook("SPY", clock())
    assert str(outlook.day) == "2025-03-10"
    assert outlook.in_sample is in_sample


def test_a_closed_market_costs_no_call_beyond_the_daily_bars(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-08 12:00")
    app = serve()
    ask(app, "/swing")
    calls = len(market.calls)
    v6_swing(app)
    assert len(market.calls) == calls
    assert not [path for path in market.calls if "VIX" in path]
