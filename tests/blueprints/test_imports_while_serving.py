"""An import under a running recorded server: no answer and no record mixes the bars of before with those of after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from flask import Flask

from app.factory import create_app
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from tests.conftest import MARKET_DATA
from tests.support import FakeClock, settings

SERIES = ("SPY_5min.parquet", "SPY_1day.parquet")
SINCE_MS = 1_751_328_000_000
"""July 2025."""


def bring(folder: Path, files: Path, factor: float, ticker: str = "SPY") -> None:
    """Import SPY's real bars, as those of `ticker`, since July 2025, all prices times `factor`, as after a split."""
    files.mkdir()
    for name in SERIES:
        table = pq.read_table(MARKET_DATA / name)
        table = table.filter(pc.greater_equal(table["t"], SINCE_MS))
        for column in "ohlc":
            at = table.schema.get_field_index(column)
            table = table.set_column(at, column, pc.multiply(table[column], factor))
        pq.write_table(table, files / name.replace("SPY", ticker))
    recorded = RecordedBars(folder / "recorded.sqlite3", Calendar())
    assert not [found.refused for found in recorded.import_files(sorted(files.iterdir())) if found.refused]
    recorded.close()


def spy(app: Flask) -> dict[str, Any]:
    found: dict[str, Any] = app.test_client().get("/trading_directions").get_json()["tickers"]["SPY"]
    return found


@pytest.mark.skipif(not all((MARKET_DATA / name).exists() for name in SERIES), reason=f"no real bars in {MARKET_DATA}")
def test_a_running_server_never_mixes_bars_of_two_imports(tmp_path: Path, clock: FakeClock) -> None:
    folder = tmp_path / "data"
    bring(folder, tmp_path / "first", 1.0)
    clock.set("2025-11-05 12:30")
    values = settings(market="recorded", data_dir=folder)
    app = create_app(values, clock=clock)
    before = spy(app)
    assert before["locked"]
    bring(folder, tmp_path / "of another", 1.0, ticker="AAPL")
    clock.set("2025-11-05 12:36")
    assert spy(app)["current_price"] != before["current_price"], "bars that no answer reads change nothing"
    before = spy(app)
    bring(folder, tmp_path / "second", 0.5)
    clock.set("2025-11-05 13:01")
    after = spy(app)
    assert (after["action"], after["locked"]) == ("NO_TRADE", False)
    assert after["current_price"] in (None, before["current_price"])
    clock.set("2025-11-05 13:20")
    after = spy(app)
    assert (after["action"], after["current_price"]) == ("NO_TRADE", None)
    assert "restart" in after["reason"]
    assert "recorded_bars_changed" in app.test_client().get("/health").get_json()["degraded"]
    restarted = spy(create_app(values, clock=clock))
    assert abs(restarted["current_price"] / before["current_price"] - 0.5) < 0.02
