"""The layer that says which pages of other origins may read a response: those of any origin for version 1 (v1-contract.md
3.1), those of a list of origins for later versions (ruling A8). Cookies are never allowed, since the server uses none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from middleware.request_context import ENVIRON_KEY, Headers, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ALLOWED_HEADERS = (
    "Content-Type, Authorization, X-API-Key, X-API-Version, X-Request-Id, If-None-Match, traceparent, tracestate"
)
EXPOSED_HEADERS = (
    "ETag, X-Request-Id, X-Served-By, X-Data-Source, X-API-Version, RateLimit, RateLimit-Policy, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Deprecation, Sunset, Link, Server-Timing"
)
MAX_AGE_S = "3600"


class CorsMiddleware:
    """The layer. `origins`: those that may read versions after the first; `private`: paths that no other origin may read."""

    def __init__(self, app: WSGIApplication, origins: Collection[str], private: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._private = frozenset(private)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        if environ["PATH_INFO"] not in self._private:
            context.header_hooks.append(self._add_headers)
        return self._app(environ, start_response)

    def _add_headers(self, context: RequestContext, headers: Headers) -> None:
        """Runs once the version is known. Version 1 has the same headers for all origins, so that a cache may send one response
        to all of them without `Vary: Origin` (Fetch standard, CORS protocol and HTTP caches)."""
        origin = context.origin
        allowed: str | None = "*"
        if context.version > 1:
            context.vary.append("Origin")
            allowed = origin if origin is not None and origin.lower() in self._origins else None
        if allowed is None:
            return
        headers.append(("Access-Control-Allow-Origin", allowed))
        headers.append(("Access-Control-Expose-Headers", EXPOSED_HEADERS))
        if context.method == "OPTIONS":
            headers += _preflight(headers)


def _preflight(headers: Headers) -> Headers:
    """The response to OPTIONS names the methods that a page may use: those that the route allows."""
    methods = next((value for name, value in headers if name == "Allow"), None)
    if methods is None:
        return []
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
        ("Access-Control-Max-Age", MAX_AGE_S),
    ]
