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
from middleware.exchange import KEY, Client, Exchange

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


class Identity:
    """The layer.

    find          the holder of a secret, None for a wrong one; None where there are no keys
    factors       multiple of the limits by tier
    count         counts a request that is refused here
    operations    paths for operators: with an operator's key, over `operations_port`, or without keys over loopback
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        find: Callable[[str], Key | None] | None,
        factors: Mapping[str, float],
        count: Callable[[Exchange, str], None],
        behind_proxy: bool,
        allowed: Sequence[Network],
        operations: Collection[str],
        operations_port: int | None,
    ) -> None:
        self._app = app
        self._find = find
        self._factors = factors
        self._count = count
        self._behind_proxy = behind_proxy
        self._operations = frozenset(operations)
        self._operations_port = None if operations_port is None else str(operations_port)
        usual = 1.0 if find is None else ANONYMOUS_FACTOR
        self._by_address = lru_cache(4096)(lambda address: _client(address, allowed, usual))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exchange: Exchange = environ[KEY]
        exchange.client = self._by_address(self._address(environ))
        if self._find is not None:
            secret = _secret(environ)
            if secret is not None:
                exchange.client = self._holder(exchange, secret)
        if environ["PATH_INFO"] in self._operations and not self._may_operate(environ, exchange.client):
            self._count(exchange, "other")
            raise Forbidden("this is for operators: with their key, or on the private port")
        return self._app(environ, start_response)

    def _address(self, environ: WSGIEnvironment) -> str:
        told = environ.get("HTTP_X_REAL_IP") if self._behind_proxy else None
        return told or environ.get("REMOTE_ADDR") or ""

    def _holder(self, exchange: Exchange, secret: str) -> Client:
        """Raises Unauthorized; tries are counted against the address."""
        assert self._find is not None
        key = self._find(secret)
        if key is None:
            self._count(exchange, "other")
            raise Unauthorized("the API key is unknown or expired")
        return Client(f"key:{key.name}", self._factors[key.tier], key.tier == "operator")

    def _may_operate(self, environ: WSGIEnvironment, client: Client) -> bool:
        if client.operator:
            return True
        if self._operations_port is not None and environ.get("SERVER_PORT") == self._operations_port:
            return True
        return self._find is None and self._is_local(environ)

    def _is_local(self, environ: WSGIEnvironment) -> bool:
        """Whether the request came over loopback, and not from a proxy there that speaks for someone else."""
        try:
            peer = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
        except ValueError:
            return False
        return peer.is_loopback and not any(name in environ for name in PROXY_HEADERS)


def _secret(environ: WSGIEnvironment) -> str | None:
    given: str | None = environ.get("HTTP_X_API_KEY")
    if given is None:
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return given.strip()


def _client(address: str, allowed: Sequence[Network], usual: float) -> Client:
    """Whoever is at `address`; an address that is none counts together with all such."""
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return Client("address:unknown", usual)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    factor = ALLOWED_FACTOR if any(ip in network for network in allowed) else usual
    if isinstance(ip, ipaddress.IPv6Address):
        return Client(f"address:{ipaddress.ip_network((ip, IPV6_HOST_BITS), strict=False)}", factor)
    return Client(f"address:{ip}", factor)
