"""Requests as they are read from a connection: gunicorn's parser, with bounds on time, bytes and pieces, and turns for the
other connections. A body that nobody read is never drained: the connection is closed instead (RFC 9112, 9.3)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.http.parser import Parser
from gunicorn.http.unreader import SocketUnreader
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from serving.bounds import Bounds

TURN_S = 0.001
"""A pause in which other connections are served. A pause of 0 would not look for what has arrived on them."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HeadTimeout(Exception):
    """A request's headers did not arrive in time. has_begun: a part of them did."""

    def __init__(self, has_begun: bool) -> None:
        super().__init__("the headers did not arrive in time")
        self.has_begun = has_begun


class IdleTimeout(Exception):
    """No further request came on the connection."""


class RequestReader(SocketUnreader):  # type: ignore[misc]
    """The bytes that a client sends. `closed` counts what was cut off, by reason.

    Raises HeadTimeout, IdleTimeout, LimitRequestHeaders between requests; within a body RequestEntityTooLarge, and
    ClientDisconnected if the rest does not come, or not in time.
    """

    max_body_chunk = 64 << 10

    def __init__(
        self,
        sock: Any,
        bounds: Bounds,
        closed: Counter[tuple[str, ...]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(sock)
        self._bounds = bounds
        self._closed = closed
        self._now = now
        self._in_body = False
        self._got = self._reads = 0
        self._ends: float | None = now() + bounds.head_s
        self._must_say_continue = False

    def expect_head(self) -> None:
        """An answer is out: the next bytes are those of another request."""
        self._in_body, self._got, self._reads = False, self.buf.tell(), 0
        self._ends = self._now() + self._bounds.head_s if self._got else None

    def expect_body(self, *, say_continue: bool) -> None:
        """The headers are complete. say_continue: the client waits for a 100 before it sends (RFC 9110, 10.1.1)."""
        self._in_body, self._got, self._reads = True, 0, 0
        self._ends = self._now() + self._bounds.body_s
        self._must_say_continue = say_continue

    def chunk(self, size_hint: int | None = None) -> bytes:
        return self._of_body(size_hint) if self._in_body else self._of_head()

    def _of_head(self) -> bytes:
        if self._ends is None:
            return self._first_of_head()
        if self._reads:
            gevent.sleep(TURN_S)
        data = self._received(self.mxchunk)
        if data is None:
            self._closed["head_timeout",] += 1
            raise HeadTimeout(self._got > 0)
        self._reads += 1
        self._got += len(data)
        if self._got > self._bounds.head_bytes:
            raise LimitRequestHeaders("request line and headers together")
        return data

    def _first_of_head(self) -> bytes:
        self.sock.settimeout(self._bounds.idle_s)
        try:
            data: bytes = self.sock.recv(self.mxchunk)
        except TimeoutError:
            raise IdleTimeout from None
        self._ends = self._now() + self._bounds.head_s
        self._got, self._reads = len(data), 1
        return data

    def _of_body(self, size_hint: int | None) -> bytes:
        if self._must_say_continue:
            self._must_say_continue = False
            self.sock.sendall(CONTINUE)
        if self._reads:
            gevent.sleep(TURN_S)
        data = self._received(min(max(size_hint or 0, self.mxchunk), self.max_body_chunk))
        if data is None:
            self._closed["body_timeout",] += 1
        if not data:
            raise ClientDisconnected
        self._reads += 1
        self._got += len(data)
        if self._got > self._bounds.body_bytes:
            self.refuse_body()
        return data

    def refuse_body(self) -> None:
        """Raises RequestEntityTooLarge."""
        self._closed["body_bounds",] += 1
        raise RequestEntityTooLarge

    def _received(self, size: int) -> bytes | None:
        """What arrives before the deadline; None: nothing did."""
        assert self._ends is not None
        left = self._ends - self._now()
        if left <= 0:
            return None
        self.sock.settimeout(left)
        try:
            data: bytes = self.sock.recv(size)
        except TimeoutError:
            return None
        return data


class BoundedChunks(ChunkedReader):  # type: ignore[misc]
    """A chunked body of so many pieces at most; others have a turn every few of them."""

    parser: Any

    def __init__(self, req: BoundedRequest, unreader: RequestReader) -> None:
        super().__init__(req, unreader)
        self.parser = self._bounded(self.parser, unreader)

    def _bounded(self, pieces: Iterator[bytes], unreader: RequestReader) -> Iterator[bytes]:
        bounds = unreader._bounds
        for number, piece in enumerate(pieces, start=1):
            if number > bounds.body_chunks:
                unreader.refuse_body()
            if number % bounds.chunks_a_turn == 0:
                gevent.sleep(TURN_S)
            yield piece


class BoundedRequest(Request):  # type: ignore[misc]
    """A request; its connection stays open only if the body was read to its end."""

    has_body = False
    body: Any
    unreader: RequestReader
    _expected_100_continue: bool

    def set_body_reader(self) -> None:
        super().set_body_reader()
        reader = self.body.reader
        if isinstance(reader, ChunkedReader):
            self.body = Body(BoundedChunks(self, self.unreader))
        elif reader.length == 0:
            return
        self.has_body = True
        self.unreader.expect_body(say_continue=self._expected_100_continue)
        self._expected_100_continue = False

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
        return bool(super().should_close())


class RequestParser(Parser):  # type: ignore[misc]
    """The requests of a connection, one after the other; ends where the next one's start is unknown."""

    mesg_class = BoundedRequest

    def __init__(self, cfg: Any, reader: RequestReader, addr: Any) -> None:
        super().__init__(cfg, reader.sock, addr)
        self.unreader = reader

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """Never drains."""
        return self.mesg is None or self.mesg.is_read()
