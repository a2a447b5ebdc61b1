"""Marks routes whose answers may be given again until the market or the core moves on (ruling A1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from flask import Response

from blueprints.services import exchange, services


def kept(view: Callable[[], Response]) -> Callable[[], Response]:
    """The view's answer to a good request is kept. Its bounds are read before the view reads anything: what changes
    meanwhile ends it."""

    @wraps(view)
    def answer() -> Response:
        bounds = services().keep()
        response = view()
        exchange().keep = bounds
        return response

    return answer
