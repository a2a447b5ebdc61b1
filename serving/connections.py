"""The connections of one process: how many there may be, and which one is closed where there is no more room.

A connection that waits (for the rest of a request, or for the next one) can be closed without breaking an answer. So a new
connection finds room as long as any other waits: among those of its own address first where that address holds its share,
else among all, incomplete requests before idle connections and the one that waited longest first. Only where every
connection is in the middle of an answer, the new one is refused. A connection keeps its place for a moment before another
may take it (`delay`): a client that opens connections anew as fast as they are closed costs the others next to nothing.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

SPACING_S = 0.004
"""Between two connections that take the places of others, so that many which wait for one do not come in at once."""

REASONS = ("head_timeout", "body_timeout", "body_bounds", "body_unread", "write_timeout", "evicted", "refused")
"""Why the server ends a connection for what its client does, or does not let it in."""


class Evictable(Protocol):
    """A connection (`serving.connection.Connection`)."""

    @property
    def address(self) -> str: ...

    def evict(self) -> None:
        """End it from outside."""


Waiting = OrderedDict[Evictable, float]
"""Connections that wait, the one that waited longest first, and since when."""


class Connections:
    """All connections of this process.

    most             of all addresses; `limit` lowers it where the system allows fewer open files
    most_of_address  of one address, None: no bound of its own
    counts_as        whose share a connection from an address counts against; None: nobody's (proxies)
    now              seconds, monotonic
    closed           how many the server ended, by reason
    """

    def __init__(
        self,
        most: int,
        most_of_address: int | None,
        counts_as: Callable[[str], str | None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._most_of_address = most_of_address
        self._counts_as = counts_as
        self._now = now
        self._delayed = 0
        self._next_place = 0.0
        self._open: dict[Evictable, str | None] = {}
        self._incomplete: Waiting = OrderedDict()
        self._idle: Waiting = OrderedDict()
        self._waiting_of: dict[str, Waiting] = {}
        self._held: Counter[str] = Counter()
        self.closed: Counter[tuple[str, ...]] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def limit(self, most: int) -> None:
        """Hold at most so many, if that is fewer."""
        self.most = max(1, min(self.most, most))

    @property
    def most_delayed(self) -> int:
        """How many connections may wait for a place."""
        return self.most // 4

    def delay(self, connection: Evictable, place_s: float) -> float:
        """Seconds until a new connection may take the place of another, each of which is kept for `place_s`; 0 where there is
        room, and where none waits whose place could be taken."""
        owner = self._owner_of(connection)
        if owner is not None and self._is_at_share(owner):
            waiting = self._waiting_of[owner]
        elif len(self._open) >= self.most:
            waiting = self._incomplete or self._idle
        else:
            return 0.0
        since = next(iter(waiting.values()), None)
        if since is None:
            return 0.0
        self._next_place = max(self._next_place + SPACING_S, since + place_s, self._now())
        return self._next_place - self._now()

    @contextmanager
    def delayed(self) -> Iterator[bool]:
        """A connection waits for a place inside the block; False: too many do."""
        if self._delayed >= self.most_delayed:
            yield False
            return
        self._delayed += 1
        try:
            yield True
        finally:
            self._delayed -= 1

    def enter(self, connection: Evictable) -> bool:
        """Count a new connection in, which then waits for its first request; False: there is no room for it."""
        owner = self._owner_of(connection)
        if owner is not None and self._is_at_share(owner) and not self._evict_of(owner):
            return self.refuse()
        if len(self._open) >= self.most and not self._evict_any():
            return self.refuse()
        self._open[connection] = owner
        self._incomplete[connection] = self._now()
        if owner is not None:
            self._held[owner] += 1
            self._waiting_of.setdefault(owner, OrderedDict())[connection] = self._now()
        return True

    def wait(self, connection: Evictable) -> None:
        """Its answer is out: it waits for the next request."""
        if connection not in self._open:
            return
        self._idle[connection] = self._now()
        owner = self._open[connection]
        if owner is not None:
            self._waiting_of[owner][connection] = self._now()

    def serve(self, connection: Evictable) -> None:
        """Its request is complete: from now on it cannot be evicted."""
        self._incomplete.pop(connection, None)
        self._idle.pop(connection, None)
        owner = self._open.get(connection)
        if owner is not None:
            self._waiting_of[owner].pop(connection, None)

    def leave(self, connection: Evictable) -> None:
        """It is over; again does nothing."""
        if connection not in self._open:
            return
        self.serve(connection)
        owner = self._open.pop(connection)
        if owner is not None:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner], self._waiting_of[owner]

    def waiting(self) -> list[Evictable]:
        """Those that wait for a request, complete or not."""
        return [*self._incomplete, *self._idle]

    def refuse(self) -> bool:
        """Count a connection that found no room."""
        self.closed["refused",] += 1
        return False

    def _owner_of(self, connection: Evictable) -> str | None:
        return None if self._most_of_address is None else self._counts_as(connection.address)

    def _is_at_share(self, owner: str | None) -> bool:
        share = self._most_of_address
        return owner is not None and share is not None and self._held[owner] >= share

    def _evict_of(self, owner: str) -> bool:
        return self._evict(self._waiting_of[owner])

    def _evict_any(self) -> bool:
        return self._evict(self._incomplete) or self._evict(self._idle)

    def _evict(self, waiting: Waiting) -> bool:
        """Close the one that waited longest; False: none waits."""
        oldest = next(iter(waiting), None)
        if oldest is None:
            return False
        self.leave(oldest)
        self.closed["evicted",] += 1
        oldest.evict()
        return True
