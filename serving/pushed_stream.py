"""The rest of a streamed answer that others post, while the greenlet of its request waits."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gevent.event import Event

from serving.bounds import Bounds
from serving.connections import State
from serving.outbox import Outbox, OutboxBounds, OutboxCounters, Slow
from serving.sockets import bound_send_buffer

if TYPE_CHECKING:
    from serving.connection import Connection

SEND_BUFFER: Final = 16 << 10
"""What the kernel keeps for a client that does not read; Linux doubles it."""

UNREPLACED: Final = 16 << 10
"""Bytes that wait before newer pieces replace older ones: a client that reads gets every piece of a burst."""


@lru_cache(maxsize=8)
def bounds_of(bounds: Bounds) -> OutboxBounds:
    """What a client may leave waiting whose connection has these bounds."""
    return OutboxBounds(unreplaced=UNREPLACED, stalled_s=bounds.write_s, finish_s=bounds.drop_s)


class PushedStream:
    """Pieces of the answer under way on a connection, posted from any greenlet. Nothing else may be sent over the connection
    until `close`.

    on_drained()  everything that waited has been sent
    on_end()      the client is too slow, or has left: nothing more is accepted

    until     monotonic seconds: the answer goes on then
    is_awake  the answer is to go on now
    """

    __slots__ = ("_connection", "_finished", "_on_drained", "_on_end", "_on_wake", "_outbox", "is_awake", "until")

    def __init__(
        self,
        connection: Connection,
        counters: OutboxCounters,
        on_drained: Callable[[], None],
        on_end: Callable[[], None],
        until: float,
    ) -> None:
        self.until = until
        self.is_awake = False
        self._on_wake: Callable[[], None] | None = None
        self._connection = connection
        self._on_drained = on_drained
        self._on_end = on_end
        self._finished: Event | None = None
        self._outbox = Outbox(
            connection.sock,
            counters,
            on_slow=self._slow,
            on_drained=self._drained,
            on_over=self._over,
            bounds=bounds_of(connection.bounds),
        )
        bound_send_buffer(connection.sock, SEND_BUFFER)
        connection.pushed = self

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for the client."""
        return self._outbox.is_blocked

    def park(self, on_wake: Callable[[], None]) -> None:
        """The answer has no greenlet from now on. `on_wake()` is called once it is to go on."""
        self._on_wake = on_wake

    def wake(self) -> None:
        """Let the answer go on."""
        self.is_awake = True
        on_wake, self._on_wake = self._on_wake, None
        if on_wake is not None:
            on_wake()

    def post(self, data: bytes, key: Hashable | None = None) -> bool:
        """Send a piece behind those before it, without waiting. Returns False where a piece is lost to the client
        (`serving.outbox.Outbox.post`)."""
        is_kept = self._outbox.post(data, key)
        if self._outbox.is_blocked and self._connection.state is not State.WRITING:
            self._connection.become(State.WRITING)
        return is_kept

    def finish(self) -> bool:
        """Accept nothing more, and wait until what waits has been sent, for `Bounds.drop_s` at most. Returns whether
        every piece was sent that was not replaced."""
        if not self._outbox.is_over:
            self._finished = Event()
            self._outbox.finish()
            self._finished.wait()
        if self._outbox.is_truncated and not self._outbox.is_broken:
            self._connection.blame("write_timeout")
        return not self._outbox.has_discarded

    def close(self) -> None:
        """The answer goes on by itself. Where a piece was begun and not sent whole it cannot, and the connection is dropped."""
        connection = self._connection
        self._outbox.close()
        connection.pushed = None
        connection.pace.written += self._outbox.written
        connection.become(State.ANSWERING)
        bound_send_buffer(connection.sock, connection.bounds.send_buffer)
        if self._outbox.is_truncated:
            connection.drop()

    def _drained(self) -> None:
        self._connection.become(State.ANSWERING)
        self._on_drained()

    def _slow(self, reason: Slow) -> None:
        self._end()

    def _over(self) -> None:
        if self._finished is None:
            self._end()
        else:
            self._finished.set()

    def _end(self) -> None:
        self._on_end()
        self.wake()
