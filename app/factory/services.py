"""What the routes may use: the pipeline, the clock, and what health and metrics show."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from app.config.api_versions import Version, Versions
from app.config.settings import Settings
from app.core import Core, degradations, operations
from app.factory.live_log import LiveLog
from app.factory.notifications import health_of
from app.live.broadcaster import Broadcasters, LiveParts
from app.live.event_log import EventLog
from app.live.lifecycle import Lifecycle
from app.live.live_event import Conditions
from app.notify.notifier import Notifier
from app.signals.policy import SUPPORTED
from app.telemetry.exposition import Expose
from app.telemetry.stages import Stages
from app.version import VERSION
from blueprints.dashboard.build import Build
from blueprints.services import CacheValidity, Services
from blueprints.v2.live_shape import LiveShape
from middleware import Dependencies
from middleware.identity import counted_as
from serving.connections import Connections


def connections_of(settings: Settings) -> Connections:
    """The bounds of this process's connections."""
    exempt = settings.rate_limit_allow
    return Connections(
        settings.max_connections, settings.connections_per_address, lambda address: counted_as(address, exempt)
    )


def broadcasters_of(core: Core, log: EventLog, stages: Stages) -> Broadcasters:
    """The broadcasters of the supported tickers, whose events are v2's."""
    market = core.market

    def conditions() -> Conditions:
        circuits = {} if market.breaker is None else market.breaker.states()
        is_closed = all(circuit.state == "closed" for circuit in circuits.values())
        return Conditions("closed" if is_closed else "open", core.pipeline.models.set_id)

    shape = LiveShape(core.pipeline, core.calendar)
    parts = (core.calendar, core.events, market.clock, core.timer, log, shape, conditions, market.speed, stages)
    return Broadcasters(SUPPORTED, LiveParts(core.pipeline, *parts))


def services_of(
    core: Core,
    live: Broadcasters,
    live_log: LiveLog,
    deps: Dependencies,
    versions: Versions,
    metrics: Expose,
    connections: Connections,
    lifecycle: Lifecycle,
    notifier: Notifier | None,
) -> Services:
    """The services of the routes."""
    notifications = health_of(notifier)
    now = core.timer.now
    started = now()
    return Services(
        pipeline=core.pipeline,
        live_promise=core.live_promise,
        live=live,
        clock=core.market.clock,
        calendar=core.calendar,
        degraded=partial(_degraded, core),
        operations=lambda: {**operations(core), "live_log": live_log.status(), "notifications": notifications()},
        uptime_s=lambda: now() - started,
        ready=lambda: "stopping" if lifecycle.is_leaving else _unready(core),
        cache_validity=partial(_cache_validity, core),
        metrics=metrics,
        stages=deps.telemetry.stages,
        versions=lambda: [_version(version, deps.today()) for version in versions],
        connections=connections,
        stopping=lifecycle.stopping,
        start=lifecycle.start,
        leave=lifecycle.leave,
        stop=lifecycle.stop,
        close=lifecycle.close,
        version=VERSION,
        home_region=core.settings.home_region,
        has_home_record=core.settings.has_home_record,
        dashboard=Build(core.settings.dashboard_dir),
    )


def _degraded(core: Core) -> list[str]:
    """Short names of what works less well than it should."""
    names = [*core.market.degraded, *(f"no_model_{ticker}" for ticker in core.pipeline.models.missing)]
    names += ["store"] if core.store.degraded() else []
    names += ["model_set_refused"] if core.models.status().refused is not None else []
    return names + degradations(core) + (["can_forget"] if core.settings.can_forget else [])


def _unready(core: Core) -> str | None:
    """Why this process may not serve; None if it may. A Redis that fails does so for all servers: none would be left."""
    if not core.pipeline.models.models:
        return "no model is loaded"
    is_own = core.settings.redis_url is None
    return "the store cannot be used" if is_own and core.store.degraded() else None


def _cache_validity(core: Core, tickers: tuple[str, ...]) -> CacheValidity:
    """For how long a response about `tickers` is valid that is begun now. The revision is read first."""
    revision, at = core.events.revision(tickers), core.market.clock()
    expires_at = core.pipeline.steady_until(at).timestamp()
    return CacheValidity(tickers, revision, at.timestamp(), expires_at, core.market.speed)


def _version(version: Version, today: date) -> dict[str, Any]:
    def shown(day: date | None) -> str | None:
        return None if day is None else day.isoformat()

    return {
        "version": version.number,
        "status": version.status(today),
        "released": shown(version.released),
        "deprecated": shown(version.deprecated),
        "sunset": shown(version.sunset),
        "successor": version.successor,
        "guide": version.guide,
        "contract_sha256": version.contract,
    }
