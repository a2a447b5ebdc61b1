"""The layer that checks which host a request asks for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from app.errors import BadRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_PORT = 65_535

_host = re.compile(
    r"(?P<name>\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::(?P<port>[0-9]{0,5}))?"
).fullmatch
"""RFC 9110 7.2 and RFC 3986 3.2.2, without the comma that RFC 3986 allows: servers join repeated headers with it."""


class TrustedHostMiddleware:
    """The layer. It answers 400 to a request without a host or with a malformed one (RFC 9112 3.2), and to one for a host that
    is not among `hosts`, unless that is empty. Paths in `exempt` (probes) may be requested from any host."""

    def __init__(self, app: WSGIApplication, hosts: Collection[str], exempt: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._exempt = frozenset(exempt)
        self._host_name = lru_cache(1024)(host_name)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = self._requested_host(environ)
        if self._hosts and environ["PATH_INFO"] not in self._exempt and name not in self._hosts:
            raise BadRequest("this server does not answer to that host name", code="BAD_REQUEST")
        return self._app(environ, start_response)

    def _requested_host(self, environ: WSGIEnvironment) -> str | None:
        """The host of an absolute URL in the request line, else the one in `Host`. HTTP/1.0 needs neither."""
        host = environ.get("HTTP_HOST")
        if host is None and environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            return None
        name = self._host_name(host or "")
        target: str = environ.get("RAW_URI", "")
        return name if target[:1] in ("/", "*", "") else self._host_name(_authority(target) or host or "")


def host_name(host: str) -> str:
    """The name in a `Host` header, in lower case. Raises BadRequest if it is empty or malformed."""
    match = _host(host)
    if match is None or int(match["port"] or 0) > MAX_PORT or not _is_ip(match["ipv6"]):
        raise BadRequest("the Host header must be a host name, with a port or without", code="BAD_REQUEST")
    return match["name"].lower()


def _is_ip(ipv6: str | None) -> bool:
    try:
        return ipv6 is None or ipaddress.IPv6Address(ipv6) is not None
    except ValueError:
        return False


def _authority(target: str) -> str | None:
    """The host of a request line that holds an absolute URL (RFC 9112 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    return re.split(r"[/?#]", rest, maxsplit=1)[0] if separator and scheme.lower() in ("http", "https") else None
