"""`create_app` builds the whole server, and `build` its core. This is the one module that may import everything."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response

import blueprints
import middleware
from app.clock import Clock, Timer, running_clock, wall_clock
from app.config import api_keys
from app.config.api_versions import VERSIONS, Version, Versions
from app.config.settings import VERSION, Settings, load
from app.core import Core, DataFeed, degradations, operations
from app.errors import SettingsError, Unavailable
from app.live.events import Events
from app.live.follower import Follower
from app.market.announcements import Announcements
from app.market.bars import Span
from app.market.budget import PAID_PLAN, SMALL_PLAN, Budget, KeptPlan, Limit
from app.market.cache import BarCache
from app.market.calendar import Calendar, ny_day
from app.market.calling import (
    Reachability,
    is_failure,
    kind_of,
    outcome,
    with_budget,
    with_clock_skew,
    with_reachability,
    with_retries,
)
from app.market.demo import SEED, SPEED, DemoFeed, demo_moment
from app.market.feed_transport import EmptyFeed, FeedTransport
from app.market.opens import MissingOpen
from app.market.pinned import CHANGED, PinnedBars
from app.market.plan import ClockSkew, Entitlement, Plan
from app.market.polygon import HOSTS, HttpTransport, Polygon, Transport, no_key
from app.market.recorded import RecordedBars
from app.market.running_day import RunningDay, SqliteRunningDay
from app.market.source import Source
from app.model.artefact import ModelSet, PolicyStamp, load_models
from app.model.drift import Drift, reference_of
from app.pipeline import Pipeline
from app.signals.policy import LONG_ABOVE, SHORT_BELOW, SPEC_VERSION, SUPPORTED
from app.signals.store import SqliteStore
from app.telemetry import logs
from app.telemetry.access_log import AccessLog
from app.telemetry.core_metrics import core_metrics
from app.telemetry.exposition import Expose, Exposition
from app.telemetry.metrics import Metric
from app.telemetry.pushgateway import PushgatewayClient
from app.telemetry.server_metrics import access_log_metrics, connection_metrics, telemetry_metrics
from app.telemetry.setup import Telemetry, build_telemetry
from app.telemetry.stages import Stages
from app.telemetry.tracing import current_request, trace_headers
from app.telemetry.worker_metrics import MergedExposition, WorkerGroup
from blueprints import errors
from blueprints.services import CacheValidity, Services
from middleware.identity import counted_as
from middleware.metrics import limit_metrics, response_cache_metrics
from middleware.rate_limiting import ConcurrencyLimit, RateLimits
from middleware.response_cache import ResponseCache
from middleware.sliding_windows import InMemoryWindows, RedisWindows, WindowsWithFallback
from middleware.socket_io import ROUTE as SOCKETS
from serving.connections import REASONS, Connections

log = logging.getLogger("predict")

POLICY = PolicyStamp(SPEC_VERSION, LONG_ABOVE, SHORT_BELOW)
SETTLE = timedelta(seconds=5)
REPLAYS_PER_CLIENT, REPLAYS_IN_ALL = 4, 16
"""Replays in progress at a time, of one client and of all."""


class JsonResponse(Response):
    """A response whose content type is JSON unless it names another, even if it is empty (OPTIONS)."""

    default_mimetype = "application/json"


def create_app(
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    timer: Timer | None = None,
    versions: Versions = VERSIONS,
    events: Events | None = None,
    attach_sockets: Callable[[Flask], object] | None = None,
) -> Flask:
    """The whole server. `clock`, `timer` and `transport` replace those of the market, a transport also the guards around it:
    tests use this. `events`: the event bus. `attach_sockets` adds Socket.IO to the app (`SocketIO.init_app`) below all layers;
    without it there is no `/socket.io/`.

    Raises SettingsError with a sentence that names the wrong variable.
    """
    settings, timer, events = settings or load(), timer or Timer(), events or Events()
    telemetry = _telemetry(settings, timer, events, settings.traces_to)
    core = build(settings, clock=clock, transport=transport, timer=timer, events=events, telemetry=telemetry)
    access = AccessLog(_access_writer(core.settings), as_json=logs.is_json(core.settings.log_format))
    stopping = threading.Event()
    deps = _dependencies(core, versions, access, telemetry, stopping, has_sockets=attach_sockets is not None)
    app = Flask("predict", static_folder=None)
    app.response_class = JsonResponse
    app.json.sort_keys = False  # type: ignore[attr-defined]
    blueprints.register(
        app, _services(core, deps, versions, telemetry, _Background(core, deps, access, telemetry, stopping))
    )
    if attach_sockets is not None:
        attach_sockets(app)
    middleware.install(app, deps)
    logs.add_request_ids(_ids)
    _warn_of_missing_parts(core)
    return app


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    timer: Timer | None = None,
    events: Events | None = None,
    telemetry: Telemetry | None = None,
) -> Core:
    """The core: market, model, signals and follower. Nothing runs yet. By default traces are not exported."""
    timer, emit = timer or Timer(), events or Events()
    named = {} if settings.market == "demo" else dict(settings.market_closures)
    calendar = Calendar(named)
    telemetry = telemetry or _telemetry(settings, timer, emit, None)
    models = load_models(settings.models_dir, SUPPORTED, POLICY)
    market = _with(_market(settings, calendar, models, clock, timer, emit, telemetry), clock, transport, telemetry)
    folder, stages = settings.data_dir / market.namespace, telemetry.stages
    store = SqliteStore(folder / "record.sqlite3", emit, stages)
    cache = BarCache(folder / "bars.sqlite3", emit, stages)
    polygon = Polygon(market.transport, calendar, settings.polygon_base_url)
    ahead = timedelta if market.skew is None else market.skew.ahead
    running_day = _running_day(market, folder, timer, emit, stages, ahead)
    shared_day = (running_day, ahead, market.is_answered, market.observe_elsewhere)
    source = Source(polygon, cache, store, calendar, market.clock, market.plan, emit, timer, stages, *shared_day)
    pipeline = Pipeline(source, models, store, calendar, market.clock, emit, stages)
    emit.subscribe("calendar_changed", lambda **fields: source.follow_calendar())
    announcements: Announcements | None = None
    if settings.market == "polygon":
        announcements = known = Announcements(folder / "calendar.sqlite3", calendar, named, timer, emit, stages)
        source.settle_calendar_by(
            lambda: known.doubtful(market.clock()), lambda days: known.withdraw(days, market.clock())
        )

    def adopt(entitlement: Entitlement) -> None:
        source.entitle(entitlement)
        if market.budget is not None and settings.polygon_calls_per_minute is None:
            market.budget.limit = PAID_PLAN if entitlement.has_intraday else SMALL_PLAN

    def entitle(entitlement: Entitlement) -> None:
        adopt(entitlement)
        if market.budget is not None:
            market.budget.keep_plan(entitlement)

    adopted: list[KeptPlan] = []

    def adopt_plan() -> bool:
        kept = None if market.budget is None else market.budget.kept_plan()
        if kept is None or kept in adopted:
            return False
        adopted[:] = [kept]
        adopt(kept.entitlement)
        return True

    if market.budget is not None:
        adopt_plan()
        market.budget.reserve_by(lambda: len(SUPPORTED) if _is_live(source, calendar, market.clock) else 0)
    probed = polygon if market.budget is not None else None
    shared = (announcements, stages, running_day, adopt_plan)
    follower = Follower(source, pipeline, calendar, market.clock, timer, emit, probed, entitle, *shared)
    return Core(settings, timer, emit, market, calendar, store, source, pipeline, follower, announcements, running_day)


def _running_day(
    market: DataFeed, folder: Path, timer: Timer, emit: Events, stages: Stages, ahead: Callable[[], timedelta]
) -> RunningDay | None:
    """What the processes on one DATA_DIR share, if calls to the provider cost budget."""
    if market.budget is None:
        return None
    return SqliteRunningDay(folder / "running_day.sqlite3", timer, emit, stages, (MissingOpen,), ahead)


def _is_live(source: Source, calendar: Calendar, clock: Clock) -> bool:
    """Whether the bars of the running day need calls now."""
    return source.plan.has_today and calendar.is_open(clock())


def _market(
    settings: Settings,
    calendar: Calendar,
    models: ModelSet,
    clock: Clock | None,
    timer: Timer,
    emit: Events,
    telemetry: Telemetry,
) -> DataFeed:
    if settings.market == "demo":
        return _demo(calendar, models, clock)
    if settings.market == "recorded":
        return _recorded(settings, calendar, clock)
    return _polygon(settings, clock or wall_clock, timer, emit, telemetry)


def _demo(calendar: Calendar, models: ModelSet, clock: Clock | None) -> DataFeed:
    """The demo market. Its namespace names the seed and the models, since its days repeat and its signals depend on both."""
    clock = clock or (lambda: demo_moment(calendar, time.time()))
    transport = FeedTransport(DemoFeed(calendar, give_way=partial(time.sleep, 0)), calendar, clock)
    return DataFeed(transport, clock, Plan("demo", Span.MINUTE), f"demo-{SEED}-{models.set_id}", speed=SPEED)


def _recorded(settings: Settings, calendar: Calendar, clock: Clock | None) -> DataFeed:
    plan = Plan("recorded", Span.FIVE_MINUTES)
    try:
        recorded = RecordedBars(settings.data_dir / "recorded.sqlite3", calendar)
    except Unavailable as exc:
        log.warning("%s", exc.detail)
        clock = clock or wall_clock
        nothing = replace(plan, has_bars=False)
        return DataFeed(
            FeedTransport(EmptyFeed(), calendar, clock), clock, nothing, "recorded-none", ["no_recorded_bars"]
        )
    if clock is None and settings.clock is not None:
        _refuse_clock_outside(settings.clock, recorded, calendar)
    clock = clock or _recorded_clock(settings, settings.clock or recorded.default_start(SUPPORTED))
    plan = replace(plan, has_bars=bool(recorded.series()))
    degraded = [] if plan.has_bars else ["no_recorded_bars"]
    speed = 1.0 if clock is wall_clock else settings.clock_speed

    def on_change() -> None:
        degraded.append("recorded_bars_changed")
        log.warning("%s", CHANGED)

    feed = PinnedBars(recorded, on_change)
    name = f"recorded-{recorded.data_hash()[:12]}"  # of the pinned bars, or of later ones that no read returns
    return DataFeed(FeedTransport(feed, calendar, clock), clock, plan, name, degraded, speed=speed)


def _refuse_clock_outside(clock: datetime, recorded: RecordedBars, calendar: Calendar) -> None:
    """Raises SettingsError if the recorded market's clock would start on a day that no imported bar is near."""
    days = recorded.days(SUPPORTED)
    if days is None:
        return
    first, last = days
    day = ny_day(clock)
    newest = day if calendar.session(day) is not None else calendar.previous_trading_day(day)
    if not first <= day or newest > last:
        reach, value = f"from {first} to {last}", clock.isoformat(timespec="minutes")
        raise SettingsError(f"CLOCK: must lie in the imported bars, which reach {reach} (it is {value})")


