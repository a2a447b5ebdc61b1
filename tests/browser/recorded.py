"""A few weeks of the real bars, imported in a second: enough for the signals of one day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.compute as columns
import pyarrow.parquet as parquet
import pytest

from app.market.calendar import Calendar, midnight_ms
from app.market.recorded import RecordedBars
from tests.conftest import MARKET_DATA, NEEDED

DAY = "2024-06-12"
FIRST, END = date(2024, 4, 15), date(2024, 6, 14)


def import_days(folder: Path) -> None:
    """Import the real five-minute bars from FIRST to END and the daily ones of some years into the new `folder`. Skips the test
    where there are none."""
    if missing := [name for name in NEEDED if not (MARKET_DATA / name).exists()]:
        pytest.skip(f"no real bars: MARKET_DATA={MARKET_DATA} lacks {', '.join(missing)}")
    folder.mkdir(parents=True)
    recorded = RecordedBars(folder / "recorded.sqlite3", Calendar())
    for name in NEEDED:
        first = FIRST if "5min" in name else date(2021, 1, 4)
        recorded.import_file(_excerpt(MARKET_DATA / name, first, folder / name))
    recorded.close()


def _excerpt(source: Path, first: date, target: Path) -> Path:
    table = parquet.read_table(source)
    first_ms, end_ms = midnight_ms(first), midnight_ms(END)
    kept = columns.and_(columns.greater_equal(table["t"], first_ms), columns.less(table["t"], end_ms))
    parquet.write_table(table.filter(kept), target)
    return target
