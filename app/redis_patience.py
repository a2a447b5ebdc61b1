"""Time-outs of Redis that are Redis' own. A process that stands still for longer than a time-out, because it computes or others
have the processor, finds the time over and the answer there, and takes the answer."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, LifoQueue
from ssl import SSLWantReadError
from typing import Any, Final

from app.clock import REAL_TIME

MOST_WAITS: Final = 10
LATE: Final = 1.2
"""Of a wait's time: whoever wakes later than that was kept from running."""


class PatientSocket:
    """A socket that looks once more, when the time is over, for what has come."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def recv(self, *arguments: Any) -> Any:
        return self._read(self._sock.recv, *arguments)

    def recv_into(self, *arguments: Any) -> Any:
        return self._read(self._sock.recv_into, *arguments)

    def _read(self, read: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except TimeoutError as late:
            waits_s = self._sock.gettimeout()
            self._sock.settimeout(0)
            try:
                return read(*arguments)
            except (BlockingIOError, SSLWantReadError):
                raise late from None
            finally:
                self._sock.settimeout(waits_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def patient(connection: Any) -> Any:
    """A class of connections to Redis with patient sockets."""

    class Patient(connection):  # type: ignore[misc]
        def _connect(self) -> PatientSocket:
            return PatientSocket(super()._connect())

    return Patient


class PatientQueue(LifoQueue[Any]):
    """The connections of a pool. A wait that ends late passed while the process stood still, and with it all who have one: it
    is begun anew, so often at most. The first that ends in time is followed by one more."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        for _ in range(MOST_WAITS):
            began = REAL_TIME.now()
            try:
                return super().get(block, timeout)
            except Empty:
                if not block or timeout is None or REAL_TIME.now() - began < LATE * timeout:
                    break
        return super().get(block, timeout)
