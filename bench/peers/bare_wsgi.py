"""(a) A WSGI callable that returns ready bytes: what gunicorn and gevent cost by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bench.peers.given import BODY, HEADERS

USUAL = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]
MORE = [(f"X-Header-{n:02}", "a value of usual length") for n in range(HEADERS - len(USUAL))]
SENT = USUAL + MORE


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """The ready bytes, whatever is asked."""
    start_response("200 OK", SENT)
    return (BODY,)
