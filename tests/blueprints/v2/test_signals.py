"""The signals of v2: what they say of a decision, of a gate, of their age; and that they agree with v1 and with replay."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from flask import Flask

from app.config.settings import ARTEFACTS
from app.errors import Upstream
from app.factory import create_app
from app.market.bars import to_ms
from tests.blueprints.v2.calls import ask, call
from tests.support import FakeClock, ScriptedMarket, dropping, models_saying, new_york, promoted_files, settings

Serve = Callable[..., Flask]
HOURS = ["10:00", "10:59", "11:00", "13:31", "15:59"]
AGREED = {("10:00", 0.9), ("10:59", 0.5), ("11:00", 0.1), ("13:31", 0.9), ("15:59", 0.1)}
"""Each hour and each side once, in CI."""

AGREEING = [
    pytest.param(time, spoken, marks=[] if (time, spoken) in AGREED else [pytest.mark.soak])
    for time in HOURS
    for spoken in (0.9, 0.5, 0.1)
]
LABELS = {"BUY_CALL": "LONG", "BUY_PUT": "SHORT", "NO_TRADE": "NO_TRADE"}


def gates(signal: dict[str, Any]) -> list[bool | None]:
    return [gate["passed"] for gate in signal["gates"]]


def test_a_signal_says_what_was_decided_what_it_rests_on_and_how_old_it_is(serve: Serve, tmp_path: Path) -> None:
    signal = ask(serve(models_dir=models_saying(tmp_path / "m", 0.9, 0.93)), "/trading-directions/SPY")
    assert (signal["action"], signal["direction"], signal["strength"]) == ("BUY_CALL", "LONG", "very_strong")
    assert (signal["mode"], signal["freshness"], signal["source"]) == ("live", "live", "polygon")
    assert (signal["decision_hour"], signal["active_target"], signal["probability"]) == (
        11,
        "B",
        signal["probability_b"],
    )
    assert signal["lock"] == {
        "state": "locked",
        "locked_at": "2025-03-11T11:00:00-04:00",
        "expires_at": "2025-03-11T12:00:00-04:00",
        "recorded": True,
        "inputs_sha256": ANY,
        "bars_agree": True,
    }
    assert re.fullmatch("[0-9a-f]{64}", signal["lock"]["inputs_sha256"])
    assert signal["expires_at"] == signal["lock"]["expires_at"]
    assert signal["levels"]["stop_loss"] < signal["prices"]["at_decision"] < signal["levels"]["take_profit"]
    assert gates(signal) == [True] * 5
    assert signal["structure"]["minute_bars"] == 119
    assert signal["swing"]["daily_bars"] > 30
    age = datetime.fromisoformat(signal["generated_at"]) - datetime.fromisoformat(signal["as_of"])
    assert signal["age_seconds"] == age.total_seconds()


@pytest.mark.parametrize(
    ("spoken", "wide", "expected"), [(0.76, True, True), (0.24, True, True), (0.9, True, False), (0.76, False, False)]
)
def test_an_entry_beyond_its_stop_is_said_to_be_one(
    serve: Serve, market: ScriptedMarket, tmp_path: Path, spoken: float, wide: bool, expected: bool
) -> None:
    """The limit is a quarter of the ATR away; with days that are 6 % wide that is beyond every stop."""

    def widened(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if not wide or "/day/" not in path:
            return body
        return {**body, "results": [{**row, "h": row["h"] * 1.03, "l": row["l"] * 0.97} for row in body["results"]]}

    market.edit = widened
    levels = ask(serve(models_dir=models_saying(tmp_path / "m", spoken)), "/trading-directions/SPY")["levels"]
    assert (levels["entry_price"] < levels["stop_loss"]) == (expected == (spoken > 0.5))
    assert levels["entry_beyond_stop"] == expected


def test_before_eleven_target_b_has_no_probability_and_no_hit_rate(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 10:30")
    signal = ask(serve(), "/trading-directions/SPY")
    assert (signal["active_target"], signal["probability_b"]) == ("A", None)
    assert signal["probability"] == signal["probability_a"]
    assert [rate["target"] for rate in signal["hit_rates"]] == ["A"]


def test_each_hit_rate_is_of_the_models_own_evaluation_and_has_its_baselines_beside_it(serve: Serve) -> None:
    app = serve()
    signal = ask(app, "/trading-directions/SPY")
    cells = {(c["target"], c["decision_hour"]): c for c in ask(app, "/models/SPY")["evaluation"]}
    for rate in signal["hit_rates"]:
        assert rate == {key: cells[rate["target"], 11][key] for key in rate}
    v1 = app.test_client().get("/models").get_json()["models"]["SPY"]["metrics"]["cells"]
    assert {(c["target"], c["hour"]): (c["accuracy"], c["up_accuracy"], c["verdict"]) for c in v1} == {
        key: (cell["hit_rate"], cell["always_up_hit_rate"], cell["verdict"]) for key, cell in cells.items()
    }
    assert [key for key, cell in cells.items() if cell["baseline_hit_rate"] is None] == [("B", 11)], "no side yet"


def test_each_range_stands_with_how_often_such_ranges_held_out_of_sample(serve: Serve) -> None:
    signal = ask(serve(), "/trading-directions/SPY")
    evaluation = promoted_files(ARTEFACTS).member("SPY")[1]["evaluation"]
    half, most = signal["ranges"]
    assert (half["level"], most["level"]) == (0.5, 0.8)
    assert most["low"] < half["low"] < signal["prices"]["at_decision"] < half["high"] < most["high"]
    for found in (half, most):
        measured = evaluation["ranges"][str(found["level"])]["11"]
        assert (found["coverage"], found["days"]) == (measured["both"], measured["n"])
        assert found["span"] == evaluation["span"]
        assert {found["low"], found["high"]} == {round(found["low"], 2), round(found["high"], 2)}


def test_a_range_of_a_demo_market_has_no_coverage(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    ranges = ask(app, "/trading-directions/SPY")["ranges"]
    assert [found["level"] for found in ranges] == [0.5, 0.8]
    assert all(found[name] is None for found in ranges for name in ("coverage", "days", "span"))


def test_before_the_first_decision_there_is_no_range(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 09:45")
    assert ask(serve(), "/trading-directions/SPY")["ranges"] == []


def test_a_demo_market_has_no_hit_rates(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    signal = ask(app, "/trading-directions/SPY")
    assert (signal["source"], signal["decision_hour"], signal["hit_rates"]) == ("demo", 11, [])


@pytest.mark.parametrize(("at", "spoken"), [("11:30", 0.5), ("09:40", 0.9), ("17:30", 0.9)])
def test_in_a_demo_market_the_reason_of_a_gate_says_demo(
    tmp_path: Path, clock: FakeClock, at: str, spoken: float
) -> None:
    clock.set(f"2025-03-11 {at}")
    models = models_saying(tmp_path / "m", spoken)
    app = create_app(settings(market="demo", data_dir=tmp_path, models_dir=models), clock=clock)
    failed = [gate for gate in ask(app, "/trading-directions/SPY")["gates"] if gate["passed"] is False]
    assert [gate["reason"][:6] for gate in failed] == ["DEMO: "]


def test_structure_allows_no_trade_in_a_closed_market_and_none_without_a_side(serve: Serve) -> None:
    """Phase 4 looks at neither; a trader must not read it as a permission."""
    app, differs = serve(), 0
    for day in ("2025-03-07", "2025-03-10"):
        for time in ("09:20", "10:30", "12:00", "14:00", "15:30", "17:00"):
            at = new_york(f"{day} {time}")
            replayed = app.test_client().get(f"/replay?date={day}&time={time}&ticker=SPY").get_json()
            phase4 = replayed["northstar"]["SPY"]["phase4"]
            summary = ask(app, f"/replay/SPY?at={at.isoformat()}")["structure"]
            is_open, has_side = "09:30" <= time < "16:00", summary["northstar_bias"] != "NEUTRAL"
            assert summary["northstar_allowed"] == (phase4["allowed"] and is_open and has_side)
            assert not summary["rpe_allowed"] or (is_open and summary["rpe_bias"] != "NEUTRAL")
            differs += summary["northstar_allowed"] != phase4["allowed"]
    assert differs, "the moments show what the test is about"


def test_a_decision_of_another_model_has_neither_the_loaded_ones_hash_nor_its_hit_rates(
    serve: Serve, tmp_path: Path
) -> None:
    ask(serve(models_dir=models_saying(tmp_path / "m", 0.9)), "/trading-directions/SPY")
    for models in ({}, {"models_dir": tmp_path / "none"}):
        signal = ask(serve(**models), "/trading-directions/SPY")
        assert signal["action"] == "BUY_CALL"
        assert signal["model"]["model_id"].startswith("v6-SPY-")
        assert (signal["model"]["artifact_sha256"], signal["model"]["data_end"], signal["hit_rates"]) == (
            None,
            None,
            [],
        )


@pytest.mark.parametrize(("time", "spoken"), AGREEING)
def test_v2_v1_and_replay_agree_on_the_same_moment(
    serve: Serve, clock: FakeClock, tmp_path: Path, time: str, spoken: float
) -> None:
    clock.set(f"2025-03-11 {time}")
    clock.forward(seconds=8)
    app = serve(models_dir=models_saying(tmp_path / "m", spoken))
    board = ask(app, "/trading-directions")
    v1 = app.test_client().get("/trading_directions").get_json()
    at = clock().isoformat()
    for signal in board["signals"]:
        alone = ask(app, f"/trading-directions/{signal['ticker']}")
        assert alone == signal
        replayed = ask(app, f"/replay/{signal['ticker']}?at={at.replace('+', '%2B')}")
        differs = {"mode": "live", "freshness": signal["freshness"], "reason": signal["reason"]}
        assert {**replayed, **differs} == signal
        assert (replayed["mode"], replayed["freshness"]) == ("replay", "historical")
        entry = v1["tickers"][signal["ticker"]]
        assert LABELS[signal["action"]] == entry["action"]
        assert signal["probability"] == entry["probability"]
        assert signal["size"]["percent_of_capital"] == entry["position_pct"]
        assert signal["prices"]["now"] == entry["current_price"]
        assert signal["expires_at"] == entry["lock_expires_at"]
        assert signal["reason"] == entry["reason"]
        if signal["levels"]:
            assert signal["levels"]["take_profit"] == entry["take_profit"]
    assert board["best"] == v1["best_ticker"]


def test_a_closed_market_is_a_gate_and_its_values_are_closed(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 17:31")
    app = serve()
    signal = ask(app, "/trading-directions/SPY")
    assert (signal["freshness"], signal["action"], signal["lock"]["state"]) == ("closed", "NO_TRADE", "none")
    assert gates(signal) == [True, False, None, None, None]
    assert (signal["structure"], signal["swing"], market.calls) == (None, None, []), "a closed market causes no call"
    assert ask(app, "/trading-directions")["next_open"] == "2025-03-12T09:30:00-04:00"


def test_without_a_key_a_closed_market_is_answered_as_in_v1(tmp_path: Path, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    app = create_app(settings(market="polygon", data_dir=tmp_path), clock=clock)
    assert ask(app, "/trading-directions")["market_open"] is False
    clock.set("2025-03-11 11:30")
    assert call(app, "/trading-directions").status_code == 503


def test_a_replay_of_a_decision_that_was_not_locked_live_says_so(serve: Serve) -> None:
    signal = ask(serve(), "/replay/SPY?at=2025-03-10T12:30:00-04:00")
    assert (signal["lock"]["state"], signal["lock"]["recorded"]) == ("locked", False)


def test_a_replay_can_compute_anew_what_stands_in_the_record(serve: Serve, tmp_path: Path) -> None:
    at = "/replay/SPY?at=2025-03-11T11:20:00-04:00"
    live = ask(serve(models_dir=models_saying(tmp_path / "then", 0.9, 0.93)), "/trading-directions/SPY")
    app = serve(models_dir=models_saying(tmp_path / "now", 0.5, 0.5))
    again = ask(app, f"{at}&recompute=true")
    assert (again["action"], again["probability"], again["lock"]["recorded"]) == ("NO_TRADE", 0.5, False)
    recorded = ask(app, at)
    assert (recorded["action"], recorded["probability"]) == (live["action"], live["probability"])
    assert recorded["lock"]["recorded"] is True, "the record has not changed"


def test_what_is_computed_anew_is_what_was_locked(serve: Serve, tmp_path: Path) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.9, 0.93))
    live = ask(app, "/trading-directions/SPY")
    again = ask(app, "/replay/SPY?at=2025-03-11T11:20:00-04:00&recompute=true")
    same = (
        "decision_hour",
        "action",
        "strength",
        "probability",
        "probability_a",
        "size",
        "levels",
        "model",
        "versions",
    )
    assert {name: again[name] for name in same} == {name: live[name] for name in same}


def test_a_replay_of_a_day_with_holes_says_how_many_bars_are_missing(serve: Serve, market: ScriptedMarket) -> None:
    first = to_ms(new_york("2025-03-10 15:50"))
    market.edit = dropping("/minute/2025-03-10", lambda row: row["t"] >= first)
    signal = ask(serve(), "/replay/SPY?at=2025-03-10T15:30:00-04:00")
    assert signal["missing_bars"] == 10
    assert "10 of its session are missing" in signal["reason"]


def test_without_market_data_the_signal_is_stale_and_its_gate_says_why(serve: Serve, market: ScriptedMarket) -> None:
    def broken(path: str) -> None:
        raise Upstream("the provider did not answer in time")

    market.fault = broken
    signal = ask(serve(), "/trading-directions/SPY")
    assert (signal["freshness"], signal["prices"]["now"], signal["as_of"]) == ("stale", None, None)
    failed = next(gate for gate in signal["gates"] if gate["passed"] is False)
    assert (failed["gate"], failed["code"]) == ("market_data", "DATA_FETCH_ERROR")
    assert gates(signal) == [True, True, False, None, None]


def test_without_a_model_that_gate_fails(serve: Serve, tmp_path: Path) -> None:
    signal = ask(serve(models_dir=tmp_path / "none"), "/trading-directions/SPY")
    assert gates(signal) == [True, True, True, False, None]
    assert signal["hit_rates"] == []


def test_a_neutral_probability_fails_the_last_gate(serve: Serve, tmp_path: Path) -> None:
    signal = ask(serve(models_dir=models_saying(tmp_path / "m", 0.5)), "/trading-directions/SPY")
    assert gates(signal) == [True, True, True, True, False]
    assert signal["gates"][-1]["code"] == "NEUTRAL_ZONE"
    assert signal["levels"] is None


def test_a_board_of_some_tickers_has_them_in_the_order_that_was_asked_for(serve: Serve) -> None:
    board = ask(serve(), "/trading-directions?tickers=iwm,SPY,IWM")
    assert [signal["ticker"] for signal in board["signals"]] == ["IWM", "SPY"]


def test_an_answer_is_kept_until_it_can_change(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    first = call(app, "/trading-directions/SPY")
    again = call(app, "/trading-directions/SPY", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"]) == (304, first.headers["ETag"])
    clock.forward(minutes=1)
    later = call(app, "/trading-directions/SPY", headers={"If-None-Match": first.headers["ETag"]})
    assert (later.status_code, later.get_json()["generated_at"]) == (200, "2025-03-11T11:31:00-04:00")


def test_the_version_of_the_header_leads_to_the_same_answer(serve: Serve) -> None:
    app = serve()
    by_header = app.test_client().get("/trading-directions?tickers=SPY", headers={"X-API-Version": "2"})
    assert by_header.get_json() == ask(app, "/trading-directions?tickers=SPY")
    assert by_header.headers["X-API-Version"] == "2"
