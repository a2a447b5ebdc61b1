"""Marks routes whose answers may be given again until the market or the core moves on (ruling A1)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Protocol, TypeVar

from flask import Response

from blueprints.services import request_context, services


class Asked(Protocol):
    """Parameters of a request."""

    @property
    def symbols(self) -> tuple[str, ...]: ...


A = TypeVar("A", bound=Asked)


def kept(
    parse: Callable[[], A], also: Collection[str] = ()
) -> Callable[[Callable[[A], Response]], Callable[[], Response]]:
    """The view's answer to a good request is kept until something changes that is about the symbols that `parse` reads, or
    about those in `also`. Its bounds are read before the view reads anything: what changes meanwhile ends it."""

    def decorate(view: Callable[[A], Response]) -> Callable[[], Response]:
        @wraps(view)
        def answer() -> Response:
            asked = parse()
            bounds = services().keep((*asked.symbols, *also))
            response = view(asked)
            request_context().keep = bounds
            return response

        return answer

    return decorate