def _recorded_clock(settings: Settings, start: datetime | None) -> Clock:
    began = datetime.fromtimestamp(settings.clock_anchor or time.time(), UTC)
    return wall_clock if start is None else running_clock(start, settings.clock_speed, began)


def _polygon(settings: Settings, clock: Clock, timer: Timer, emit: Events, telemetry: Telemetry) -> DataFeed:
    plan = Plan("polygon", Span.MINUTE, timedelta(minutes=settings.polygon_delay_minutes), SETTLE)
    if settings.polygon_api_key is None or not settings.has_key:
        return DataFeed(no_key, clock, replace(plan, has_key=False), "polygon", ["no_api_key"])
    key, cap = settings.polygon_api_key.get_secret_value(), settings.polygon_calls_per_minute
    limit, namespace = SMALL_PLAN if cap is None else Limit(cap, 60.0), _namespace(settings.polygon_base_url)
    plan = replace(plan, is_polygon=namespace == "polygon")
    budget = Budget(settings.data_dir / namespace / "budget.sqlite3", key, limit, timer, emit, telemetry.stages)
    skew, reachability = ClockSkew(clock, emit), Reachability(emit)
    http = _measured(HttpTransport(settings.polygon_base_url, key, headers=trace_headers), telemetry)
    http = with_reachability(with_clock_skew(http, skew), reachability)
    breaker = middleware.with_breaker(
        with_retries(with_budget(http, budget), timer), kind_of=kind_of, is_failure=is_failure, emit=emit, now=timer.now
    )
    market = DataFeed(breaker, clock, plan, namespace, budget=budget, breaker=breaker, skew=skew)
    return replace(market, reachability=reachability)


