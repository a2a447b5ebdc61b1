"""Pools of connections to a Redis by its address, also to the master that Sentinels name. Every wait has a short time-out, and
nothing is tried twice."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from app.redis_address import SentinelAddress, sentinel_address_of
from app.redis_patience import PatientQueue, patient

IDLE_S: Final = 30
"""A connection that was idle for so many seconds is checked before it is used."""


class MasterPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to the master of a service. A new connection asks the Sentinels, in turn until one answers; one to a Redis
    that is the master no more is given up, and forgotten: it keeps a buffer of 32 KB."""

    def release(self, connection: Any) -> None:
        is_kept = self.owns_connection(connection)  # type: ignore[no-untyped-call]
        super().release(connection)  # type: ignore[no-untyped-call]
        if not is_kept and connection in self._connections:
            self._connections.remove(connection)

    def close(self) -> None:
        super().close()
        self.sentinel_manager.close()


def pool_of(url: str, timeout_s: float, connections: int, idle_s: int = IDLE_S) -> redis.ConnectionPool:
    """At most so many connections; who needs one more waits for `timeout_s`, twice. None is opened yet. Raises TypeError or
    ValueError for an option of the address that redis does not know."""
    bounds = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(NoBackoff(), 0)}
    shared: dict[str, Any] = {
        "queue_class": PatientQueue,
        "max_connections": connections,
        "timeout": timeout_s,
        "health_check_interval": idle_s,
    }
    options: dict[str, Any] = {**bounds, **shared, "decode_responses": True}
    address = sentinel_address_of(url)
    pool: redis.ConnectionPool = (
        _master_pool(address, bounds, options) if address else redis.BlockingConnectionPool.from_url(url, **options)
    )
    pool.connection_class(**pool.connection_kwargs)  # refuses what it does not know
    pool.connection_class = patient(pool.connection_class)
    return pool


def _master_pool(address: SentinelAddress, bounds: dict[str, Any], options: dict[str, Any]) -> MasterPool:
    found = parse_url(address.redis_url)  # type: ignore[no-untyped-call]
    is_tls = found.pop("connection_class", None) is SSLConnection
    tls = {name: value for name, value in found.items() if name.startswith("ssl_")} | ({"ssl": True} if is_tls else {})
    own = parse_url(f"redis://?{urlencode(address.options)}")  # type: ignore[no-untyped-call]
    sentinels = Sentinel(address.sentinels, sentinel_kwargs={**bounds, **tls, **own})  # type: ignore[no-untyped-call]
    kind = SentinelManagedSSLConnection if is_tls else SentinelManagedConnection
    del found["host"]
    return MasterPool(address.service, sentinels, connection_class=kind, **{**options, **found})  # type: ignore[no-untyped-call]
