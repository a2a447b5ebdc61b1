"""`/trading_directions` in every variant of v1-contract.md 4.1 and policy.md 13, counted field by field."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.factory import create_app
from app.market.bars import to_ms
from app.market.polygon import Reply
from tests.support import FakeClock, ScriptedMarket, dropping, models_saying, new_york, settings

SAMPLES = Path(__file__).parent.parent / "contract" / "v1"
NAMES_ONE = re.compile(r"[?&]ticker=(?!all|ALL)\w")
Body = dict[str, Any]
Serve = Callable[..., Flask]

TOP = {
    "generated_at": str,
    "current_time_et": str,
    "current_hour": int,
    "market_open": bool,
    "session": str,
    "time_multiplier": float,
    "tickers": dict,
    "best_ticker": (str, None),
    "summary": dict,
    "trading_rules": dict,
    "model_accuracy": dict,
    "message": str,
    "spec_version": str,
    "engine_version": str,
    "data_status": dict,
}
CLOSED_ONLY = {"action": str, "reason": str}
MIRROR = {
    "ticker": str,
    "action": str,
    "reason": str,
    "action_label": str,
    "direction": str,
    "probability_a": (float, None),
    "probability_b": (float, None),
    "session": str,
    "bucket": str,
    "position_pct": float,
    "entry": (dict, None),
    "exit": (dict, None),
}
ENTRY = {
    "action": str,
    "action_label": str,
    "direction": str,
    "reason": str,
    "reason_code": str,
    "probability_a": (float, None),
    "probability_b": (float, None),
    "target_a_prob": (float, None),
    "target_b_prob": (float, None),
    "probability": (float, None),
    "active_target": (str, None),
    "session": str,
    "bucket": str,
    "confidence_tier": str,
    "confidence": int,
    "position_pct": float,
    "current_price": (float, None),
    "today_open": (float, None),
    "price_11am": (float, None),
    "today_change_pct": (float, None),
    "stop_loss": (float, None),
    "take_profit": (float, None),
    "entry": (dict, None),
    "exit": (dict, None),
    "thresholds": dict,
    "multipliers": dict,
    "model_accuracy": dict,
    "bars_analyzed": int,
    "in_sample": bool,
    "locked": bool,
    "locked_at": (str, None),
    "lock_expires_at": (str, None),
    "probability_raw": (float, None),
    "spec_version": str,
    "engine_version": str,
}
FAULT = {"error": str, "error_code": str}
NESTED: dict[str, dict[str, Any]] = {
    "summary": {"recommendation": str, "actionable_tickers": list, "best_opportunity": (str, None)},
    "trading_rules": {"entry": list, "sizing": dict, "exit": dict},
    "model_accuracy": {"late_target_a": str, "late_target_b": str, "peak_hours": str},
    "data_status": {
        "source": str,
        "plan": (str, None),
        "delayed": bool,
        "stale": bool,
        "as_of": (str, None),
        "age_s": (int, None),
    },
}
ENTRY_NESTED: dict[str, dict[str, Any]] = {
    "thresholds": {"long": float, "short": float, "neutral_low": float, "neutral_high": float},
    "multipliers": {"time": float, "agreement": float, "combined": float},
    "model_accuracy": {"early": (float, None), "late_a": (float, None), "late_b": (float, None)},
    "entry": {"price": float, "type": str},
    "exit": {"take_profit": float, "stop_loss": float, "time_limit": str},
}
ENUMS = {
    "action": {"LONG", "SHORT", "NO_TRADE"},
    "action_label": {"BUY_CALL", "BUY_PUT", "NO_TRADE"},
    "direction": {"LONG", "SHORT", "NEUTRAL"},
    "active_target": {"A", "B", None},
    "session": {"early", "late"},
    "confidence_tier": {"very_high", "high", "medium", "low"},
}


def check_fields(found: Body, schema: dict[str, Any], where: str) -> None:
    """Exactly these keys, each of its type: an extra or a missing one fails by name."""
    assert set(found) - set(schema) == set(), f"{where}: extra fields"
    assert set(schema) - set(found) == set(), f"{where}: missing fields"
    for name, kind in schema.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        good = any(found[name] is None if k is None else type(found[name]) is k for k in kinds)
        assert good, f"{where}.{name} is {found[name]!r}"


def check(body: Body, *, single: bool = False) -> Body:
    """The whole contract of one answer; gives the body back."""
    schema = TOP | ({} if body["market_open"] else CLOSED_ONLY) | (MIRROR if single else {})
    check_fields(body, schema, "body")
    for name, nested in NESTED.items():
        check_fields(body[name], nested, name)
    for ticker, entry in body["tickers"].items():
        check_entry(ticker, entry)
    json.loads(json.dumps(body, allow_nan=False))
    return body


def check_entry(ticker: str, entry: Body) -> None:
    if entry.get("error_code") == "UNSUPPORTED_TICKER":
        return check_fields(entry, FAULT, ticker)
    check_fields(entry, ENTRY | (FAULT if "error" in entry else {}), ticker)
    for name, nested in ENTRY_NESTED.items():
        if entry[name] is not None:
            check_fields(entry[name], nested, f"{ticker}.{name}")
    for name, values in ENUMS.items():
        assert entry[name] in values, f"{ticker}.{name}"
    traded = entry["action"] != "NO_TRADE"
    assert [entry[name] is not None for name in ("stop_loss", "take_profit", "entry", "exit")] == [traded] * 4
    assert (entry["position_pct"] > 0, entry["confidence"] > 0) == (traded, traded)
    assert (entry["probability_a"] is None) == (entry["probability_b"] is None) == (entry["probability"] is None)
    assert entry["locked"] == (entry["locked_at"] is not None) == (entry["lock_expires_at"] is not None)
    assert (entry["bucket"] == "neutral") == (not traded)
    return None


def ask(app: Flask, query: str = "", status: int = 200) -> Body:
    response = app.test_client().get(f"/trading_directions{query}")
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    body: Body = response.get_json()
    return check(body, single=bool(NAMES_ONE.search(query))) if status == 200 else body


def gated(body: Body, code: str, *, fault: bool) -> None:
    """Every ticker stands at this gate: no numbers, and `error` only where something broke."""
    for entry in body["tickers"].values():
        assert (entry["action"], entry["reason_code"]) == ("NO_TRADE", code), entry["reason"]
        assert entry["probability"] is None
        assert not entry["locked"]
        assert ("error" in entry) is fault
        assert entry["reason"]


# open


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


# one ticker, several, unknown


def test_one_ticker_is_mirrored_at_top_level(serve: Serve, tmp_path: Path) -> None:
    body = ask(serve(models_dir=models_saying(tmp_path / "m", 0.9)), "?ticker=spy")
    assert list(body["tickers"]) == ["SPY"]
    assert body["ticker"] == "SPY"
    for name in set(MIRROR) - {"ticker"}:
        assert body[name] == body["tickers"]["SPY"][name]


@pytest.mark.parametrize(
    "query", ["", "?ticker=", "?ticker=all", "?ticker=ALL", "?tickers=", "?tickers=all", "?tickers=,,"]
)
def test_no_ticker_means_all(serve: Serve, query: str) -> None:
    assert list(ask(serve(), query)["tickers"]) == ["SPY", "QQQ", "IWM"]


def test_a_list_is_trimmed_upper_cased_and_deduplicated_in_order(serve: Serve) -> None:
    assert list(ask(serve(), "?tickers=%20iwm,,SPY,IWM%20")["tickers"]) == ["IWM", "SPY"]


def test_an_unknown_symbol_in_a_list_leaves_the_others_alone(serve: Serve) -> None:
    body = ask(serve(), "?tickers=UVXY,SPY")
    assert body["tickers"]["UVXY"] == {"error": "UVXY is not supported.", "error_code": "UNSUPPORTED_TICKER"}
    assert body["tickers"]["SPY"]["locked"]


@pytest.mark.parametrize(
    "query", ["?ticker=UVXY", "?ticker=SPY,QQQ", "?ticker=%00", "?ticker=%F0%9F%9A%80", "?ticker=" + "A" * 3000]
)
def test_an_unknown_single_ticker_is_a_bad_request(serve: Serve, query: str) -> None:
    body = ask(serve(), query, status=400)
    assert (body["error_code"], body["supported_tickers"]) == ("UNSUPPORTED_TICKER", ["SPY", "QQQ", "IWM"])
    assert len(body["error"]) < 80


def test_a_list_out_of_bounds_is_a_bad_request(serve: Serve) -> None:
    query = "?tickers=" + ",".join(f"T{n}" for n in range(51))
    assert ask(serve(), query, status=400)["error_code"] == "UNSUPPORTED_TICKER"


def test_an_option_symbol_or_worse_in_a_list_leaves_the_others_alone(serve: Serve) -> None:
    tickers = ask(serve(), "?tickers=O:SPY251219C00650000,SPY," + "A" * 500)["tickers"]
    assert tickers["SPY"]["locked"]
    assert tickers["O:SPY251219C00650000"]["error_code"] == "UNSUPPORTED_TICKER"
    assert all(len(symbol) <= 32 for symbol in tickers)


@pytest.mark.parametrize(
    "query", ["?foo=bar", "?ticker=SPY&ticker=ZZZ", "?tickers=%FF%FE", "?%00=%00", "?tickers[]=SPY"]
)
def test_garbage_parameters_do_no_harm(serve: Serve, query: str) -> None:
    assert serve().test_client().get(f"/trading_directions{query}").status_code == 200


# closed


@pytest.mark.parametrize(
    "at",
    [
        "2025-03-11 03:00",
        "2025-03-11 09:29:59.999",
        "2025-03-11 16:00",
        "2025-03-08 12:00",
        "2025-03-09 12:00",
        "2025-01-09 12:00",
        "2024-11-28 12:00",
        "2024-11-29 13:00",
    ],
)
def test_closed_answers_in_full_without_asking_the_provider(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, at: str
) -> None:
    clock.set(at)
    body = ask(serve())
    assert (body["market_open"], body["action"], body["best_ticker"]) == (False, "NO_TRADE", None)
    assert "9:30 AM to 4:00 PM ET" in body["reason"]
    assert body["summary"]["actionable_tickers"] == []
    assert body["summary"]["best_opportunity"] is None
    gated(body, "MARKET_CLOSED", fault=False)
    assert market.calls == []


def test_after_the_close_the_last_price_is_shown_without_a_new_call(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    clock.set("2025-03-11 15:59:30")
    ask(app)
    calls = len(market.calls)
    clock.set("2025-03-11 16:30")
    entry = ask(app)["tickers"]["SPY"]
    assert entry["current_price"] is not None
    assert entry["today_open"] is not None
    assert len(market.calls) == calls


def test_closed_one_ticker_mirrors_too(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    assert ask(serve(), "?ticker=IWM")["reason"].startswith("Market closed")


# edges of time


@pytest.mark.parametrize(
    ("at", "session", "hour"),
    [
        ("2025-03-11 10:59:59", "early", "10:00"),
        ("2025-03-11 10:59:59.999", "early", "10:00"),
        ("2025-03-11 11:00:05", "late", "11:00"),
        ("2025-03-10 10:59:59", "early", "10:00"),
        ("2025-03-10 11:00:05", "late", "11:00"),
        ("2024-11-04 11:00:05", "late", "11:00"),
        ("2024-11-29 12:30", "late", "12:00"),
    ],
)
def test_session_and_decision_hour_at_the_edges(
    serve: Serve, clock: FakeClock, at: str, session: str, hour: str
) -> None:
    clock.set(at)
    entry = ask(serve())["tickers"]["SPY"]
    assert entry["session"] == session
    assert entry["active_target"] == {"early": "A", "late": "B"}[session]
    assert f"T{hour}:00" in entry["locked_at"]
    assert (entry["price_11am"] is None) == (session == "early")
    assert (entry["probability_b"] == 0.5) == (session == "early")


def test_early_and_late_on_recorded_bars_change_at_eleven_sharp(serve_recorded: Serve, clock: FakeClock) -> None:
    app = serve_recorded()
    clock.set("2024-06-12 10:59:59.999")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2024-06-12T10:00:00-04:00"
    clock.set("2024-06-12 11:00:00")
    entry = ask(app)["tickers"]["SPY"]
    assert (entry["session"], entry["locked_at"]) == ("late", "2024-06-12T11:00:00-04:00")
    assert entry["reason"].startswith("RECORDED: ")


def test_an_early_close_locks_until_one(serve: Serve, clock: FakeClock, tmp_path: Path) -> None:
    clock.set("2024-11-29 12:55")
    body = ask(serve(models_dir=models_saying(tmp_path / "m", 0.9)))
    entry = body["tickers"]["SPY"]
    assert entry["lock_expires_at"] == "2024-11-29T13:00:00-05:00"
    assert entry["exit"]["time_limit"] == "2024-11-29T12:50:00-05:00"
    assert "time stop" in entry["reason"], "it has passed, and the locked action stays"
    assert entry["action"] == "LONG"


@pytest.fixture(params=["Asia/Tokyo", "America/Los_Angeles", "UTC"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_machine_in_another_time_zone_says_the_same(
    serve: Serve, clock: FakeClock, machine_zone: str, tmp_path: Path
) -> None:
    body = ask(serve())
    assert body["current_time_et"] == "11:30 AM ET"
    assert body["generated_at"] == "2025-03-11T11:30:00-04:00"
    expected = json.loads((SAMPLES / "trading_directions_open.json").read_text())
    assert body["tickers"]["SPY"] == expected["tickers"]["SPY"]


@pytest.mark.parametrize(("at", "text"), [("2025-03-11 14:05", "02:05 PM ET"), ("2025-03-11 00:05", "12:05 AM ET")])
def test_time_of_day_is_twelve_hours_zero_padded(serve: Serve, clock: FakeClock, at: str, text: str) -> None:
    clock.set(at)
    assert ask(serve())["current_time_et"] == text


@pytest.mark.parametrize(
    ("at", "multiplier"),
    [("2025-03-11 13:59", 1.2), ("2025-03-11 15:30", 0.8), ("2025-03-11 09:45", 0.7), ("2025-03-11 18:00", 0.5)],
)
def test_time_multiplier_is_that_of_the_hour(serve: Serve, clock: FakeClock, at: str, multiplier: float) -> None:
    clock.set(at)
    assert ask(serve())["time_multiplier"] == multiplier


# gates


def test_before_ten_there_is_no_signal_but_the_market_is_shown(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:59:59.999")
    body = ask(serve())
    gated(body, "INSUFFICIENT_DATA", fault=False)
    assert body["tickers"]["SPY"]["today_open"] is not None
    assert body["tickers"]["SPY"]["current_price"] is not None


def midnight_today(row: Body) -> bool:
    return bool(row["t"] >= to_ms(new_york("2025-03-11 00:00")))


def half_past_nine(row: Body) -> bool:
    return bool(row["t"] == to_ms(new_york("2025-03-11 09:30")))


def no_open_anywhere(path: str, body: Body) -> Body:
    body = dropping("/day/", midnight_today)(path, body)
    return dropping("/minute/", half_past_nine)(path, body)


def no_snapshot(path: str) -> Reply | None:
    return Reply(404, {"status": "NOT_FOUND"}) if "snapshot" in path else None


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


def test_a_missing_model_is_that_tickers_fault(serve: Serve, tmp_path: Path) -> None:
    folder = models_saying(tmp_path / "m", 0.9)
    (folder / "v6_QQQ.npz").write_bytes(b"damaged")
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


# without a key


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


# locks


LOCKED_FIELDS = sorted(set(ENTRY) - {"current_price", "today_change_pct", "reason"})


def locked_part(entry: Body) -> Body:
    return {name: entry[name] for name in LOCKED_FIELDS}


def test_five_moments_two_servers_one_data_dir_any_order_one_answer(recorded_dir: Path, clock: FakeClock) -> None:
    dice = random.Random(7)
    apps = [create_app(settings(market="recorded", data_dir=recorded_dir), clock=clock) for _ in range(2)]
    for day in ("2024-06-12", "2025-11-05", "2022-10-13"):
        for hour in (10, 12, 15):
            moments = [new_york(f"{day} {hour}:{m}") for m in ("00:00", "00:01", "17:31", "42:00", "59:59.999")]
            dice.shuffle(moments)
            answers = []
            for at in moments:
                clock.at = at
                tickers = ask(dice.choice(apps))["tickers"]
                answers.append({ticker: locked_part(entry) for ticker, entry in tickers.items()})
            assert all(entry["locked"] for entry in answers[0].values())
            assert all(answer == answers[0] for answer in answers), (day, hour)


def test_a_provider_that_revises_its_bars_never_changes_a_locked_signal(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    said = locked_part(ask(serve())["tickers"]["SPY"])

    def revise(path: str, body: Body) -> Body:
        return {**body, "results": [{**r, "c": r["h"]} for r in body.get("results", [])]}

    market.edit = revise
    clock.forward(minutes=20)
    assert locked_part(ask(serve())["tickers"]["SPY"]) == said


def test_a_lost_record_gives_the_same_signal_again(serve: Serve, tmp_path: Path) -> None:
    said = ask(serve())["tickers"]["SPY"]
    for file in (tmp_path / "polygon").iterdir():
        file.unlink()
    assert ask(serve())["tickers"]["SPY"] == said


def test_a_provider_that_dies_within_the_hour_leaves_the_lock_standing(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    said = ask(app)["tickers"]["SPY"]
    market.fault = lambda path: Reply(500, None)
    clock.set("2025-03-11 11:40")
    later = ask(app)
    assert locked_part(later["tickers"]["SPY"]) == locked_part(said)
    assert later["data_status"]["stale"]
    assert "stale" in later["tickers"]["SPY"]["reason"]
    clock.set("2025-03-11 11:59")
    last = ask(app)["tickers"]["SPY"]
    assert locked_part(last) == locked_part(said)
    assert last["current_price"] is None, "a price older than 15 minutes is not shown as the current one"
    assert "stale, from 11:29 AM ET" in last["reason"]
    assert "error" not in last


def test_the_hour_before_stands_until_two_minutes_past_and_then_the_fault_shows(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    said = ask(app)["tickers"]["SPY"]
    market.fault = lambda path: Reply(500, None)
    clock.set("2025-03-11 12:01:59")
    entry = ask(app)["tickers"]["SPY"]
    assert locked_part(entry) == locked_part(said)
    assert "12:00 is not ready" in entry["reason"]
    assert ask(app)["data_status"]["delayed"]
    clock.set("2025-03-11 12:02")
    gated(ask(app), "DATA_FETCH_ERROR", fault=True)
    market.fault = lambda path: None
    clock.set("2025-03-11 12:03:30")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2025-03-11T12:00:00-04:00"


def test_before_the_last_bars_of_the_hour_are_final_the_hour_before_stands(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    clock.set("2025-03-11 12:00:04")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2025-03-11T11:00:00-04:00"
    clock.set("2025-03-11 12:00:05")
    assert ask(app)["tickers"]["SPY"]["locked_at"] == "2025-03-11T12:00:00-04:00"


def test_a_bar_that_becomes_final_while_the_signal_is_made_is_not_missed(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    """The clock passes the moment of completeness in the middle of the request."""

    def tick(path: str) -> Reply | None:
        if "/minute/" in path:
            clock.forward(seconds=0.4)
        return None

    clock.set("2025-03-11 12:00:04.800")
    market.fault = tick
    app = serve(data_dir=tmp_path / "1")
    ask(app)
    market.fault = lambda path: None
    clock.set("2025-03-11 12:05")
    raced = ask(app)["tickers"]["SPY"]
    assert locked_part(raced) == locked_part(ask(serve(data_dir=tmp_path / "2"))["tickers"]["SPY"])


def test_at_ten_sharp_the_first_signal_waits_for_its_bars(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    clock.set("2025-03-11 10:00:04")
    gated(ask(app), "INSUFFICIENT_DATA", fault=False)
    clock.set("2025-03-11 10:00:05")
    assert ask(app)["tickers"]["SPY"]["locked"]


def test_a_delayed_plan_serves_the_hour_when_its_bars_are_there_and_says_so(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    market.delay = timedelta(minutes=15)
    app = serve(polygon_delay_minutes=15)
    clock.set("2025-03-11 12:14")
    early = ask(app)
    assert early["data_status"]["delayed"]
    assert early["tickers"]["SPY"]["locked_at"] == "2025-03-11T11:00:00-04:00"
    assert "15 minutes late" in early["tickers"]["SPY"]["reason"]
    clock.set("2025-03-11 12:15:05")
    late = ask(app)["tickers"]["SPY"]
    assert late["locked_at"] == "2025-03-11T12:00:00-04:00"


def test_in_sample_days_are_said_to_be_so(serve_recorded: Serve, clock: FakeClock) -> None:
    clock.set("2024-06-12 12:30")
    assert "In-sample" in ask(serve_recorded())["tickers"]["SPY"]["reason"]


def test_only_price_and_words_float_within_the_hour(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    one = ask(app)["tickers"]["SPY"]
    clock.set("2025-03-11 11:51")
    two = ask(app)["tickers"]["SPY"]
    changed = {name for name in one if one[name] != two[name]}
    assert changed <= {"current_price", "today_change_pct"}
    assert "current_price" in changed


# samples: the shape is binding from now on (ruling V7)


def sample_cases(serve: Serve, clock: FakeClock, market: ScriptedMarket, folder: Path) -> Iterator[tuple[str, Body]]:
    yield "open", ask(serve())
    yield "one_ticker", ask(serve(models_dir=models_saying(folder / "m", 0.9), data_dir=folder / "1"), "?ticker=SPY")
    yield "unsupported", ask(serve(), "?tickers=UVXY,SPY")
    market.edit, market.fault = no_open_anywhere, no_snapshot
    yield "gated", ask(serve(data_dir=folder / "2"))
    market.edit, market.fault = (lambda path, body: body), (lambda path: Reply(500, None))
    yield "fault", ask(serve(data_dir=folder / "3"))
    clock.set("2025-03-08 12:00")
    yield "closed", ask(serve())


def shape_of(value: object) -> object:
    """Keys and JSON types, values left out."""
    if isinstance(value, dict):
        return {key: shape_of(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__


def test_samples_have_todays_shape(serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> None:
    """UPDATE_SAMPLES=1 writes them: allowed while v1 is being built, never after."""
    for name, body in sample_cases(serve, clock, market, tmp_path):
        path = SAMPLES / f"trading_directions_{name}.json"
        if os.environ.get("UPDATE_SAMPLES"):
            path.write_text(json.dumps(body, indent=1) + "\n")
        assert shape_of(body) == shape_of(json.loads(path.read_text())), name
