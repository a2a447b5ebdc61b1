"""Who sends a request: the holder of an API key, else an address. The address is that of the connection, or the one that the
proxy in front names if the deployment trusts one; a header alone is never trusted.

A key comes in `X-API-Key` or as `Authorization: Bearer`, never in a URL.
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

UNAUTHENTICATED_FACTOR = 0.5
"""Multiple of the limits for clients without a key, if the deployment has keys (ruling A7)."""

ALLOWED_FACTOR = 100.0
"""Multiple of the limits for addresses that the deployment names: proxies with many viewers."""

IPV6_PREFIX_BITS = 64
"""A single IPv6 customer usually has a whole /64 to choose addresses from, so that these count as one."""

PROXY_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ApiKey(Protocol):
    """A key without its secret (`api_keys.ApiKey`)."""

    @property
    def name(self) -> str: ...
    @property
    def tier(self) -> str: ...


class ClientAddressMiddleware:
    """The layer that makes the address the client of a request. `allowed`: networks with higher limits; `has_keys`: whether the
    deployment has keys, so that clients without one get lower limits."""

    def __init__(self, app: WSGIApplication, allowed: Sequence[Network], *, behind_proxy: bool, has_keys: bool) -> None:
        self._app = app
        self._behind_proxy = behind_proxy
        factor = UNAUTHENTICATED_FACTOR if has_keys else 1.0
        self._client = lru_cache(4096)(lambda address: _client(address, allowed, factor))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        forwarded = environ.get("HTTP_X_REAL_IP") if self._behind_proxy else None
        environ[ENVIRON_KEY].client = self._client(forwarded or environ.get("REMOTE_ADDR") or "")
        return self._app(environ, start_response)


class ApiKeyMiddleware:
    """The layer that makes the holder of an API key the client of a request, and protects the paths for operators.

    find_key         the key of a secret, None for a wrong one; None if the deployment has no keys
    tier_factors     multiple of the limits by tier
    probes           paths for which no key is read, not even a valid one
    operations       paths for operators: open to an operator's key, on `operations_port`, or without keys over loopback
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        find_key: Callable[[str], ApiKey | None] | None,
        tier_factors: Mapping[str, float],
        operations: Collection[str],
        operations_port: int | None,
        probes: Collection[str],
    ) -> None:
        self._app = app
        self._probes = frozenset(probes)
        self._find_key = find_key
        self._tier_factors = tier_factors
        self._operations = frozenset(operations)
        self._operations_port = None if operations_port is None else str(operations_port)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        if self._find_key is not None and environ["PATH_INFO"] not in self._probes:
            secret = _secret(environ)
            if secret is not None:
                context.client = client_of_key(self._find_key(secret), self._tier_factors)
        if environ["PATH_INFO"] in self._operations and not self._may_operate(environ, context.client):
            raise Forbidden("this is for operators: with their key, or on the private port")
        return self._app(environ, start_response)

    def _may_operate(self, environ: WSGIEnvironment, client: Client) -> bool:
        if client.operator:
            return True
        if self._operations_port is not None and environ.get("SERVER_PORT") == self._operations_port:
            return True
        return self._find_key is None and _is_local(environ)


def client_of_key(key: ApiKey | None, tier_factors: Mapping[str, float]) -> Client:
    """The holder of a key. Raises Unauthorized for a key that there is not."""
    if key is None:
        raise Unauthorized("the API key is unknown or expired")
    return Client(f"key:{key.name}", tier_factors[key.tier], key.tier == "operator")


def _is_local(environ: WSGIEnvironment) -> bool:
    """Whether the request came over loopback, and not from a proxy there that forwards it for someone else."""
    try:
        peer = _ip(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return peer.is_loopback and not any(name in environ for name in PROXY_HEADERS)


def _secret(environ: WSGIEnvironment) -> str | None:
    """The API key that the request carries."""
    secret: str = environ.get("HTTP_X_API_KEY", "")
    if not secret.strip():
        scheme, _, secret = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
    return secret.strip() or None


def _client(address: str, allowed: Sequence[Network], factor: float) -> Client:
    """The client at an address. All addresses that cannot be parsed count as one client."""
    try:
        ip = _ip(address)
    except ValueError:
        return Client("address:unknown", factor)
    if any(ip in network for network in allowed):
        factor = ALLOWED_FACTOR
    return Client(f"address:{_counted_as(ip)}", factor)


def _counted_as(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The name under which an address is counted: an IPv6 address together with its whole /64."""
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, IPV6_PREFIX_BITS), strict=False))
    return str(ip)


def counted_as(address: str, exempt: Sequence[Network]) -> str | None:
    """The name under which a connection from an address is counted. None if it is not: the address is exempt or unknown."""
    try:
        ip = _ip(address)
    except ValueError:
        return None
    return None if any(ip in network for network in exempt) else _counted_as(ip)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address in a text, with an IPv4-mapped IPv6 address as the IPv4 address that it is. Raises ValueError."""
    ip = ipaddress.ip_address(text.strip())
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
