"""Recorded bars with holes: what no signal of a provider's bars would rest on, none of imported ones rests on either."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

from app.market.bars import to_ms
from tests.support import FakeClock, new_york

DAY = "2024-06-12"


@pytest.fixture
def with_gap(recorded_dir: Path) -> None:
    """SPY has no bar from 10:15 to 10:45: a decision finds neither its own price, nor the 11:00 price, nor the open there."""
    first, end = (to_ms(new_york(f"{DAY} {at}")) for at in ("10:15", "10:45"))
    with closing(sqlite3.connect(recorded_dir / "recorded.sqlite3")) as store, store:
        store.execute("DELETE FROM bars WHERE ticker = 'SPY' AND t >= ? AND t < ? AND span != '1day'", (first, end))


@pytest.mark.usefixtures("with_gap")
def test_a_recorded_day_with_a_hole_gives_no_signal_behind_it_live_or_replayed(
    serve_recorded: Callable[..., Flask], clock: FakeClock
) -> None:
    clock.set(f"{DAY} 12:30")
    client = serve_recorded().test_client()
    board = client.get("/trading_directions").get_json()["tickers"]
    assert (board["SPY"]["action"], board["SPY"]["reason_code"]) == ("NO_TRADE", "DATA_FETCH_ERROR")
    assert (board["SPY"]["probability"], board["SPY"]["price_11am"]) == (None, None)
    assert board["SPY"]["reason"].startswith("RECORDED: The bars from 10:15 to 10:45 are missing.")
    assert board["QQQ"]["locked"]
    clock.set("2024-06-13 09:00")
    before, behind = (client.get(f"/replay?date={DAY}&time={at}").get_json()["tickers"] for at in ("10:10", "12:30"))
    assert before["SPY"]["target_a_prob"] is not None
    assert behind["SPY"]["error_code"] == "DATA_FETCH_ERROR"
    assert behind["QQQ"]["target_a_prob"] is not None
