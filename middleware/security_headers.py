"""The layer that adds headers to every response which keep a browser from being misled about it. A page that needs more than
nothing brings a Content-Security-Policy of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from middleware.request_context import ENVIRON_KEY, Headers, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
STRICTEST_POLICY = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
HTTPS_ONLY = ("Strict-Transport-Security", "max-age=31536000")


class SecurityHeadersMiddleware:
    """The layer. `behind_proxy`: whether the scheme that the proxy's header names is trusted."""

    def __init__(self, app: WSGIApplication, *, behind_proxy: bool) -> None:
        self._app = app
        self._behind_proxy = behind_proxy

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        context.headers.append(NO_SNIFFING)
        context.header_hooks.append(_add_policy)
        if self._behind_proxy and environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            context.headers.append(HTTPS_ONLY)
        return self._app(environ, start_response)


def _add_policy(_: RequestContext, headers: Headers) -> None:
    if all(name != STRICTEST_POLICY[0] for name, _ in headers):
        headers.append(STRICTEST_POLICY)
