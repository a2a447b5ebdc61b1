"""The log of live events: the newest ones of each ticker, so that who comes back gets what it missed.

The log is the arbiter: what it holds at (ticker, epoch, seq) is what every listener of every process is told there. One process
extends the sequence of a ticker at a time, under a lease, and an append names the head that it continues: if another process
has moved it meanwhile, or has taken the lease over, nothing is written. An event is told only once it is in the log.

The log is in a SQLite file for the processes on one DATA_DIR, and in Redis (`app/live/redis_event_log.py`) for those that share
one. Where it cannot be used, memory takes its place, with sequences of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from app.clock import Timer
from app.errors import Unavailable
from app.live.live_event import Kind, LiveEvent, Noticed, Position, noticed_of_json
from app.market.lease import LEASES, Lease, SqliteLeases
from app.sqlite import Database, Retries
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")

MAX_EVENTS: Final = 512
"""Events kept of a ticker: more than a session has."""

MAX_BYTES: Final = 2 << 20
"""Bytes of events kept of a ticker."""

RETRY_REDIS_S: Final = 4.0
"""Real seconds after which a Redis that could not be used is tried again, and up to as many more."""

PATIENCE_S: Final = 1.0
"""Real seconds to wait for another process's transaction."""

SCHEMA: Final = (
    LEASES
    + """;
CREATE TABLE IF NOT EXISTS heads (ticker TEXT PRIMARY KEY, epoch TEXT, seq INTEGER, noticed TEXT, snapshot BLOB);
CREATE TABLE IF NOT EXISTS live_events (
    ticker TEXT, epoch TEXT, seq INTEGER, kind TEXT, body BLOB, PRIMARY KEY (ticker, epoch, seq)
) WITHOUT ROWID
"""
)


class Head(NamedTuple):
    """Where a sequence has come to. position: of its newest event, seq 0 before the first; snapshot: the JSON of all that is
    known then."""

    position: Position
    noticed: Noticed
    snapshot: bytes


class EventLog(Protocol):
    """Every method raises Unavailable(part="store") where the log cannot be used."""

    def leads(self, ticker: str) -> bool:
        """Whether this process is the one that extends the sequence of the ticker. Takes or renews the lease for it."""
        ...

    def resign(self, ticker: str) -> None:
        """Lets another process extend the sequence at once."""
        ...

    def head(self, ticker: str) -> Head | None: ...

    def between(self, ticker: str, after: Position, last: Position) -> Sequence[LiveEvent]:
        """The kept events of one epoch behind `after`, up to `last`, oldest first."""
        ...

    def append(self, ticker: str, before: Position | None, events: Sequence[LiveEvent], head: Head) -> bool:
        """Appends `events` and makes `head` the head, if it is `before` until then (None: there is none) and no other process
        has led since this one did. A head of another epoch ends the one before. Returns whether that was so; if not, nothing is
        written."""
        ...

    def close(self) -> None: ...


class MemoryEventLog:
    """The log of one process, lost at its end."""

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}
        self._events: dict[str, list[LiveEvent]] = {}

    def leads(self, ticker: str) -> bool:
        return True

    def resign(self, ticker: str) -> None:
        pass

    def head(self, ticker: str) -> Head | None:
        return self._heads.get(ticker)

    def between(self, ticker: str, after: Position, last: Position) -> Sequence[LiveEvent]:
        kept = self._events.get(ticker, [])
        return [event for event in kept if event.position.epoch == after.epoch and after < event.position <= last]

    def append(self, ticker: str, before: Position | None, events: Sequence[LiveEvent], head: Head) -> bool:
        known = self._heads.get(ticker)
        if (None if known is None else known.position) != before:
            return False
        goes_on = known is not None and known.position.epoch == head.position.epoch
        self._events[ticker] = newest([*(self._events.get(ticker, []) if goes_on else []), *events])
        self._heads[ticker] = head
        return True

    def close(self) -> None:
        pass


