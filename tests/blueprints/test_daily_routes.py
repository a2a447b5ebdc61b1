"""`/daily_signals`, `/signal_breakdown`, `/volatility_meter`, `/price_ranges`: what their readers dereference is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.config.settings import ARTEFACTS
from app.factory import create_app
from app.market.polygon import Reply
from app.signals.policy import SUPPORTED
from tests.blueprints.contract import keep_or_compare, kind
from tests.support import (
    FakeClock,
    ScriptedMarket,
    dropping,
    models_saying,
    new_york,
    promoted_files,
    save_models,
    settings,
)
from tests.waiting import PATIENCE_S

Body = dict[str, Any]
Serve = Callable[..., Flask]
ROUTES = ("/daily_signals", "/signal_breakdown", "/volatility_meter", "/price_ranges")
OVERVIEW_NUMBERS = ("probability", "current_price", "target_price", "stop_loss", "risk_reward", "model_accuracy")


def ask(app: Flask, path: str, status: int = 200) -> Body:
    response = app.test_client().get(path)
    assert response.status_code == status, response.text
    body: Body = response.get_json()
    return body


def test_the_overview_gives_what_the_morning_panel_reads(standing: Flask) -> None:
    body = ask(standing, "/daily_signals")
    assert (body["date"], body["is_after_hours"], body["market_status"]) == ("2025-03-11", False, "OPEN")
    assert body["next_trading_day"] == "Tuesday, Mar 11"
    assert body["market_signal"] in ("BULLISH", "BEARISH", "MIXED")
    assert all(type(body["summary"][side]) is list for side in ("buys", "sells", "holds"))
    assert sum(len(found) for found in body["summary"].values()) == 3
    for entry in body["tickers"].values():
        assert all(kind(entry[name]) == "number" for name in OVERVIEW_NUMBERS)
        assert "probability_close_above_open" in entry["intraday_model"]
        assert 0 <= entry["intraday_model"]["time_pct"] <= 1
        assert 0 <= entry["intraday_model"]["position_in_range"] <= 100
        assert entry["prediction_source"] == "intraday"


@pytest.mark.parametrize(
    ("p", "signal", "strength", "mood", "action"),
    [
        (0.91, "BUY", "STRONG", "BULLISH", "LONG"),
        (0.65, "BUY", "MODERATE", "BULLISH", "NO_TRADE"),
        (0.52, "HOLD", "NEUTRAL", "MIXED", "NO_TRADE"),
        (0.12, "SELL", "STRONG", "BEARISH", "SHORT"),
    ],
)
def test_the_overview_follows_its_ladder_and_the_action_the_policy(
    serve: Serve, tmp_path: Path, p: float, signal: str, strength: str, mood: str, action: str
) -> None:
    body = ask(serve(models_dir=models_saying(tmp_path / "m", p)), "/daily_signals")
    entry = body["tickers"]["SPY"]
    assert (entry["signal"], entry["strength"], entry["action"]) == (signal, strength, action)
    assert body["market_signal"] == mood
    assert (body["best_trade"] is None) == (signal == "HOLD")
    assert entry["target_price"] == entry["predicted_range"][{"BUY": "high", "SELL": "low"}.get(signal, "high")] or (
        signal == "HOLD" and entry["target_price"] == entry["current_price"]
    )
    if signal == "SELL":
        assert body["summary"]["sells"][0]["probability"] == pytest.approx(1 - p)


def test_its_accuracy_is_that_of_the_cell_that_speaks(standing: Flask) -> None:
    entry = ask(standing, "/daily_signals")["tickers"]["SPY"]
    cells = ask(standing, "/models")["models"]["SPY"]["metrics"]["cells"]
    cell = next(c for c in cells if (c["target"], c["hour"]) == ("B", 11))
    assert entry["model_accuracy"] == round(cell["accuracy"], 3)


def test_the_range_is_the_one_that_was_forecast_at_the_decision_and_stays_until_the_next_one(
    serve: Serve, clock: FakeClock
) -> None:
    app = serve()
    first = ask(app, "/daily_signals")["tickers"]["SPY"]
    clock.set("2025-03-11 11:59")
    later = ask(app, "/daily_signals")["tickers"]["SPY"]
    assert later["current_price"] != first["current_price"]
    for name in ("predicted_range", "highlow_model"):
        assert later[name] == first[name]
    found, expected = first["highlow_model"], first["predicted_range"]
    assert (found["predicted_low"], found["predicted_high"]) == (expected["low"], expected["high"])
    assert found["low_pct"] < 0 < found["high_pct"]
    clock.set("2025-03-11 12:10")
    assert ask(app, "/daily_signals")["tickers"]["SPY"]["predicted_range"] != expected


def test_less_of_the_day_leaves_a_narrower_range(serve: Serve, clock: FakeClock) -> None:
    app, widths = serve(), []
    for moment in ("2025-03-11 10:30", "2025-03-11 15:30"):
        clock.set(moment)
        entry = ask(app, "/daily_signals")["tickers"]["SPY"]["predicted_range"]
        widths.append(entry["high"] - entry["low"])
    assert widths[1] < widths[0]


def test_a_trade_has_the_reward_and_the_risk_of_its_range(serve: Serve, tmp_path: Path) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.91))
    for entry in ask(app, "/daily_signals")["tickers"].values():
        price, found = entry["current_price"], entry["predicted_range"]
        assert entry["risk_reward"] == pytest.approx((found["high"] - price) / (price - found["low"]), abs=0.02)
        assert entry["risk_reward"] != 1


def test_its_capture_rate_is_that_of_the_report_of_the_loaded_artefact(serve: Serve, tmp_path: Path) -> None:
    shipped = ask(serve(), "/daily_signals")["tickers"]["SPY"]["highlow_model"]
    artefacts = {}
    for ticker in SUPPORTED:
        arrays, metadata, _ = promoted_files(ARTEFACTS).member(ticker)
        changed = deepcopy(dict(metadata))
        changed["evaluation"]["ranges"]["0.8"]["11"]["both"] = 0.123456
        artefacts[ticker] = (arrays, changed)
    save_models(tmp_path / "m", artefacts)
    app = serve(models_dir=tmp_path / "m", data_dir=tmp_path / "other")
    swapped = ask(app, "/daily_signals")["tickers"]["SPY"]["highlow_model"]
    assert swapped == {**shipped, "capture_rate": 0.123}
    assert shipped["capture_rate"] != 0.123


def test_a_decision_from_before_there_were_ranges_has_the_atr(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr("app.model.ranges.DECIDED", ())
        ask(serve(), "/trading_directions")
    app = serve()
    entry = ask(app, "/daily_signals")["tickers"]["SPY"]
    assert entry["highlow_model"] is None
    assert entry["prediction_source"] == "intraday"
    high, low = entry["predicted_range"]["high"], entry["predicted_range"]["low"]
    assert entry["current_price"] == pytest.approx((high + low) / 2, abs=0.011)
    assert ask(app, "/v2/trading-directions/SPY")["lock"]["bars_agree"] is True, "what was not said is not contradicted"


@pytest.mark.parametrize("moment", ["2025-03-11 18:00", "2025-03-08 12:00", "2025-03-11 09:45"])
def test_without_a_signal_and_a_swing_model_the_overview_invents_nothing(
    serve: Serve, clock: FakeClock, tmp_path: Path, moment: str
) -> None:
    clock.set(moment)
    body = ask(serve(models_dir=models_saying(tmp_path / "m", 0.9, swing={})), "/daily_signals")
    assert {entry["error_code"] for entry in body["tickers"].values()} == {"INSUFFICIENT_DATA"}
    assert not any("model" in entry["error"] for entry in body["tickers"].values()), "no model is missing"
    assert body["summary"] == {"buys": [], "sells": [], "holds": []}
    assert body["best_trade"] is None


def test_the_breakdown_has_twelve_indicators_of_completed_days(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    one = ask(app, "/signal_breakdown")
    for entry in one["tickers"].values():
        assert len(entry["indicators"]) == 12
        assert all(type(row["value"]) is str for row in entry["indicators"])
        assert entry["summary"]["total"] == 12
        assert sum(entry["summary"][side] for side in ("bullish", "bearish", "neutral")) == 12
    clock.set("2025-03-11 15:45")
    assert ask(app, "/signal_breakdown")["tickers"] == one["tickers"], "the running day changes nothing"
    clock.set("2025-03-11 16:20")
    assert ask(app, "/signal_breakdown")["tickers"] != one["tickers"], "the day is complete now"


def test_the_meter_has_the_market_and_each_ticker(serve: Serve) -> None:
    body = ask(serve(), "/volatility_meter")
    scores = [entry["volatility_score"] for entry in body["tickers"].values()]
    assert body["market_volatility_score"] == pytest.approx(sum(scores) / 3, abs=0.001)
    assert body["trading_guidance"]
    for entry in body["tickers"].values():
        assert entry["regime"] in ("LOW", "NORMAL", "HIGH")
        assert entry["volatility_percentile"] == pytest.approx(entry["volatility_score"] * 100, abs=0.1)


def test_too_few_days_are_that_tickers_error(serve: Serve, market: ScriptedMarket) -> None:
    short = new_york("2024-12-15 00:00").timestamp() * 1000
    market.edit = lambda path, body: (
        dropping("/day/", lambda row: row["t"] < short)(path, body) if "/QQQ/" in path else body
    )
    tickers = ask(serve(), "/volatility_meter")["tickers"]
    assert tickers["QQQ"]["error_code"] == "INSUFFICIENT_DATA"
    assert "error" not in tickers["SPY"]


def test_ranges_of_an_open_session(serve: Serve) -> None:
    entry = ask(serve(), "/price_ranges")["tickers"]["SPY"]
    assert entry["ticker"] == "SPY"
    for name in ("premarket", "first_30min", "current_session", "aftermarket", "yesterday_session", "rolling_24h"):
        assert entry[name]["high"] >= entry[name]["low"]
        assert entry[name]["color"].startswith("#")
    assert {"open", "close"} <= set(entry["premarket"])
    assert {"open", "last"} <= set(entry["current_session"])
    assert entry["ml_refined"] == {"available": False}


def test_ranges_on_a_monday_reach_back_to_friday(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-10 08:00")
    entry = ask(serve(), "/price_ranges")["tickers"]["SPY"]
    assert entry["aftermarket"] is not None
    assert entry["yesterday_session"] is not None
    assert entry["premarket"] is not None
    assert entry["current_session"] is None


@pytest.mark.parametrize("route", ROUTES)
def test_one_failing_ticker_leaves_the_others_alone(serve: Serve, market: ScriptedMarket, route: str) -> None:
    market.fault = lambda path: Reply(500, None) if "/QQQ/" in path else None
    tickers = ask(serve(), route)["tickers"]
    assert tickers["QQQ"]["error_code"] == "DATA_FETCH_ERROR"
    assert "error" not in tickers["SPY"]


@pytest.mark.parametrize("route", ROUTES)
def test_without_a_key_an_unknown_symbol_changes_nothing(tmp_path: Path, clock: FakeClock, route: str) -> None:
    app = create_app(settings(market="polygon", polygon_api_key="", data_dir=tmp_path), clock=clock)
    ask(app, route, 503)
    ask(app, f"{route}?tickers=UVXY,SPY", 503)


def test_a_demo_marks_its_reasons(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    rows = ask(app, "/signal_breakdown")["tickers"]["SPY"]["indicators"]
    assert all(row["reason"].startswith("DEMO: ") for row in rows)


@pytest.mark.parametrize("route", ROUTES)
def test_unknown_symbols(standing: Flask, route: str) -> None:
    assert ask(standing, f"{route}?ticker=UVXY", 400)["error_code"] == "UNSUPPORTED_TICKER"
    tickers = ask(standing, f"{route}?tickers=UVXY,SPY")["tickers"]
    assert tickers["UVXY"]["error_code"] == "UNSUPPORTED_TICKER"
    assert "error" not in tickers["SPY"]


def cases(serve: Serve, clock: FakeClock, market: ScriptedMarket, folder: Path) -> Iterator[tuple[str, Body]]:
    app = serve()
    for route in ROUTES:
        name = route[1:]
        clock.set("2025-03-11 11:30")
        yield f"{name}_open", ask(app, route)
        yield f"{name}_one_ticker", ask(app, f"{route}?ticker=SPY")
        yield f"{name}_unsupported", ask(app, f"{route}?tickers=UVXY,SPY")
        clock.set("2025-03-08 12:00")
        yield f"{name}_closed", ask(app, route)
        clock.set("2025-03-11 11:30")
        market.fault = lambda path: Reply(500, None)
        yield f"{name}_fault", ask(serve(data_dir=folder / name), route)
        market.fault = lambda path: None
    yield "health", ask(app, "/health")
    yield "models", ask(app, "/models")
    yield "model_info", ask(app, "/model_info")
    yield "batch_predict", app.test_client().post("/batch_predict", json={"fvgs": []}).get_json()
    yield "predict_error", app.test_client().post("/predict", json={}).get_json()


def test_samples_have_todays_shape(serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> None:
    for name, body in cases(serve, clock, market, tmp_path):
        if name == "health":
            body["operations"] = {}
        keep_or_compare(name, body)


@pytest.mark.parametrize(
    ("path", "moment", "fetches"),
    [
        ("/daily_signals", "2025-03-11 11:30", 7),
        ("/price_ranges", "2025-03-11 11:30", 6),
        ("/signal_breakdown", "2025-03-11 11:30", 3),
        ("/volatility_meter", "2025-03-11 11:30", 3),
        ("/volatility_meter", "2025-03-11 16:20", 3),
        ("/price_ranges", "2025-03-08 12:00", 3),
    ],
)
def test_a_cold_start_fetches_everything_side_by_side(
    serve: Serve, market: ScriptedMarket, clock: FakeClock, path: str, moment: str, fetches: int
) -> None:
    """No call is answered before all of them are under way."""
    clock.set(moment)
    met = threading.Barrier(fetches)

    def wait(path: str) -> Reply | None:
        met.wait(PATIENCE_S)
        return None

    app = serve()
    market.fault = wait
    tickers = ask(app, path)["tickers"]
    assert not met.broken
    assert len(market.calls) == fetches
    assert not [entry for entry in tickers.values() if "error" in entry]


DOORS = (*ROUTES, "/trading_directions", "/mtf", "/swing", "/northstar", "/rpe")


@pytest.mark.parametrize("path", DOORS)
def test_a_cold_start_has_longer_than_a_read(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, clock: FakeClock, market: ScriptedMarket, path: str
) -> None:
    """Ruling A2: ten seconds until the bars are here for the first time, then five."""
    monkeypatch.setattr("app.pipeline.prefetch.READ_S", 0.0)
    app = serve()
    assert not [entry for entry in ask(app, path)["tickers"].values() if "error" in entry]
    clock.forward(seconds=40)
    assert not [entry for entry in ask(app, path)["tickers"].values() if "error" in entry], "nothing newer is due"
