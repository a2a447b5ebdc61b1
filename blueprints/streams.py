"""How a route answers with a stream: `return stream(pieces, ...)`. The response is then measured as a stream, its head is sent
at once, and it ends in order when the server stops. Code that waits between two pieces waits on `services().stopping`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final, Protocol

from flask import Response, request

from blueprints.services import Stream, request_context

CONNECTION: Final = "predict.connection"
"""The key of the client's connection (`serving.connection.Connection`) in the environment of a request."""

HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""Proxies must not cache, transform or buffer a stream."""


def no_wait() -> None:
    pass


def stream(
    pieces: Iterable[bytes],
    *,
    content_type: str,
    last: Callable[[], bytes] = bytes,
    wait: Callable[[], None] = no_wait,
) -> Response:
    """A response of `pieces`, each sent as soon as it is there. last: makes the bytes that end it when the server stops; wait:
    called behind an empty piece, before the next one is asked for."""
    request_context().stream = Stream(last, wait)
    return Response(pieces, content_type=content_type, headers=HEADERS)


class Pushed(Protocol):
    """The rest of a response that others post while its generator waits (`serving.pushed_stream.PushedStream`)."""

    @property
    def is_waiting(self) -> bool: ...
    def post(self, data: bytes, key: Hashable | None = None) -> bool: ...
    def finish(self) -> bool: ...
    def close(self) -> None: ...
    def wake(self) -> None: ...


Push = Callable[[Callable[[], None], Callable[[], None], float], Pushed]
"""Begins to push the rest of a response, and gets `on_drained`, `on_end`, and after how many seconds the response goes on by
itself at the latest."""


def push() -> Push | None:
    """What lets others post the rest of the response to the current request, as chunks; None where its connection is not at
    hand (under a test client) or knows no chunks (HTTP/1.0)."""
    if CONNECTION not in request.environ or request.environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        return None
    begin: Push = request.environ[CONNECTION].push
    return begin


def chunk_of(data: bytes) -> bytes:
    """A chunk of HTTP/1.1 (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
