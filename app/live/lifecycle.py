"""The life of one server process. Its parts start in a fixed order, one event says that the process is stopping, and the parts
close in the reverse order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple


class Part(NamedTuple):
    """Something that runs or holds files. start: begins its work in the background; stop: hears that the process is stopping;
    close: ends the work and closes files."""

    name: str
    start: Callable[[], object] | None
    stop: Callable[[], object] | None
    close: Callable[[], object] | None


class Lifecycle:
    """Starts and closes the parts of a process. A part may use those that were added before it, until it is closed.

    stopping    set once the process is stopping: streams wait on it, `/readyz` shows it, and the follower ends
    is_leaving  whether the process is stopping or soon will be, so that balancers send it nothing new
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.is_leaving = False
        self._parts: list[Part] = []

    def add(
        self,
        name: str,
        *,
        start: Callable[[], object] | None = None,
        stop: Callable[[], object] | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        """Add a part, which starts after all others and closes before them."""
        self._parts.append(Part(name, start, stop, close))

    def names(self) -> list[str]:
        """The names of the parts in the order in which they start."""
        return [part.name for part in self._parts]

    def start(self) -> None:
        """Start every part. To be called once, after any fork."""
        for part in self._parts:
            if part.start is not None:
                part.start()

    def leave(self) -> None:
        """Say that the process will stop soon. All work goes on."""
        self.is_leaving = True

    def stop(self) -> None:
        """Say that the process is stopping. Requests in progress are answered as before."""
        self.leave()
        self.stopping.set()
        for part in self._parts:
            if part.stop is not None:
                part.stop()

    def close(self) -> None:
        """Stop, and close every part, the last one first. Each is closed even if another one raises; the error is raised at
        the end. A second call does nothing."""
        self.stop()
        parts, self._parts = self._parts, []
        with ExitStack() as stack:
            for part in parts:
                if part.close is not None:
                    stack.callback(part.close)
