"""One open WebSocket: everything to its client goes through an outbox, and what it sends is read in one greenlet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Final

import gevent

from serving.connection import Connection
from serving.link_bounds import Allowance, LinkBounds
from serving.outbox import Outbox, OutboxCounters
from serving.sockets import bound_send_buffer, unsent_by
from serving.websocket_frames import (
    Binary,
    Closed,
    IncomingMessages,
    Pinged,
    close_frame,
    frame_of,
    pong_frame,
    switching_protocols,
)

READ_BYTES: Final = 8 << 10
"""Of one read; little, since a client sends little."""

PAUSE_S: Final = 0.05
"""Between two reads of what a client sends after the last words, and between two looks at what it has not taken."""


class Ended(Exception):
    """The server ends the WebSocket for what its client does; the message is one of the reasons of `CODES`."""


class WebSocket:
    """A WebSocket over a connection of the worker.

    on_slow, on_drained  as an outbox calls them
    is_finishing         its last words are said, and it ends when the client agrees, or at `ends_at`
    """

    __slots__ = ("_allowance", "_bounds", "_connection", "_incoming", "_now", "ends_at", "is_finishing", "outbox")

    def __init__(
        self,
        connection: Connection,
        bounds: LinkBounds,
        counters: OutboxCounters,
        allowance: Allowance,
        on_slow: Callable[[object], None],
        on_drained: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._bounds = bounds
        self._allowance = allowance
        self._now = now
        self.is_finishing = False
        self.ends_at: float | None = None
        self._incoming = IncomingMessages(bounds.message_bytes)
        self.outbox = Outbox(
            connection.sock, counters, on_slow=on_slow, on_drained=on_drained, bounds=bounds.outbox, now=now
        )

    def open(self, key: str) -> None:
        """Answer the handshake."""
        sock = self._connection.sock
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound_send_buffer(sock, self._bounds.send_buffer)
        self._connection.send(switching_protocols(key))

    def send_text(self, text: str, key: Hashable | None = None) -> bool:
        return self.outbox.post(frame_of(text), key)

    def finish(self, last: bytes, code: int, reason: str) -> None:
        """Say the last words, close, and end within the bounds. A second call does nothing."""
        if self.is_finishing:
            return
        self.is_finishing = True
        self.ends_at = self._now() + self._bounds.outbox.finish_s + self._bounds.close_s
        self.outbox.finish(last + close_frame(code, reason))

    def drop(self) -> None:
        """End now: nothing more is sent, and whoever reads sees the end."""
        self.outbox.close()
        self._connection.drop()

    def end(self) -> None:
        """The reader has ended: send nothing more, and hold the descriptor no more."""
        self.outbox.close()
        if self.outbox.is_truncated:
            self._connection.drop()

    def linger(self) -> None:
        """Let the client take what the kernel holds for it, for a while; then it is discarded."""
        ends = self._now() + self._bounds.close_s
        while unsent_by(self._connection.sock) and not self._connection.is_dropped:
            if self._now() >= ends:
                self._connection.drop()
            gevent.sleep(PAUSE_S)

    def messages(self) -> Iterator[str]:
        """The texts that the client sends, until it or the server ends the WebSocket. Raises Ended."""
        while data := self._read():
            for item in self._incoming.feed(data):
                if isinstance(item, Closed):
                    self._close(item)
                    return
                if self.is_finishing:
                    continue
                if not self._allowance.spend():
                    raise Ended("too_many_messages")
                if isinstance(item, Pinged):
                    self.outbox.post(pong_frame(item.payload), "pong")
                elif isinstance(item, Binary):
                    raise Ended("invalid_message")
                elif item is not None:
                    yield item
            gevent.sleep(PAUSE_S if self.is_finishing else 0)

    def drain(self) -> None:
        """Read, and forget, what the client sends until it closes or its time is over: after the last words. Few reads, with
        pauses, so that one that sends without end costs next to nothing."""
        left_s = max(0.0, (self.ends_at or self._now()) - self._now())
        with gevent.Timeout(left_s, False), suppress(Ended):
            for _ in self.messages():
                pass

    def _read(self) -> bytes:
        try:
            data: bytes = self._connection.sock.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._connection.has_left = True
        return data

    def _close(self, closed: Closed) -> None:
        """The client closes, or sends what is no frame. A message that is too long has its own last words."""
        if self.is_finishing:
            return
        if closed.code == 1009:
            raise Ended("message_too_large")
        self.outbox.finish(close_frame(closed.code, closed.reason))
