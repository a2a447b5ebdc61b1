"""What wraps a call. `install` lists the inbound layers, outermost first; outbound ones will stand beside it.

Imports app.errors at most; what a layer needs is handed to it.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from middleware.cors import allow_any_origin
from middleware.sizes import bound_requests

LAYERS: tuple[Callable[[Flask], None], ...] = (bound_requests, allow_any_origin)


def install(app: Flask) -> None:
    """Wrap `app` in every inbound layer."""
    for layer in reversed(LAYERS):
        layer(app)
