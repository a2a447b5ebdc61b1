"""`create_app` builds the whole server, and `build` its core. This package is the one that may import everything.

The modules beside this page hold the details: `markets` the feeds of market data, `telemetry` traces, access log and metrics,
`layers` what the layers around Flask depend on, `services` what the routes may use, `record`, `live_log` and `shared_market`
what lies in a file or in a Redis.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from flask import Flask, Request, Response
from werkzeug.routing import MapAdapter, Rule

import blueprints
import middleware
from app.clock import Clock, Timer
from app.config.api_versions import VERSIONS, Versions
from app.config.settings import Settings, load
from app.core import Core
from app.factory.layers import dependencies_of
from app.factory.live_log import live_log_of
from app.factory.markets import data_feed_of
from app.factory.notifications import notifier_of
from app.factory.plan_adoption import PlanAdoption
from app.factory.record import LEFT_BEHIND, is_left_behind, record_of
from app.factory.redis import redis_database_of
from app.factory.services import broadcasters_of, connections_of, services_of
from app.factory.shared_market import announcement_store_of, running_day_of
from app.factory.sockets import Sockets
from app.factory.telemetry import Metrics, access_log_of, telemetry_of
from app.live.events import Events
from app.live.follower import Follower
from app.live.lifecycle import Lifecycle
from app.live.model_watch import ModelWatch
from app.market.announcements import Announcements
from app.market.cache import BarCache
from app.market.calendar import Calendar
from app.market.market_data import MarketData
from app.market.polygon import Polygon, Transport
from app.model.artefact import PolicyStamp
from app.model.registry import Registry
from app.model.reloading import ServedModels
from app.model.served import ServableSets
from app.pipeline import LivePromise, Pipeline
from app.places import COMMAND
from app.signals.policy import LONG_ABOVE, SHORT_BELOW, SPEC_VERSION, SUPPORTED
from app.signals.store import RecordStore
from app.telemetry import logs
from app.telemetry.setup import Telemetry
from app.telemetry.tracing import current_ids
from blueprints.socket_io import PATH

__all__ = ["POLICY", "Core", "build", "create_app"]

log = logging.getLogger("predict")

POLICY = PolicyStamp(SPEC_VERSION, LONG_ABOVE, SHORT_BELOW)


class JsonResponse(Response):
    """A response whose content type is JSON unless it names another, even if it is empty (OPTIONS)."""

    default_mimetype = "application/json"


class MatchedRule(Rule):
    """A route's pattern, which requests are matched with. What builds an address of it, as nothing here does, is compiled when
    it is needed: for all routes that takes as long as the rest of `create_app`."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = super()._compile_builder
        return lambda rule, **values: compiled(append_unknown)(rule, **values)


