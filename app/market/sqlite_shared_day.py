"""The running day in a SQLite file, for the processes on one DATA_DIR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from app.clock import Timer
from app.market.lease import LEASES, Lease, SqliteLeases
from app.market.shared_day import DayBounds, FailureRow, SeriesRow
from app.sqlite import Database
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA: Final = (
    LEASES
    + """;
CREATE TABLE IF NOT EXISTS series (
    name TEXT PRIMARY KEY, day TEXT, fetched INTEGER, delayed INTEGER, bars BLOB, written REAL, missing INTEGER,
    again INTEGER
);
CREATE TABLE IF NOT EXISTS failed_fetches (
    name TEXT PRIMARY KEY, at INTEGER, epoch_s REAL, lasts_s REAL, error TEXT
);
CREATE TABLE IF NOT EXISTS interest (ticker TEXT PRIMARY KEY, used INTEGER)
"""
)
PATIENCE_S: Final = 2.0
"""Real seconds to wait for another process's transaction."""


class SqliteSharedDay:
    """A `SharedDay` whose real time is that of the machine, which all processes on one file share."""

    def __init__(self, path: Path, timer: Timer, stages: Stages = NULL_STAGES, bounds: DayBounds | None = None) -> None:
        self.db = Database(path, SCHEMA, PATIENCE_S, stages)
        self.leases = SqliteLeases(self.db, timer)
        self._timer = timer
        self._bounds = bounds or DayBounds()

    def series(self, name: str) -> SeriesRow | None:
        sql = "SELECT day, fetched, delayed, bars, missing, again FROM series WHERE name = ?"
        for day, fetched, delayed, bars, missing, again in self.db.rows(sql, (name,)):
            return SeriesRow(date.fromisoformat(day), fetched, bool(delayed), bars, missing, again)
        return None

    def put(self, name: str, row: SeriesRow, lease: Lease) -> bool:
        values = (name, row.day.isoformat(), *row[1:4], self._timer.epoch(), *row[4:])
        with self.db.transaction():
            if not self.leases.is_current(lease):
                return False
            self.db.write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            self._trim("series", "name", "written", self._bounds.series)
            return True

    def forget(self, ticker: str) -> None:
        prefix = f"{ticker} "
        self.db.write("DELETE FROM series WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))

    def fetched(self, since: date) -> dict[str, int]:
        return dict(self.db.rows("SELECT name, fetched FROM series WHERE day >= ?", (since.isoformat(),)))

    def failure(self, name: str) -> FailureRow | None:
        sql = "SELECT at, epoch_s, lasts_s, error FROM failed_fetches WHERE name = ?"
        for at, epoch_s, lasts_s, error in self.db.rows(sql, (name,)):
            return FailureRow(at, self._timer.epoch() - epoch_s, lasts_s, error)
        return None

    def fail(self, name: str, row: FailureRow) -> None:
        values = (name, row.at, self._timer.epoch() - row.age_s, row.lasts_s, row.error)
        with self.db.transaction():
            self.db.write("INSERT OR REPLACE INTO failed_fetches VALUES (?, ?, ?, ?, ?)", values)
            self._trim("failed_fetches", "name", "at", self._bounds.failures)

    def forget_failures(self) -> None:
        self.db.write("DELETE FROM failed_fetches")

    def ask_for(self, used: Mapping[str, int]) -> None:
        with self.db.transaction():
            self.db.write_many("INSERT OR REPLACE INTO interest VALUES (?, ?)", used.items())
            self._trim("interest", "ticker", "used", self._bounds.tickers)

    def asked_for(self, since: int, until: int) -> Sequence[str]:
        sql = "SELECT ticker FROM interest WHERE used > ? AND used <= ? ORDER BY ticker"
        return [ticker for (ticker,) in self.db.rows(sql, (since, until))]

    def close(self) -> None:
        self.db.close()

    def _trim(self, table: str, key: str, age: str, most: int) -> None:
        """Keeps the newest rows; the names come from this module alone."""
        newest = f"SELECT {key} FROM {table} ORDER BY {age} DESC LIMIT {most}"
        self.db.write(f"DELETE FROM {table} WHERE {key} NOT IN ({newest})")
