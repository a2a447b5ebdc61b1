"""What every answer carries to keep a browser from being misled, and what a request may bring: its host, its size.

The bounds of request line, headers and of the time in which a request must arrive are the worker's (serving/bounds.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from app.errors import BadRequest
from middleware.request_context import ENVIRON_KEY, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY_BYTES = 1 << 20
MAX_FORM_PARTS = 100
MAX_PORT = 65_535
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
        context: RequestContext = environ[ENVIRON_KEY]
        context.headers += SECURITY
        if self._behind_proxy and environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            context.headers.append(HTTPS_ALONE)
        return self._app(environ, start_response)


_host = re.compile(
    r"(?P<name>\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?"
).fullmatch
"""RFC 9110 7.2 and RFC 3986 3.2.2. The comma of RFC 3986 is left out: servers join repeated headers by it."""


class Hosts:
    """The layer: 400 without a host or with one that cannot be (RFC 9112 3.2). `hosts`: names that are answered, all if there
    are none; `everywhere`: paths that any host may ask for (probes)."""

    def __init__(self, app: WSGIApplication, hosts: Collection[str], everywhere: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._everywhere = frozenset(everywhere)
        self._name_of = lru_cache(1024)(host_name)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = self._asked(environ)
        if self._hosts and environ["PATH_INFO"] not in self._everywhere and name not in self._hosts:
            raise BadRequest("this server does not answer to that host name", code="BAD_REQUEST")
        return self._app(environ, start_response)

    def _asked(self, environ: WSGIEnvironment) -> str | None:
        """The host that is asked for: that of a whole address in the request line, else that of `Host`. HTTP/1.0 needs
        neither."""
        host = environ.get("HTTP_HOST")
        if host is None and environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            return None
        name = self._name_of(host or "")
        target: str = environ.get("RAW_URI", "")
        return name if target[:1] in ("/", "*", "") else self._name_of(_authority(target) or host or "")


def host_name(host: str) -> str:
    """The name in a `Host` header, in lower case. Raises BadRequest if it is empty or malformed."""
    found = _host(host)
    if found is None or int(found["port"] or 0) > MAX_PORT or not _is_ip(found["ipv6"]):
        raise BadRequest("the Host header must be a host name, with a port or without", code="BAD_REQUEST")
    return found["name"].lower()


def _is_ip(ipv6: str | None) -> bool:
    try:
        return ipv6 is None or ipaddress.IPv6Address(ipv6) is not None
    except ValueError:
        return False


def _authority(target: str) -> str | None:
    """The host of a request line that holds a whole address (RFC 9112 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    return re.split(r"[/?#]", rest, maxsplit=1)[0] if separator and scheme.lower() in ("http", "https") else None
