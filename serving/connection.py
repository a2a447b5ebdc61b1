"""One client's connection, in place of its socket: what the worker writes goes out in few packets and within a deadline."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import gevent

from serving.bounds import Bounds

AT_ONCE = 64 << 10
LINGER_PAUSE_S = 0.05
RESET = struct.pack("ii", 1, 0)
SIZED = b"\r\nContent-Length: "


class Connection:
    """A socket whose `sendall` joins the head of an answer of known length with its first bytes, so that both leave in one
    packet; any other head (a stream's, one without a body) goes out at once.

    A client that does not read is dropped: `closed["write_timeout"]` counts it, and `sendall` raises
    ConnectionAbortedError. Everything else is the socket's own.

    is_streaming  the answer under way has no known length, or the client speaks another protocol now (a WebSocket)
    is_writing    bytes wait for the client to take them
    """

    def __init__(
        self, sock: Any, address: str, bounds: Bounds, closed: Counter[tuple[str, ...]], now: Any = time.monotonic
    ) -> None:
        self.sock = sock
        self.address = address
        self.is_streaming = False
        self.is_writing = False
        self._head: bytes | None = None
        self._is_begun = False
        self._bounds = bounds
        self._closed = closed
        self._now = now
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.send_buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def begin(self, *, streaming: bool = False) -> None:
        """The next thing written is the head of an answer. streaming: the client may change the protocol, which then has
        time-outs of its own."""
        self._is_begun, self._head, self.is_streaming = False, None, streaming
        if streaming:
            self.sock.settimeout(None)

    def sendall(self, data: bytes) -> None:
        if self._is_begun:
            head, self._head = self._head, None
            self._transmit(data if head is None else head + data)
            return
        self._is_begun = True
        if SIZED in data:
            self._head = data
        else:
            self.is_streaming = True
            self._transmit(data)

    def flush(self) -> None:
        """Send a head that no bytes came after."""
        head, self._head = self._head, None
        if head is not None:
            self._transmit(head)

    def _transmit(self, data: bytes) -> None:
        self.sock.settimeout(self._bounds.write_s)
        self.is_writing = True
        try:
            sent = self.sock.send(data)
            if sent < len(data):
                self._transmit_rest(memoryview(data)[sent:])
        except TimeoutError:
            raise self._too_slow() from None
        finally:
            self.is_writing = False

    def _transmit_rest(self, rest: memoryview) -> None:
        """What the client did not take at once: each part in `write_s`, the whole at `write_rate`."""
        ends = self._now() + self._bounds.write_s + len(rest) / self._bounds.write_rate
        while rest:
            left = ends - self._now()
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(min(left, self._bounds.write_s))
            rest = rest[self.sock.send(rest) :]

    def _too_slow(self) -> ConnectionAbortedError:
        self._closed["write_timeout",] += 1
        self.drop()
        return ConnectionAbortedError("the client does not read its answer")

    def evict(self) -> None:
        """End the connection while it waits for a request."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def stop_reading(self) -> None:
        """Nothing more is read; whoever waits for bytes sees the end."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def drop(self) -> None:
        """End the connection now; what the client has not taken is discarded, so that the kernel does not keep it."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.sock.shutdown(socket.SHUT_RDWR)

    def linger(self) -> None:
        """Half-close, and discard what still arrives for a short while, so that the client can read its answer instead of a
        reset (RFC 9112, 9.6). Few reads, with pauses: a client that sends without end costs next to nothing."""
        ends = self._now() + self._bounds.linger_s
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            for _ in range(self._bounds.linger_reads):
                left = ends - self._now()
                if left <= 0:
                    return
                self.sock.settimeout(left)
                if not self.sock.recv(AT_ONCE):
                    return
                gevent.sleep(min(left, LINGER_PAUSE_S))
            gevent.sleep(max(0.0, ends - self._now()))

    def close(self) -> None:
        with suppress(OSError):
            self.sock.close()
