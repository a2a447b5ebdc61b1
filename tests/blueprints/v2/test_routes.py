"""v2's other routes, and what it says of wrong requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from tests.blueprints.v2.calls import ask, call
from tests.support import FakeClock

Serve = Callable[..., Flask]
CONSTANTS = {
    *("meta", "invariants", "vpoc_developing", "internals_advance_decline", "internals_tick", "overnight_range_atr"),
    *("feed_latency_ms", "duplicate_bars", "vix_level", "correlation_breakdown", "regime_duration_bars"),
    *("last_signal_bars_ago", "model_version", "last_training_date", "timeframe", "v6_swing"),
}
"""What v1 sends whatever the bars are (rpe.md 2 to 7)."""

REPEATED = {"timestamp", "symbol"}
"""What v1 repeats of the request."""


def keys(value: Any) -> Iterator[str]:
    """All keys at whatever depth."""
    if isinstance(value, dict):
        yield from value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(member)


def common(whole: Any, part: Any) -> Any:
    """`whole` without the keys that `part` lacks, at whatever depth."""
    if not isinstance(part, dict):
        return whole
    return {key: common(whole[key], member) for key, member in part.items()}


def times(value: Any) -> Iterator[str]:
    """All values that are moments, at whatever depth."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        yield value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from times(member)


@pytest.mark.parametrize(
    "path", ["/structure/SPY", "/swing/SPY", "/trading-directions", "/status", "/calendar", "/models"]
)
def test_times_are_written_to_the_second_with_new_yorks_offset(serve: Serve, clock: FakeClock, path: str) -> None:
    clock.forward(microseconds=123_456)
    found = list(times(ask(serve(), path)))
    assert found
    assert [text for text in found if not re.fullmatch(r"[-\d]{10}T\d\d:\d\d:\d\d-0[45]:00", text)] == []


@pytest.mark.parametrize("path", ["/structure/SPY", "/swing/SPY"])
def test_an_analysis_shows_neither_constants_as_measured_nor_the_request_again(standing: Flask, path: str) -> None:
    assert (CONSTANTS | REPEATED) & set(keys(ask(standing, path))) == set()
    assert CONSTANTS & set(keys(standing.test_client().get("/rpe?ticker=SPY").get_json())), "v1 has them"


def test_structure_is_v1s_analysis_of_the_same_moment(standing: Flask) -> None:
    structure = ask(standing, "/structure/SPY")
    client = standing.test_client()
    northstar, rpe = (client.get(f"/{name}?ticker=SPY").get_json()["tickers"]["SPY"] for name in ("northstar", "rpe"))
    assert structure["northstar"] == {key: northstar[key] for key in structure["northstar"]}
    assert structure["rpe"] == common(rpe, structure["rpe"])
    assert structure["minute_bars"] == 119
    assert structure["reason"] is None


def test_swing_is_v1s_analysis_of_the_same_moment(standing: Flask) -> None:
    answer = ask(standing, "/swing/SPY")
    v1 = standing.test_client().get("/swing?ticker=SPY").get_json()["tickers"]["SPY"]
    assert answer["swing"] == {key: v1[key] for key in answer["swing"]}
    assert answer["price"] == v1["current_price"]


def test_an_analysis_that_cannot_be_made_says_why(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 04:20")
    structure = ask(serve(), "/structure/SPY")
    assert (structure["northstar"], structure["rpe"]) == (None, None)
    assert structure["reason"] == "9 one-minute bars of the day are known; 30 are needed."


def test_a_replay_of_a_day_without_trading_says_which_gate_it_failed(standing: Flask) -> None:
    signal = ask(standing, "/replay/SPY?at=2025-03-09T12:00:00-04:00")
    assert (signal["mode"], signal["session_date"], signal["freshness"]) == ("replay", None, "historical")
    assert [gate["passed"] for gate in signal["gates"]] == [True, False, None, None, None]
    assert signal["reason"] == "The market was closed on Mar 9, 2025 (Sunday)."


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "is missing (or `from` and `to` for a series)"),
        ("?at=yesterday", "must be a moment with its offset, like 2024-06-12T14:35:00-04:00"),
        ("?at=2025-03-10T11:00:00", "must be a moment with its offset, like 2024-06-12T14:35:00-04:00"),
        ("?at=2025-03-12T11:00:00-04:00", "lies ahead: in this market it is 2025-03-11T11:30:00-04:00"),
        ("?at=0001-01-01T00:00:00Z", "must be a moment with its offset, like 2024-06-12T14:35:00-04:00"),
        ("?at=9999-12-31T23:59:59-12:00", "must be a moment with its offset, like 2024-06-12T14:35:00-04:00"),
        ("?at=2025-W11-1T10:00:00Z", "must be a moment with its offset, like 2024-06-12T14:35:00-04:00"),
        ("?at=1900-01-01T11:00:00Z", "lies before 1993-01-29, the first day of any ticker"),
        ("?at=2025-03-10T11:00:00Z&at=2025-03-10T12:00:00Z", "is given more than once"),
        ("?at=2025-03-10T11:00:00Z&date=2025-03-10", "is no parameter of this route"),
        ("?at=2025-03-10T11:00:00Z&recompute=yes", "must be true or false"),
        ("?from=2025-03-10T11:00:00-04:00&to=2025-03-10T12:00:00-04:00&recompute=true", "needs `at`"),
    ],
)
def test_a_wrong_moment_of_a_replay_is_refused_with_what_is_wrong(standing: Flask, query: str, said: str) -> None:
    response = call(standing, f"/replay/SPY{query}")
    assert response.status_code == 400
    details = [fault["detail"].rstrip(".") for fault in response.get_json()["errors"]]
    assert said[0].upper() + said[1:] in details


