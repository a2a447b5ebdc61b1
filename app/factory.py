"""create_app: builds and joins everything. The one module that may import everything."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask

import blueprints
import middleware
from app.clock import Clock, running_clock, wall_clock
from app.config import VERSION, Settings, load
from app.errors import Unavailable
from app.market.bars import Span
from app.market.cache import BarCache
from app.market.calendar import NY, Calendar
from app.market.demo import SEED, DemoFeed, demo_moment
from app.market.polygon import HttpTransport, Polygon, Transport, no_key
from app.market.recorded import RecordedBars
from app.market.source import Plan, Source
from app.market.wire import NoFeed, Wire
from app.model.artefact import ModelSet, PolicyStamp, load_models
from app.pipeline import Pipeline
from app.signals.policy import LONG_ABOVE, SHORT_BELOW, SPEC_VERSION, SUPPORTED
from app.signals.store import SqliteStore
from blueprints.services import Services

log = logging.getLogger("predict")

POLICY = PolicyStamp(SPEC_VERSION, LONG_ABOVE, SHORT_BELOW)
SETTLE = timedelta(seconds=5)
WARNINGS = frozenset(
    {"store_degraded", "cache_unavailable", "cache_unreadable", "cache_unwritable", "bars_rejected", "fetch_broke"}
)
NEWS = frozenset({"signal_locked", "store_recovered"})


@dataclass(frozen=True, slots=True)
class Market:
    """One of the three markets: how it is asked, its clock, what its data are, and the name its records go by."""

    transport: Transport
    clock: Clock
    plan: Plan
    namespace: str
    degraded: list[str] = field(default_factory=list)


def create_app(
    settings: Settings | None = None, *, clock: Clock | None = None, transport: Transport | None = None
) -> Flask:
    """The whole server. `clock` and `transport` replace the market's own: tests hand them in.

    Raises SettingsError with a sentence that names the wrong variable.
    """
    settings = settings or load()
    calendar = Calendar()
    models = load_models(settings.models_dir, SUPPORTED, POLICY)
    market = _with(_market(settings, calendar, models, clock), clock, transport)
    folder = settings.data_dir / market.namespace
    store = SqliteStore(folder / "record.sqlite3", notice)
    cache = BarCache(folder / "bars.sqlite3", notice)
    polygon = Polygon(market.transport, calendar, settings.polygon_base_url)
    source = Source(polygon, cache, store, calendar, market.clock, market.plan, notice)
    pipeline = Pipeline(source, models, store, calendar, market.clock, notice)
    app = Flask("predict", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    blueprints.register(app, _services(settings, market, calendar, pipeline, store))
    middleware.install(app)
    _say_what_is_missing(settings, models, market)
    return app


def notice(event: str, **fields: object) -> None:
    """What the core has to tell, into the log; one line per event."""
    level = logging.WARNING if event in WARNINGS else logging.INFO if event in NEWS else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(level, "%s %s", event, " ".join(f"{key}={value}" for key, value in fields.items()))


def _market(settings: Settings, calendar: Calendar, models: ModelSet, clock: Clock | None) -> Market:
    if settings.market == "demo":
        return _demo(calendar, models, clock)
    if settings.market == "recorded":
        return _recorded(settings, calendar, clock)
    return _polygon(settings)


def _demo(calendar: Calendar, models: ModelSet, clock: Clock | None) -> Market:
    """Signals of another model set are other data: the demo is no record, and its days come again."""
    clock = clock or (lambda: demo_moment(calendar, time.time()))
    wire = Wire(DemoFeed(calendar), calendar, clock)
    return Market(wire, clock, Plan("demo", Span.MINUTE), f"demo-{SEED}-{models.set_id}")


def _recorded(settings: Settings, calendar: Calendar, clock: Clock | None) -> Market:
    plan = Plan("recorded", Span.FIVE_MINUTES)
    try:
        recorded = RecordedBars(settings.data_dir / "recorded.sqlite3", calendar)
    except Unavailable as exc:
        log.warning("%s", exc.message)
        clock = clock or wall_clock
        return Market(Wire(NoFeed(), calendar, clock), clock, plan, "recorded-none", ["no_recorded_bars"])
    clock = clock or _recorded_clock(settings, settings.clock or recorded.default_start(SUPPORTED))
    degraded = [] if recorded.series() else ["no_recorded_bars"]
    return Market(Wire(recorded, calendar, clock), clock, plan, f"recorded-{recorded.data_hash()[:12]}", degraded)


def _recorded_clock(settings: Settings, start: datetime | None) -> Clock:
    began = datetime.fromtimestamp(settings.clock_anchor or time.time(), UTC)
    return wall_clock if start is None else running_clock(start, settings.clock_speed, began)


def _polygon(settings: Settings) -> Market:
    plan = Plan("polygon", Span.MINUTE, timedelta(minutes=settings.polygon_delay_minutes), SETTLE)
    if settings.polygon_api_key is None or not settings.has_key:
        return Market(no_key, wall_clock, plan, "polygon", ["no_api_key"])
    transport = HttpTransport(settings.polygon_base_url, settings.polygon_api_key.get_secret_value())
    return Market(transport, wall_clock, plan, "polygon")


def _with(market: Market, clock: Clock | None, transport: Transport | None) -> Market:
    return Market(transport or market.transport, clock or market.clock, market.plan, market.namespace, market.degraded)


def _services(
    settings: Settings, market: Market, calendar: Calendar, pipeline: Pipeline, store: SqliteStore
) -> Services:
    started = time.monotonic()
    stopping: list[bool] = []

    def degraded() -> list[str]:
        found = [*market.degraded, *(f"no_model_{ticker}" for ticker in pipeline.models.missing)]
        return found + (["store"] if store.degraded() else []) + (["can_forget"] if settings.can_forget else [])

    def ready() -> str | None:
        if stopping:
            return "stopping"
        if not pipeline.models.models:
            return "no model is loaded"
        return store.degraded()

    return Services(
        pipeline=pipeline,
        clock=market.clock,
        calendar=calendar,
        degraded=degraded,
        operations=lambda: _operations(market, pipeline, store),
        uptime_s=lambda: time.monotonic() - started,
        ready=ready,
        stop=lambda: stopping.append(True),
        version=VERSION,
    )


def _operations(market: Market, pipeline: Pipeline, store: SqliteStore) -> dict[str, Any]:
    return {
        "market": pipeline.plan.source,
        "market_time": market.clock().astimezone(NY).isoformat(timespec="seconds"),
        "plan": {"name": pipeline.plan.name, "delay_s": pipeline.plan.delay.total_seconds()},
        "fetches": pipeline.fetches(),
        "store": {"kind": "sqlite", "failing": store.degraded() is not None},
        "models_missing": dict(pipeline.models.missing),
    }


def _say_what_is_missing(settings: Settings, models: ModelSet, market: Market) -> None:
    for why in models.missing.values():
        log.warning("%s", why)
    if "no_api_key" in market.degraded:
        log.warning("no POLYGON_API_KEY: closed-market answers as usual, 503 where market data is needed")
    if "no_recorded_bars" in market.degraded:
        log.warning("MARKET=recorded, but no bars were brought in yet: python -m app import FILE...")
    if settings.can_forget:
        log.warning("DATA_DIR is on a disk that a new deployment forgets: mount a volume, or the track record is lost")