class Application(Flask):
    """The app. The context of an event of Socket.IO looks for no route: there is none, and the NotFound that a request keeps
    would hold it, by its traceback, until the garbage collector comes."""

    url_rule_class = MatchedRule

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is not None and request.path.startswith(PATH):
            return None
        return super().create_url_adapter(request)


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
    tests use this. `events`: the event bus. `attach_sockets` adds another Socket.IO to the app
    (`SocketIO.init_app`) below all layers than its own.

    Raises SettingsError with a sentence that names the wrong variable.
    """
    settings, timer, events = settings or load(), timer or Timer(), events or Events()
    telemetry = telemetry_of(settings, timer, events, settings.traces_to)
    core = build(settings, clock=clock, transport=transport, timer=timer, events=events, telemetry=telemetry)
    lifecycle, access_log, connections = Lifecycle(), access_log_of(settings), connections_of(settings)
    deps = dependencies_of(
        core, versions, access_log, telemetry, lifecycle.stopping, lambda sid: sockets.links.is_open(sid)
    )
    live_log = live_log_of(core, lifecycle)
    live = broadcasters_of(core, live_log.log, telemetry.stages)
    sockets = Sockets(core, live, deps)
    notifier = notifier_of(core, telemetry.stages)
    metrics = Metrics(core, deps, access_log, connections, live, live_log.log, sockets, notifier)
    lifecycle.add("limits", close=deps.limits.windows.close)
    lifecycle.add("access log", start=access_log.start, close=access_log.close)
    lifecycle.add("workers", start=metrics.join_workers, close=metrics.leave_workers)
    if metrics.gateway is not None:
        lifecycle.add("pushgateway", start=metrics.gateway.start, close=metrics.gateway.close)
    lifecycle.add("telemetry", close=telemetry.close)
    lifecycle.add("core", close=core.close)
    model_watch = ModelWatch(core.models, events)
    lifecycle.add("models", start=lambda: model_watch.start(lifecycle.stopping), close=model_watch.close)
    if "no_api_key" not in core.market.degraded:
        lifecycle.add("follower", start=lambda: core.follower.start(lifecycle.stopping), close=core.follower.close)
    if notifier is not None:
        tell = notifier
        events.subscribe("signal_locked", lambda **_: tell.wake())
        lifecycle.add("notifier", start=lambda: tell.start(lifecycle.stopping), stop=tell.wake, close=tell.close)
    lifecycle.add("live", stop=live.stop, close=live.close)
    lifecycle.add(
        "sockets",
        start=lambda: sockets.start(lifecycle.stopping),
        stop=sockets.server.stop,
        close=sockets.server.close,
    )
    app = Application("predict", static_folder=None)
    app.response_class = JsonResponse
    app.json.sort_keys = False  # type: ignore[attr-defined]
    parts = (deps, versions, metrics.expose, connections, lifecycle, notifier)
    blueprints.register(app, services_of(core, live, live_log, *parts))
    (attach_sockets or sockets.attach)(app)
    middleware.install(app, deps)
    logs.add_request_ids(current_ids)
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
    telemetry = telemetry or telemetry_of(settings, timer, emit, None)
    stages = telemetry.stages
    named_days = {} if settings.market == "demo" else dict(settings.market_closures)
    calendar = Calendar(named_days)
    sets = ServableSets(Registry(settings.models_dir), SUPPORTED, POLICY)
    redis = redis_database_of(settings, stages, timer)
    market = data_feed_of(
        settings, calendar, sets.newest().models, timer, emit, telemetry, redis, clock=clock, transport=transport
    )
    clock, budget, folder = market.clock, market.budget, settings.data_dir / market.namespace
    ahead = timedelta if market.skew is None else market.skew.offset
    store = RecordStore(record_of(settings, market.namespace, redis, stages), emit, timer)
    cache = BarCache(folder / "bars.sqlite3", emit, stages, timer)
    polygon = Polygon(market.transport, calendar, settings.polygon_base_url)
    running_day = None  # what processes share, if calls to the provider cost budget
    if budget is not None:
        running_day = running_day_of(settings, market.namespace, redis, timer, emit, stages, ahead)
    shared_day = (running_day, ahead, market.is_answered, market.observe_elsewhere)
    source = MarketData(polygon, cache, store, calendar, clock, market.plan, emit, timer, stages, *shared_day)
    models = ServedModels(sets, calendar, clock, emit, market.market_time)
    pipeline = Pipeline(source, models, store, calendar, clock, emit, stages)
    emit.subscribe("calendar_changed", lambda **fields: source.follow_calendar())
    announcements = None
    if settings.market == "polygon":
        open_announced = announcement_store_of(folder, market.namespace, redis, stages)
        announcements = Announcements(open_announced, calendar, named_days, timer, emit)
        _settle_calendar(source, announcements, clock)
    adoption = PlanAdoption(source, budget, has_own_limit=settings.polygon_calls_per_minute is not None)
    adoption.adopt_kept()
    if budget is not None:
        budget.reserve_by(lambda: len(SUPPORTED) if _is_live(source, calendar, clock) else 0)
    promise = LivePromise(source, store, lambda: pipeline.models.models, calendar)
    probed = polygon if budget is not None else None
    shared = (announcements, stages, running_day, adoption.adopt_kept, promise.refresh)
    follower = Follower(source, pipeline, calendar, clock, timer, emit, probed, adoption.adopt_probed, *shared)
    parts = (market, calendar, store, source, models, pipeline, promise, follower, announcements, running_day, redis)
    return Core(settings, timer, emit, *parts)


def _settle_calendar(source: MarketData, announcements: Announcements, clock: Clock) -> None:
    """Let the daily bars that are read correct announced holidays."""
    source.fetcher.settle_calendar_by(
        lambda: announcements.doubtful(clock()), lambda days: announcements.withdraw(days, clock())
    )


def _is_live(source: MarketData, calendar: Calendar, clock: Clock) -> bool:
    """Whether the bars of the running day need calls now."""
    return source.plan.has_intraday and calendar.is_open(clock())


def _warn_of_missing_parts(core: Core) -> None:
    settings, market = core.settings, core.market
    for sentence in settings.ignored:
        log.warning(sentence)
    missing = core.pipeline.models.missing
    for why in dict.fromkeys(missing.values()):
        tickers = ", ".join(ticker for ticker in missing if missing[ticker] == why)
        log.warning("MODELS_DIR (%s): no model of %s: %s", settings.models_dir, tickers, why)
    if "no_api_key" in market.degraded:
        log.warning("no POLYGON_API_KEY: closed-market answers as usual, 503 where market data is needed")
    if market.budget is not None and market.namespace != "polygon":
        log.warning("POLYGON_BASE_URL is not the provider's own address: bars and signals of it are kept apart")
    if "no_recorded_bars" in market.degraded:
        log.warning("MARKET=recorded, but no bars were brought in yet: %s import FILE...", COMMAND)
    if settings.can_forget:
        log.warning("DATA_DIR is on a disk that a new deployment forgets: mount a volume, or the track record is lost")
    core.store.durability()  # a Redis that may lose the record is logged
    if is_left_behind(settings, market.namespace, core.store):
        log.warning(LEFT_BEHIND)
