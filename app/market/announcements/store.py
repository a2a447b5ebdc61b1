"""The file of announced closures that the processes of one folder share: what it holds, and who may ask the provider next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, time

from app.market.announcements.closures import Closure, Closures
from app.market.calendar import is_usable_override
from app.sqlite import Database

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


def add_columns(db: Database) -> None:
    """Adds the columns that the file of an earlier version lacks."""
    if _missing_columns(db):
        with db.transaction():
            for table, column in _missing_columns(db):
                db.write(f"ALTER TABLE {table} ADD COLUMN {column} {ADDED_COLUMNS[table, column]}")


def _missing_columns(db: Database) -> list[tuple[str, str]]:
    """Returns the added columns that the file lacks, each with its table."""
    existing = {table: {row[1] for row in db.rows(f"PRAGMA table_info({table})")} for table, _ in ADDED_COLUMNS}
    return [(table, column) for table, column in ADDED_COLUMNS if column not in existing[table]]


def claim(db: Database, today: date, since: float, now: float) -> bool:
    """Whether this process is to ask now; if so, the try is recorded. A try in the future shows that the clock was set back,
    and does not count."""
    with db.transaction():
        row = next(iter(db.rows("SELECT tried FROM checks")), None)
        if row is not None and (read_all(db).suffices(today, since, now) or 0 <= now - row[0] < AGAIN_AFTER_S):
            return False
        sql = "INSERT INTO checks VALUES (1, ?, '', 0) ON CONFLICT (id) DO UPDATE SET tried = excluded.tried"
        db.write(sql, (now,))
    return True


def write_all(db: Database, announcements: StoredAnnouncements) -> None:
    with db.transaction():
        _replace_closures(db, announcements.closures)
        db.write(
            "INSERT OR REPLACE INTO checks VALUES (1, 0, ?, ?)", (_text(announcements.checked), announcements.answered)
        )


def write_closures(db: Database, closures: Closures) -> None:
    with db.transaction():
        _replace_closures(db, closures)


def _replace_closures(db: Database, closures: Closures) -> None:
    """Replaces the stored closures. The caller holds a transaction."""
    rows = [(day.isoformat(), _text(c.close), _text(c.confirmed)) for day, c in closures.items()]
    db.write("DELETE FROM announced")
    db.write_many("INSERT INTO announced VALUES (?, ?, ?)", rows)


def _text(value: date | time | None) -> str:
    return "" if value is None else value.isoformat()


def read_all(db: Database) -> StoredAnnouncements:
    """Returns what is stored; a row that cannot be used is left out, and a column that is missing has its default value."""
    missing = {column for _, column in _missing_columns(db)}
    confirmed, answered = (
        ("''" if "confirmed" in missing else "confirmed"),
        ("0" if "answered" in missing else "answered"),
    )
    closures: dict[date, Closure] = {}
    for text, close, seen in db.rows(f"SELECT day, close, {confirmed} FROM announced"):
        day, at = _day(text), _time(close)
        if day is not None and (at is not None or not close) and is_usable_override(day, at):
            closures[day] = Closure(at, _day(seen))
    checks = db.rows(f"SELECT day, {answered} FROM checks")
    return (
        StoredAnnouncements(closures, _day(checks[0][0]), checks[0][1])
        if checks
        else StoredAnnouncements(closures, None, 0.0)
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _time(text: str) -> time | None:
    try:
        return time.fromisoformat(text)
    except ValueError:
        return None