def _namespace(base_url: str) -> str:
    """The folder of a provider's records: signals of a simulated provider never enter the real record (ruling M4)."""
    parts = urlsplit(base_url)
    return "polygon" if parts.hostname in HOSTS else re.sub(r"[^a-z0-9]+", "-", f"polygon-{parts.netloc}".lower())


def _with(market: DataFeed, clock: Clock | None, transport: Transport | None, telemetry: Telemetry) -> DataFeed:
    if transport is not None:
        market = replace(market, transport=transport, budget=None, breaker=None, skew=None, reachability=None)
    if market.breaker is None:
        market = replace(market, transport=_measured(market.transport, telemetry))
    return replace(market, clock=clock or market.clock)


def _measured(transport: Transport, telemetry: Telemetry) -> Transport:
    return middleware.with_measurement(transport, telemetry.stages, kind_of, outcome)


def _telemetry(settings: Settings, timer: Timer, emit: Events, traces_to: str | None) -> Telemetry:
    """The telemetry of this process. traces_to: the collector's URL, None: there is none."""
    return build_telemetry(
        traces_to,
        service=settings.service_name,
        instance=_instance(settings),
        share=settings.traces_share,
        emit=emit,
        now=timer.now,
        epoch=timer.epoch,
    )


def _instance(settings: Settings) -> str:
    """What distinguishes this replica from others; all of its workers have the same."""
    return settings.railway_replica or f"{socket.gethostname()}:{settings.port}"


