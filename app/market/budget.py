"""The budget of calls of one key: so many in any window of time, shared by all processes on one ledger (polygon.md 5, 6).

A call counts from its start until a window after its end, so that it cannot fall into the provider's window later than
into ours. A 429 or a 401 of the provider pauses the whole key and not only one call. The budget never repeats a call and
never reads bars.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, TypeVar

from app.clock import Timer
from app.errors import BudgetSpent, Unavailable
from app.market.ledger import REMEMBERED_S, Call, KeptPlan, Ledger, LedgerState, MemoryLedger, Room, SharedLedger
from app.market.plan import Entitlement
from app.market.polygon import KEY_REFUSED, Reply
from app.sqlite import Retries

POLL_S = 0.25
LEAST_WAIT_S = 0.01
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


SMALL_PLAN = Limit(5, 60.0)
PAID_PLAN = Limit(50, 1.0)


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

    ticket: str | None
    wait: float = 0.0
    is_paused: bool = False


class Budget:
    """The calls of one key, by its ledger.

    While the ledger cannot be used, this process counts in memory, for itself alone, and spends its part of the limit: one call
    of so many as there are processes, as far as the ledger had counted them, but one at least. It begins with what it last saw
    of the ledger. The change is announced once, and any use of the budget tries the ledger again, at most as often as `retries`
    allows; it then gets the calls of this process.
    """

    def __init__(
        self,
        open_ledger: Callable[[], SharedLedger],
        limit: Limit,
        timer: Timer,
        emit: Callable[..., None],
        retries: Retries | None = None,
        processes: int = 1,
    ) -> None:
        """`open_ledger()` opens the ledger, or raises Unavailable. `processes`: how many there are at least."""
        self.limit = limit
        self._open_ledger = open_ledger
        self._timer = timer
        self._emit = emit
        self._reserved: Callable[[], int] = lambda: 0
        self._waiting: Counter[Priority] = Counter()
        self._strikes = 0
        self._paused_until = -math.inf
        self._lock = threading.Lock()
        self._retries = retries or Retries(timer.now)
        self._processes = processes
        self._seen = LedgerState((), {}, None), timer.now()
        self._plan: KeptPlan | None = None
        self._memory: MemoryLedger | None = None
        self._ledger: SharedLedger | None = None
        self._with_ledger(lambda ledger: None)

    def reserve_by(self, reserved: Callable[[], int]) -> None:
        """Sets `reserved()`, which returns how many of a window's calls history must leave to the running day."""
        self._reserved = reserved

    def acquire(self) -> str:
        """Returns a ticket for one call, at once or when its turn comes within the patience of the call context.

        Raises BudgetSpent, which carries the seconds until a call may go, and Unavailable when the key was refused lately.
        """
        current = current_call_context(self._timer)
        is_announced = False
        with self._queued(current.priority):
            while True:
                turn = self._with_ledger(lambda ledger: self._take(ledger, current.priority))
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
        self._plan = plan = KeptPlan(entitlement, self._timer.epoch())
        self._with_ledger(lambda ledger: ledger.keep_plan(plan))

    def kept_plan(self) -> KeptPlan | None:
        """Returns the plan of this key as the last probe of any process found it; None if there was none in PLAN_KEPT_S."""
        plan = self._with_ledger(self._state).plan
        return plan if plan is not None and self._is_of_late(plan) else None

    def _is_of_late(self, plan: KeptPlan) -> bool:
        return abs(self._timer.epoch() - plan.found_at) < PLAN_KEPT_S

    def release(self, ticket: str) -> None:
        """Records that the call of `ticket` has ended."""
        self._with_ledger(lambda ledger: ledger.release(ticket))

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
        is_paused = "limit" in self._with_ledger(self._state).pauses
        with self._lock:  # of calls that are refused while the ledger is asked, only the first one finds no pause
            if not is_paused and self._timer.now() >= self._paused_until:
                self._strikes += 1
            pause_s = self._pause_s(asked_s)
            self._paused_until = self._timer.now() + pause_s
        return pause_s

    def _pause_s(self, asked_s: float | None) -> float:
        own_s = PAUSES_S[min(max(self._strikes, 1), len(PAUSES_S)) - 1] * random.uniform(1.0, 1.1)
        if asked_s is None:
            return own_s
        return max(LEAST_PAUSE_S, asked_s) if self._strikes <= 1 else max(asked_s, own_s)

    def status(self) -> BudgetStatus:
        """Returns the state of the budget now."""
        state = self._with_ledger(lambda ledger: self._state(ledger, max(REMEMBERED_S, self.limit.window_s)))
        limit = self._limit()
        spent = sum(call.ends_in_s > -limit.window_s for call in state.calls)
        return BudgetStatus(
            limit=limit,
            spent=spent,
            left=max(0, limit.calls - spent),
            last_minute=sum(call.ends_in_s > -REMEMBERED_S for call in state.calls),
            paused_s=max(state.pauses.values(), default=0.0),
            key_refused="key" in state.pauses,
            in_memory=self._memory is not None,
        )

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()

    def _limit(self) -> Limit:
        """What this process may spend: all of the limit, with the others, or its part of it while it counts for itself."""
        if self._memory is None:
            return self.limit
        processes = max(self._processes, self._seen[0].processes)
        return replace(self.limit, calls=max(1, self.limit.calls // processes))

    def _state(self, ledger: Ledger, window_s: float | None = None) -> LedgerState:
        """What the ledger knows. A ledger that has lost the plan gets it again."""
        state = ledger.state(self.limit.window_s if window_s is None else window_s)
        if ledger is not self._memory:
            self._seen = state, self._timer.now()
        if state.plan is not None:
            self._plan = state.plan
        elif self._plan is not None and self._is_of_late(self._plan):
            ledger.keep_plan(self._plan)
            state = state._replace(plan=self._plan)
        return state

    def _take(self, ledger: Ledger, priority: Priority) -> _Turn:
        """Returns a ticket or a wait. Raises Unavailable for a refused key."""
        state = self._state(ledger)
        if "key" in state.pauses:
            self._emit("call_withheld", reason="key")
            raise Unavailable(KEY_REFUSED, part="api_key", code="DATA_FETCH_ERROR")
        if state.pauses:
            return _Turn(None, state.pauses["limit"], is_paused=True)
        ahead = sum(self._waiting[before] for before in Priority if before < priority)
        wait = self._wait(state.calls, priority, ahead)
        if ahead:
            return _Turn(None, max(POLL_S, wait or 0.0))
        if wait is None:
            ticket = ledger.take(priority, self.limit.window_s, self._rooms(priority))
            if ticket is not None:
                return _Turn(ticket)
            wait = self._wait(self._state(ledger).calls, priority) or LEAST_WAIT_S  # another process was faster
        return _Turn(None, wait)

    def _rooms(self, priority: Priority) -> list[Room]:
        """What a call of `priority` must find room in: the limit, and what it leaves for history."""
        rooms = [Room(Priority.PROBE, self._limit().calls)]
        return rooms + [Room(Priority.REPLAY, self._for_history(priority))] * (priority >= Priority.REPLAY)

    def _wait(self, calls: Sequence[Call], priority: Priority, ahead: int = 0) -> float | None:
        """Returns the seconds until a call of `priority` may go when `ahead` others go first; None if it may go now."""
        waits = []
        for room in self._rooms(priority):
            ends = [call.ends_in_s for call in calls if call.priority >= room.priority]
            waits.append(self._until_free(ends, room.calls, ahead if room.priority is Priority.PROBE else 0))
        return max((wait for wait in waits if wait is not None), default=None)

    def _for_history(self, priority: Priority) -> int:
        kept_back = self._reserved() + (1 if priority is Priority.BACKFILL and self._reserved() else 0)
        return max(1, self._limit().calls - kept_back)

    def _until_free(self, ends: Sequence[float], allowed: int, ahead: int) -> float | None:
        """Returns the seconds until fewer than `allowed` calls are in the window, after `ahead` more. Calls that find no
        place in this window take the first places of the next."""
        windows, place = divmod(ahead, allowed)
        if not windows and len(ends) + place < allowed:
            return None
        first = allowed - place
        frees = ends[-first] + self.limit.window_s if len(ends) >= first else 0.0
        return max(LEAST_WAIT_S, frees + windows * self.limit.window_s)

    def _pause(self, why: str, seconds: float) -> None:
        self._emit("provider_pauses_us", why=why, seconds=round(seconds))
        self._with_ledger(lambda ledger: ledger.pause(why, seconds))

    @contextmanager
    def _queued(self, priority: Priority) -> Iterator[None]:
        with self._lock:
            self._waiting[priority] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[priority] -= 1

    def _with_ledger(self, work: Callable[[Ledger], T]) -> T:
        """Does `work` on the ledger; on one in memory while it fails."""
        memory = self._memory
        if memory is not None and not self._retries.take():
            return work(memory)
        try:
            ledger = self._ledger or self._opened(memory)
            return work(ledger)
        except Unavailable as exc:
            if exc.part != "store":
                raise
            return work(self._fall_back(exc))

    def _opened(self, memory: MemoryLedger | None) -> SharedLedger:
        """Opens the ledger, and gives it the calls and pauses of the one in memory, which ends."""
        ledger = self._open_ledger()
        if memory is not None:
            memory.hand_over(ledger)
        self._ledger, self._memory = ledger, None
        if memory is not None:
            self._emit("budget_shared")
        return ledger

    def _fall_back(self, why: Unavailable) -> MemoryLedger:
        with self._lock:
            self._ledger = None
            self._retries.postpone()
            if self._memory is not None:
                return self._memory
            seen, at = self._seen
            self._memory = memory = MemoryLedger(self._timer, seen, self._timer.now() - at)
        self._emit("budget_in_memory", error=why.detail)
        return memory
