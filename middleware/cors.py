"""Who may read answers from a page of another origin: v1 any (v1-contract.md 3.1), later versions those on a list (ruling
A8). Never with cookies: there are none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from middleware.request_context import ENVIRON_KEY, Headers, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SENT = "Content-Type, Authorization, X-API-Key, X-API-Version, X-Request-Id, If-None-Match, traceparent, tracestate"
READ = (
    "ETag, X-Request-Id, X-API-Version, RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, "
    "X-RateLimit-Reset, Retry-After, Deprecation, Sunset, Link, Server-Timing"
)
REMEMBERED_S = "3600"


class Cors:
    """The layer. `origins`: who may read versions after the first; `private`: paths that no page may read."""

    def __init__(self, app: WSGIApplication, origins: Collection[str], private: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._private = frozenset(private)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        if environ["PATH_INFO"] not in self._private:
            context.header_hooks.append(self._finish)
        return self._app(environ, start_response)

    def _finish(self, context: RequestContext, headers: Headers) -> None:
        """When the version is known. v1's headers are the same for all origins, so that a cache may give one answer to all
        without `Vary: Origin` (Fetch standard, CORS protocol and HTTP caches)."""
        origin = context.origin
        allowed: str | None = "*"
        if context.version > 1:
            context.vary.append("Origin")
            allowed = origin if origin is not None and origin.lower() in self._origins else None
        if allowed is None:
            return
        headers.append(("Access-Control-Allow-Origin", allowed))
        headers.append(("Access-Control-Expose-Headers", READ))
        if context.method == "OPTIONS":
            headers += _preflight(headers)


def _preflight(headers: Headers) -> Headers:
    """An OPTIONS answer says which methods a page may use: those that the route allows."""
    methods = next((value for name, value in headers if name == "Allow"), None)
    if methods is None:
        return []
    return [
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", SENT),
        ("Access-Control-Max-Age", REMEMBERED_S),
    ]
