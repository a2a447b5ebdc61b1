"""What wraps a call. `install` lists the inbound layers, outermost first; `wrap` the outbound one, the breaker.

Imports app.errors at most; what a layer needs is handed to it in `Door`.

A request passes LAYERS below Flask, then IN_FLASK. A cached response comes from one of the last LAYERS and its request never
reaches Flask. Id, headers, version, limits and log line come from the layers before, so that they are the same either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from flask import Flask

from middleware.access import AccessRecord
from middleware.breaker import Breaker, Call
from middleware.cors import CorsMiddleware
from middleware.identity import ApiKey, ApiKeyMiddleware, ClientAddressMiddleware, Network
from middleware.rate_limiting import ConcurrencyLimit, RateLimits, limit_concurrency, limit_rates
from middleware.request_bodies import limit_bodies, read_bodies
from middleware.request_context import ErrorResponse, RequestContext, RequestContextMiddleware
from middleware.response_cache import ResponseCache, ResponseCacheMiddleware, Revision
from middleware.security_headers import SecurityHeadersMiddleware
from middleware.socket_io import ROUTE as SOCKETS
from middleware.socket_io import SocketIoMiddleware, without_upgrade
from middleware.spans import Calls, Reply
from middleware.streaming import Stopping
from middleware.tracing import instrument, outgoing
from middleware.trusted_hosts import TrustedHostMiddleware
from middleware.versioning import VersioningMiddleware, VersionTable
from middleware.watching import Watch, watch

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Door", "Watch", "install", "measure", "outgoing", "watch", "wrap"]

R = TypeVar("R")
A = TypeVar("A", bound=Reply)


@dataclass(frozen=True, slots=True)
class Door:
    """What the layers need.

    watch                         traces and durations
    render_error, log_access      shape of errors, access log
    now, epoch                    real seconds (monotonic, since 1970)
    hosts, origins, behind_proxy  which are answered, which may read v2, whether the proxy's headers are trusted
    unversioned, probes, operations  paths of no version; of the platform; for operators
    versions, today               the table, and the date by which it is read, UTC
    find_key, tier_factors        the key of a secret (None: there are no keys), multiple of the limits by tier
    allowed                       networks with higher limits
    limits, groups                rate limits, and the group of each endpoint
    concurrency_limits            requests at a time, by group
    stopping, has_sockets         set once the process stops; whether Socket.IO is part of the app
    response_cache, revision      cached responses, changes of the core
    market_now                    market time, seconds since 1970
    """

    watch: Watch
    render_error: Callable[[Exception, RequestContext], ErrorResponse]
    log_access: Callable[[AccessRecord], None]
    now: Callable[[], float]
    epoch: Callable[[], float]
    hosts: Collection[str]
    origins: Collection[str]
    behind_proxy: bool
    unversioned: Collection[str]
    probes: Collection[str]
    operations: Collection[str]
    operations_port: int | None
    versions: VersionTable
    today: Callable[[], date]
    find_key: Callable[[str], ApiKey | None] | None
    tier_factors: Mapping[str, float]
    allowed: Sequence[Network]
    limits: RateLimits
    groups: Mapping[str, str]
    concurrency_limits: Mapping[str, ConcurrencyLimit]
    stopping: Stopping
    has_sockets: bool
    response_cache: ResponseCache
    market_now: Callable[[], float]
    revision: Revision


Layer = Callable[["WSGIApplication", Door], "WSGIApplication"]
LAYERS: tuple[Layer, ...] = (
    lambda app, door: RequestContextMiddleware(
        app,
        render_error=door.render_error,
        count=door.limits.count,
        log_access=door.log_access,
        tracing=door.watch.tracing,
        latencies=door.watch.latencies,
        now=door.now,
        epoch=door.epoch,
        stopping=door.stopping,
    ),
    lambda app, door: ClientAddressMiddleware(
        app, door.allowed, behind_proxy=door.behind_proxy, has_keys=door.find_key is not None
    ),
    lambda app, door: SecurityHeadersMiddleware(app, behind_proxy=door.behind_proxy),
    lambda app, door: CorsMiddleware(
        app, door.origins, {*door.operations, SOCKETS} if door.has_sockets else door.operations
    ),
    lambda app, door: VersioningMiddleware(app, door.versions, door.unversioned, door.today),
    lambda app, door: TrustedHostMiddleware(app, door.hosts, door.probes),
    lambda app, door: ApiKeyMiddleware(
        app,
        find_key=door.find_key,
        tier_factors=door.tier_factors,
        operations=door.operations,
        operations_port=door.operations_port,
        probes=door.probes,
    ),
    lambda app, door: ResponseCacheMiddleware(app, door.response_cache, door.limits, door.market_now, door.revision),
    lambda app, door: (
        SocketIoMiddleware(app, door.limits.count, door.watch.latencies.opened)
        if door.has_sockets
        else without_upgrade(app)
    ),
)
IN_FLASK: tuple[Callable[[Flask, Door], None], ...] = (
    lambda app, door: instrument(app, door.watch.exporting.provider) if door.watch.exporting else None,
    lambda app, door: limit_bodies(app),
    lambda app, door: limit_rates(app, door.limits, door.groups),
    lambda app, door: limit_concurrency(app, door.concurrency_limits),
    lambda app, door: read_bodies(app),
)


def install(app: Flask, door: Door) -> None:
    """Wrap `app` in every inbound layer."""
    for part in IN_FLASK:
        part(app, door)
    served: WSGIApplication = app.wsgi_app
    for layer in reversed(LAYERS):
        served = layer(served, door)
    app.wsgi_app = served  # type: ignore[method-assign, assignment]


def measure(
    call: Callable[[str, Mapping[str, str]], A], watch: Watch, kind_of: Callable[[str], str], judge: Callable[[A], str]
) -> Calls[A]:
    """An outbound call as it is made, each try by itself: inside `wrap`."""
    return Calls(call, watch.spans, kind_of, judge)


def wrap(
    call: Call[R],
    *,
    kind_of: Callable[[str], str],
    is_failure: Callable[[R], bool],
    emit: Callable[..., None],
    now: Callable[[], float] = time.monotonic,
) -> Breaker[R]:
    """An outbound call behind all that wraps it."""
    return Breaker(call, kind_of=kind_of, is_failure=is_failure, emit=emit, now=now)
