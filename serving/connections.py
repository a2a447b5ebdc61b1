"""The connections of one process: how many there may be, and which one is closed where there is no more room.

A connection that waits (for the rest of a request, or for the next one) can be closed without breaking an answer. So a new
connection finds room as long as any other waits: among those of its own address first where that address holds its share,
else among all, incomplete requests before idle connections and the one that waited longest first. Only where every
connection is in the middle of an answer, the new one is refused.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol


class Evictable(Protocol):
    """A connection (`serving.connection.Connection`)."""

    @property
    def address(self) -> str: ...

    def evict(self) -> None:
        """End it from outside."""


Waiting = OrderedDict[Evictable, None]


class Connections:
    """All connections of this process.

    most             of all addresses; `limit` lowers it where the system allows fewer open files
    most_of_address  of one address, None: no bound of its own
    counts_as        whose share a connection from an address counts against; None: nobody's (proxies)
    closed           how many the server ended, by reason
    """

    def __init__(self, most: int, most_of_address: int | None, counts_as: Callable[[str], str | None]) -> None:
        self.most = most
        self._most_of_address = most_of_address
        self._counts_as = counts_as
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

    def enter(self, connection: Evictable) -> bool:
        """Count a new connection in, which then waits for its first request; False: there is no room for it."""
        owner = None if self._most_of_address is None else self._counts_as(connection.address)
        if owner is not None and self._held[owner] >= (self._most_of_address or 0) and not self._evict_of(owner):
            return self._refuse()
        if len(self._open) >= self.most and not self._evict_any():
            return self._refuse()
        self._open[connection] = owner
        self._incomplete[connection] = None
        if owner is not None:
            self._held[owner] += 1
            self._waiting_of.setdefault(owner, OrderedDict())[connection] = None
        return True

    def wait(self, connection: Evictable) -> None:
        """Its answer is out: it waits for the next request."""
        if connection not in self._open:
            return
        self._idle[connection] = None
        owner = self._open[connection]
        if owner is not None:
            self._waiting_of[owner][connection] = None

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

    def _refuse(self) -> bool:
        self.closed["refused",] += 1
        return False

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
