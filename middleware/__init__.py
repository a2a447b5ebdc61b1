"""What wraps a call. `install` lists the inbound layers, outermost first; `wrap` the outbound one, the breaker.

Imports app.errors at most; what a layer needs is handed to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from flask import Flask

from middleware.breaker import Breaker, Call
from middleware.cors import allow_any_origin
from middleware.sizes import bound_requests

R = TypeVar("R")
LAYERS: tuple[Callable[[Flask], None], ...] = (bound_requests, allow_any_origin)


def install(app: Flask) -> None:
    """Wrap `app` in every inbound layer."""
    for layer in reversed(LAYERS):
        layer(app)


def wrap(
    call: Call[R],
    *,
    kind_of: Callable[[str], str],
    failed: Callable[[R], bool],
    notice: Callable[..., None],
    now: Callable[[], float] = time.monotonic,
) -> Breaker[R]:
    """An outbound call behind all that wraps it."""
    return Breaker(call, kind_of=kind_of, failed=failed, notice=notice, now=now)
