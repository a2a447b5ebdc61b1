"""The budget of calls of one key: so many in any window of time, shared by all processes on one DATA_DIR (polygon.md 5, 6).

A call counts from its start until a window after its end, so that it cannot fall into the provider's window later than
into ours. A 429 or a 401 of the provider pauses the whole key and not only one call. The budget never repeats a call and
never reads bars.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from hashlib import blake2s
from pathlib import Path
from typing import NamedTuple, TypeVar

from app.clock import Timer
from app.errors import BudgetSpent, Unavailable
from app.market.plan import Entitlement
from app.market.polygon import KEY_REFUSED, Reply
from app.sqlite import Database, Retries
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (ticket INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, priority INTEGER, ended REAL);
CREATE TABLE IF NOT EXISTS pauses (key TEXT, why TEXT, until REAL, PRIMARY KEY (key, why));
CREATE TABLE IF NOT EXISTS plans (key TEXT PRIMARY KEY, today INTEGER, history_from TEXT, found_at REAL)
"""
PLAN_COLUMNS = "key, today, history_from, found_at"
KEEP_PLAN = f"INSERT OR REPLACE INTO plans ({PLAN_COLUMNS}) VALUES (?, ?, ?, ?)"
MEMORY = Path(":memory:")
REMEMBERED_S = 60.0
LONGEST_CALL_S = 25.0
"""Seconds for which a call counts as under way when its process died before it recorded the end of the call."""

POLL_S = 0.25
ANNOUNCED_FROM_S = 1.0
"""A wait for a turn that is longer than so many seconds is announced when it begins."""

PLAN_KEPT_S = 30 * 86_400.0
"""Seconds for which processes that start use a plan that an earlier probe found. The next probe checks it again."""

PAUSES_S = (20.0, 40.0, 80.0)
"""Seconds of pause after a first, a second and a further 429 in a row that names no pause (polygon.md 6). Up to a tenth is
added at random."""

LEAST_PAUSE_S = 1.0
"""The shortest pause after a 429, in seconds: a provider that always asks for 0 seconds must not be called without end."""

KEY_PAUSE_S = 300.0
"""Seconds for which no call is made with a key that the provider refused (401). After that one call is tried."""

T = TypeVar("T")


class Priority(IntEnum):
    """The order in which calls get their turn when calls are scarce (polygon.md 5)."""

    PROBE = 0
    OPEN = 1
    MINUTES = 2
    REPLAY = 3
    BACKFILL = 4


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any `window_s` seconds."""

    calls: int
    window_s: float


REOPEN_PATIENCE_S = 1.0
SMALL_PLAN = Limit(5, 60.0)
PAID_PLAN = Limit(50, 1.0)


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What a probe found at `found_at`, epoch seconds."""

    entitlement: Entitlement
    found_at: float


@dataclass(frozen=True, slots=True)
class CallContext:
    """The context in which the current thread calls the provider: its priority, and the moment (`Timer.now`) after which it
    neither waits for a turn nor tries again."""

    priority: Priority
    ends: float


_call_context: ContextVar[CallContext | None] = ContextVar("call_context", default=None)


@contextmanager
def call_context(priority: Priority, patience_s: float, timer: Timer) -> Iterator[None]:
    """Makes the calls inside the block with this priority; they give up after `patience_s` seconds."""
    token = _call_context.set(CallContext(priority, timer.now() + patience_s))
    try:
        yield
    finally:
        _call_context.reset(token)


def current_call_context(timer: Timer) -> CallContext:
    """Returns the call context of this thread; outside of any block, one that does not wait."""
    return _call_context.get() or CallContext(Priority.REPLAY, timer.now())


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """The state of a budget: calls that are `spent` and `left` in the window, calls of the `last_minute`, and `paused_s`
    seconds until the provider's pause is over. `key_refused` says that the pause is because of the key, `in_memory` that
    other processes do not see these calls."""

    limit: Limit
    spent: int
    left: int
    last_minute: int
    paused_s: float
    key_refused: bool
    in_memory: bool = False


class _Turn(NamedTuple):
    """The ticket of a call that may go, or the seconds until it is worth asking again. `is_paused` says that they are the
    rest of the pause that the provider asked for."""

    ticket: int | None
    wait: float = 0.0
    is_paused: bool = False


