"""Requests as they are read from a connection: gunicorn's parser, with bounds on time, bytes and pieces, and turns for the
other connections. A body that nobody read is never drained: the connection is closed instead (RFC 9112, 9.3)."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidRequestLine, LimitRequestHeaders, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import Parser
from gunicorn.http.unreader import SocketUnreader
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from serving.bounds import Bounds
from serving.connection import Connection
from serving.connections import State

TURN_S = 0.001
"""A pause in which other connections are served. A pause of 0 would not look for what has arrived on them."""

PIECE_S = 0.001
"""Between two pieces of work on requests that arrive in parts: together they cost a bounded share of the processor, however
many there are."""

ANSWER_S = 0.004
"""Between two answers to requests that were sent before their turn. No browser sends such requests."""

HIGHEST_VERSION = (1, 1)
"""Of HTTP, that this server speaks; an answer never names a higher one (RFC 9110, 6.2)."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""RFC 9110 and RFC 5789."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Turns:
    """Work in small pieces, one piece at a time: each waits for its turn."""

    def __init__(
        self,
        piece_s: float = PIECE_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self._piece_s = piece_s
        self._now = now
        self._sleep = sleep
        self._next = 0.0

    def wait(self) -> None:
        now = self._now()
        self._next = max(self._next + self._piece_s, now + TURN_S)
        self._sleep(self._next - now)


HEADS, BODIES, PIPELINED = Turns(), Turns(), Turns(ANSWER_S)


class HeadTimeout(Exception):
    """A request's headers did not arrive in time. has_begun: a part of them did."""

    def __init__(self, has_begun: bool) -> None:
        super().__init__("the headers did not arrive in time")
        self.has_begun = has_begun


class UnknownMethod(Exception):
    """A method that no route of any server like this one knows (501; RFC 9110, 9.1)."""


class IdleTimeout(Exception):
    """No further request came on the connection."""


class RequestReader(SocketUnreader):  # type: ignore[misc]
    """The bytes that a client sends.

    Raises HeadTimeout, IdleTimeout, LimitRequestHeaders between requests; within a body RequestEntityTooLarge, and
    ClientDisconnected if the rest does not come, or not in time.
    """

    max_body_chunk = 64 << 10

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection
        self._in_body = False
        self._got = self._reads = 0
        self._must_say_continue = False

    @property
    def bounds(self) -> Bounds:
        return self._connection.bounds

    def blame(self, reason: str) -> None:
        self._connection.blame(reason)

    def expect_head(self) -> None:
        """An answer is out: the next bytes are those of another request. Requests that were sent before their turn are
        answered one after the other, whoever sent them, so that they do not hold up who asks for one at a time."""
        self._in_body, self._got, self._reads = False, self.buf.tell(), 0
        if self._got:
            self._connection.become(State.READING, self.bounds.head_s)
            PIPELINED.wait()
        else:
            self._connection.become(State.IDLE, self.bounds.idle_s)

    def expect_body(self, *, say_continue: bool) -> None:
        """The headers are complete. say_continue: the client waits for a 100 before it sends (RFC 9110, 10.1.1)."""
        self._in_body, self._got, self._reads = True, 0, 0
        self._connection.become(State.READING, self.bounds.body_s)
        self._must_say_continue = say_continue

    def expect_nothing(self) -> None:
        """The request is complete."""
        self._connection.become(State.ANSWERING)

    def chunk(self, size_hint: int | None = None) -> bytes:
        return self._of_body(size_hint) if self._in_body else self._of_head()

    def _of_head(self) -> bytes:
        if self._reads:
            self._go_on_with_head()
        data = self._connection.receive(self.mxchunk)
        if data is None:
            raise self._too_late()
        self._reads += 1
        self._got += len(data)
        if self._got > self.bounds.head_bytes:
            raise LimitRequestHeaders("request line and headers together")
        return data

    def _go_on_with_head(self) -> None:
        """A part of a head came, and others have a turn."""
        if self._connection.state is State.IDLE:
            self._connection.become(State.READING, self.bounds.head_s)
        HEADS.wait()

    def _too_late(self) -> Exception:
        if self._connection.state is State.IDLE:
            return IdleTimeout()
        self.blame("head_timeout")
        return HeadTimeout(self._got > 0)

    def _of_body(self, size_hint: int | None) -> bytes:
        if self._must_say_continue:
            self._must_say_continue = False
            self._connection.transmit(CONTINUE)
        if self._reads:
            BODIES.wait()
        data = self._connection.receive(min(max(size_hint or 0, self.mxchunk), self.max_body_chunk))
        if data is None:
            self.blame("body_timeout")
        if not data:
            raise ClientDisconnected
        self._reads += 1
        self._got += len(data)
        if self._got > self.bounds.body_bytes:
            self.refuse_body()
        return data

    def refuse_body(self) -> None:
        """Raises RequestEntityTooLarge."""
        self.blame("body_bounds")
        raise RequestEntityTooLarge


class BoundedChunks(ChunkedReader):  # type: ignore[misc]
    """A chunked body of so many pieces at most; others have a turn every few of them."""

    parser: Any

    def __init__(self, req: BoundedRequest, unreader: RequestReader) -> None:
        super().__init__(req, unreader)
        self.parser = self._bounded(self.parser, unreader)

    def parse_chunk_size(self, unreader: RequestReader, data: bytes | None = None) -> tuple[int, bytes | None]:
        size, rest = super().parse_chunk_size(unreader, data)
        if size > unreader.bounds.body_bytes:
            unreader.refuse_body()
        return size, rest

    def _bounded(self, pieces: Iterator[bytes], unreader: RequestReader) -> Iterator[bytes]:
        bounds = unreader.bounds
        for number, piece in enumerate(readable(pieces, unreader), start=1):
            if number > bounds.body_chunks:
                unreader.refuse_body()
            if number % bounds.chunks_a_turn == 0:
                BODIES.wait()
            yield piece
        unreader.expect_nothing()


def readable(pieces: Iterator[bytes], unreader: RequestReader) -> Iterator[bytes]:
    """The pieces of a chunked body; its connection is blamed if they cannot be told apart."""
    try:
        yield from pieces
    except ParseException:
        unreader.blame("unreadable")
        raise


class BoundedLength(LengthReader):  # type: ignore[misc]
    """A body of known length."""

    def read(self, size: int) -> bytes:
        data: bytes = super().read(size)
        if data and self.length <= 0:
            self.unreader.expect_nothing()
        return data


class BodyReadAhead(Body):  # type: ignore[misc]
    """A body that may be read before the app is called."""

    buf: io.BytesIO
    _error: Exception | None = None

    def read_ahead(self) -> None:
        """Wait for the whole body. What goes wrong is raised when the app reads."""
        try:
            body = self.read()
        except Exception as exc:
            self._error = exc.with_traceback(None)  # whose frames hold this body
        else:
            self.buf.write(body)

    def _read_reader(self, size: int) -> bytes:
        if self._error is not None:
            raise self._error
        data: bytes = super()._read_reader(size)
        return data


def is_web_address(uri: str) -> bool:
    """Whether a request's target in absolute form is one of HTTP's, with a host (RFC 9110, 4.2)."""
    scheme, _, rest = uri.partition("://")
    return scheme.lower() in ("http", "https") and rest[:1] not in ("", "/", "?", "#")


class BoundedRequest(Request):  # type: ignore[misc]
    """A request; its connection stays open only if the body was read to its end."""

    has_body = says_continue = False
    body: Any
    uri: str
    method: str
    unreader: RequestReader
    version: tuple[int, int]
    _expected_100_continue: bool

    def _peer_is_trusted_proxy(self) -> bool:
        """Nobody sets the scheme or the like by a header here: whom to trust is the app's to decide (TRUST_PROXY)."""
        return False

    def parse(self, unreader: RequestReader) -> bytes:
        unused: bytes = super().parse(unreader)
        if not (self.uri.startswith("/") or self.uri == "*" or self.method == "CONNECT" or is_web_address(self.uri)):
            raise InvalidRequestLine(self.uri)
        if self.method not in METHODS:
            raise UnknownMethod
        return unused

    def set_body_reader(self) -> None:
        super().set_body_reader()
        self._closes = self._asks_to_close()
        self.version = min(self.version, HIGHEST_VERSION)
        # gunicorn would say it at once
        self.says_continue, self._expected_100_continue = self._expected_100_continue, False
        reader = self.body.reader
        if isinstance(reader, ChunkedReader):
            self.body = BodyReadAhead(BoundedChunks(self, self.unreader))
        elif reader.length == 0:
            self.unreader.expect_nothing()
            return
        else:
            self.body = BodyReadAhead(BoundedLength(self.unreader, reader.length))
        self.has_body = True
        self.unreader.expect_body(say_continue=self.says_continue)

    def read_body_ahead(self) -> None:
        """Wait for a body of known length that is not larger than `body_ahead`, so that clients which send slowly, or never,
        hold nothing but their connection. A larger one, one in chunks and one whose client waits for a 100 are left to the app,
        which may refuse them at once."""
        most = self.unreader.bounds.body_ahead
        is_small = self.has_body and isinstance(self.body.reader, LengthReader) and self.body.reader.length <= most
        if is_small and not self.says_continue:
            self.body.read_ahead()

    def _asks_to_close(self) -> bool:
        """By the options in `Connection`, which is a list (RFC 9110, 7.6.1; RFC 9112, 9.3)."""
        values = [value for name, value in self.headers if name == "CONNECTION"]
        options = {option.strip().lower() for value in values for option in value.split(",")} if values else ()
        if "close" in options or self.method == "CONNECT":
            return True
        return self.version < HIGHEST_VERSION and "keep-alive" not in options

    def is_read(self) -> bool:
        """Whether nothing of the body is left on the connection."""
        if not self.has_body:
            return True
        reader = self.body.reader
        if isinstance(reader, LengthReader):
            return bool(reader.length <= 0) and not self.body.failed
        return reader.parser is None and not self.body.failed

    def should_close(self) -> bool:
        """What is said in the answer's head holds, even if the rest of the body is read later."""
        if self.has_body and not self.must_close and not self.is_read():
            self.force_close()
        return bool(self.must_close) or self._closes


class RequestParser(Parser):  # type: ignore[misc]
    """The requests of a connection, one after the other; ends where the next one's start is unknown."""

    mesg_class = BoundedRequest

    def __init__(self, cfg: Any, reader: RequestReader, addr: Any) -> None:
        super().__init__(cfg, reader.sock, addr)
        self.unreader = reader

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """Never drains."""
        return self.mesg is None or self.mesg.is_read()
