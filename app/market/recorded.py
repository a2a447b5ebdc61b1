"""Recorded bars: files brought in once (`python -m app import`), then read as a market whose clock can be set.

Series are kept apart by ticker and span as the file name gives them (ruling M5) and never resampled or merged. The
official open of a day is a fact of its own beside the bars (ruling T1): it is known at 09:30, its daily bar only at
the close.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import BrokenData
from app.market.bars import EPOCH, Bars, Floats, Ints, Span, no_bars, repaired
from app.market.calendar import Calendar, day_of_ms, ny
from app.sqlite import Database

COLUMNS = ("t", "o", "h", "l", "c", "v")
CHUNK = 10_000
NAME = re.compile(r"(?P<ticker>[A-Z][A-Z.]{0,9})_(?P<span>\d+(?:min|hour|day)(?:_[a-z0-9]+)?)")
SCHEMA = """
CREATE TABLE IF NOT EXISTS bars (
    ticker TEXT, span TEXT, t INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, PRIMARY KEY (ticker, span, t)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opens (ticker TEXT, day TEXT, price REAL, PRIMARY KEY (ticker, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (
    ticker TEXT, span TEXT, rows INTEGER, first_t INTEGER, last_t INTEGER, sha256 TEXT, PRIMARY KEY (ticker, span)
);
CREATE TABLE IF NOT EXISTS files (sha256 TEXT PRIMARY KEY, name TEXT, rows INTEGER, rejected INTEGER)
"""
Progress = Callable[[int, int], None]
"""Told after each chunk: rows written now, rows in all."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What one file brought: bars kept, rows rejected by reason, whether it had been brought in before, and how many of the
    bars were repaired: a low or high was widened by a rounding."""

    ticker: str
    span: str
    kept: int
    rejected: Counter[str]
    known: bool
    repaired: int = 0


class RecordedBars:
    """The imported series in one SQLite file. It is the Feed of the recorded market, and what training reads."""

    def __init__(self, path: Path, calendar: Calendar) -> None:
        self._db = Database(path, SCHEMA)
        self._calendar = calendar

    def import_file(self, file: Path, progress: Progress = lambda done, total: None) -> Imported:
        """Bring a `{TICKER}_{span}.parquet` or `.csv` in: all of it or nothing; again changes nothing.

        Raises BrokenData (name, columns or every row unusable) and Unavailable (disk).
        """
        ticker, span = series_of(file)
        digest = hashlib.sha256(_bytes_of(file)).hexdigest()
        known = self._db.rows("SELECT rows FROM files WHERE sha256 = ? AND name = ?", (digest, file.name))
        if known:
            return Imported(ticker, span, known[0][0], Counter(), known=True)
        columns = read_columns(file)
        bars, rejected, widened = repaired(columns["t"].astype(np.int64), columns, self._ends(span))
        if not len(bars):
            raise BrokenData(f"{file.name}: no usable bar in {len(columns['t'])} rows ({describe(rejected)})")
        with self._db.transaction():
            self._write(ticker, span, bars, progress)
            self._db.write(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (digest, file.name, len(bars), rejected.total())
            )
        return Imported(ticker, span, len(bars), rejected, known=False, repaired=widened)

    def bars(self, ticker: str, span: Span | str, first_ms: int, end_ms: int) -> Bars:
        """The stored bars that start in [first_ms, end_ms)."""
        rows = self._db.rows(
            "SELECT t, o, h, l, c, v FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ? ORDER BY t",
            (ticker, str(span), first_ms, end_ms),
        )
        if not rows:
            return no_bars()
        t, o, h, low, c, v = (np.array(column) for column in zip(*rows, strict=True))
        return Bars(t, self._ends(str(span))(t), o, h, low, c, v)

    def all_bars(self, ticker: str, span: Span | str) -> Bars:
        """The whole series."""
        return self.bars(ticker, span, 0, 2**62)

    def official_open(self, ticker: str, day: date) -> float | None:
        found = self._db.rows("SELECT price FROM opens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
        return found[0][0] if found else None

    def series(self) -> list[tuple[str, str, int, int, int, str]]:
        """(ticker, span, rows, first start ms, last start ms, sha256) of every series, ordered."""
        return self._db.rows("SELECT ticker, span, rows, first_t, last_t, sha256 FROM series ORDER BY ticker, span")

    def data_hash(self) -> str:
        """SHA-256 over every series: names the data, whatever order it was brought in."""
        return hashlib.sha256(repr(self.series()).encode()).hexdigest()

    def default_start(self, tickers: Sequence[str]) -> datetime | None:
        """09:25 of the last session with one-minute bars for all tickers (ruling M2), or of the last with any."""
        for span in (Span.MINUTE, Span.FIVE_MINUTES):
            common = set.intersection(*({*self._days(ticker, span)} for ticker in tickers))
            if common:
                return ny(max(common), time(9, 25))
        return None

    def close(self) -> None:
        self._db.close()

    def _days(self, ticker: str, span: Span) -> Iterable[date]:
        """Trading days with a bar. Five hours back, every bar from 04:00 to 20:00 lies on its New York date in UTC."""
        sql = "SELECT DISTINCT (t - 18000000) / 86400000 FROM bars WHERE ticker = ? AND span = ?"
        days = (EPOCH.date() + timedelta(days=number) for (number,) in self._db.rows(sql, (ticker, str(span))))
        return (day for day in days if self._calendar.session(day))

    def _ends(self, span: str) -> Callable[[Ints], Ints]:
        return self._calendar.day_ends if span.endswith("day") else lambda t: t + span_ms(span)

    def _write(self, ticker: str, span: str, bars: Bars, progress: Progress) -> None:
        rows = list(zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True))
        for i in range(0, len(rows), CHUNK):
            sql = "INSERT OR REPLACE INTO bars VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            self._db.write_many(sql, ((ticker, span, *row) for row in rows[i : i + CHUNK]))
            progress(len(rows[i : i + CHUNK]), len(rows))
        if span == Span.DAY:
            opens = ((ticker, day_of_ms(row[0]).isoformat(), row[1]) for row in rows)
            self._db.write_many("INSERT OR IGNORE INTO opens VALUES (?, ?, ?)", opens)
        whole = self.all_bars(ticker, span)
        self._db.write(
            "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)",
            (ticker, span, len(whole), int(whole.t[0]), int(whole.t[-1]), bars_hash(whole)),
        )


def bars_hash(bars: Bars) -> str:
    """SHA-256 of a series' content."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(np.ascontiguousarray(getattr(bars, name)).astype("<f8" if name != "t" else "<i8").tobytes())
    return digest.hexdigest()


def series_of(file: Path) -> tuple[str, str]:
    """Ticker and span out of a file's name (ruling M5). Raises BrokenData."""
    match = NAME.fullmatch(file.stem)
    if not match or file.suffix not in (".parquet", ".csv"):
        raise BrokenData(f"{file.name}: the name must be TICKER_SPAN.parquet or .csv, like SPY_5min.parquet")
    return match["ticker"], match["span"]


def span_ms(span: str) -> int:
    """Length of a bar in ms by its span's name (`5min`, `1hour`, `5min_consolidated`)."""
    number, unit = re.match(r"(\d+)(min|hour|day)", span).groups()  # type: ignore[union-attr]
    return int(number) * {"min": 60_000, "hour": 3_600_000, "day": 86_400_000}[unit]


def read_columns(file: Path) -> dict[str, Floats]:
    """The columns t o h l c v of a Parquet or CSV file as float64; what is not a number becomes NaN, t becomes 0."""
    read = _read_parquet if file.suffix == ".parquet" else _read_csv
    try:
        columns = read(file)
    except KeyError as exc:
        raise BrokenData(f"{file.name}: column {exc} is missing; needed are {', '.join(COLUMNS)}") from None
    except (OSError, ValueError, TypeError, UnicodeDecodeError, csv.Error) as exc:
        raise BrokenData(f"{file.name}: cannot be read: {exc}") from None
    columns["t"] = np.nan_to_num(columns["t"], nan=0.0, posinf=0.0, neginf=0.0)
    return columns


def describe(rejected: Counter[str]) -> str:
    """Rejected rows by reason, as words."""
    return "; ".join(f"{count} x {why}" for why, count in sorted(rejected.items())) or "nothing rejected"


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise BrokenData(f"{file.name}: cannot be read: {exc.strerror}") from None


def _read_parquet(file: Path) -> dict[str, Floats]:
    import pyarrow.parquet  # 45 MiB that only an import needs

    table = pyarrow.parquet.read_table(file)
    for name in COLUMNS:
        if name not in table.column_names:
            raise KeyError(name)
    return {name: _floats(table[name].to_pylist()) for name in COLUMNS}


def _read_csv(file: Path) -> dict[str, Floats]:
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if not rows:
        raise ValueError("no rows")
    return {name: _floats([row[name] for row in rows]) for name in COLUMNS}


def _floats(values: Iterable[Any]) -> Floats:
    return np.array([_float(value) for value in values], dtype=np.float64)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
