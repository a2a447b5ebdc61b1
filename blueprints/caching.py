"""Marks routes whose responses may be cached until the market or the core moves on (ruling A1)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Protocol, TypeVar

from flask import Response

from blueprints.services import request_context, services


class HasSymbols(Protocol):
    """Parameters of a request."""

    @property
    def symbols(self) -> tuple[str, ...]: ...


P = TypeVar("P", bound=HasSymbols)


def cached(
    parse: Callable[[], P], also: Collection[str] = ()
) -> Callable[[Callable[[P], Response]], Callable[[], Response]]:
    """Cache the view's response to a valid request until something changes about the symbols that `parse` reads, or about
    those in `also`. The validity is determined before the view reads anything, so that a change meanwhile ends it."""

    def decorate(view: Callable[[P], Response]) -> Callable[[], Response]:
        @wraps(view)
        def wrapper() -> Response:
            parameters = parse()
            validity = services().cache_validity((*parameters.symbols, *also))
            response = view(parameters)
            request_context().cache_validity = validity
            return response

        return wrapper

    return decorate
