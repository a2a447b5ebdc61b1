"""Where announced closures are kept for the processes that share them: what is kept, and who may ask the provider next. In a
file here, for the processes on one folder; in a Redis in redis_store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from pathlib import Path
from typing import Protocol

from app.market.announcements.closures import Closure, Closures
from app.market.calendar import is_usable_override
from app.sqlite import MEMORY, Database
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA = """
CREATE TABLE IF NOT EXISTS announced (day TEXT PRIMARY KEY, close TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (id INTEGER PRIMARY KEY CHECK (id = 1), tried REAL NOT NULL, day TEXT NOT NULL)
"""
ADDED_COLUMNS = {
    ("announced", "confirmed"): "TEXT NOT NULL DEFAULT ''",
    ("checks", "answered"): "REAL NOT NULL DEFAULT 0",
}
"""Columns that the file of an earlier version lacks, by table and name."""

AGAIN_AFTER_S = 900.0
"""Real seconds between two tries while the provider fails."""


@dataclass(frozen=True, slots=True)
class StoredAnnouncements:
    """The stored closures. `checked`: the day of asking of the last good answer, None before one; `answered`: when it came,
    real seconds since the epoch."""

    closures: Closures
    checked: date | None
    answered: float

    def suffices(self, today: date, since: float, now: float) -> bool:
        """Whether the last good answer is of the day of asking `today` and came at `since` or later. An answer of the future
        shows that the clock was set back, and does not count."""
        return self.checked == today and since <= self.answered <= now

    def united(self, other: StoredAnnouncements) -> StoredAnnouncements:
        """Returns the one with the later answer. If both are of one answer, it keeps the days that both have, as confirmed as
        the more confirmed of the two."""
        if other.checked is None or (self.checked is not None and self.answered > other.answered):
            return self
        if self.checked is None or self.answered < other.answered:
            return other
        both = {
            day: _confirmed(self.closures[day], other.closures[day]) for day in {*self.closures} & {*other.closures}
        }
        return replace(self, closures=both)


def _confirmed(one: Closure, other: Closure) -> Closure:
    """Returns the one that was confirmed later, by a list or by bars."""
    return max(one, other, key=lambda closure: closure.confirmed or date.min)


class AnnouncementStore(Protocol):
    """Every method raises Unavailable where the store cannot be used."""

    def check(self) -> None:
        """Raises Unavailable unless the store can be written."""
        ...

    def read(self) -> StoredAnnouncements:
        """What is stored; what cannot be used of it is left out."""
        ...

    def write(self, announcements: StoredAnnouncements) -> None: ...

    def write_closures(self, closures: Closures) -> None: ...

    def claim(self, today: date, since: float, now: float) -> bool:
        """Whether this process is to ask now; if so, the try is recorded. A try in the future shows that the clock was set
        back, and does not count."""
        ...

    def close(self) -> None: ...


class SqliteAnnouncements:
    """An `AnnouncementStore` in a file, or in memory."""

    def __init__(self, path: Path = MEMORY, stages: Stages = NULL_STAGES) -> None:
        self._db = Database(path, SCHEMA, stages=stages)

    def check(self) -> None:
        self._add_columns()
        self._db.write("PRAGMA user_version = 1")

    def read(self) -> StoredAnnouncements:
        """A row that cannot be used is left out, and a column that is missing has its default value."""
        missing = {column for _, column in self._missing_columns()}
        confirmed, answered = (
            ("''" if "confirmed" in missing else "confirmed"),
            ("0" if "answered" in missing else "answered"),
        )
        closures = closures_of(self._db.rows(f"SELECT day, close, {confirmed} FROM announced"))
        checks = self._db.rows(f"SELECT day, {answered} FROM checks")
        checked, when = checks[0] if checks else ("", 0.0)
        return StoredAnnouncements(closures, day_of(checked), when)

    def write(self, announcements: StoredAnnouncements) -> None:
        with self._db.transaction():
            self._replace_closures(announcements.closures)
            row = (text_of(announcements.checked), announcements.answered)
            self._db.write("INSERT OR REPLACE INTO checks VALUES (1, 0, ?, ?)", row)

    def write_closures(self, closures: Closures) -> None:
        with self._db.transaction():
            self._replace_closures(closures)

    def claim(self, today: date, since: float, now: float) -> bool:
        with self._db.transaction():
            row = next(iter(self._db.rows("SELECT tried FROM checks")), None)
            if row is not None and (self.read().suffices(today, since, now) or 0 <= now - row[0] < AGAIN_AFTER_S):
                return False
            sql = "INSERT INTO checks VALUES (1, ?, '', 0) ON CONFLICT (id) DO UPDATE SET tried = excluded.tried"
            self._db.write(sql, (now,))
        return True

    def close(self) -> None:
        self._db.close()

    def _replace_closures(self, closures: Closures) -> None:
        """Replaces the stored closures. The caller holds a transaction."""
        self._db.write("DELETE FROM announced")
        self._db.write_many("INSERT INTO announced VALUES (?, ?, ?)", rows_of(closures))

    def _add_columns(self) -> None:
        """Adds the columns that the file of an earlier version lacks."""
        if self._missing_columns():
            with self._db.transaction():
                for table, column in self._missing_columns():
                    self._db.write(f"ALTER TABLE {table} ADD COLUMN {column} {ADDED_COLUMNS[table, column]}")

    def _missing_columns(self) -> list[tuple[str, str]]:
        """Returns the added columns that the file lacks, each with its table."""
        tables = {table for table, _ in ADDED_COLUMNS}
        existing = {table: {row[1] for row in self._db.rows(f"PRAGMA table_info({table})")} for table in tables}
        return [(table, column) for table, column in ADDED_COLUMNS if column not in existing[table]]


def rows_of(closures: Closures) -> list[tuple[str, str, str]]:
    """Closures as a store keeps them: day, close and the day of their confirmation, empty where there is none."""
    return [(day.isoformat(), text_of(c.close), text_of(c.confirmed)) for day, c in closures.items()]


def closures_of(rows: Iterable[Sequence[str]]) -> dict[date, Closure]:
    """The closures of such rows; one that cannot be used is left out."""
    closures: dict[date, Closure] = {}
    for text, close, seen in rows:
        day, at = day_of(text), _time(close)
        if day is not None and (at is not None or not close) and is_usable_override(day, at):
            closures[day] = Closure(at, day_of(seen))
    return closures


def text_of(value: date | time | None) -> str:
    return "" if value is None else value.isoformat()


def day_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _time(text: str) -> time | None:
    try:
        return time.fromisoformat(text)
    except ValueError:
        return None
