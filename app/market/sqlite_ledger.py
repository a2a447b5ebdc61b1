"""The ledger of a key in a SQLite file, for the processes on one DATA_DIR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from app.clock import Timer
from app.market.ledger import (
    LONGEST_CALL_S,
    LONGEST_PAUSE_S,
    REMEMBERED_S,
    Call,
    KeptPlan,
    LedgerState,
    Room,
    entitlement_of,
    has_room,
    name_of_key,
)
from app.sqlite import Database
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS calls (ticket INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, priority INTEGER, ended REAL);
CREATE TABLE IF NOT EXISTS pauses (key TEXT, why TEXT, until REAL, PRIMARY KEY (key, why));
CREATE TABLE IF NOT EXISTS plans (key TEXT PRIMARY KEY, today INTEGER, history_from TEXT, found_at REAL)
"""
ADD_CALL: Final = "INSERT INTO calls (key, priority, ended) VALUES (?, ?, ?)"
PAUSE: Final = "INSERT OR REPLACE INTO pauses (key, why, until) VALUES (?, ?, ?)"
PATIENCE_S: Final = 2.0
"""Real seconds to wait for another process's transaction."""


class SqliteLedger:
    """A `SharedLedger` whose clock is the machine's, which all processes on one file share. Of the key it has a hash alone."""

    def __init__(self, path: Path, key: str, timer: Timer, stages: Stages = NULL_STAGES) -> None:
        self._key = name_of_key(key)
        self._epoch = timer.epoch
        self._db = Database(path, SCHEMA, PATIENCE_S, stages)

    def state(self, window_s: float) -> LedgerState:
        now = self._epoch()
        sql = "SELECT why, until FROM pauses WHERE key = ? AND until > ? AND until <= ?"
        pauses = self._db.rows(sql, (self._key, now, now + LONGEST_PAUSE_S))
        return LedgerState(self._calls(now, window_s), {why: until - now for why, until in pauses}, self._plan())

    def take(self, priority: int, window_s: float, rooms: Sequence[Room]) -> str | None:
        now = self._epoch()
        outside = (self._key, now - max(REMEMBERED_S, window_s), now + 2 * LONGEST_CALL_S)
        with self._db.transaction() as db:
            db.write("DELETE FROM calls WHERE key = ? AND (ended <= ? OR ended > ?)", outside)
            if not has_room(self._calls(now, window_s), rooms):
                return None
            db.write(ADD_CALL, (self._key, priority, now + LONGEST_CALL_S))
            return str(db.rows("SELECT last_insert_rowid()")[0][0])

    def release(self, ticket: str) -> None:
        self._db.write("UPDATE calls SET ended = ? WHERE ticket = ?", (self._epoch(), ticket))

    def pause(self, why: str, seconds: float) -> None:
        self._db.write(PAUSE, (self._key, why, self._epoch() + seconds))

    def keep_plan(self, plan: KeptPlan) -> None:
        found = plan.entitlement
        row = (self._key, found.has_intraday, found.history_from.isoformat(), plan.found_at)
        self._db.write("INSERT OR REPLACE INTO plans (key, today, history_from, found_at) VALUES (?, ?, ?, ?)", row)

    def add(self, calls: Sequence[Call], pauses: Mapping[str, float]) -> None:
        now = self._epoch()
        with self._db.transaction() as db:
            db.write_many(ADD_CALL, [(self._key, call.priority, now + call.ends_in_s) for call in calls])
            db.write_many(PAUSE, [(self._key, why, now + left) for why, left in pauses.items()])

    def close(self) -> None:
        self._db.close()

    def _calls(self, now: float, window_s: float) -> list[Call]:
        sql = "SELECT ended, priority FROM calls WHERE key = ? AND ended > ? ORDER BY ended"
        return [Call(ended - now, priority) for ended, priority in self._db.rows(sql, (self._key, now - window_s))]

    def _plan(self) -> KeptPlan | None:
        sql = "SELECT today, history_from, found_at FROM plans WHERE key = ?"
        for today, since, found_at in self._db.rows(sql, (self._key,)):
            return KeptPlan(entitlement_of(today, since), found_at)
        return None
