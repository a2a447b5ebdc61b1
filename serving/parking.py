"""Answers whose rest others push, without a greenlet. The greenlet of such a request ends while it has nothing to do, and its
connection stays open: a greenlet that waits costs several times the memory of all that belongs to the answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit
from gunicorn.util import write_chunk

from serving.connection import Connection
from serving.reading import RequestParser

if TYPE_CHECKING:
    from gunicorn.glogging import Logger

CONNECTION = "predict.connection"
"""The key of the connection in the environment of a request."""

GUNICORNS_KEY = "gunicorn.socket"
"""The same as gunicorn names it. engineio makes a class for each request that has it, which waits for the garbage collector."""

OWN_ENVIRONMENT = "werkzeug.request"
"""The key of an object that refers to the environment: together they would wait for the garbage collector."""


class Parked(BaseException):
    """The answer under way waits, while others push what is sent. It goes on with `pieces`."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.pieces = pieces


class Pieces:
    """The pieces of an answer, as its app yields them. Behind an empty piece, where others push, `next` raises Parked, once;
    `close` then does nothing until the answer goes on."""

    __slots__ = ("_body", "_connection", "_environ", "_is_parked", "_next")

    def __init__(self, body: Iterable[bytes], environ: dict[str, Any]) -> None:
        self._body = body
        self._next = iter(body).__next__
        self._environ: dict[str, Any] | None = environ
        self._connection: Connection = environ[CONNECTION]
        self._is_parked = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = self._next()
        if not piece and self._environ is not None:
            pushed = self._connection.pushed
            if pushed is not None and not pushed.is_awake:
                self._park(self._environ)
        return piece

    def _park(self, environ: dict[str, Any]) -> None:
        """Raises Parked. What the answer does not need is freed."""
        environ.pop(OWN_ENVIRONMENT, None)
        self._environ, self._is_parked = None, True
        raise Parked(self)

    def go_on(self) -> None:
        self._is_parked = False

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None and not self._is_parked:
            close()


def in_pieces(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The WSGI app, which finds the connection of a request under CONNECTION, and whose answers can be parked unless they are
    lists."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[CONNECTION] = environ.pop(GUNICORNS_KEY)
        body = app(environ, start_response)
        return body if type(body) is list else Pieces(body, environ)

    return call


class ParkedAnswer:
    """An answer without a greenlet, in the place of both its request and its greenlet. `go_on` is called once, and starts a
    greenlet that calls `finish`.

    address   of the client, as the system tells it
    unread    bytes that the client sent ahead, of its next request
    is_last   whether the connection ends with this answer
    until     monotonic seconds: it goes on then
    has_left  the client has left, so that the answer is broken off
    """

    __slots__ = ("_go_on", "_pieces", "address", "connection", "context", "has_left", "is_last", "unread", "until")

    def __init__(
        self,
        connection: Connection,
        parser: RequestParser,
        pieces: Pieces,
        go_on: Callable[[ParkedAnswer], None],
    ) -> None:
        request, pushed = parser.mesg, connection.pushed
        assert pushed is not None
        self.connection = connection
        self.address = parser.source_addr
        self.context: Context = copy_context()
        self.unread = parser.unreader.take_buffered()
        self.is_last = request.should_close() or not request.is_read()
        self.until = pushed.until
        self.has_left = False
        self._pieces = pieces
        self._go_on: Callable[[ParkedAnswer], None] | None = go_on
        pushed.park(self.resume)

    def force_close(self) -> None:
        self.is_last = True

    def is_read(self) -> bool:
        return True

    def resume(self) -> None:
        """Let the answer go on in a greenlet of its own. A second call does nothing."""
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            go_on(self)

    def kill(self, exception: Any = GreenletExit, block: bool = False) -> None:
        """Break the answer off, unless it goes on already."""
        if self._go_on is not None:
            self.has_left = True
            self.resume()

    def finish(self, log: Logger) -> None:
        """Send the rest. Raises StopIteration where nothing can be sent behind it, OSError if the client has left."""
        self._pieces.go_on()
        try:
            self._send_rest()
        except (OSError, StopIteration):
            raise
        except GreenletExit:
            raise StopIteration from None
        except Exception:
            log.exception("Error handling request")
            with suppress(OSError):
                self.connection.sock.shutdown(socket.SHUT_RDWR)
            raise StopIteration from None

    def _send_rest(self) -> None:
        try:
            if self.has_left:
                raise StopIteration
            for piece in self._pieces:
                if piece:
                    write_chunk(self.connection, piece)
            write_chunk(self.connection, b"")
        finally:
            self._pieces.close()