def test_every_fault_of_a_query_is_named_with_its_place(standing: Flask) -> None:
    problem = call(standing, "/trading-directions?tickers=SPY,TSLA&colour=red").get_json()
    assert problem["error_code"] == "INVALID_PARAMETER"
    assert [fault["pointer"] for fault in problem["errors"]] == ["/tickers", "/colour"]


def test_a_query_with_thousands_of_faults_names_ten(standing: Flask) -> None:
    problem = call(standing, "/status?" + "&".join(f"p{n}=1" for n in range(900))).get_json()
    assert len(problem["errors"]) == 10
    assert len(problem["detail"]) < 1000


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/bars/SPY?span=1h", "Parameter span must be '1m', '5m', '15m', '30m' or '1d'."),
        ("/replay/SPY?step=often", "Parameter step must be a whole number."),
        ("/replay/SPY?step=1.5", "Parameter step must be a whole number."),
        ("/replay/SPY?step=0", "Parameter step must be 1 or more."),
        ("/replay/SPY?step=1441", "Parameter step must be 1440 or less."),
        (f"/replay/SPY?step={'9' * 5000}", "Parameter step must be a whole number."),
        ("/signals/SPY?limit=", "Parameter limit must be a whole number."),
        ("/signals/SPY?limit=101", "Parameter limit must be 100 or less."),
        (f"/signals/SPY?cursor={'x' * 65}", "Parameter cursor must have at most 64 characters."),
        (
            "/trading-directions/SPY/stream?follow=true&after=17",
            "Parameter after must match the pattern ^[0-9a-f]{8}-[0-9]{1,15}$.",
        ),
        ("/trading-directions/SPY/stream?follow=yes", "Parameter follow must be true or false."),
    ],
)
def test_the_fault_of_a_parameter_is_a_sentence(standing: Flask, path: str, said: str) -> None:
    response = call(standing, path)
    assert (response.status_code, response.get_json()["detail"]) == (400, said)


@pytest.mark.parametrize("route", ["trading-directions", "structure", "swing", "models"])
def test_a_ticker_that_is_not_supported_is_not_found(standing: Flask, route: str) -> None:
    response = call(standing, f"/{route}/TSLA")
    assert (response.status_code, response.get_json()["error_code"]) == (404, "UNSUPPORTED_TICKER")


def test_the_calendar_knows_holidays_and_early_closes(standing: Flask) -> None:
    sessions = ask(standing, "/calendar?from=2024-11-27&to=2024-11-30")["sessions"]
    assert [session["day"] for session in sessions] == ["2024-11-27", "2024-11-29"]
    assert sessions[1] == {
        "day": "2024-11-29",
        "open": "2024-11-29T09:30:00-05:00",
        "close": "2024-11-29T13:00:00-05:00",
        "early_close": True,
        "decision_hours": [10, 11, 12],
    }


def test_the_calendar_begins_today_and_has_bounds(standing: Flask) -> None:
    sessions = ask(standing, "/calendar")["sessions"]
    assert (sessions[0]["day"], sessions[-1]["day"]) == ("2025-03-11", "2025-04-10")
    assert call(standing, "/calendar?from=2025-01-01&to=2026-02-06").status_code == 400
    assert call(standing, "/calendar?from=2025-01-02&to=2025-01-01").status_code == 400
    assert call(standing, "/calendar?from=2099-12-31").status_code == 200
    for wrong in ("0", "86400", "2025-03-11T00:00:00", "2025-W11-2", "2025-02-30", "1900-01-01", "9999-12-31", ""):
        assert call(standing, f"/calendar?from={wrong}").status_code == 400, wrong


def test_the_status_says_what_the_server_serves_with(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    assert ask(app, "/status")["market_open"] is True
    clock.set("2025-03-08 12:00")
    status = ask(app, "/status")
    assert (status["market_open"], status["next_open"]) == (False, "2025-03-10T09:30:00-04:00")


def test_all_models_are_those_of_each_ticker(standing: Flask) -> None:
    listed = ask(standing, "/models")
    assert listed["models"] == [ask(standing, f"/models/{ticker}") for ticker in ("SPY", "QQQ", "IWM")]
    assert listed["missing"] == {}
