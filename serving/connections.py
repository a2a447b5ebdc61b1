"""The connections of one process: how many there may be, and which one is closed where there is no more room.

A connection is in one of five states (`State`). In four of them it waits for its client and can be closed. So a new connection
finds room as long as any other waits: among those of its own address first where that address holds its share, else among all,
in the order of `EVICTABLE` and the one that waited longest first. Only where every connection is in the middle of an answer,
there is no room. A connection keeps its place for a moment before another may take it (`held_for`): a client that opens
connections anew as fast as they are closed costs the others next to nothing.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, Protocol

from serving.outbox import OutboxCounters

SPACING_S = 0.004
"""Before a connection takes the place of another. Those that wait do so one after the other, so that they never come in at
once, not even after a moment in which the server was busy."""

APP_SPACING_S = 0.016
"""The same where the other's request is in the app, which then ends it with all that belongs to an answer."""

REASONS = (
    "head_timeout",
    "body_timeout",
    "body_bounds",
    "body_unread",
    "unreadable",
    "write_timeout",
    "evicted",
    "refused",
)
"""Why the server ends a connection for what its client does, or does not let it in."""


class State(Enum):
    """What a connection does.

    READING    its request is on its way: the head of the first one, a head of which a part came, or a body
    LINGERING  its last answer is out, and the server waits for the client to end the connection
    IDLE       its answer is out, and the next request has not begun
    WRITING    its client does not take the answer as fast as it is written
    ANSWERING  the server is at work on its answer
    """

    READING = auto()
    LINGERING = auto()
    IDLE = auto()
    WRITING = auto()
    ANSWERING = auto()


EVICTABLE: Final = (State.READING, State.LINGERING, State.IDLE, State.WRITING)
"""The states in which a connection can be closed. The first ones lose least: WRITING loses an answer."""


