"""One recorded session as the existing dashboard lives it (v1-contract.md 2): every call, every minute, every field."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.blueprints.contract import Schema
from tests.blueprints.test_structure_routes import check_crash_list, check_enums
from tests.blueprints.trading_directions.checking import check
from tests.support import FakeClock, new_york

DAY = "2026-03-30"
HOURS = 8
PROXIED_MTF = ("SPY", "QQQ", "IWM", "UVXY")
NULLABLE = (
    "conflict_tf",
    "gap_behavior",
    "alignment",
    "alignment_detail",
    "direction",
    "recommendation",
    "intraday",
    "v6",
    "probability_a",
    "probability_b",
    "price_11am",
    "as_of",
    "age_s",
    "best_ticker",
    "target_a_prob",
    "target_b_prob",
    "today_open",
    "today_change_pct",
    "northstar",
    "northstar.*",
)
MTF = ("mtf_open", "mtf_early", "mtf_gated", "mtf_closed", "mtf_unsupported", "mtf_one_ticker")
REPLAY = ("replay_open", "replay_early", "replay_gated", "replay_closed", "replay_one_ticker")
Body = dict[str, Any]


@pytest.fixture
def ask(serve_recorded: Callable[..., Flask], clock: FakeClock) -> Callable[[str], Body]:
    clock.set(f"{DAY} 09:00")
    client = serve_recorded().test_client()

    def get(path: str) -> Body:
        response = client.get(path)
        assert response.status_code == 200, f"{clock.at}: {path}: {response.text}"
        assert b"NaN" not in response.data
        assert b"Infinity" not in response.data
        body: Body = response.get_json()
        return body

    return get


@pytest.fixture(autouse=True)
def needs_minutes(recorded_file: object) -> None:
    market_data = os.environ.get("MARKET_DATA", "../shared/market")
    missing = [t for t in ("SPY", "QQQ", "IWM") if not os.path.exists(f"{market_data}/{t}_1min.parquet")]
    if missing:
        pytest.skip(f"no one-minute bars of {', '.join(missing)} in {market_data}")


@pytest.mark.parametrize("minutes", [15, pytest.param(1, marks=pytest.mark.soak)])
def test_the_existing_dashboards_day(ask: Callable[[str], Body], clock: FakeClock, minutes: int) -> None:
    """From 09:00 to 17:00: the dashboard and its cards, the carousels, the phase panel, a replay by the slider."""
    mtf, replay = Schema(*MTF, nullable=NULLABLE), Schema(*REPLAY, nullable=NULLABLE)
    locked: dict[tuple[str, str], Body] = {}
    for _ in range(HOURS * 60 // minutes + 1):
        board = check(ask("/trading_directions"))
        check_board(board, clock, locked)
        for symbol in PROXIED_MTF:
            body = ask(f"/mtf?tickers={symbol}")
            mtf.check(body)
            check_enums(body)
            check_mtf(body["tickers"][symbol], board, symbol, clock)
        replayed = ask(f"/replay?date={DAY}&hour={clock.at.hour}")
        replay.check(replayed)
        clock.forward(minutes=minutes)
    assert len(locked) == 3 * 6


def check_board(board: Body, clock: FakeClock, locked: dict[tuple[str, str], Body]) -> None:
    """Open and closed when the calendar says so; nothing locked ever moves."""
    assert board["market_open"] == (new_york(f"{DAY} 09:30") <= clock.at < new_york(f"{DAY} 16:00"))
    for ticker, entry in board["tickers"].items():
        assert "error" not in entry, f"{clock.at} {entry['reason']}"
        assert entry["reason"].startswith("RECORDED: ")
        if not board["market_open"]:
            assert entry["reason_code"] == "MARKET_CLOSED"
        elif clock.at.hour < 10:
            assert entry["reason_code"] == "INSUFFICIENT_DATA"
        else:
            fixed = {k: v for k, v in entry.items() if k not in ("current_price", "today_change_pct", "reason")}
            first = locked.setdefault((ticker, entry["locked_at"]), fixed)
            assert fixed == first, f"{clock.at} {ticker} moved within its hour"
            assert entry["locked_at"] == f"{DAY}T{clock.at.hour}:00:00-04:00"


def check_mtf(entry: Body, board: Body, symbol: str, clock: FakeClock) -> None:
    if symbol == "UVXY":
        assert entry["error_code"] == "UNSUPPORTED_TICKER"
        return
    assert "error" not in entry
    check_crash_list(entry)
    signal = board["tickers"][symbol]
    if entry["intraday"] is None:
        assert clock.at < new_york(f"{DAY} 10:00"), "thirty regular minutes exist from 10:00 on"
        return
    v6 = entry["intraday"]["v6"]
    assert (v6 is None) == (signal["probability_a"] is None)
    if v6:
        assert (v6["target_a_prob"], v6["target_b_prob"]) == (signal["probability_a"], signal["probability_b"])
        assert entry["current_price"] == signal["current_price"]
