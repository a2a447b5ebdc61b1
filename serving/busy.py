"""The requests that a worker has given to the app, and what is done to them from outside."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Protocol

import gevent

from serving.connection import Connection
from serving.connections import State
from serving.parking import ParkedAnswer

WATCH_S: Final = 0.5
"""How often it is seen whether the client of a stream has left."""


class Request(Protocol):
    """A request (`serving.reading.BoundedRequest`), or in its place what is left of it (`ParkedAnswer`)."""

    def force_close(self) -> None: ...
    def is_read(self) -> bool: ...


class Busy:
    """The requests under way by connection, each with what serves it: a greenlet, or an answer without one."""

    def __init__(self) -> None:
        self._served: dict[Connection, tuple[Request, gevent.Greenlet | ParkedAnswer]] = {}

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._served

    def enter(self, connection: Connection, req: Request) -> None:
        """The app is at work on a request, in this greenlet."""
        self._served[connection] = req, gevent.getcurrent()
        connection.is_in_app = True

    def leave(self, connection: Connection) -> None:
        """The app has answered, or has left the answer to others."""
        with suppress(OSError):  # the client left
            connection.flush()
        connection.is_in_app = False
        req, _ = self._served.pop(connection)
        if not req.is_read() and not connection.has_left:
            connection.blame("body_unread")

    def park(self, parked: ParkedAnswer) -> None:
        """The answer has no greenlet from now on."""
        self._served[parked.connection] = parked, parked
        parked.connection.is_in_app = True

    def force_close(self) -> None:
        """Each connection ends with its answer."""
        for req, _ in self._served.values():
            req.force_close()

    def drop(self, which: Callable[[Connection], bool]) -> None:
        """End some of the connections now."""
        for connection in list(self._served):
            if which(connection):
                connection.drop()

    def waiting_streams(self) -> Iterator[tuple[Connection, gevent.Greenlet | ParkedAnswer]]:
        """The streams that wait for something to send, and what serves each. What waits for its client is not among them: it
        cannot be interrupted, because bytes are half out."""
        for connection, (_, greenlet) in list(self._served.items()):
            if connection.is_streaming and connection.state is not State.WRITING:
                yield connection, greenlet

    def watch_streams(self) -> None:
        """Ends the streams whose clients have left. A stream that waits for something to send would notice only then."""
        while True:
            gevent.sleep(WATCH_S)
            self.resume_parked(until=time.monotonic())
            for connection, greenlet in self.waiting_streams():
                if not connection.is_switched and has_hung_up(connection.sock):
                    greenlet.kill(block=False)

    def resume_parked(self, until: float) -> None:
        """Let the answers go on that are parked until this moment."""
        for _, held in list(self._served.values()):
            if isinstance(held, ParkedAnswer) and held.until <= until:
                held.resume()

    def interrupt_streams(self) -> None:
        """Streams that wait for something else than the stopping event are interrupted where they wait."""
        self.resume_parked(until=math.inf)
        for connection, greenlet in self.waiting_streams():
            if connection.is_switched:
                connection.stop_reading()
            else:
                greenlet.kill(block=False)


def has_hung_up(sock: Any) -> bool:
    """Whether the client has ended the connection. Takes no bytes: what a client sends ahead stays for its next request."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
