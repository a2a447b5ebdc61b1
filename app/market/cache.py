"""Bars of days that are over, kept for ever in SQLite, so that no past day is ever fetched twice (polygon.md 7).

What is kept are days before the day of the fetch. Covered days without bars stay covered, so an empty day costs no second
call. How often a day that stayed incomplete was asked for is kept beside, for all processes that share the file. The server
works without a cache that cannot be opened, says so once, and tries it again now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.clock import REAL_TIME, Timer
from app.errors import Unavailable
from app.market.bars import Bars, Span, from_ms, no_bars, to_ms
from app.market.calendar import ONE_DAY, midnight_ms
from app.market.completeness import Tries
from app.sqlite import Database, Retries
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")
SCHEMA = """
CREATE TABLE IF NOT EXISTS bars (
    ticker TEXT, span TEXT, t INTEGER, end INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, fetched_at INTEGER,
    PRIMARY KEY (ticker, span, t)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS covered (
    ticker TEXT, span TEXT, first_day TEXT, last_day TEXT, fetched_at INTEGER,
    PRIMARY KEY (ticker, span, first_day, last_day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incomplete (
    ticker TEXT, span TEXT, day TEXT, tries INTEGER, tried_at INTEGER,
    PRIMARY KEY (ticker, span, day)
) WITHOUT ROWID
"""
TRIED = """
INSERT INTO incomplete VALUES (?, ?, ?, 1, ?)
ON CONFLICT DO UPDATE SET tries = tries + 1, tried_at = excluded.tried_at
"""


class BarCache:
    """Completed days by (ticker, span). `emit(event, **fields)` emits writes that failed."""

    def __init__(
        self, path: Path, emit: Callable[..., None], stages: Stages = NULL_STAGES, timer: Timer = REAL_TIME
    ) -> None:
        self._emit = emit
        self._path = path
        self._stages = stages
        self._db: Database | None = None
        self._retries = Retries(timer.now)
        self._is_said = False
        self._opened()

    def is_open(self) -> bool:
        """Whether the file can be used. While it cannot be opened, asking tries it again, at a pace (`app.sqlite.Retries`)."""
        return self._opened() is not None

    def get(self, ticker: str, span: Span, first: date, last: date) -> Bars | None:
        """Returns the bars of days first .. last, or None if not all of these days are covered."""
        if not self.covers(ticker, span, first, last):
            return None
        return self._reading(lambda db: self._read(db, ticker, span, midnight_ms(first), midnight_ms(last + ONE_DAY)))

    def covers(self, ticker: str, span: Span, first: date, last: date) -> bool:
        """Whether all of the days first .. last are kept, those without bars too."""
        sql = "SELECT 1 FROM covered WHERE ticker = ? AND span = ? AND first_day <= ? AND last_day >= ? LIMIT 1"
        key = (ticker, span.value, first.isoformat(), last.isoformat())
        return bool(self._reading(lambda db: db.rows(sql, key)))

    def lacks(self, ticker: str, span: Span, first: date, last: date) -> bool:
        """Whether any of the days first .. last was incomplete when it was asked for."""
        sql = "SELECT 1 FROM incomplete WHERE ticker = ? AND span = ? AND day >= ? AND day <= ? LIMIT 1"
        key = (ticker, span.value, first.isoformat(), last.isoformat())
        return bool(self._reading(lambda db: db.rows(sql, key)))

    def peek(self, ticker: str, span: Span) -> Bars:
        """Returns all bars that are kept of a ticker in one series, whether its days are covered or not."""
        return self._reading(lambda db: self._read(db, ticker, span, 0, 2**62)) or no_bars()

    def forget(self, ticker: str) -> None:
        """Deletes all that is kept of a ticker."""

        def drop(db: Database) -> None:
            with db.transaction():
                db.write("DELETE FROM bars WHERE ticker = ?", (ticker,))
                db.write("DELETE FROM covered WHERE ticker = ?", (ticker,))
                db.write("DELETE FROM incomplete WHERE ticker = ?", (ticker,))

        self._reading(drop)

    def tries(self, ticker: str, span: Span, days: Collection[date]) -> dict[date, Tries]:
        """Returns how often each of `days` that stayed incomplete was asked for."""
        sql = "SELECT day, tries, tried_at FROM incomplete WHERE ticker = ? AND span = ? AND day >= ? AND day <= ?"
        key = (ticker, span.value, min(days).isoformat(), max(days).isoformat())
        rows = self._reading(lambda db: db.rows(sql, key)) or []
        return {date.fromisoformat(day): Tries(count, from_ms(last)) for day, count, last in rows}

    def put(
        self,
        ticker: str,
        span: Span,
        first: date,
        last: date,
        bars: Bars,
        fetched: datetime,
        incomplete: Collection[date] = (),
    ) -> None:
        """Keeps the bars of days first .. last; all of these days must have been over when they were fetched. One more try is
        counted for each day that is `incomplete`."""
        opened = self._opened()
        if opened is None:
            return
        window = (ticker, span.value, midnight_ms(first), midnight_ms(last + ONE_DAY))
        inside = bars[slice(*np.searchsorted(bars.t, window[2:]).tolist())]
        stamp = to_ms(fetched)
        try:
            with opened.transaction() as db:
                db.write("DELETE FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ?", window)
                columns = (getattr(inside, name).tolist() for name in ("t", "end", "o", "h", "l", "c", "v"))
                rows = ((ticker, span.value, *row, stamp) for row in zip(*columns, strict=True))
                db.write_many("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                db.write(
                    "INSERT OR REPLACE INTO covered VALUES (?, ?, ?, ?, ?)",
                    (ticker, span.value, first.isoformat(), last.isoformat(), stamp),
                )
                db.write_many(TRIED, ((ticker, span.value, day.isoformat(), stamp) for day in incomplete))
        except Unavailable as exc:
            self._emit("cache_unwritable", error=exc.detail)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def _reading(self, work: Callable[[Database], T]) -> T | None:
        opened = self._opened()
        if opened is None:
            return None
        try:
            return work(opened)
        except Unavailable as exc:
            self._emit("cache_unreadable", error=exc.detail)
            return None

    def _opened(self) -> Database | None:
        """Returns the file. While it cannot be opened, it is tried again at a pace; the failure is emitted once."""
        if self._db is not None or not self._retries.take():
            return self._db
        try:
            self._db = Database(self._path, SCHEMA, stages=self._stages)
        except Unavailable as exc:
            if not self._is_said:
                self._emit("cache_unavailable", error=exc.detail)
            self._is_said = True
            return None
        if self._is_said:
            self._emit("cache_recovered")
        return self._db

    @staticmethod
    def _read(db: Database, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        rows = db.rows(
            "SELECT t, end, o, h, l, c, v FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ? ORDER BY t",
            (ticker, span.value, first_ms, end_ms),
        )
        return Bars(*(np.array(column) for column in zip(*rows, strict=True))) if rows else no_bars()
