"""One client's connection, in place of its socket: what it does now, until when it may, and how it ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.socket import cancel_wait, wait, wait_write

from serving.bounds import Bounds
from serving.connections import Connections, State
from serving.pushed_stream import PushedStream
from serving.sockets import bound_send_buffer, reset, unsent_by

AT_ONCE = 64 << 10
LINGER_PAUSE_S = 0.05
"""Between two looks at a connection that lingers, and between two reads of what its client still sends."""

PACE_S = 0.5
"""Between two looks at how much a client that is behind has taken."""

SIZED = b"\r\nContent-Length: "


class Elapsed(Exception):
    """A wait is over: by time, or because the deadline moved."""


class Connection:
    """A socket with a state and a deadline.

    `receive` waits until the deadline of the state. `sendall` joins the head of an answer of known length with its first
    bytes, so that both leave in one packet; any other head (a stream's, one without a body) goes out at once. A client that
    does not read is dropped, counted as `write_timeout`, and `sendall` raises ConnectionAbortedError. Everything else is the
    socket's own, which never blocks until the protocol is changed.

    state         see `serving.connections.State`
    deadline      monotonic seconds: READING and IDLE end then
    reason        why the server ends the connection, if its client is to blame
    bounds        the stopping server puts others in their place
    is_in_app     the app is at work on its request, though it may wait for the rest of it
    is_evicted    it ended to make room for another
    is_dropped    it ended at once, whatever its client has not taken
    has_left      the client has ended its side
    has_answered  something was written
    is_streaming  the answer under way has no known length, or is another protocol
    is_switched   the client speaks another protocol now (a WebSocket)
    pushed        what others post to the answer under way
    pace          how fast the client takes what is written
    """

    is_in_app = is_evicted = is_dropped = has_left = has_answered = is_streaming = is_switched = False

    def __init__(
        self,
        sock: Any,
        address: str,
        bounds: Bounds,
        connections: Connections,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sock, self.address, self.bounds = sock, address, bounds
        self.state = State.READING
        self.deadline: float = now() + bounds.head_s
        self.reason: str | None = None
        self.pushed: PushedStream | None = None
        self._connections = connections
        self._now = now
        self._head: bytes | None = None
        self._is_begun = False
        self.pace = Pace(now)
        self._readable = gevent.get_hub().loop.io(sock.fileno(), 1)
        sock.settimeout(0.0)
        bound_send_buffer(sock, bounds.send_buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def admit_to(self, connections: Connections) -> bool:
        """Enter these connections from now on; False: there is no room."""
        self._connections = connections
        self.deadline = self._now() + self.bounds.head_s
        return connections.enter(self)

    def become(self, state: State, seconds: float | None = None) -> None:
        """Change the state. seconds: until the deadline."""
        self._connections.move(self, state)
        if seconds is not None:
            self.deadline = self._now() + seconds

    def blame(self, reason: str) -> None:
        """The server ends the connection for what its client does (`serving.connections.REASONS`)."""
        self._connections.blame(self, reason)

    def hurry(self, bounds: Bounds) -> None:
        """The server stops: a request has these bounds from now on, and no further one is waited for."""
        self.bounds = bounds
        seconds = 0.0 if self.state is State.IDLE else bounds.drop_s
        self.deadline = min(self.deadline, self._now() + seconds)
        cancel_wait(self._readable, Elapsed)

    def receive(self, size: int) -> bytes | None:
        """Bytes that arrive before the deadline, or are here already; none where the client ended its side; None: too late."""
        while True:
            try:
                data: bytes = self.sock.recv(size)
            except BlockingIOError:
                left = self.deadline - self._now()
                if left <= 0:
                    return None
                with suppress(Elapsed):
                    wait(self._readable, left, Elapsed)
                continue
            if not data:
                self.has_left = True
            return data

    def begin(self) -> None:
        """The next thing written is the head of an answer."""
        self._is_begun, self._head, self.is_streaming = False, None, False

    def sendall(self, data: bytes) -> None:
        if self._is_begun:
            head, self._head = self._head, None
            self.transmit(data if head is None else head + data)
            return
        self._is_begun = True
        if SIZED in data:
            self._head = data
        else:
            self.is_streaming = True
            self.transmit(data)

    def flush(self) -> None:
        """Send a head that no bytes came after."""
        head, self._head = self._head, None
        if head is not None:
            self.transmit(head)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Bytes of another protocol, its 101 first. Whoever sends them also reads by itself, and waits as long as it likes."""
        if not self.is_switched:
            self.is_switched = self.is_streaming = True
            self._connections.switch(self)
            self.sock.settimeout(None)
        self.transmit(data)
        return len(data)

    def transmit(self, data: bytes) -> None:
        """Send without an answer's form. Raises ConnectionAbortedError if the client does not take it."""
        self.has_answered = True
        if self.pace.is_behind:
            if unsent_by(self.sock) <= self.bounds.backlog:
                self.pace.is_behind = False
            else:
                self._hold_to_pace()
        sent = self._send(data)
        if sent < len(data):
            self._transmit_rest(memoryview(data)[sent:])

    def _transmit_rest(self, rest: memoryview) -> None:
        """What the client did not take at once."""
        before = self.state
        self.become(State.WRITING)
        self.pace.fall_behind(unsent_by(self.sock))
        try:
            while rest:
                with suppress(Elapsed):
                    wait_write(self.sock.fileno(), min(PACE_S, self.bounds.write_s / 2), Elapsed)
                self._hold_to_pace()
                rest = rest[self._send(rest) :]
        finally:
            self.become(before)

    def _send(self, data: bytes | memoryview) -> int:
        try:
            sent: int = self.sock.send(data, 0, 0.0)
        except BlockingIOError:
            return 0
        self.pace.written += sent
        return sent

    def push(self, on_drained: Callable[[], None], on_end: Callable[[], None], seconds: float) -> PushedStream:
        """Let others post the rest of the answer under way until the stream is closed, for so many seconds at most."""
        return PushedStream(self, self._connections.pushed, on_drained, on_end, self._now() + seconds)

    def _hold_to_pace(self) -> None:
        if self.pace.is_kept(unsent_by(self.sock), self.bounds):
            return
        self.blame("write_timeout")
        self.drop()
        raise ConnectionAbortedError("the client does not read its answer")

    def evict(self) -> None:
        """End the connection where it waits. The kernel does not go on sending for it."""
        self.is_evicted = True
        if unsent_by(self.sock):
            self.drop()
        else:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def stop_reading(self) -> None:
        """Nothing more is read; whoever waits for bytes sees the end."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def drop(self) -> None:
        """End the connection now; what the client has not taken is discarded, so that the kernel does not keep it."""
        self.is_dropped = True
        reset(self.sock)

    def end(self) -> None:
        """Close the connection, in order where an answer was given."""
        try:
            is_over = self.state is State.IDLE and not unsent_by(self.sock)
            if self.has_answered and not (is_over or self.is_evicted or self.is_dropped):
                with suppress(OSError):
                    self._linger()
        finally:
            self._connections.leave(self)
            self.close()

    def _linger(self) -> None:
        """Half-close, and discard what arrives until the client ends the connection, so that it can read its answer instead
        of a reset (RFC 9112, 9.6): while it takes the answer, and `linger_s` longer. Few reads, with pauses, cost little."""
        self.become(State.LINGERING)
        self.sock.settimeout(0.0)
        self.sock.shutdown(socket.SHUT_WR)
        began, most, bounds = self._now(), unsent_by(self.sock), self.bounds
        ends = began + self.bounds.linger_s
        while (now := self._now()) < ends:
            began, bounds = (began if bounds is self.bounds else now), self.bounds  # anew where the server stops
            if unsent := unsent_by(self.sock):
                ends = min(now + bounds.linger_s, began + bounds.taking_s(most))
            elif self.has_left:
                return
            self.deadline = min(ends, now + LINGER_PAUSE_S) if unsent else ends
            if self.has_left or self.receive(AT_ONCE):
                gevent.sleep(LINGER_PAUSE_S)
        if unsent_by(self.sock):
            self.blame("write_timeout")
            self.drop()

    def close(self) -> None:
        self._readable.close()
        with suppress(OSError):
            self.sock.close()


def may_switch(connection: Connection) -> bool:
    """Whether there is room for one more connection of another protocol, which can never be asked to make room."""
    return connection._connections.may_switch(connection)


class Pace:
    """How fast a client takes what is written to it, from the moment at which the kernel takes no more for it until little is
    left. The budget is the connection's: asking for more does not renew it.

    written    bytes that the kernel took
    is_behind  the client has not caught up
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.written = 0
        self.is_behind = False
        self._now = now
        self._began = self._moved = 0.0
        self._taken = self._taken_then = 0

    def fall_behind(self, unsent: int) -> None:
        """The kernel takes no more. Does nothing if the client is behind already."""
        if not self.is_behind:
            self.is_behind = True
            self._began = self._moved = self._now()
            self._taken = self._taken_then = self.written - unsent

    def is_kept(self, unsent: int, bounds: Bounds) -> bool:
        """Whether the client took something in the last `write_s`, and `write_rate` beyond that."""
        now, taken = self._now(), self.written - unsent
        if taken > self._taken:
            self._taken, self._moved = taken, now
        allowed_s = bounds.write_s + (taken - self._taken_then) / bounds.write_rate
        return now - self._moved <= bounds.write_s and now - self._began <= allowed_s
