"""`/trading_directions` without a signal: every gate, and a server without a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.factory import create_app
from app.market.bars import to_ms
from app.market.polygon import Reply
from tests.blueprints.trading_directions.checking import (
    Body,
    Serve,
    ask,
    gated,
    half_past_nine,
    midnight_today,
    no_open_anywhere,
    no_snapshot,
)
from tests.support import FakeClock, ScriptedMarket, dropping, models_saying, new_york, promoted_set, settings


def test_before_ten_there_is_no_signal_but_the_market_is_shown(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:59:59.999")
    body = ask(serve())
    gated(body, "INSUFFICIENT_DATA", fault=False)
    assert body["tickers"]["SPY"]["today_open"] is not None
    assert body["tickers"]["SPY"]["current_price"] is not None


def test_missing_daily_bar(serve: Serve, market: ScriptedMarket) -> None:
    market.edit, market.fault = no_open_anywhere, no_snapshot
    gated(ask(serve()), "MISSING_DAILY_BAR", fault=False)


def test_missing_daily_open(serve: Serve, market: ScriptedMarket) -> None:
    def edit(path: str, body: Body) -> Body:
        rows = [{**r, "o": None} if "/day/" in path and midnight_today(r) else r for r in body.get("results", [])]
        return dropping("/minute/", half_past_nine)(path, {**body, "results": rows})

    market.edit, market.fault = edit, no_snapshot
    gated(ask(serve()), "MISSING_DAILY_OPEN", fault=False)


def test_insufficient_daily_history(serve: Serve, market: ScriptedMarket) -> None:
    market.edit = dropping("/day/", lambda row: row["t"] < to_ms(new_york("2025-02-14 00:00")))
    gated(ask(serve()), "INSUFFICIENT_DATA", fault=False)


def test_insufficient_data_when_the_price_is_too_old(serve: Serve, market: ScriptedMarket) -> None:
    late = to_ms(new_york("2025-03-11 10:45"))
    market.edit = dropping("/minute/", lambda row: late <= row["t"] < to_ms(new_york("2025-03-11 11:00")))
    gated(ask(serve()), "INSUFFICIENT_DATA", fault=False)


def test_no_bar_at_all_today_on_the_live_feed_is_a_missing_daily_bar(serve: Serve, market: ScriptedMarket) -> None:
    market.edit, market.fault = dropping("/", midnight_today), no_snapshot
    gated(ask(serve()), "MISSING_DAILY_BAR", fault=False)


def test_a_trading_day_without_recorded_bars_is_open_with_no_market_data(
    serve_recorded: Serve, clock: FakeClock
) -> None:
    clock.set("2026-06-10 12:00")
    body = ask(serve_recorded())
    assert body["market_open"]
    gated(body, "NO_MARKET_DATA", fault=False)


def test_provider_failure(serve: Serve, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(500, None)
    gated(ask(serve()), "DATA_FETCH_ERROR", fault=True)


def test_rate_limited(serve: Serve, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(429, None)
    gated(ask(serve()), "RATE_LIMITED", fault=True)


def test_the_order_of_ties_and_lists_is_spy_qqq_iwm_whatever_was_asked(serve: Serve, tmp_path: Path) -> None:
    body = ask(serve(models_dir=models_saying(tmp_path / "m", 0.91)), "?tickers=IWM,QQQ,SPY")
    assert body["best_ticker"] == "SPY"
    assert body["summary"]["actionable_tickers"] == ["SPY", "QQQ", "IWM"]


def test_the_eleven_oclock_price_stays_after_the_close(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    said = ask(app)["tickers"]["SPY"]["price_11am"]
    clock.set("2025-03-11 17:00")
    assert ask(app)["tickers"]["SPY"]["price_11am"] == said


def test_the_plan_is_named(serve: Serve, market: ScriptedMarket) -> None:
    assert ask(serve())["data_status"]["plan"] == "real_time"
    assert ask(serve(polygon_delay_minutes=15))["data_status"]["plan"] == "delayed"


def test_a_plan_without_todays_bars_names_itself_in_the_reason(serve: Serve, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(403, {"status": "NOT_AUTHORIZED", "message": "not in your plan"})
    body = ask(serve())
    gated(body, "MISSING_DAILY_BAR", fault=False)
    assert "plan (end_of_day)" in body["tickers"]["SPY"]["reason"]
    assert body["data_status"]["plan"] == "end_of_day"


def test_one_bad_ticker_leaves_the_others_their_signals(serve: Serve, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(500, None) if "/QQQ/" in path else None
    tickers = ask(serve())["tickers"]
    assert tickers["QQQ"]["error_code"] == "DATA_FETCH_ERROR"
    assert tickers["SPY"]["locked"]
    assert tickers["IWM"]["locked"]


@pytest.mark.parametrize("price", [5e-324, 1e-30, 1e-14])
def test_a_price_beyond_all_reason_is_that_tickers_fault(serve: Serve, market: ScriptedMarket, price: float) -> None:
    before_eleven = to_ms(new_york("2025-03-11 10:59"))

    def edit(path: str, body: Body) -> Body:
        rows = [
            {**row, "l": price, "c": price} if row["t"] == before_eleven and "/SPY/range/1/minute" in path else row
            for row in body.get("results", [])
        ]
        return {**body, "results": rows}

    market.edit = edit
    tickers = ask(serve())["tickers"]
    assert tickers["SPY"]["error_code"] == "MODEL_UNAVAILABLE"
    assert tickers["QQQ"]["locked"]


def test_a_missing_model_is_that_tickers_fault(serve: Serve, tmp_path: Path) -> None:
    folder = models_saying(tmp_path / "m", 0.9)
    (promoted_set(folder) / "v6_QQQ.npz").write_bytes(b"damaged")
    body = ask(serve(models_dir=folder))
    assert body["tickers"]["QQQ"]["error_code"] == "MODEL_UNAVAILABLE"
    assert body["tickers"]["QQQ"]["model_accuracy"] == {"early": None, "late_a": None, "late_b": None}
    assert body["tickers"]["QQQ"]["today_open"] is not None
    assert body["tickers"]["SPY"]["action"] == "LONG"


def test_no_model_at_all_is_503_while_open_and_closed_answers_go_on(
    serve: Serve, clock: FakeClock, tmp_path: Path
) -> None:
    app = serve(models_dir=tmp_path / "nothing")
    assert ask(app, status=503)["error_code"] == "MODEL_UNAVAILABLE"
    clock.set("2025-03-08 12:00")
    assert ask(app)["model_accuracy"]["peak_hours"] == "No model is loaded."


def test_neutral_zone(serve: Serve, tmp_path: Path) -> None:
    entry = ask(serve(models_dir=models_saying(tmp_path / "m", 0.6)))["tickers"]["SPY"]
    assert (entry["reason_code"], entry["probability"], entry["confidence_tier"]) == ("NEUTRAL_ZONE", 0.6, "medium")
    assert entry["locked"]


def test_the_market_closed_gate_comes_before_every_fault(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-08 12:00")
    market.fault = lambda path: Reply(500, None)
    gated(ask(serve()), "MARKET_CLOSED", fault=False)


def without_key(tmp_path: Path, clock: FakeClock) -> Flask:
    return create_app(settings(market="polygon", polygon_api_key="", data_dir=tmp_path), clock=clock)


def test_without_a_key_an_open_market_is_503_and_never_a_signal(tmp_path: Path, clock: FakeClock) -> None:
    body = ask(without_key(tmp_path, clock), status=503)
    assert body == {"error": "No market-data key is configured.", "error_code": "DATA_FETCH_ERROR"}


def test_without_a_key_before_ten_is_503_too(tmp_path: Path, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:40")
    ask(without_key(tmp_path, clock), status=503)


def test_without_a_key_closed_answers_and_health_go_on(tmp_path: Path, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    app = without_key(tmp_path, clock)
    gated(ask(app), "MARKET_CLOSED", fault=False)
    assert app.test_client().get("/health").get_json()["degraded"] == ["no_api_key"]


def test_without_a_key_what_is_in_the_record_is_served(serve: Serve, tmp_path: Path, clock: FakeClock) -> None:
    said = ask(serve())["tickers"]
    kept = ask(without_key(tmp_path, clock))["tickers"]
    assert [kept[t]["probability_raw"] for t in kept] == [said[t]["probability_raw"] for t in said]
