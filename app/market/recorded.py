"""Recorded bars: files that were imported once (`.venv/bin/predict import`), read as a market whose clock can be set.

Series are kept apart by ticker and span as the file name gives them (ruling M5) and never resampled or merged. The
official open of a day is stored beside the bars (ruling T1): it is known at 09:30, its daily bar only at the close. The
series of a ticker are in the same prices; an import that would part them is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from pathlib import Path

import numpy as np

from app.errors import BrokenData
from app.market.bars import Bars, Span, no_bars
from app.market.calendar import Calendar, day_of_ms, ny
from app.market.importing.importer import ImportedFile, ImportOutcome, import_files
from app.market.importing.merging import Progress
from app.market.importing.series import SCHEMA, bar_ends, days_with_bars
from app.market.importing.staging import ReadOptions
from app.market.importing.times import END_MS, FIRST_MS
from app.sqlite import Database

AS_USUAL = ReadOptions()


class RecordedBars:
    """The imported series in one SQLite file. It is the feed of the recorded market, and training reads it."""

    def __init__(self, path: Path, calendar: Calendar) -> None:
        self._db = Database(path, SCHEMA)
        self._calendar = calendar

    def import_file(self, file: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> ImportedFile:
        """Imports one file: all of it or nothing. Raises BrokenData (it cannot be right) and Unavailable (disk)."""
        outcome = self.import_files([file], progress=lambda _, done, total: progress(done, total))[0]
        if outcome.imported is None:
            raise BrokenData(outcome.refused)
        return outcome.imported

    def import_files(
        self,
        files: Sequence[Path],
        options: ReadOptions = AS_USUAL,
        progress: Progress = lambda file, done, total: None,
    ) -> list[ImportOutcome]:
        """Imports files named `{TICKER}_{span}` with the endings of names.KINDS, whatever their order
        (`importer.import_files`). Raises Unavailable (disk)."""
        return import_files(self._db, self._calendar, files, options, progress)

    def bars(self, ticker: str, span: Span | str, first_ms: int, end_ms: int) -> Bars:
        """Returns the stored bars that start in [first_ms, end_ms)."""
        rows = self._db.rows(
            "SELECT t, o, h, l, c, v FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ? ORDER BY t",
            (ticker, str(span), max(first_ms, FIRST_MS), min(end_ms, END_MS)),
        )
        if not rows:
            return no_bars()
        t, o, h, low, c, v = (np.array(column) for column in zip(*rows, strict=True))
        return Bars(t, bar_ends(self._calendar, str(span))(t), o, h, low, c, v)

    def all_bars(self, ticker: str, span: Span | str) -> Bars:
        """Returns the whole series."""
        return self.bars(ticker, span, FIRST_MS, END_MS)

    def official_open(self, ticker: str, day: date) -> float | None:
        """Returns the official opening price of a day, USD; None where no daily bar of it is stored."""
        rows = self._db.rows("SELECT price FROM opens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
        return rows[0][0] if rows else None

    def series(self) -> list[tuple[str, str, int, int, int, str]]:
        """Returns (ticker, span, rows, first start ms, last start ms, sha256) of every series, ordered."""
        return self._db.rows("SELECT ticker, span, rows, first_t, last_t, sha256 FROM series ORDER BY ticker, span")

    def data_hash(self) -> str:
        """Returns the SHA-256 over every series, which names the data in whatever order they were imported."""
        return hashlib.sha256(repr(self.series()).encode()).hexdigest()

    def days(self, tickers: Sequence[str]) -> tuple[date, date] | None:
        """Returns the first and the last New York day of the stored bars of these tickers; None without any."""
        spans = [(first, last) for ticker, _, _, first, last, _ in self.series() if ticker in tickers]
        if not spans:
            return None
        return day_of_ms(min(first for first, _ in spans)), day_of_ms(max(last for _, last in spans))

    def default_start(self, tickers: Sequence[str]) -> datetime | None:
        """Returns 09:25 of the last session with one-minute bars for all tickers (ruling M2), or of the last with any."""
        for span in (Span.MINUTE, Span.FIVE_MINUTES):
            common = set.intersection(
                *({*days_with_bars(self._db, self._calendar, ticker, span)} for ticker in tickers)
            )
            if common:
                return ny(max(common), time(9, 25))
        return None

    def close(self) -> None:
        self._db.close()
