"""What the layers around Flask depend on: settings, limits, the response cache, and the stopping event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial

import blueprints
import middleware
from app.clock import REAL_TIME
from app.config import api_keys
from app.config.api_versions import Versions
from app.config.settings import Settings
from app.core import Core
from app.telemetry.access_log import AccessLog
from app.telemetry.setup import Telemetry
from app.telemetry.stages import Stages
from blueprints import errors
from middleware.rate_limiting import ConcurrencyLimit, RateLimits
from middleware.response_cache import ResponseCache
from middleware.sliding_windows import InMemoryWindows, RedisWindows, WindowsWithFallback
from middleware.socket_io import ROUTE as SOCKETS
from middleware.streaming import Stopping

REPLAYS_PER_CLIENT, REPLAYS_IN_ALL = 4, 16
"""Replays in progress at a time, of one client and of all."""

STREAM_RETRY_AFTER_S = 30
"""When a client that has no place for another stream may ask again: streams that follow a ticker last for minutes."""


def dependencies_of(
    core: Core,
    versions: Versions,
    access_log: AccessLog,
    telemetry: Telemetry,
    stopping: Stopping,
    is_open_session: Callable[[str], bool],
) -> middleware.Dependencies:
    """What the layers around Flask depend on."""
    settings, timer = core.settings, core.timer
    windows = _windows(core, telemetry.stages)

    def today() -> date:
        return datetime.fromtimestamp(timer.epoch(), UTC).date()

    def find_key(secret: str) -> api_keys.ApiKey | None:
        return api_keys.find(settings.api_keys, secret, today())

    return middleware.Dependencies(
        telemetry=telemetry,
        served_by=settings.replica.served_by,
        data_source=core.market.plan.market.value,
        render_error=errors.render_error,
        log_access=access_log,
        now=timer.now,
        epoch=timer.epoch,
        hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
        behind_proxy=settings.behind_proxy,
        unversioned={**blueprints.UNVERSIONED, SOCKETS: 1},
        unversioned_below=blueprints.UNVERSIONED_BELOW,
        renamed=blueprints.RENAMED,
        probes=blueprints.PROBES,
        operations=blueprints.OPERATIONS,
        operations_port=settings.operations_port,
        versions=versions,
        today=today,
        find_key=find_key if settings.api_keys else None,
        tier_factors=api_keys.TIERS,
        allowed=settings.rate_limit_allow,
        limits=RateLimits(_amounts(settings), windows, core.events),
        groups=blueprints.GROUPS,
        concurrency_limits={
            "replay": ConcurrencyLimit(REPLAYS_PER_CLIENT, REPLAYS_IN_ALL),
            "streams": ConcurrencyLimit(settings.streams_per_client, settings.streams_in_all, STREAM_RETRY_AFTER_S),
            "sockets": ConcurrencyLimit(
                settings.sockets_per_client, settings.sockets_in_all, STREAM_RETRY_AFTER_S, what="connections"
            ),
        },
        stopping=stopping,
        has_polling=settings.is_alone,
        is_open_session=is_open_session,
        response_cache=ResponseCache(),
        market_clock=core.market.clock,
        revision=core.events.revision,
    )


def _amounts(settings: Settings) -> Mapping[str, int]:
    """Requests a minute by group."""
    return {
        "directions": settings.rate_limit_directions,
        "analysis": settings.rate_limit_analysis,
        "replay": settings.rate_limit_replay,
        "streams": settings.rate_limit_streams,
        "other": settings.rate_limit_other,
    }


def _windows(core: Core, stages: Stages) -> InMemoryWindows | WindowsWithFallback:
    """The windows that count requests: in memory, or in Redis with those in memory while Redis fails."""
    timer, redis = core.timer, core.redis
    local = InMemoryWindows(timer.now, timer.epoch)
    if redis is None:
        return local
    shared = RedisWindows(redis.client, redis.timeout_s, redis.epoch, stages, partial(timer.sleep, 0))
    return WindowsWithFallback(shared, local, core.events, REAL_TIME.sleep)
