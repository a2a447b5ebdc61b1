"""Work that many clients cause at once, done for one after the other, with turns for everything else in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

import gevent
from gevent.lock import BoundedSemaphore

TURN_S: Final = 0.005
"""How long the work goes on before all else has a turn."""


class Turns:
    """A context manager around the work for one client."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._one = BoundedSemaphore()
        self._began = now()

    def __enter__(self) -> None:
        self._one.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._now() - self._began >= TURN_S:
                gevent.sleep(0)
                self._began = self._now()
        finally:
            self._one.release()