def _ids() -> dict[str, str]:
    """The ids that log lines carry: those of the request that this thread serves."""
    request = current_request.get()
    return {} if request is None else {"request_id": request.id, "trace_id": request.trace.id}


def _dependencies(
    core: Core,
    versions: Versions,
    access: AccessLog,
    telemetry: Telemetry,
    stopping: threading.Event,
    *,
    has_sockets: bool,
) -> middleware.Dependencies:
    """What the layers around Flask depend on."""
    settings, timer, clock = core.settings, core.timer, core.market.clock
    limits = RateLimits(_amounts(settings), _windows(settings, timer, core.events, telemetry.stages), core.events)

    def today() -> date:
        return datetime.fromtimestamp(timer.epoch(), UTC).date()

    def find_key(secret: str) -> api_keys.ApiKey | None:
        return api_keys.find(settings.api_keys, secret, today())

    return middleware.Dependencies(
        telemetry=telemetry,
        render_error=errors.render_error,
        log_access=access,
        now=timer.now,
        epoch=timer.epoch,
        hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
        behind_proxy=settings.behind_proxy,
        unversioned=blueprints.UNVERSIONED | {SOCKETS} if has_sockets else blueprints.UNVERSIONED,
        probes=blueprints.PROBES,
        operations=blueprints.OPERATIONS,
        operations_port=settings.operations_port,
        versions=versions,
        today=today,
        find_key=find_key if settings.api_keys else None,
        tier_factors=api_keys.TIERS,
        allowed=settings.rate_limit_allow,
        limits=limits,
        groups=blueprints.GROUPS,
        concurrency_limits={"replay": ConcurrencyLimit(REPLAYS_PER_CLIENT, REPLAYS_IN_ALL)},
        stopping=stopping,
        has_sockets=has_sockets,
        response_cache=ResponseCache(),
        market_now=lambda: clock().timestamp(),
        revision=core.events.revision,
    )


