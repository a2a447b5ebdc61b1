"""How a route answers with a stream: `return stream(pieces, ...)`. It then is measured as a stream, its head goes out at once,
and it ends in order when the server stops; what waits between two pieces waits on `services().stopping`."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response

from blueprints.services import Stream, exchange

HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
"""Proxies neither keep, nor change, nor gather it."""


def stream(pieces: Iterable[bytes], *, content_type: str, last: bytes = b"") -> Response:
    """An answer of `pieces`, each sent as soon as it is there. last: what ends it when the server stops."""
    exchange().stream = Stream(last)
    return Response(pieces, content_type=content_type, headers=HEADERS)
