"""What every answer carries to keep a browser from being misled, and what a request may bring: its host, its size.

The bounds of request line, headers and of the time in which a request must arrive are gunicorn's (gunicorn.conf.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from app.errors import BadRequest
from middleware.exchange import KEY, Exchange

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY_BYTES = 1 << 20
MAX_FORM_PARTS = 100
SECURITY = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
HTTPS_ALONE = ("Strict-Transport-Security", "max-age=31536000")


def bound_requests(app: Flask) -> None:
    """Refuse bodies that are too large, 413; redirect nobody."""
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS


def read_bodies(app: Flask) -> None:
    """Read a route's body before the route is asked; one that cannot be read (broken chunks) is the caller's fault."""

    @app.before_request
    def read() -> None:
        if request.url_rule is None:
            return
        try:
            request.get_data()
        except HTTPException:
            raise
        except Exception:  # whatever the server's reader raises: each has its own
            raise BadRequest("the body could not be read", code="BAD_REQUEST") from None


class Hygiene:
    """The layer. `behind_proxy`: whether the proxy's word on the scheme is believed."""

    def __init__(self, app: WSGIApplication, *, behind_proxy: bool) -> None:
        self._app = app
        self._behind_proxy = behind_proxy

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exchange: Exchange = environ[KEY]
        exchange.headers += SECURITY
        if self._behind_proxy and environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            exchange.headers.append(HTTPS_ALONE)
        return self._app(environ, start_response)


class Hosts:
    """The layer. `hosts`: names that are answered; `everywhere`: paths that any host may ask for (probes)."""

    def __init__(self, app: WSGIApplication, hosts: Collection[str], everywhere: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._everywhere = frozenset(everywhere)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in self._everywhere:
            self._check(environ.get("HTTP_HOST", ""))
        return self._app(environ, start_response)

    def _check(self, host: str) -> None:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.lower() not in self._hosts:
            raise BadRequest("this server does not answer to that host name", code="BAD_REQUEST")
