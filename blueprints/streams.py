"""How a route answers with a stream: `return stream(pieces, ...)`. The response is then measured as a stream, its head is sent
at once, and it ends in order when the server stops. Code that waits between two pieces waits on `services().stopping`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Response

from blueprints.services import Stream, request_context

HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""Proxies must not cache, transform or buffer a stream."""


def stream(pieces: Iterable[bytes], *, content_type: str, last: Callable[[], bytes] = bytes) -> Response:
    """A response of `pieces`, each sent as soon as it is there. last: makes the bytes that end it when the server stops."""
    request_context().stream = Stream(last)
    return Response(pieces, content_type=content_type, headers=HEADERS)