class Budget:
    """The ledger of the calls of one key.

    A ledger that cannot be kept on disk is kept in memory, for this process alone. The change is announced once, and any use
    of the budget tries the disk again, at most as often as `app.sqlite.Retries` allows. Tickets of the ledger in memory are
    negative.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        limit: Limit,
        timer: Timer,
        emit: Callable[..., None],
        stages: Stages = NULL_STAGES,
    ) -> None:
        self.limit = limit
        self._stages = stages
        self._key = blake2s(key.encode(), digest_size=8).hexdigest()
        self._timer = timer
        self._emit = emit
        self._reserved: Callable[[], int] = lambda: 0
        self._waiting: Counter[Priority] = Counter()
        self._strikes = 0
        self._lock = threading.Lock()
        self._path = path
        self._retries = Retries(timer.now)
        try:
            self._db = Database(path, SCHEMA, stages=stages)
        except Unavailable as exc:
            self._db = self._in_memory(exc)

    def reserve_by(self, reserved: Callable[[], int]) -> None:
        """Sets `reserved()`, which returns how many of a window's calls history must leave to the running day."""
        self._reserved = reserved

    def acquire(self) -> int:
        """Returns a ticket for one call, at once or when its turn comes within the patience of the call context.

        Raises BudgetSpent, which carries the seconds until a call may go, and Unavailable when the key was refused lately.
        """
        current = current_call_context(self._timer)
        is_announced = False
        with self._queued(current.priority):
            while True:
                turn = self._with_ledger(lambda db: self._take(db, current.priority))
                if turn.ticket is not None:
                    return turn.ticket
                if self._timer.now() + turn.wait > current.ends:
                    raise self._withheld(turn)
                if turn.wait > ANNOUNCED_FROM_S and not is_announced:
                    is_announced = True
                    self._announce_wait(turn, current.priority)
                self._timer.sleep(min(turn.wait, POLL_S))

    def _announce_wait(self, turn: _Turn, priority: Priority) -> None:
        reason = "pause" if turn.is_paused else "budget"
        self._emit("call_waits", seconds=math.ceil(turn.wait), priority=priority.name.lower(), reason=reason)

    def _withheld(self, turn: _Turn) -> BudgetSpent:
        self._emit("call_withheld", reason="budget")
        why = "the provider asked for a pause" if turn.is_paused else "the data plan's call budget is spent"
        message = f"{why}, the next call may go in {math.ceil(turn.wait)} s"
        return BudgetSpent(message, retry_after=max(1.0, turn.wait))

    def keep_plan(self, entitlement: Entitlement) -> None:
        """Stores what a probe found, for all processes and for those that start later."""
        row = (self._key, entitlement.has_intraday, entitlement.history_from.isoformat(), self._timer.epoch())
        self._with_ledger(lambda db: db.write(KEEP_PLAN, row))

    def kept_plan(self) -> KeptPlan | None:
        """Returns the plan of this key as the last probe of any process found it; None if there was none in PLAN_KEPT_S."""
        sql = "SELECT today, history_from, found_at FROM plans WHERE key = ?"
        for today, since, found_at in self._with_ledger(lambda db: db.rows(sql, (self._key,))):
            if abs(self._timer.epoch() - found_at) < PLAN_KEPT_S:
                return KeptPlan(Entitlement(bool(today), date.fromisoformat(since)), found_at)
        return None

    def release(self, ticket: int) -> None:
        """Records that the call of `ticket` has ended."""
        now = self._timer.epoch()

        def end(db: Database) -> None:
            if (ticket < 0) == _is_memory(db):
                db.write("UPDATE calls SET ended = ? WHERE ticket = ?", (now, abs(ticket)))

        self._with_ledger(end)

    def observe(self, reply: Reply) -> Reply:
        """Pauses the key as the reply demands, and returns the reply; a 429 is returned with the pause that it led to."""
        if reply.status == 401:
            self._pause("key", KEY_PAUSE_S)
        elif reply.status == 429:
            wait = self._pause_after(reply.retry_after)
            self._pause("limit", wait)
            return reply._replace(retry_after=wait)
        elif reply.status == 200:
            self._strikes = 0
        return reply

    def _pause_after(self, asked_s: float | None) -> float:
        """Returns the seconds to pause after a 429: what the first one asks for, and more for each that follows when that
        pause is over. Those of calls that were under way together count as one."""
        if "limit" not in self._with_ledger(self._pauses):
            self._strikes += 1
        own_s = PAUSES_S[min(max(self._strikes, 1), len(PAUSES_S)) - 1] * random.uniform(1.0, 1.1)
        if asked_s is None:
            return own_s
        return max(LEAST_PAUSE_S, asked_s) if self._strikes <= 1 else max(asked_s, own_s)

    def status(self) -> BudgetStatus:
        """Returns the state of the budget now."""
        now = self._timer.epoch()
        ended = self._with_ledger(
            lambda db: [row[0] for row in db.rows("SELECT ended FROM calls WHERE key = ?", (self._key,))]
        )
        spent = sum(end > now - self.limit.window_s for end in ended)
        pauses = self._with_ledger(self._pauses)
        return BudgetStatus(
            limit=self.limit,
            spent=spent,
            left=max(0, self.limit.calls - spent),
            last_minute=sum(end > now - REMEMBERED_S for end in ended),
            paused_s=max((until - now for until in pauses.values()), default=0.0),
            key_refused="key" in pauses,
            in_memory=_is_memory(self._db),
        )

    def close(self) -> None:
        self._db.close()

    def _take(self, db: Database, priority: Priority) -> _Turn:
        """Returns a ticket or a wait. Raises Unavailable for a refused key."""
        pauses, now = self._pauses(db), self._timer.epoch()
        if "key" in pauses:
            self._emit("call_withheld", reason="key")
            raise Unavailable(KEY_REFUSED, part="api_key", code="DATA_FETCH_ERROR")
        if pauses:
            return _Turn(None, pauses["limit"] - now, is_paused=True)
        ahead = sum(self._waiting[before] for before in Priority if before < priority)
        if ahead:
            return _Turn(None, max(POLL_S, self._wait(db, priority, now, ahead) or 0.0))
        with db.transaction():
            outside = (self._key, now - max(REMEMBERED_S, self.limit.window_s), now + 2 * LONGEST_CALL_S)
            db.write("DELETE FROM calls WHERE key = ? AND (ended <= ? OR ended > ?)", outside)
            wait = self._wait(db, priority, now)
            if wait is not None:
                return _Turn(None, wait)
            row = (self._key, int(priority), now + LONGEST_CALL_S)
            db.write("INSERT INTO calls (key, priority, ended) VALUES (?, ?, ?)", row)
            ticket = int(db.rows("SELECT last_insert_rowid()")[0][0])
            return _Turn(-ticket if _is_memory(db) else ticket)

    def _wait(self, db: Database, priority: Priority, now: float, ahead: int = 0) -> float | None:
        """Returns the seconds until a call of `priority` may go when `ahead` others go first; None if it may go now."""
        sql = "SELECT ended, priority FROM calls WHERE key = ? AND ended > ? ORDER BY ended"
        rows = db.rows(sql, (self._key, now - self.limit.window_s))
        every = [ended for ended, _ in rows]
        history = [ended for ended, of in rows if of >= Priority.REPLAY]
        waits = [self._until_free(every, self.limit.calls, now, ahead)]
        if priority >= Priority.REPLAY:
            waits.append(self._until_free(history, self._for_history(priority), now, 0))
        return max((wait for wait in waits if wait is not None), default=None)

    def _for_history(self, priority: Priority) -> int:
        kept_back = self._reserved() + (1 if priority is Priority.BACKFILL and self._reserved() else 0)
        return max(1, self.limit.calls - kept_back)

    def _until_free(self, ended: list[float], allowed: int, now: float, ahead: int) -> float | None:
        """Returns the seconds until fewer than `allowed` calls are in the window, after `ahead` more. Calls that find no
        place in this window take the first places of the next."""
        windows, place = divmod(ahead, allowed)
        if not windows and len(ended) + place < allowed:
            return None
        first = allowed - place
        frees = ended[-first] + self.limit.window_s - now if len(ended) >= first else 0.0
        return max(0.01, frees + windows * self.limit.window_s)

    def _pauses(self, db: Database) -> dict[str, float]:
        now = self._timer.epoch()
        rows = db.rows("SELECT why, until FROM pauses WHERE key = ? AND until > ?", (self._key, now))
        return {why: until for why, until in rows if until <= now + 3600.0}

    def _pause(self, why: str, seconds: float) -> None:
        self._emit("provider_pauses_us", why=why, seconds=round(seconds))
        until = self._timer.epoch() + seconds
        self._with_ledger(
            lambda db: db.write("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", (self._key, why, until))
        )

    @contextmanager
    def _queued(self, priority: Priority) -> Iterator[None]:
        with self._lock:
            self._waiting[priority] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[priority] -= 1

    def _with_ledger(self, work: Callable[[Database], T]) -> T:
        """Does `work` on the ledger; on one in memory while the disk fails."""
        self._return_to_disk()
        try:
            return work(self._db)
        except Unavailable as exc:
            if exc.part != "store":
                raise
            self._db = self._in_memory(exc)
            return work(self._db)

    def _return_to_disk(self) -> None:
        """Moves the calls and pauses in memory to the ledger on disk and goes on with that one, once it is possible."""
        if not _is_memory(self._db) or not self._retries.take():
            return
        columns = "key, priority, ended"
        try:
            disk = Database(self._path, SCHEMA, REOPEN_PATIENCE_S, self._stages)
            with disk.transaction():
                disk.write_many(
                    f"INSERT INTO calls ({columns}) VALUES (?, ?, ?)", self._db.rows(f"SELECT {columns} FROM calls")
                )
                disk.write_many("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", self._db.rows("SELECT * FROM pauses"))
                disk.write_many(KEEP_PLAN, self._db.rows(f"SELECT {PLAN_COLUMNS} FROM plans"))
        except Unavailable:
            return
        self._db = disk
        self._emit("budget_on_disk")

    def _in_memory(self, why: Unavailable) -> Database:
        self._retries.postpone()
        self._emit("budget_in_memory", error=why.detail)
        return Database(MEMORY, SCHEMA, stages=self._stages)


def _is_memory(db: Database) -> bool:
    return db.path == MEMORY
