"""Bringing bars in: all or nothing, again changes nothing, what is wrong is counted or refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import BrokenData, Unavailable
from app.market.bars import Bars, Span, to_ms
from app.market.calendar import Calendar, midnight_ms
from app.market.importing.names import series_of
from app.market.recorded import RecordedBars
from tests.support import new_york, session_bars

COLUMNS = ("t", "o", "h", "l", "c", "v")


def table(bars: Bars, **changed: object) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {name: getattr(bars, name).tolist() for name in COLUMNS}
    for name, value in changed.items():
        columns[name][2] = value
    return columns


def write_parquet(path: Path, columns: dict[str, list[object]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def write_csv(path: Path, columns: dict[str, list[object]]) -> Path:
    with path.open("w", newline="") as handle:
        out = csv.writer(handle)
        out.writerow(columns)
        out.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def store(tmp_path: Path) -> RecordedBars:
    return RecordedBars(tmp_path / "recorded.sqlite3", Calendar())


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_both_kinds_of_file_bring_the_same_bars(store: RecordedBars, tmp_path: Path, kind: str) -> None:
    bars = session_bars(span=Span.FIVE_MINUTES)
    write = write_parquet if kind == "parquet" else write_csv
    told: list[tuple[int, int]] = []
    brought = store.import_file(write(tmp_path / f"SPY_5min.{kind}", table(bars)), lambda *n: told.append(n))
    assert (brought.ticker, brought.span, brought.kept, brought.rejected.total()) == ("SPY", "5min", 5, 0)
    assert store.all_bars("SPY", Span.FIVE_MINUTES).equals(bars)
    assert told == [(5, 5)]


def test_the_same_file_again_changes_nothing_and_says_so(store: RecordedBars, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "SPY_5min.parquet", table(session_bars(span=Span.FIVE_MINUTES)))
    store.import_file(file)
    before = store.data_hash()
    assert store.import_file(file).is_unchanged
    assert store.data_hash() == before


def test_more_bars_of_a_series_join_it(store: RecordedBars, tmp_path: Path) -> None:
    bars = session_bars(8, span=Span.FIVE_MINUTES)
    store.import_file(write_csv(tmp_path / "SPY_5min.csv", table(bars[:5])))
    store.import_file(write_csv(tmp_path / "SPY_5min.csv", table(bars[3:])))
    assert store.all_bars("SPY", Span.FIVE_MINUTES).equals(bars)


def test_the_order_of_imports_does_not_name_other_data(tmp_path: Path) -> None:
    files = [
        write_csv(tmp_path / "SPY_5min.csv", table(session_bars(span=Span.FIVE_MINUTES))),
        write_csv(tmp_path / "QQQ_5min.csv", table(session_bars(span=Span.FIVE_MINUTES, price=50))),
    ]
    hashes = set()
    for i, order in enumerate((files, files[::-1])):
        store = RecordedBars(tmp_path / f"{i}.sqlite3", Calendar())
        for file in order:
            store.import_file(file)
        hashes.add(store.data_hash())
    assert len(hashes) == 1


def test_broken_bars_are_left_out_and_counted_by_reason(store: RecordedBars, tmp_path: Path) -> None:
    columns = table(session_bars(span=Span.FIVE_MINUTES), h=1.0)
    columns["c"][3] = None
    columns["t"].append(columns["t"][0])
    for name in COLUMNS[1:]:
        columns[name].append(columns[name][0])
    brought = store.import_file(write_parquet(tmp_path / "SPY_5min.parquet", columns))
    assert brought.kept == 3
    assert brought.rejected == {
        "low or high does not enclose open and close": 1,
        "price not a positive number": 1,
        "same time as a later row": 1,
    }


def test_adjusted_prices_a_rounding_apart_lose_no_bar_and_are_counted_as_repaired(
    store: RecordedBars, tmp_path: Path
) -> None:
    """As an adjusted file has them: the close is the day's high times a factor, the high itself is a rounding lower."""
    columns = table(session_bars(40, span=Span.FIVE_MINUTES))
    columns["c"] = columns["h"][:]
    columns["h"] = [value * 0.8 / 0.8000000001 for value in columns["h"]]
    brought = store.import_file(write_parquet(tmp_path / "SPY_5min.parquet", columns))
    assert (brought.kept, brought.repaired, brought.rejected.total()) == (40, 40, 0)
    bars = store.all_bars("SPY", Span.FIVE_MINUTES)
    assert bars.h.tolist() == bars.c.tolist()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("SPY_5min.parquet", b"not parquet at all", "cannot be read"),
        ("SPY_5min.csv", b"t,o,h,l,c\n1,2,3,4,5\n", "column 'v' is missing"),
        ("SPY_5min.csv", b"t,o,h,l,c,v\n", "no rows"),
        ("SPY_5min.csv", b"\xff\xfe\x00", "cannot be read"),
        ("SPY_5min.csv", b"t,o,h,l,c,v\nx,y,z,1,2,3\n", "no usable bar"),
        ("spy5.csv", b"", "the name must be"),
        ("SPY_5min.txt", b"", "the name must be"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_whole(
    store: RecordedBars, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BrokenData, match=words):
        store.import_file(tmp_path / name)
    assert store.series() == []


def test_a_parquet_file_cut_short_leaves_nothing_behind(store: RecordedBars, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "SPY_5min.parquet", table(session_bars(500, span=Span.FIVE_MINUTES)))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(BrokenData, match=r"SPY_5min.parquet: cannot be read"):
        store.import_file(file)
    assert len(store.all_bars("SPY", Span.FIVE_MINUTES)) == 0


def test_a_full_disk_half_way_leaves_nothing_behind(store: RecordedBars, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "SPY_5min.parquet", table(session_bars(30_000, span=Span.FIVE_MINUTES)))
    pages = store._db.rows("PRAGMA page_count")[0][0]
    store._db.rows(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(Unavailable) as refused:
        store.import_file(file)
    assert "full" in refused.value.detail
    assert len(store.all_bars("SPY", Span.FIVE_MINUTES)) == 0
    assert store.series() == []


def test_other_series_of_a_ticker_are_never_merged(store: RecordedBars, tmp_path: Path) -> None:
    store.import_file(write_csv(tmp_path / "QQQ_5min.csv", table(session_bars(span=Span.FIVE_MINUTES))))
    other = session_bars(3, span=Span.FIVE_MINUTES, price=7.0)
    store.import_file(write_csv(tmp_path / "QQQ_5min_consolidated.csv", table(other)))
    assert len(store.all_bars("QQQ", Span.FIVE_MINUTES)) == 5
    assert store.all_bars("QQQ", "5min_consolidated").equals(other)
    assert series_of(Path("VIX_1day.parquet")) == ("VIX", "1day")


def test_the_open_of_a_day_is_a_fact_beside_its_bar(store: RecordedBars, tmp_path: Path) -> None:
    day = new_york("2025-03-11 00:00").date()
    bars = Bars(*(np.array([x]) for x in (midnight_ms(day), midnight_ms(day) + 1, 5.0, 6.0, 4.0, 5.5, 1.0)))
    store.import_file(write_csv(tmp_path / "SPY_1day.csv", {n: getattr(bars, n).tolist() for n in COLUMNS}))
    assert store.official_open("SPY", day) == 5.0
    assert store.all_bars("SPY", Span.DAY).end[0] == to_ms(new_york("2025-03-11 16:00"))


def test_the_clock_starts_at_the_last_session_that_all_tickers_have(store: RecordedBars, tmp_path: Path) -> None:
    assert store.default_start(("SPY", "QQQ")) is None
    for ticker, days in (("SPY", ("2025-03-11", "2025-03-12")), ("QQQ", ("2025-03-11",))):
        for day in days:
            bars = session_bars(day=day)
            store.import_file(write_csv(tmp_path / f"{ticker}_1min.csv", table(bars)))
    assert store.default_start(("SPY", "QQQ")) == new_york("2025-03-11 09:25")
    assert store.default_start(("SPY",)) == new_york("2025-03-12 09:25")