def most_switched(places: int) -> int:
    """How many of so many places may be held by connections of another protocol; one at least."""
    return max(1, places - max(1, places // 8))


class Evictable(Protocol):
    """A connection (`serving.connection.Connection`). reason: why the server ends it, one of REASONS. is_in_app: the app is at
    work on its request, though it may wait for the rest of it."""

    state: State
    reason: str | None
    is_in_app: bool

    @property
    def address(self) -> str: ...

    def evict(self) -> None:
        """End it from outside."""


class Waiting:
    """Connections that wait for their clients, by state; in each state the one that waited longest is the first."""

    def __init__(self) -> None:
        self._queues: dict[State, OrderedDict[Evictable, float]] = {state: OrderedDict() for state in EVICTABLE}

    def move(self, connection: Evictable, state: State, now: float) -> None:
        """The connection changes from the state that it has to `state`."""
        self.remove(connection)
        if state in self._queues:
            self._queues[state][connection] = now

    def remove(self, connection: Evictable) -> None:
        queue = self._queues.get(connection.state)
        if queue is not None:
            queue.pop(connection, None)

    def first(self) -> tuple[Evictable, float] | None:
        """The connection to be evicted, and since when it waits; None: none waits."""
        for queue in self._queues.values():
            if queue:
                return next(iter(queue.items()))
        return None


class Connections:
    """The connections of this process, or those of a part of them with room of its own (`beside`).

    most             of all addresses; `limit` lowers it where the system allows fewer open files
    most_of_address  of one address, None: no bound of its own
    counts_as        whose share a connection from an address counts against; None: nobody's (proxies)
    now              seconds, monotonic
    evicted_as       the reason that is counted for a connection which makes room
    closed           how many the server ended, by reason
    pushed           what their pushed streams did (`serving.pushed_stream`)
    """

    def __init__(
        self,
        most: int,
        most_of_address: int | None,
        counts_as: Callable[[str], str | None],
        now: Callable[[], float] = time.monotonic,
        evicted_as: str = "evicted",
    ) -> None:
        self.most = most
        self._most_of_address = most_of_address
        self._counts_as = counts_as
        self._now = now
        self._evicted_as = evicted_as
        self._open: dict[Evictable, str | None] = {}
        self._waiting = Waiting()
        self._waiting_of: dict[str, Waiting] = {}
        self._held: Counter[str] = Counter()
        self._switched: dict[Evictable, str | None] = {}
        self._switched_of: Counter[str | None] = Counter()
        self._beside: list[Connections] = []
        self.closed: Counter[tuple[str, ...]] = Counter()
        self.pushed = OutboxCounters()

    def beside(self, most: int, evicted_as: str = "evicted") -> Connections:
        """Room for other connections of any address, which are counted together with these."""
        other = Connections(most, None, self._counts_as, self._now, evicted_as)
        other.closed, other.pushed = self.closed, self.pushed
        self._beside.append(other)
        return other

    def __len__(self) -> int:
        return len(self._open) + sum(map(len, self._beside))

    def __iter__(self) -> Iterator[Evictable]:
        yield from list(self._open)
        for other in self._beside:
            yield from other

    def limit(self, most: int) -> None:
        """Hold at most so many, if that is fewer."""
        self.most = max(1, min(self.most, most))

    def used_up_share(self, connection: Evictable) -> str | None:
        """The address whose share the connection counts against, if that is used up; None: it may take any place."""
        owner = self._owner_of(connection)
        return owner if self._is_at_share(owner) else None

    def rival(self, connection: Evictable) -> tuple[Evictable, float] | None:
        """The connection whose place a new one would take, and since when it waits; None where there is room, and where none
        waits whose place could be taken."""
        owner = self.used_up_share(connection)
        if owner is not None:
            return self._waiting_of[owner].first()
        return self._waiting.first() if len(self._open) >= self.most else None

    def held_for(self, connection: Evictable, place_s: float) -> float:
        """Seconds until the place that a new connection would take was held for `place_s`."""
        rival = self.rival(connection)
        return 0.0 if rival is None else max(0.0, rival[1] + place_s - self._now())

    def spacing(self, connection: Evictable) -> float:
        """Seconds before a new connection takes the place of another: what the other's end costs."""
        rival = self.rival(connection)
        if rival is None:
            return 0.0
        return APP_SPACING_S if rival[0].is_in_app else SPACING_S

    def enter(self, connection: Evictable) -> bool:
        """Take a new connection in, which then waits for its first request; False: there is no room for it."""
        owner = self._owner_of(connection)
        if owner is not None and self._is_at_share(owner) and not self._evict(self._waiting_of[owner]):
            return False
        if len(self._open) >= self.most and not self._evict(self._waiting):
            return False
        self._open[connection] = owner
        if owner is not None:
            self._held[owner] += 1
            self._waiting_of.setdefault(owner, Waiting())
        self.move(connection, State.READING)
        return True

    def move(self, connection: Evictable, state: State) -> None:
        """The connection changes its state, and waits in the new one from now on."""
        if connection in self._open:
            now, owner = self._now(), self._open[connection]
            self._waiting.move(connection, state, now)
            if owner is not None:
                self._waiting_of[owner].move(connection, state, now)
        connection.state = state

    def leave(self, connection: Evictable) -> None:
        """It is over; again does nothing."""
        if connection not in self._open:
            return
        owner = self._open.pop(connection)
        if connection in self._switched:
            self._forget_switched(connection)
        self._waiting.remove(connection)
        if owner is not None:
            self._waiting_of[owner].remove(connection)
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner], self._waiting_of[owner]

    def may_switch(self, connection: Evictable) -> bool:
        """Whether one more connection may change to another protocol (a WebSocket). It then waits for nothing and can never be
        evicted, so that an eighth of the places, and of the share of its address, is kept for requests."""
        owner = self._open.get(connection)
        share = self._most_of_address
        is_within = owner is None or share is None or self._switched_of[owner] < most_switched(share)
        return is_within and self._switched_of.total() < most_switched(self.most)

    def switch(self, connection: Evictable) -> None:
        """The connection speaks another protocol until it leaves."""
        self._switched[connection] = owner = self._open.get(connection)
        self._switched_of[owner] += 1

    @property
    def switched(self) -> int:
        """How many speak another protocol."""
        return len(self._switched)

    def blame(self, connection: Evictable, reason: str) -> None:
        """Count why the server ends a connection. Each is counted once, by the first reason."""
        if connection.reason is None:
            connection.reason = reason
            self.closed[reason,] += 1

    def _forget_switched(self, connection: Evictable) -> None:
        owner = self._switched.pop(connection)
        self._switched_of[owner] -= 1
        if not self._switched_of[owner]:
            del self._switched_of[owner]

    def _owner_of(self, connection: Evictable) -> str | None:
        return None if self._most_of_address is None else self._counts_as(connection.address)

    def _is_at_share(self, owner: str | None) -> bool:
        share = self._most_of_address
        return owner is not None and share is not None and self._held[owner] >= share

    def _evict(self, waiting: Waiting) -> bool:
        """Close the first one; False: none waits."""
        first = waiting.first()
        if first is None:
            return False
        connection, _ = first
        self.leave(connection)
        self.blame(connection, self._evicted_as)
        connection.evict()
        return True