def _amounts(settings: Settings) -> Mapping[str, int]:
    """Requests a minute by group."""
    return {
        "directions": settings.rate_limit_directions,
        "analysis": settings.rate_limit_analysis,
        "replay": settings.rate_limit_replay,
        "other": settings.rate_limit_other,
    }


def _windows(settings: Settings, timer: Timer, emit: Events, stages: Stages) -> InMemoryWindows | WindowsWithFallback:
    local = InMemoryWindows(timer.now, timer.epoch)
    if settings.redis_url is None:
        return local
    try:
        own_clock = None if timer.epoch is time.time else timer.epoch
        shared = RedisWindows(settings.redis_url.get_secret_value(), own_clock, stages=stages)
        return WindowsWithFallback(shared, local, emit, time.sleep)
    except (TypeError, ValueError):
        raise SettingsError("REDIS_URL: has an option (after the ?) that redis does not know") from None


def _connections(settings: Settings) -> Connections:
    """The bounds of this process's connections."""
    exempt = settings.rate_limit_allow
    return Connections(
        settings.max_connections, settings.connections_per_address, lambda address: counted_as(address, exempt)
    )


def _access_writer(settings: Settings) -> Callable[[str], object]:
    return sys.stderr.write if settings.log_level in ("DEBUG", "INFO") else lambda text: None


def _cache_validity(core: Core, tickers: tuple[str, ...]) -> CacheValidity:
    """For how long a response about `tickers` is valid that is begun now. The revision is read first."""
    revision, at = core.events.revision(tickers), core.market.clock()
    expires_at = core.pipeline.steady_until(at).timestamp()
    return CacheValidity(tickers, revision, at.timestamp(), expires_at, core.market.speed)


class _Background:
    """What runs beside the requests, from `start` to `close`: access log, follower, and the export of metrics."""

    def __init__(
        self,
        core: Core,
        deps: middleware.Dependencies,
        access: AccessLog,
        telemetry: Telemetry,
        stopping: threading.Event,
    ) -> None:
        self._core = core
        self._emit = core.events
        self._access = access
        self._telemetry = telemetry
        self._windows = deps.limits.windows
        self.stopping = stopping
        self.connections = _connections(core.settings)
        folder, gateway = core.settings.workers_dir, core.settings.pushgateway
        self._workers = None if folder is None else WorkerGroup(folder)
        self._own_metrics = Exposition(telemetry.latencies, self._all_metrics(deps, access, telemetry))
        self.metrics: Expose = (
            self._own_metrics if self._workers is None else MergedExposition(self._own_metrics, self._workers)
        )
        self._pushgateway = None if gateway is None else self._pushgateway_client(gateway.get_secret_value())

    def _all_metrics(self, deps: middleware.Dependencies, access: AccessLog, telemetry: Telemetry) -> list[Metric]:
        return [
            *core_metrics(self._core, _drift(self._core), deps.response_cache.lookups),
            *limit_metrics(deps.limits, deps.concurrency_limits),
            *response_cache_metrics(deps.response_cache),
            *access_log_metrics(access),
            *telemetry_metrics(telemetry),
            *connection_metrics(self.connections, REASONS),
        ]

    def start(self) -> None:
        """Start everything. To be called after any fork."""
        self._access.start()
        if self._workers is not None:
            try:
                self._workers.join(self._own_metrics)
            except OSError as exc:  # this worker then exposes its own series alone
                self._emit("workers_apart", error=str(exc))
        if self._pushgateway is not None:
            self._pushgateway.start()
        if "no_api_key" not in self._core.market.degraded:
            follow = self._core.follower.run
            threading.Thread(target=follow, args=(self.stopping,), name="follower", daemon=True).start()

    def close(self) -> None:
        self._core.close()
        self._telemetry.close()
        for part in (self._pushgateway, self._workers, self._access):
            if part is not None:
                part.close()
        if isinstance(self._windows, WindowsWithFallback):
            self._windows.close()

    def _pushgateway_client(self, address: str) -> PushgatewayClient:
        return PushgatewayClient(address, self._labels, self._own_metrics, self._core.events)

    def _labels(self) -> dict[str, str]:
        """The labels that distinguish this process's pushed series from those of others."""
        own = {} if self._workers is None else {"worker": str(self._workers.number)}
        return {"instance": _instance(self._core.settings), **own}


