"""Leases between the processes that share a store: who follows the market, and who fetches a series.

A lease has one holder, ends by itself, and carries a fencing token that grows with every change of holder: what a
holder brings is written only while its token is the newest, so one that was stopped past its lease and wakes cannot
write over its successor's work (Kleppmann, "How to do distributed locking"). They are kept in a SQLite file for the
processes on one DATA_DIR, and in a Redis (`app/market/redis_leases.py`) for those that share one.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from app.clock import Timer
from app.sqlite import Database

T = TypeVar("T")

LEASE_S = 5.0
"""Real seconds after which a lease that its holder no longer renews is free: a process that was killed is replaced in
that time."""

RENEW_AFTER_S = 1.0
FORGET_AFTER_S = 3600.0
"""How long a free lease is remembered."""

LEASES = """
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT, token INTEGER, expires REAL)
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """`holder` has `name` until `expires`, epoch seconds; `token` is the fencing token."""

    name: str
    holder: str
    token: int
    expires: float


class Leases(Protocol):
    """Leases of this process, `holder`. Every method raises Unavailable(part="store") when the store cannot be used."""

    holder: str

    def acquire(self, name: str) -> Lease | None:
        """The lease, new or renewed; None while another process holds it."""
        ...

    def renew_held(self) -> None:
        """Renew what this process holds, so that a long fetch keeps its lease. Called while the process lives."""
        ...

    def drop_held(self) -> None:
        """Renew nothing that was acquired so far."""
        ...

    def release(self, lease: Lease) -> None:
        """Free the lease at once, if it is still this process's."""
        ...

    def current(self, name: str) -> Lease | None:
        """Who holds the lease now; None if nobody does."""
        ...

    def is_current(self, lease: Lease) -> bool:
        """Whether nobody else has had the lease since it was given."""
        ...


class HeldLeases(Generic[T]):
    """What a process knows of the leases that it renews, by their names. Safe between threads: one that is released while it is
    being renewed is renewed no more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, T] = {}

    def all(self) -> list[T]:
        with self._lock:
            return list(self._known.values())

    def add(self, name: str, known: T) -> None:
        with self._lock:
            self._known[name] = known

    def discard(self, name: str) -> None:
        with self._lock:
            self._known.pop(name, None)

    def clear(self) -> None:
        with self._lock:
            self._known.clear()

    def end_renewal(self, name: str, before: T, after: T | None) -> None:
        """A renewal of what was known `before` has ended; after: what is known then, None where the lease is lost. It says
        nothing about a lease that was released or acquired meanwhile."""
        with self._lock:
            if self._known.get(name) is not before:
                return
            if after is None:
                del self._known[name]
            else:
                self._known[name] = after


class SqliteLeases:
    """Leases as rows of a SQLite file. Times are the wall's, which all processes on one file share: a clock that jumps
    forward frees leases early, which the fencing tokens make harmless; one that jumps back cannot make a lease last,
    because one that seems to end later than LEASE_S from now is free."""

    def __init__(self, db: Database, timer: Timer) -> None:
        self.holder = secrets.token_hex(8)
        self._db = db
        self._timer = timer
        self._held: HeldLeases[Lease] = HeldLeases()

    def acquire(self, name: str) -> Lease | None:
        now, held = self._timer.epoch(), self._read(name)
        if held is not None and self._is_anothers(held, now):
            return None
        if held is not None and self._is_young(held, now):
            return held
        with self._db.transaction():
            held = self._read(name)
            if held is not None and self._is_anothers(held, now):
                return None
            return self._write(name, held, now)

    def renew_held(self) -> None:
        now = self._timer.epoch()
        sql = "UPDATE leases SET expires = ? WHERE name = ? AND holder = ? AND token = ?"
        for lease in self._held.all():
            if self._is_young(lease, now):
                continue
            is_held = self._db.write(sql, (now + LEASE_S, lease.name, self.holder, lease.token))
            self._held.end_renewal(lease.name, lease, replace(lease, expires=now + LEASE_S) if is_held else None)

    def drop_held(self) -> None:
        self._held.clear()

    def release(self, lease: Lease) -> None:
        self._held.discard(lease.name)
        sql = "UPDATE leases SET expires = ? WHERE name = ? AND holder = ? AND token = ?"
        self._db.write(sql, (self._timer.epoch(), lease.name, self.holder, lease.token))

    def current(self, name: str) -> Lease | None:
        held = self._read(name)
        return held if held is not None and self._runs(held, self._timer.epoch()) else None

    def is_current(self, lease: Lease) -> bool:
        held = self._read(lease.name)
        return held is not None and (held.holder, held.token) == (lease.holder, lease.token)

    def _read(self, name: str) -> Lease | None:
        rows = self._db.rows("SELECT name, holder, token, expires FROM leases WHERE name = ?", (name,))
        return Lease(*rows[0]) if rows else None

    def _write(self, name: str, before: Lease | None, now: float) -> Lease:
        if before is None:
            self._db.write("DELETE FROM leases WHERE expires < ?", (now - FORGET_AFTER_S,))
        token = 1 if before is None else before.token + (before.holder != self.holder)
        lease = Lease(name, self.holder, token, now + LEASE_S)
        self._db.write("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (name, self.holder, token, lease.expires))
        self._held.add(name, lease)
        return lease

    def _is_anothers(self, lease: Lease, now: float) -> bool:
        return lease.holder != self.holder and self._runs(lease, now)

    def _is_young(self, lease: Lease, now: float) -> bool:
        renewed_at = lease.expires - LEASE_S
        return lease.holder == self.holder and 0 <= now - renewed_at < RENEW_AFTER_S

    @staticmethod
    def _runs(lease: Lease, now: float) -> bool:
        return now < lease.expires <= now + LEASE_S + RENEW_AFTER_S
