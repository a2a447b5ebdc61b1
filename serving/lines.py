"""Connections that wait for a place, one after the other: nobody waits behind those of an address that holds its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent.lock import BoundedSemaphore

from serving.connections import Connections, Evictable


class Lines:
    """The lines of one room: one for each address that holds its share, and one for all others.

    The first ones of all lines take turns, so that many never come in at once, not even after a moment in which the server was
    busy.
    """

    def __init__(self, room: Connections) -> None:
        self._room = room
        self._turn = BoundedSemaphore(1)
        self._lines: dict[str | None, BoundedSemaphore] = {}
        self._waiting: Counter[str | None] = Counter()

    @staticmethod
    def most(room: Connections) -> int:
        """How many may wait in all: a quarter of the places in the common line, and as many in those of addresses together."""
        return 2 * (room.most // 4)

    def wait(self, connection: Evictable, place_s: float) -> bool:
        """Wait until the connection may take a place, which was then held for `place_s` at least. False: too many wait."""
        if self._room.rival(connection) is None:
            return True
        with self._joined(self._room.used_up_share(connection)) as line:
            if line is None:
                return False
            with line:
                gevent.sleep(self._room.held_for(connection, place_s))
                with self._turn:
                    gevent.sleep(self._room.spacing(connection))
                    return True

    @contextmanager
    def _joined(self, owner: str | None) -> Iterator[BoundedSemaphore | None]:
        waiting = self._waiting[None] if owner is None else self._waiting.total() - self._waiting[None]
        if waiting >= self._room.most // 4:
            yield None
            return
        self._waiting[owner] += 1
        try:
            yield self._lines.setdefault(owner, BoundedSemaphore(1))
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner], self._lines[owner]
