"""Who asks: the holder of an API key, else an address. The address is the peer's, or what the proxy in front says, if the
deployment trusts one; a header alone proves nothing.

A key comes in `X-API-Key` or as `Authorization: Bearer`, never in an address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from app.errors import Forbidden, Unauthorized
from middleware.request_context import ENVIRON_KEY, Client, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ANONYMOUS_FACTOR = 0.5
"""Share of the limits for who has no key, once there are keys (ruling A7)."""

ALLOWED_FACTOR = 100.0
"""For addresses that the deployment names: proxies with many viewers."""

IPV6_HOST_BITS = 64
"""A single IPv6 customer has at least so many bits to choose from: they count as one."""

PROXY_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Key(Protocol):
    """A key's holder (app/keys.py)."""

    @property
    def name(self) -> str: ...
    @property
    def tier(self) -> str: ...


class Addresses:
    """The layer. Whoever asks is at first an address. `allowed`: those with more of the limits; `with_keys`: whether there are
    keys, so that who has none gets less."""

    def __init__(
        self, app: WSGIApplication, allowed: Sequence[Network], *, behind_proxy: bool, with_keys: bool
    ) -> None:
        self._app = app
        self._behind_proxy = behind_proxy
        usual = ANONYMOUS_FACTOR if with_keys else 1.0
        self._client = lru_cache(4096)(lambda address: _client(address, allowed, usual))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        told = environ.get("HTTP_X_REAL_IP") if self._behind_proxy else None
        environ[ENVIRON_KEY].client = self._client(told or environ.get("REMOTE_ADDR") or "")
        return self._app(environ, start_response)


class Keys:
    """The layer. Whoever has a key is its holder.

    find          the holder of a secret, None for a wrong one; None where there are no keys
    factors       multiple of the limits by tier
    probes        paths that ask for nothing, not even a good key
    operations    paths for operators: with an operator's key, over `operations_port`, or without keys over loopback
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        find: Callable[[str], Key | None] | None,
        factors: Mapping[str, float],
        operations: Collection[str],
        operations_port: int | None,
        probes: Collection[str],
    ) -> None:
        self._app = app
        self._probes = frozenset(probes)
        self._find = find
        self._factors = factors
        self._operations = frozenset(operations)
        self._operations_port = None if operations_port is None else str(operations_port)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        if self._find is not None and environ["PATH_INFO"] not in self._probes:
            secret = _secret(environ)
            if secret is not None:
                context.client = self._holder(self._find(secret))
        if environ["PATH_INFO"] in self._operations and not self._may_operate(environ, context.client):
            raise Forbidden("this is for operators: with their key, or on the private port")
        return self._app(environ, start_response)

    def _holder(self, key: Key | None) -> Client:
        if key is None:
            raise Unauthorized("the API key is unknown or expired")
        return Client(f"key:{key.name}", self._factors[key.tier], key.tier == "operator")

    def _may_operate(self, environ: WSGIEnvironment, client: Client) -> bool:
        if client.operator:
            return True
        if self._operations_port is not None and environ.get("SERVER_PORT") == self._operations_port:
            return True
        return self._find is None and _is_local(environ)


def _is_local(environ: WSGIEnvironment) -> bool:
    """Whether the request came over loopback, and not from a proxy there that speaks for someone else."""
    try:
        peer = _ip(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return peer.is_loopback and not any(name in environ for name in PROXY_HEADERS)


def _secret(environ: WSGIEnvironment) -> str | None:
    given: str = environ.get("HTTP_X_API_KEY", "")
    if not given.strip():
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return given.strip() or None


def _client(address: str, allowed: Sequence[Network], usual: float) -> Client:
    """Whoever is at `address`; an address that is none counts together with all such."""
    try:
        ip = _ip(address)
    except ValueError:
        return Client("address:unknown", usual)
    factor = ALLOWED_FACTOR if any(ip in network for network in allowed) else usual
    return Client(f"address:{_counted_as(ip)}", factor)


def _counted_as(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, IPV6_HOST_BITS), strict=False))
    return str(ip)


def counted_as(address: str, exempt: Sequence[Network]) -> str | None:
    """Whose share a connection from an address counts against; None: nobody's, the address is exempt or unknown."""
    try:
        ip = _ip(address)
    except ValueError:
        return None
    return None if any(ip in network for network in exempt) else _counted_as(ip)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; an IPv4 one in IPv6's clothes without them. Raises ValueError."""
    ip = ipaddress.ip_address(text.strip())
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