def _drift(core: Core) -> Drift:
    """Measures every decision from now on against the training of its model."""
    references = {ticker: reference_of(model) for ticker, model in core.pipeline.models.models.items()}
    drift = Drift({ticker: reference for ticker, reference in references.items() if reference is not None})
    core.events.subscribe("predicted", drift.saw)
    return drift


def _services(
    core: Core, deps: middleware.Dependencies, versions: Versions, telemetry: Telemetry, background: _Background
) -> Services:
    started = time.monotonic()
    pipeline, store = core.pipeline, core.store

    def degraded() -> list[str]:
        names = [*core.market.degraded, *(f"no_model_{ticker}" for ticker in pipeline.models.missing)]
        names += ["store"] if store.degraded() else []
        return names + degradations(core) + (["can_forget"] if core.settings.can_forget else [])

    def ready() -> str | None:
        if background.stopping.is_set():
            return "stopping"
        if not pipeline.models.models:
            return "no model is loaded"
        return "the store cannot be used" if store.degraded() else None

    return Services(
        pipeline=pipeline,
        clock=core.market.clock,
        calendar=core.calendar,
        degraded=degraded,
        operations=lambda: operations(core),
        uptime_s=lambda: time.monotonic() - started,
        ready=ready,
        cache_validity=partial(_cache_validity, core),
        metrics=background.metrics,
        stages=telemetry.stages,
        versions=lambda: [_version(version, deps.today()) for version in versions],
        connections=background.connections,
        stopping=background.stopping,
        start=background.start,
        stop=background.stopping.set,
        close=background.close,
        version=VERSION,
    )


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


def _warn_of_missing_parts(core: Core) -> None:
    settings, market = core.settings, core.market
    missing = core.pipeline.models.missing
    for why in dict.fromkeys(missing.values()):
        tickers = ", ".join(ticker for ticker in missing if missing[ticker] == why)
        log.warning("MODELS_DIR (%s): no model of %s: %s", settings.models_dir, tickers, why)
    if "no_api_key" in market.degraded:
        log.warning("no POLYGON_API_KEY: closed-market answers as usual, 503 where market data is needed")
    if market.budget is not None and market.namespace != "polygon":
        log.warning("POLYGON_BASE_URL is not the provider's own address: bars and signals of it are kept apart")
    if "no_recorded_bars" in market.degraded:
        log.warning("MARKET=recorded, but no bars were brought in yet: .venv/bin/predict import FILE...")
    if settings.can_forget:
        log.warning("DATA_DIR is on a disk that a new deployment forgets: mount a volume, or the track record is lost")
