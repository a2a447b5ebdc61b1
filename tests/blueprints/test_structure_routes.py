"""`/mtf`, `/northstar`, `/rpe`, `/swing`, `/replay` and the pattern routes, in every variant; samples are binding."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.factory import create_app
from app.market.polygon import Reply
from tests.blueprints.aligning import alignment
from tests.blueprints.contract import keep_or_compare, kind, walk
from tests.support import CALENDAR, FakeClock, ScriptedMarket, dropping, models_saying, new_york, settings

Body = dict[str, Any]
Serve = Callable[..., Flask]
ROUTES = ("/mtf", "/northstar", "/rpe", "/swing")

NEVER_NULL = (
    "phase1.direction",
    "phase1.confidence_band",
    "phase1.acceptance.accepted",
    "phase1.acceptance.acceptance_strength",
    "phase1.acceptance.acceptance_reason",
    "phase1.acceptance.failed_levels",
    "phase1.range.state",
    "phase1.range.expansion_quality",
    "phase1.range.rotation_complete",
    "phase1.mtf.aligned",
    "phase1.mtf.dominant_tf",
    "phase1.participation.conviction",
    "phase1.participation.effort_result_match",
    "phase1.failure.present",
    "phase1.failure.failure_types",
    "phase2.tier",
    "phase2.health_score",
    "phase2.stand_down",
    "phase2.reasons",
    "phase2.dimensions.structural_integrity",
    "phase2.dimensions.time_persistence",
    "phase2.dimensions.volatility_alignment",
    "phase2.dimensions.participation_consistency",
    "phase2.dimensions.failure_risk",
    "phase3.throttle",
    "phase3.density_score",
    "phase3.allowed_signals",
    "phase3.reasons",
    "phase4.allowed",
    "phase4.bias",
    "phase4.execution_mode",
    "phase4.risk_state",
    "phase4.invalidation_context",
)
KEY_LEVELS = (
    "current_price",
    "pivot",
    "pivot_r1",
    "pivot_s1",
    "recent_high",
    "recent_low",
    "today_open",
    "prev_close",
    "mid_point",
)
SWING_LEVELS = ("current_price", "sma_20", "sma_50", "daily_high_5d", "daily_low_5d", "atr_14")
ENUMS = {
    "confidence_band": {"STRUCTURAL_EDGE", "CONTEXT_ONLY", "NO_TRADE"},
    "tier": {"HEALTHY", "DEGRADED", "UNSTABLE"},
    "throttle": {"OPEN", "LIMITED", "BLOCKED"},
    "execution_mode": {"TREND_CONTINUATION", "MEAN_REVERSION", "SCALP", "NO_TRADE"},
    "risk_state": {"NORMAL", "REDUCED", "DEFENSIVE"},
    "play_type": {"TREND_CONTINUATION", "MEAN_REVERSION", "SCALP", "NO_TRADE"},
    "alignment": {"bullish", "bearish", "neutral", None},
}
DETAIL = ["status", "direction", "intraday", "swing", "recommendation", "confidence"]


def ask(app: Flask, path: str, status: int = 200) -> Body:
    response = app.test_client().get(path)
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    body: Body = response.get_json()
    return body


def at(tree: Body, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


def check_crash_list(entry: Body) -> None:
    """dashboard-proof.md, field by field: present, of the right type, lists empty rather than null (ruling V8)."""
    if entry.get("intraday"):
        for path in NEVER_NULL:
            assert at(entry["intraday"], path) is not None, path
        for name in KEY_LEVELS:
            assert kind(at(entry["intraday"], f"phase1.key_levels.{name}")) == "number", name
        assert all(type(text) is str for text in at(entry["intraday"], "phase4.invalidation_context"))
    if entry.get("swing"):
        for name in SWING_LEVELS:
            assert kind(at(entry["swing"], f"phase1.levels.{name}")) == "number", name
        assert at(entry["swing"], "phase1.direction") in ("BULLISH", "BEARISH", "NEUTRAL")
        assert at(entry["swing"], "phase1.confidence") in ("HIGH", "MEDIUM", "LOW", "NO_TRADE")
        assert at(entry["swing"], "phase4.bias") in ("LONG", "SHORT", "NEUTRAL")
        assert type(at(entry["swing"], "phase4.invalidation_levels")) is list
        assert type(at(entry["swing"], "phase1.trend_alignment.aligned")) is bool


def check_enums(body: Body) -> None:
    for path, value in walk(body):
        name = path.rsplit(".", 1)[-1]
        if name in ENUMS and not isinstance(value, dict):
            assert value in ENUMS[name], path


# mtf


def test_mtf_serves_session_days_and_their_alignment(standing: Flask) -> None:
    body = ask(standing, "/mtf")
    assert (body["analysis_type"], body["pipeline_version"], body["session"]) == ("MULTI_TIMEFRAME", "2.0", "late")
    for entry in body["tickers"].values():
        check_crash_list(entry)
        assert entry["intraday"]["v6"]["session"] == "late"
        assert entry["swing"]["v6_swing"]["unavailable_horizons"] == []
        assert "error" not in entry
    check_enums(body)


def test_mtf_v6_is_the_signal_of_trading_directions(standing: Flask) -> None:
    signals = ask(standing, "/trading_directions")["tickers"]
    for ticker, entry in ask(standing, "/mtf")["tickers"].items():
        v6 = entry["intraday"]["v6"]
        assert (v6["target_a_prob"], v6["target_b_prob"]) == (
            signals[ticker]["probability_a"],
            signals[ticker]["probability_b"],
        )
        assert entry["current_price"] == signals[ticker]["current_price"]


@pytest.mark.parametrize(
    ("p", "signal", "action"), [(0.91, "BULLISH", "LONG"), (0.09, "BEARISH", "SHORT"), (0.75, "NEUTRAL", "NO_TRADE")]
)
def test_mtf_signal_follows_the_active_probability(
    serve: Serve, clock: FakeClock, tmp_path: Path, p: float, signal: str, action: str
) -> None:
    clock.set("2025-03-11 10:30")
    entry = ask(serve(models_dir=models_saying(tmp_path / "m", p, 0.5)), "/mtf")["tickers"]["SPY"]["intraday"]
    assert (entry["v6"]["signal"], entry["action"], entry["v6"]["target_b_prob"]) == (signal, action, 0.5)


def test_mtf_of_an_unsupported_symbol_carries_the_three_nulls(standing: Flask) -> None:
    body = ask(standing, "/mtf?tickers=UVXY")
    assert body["tickers"] == {
        "UVXY": {
            "error": "UVXY is not supported.",
            "error_code": "UNSUPPORTED_TICKER",
            "intraday": None,
            "swing": None,
            "alignment": None,
        }
    }


@pytest.mark.parametrize(("bias", "expected"), [(("LONG", "LONG"), "bullish"), (("SHORT", "SHORT"), "bearish")])
def test_alignment_names_the_side_only_when_both_agree(bias: tuple[str, str], expected: str) -> None:
    assert alignment(*bias)["alignment"] == expected
    assert alignment(*bias)["alignment_detail"]["status"] == "ALIGNED"


@pytest.mark.parametrize(
    ("bias", "status", "confidence"),
    [
        (("LONG", "SHORT"), "CONFLICT", "LOW"),
        (("LONG", "NEUTRAL"), "PARTIAL", "MEDIUM"),
        (("NEUTRAL", "SHORT"), "PARTIAL", "MEDIUM"),
        (("NEUTRAL", "NEUTRAL"), "PARTIAL", "MEDIUM"),
    ],
)
def test_alignment_is_neutral_otherwise(bias: tuple[str, str], status: str, confidence: str) -> None:
    found = alignment(*bias)
    assert found["alignment"] == "neutral"
    assert (found["alignment_detail"]["status"], found["alignment_detail"]["confidence"]) == (status, confidence)
    assert (found["alignment_detail"]["recommendation"] is not None) == (status == "CONFLICT")
    assert list(found["alignment_detail"]) == DETAIL, "v1's bytes do not move"


@pytest.mark.parametrize("moment", ["2025-03-11 03:30", "2025-03-08 12:00", "2024-11-28 12:00"])
def test_at_night_and_on_days_without_trading_swing_is_served_and_intraday_is_null(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, moment: str
) -> None:
    clock.set(moment)
    entry = ask(serve(), "/mtf")["tickers"]["SPY"]
    assert entry["intraday"] is None
    assert entry["swing"] is not None
    assert entry["alignment"] is None
    assert "error" not in entry
    assert not any("/minute/" in path for path in market.calls)


def test_after_the_close_the_phases_stay_and_the_model_is_silent(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 16:00:05")
    body = ask(serve(), "/mtf")
    assert body["market_open"] is False
    intraday = body["tickers"]["SPY"]["intraday"]
    assert intraday["v6"] is None
    assert intraday["phase1"]["resolved"]
    assert (intraday["action"], intraday["probability_a"], intraday["confidence"]) == ("NO_TRADE", None, 0)


def test_before_ten_the_phases_come_without_a_model(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:45:05")
    assert ask(serve(), "/mtf")["tickers"]["SPY"]["intraday"]["v6"] is None


def test_fewer_than_thirty_minutes_is_null_not_an_error(serve: Serve, market: ScriptedMarket, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:50:05")
    market.edit = dropping("/minute/", lambda row: row["t"] < clock.at.timestamp() * 1000 - 20 * 60_000)
    entry = ask(serve(), "/mtf")["tickers"]["SPY"]
    assert entry["intraday"] is None
    assert "error" not in entry
    assert entry["current_price"] is not None


# the other three, and faults


@pytest.mark.parametrize("route", ROUTES)
def test_one_failing_ticker_leaves_the_others_alone(serve: Serve, market: ScriptedMarket, route: str) -> None:
    market.fault = lambda path: Reply(500, None) if "/QQQ/" in path else None
    tickers = ask(serve(), route)["tickers"]
    assert tickers["QQQ"]["error_code"] == "DATA_FETCH_ERROR"
    assert "error" not in tickers["SPY"]
    assert "error" not in tickers["IWM"]


@pytest.mark.parametrize("route", ROUTES)
def test_an_unknown_single_ticker_is_400_and_in_a_list_its_own_error(standing: Flask, route: str) -> None:
    assert ask(standing, f"{route}?ticker=UVXY", 400)["error_code"] == "UNSUPPORTED_TICKER"
    body = ask(standing, f"{route}?tickers=UVXY,SPY")
    assert body["tickers"]["UVXY"]["error_code"] == "UNSUPPORTED_TICKER"
    assert "error" not in body["tickers"]["SPY"]


@pytest.mark.parametrize("route", ROUTES)
def test_without_a_key_and_with_nothing_kept_it_is_503(tmp_path: Path, clock: FakeClock, route: str) -> None:
    app = create_app(settings(market="polygon", polygon_api_key="", data_dir=tmp_path), clock=clock)
    assert ask(app, route, 503)["error_code"] == "DATA_FETCH_ERROR"


@pytest.mark.parametrize("route", ["/rpe", "/northstar"])
def test_too_few_minutes_say_how_many_there_are(serve: Serve, clock: FakeClock, route: str) -> None:
    clock.set("2025-03-11 04:10")
    entry = ask(serve(), f"{route}?ticker=SPY")["tickers"]["SPY"]
    assert entry["error_code"] == "INSUFFICIENT_DATA"
    assert 0 <= entry["bars_available"] < 30


def test_too_few_days_say_how_many_there_are(serve: Serve, market: ScriptedMarket) -> None:
    market.edit = dropping("/day/", lambda row: row["t"] < new_york("2025-02-18 00:00").timestamp() * 1000)
    entry = ask(serve(), "/swing")["tickers"]["SPY"]
    assert entry["error_code"] == "INSUFFICIENT_DATA"
    assert 0 < entry["bars_available"] < 30


def test_rpe_has_its_five_phases_and_the_model_in_phase_five_alone(serve: Serve, tmp_path: Path) -> None:
    """policy.md 13, P5-3: other probabilities change nothing in phases 1 to 4."""
    low = ask(serve(models_dir=models_saying(tmp_path / "a", 0.1), data_dir=tmp_path / "1"), "/rpe")
    high = ask(serve(models_dir=models_saying(tmp_path / "b", 0.9), data_dir=tmp_path / "2"), "/rpe")
    names = ("phase1_truth", "phase2_signal_health", "phase3_signal_density", "phase4_execution_posture")
    assert list(low["phase_descriptions"]) == [*names, "phase5_learning_forecasting"]
    for ticker, entry in low["tickers"].items():
        other = high["tickers"][ticker]
        assert [entry[name] for name in names] == [other[name] for name in names]
        assert entry["phase5_learning_forecasting"] != other["phase5_learning_forecasting"]
        assert entry["v6_signals"]["target_b_action"] == "SHORT"
        assert other["v6_signals"]["target_b_action"] == "LONG"


def test_rpe_before_eleven_has_no_action_for_target_b(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 10:30")
    signals = ask(serve(), "/rpe")["tickers"]["SPY"]["v6_signals"]
    assert (signals["target_b_prob"], signals["target_b_action"], signals["price_11am"]) == (0.5, None, None)


def test_northstar_of_one_ticker_comes_also_as_analysis(standing: Flask) -> None:
    body = ask(standing, "/northstar?ticker=SPY")
    assert body["ticker"] == "SPY"
    assert body["analysis"] == body["tickers"]["SPY"]
    assert "analysis" not in ask(standing, "/northstar")


def test_swing_works_while_closed(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    body = ask(serve(), "/swing")
    assert body["timeframes"] == ["DAILY", "WEEKLY"]
    assert all(entry["current_price"] for entry in body["tickers"].values())


# replay


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MISSING_PARAMETER"),
        ("?time=10:00", "MISSING_PARAMETER"),
        ("?date=2025-03-10", "MISSING_PARAMETER"),
        ("?date=&time=10:00", "MISSING_PARAMETER"),
        ("?date=2025-02-30&time=10:00", "INVALID_DATE"),
        ("?date=20250310&time=10:00", "INVALID_DATE"),
        ("?date=yesterday&time=10:00", "INVALID_DATE"),
        ("?date=%D9%A2%D9%A0%D9%A2%D9%A5-03-10&time=10:00", "INVALID_DATE"),
        ("?date=2025-03-12&time=10:00", "DATE_IN_FUTURE"),
        ("?date=9999-12-31&time=10:00", "DATE_IN_FUTURE"),
        ("?date=2025-03-10&time=10", "INVALID_TIME"),
        ("?date=2025-03-10&time=10:60", "INVALID_TIME"),
        ("?date=2025-03-10&time=03:59", "INVALID_TIME"),
        ("?date=2025-03-10&time=21:00", "INVALID_TIME"),
        ("?date=2025-03-10&time=ten", "INVALID_TIME"),
        ("?date=2025-03-10&hour=3", "INVALID_TIME"),
        ("?date=2025-03-10&hour=21", "INVALID_TIME"),
        ("?date=2025-03-10&hour=14.5", "INVALID_TIME"),
        ("?date=2025-03-10&hour=-9", "INVALID_TIME"),
        ("?date=2025-03-10&hour=noon", "INVALID_TIME"),
        ("?date=2025-03-10&time=10:00&ticker=UVXY", "UNSUPPORTED_TICKER"),
    ],
)
def test_replay_refuses_each_row_of_the_validation_table(standing: Flask, query: str, code: str) -> None:
    body = ask(standing, f"/replay{query}", 400)
    assert body["error_code"] == code
    assert ("usage" in body) == (code == "MISSING_PARAMETER")


@pytest.mark.parametrize(
    ("query", "as_of", "label"),
    [
        ("time=14:35", "14:35", "14:35"),
        ("hour=14", "14:00", "14:00"),
        ("hour=9", "09:30", "09:30"),
        ("time=10:05&hour=14", "10:05", "10:05"),
        ("hour=4", "04:00", "04:00"),
        ("time=20:59", "20:59", "20:59"),
    ],
)
def test_replay_answers_both_styles(standing: Flask, query: str, as_of: str, label: str) -> None:
    body = ask(standing, f"/replay?date=2025-03-10&{query}")
    assert (body["mode"], body["replay_date"], body["replay_time"]) == ("REPLAY", "2025-03-10", label)
    assert body["as_of"] == f"2025-03-10T{as_of}:00-04:00"
    assert (body["simulated_hour"], body["simulated_minute"]) == (int(as_of[:2]), int(as_of[3:]))


def test_a_future_time_today_is_clipped_to_now(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:05")
    body = ask(serve(), "/replay?date=2025-03-11&time=15:00")
    assert body["as_of"] == "2025-03-11T11:30:05-04:00"
    assert body["tickers"]["SPY"]["bars_analyzed"] == 120


@pytest.mark.parametrize("day", ["2025-03-08", "2024-11-28", "2025-01-09", "1980-01-02", "1492-10-12", "0001-01-01"])
def test_replay_of_a_day_without_trading_has_no_market_data(serve: Serve, day: str) -> None:
    body = ask(serve(), f"/replay?date={day}&time=11:00")
    assert body["market_open"] is False
    assert {entry["error_code"] for entry in body["tickers"].values()} == {"NO_MARKET_DATA"}


@pytest.mark.parametrize("day", ["0001-01-01", "1492-10-12", "1992-01-02", "1993-01-28"])
def test_replay_of_a_day_before_all_funds_asks_nobody(
    serve: Serve, market: ScriptedMarket, caplog: pytest.LogCaptureFixture, day: str
) -> None:
    body = ask(serve(), f"/replay?date={day}&time=11:00")
    assert {entry["error_code"] for entry in body["tickers"].values()} == {"NO_MARKET_DATA"}
    assert market.calls == []
    assert not caplog.records


@pytest.mark.parametrize("moment", ["05:00", "09:30", "11:00", "20:30"])
@pytest.mark.parametrize(
    ("ticker", "eve", "first"),
    [("SPY", "1993-01-28", "1993-01-29"), ("QQQ", "1999-03-09", "1999-03-10"), ("IWM", "2000-05-25", "2000-05-26")],
)
def test_no_call_is_made_for_days_before_the_fund_traded(
    serve: Serve, market: ScriptedMarket, ticker: str, eve: str, first: str, moment: str
) -> None:
    app = serve()
    entry = ask(app, f"/replay?date={eve}&time={moment}&ticker={ticker}")["tickers"][ticker]
    assert entry["error_code"] == "NO_MARKET_DATA"
    assert entry["error"].endswith(f"it began to trade on {first}.")
    assert market.calls == []
    ask(app, f"/replay?date={first}&time={moment}&ticker={ticker}")
    assert market.calls, "the first day itself is asked for"
    assert not [call for call in market.calls if first not in call or eve in call]


def test_replay_of_a_weekend_needs_no_key(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="polygon", polygon_api_key="", data_dir=tmp_path), clock=clock)
    assert ask(app, "/replay?date=2025-03-08&hour=11&ticker=SPY")["tickers"]["SPY"]["error_code"] == "NO_MARKET_DATA"
    ask(app, "/replay?date=2025-03-10&hour=11", 503)


def test_replay_after_the_close_still_has_the_eleven_oclock_price(standing: Flask) -> None:
    open_then = ask(standing, "/replay?date=2025-03-10&time=14:35")["tickers"]["SPY"]
    after = ask(standing, "/replay?date=2025-03-10&time=16:30")["tickers"]["SPY"]
    assert after["price_11am"] == after["v6"]["price_11am"] == open_then["price_11am"]
    assert ask(standing, "/replay?date=2025-03-10&time=10:59")["tickers"]["SPY"]["price_11am"] is None


def test_without_minutes_the_days_are_served(serve: Serve, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(500, None) if "/minute/" in path else None
    app = serve()
    assert "error" not in ask(app, "/swing")["tickers"]["SPY"]
    entry = ask(app, "/mtf")["tickers"]["SPY"]
    assert entry["error_code"] == "DATA_FETCH_ERROR"
    assert entry["swing"] is not None


def test_an_end_of_day_plan_serves_swing_and_replay(serve: Serve, market: ScriptedMarket, clock: FakeClock) -> None:
    """Everything that touches today is refused, as polygon.md 6 has it."""

    def basic(path: str) -> Reply | None:
        today = path.endswith("2025-03-11") or "snapshot" in path
        return Reply(403, {"status": "NOT_AUTHORIZED", "message": "not in your plan"}) if today else None

    market.fault = basic
    app = serve()
    assert "error" not in ask(app, "/swing")["tickers"]["SPY"]
    assert "error" not in ask(app, "/signal_breakdown")["tickers"]["SPY"]
    entry = ask(app, "/mtf")["tickers"]["SPY"]
    assert entry["intraday"] is None
    assert entry["swing"] is not None
    assert "error" not in entry, "the plan is no fault"
    assert ask(app, "/replay?date=2025-03-10&time=14:35")["tickers"]["SPY"]["target_b_prob"] is not None


def test_the_age_of_an_answer_does_not_depend_on_who_asked_before(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 16:30")
    app = serve()
    one, two = (ask(app, "/mtf?tickers=SPY")["data_status"] for _ in range(2))
    assert one == two
    assert one["as_of"] is not None
    clock.set("2025-03-08 12:00")
    assert ask(serve(), "/swing")["data_status"]["as_of"] == "2025-03-07T16:00:00-05:00"


def test_replay_of_a_trading_day_without_bars_has_no_market_data(serve: Serve, market: ScriptedMarket) -> None:
    day = new_york("2025-03-10 00:00").timestamp() * 1000
    market.edit = dropping("/", lambda row: day <= row["t"] < day + 86_400_000)
    body = ask(serve(), "/replay?date=2025-03-10&time=11:00")
    assert body["market_open"] is True
    assert {entry["error_code"] for entry in body["tickers"].values()} == {"NO_MARKET_DATA"}


@pytest.mark.parametrize(
    ("moment", "code"), [("09:45", "INSUFFICIENT_DATA"), ("16:00", "MARKET_CLOSED"), ("08:00", "MARKET_CLOSED")]
)
def test_replay_without_a_signal_is_null_on_both_sides_and_no_error(standing: Flask, moment: str, code: str) -> None:
    body = ask(standing, f"/replay?date=2025-03-10&time={moment}")
    for entry in body["tickers"].values():
        assert "error" not in entry
        assert (entry["target_a_prob"], entry["target_b_prob"]) == (None, None)
        assert (entry["v6"]["action"], entry["v6"]["reason_code"]) == ("NO_TRADE", code)
        assert (entry["today_open"] is None) == (moment == "08:00"), "the open is not known before the open"


def test_replay_gives_what_was_locked_live_even_if_the_bars_were_revised(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    live = ask(serve(), "/trading_directions")["tickers"]["SPY"]
    market.edit = lambda path, body: {**body, "results": [{**r, "c": r["h"]} for r in body.get("results", [])]}
    clock.set("2025-03-12 09:00")
    body = ask(serve(), "/replay?date=2025-03-11&time=11:30&ticker=SPY")
    assert body["source"] == "recorded"
    assert body["tickers"]["SPY"]["target_b_prob"] == live["probability_b"]
    assert ask(serve(), "/replay?date=2025-03-11&time=14:30&ticker=SPY")["source"] == "recomputed"


def test_replay_never_writes_the_record(serve: Serve) -> None:
    app = serve()
    ask(app, "/replay?date=2025-03-10&time=14:00")
    assert ask(app, "/replay?date=2025-03-10&time=14:00")["source"] == "recomputed"


def test_replay_while_the_provider_fails_is_an_error_and_leaves_the_record_alone(
    serve: Serve, market: ScriptedMarket
) -> None:
    app = serve()
    ask(app, "/replay?date=2025-03-10&time=11:30")
    market.fault = lambda path: Reply(500, None) if "/minute/2025-03-07" in path else None
    entry = ask(app, "/replay?date=2025-03-07&time=12:01&ticker=SPY")["tickers"]["SPY"]
    assert entry["error_code"] == "DATA_FETCH_ERROR"
    market.fault = lambda path: None
    again = ask(serve(), "/replay?date=2025-03-07&time=11:30&ticker=SPY")
    assert again["source"] == "recomputed"


def test_replay_shows_nothing_of_the_days_end(serve: Serve, market: ScriptedMarket, tmp_path: Path) -> None:
    """Another afternoon, the same morning: the answer of 11:15 does not move."""
    one = ask(serve(data_dir=tmp_path / "1"), "/replay?date=2025-03-10&time=11:15")
    later = new_york("2025-03-10 11:15").timestamp() * 1000
    midnight = new_york("2025-03-10 00:00").timestamp() * 1000

    def other_afternoon(path: str, body: Body) -> Body:
        def bend(row: Body) -> Body:
            if "/minute/" in path and row["t"] >= later:
                return {**row, "h": row["h"] * 1.1, "c": row["h"] * 1.05}
            if "/day/" in path and row["t"] == midnight:
                return {**row, "h": row["h"] * 1.1, "c": row["h"] * 1.05, "l": row["l"] * 0.9, "v": 1.0}
            return row

        return {**body, "results": [bend(row) for row in body.get("results", [])]}

    market.edit = other_afternoon
    assert ask(serve(data_dir=tmp_path / "2"), "/replay?date=2025-03-10&time=11:15") == one


LIVE_AND_REPLAY = ("current_price", "today_open", "today_change_pct", "price_11am")


@pytest.mark.parametrize("minutes", [5, pytest.param(30, marks=pytest.mark.soak)])
def test_live_is_replay_for_recorded_minutes(
    serve_recorded: Serve, recorded_dir: Path, clock: FakeClock, minutes: int
) -> None:
    """Live and replay run on two servers of which the replaying one has never seen the live record."""
    dice = random.Random(11)
    live_app = serve_recorded()
    days = [f"2026-03-{n}" for n in (12, 13, 16, 17, 18, 19, 20, 23, 24, 25, 26, 27, 30)]
    moments = [f"{dice.choice(days)} {dice.randint(9, 15):02d}:{dice.randint(0, 59):02d}" for _ in range(40)]
    open_moments = [moment for moment in moments if moment[11:] >= "09:30"]
    assert len(open_moments) >= 30
    for moment in open_moments[:minutes]:
        clock.set(moment)
        boards = {route: ask(live_app, route)["tickers"] for route in ("/trading_directions", "/mtf", "/rpe")}
        clock.set("2026-03-31 20:30")
        replayed = ask(live_app, f"/replay?date={moment[:10]}&time={moment[11:]}")
        recomputed = ask(fresh(recorded_dir, clock), f"/replay?date={moment[:10]}&time={moment[11:]}")
        assert replayed["tickers"] == recomputed["tickers"], moment
        for ticker, entry in replayed["tickers"].items():
            same_as_live(entry, *(boards[route][ticker] for route in boards))


def fresh(recorded_dir: Path, clock: FakeClock) -> Flask:
    """A server on the same bars whose record is empty."""
    for record in recorded_dir.glob("recorded-*/record.sqlite3*"):
        record.unlink(missing_ok=True)  # one that its server, which is gone, has removed meanwhile
    return create_app(settings(market="recorded", data_dir=recorded_dir), clock=clock)


def same_as_live(entry: Body, directions: Body, mtf: Body, rpe: Body) -> None:
    assert entry["target_a_prob"] == directions["probability_a"]
    assert entry["target_b_prob"] == directions["probability_b"]
    for name in LIVE_AND_REPLAY:
        assert entry[name] == directions[name], name
    assert entry["v6"]["action"] == directions["action"]
    assert entry["v6"]["bucket"] == directions["bucket"]
    assert entry["current_price"] == mtf["current_price"]
    if entry["northstar"] is None:
        assert mtf["intraday"] is None
        assert rpe["error_code"] == "INSUFFICIENT_DATA"
    else:
        assert entry["northstar"] == {name: mtf["intraday"][name] for name in entry["northstar"]}
        signals = rpe["v6_signals"]
        assert (signals and signals["target_a_prob"]) == entry["target_a_prob"]
        assert (rpe["current_price"], rpe["bars_analyzed"]) == (entry["current_price"], entry["bars_analyzed"])


# pattern model


def test_pattern_routes_say_that_there_is_no_model(standing: Flask) -> None:
    client = standing.test_client()
    assert client.get("/model_info").get_json() == {
        "metrics": None,
        "feature_cols": [],
        "models": {},
        "combined": None,
        "version": "0.1.0",
    }
    assert client.post("/predict", json={"ticker": "SPY"}).status_code == 503
    answer = client.post("/batch_predict", json={"fvgs": [{"fvg_id": 1}], "ticker": "SPY"})
    assert answer.get_json() == {"predictions": [], "models_available": []}


@pytest.mark.parametrize("path", ["/predict", "/batch_predict"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"1", b"\xff", b'{"a":' * 2000])
def test_a_body_that_is_no_object_is_400(standing: Flask, path: str, body: bytes) -> None:
    answer = standing.test_client().post(path, data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["error_code"] == "MISSING_PARAMETER"


@pytest.mark.parametrize("fvgs", [None, "x", {}, 3])
def test_patterns_must_be_a_list(standing: Flask, fvgs: object) -> None:
    answer = standing.test_client().post("/batch_predict", json={"fvgs": fvgs})
    assert answer.status_code == 400


def test_a_body_over_the_bound_is_413(standing: Flask) -> None:
    answer = standing.test_client().post("/batch_predict", data=b"x" * 2_000_000, content_type="application/json")
    assert answer.status_code == 413
    assert answer.get_json()["error_code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("path", ["/predict", "/batch_predict", "/volatility_meter", "/price_ranges"])
def test_browsers_get_their_preflight(standing: Flask, path: str) -> None:
    headers = {"Origin": "https://x.test", "Access-Control-Request-Method": "POST"}
    answer = standing.test_client().options(path, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]


# samples


def cases(serve: Serve, clock: FakeClock, market: ScriptedMarket, folder: Path) -> Iterator[tuple[str, Body]]:
    app = serve()
    for route in ROUTES:
        name = route[1:]
        clock.set("2025-03-11 11:30")
        yield f"{name}_open", ask(app, route)
        yield f"{name}_one_ticker", ask(app, f"{route}?ticker=SPY")
        yield f"{name}_unsupported", ask(app, f"{route}?tickers=UVXY,SPY")
        clock.set("2025-03-11 10:30")
        yield f"{name}_early", ask(app, route)
        clock.set("2025-03-11 09:50")
        yield f"{name}_gated", ask(app, route)
        clock.set("2025-03-08 12:00")
        yield f"{name}_closed", ask(app, route)
        clock.set("2025-03-11 11:30")
        market.fault = lambda path: Reply(500, None)
        yield f"{name}_fault", ask(serve(data_dir=folder / name), route)
        market.fault = lambda path: None
    for name, query in (
        ("open", "date=2025-03-10&time=14:35"),
        ("early", "date=2025-03-10&hour=10"),
        ("gated", "date=2025-03-10&hour=9"),
        ("closed", "date=2025-03-10&hour=17"),
        ("no_data", "date=2025-03-08&hour=11"),
        ("one_ticker", "date=2025-03-10&time=14:35&ticker=SPY"),
        ("unsupported", "date=2025-03-10&time=14:35&tickers=UVXY,SPY"),
    ):
        yield f"replay_{name}", ask(app, f"/replay?{query}")
    yield "replay_error", ask(app, "/replay", 400)
    yield "error_unsupported", ask(app, "/mtf?ticker=UVXY", 400)


def test_samples_have_todays_shape(serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> None:
    for name, body in cases(serve, clock, market, tmp_path):
        keep_or_compare(name, body)


def test_a_machine_in_another_time_zone_says_the_same(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {route: ask(serve(), route) for route in ROUTES}
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert {route: ask(serve(), route) for route in ROUTES} == one
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("days", [6, pytest.param(20, marks=pytest.mark.soak)])
def test_trading_days_around_holidays_have_no_gap_in_any_route(serve: Serve, clock: FakeClock, days: int) -> None:
    """From the Friday before Christmas on, with an early close and closed days between."""
    day = CALENDAR.next_trading_day(new_york("2024-12-20 08:00"))
    app = serve()
    for _ in range(days):
        clock.at = new_york(f"{day} 12:07")
        for route in ROUTES:
            body = ask(app, route)
            check_enums(body)
            assert not [e for e in body["tickers"].values() if "error" in e], (day, route)
        day = CALENDAR.next_trading_day(clock.at + timedelta(hours=8))


def shuffled_and_doubled(path: str, body: Body) -> Body:
    """The same rows in another order, some of them twice."""
    rows = list(body.get("results", []))
    random.Random(3).shuffle(rows)
    return {**body, "results": rows + rows[::7]}


@pytest.mark.parametrize("route", [*ROUTES, "/trading_directions", "/replay?date=2025-03-10&time=14:35"])
def test_bars_in_any_order_and_twice_give_the_same_answer(
    serve: Serve, market: ScriptedMarket, tmp_path: Path, route: str
) -> None:
    one = ask(serve(data_dir=tmp_path / "1"), route)
    market.edit = shuffled_and_doubled
    assert ask(serve(data_dir=tmp_path / "2"), route) == one
