"""What the budget of a key keeps for all processes that spend it: calls, pauses, and the plan that a probe found.

A ledger counts; `app/market/budget.py` decides. All times are seconds from now by the ledger's own clock, so that the clocks of
processes do not matter.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2s
from typing import Final, NamedTuple, Protocol

from app.clock import Timer
from app.market.plan import Entitlement

LONGEST_CALL_S: Final = 25.0
"""Seconds for which a call counts as under way when its process died before it recorded the end of the call."""

REMEMBERED_S: Final = 60.0
LONGEST_PAUSE_S: Final = 3600.0
"""A pause that seems to last longer was written before a clock was set back."""


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What a probe found at `found_at`, epoch seconds."""

    entitlement: Entitlement
    found_at: float


class Call(NamedTuple):
    """A call of a priority, which ends so many seconds from now; negative: it has ended."""

    ends_in_s: float
    priority: int


class Room(NamedTuple):
    """A window has at most so many calls of this priority and of those that are less urgent."""

    priority: int
    calls: int


class LedgerState(NamedTuple):
    """calls: of the window, those that end first come first; pauses: seconds that are left, by reason; processes: how many have
    used the ledger lately, where it counts them."""

    calls: Sequence[Call]
    pauses: Mapping[str, float]
    plan: KeptPlan | None
    processes: int = 1


class Ledger(Protocol):
    """The ledger of one key. Every method raises Unavailable(part="store") where it cannot be used."""

    def state(self, window_s: float) -> LedgerState:
        """What is known now, with the calls that ended less than `window_s` ago."""
        ...

    def take(self, priority: int, window_s: float, rooms: Sequence[Room]) -> str | None:
        """Enters a call if the window has room for it in every one of `rooms`. Returns its ticket, else None."""
        ...

    def release(self, ticket: str) -> None:
        """Records that the call has ended. A ticket of another ledger does nothing."""
        ...

    def pause(self, why: str, seconds: float) -> None: ...

    def keep_plan(self, plan: KeptPlan) -> None: ...


class SharedLedger(Ledger, Protocol):
    """A ledger of several processes."""

    def add(self, calls: Sequence[Call], pauses: Mapping[str, float]) -> None:
        """Enters what was counted elsewhere while this ledger could not be used."""
        ...

    def close(self) -> None: ...


def name_of_key(key: str) -> str:
    """What a ledger knows the provider's key by, which is no secret."""
    return blake2s(key.encode(), digest_size=8).hexdigest()


def entitlement_of(today: object, since: str) -> Entitlement:
    return Entitlement(bool(today), date.fromisoformat(since))


class MemoryLedger:
    """The ledger of one process while the shared one cannot be used. It begins with what was seen of that `seen_s` ago."""

    def __init__(self, timer: Timer, seen: LedgerState | None = None, seen_s: float = 0.0) -> None:
        self._now = timer.now
        self._lock = threading.Lock()
        self._own: dict[str, tuple[float, int]] = {}
        then = self._now() - seen_s
        self._seen = [(then + call.ends_in_s, call.priority) for call in (seen.calls if seen else ())]
        self._pauses = {why: then + left for why, left in (seen.pauses if seen else {}).items()}
        self._plan = seen.plan if seen else None
        self._handed_over: set[str] = set()
        self._is_handed_over = False

    def state(self, window_s: float) -> LedgerState:
        with self._lock:
            now = self._now()
            pauses = {why: until - now for why, until in self._pauses.items() if until > now}
            return LedgerState(self._calls(now, window_s), pauses, self._plan)

    def take(self, priority: int, window_s: float, rooms: Sequence[Room]) -> str | None:
        with self._lock:
            now = self._now()
            self._own = {t: call for t, call in self._own.items() if call[0] > now - max(REMEMBERED_S, window_s)}
            if not has_room(self._calls(now, window_s), rooms):
                return None
            ticket = f"memory {secrets.token_hex(8)}"
            self._own[ticket] = now + LONGEST_CALL_S, priority
            self._is_handed_over = False
            return ticket

    def release(self, ticket: str) -> None:
        with self._lock:
            if ticket in self._own:
                self._own[ticket] = self._now(), self._own[ticket][1]

    def pause(self, why: str, seconds: float) -> None:
        with self._lock:
            self._pauses[why] = self._now() + seconds
            self._is_handed_over = False

    def keep_plan(self, plan: KeptPlan) -> None:
        self._plan = plan

    def hand_over(self, ledger: SharedLedger) -> None:
        """Enters the calls of this process and the pauses into a ledger, those too that come while that is being written."""
        self._is_handed_over = False
        while not self._is_handed_over:
            with self._lock:
                self._is_handed_over, now = True, self._now()
                left = {ticket: call for ticket, call in self._own.items() if ticket not in self._handed_over}
            calls = [Call(ended - now, priority) for ended, priority in left.values()]
            ledger.add(calls, self.state(REMEMBERED_S).pauses)
            self._handed_over |= left.keys()

    def _calls(self, now: float, window_s: float) -> list[Call]:
        known = (*self._seen, *self._own.values())
        return sorted(Call(ended - now, priority) for ended, priority in known if ended > now - window_s)


def has_room(calls: Sequence[Call], rooms: Sequence[Room]) -> bool:
    return all(sum(call.priority >= room.priority for call in calls) < room.calls for room in rooms)
