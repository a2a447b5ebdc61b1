"""Work that many clients cause at once, done for one after the other, with turns for everything else in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

import gevent
from gevent.lock import BoundedSemaphore

TURN_S: Final = 0.001
"""How long the work goes on before all else has a turn."""


def give_way() -> None:
    """Let all other work have a turn, requests that have just come in included.

    `gevent.sleep(0)` gives them none: up to 50 greenlets that can go on do so before the event loop looks at its sockets again.
    What waits with the highest priority for an idle loop goes on after that look, which neither waits for sockets nor can be
    put off by busy ones.
    """
    gevent.idle(gevent.get_hub().loop.MAXPRI)


class Turns:
    """A context manager around the work for one client."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._one = BoundedSemaphore()
        self._began = now()

    def __enter__(self) -> None:
        self._one.acquire()
        try:
            if self._now() - self._began >= TURN_S:
                give_way()
                self._began = self._now()
        except BaseException:
            self._one.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._one.release()

    def wait(self) -> None:
        """Until it is the turn of work that follows and ends before the next look at the sockets."""
        with self:
            pass
