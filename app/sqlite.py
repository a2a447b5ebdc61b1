"""A SQLite file in WAL mode, used by all threads of a process and by several processes of a machine.

Every failure is Unavailable (part `store`) with one sentence: the message names the file for clients, `detail` holds its path
and SQLite's message. A transaction is never left half done.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from app.clock import REAL_TIME
from app.errors import Unavailable
from app.telemetry.stages import NULL_STAGES, Stages

MEMORY: Final = Path(":memory:")
"""A database that is lost at the end."""

BUSY_S = 0.05
PATIENCE_S = 5.0
REOPEN_AFTER_S = 30.0
"""Real seconds after which a file that could not be used is tried again."""


class Retries:
    """When to try a store again that could not be used: once in `after_s`, however many callers there are. now: seconds.
    spread: up to so many parts of `after_s` are added at random, so that processes that lost one store together do not all come
    back at once."""

    def __init__(self, now: Callable[[], float], after_s: float = REOPEN_AFTER_S, spread: float = 0.0) -> None:
        self._now = now
        self._after_s, self._spread = after_s, spread
        self._lock = threading.Lock()
        self._next = 0.0

    def take(self) -> bool:
        """Whether to try now. If so, the next attempt is due later."""
        with self._lock:
            if self._now() < self._next:
                return False
            self.postpone()
            return True

    def postpone(self) -> None:
        """An attempt failed just now."""
        self._next = self._now() + self._after_s * random.uniform(1.0, 1.0 + self._spread)


class Database:
    """A SQLite file with its schema (idempotent statements). Every method raises Unavailable(part="store").

    While it waits for another writer it sleeps in Python, so that other greenlets of the process run.
    """

    def __init__(self, path: Path, schema: str, patience_s: float = PATIENCE_S, stages: Stages = NULL_STAGES) -> None:
        self.path = path
        self._stages = stages
        self._patience_s = patience_s
        self._lock = threading.RLock()
        with self._translated("open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._execute("PRAGMA journal_mode=WAL")
            self._execute("PRAGMA synchronous=NORMAL")
            for statement in filter(str.strip, schema.split(";")):
                self._execute(statement)
        except Unavailable:
            self._connection.close()
            raise

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        with self._stages("sqlite", operation="read", file=self.path.name), self._lock, self._translated("read"):
            return self._connection.execute(sql, args).fetchall()

    def chunks(self, sql: str, args: Sequence[Any] = (), size: int = 10_000) -> Iterator[list[Any]]:
        """The rows of a query, `size` at a time, so that memory does not grow with their number."""
        with self._stages("sqlite", operation="read", file=self.path.name), self._lock, self._translated("read"):
            cursor = self._connection.execute(sql, args)
            while rows := cursor.fetchmany(size):
                yield rows

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """All of the block's writes, or none of them."""
        with self._stages("sqlite", operation="transaction", file=self.path.name), self._lock:
            self._execute("BEGIN IMMEDIATE")
            try:
                yield self
                self._execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def write(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Execute one statement, in a transaction of its own unless there is one. Returns the number of changed rows."""
        with self._stages("sqlite", operation="write", file=self.path.name):
            return self._execute(sql, args).rowcount

    def write_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement for many rows, inside a transaction."""
        with self._lock, self._translated("write"):
            self._connection.executemany(sql, rows)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _execute(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute a statement; wait for other writers for up to `patience_s`, without holding the lock."""
        deadline = REAL_TIME.now() + self._patience_s
        while True:
            with self._lock, self._translated("write"):
                try:
                    return self._connection.execute(sql, args)
                except sqlite3.OperationalError as exc:
                    if "locked" not in str(exc) or REAL_TIME.now() > deadline:
                        raise
            REAL_TIME.sleep(BUSY_S / 5)

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            message = f"the server cannot {verb} its file {self.path.name}"
            raise Unavailable(message, part="store", detail=f"cannot {verb} {self.path}: {exc}") from exc
