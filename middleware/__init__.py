"""What wraps a call. `install` puts the inbound layers around the app; `with_measurement` and `with_breaker` wrap the outbound
calls to the provider.

A request passes LAYERS, outermost first, before it reaches Flask, and then IN_FLASK. A cached response comes from one of the
last LAYERS and its request never reaches Flask. Id, headers, version, limits and log line come from the layers before, so that
they are the same either way.

This package imports app.errors and app.telemetry alone; what a layer needs is given to it in `Dependencies`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

from flask import Flask

from app.telemetry.access_log import AccessRecord
from app.telemetry.setup import Telemetry
from app.telemetry.spans import SpanStages
from middleware.breaker import Breaker, Call
from middleware.cors import CorsMiddleware
from middleware.flask_spans import instrument_routes
from middleware.identity import ApiKey, ApiKeyMiddleware, ClientAddressMiddleware, Network
from middleware.provider_calls import MeasuredCalls, Reply
from middleware.rate_limiting import ConcurrencyLimit, RateLimits, limit_concurrency, limit_rates
from middleware.request_bodies import limit_bodies, read_bodies
from middleware.request_context import ErrorResponse, RequestContext, RequestContextMiddleware
from middleware.response_cache import ResponseCache, ResponseCacheMiddleware, Revision
from middleware.security_headers import SecurityHeadersMiddleware
from middleware.socket_io import ROUTE as SOCKETS
from middleware.socket_io import SocketIoMiddleware
from middleware.streaming import Stopping
from middleware.trusted_hosts import TrustedHostMiddleware
from middleware.versioning import Version, VersioningMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Door", "install", "with_breaker", "with_measurement"]

R = TypeVar("R")
A = TypeVar("A", bound=Reply)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the layers need.

    telemetry         traces and durations
    served_by         names this replica to clients; None where it has no name
    data_source       names the market to clients
    render_error      shapes an error response
    log_access        writes the access log
    now, epoch        real seconds: monotonic, and since 1970
    hosts             host names that are answered
    origins           origins that may read versions after the first
    behind_proxy      whether the proxy's headers are trusted
    unversioned       paths of no version, and the version whose rules hold for them
    unversioned_below the same for all paths that begin so
    renamed           paths of version 1 that later versions spell otherwise
    probes            paths of the platform's probes
    operations        paths for operators
    operations_port   port on which these are open without a key
    versions, today   the versions of the API, and the date by which they are read, UTC
    find_key          the API key of a secret; None if the deployment has no keys
    tier_factors      multiple of the limits by the tier of a key
    allowed           networks with higher limits
    limits, groups    rate limits, and the group of each endpoint
    concurrency_limits  requests at a time, by group
    stopping          set once the process stops
    has_polling       whether long polling of Socket.IO is allowed
    is_open_session   whether a session of Engine.IO is open
    response_cache    cached responses
    market_clock      market time
    revision          changes of the core
    """

    telemetry: Telemetry
    served_by: str | None
    data_source: str
    render_error: Callable[[Exception, RequestContext], ErrorResponse]
    log_access: Callable[[AccessRecord], None]
    now: Callable[[], float]
    epoch: Callable[[], float]
    hosts: Collection[str]
    origins: Collection[str]
    behind_proxy: bool
    unversioned: Mapping[str, int]
    unversioned_below: Mapping[str, int]
    renamed: Mapping[str, str]
    probes: Collection[str]
    operations: Collection[str]
    operations_port: int | None
    versions: Iterable[Version]
    today: Callable[[], date]
    find_key: Callable[[str], ApiKey | None] | None
    tier_factors: Mapping[str, float]
    allowed: Sequence[Network]
    limits: RateLimits
    groups: Mapping[str, str]
    concurrency_limits: Mapping[str, ConcurrencyLimit]
    stopping: Stopping
    has_polling: bool
    is_open_session: Callable[[str], bool]
    response_cache: ResponseCache
    market_clock: Callable[[], datetime]
    revision: Revision


Layer = Callable[["WSGIApplication", Dependencies], "WSGIApplication"]
LAYERS: tuple[Layer, ...] = (
    lambda app, deps: RequestContextMiddleware(
        app,
        render_error=deps.render_error,
        count=deps.limits.count,
        log_access=deps.log_access,
        tracing=deps.telemetry.tracing,
        latencies=deps.telemetry.latencies,
        now=deps.now,
        epoch=deps.epoch,
        stopping=deps.stopping,
        served_by=deps.served_by,
        data_source=deps.data_source,
    ),
    lambda app, deps: ClientAddressMiddleware(
        app, deps.allowed, behind_proxy=deps.behind_proxy, has_keys=deps.find_key is not None
    ),
    lambda app, deps: SecurityHeadersMiddleware(app, behind_proxy=deps.behind_proxy),
    lambda app, deps: CorsMiddleware(app, deps.origins, {*deps.operations, SOCKETS}),
    lambda app, deps: VersioningMiddleware(
        app, deps.versions, deps.unversioned, deps.unversioned_below, deps.renamed, deps.today
    ),
    lambda app, deps: TrustedHostMiddleware(app, deps.hosts, deps.probes),
    lambda app, deps: ApiKeyMiddleware(
        app,
        find_key=deps.find_key,
        tier_factors=deps.tier_factors,
        operations=deps.operations,
        operations_port=deps.operations_port,
        probes=deps.probes,
    ),
    lambda app, deps: ResponseCacheMiddleware(app, deps.response_cache, deps.limits, deps.market_clock, deps.revision),
    lambda app, deps: SocketIoMiddleware(
        app,
        deps.limits.count,
        deps.telemetry.latencies.opened,
        deps.origins,
        deps.is_open_session,
        has_polling=deps.has_polling,
    ),
)
IN_FLASK: tuple[Callable[[Flask, Dependencies], None], ...] = (
    lambda app, deps: instrument_routes(app, deps.telemetry.otlp.provider) if deps.telemetry.otlp else None,
    lambda app, deps: limit_bodies(app),
    lambda app, deps: limit_rates(app, deps.limits, deps.groups),
    lambda app, deps: limit_concurrency(app, deps.concurrency_limits),
    lambda app, deps: read_bodies(app),
)


def install(app: Flask, deps: Dependencies) -> None:
    """Put every inbound layer around `app`."""
    for add in IN_FLASK:
        add(app, deps)
    wsgi_app: WSGIApplication = app.wsgi_app
    for layer in reversed(LAYERS):
        wsgi_app = layer(wsgi_app, deps)
    app.wsgi_app = wsgi_app  # type: ignore[method-assign, assignment]


def with_measurement(
    call: Callable[[str, Mapping[str, str]], A],
    stages: SpanStages,
    kind_of: Callable[[str], str],
    outcome_of: Callable[[A], str],
) -> MeasuredCalls[A]:
    """An outbound call that is measured, each attempt by itself. To be put inside `with_breaker`."""
    return MeasuredCalls(call, stages, kind_of, outcome_of)


def with_breaker(
    call: Call[R],
    *,
    kind_of: Callable[[str], str],
    is_failure: Callable[[R], bool],
    emit: Callable[..., None],
    now: Callable[[], float],
) -> Breaker[R]:
    """An outbound call behind the circuit breaker."""
    return Breaker(call, kind_of=kind_of, is_failure=is_failure, emit=emit, now=now)