class SqliteEventLog:
    """The log in a SQLite file, for all processes on one DATA_DIR."""

    def __init__(self, path: Path, timer: Timer, stages: Stages = NULL_STAGES) -> None:
        self._db = Database(path, SCHEMA, PATIENCE_S, stages)
        self._leases = SqliteLeases(self._db, timer)
        self._leads: dict[str, Lease] = {}

    def leads(self, ticker: str) -> bool:
        lease = self._leases.acquire(f"live {ticker}")
        if lease is not None:
            self._leads[ticker] = lease
        return lease is not None

    def resign(self, ticker: str) -> None:
        lease = self._leads.pop(ticker, None)
        if lease is not None:
            self._leases.release(lease)

    def head(self, ticker: str) -> Head | None:
        rows = self._db.rows("SELECT epoch, seq, noticed, snapshot FROM heads WHERE ticker = ?", (ticker,))
        with suppress(ValueError, KeyError, TypeError):  # written by another version: it is a head that is not known
            for epoch, seq, noticed, snapshot in rows:
                return Head(Position(epoch, seq), noticed_of_json(noticed), snapshot)
        return None

    def between(self, ticker: str, after: Position, last: Position) -> Sequence[LiveEvent]:
        sql = "SELECT seq, kind, body FROM live_events WHERE ticker = ? AND epoch = ? AND seq > ? AND seq <= ? ORDER BY seq"
        rows = self._db.rows(sql, (ticker, after.epoch, after.seq, last.seq))
        return [LiveEvent(ticker, Kind(kind), Position(after.epoch, seq), body) for seq, kind, body in rows]

    def append(self, ticker: str, before: Position | None, events: Sequence[LiveEvent], head: Head) -> bool:
        epoch, seq = head.position
        rows = [(ticker, *event.position, event.kind.value, event.body) for event in events]
        with self._db.transaction() as db:
            lease, known = self._leads.get(ticker), self.head(ticker)
            if lease is None or not self._leases.is_current(lease):
                return False
            if (None if known is None else known.position) != before:
                return False
            db.write_many("INSERT INTO live_events VALUES (?, ?, ?, ?, ?)", rows)
            new = (ticker, epoch, seq, head.noticed.as_json(), head.snapshot)
            db.write("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?)", new)
            self._trim(db, ticker, head.position)
        return True

    def _trim(self, db: Database, ticker: str, head: Position) -> None:
        db.write("DELETE FROM live_events WHERE ticker = ? AND epoch != ?", (ticker, head.epoch))
        sizes = "SELECT seq, SUM(LENGTH(body)) OVER (ORDER BY seq DESC) AS total FROM live_events WHERE ticker = ?"
        large = f"SELECT MAX(seq) FROM ({sizes}) WHERE total > ?"
        sql = f"DELETE FROM live_events WHERE ticker = ? AND (seq <= ? OR seq <= ({large}))"
        db.write(sql, (ticker, head.seq - MAX_EVENTS, ticker, MAX_BYTES))

    def close(self) -> None:
        self._db.close()


class EventLogWithFallback:
    """The log on disk or in Redis, and one in memory while that cannot be used. Emits `live_log_in_memory`, and
    `live_log_on_disk` or `live_log_in_redis` afterwards."""

    def __init__(
        self,
        open_log: Callable[[], EventLog],
        emit: Callable[..., None],
        now: Callable[[], float],
        *,
        is_redis: bool = False,
    ) -> None:
        self._open_log = open_log
        self._emit = emit
        self._is_redis = is_redis
        self._retries = Retries(now, RETRY_REDIS_S, spread=1.0) if is_redis else Retries(now)
        self._log: EventLog | None = None
        self._memory: MemoryEventLog | None = None
        self._is_closed = False

    @property
    def is_in_memory(self) -> bool:
        return self._memory is not None

    def leads(self, ticker: str) -> bool:
        return self._use(lambda log: log.leads(ticker))

    def resign(self, ticker: str) -> None:
        self._use(lambda log: log.resign(ticker))

    def head(self, ticker: str) -> Head | None:
        return self._use(lambda log: log.head(ticker))

    def between(self, ticker: str, after: Position, last: Position) -> Sequence[LiveEvent]:
        return self._use(lambda log: log.between(ticker, after, last))

    def append(self, ticker: str, before: Position | None, events: Sequence[LiveEvent], head: Head) -> bool:
        return self._use(lambda log: log.append(ticker, before, events, head))

    def close(self) -> None:
        log, self._log, self._is_closed = self._log, None, True
        self._memory = self._memory or MemoryEventLog()
        if log is not None:
            log.close()

    def _use(self, work: Callable[[EventLog], T]) -> T:
        if self._memory is not None and (self._is_closed or not self._retries.take()):
            return work(self._memory)
        try:
            result = work(self._opened())
        except Unavailable as exc:
            return work(self._fall_back(exc))
        if self._memory is not None:
            self._memory = None
            self._emit("live_log_in_redis" if self._is_redis else "live_log_on_disk")
        return result

    def _opened(self) -> EventLog:
        """The log. Where two tickers open it at once there is one all the same: another one would have leases of its own."""
        if self._log is None:
            log = self._open_log()
            if self._log is None and not self._is_closed:
                self._log = log
            elif self._log is not log:
                log.close()
        if self._log is None:
            raise Unavailable("the log of live events is closed", part="store")
        return self._log

    def _fall_back(self, why: Unavailable) -> MemoryEventLog:
        self._retries.postpone()
        if self._memory is None:
            self._memory = MemoryEventLog()
            self._emit("live_log_in_memory", error=why.detail)
        return self._memory


def newest(events: Sequence[LiveEvent]) -> list[LiveEvent]:
    """The newest events within MAX_EVENTS and MAX_BYTES."""
    totals = accumulate(len(event.body) for event in reversed(events))
    kept = sum(total <= MAX_BYTES for total in totals)
    return list(events[max(0, len(events) - min(kept, MAX_EVENTS)) :])
