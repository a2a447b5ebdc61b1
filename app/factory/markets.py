"""Where the market data of a deployment comes from: the demo market, recorded bars, or a provider that is called over the
network inside its guards."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import middleware
from app.clock import Clock, Timer, running_clock, wall_clock
from app.config.settings import Settings
from app.core import DataFeed, real_time
from app.errors import SettingsError, Unavailable
from app.factory.shared_market import budget_of
from app.live.events import Events
from app.market.bars import Span
from app.market.budget import SMALL_PLAN, Limit
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
from app.market.demo import SEED, SPEED, DemoFeed, demo_clock, demo_moment_before
from app.market.feed_transport import EmptyFeed, FeedTransport
from app.market.pinned import CHANGED, PinnedBars
from app.market.plan import ClockSkew, Market, Plan
from app.market.polygon import HOSTS, HttpTransport, Transport, no_key
from app.market.recorded import RecordedBars
from app.model.artefact import ModelSet
from app.model.reloading import EARLIEST
from app.redis_database import RedisDatabase
from app.signals.policy import SUPPORTED
from app.telemetry.setup import Telemetry
from app.telemetry.tracing import trace_headers

log = logging.getLogger("predict")

SETTLE = timedelta(seconds=5)


def data_feed_of(
    settings: Settings,
    calendar: Calendar,
    models: ModelSet,
    timer: Timer,
    emit: Events,
    telemetry: Telemetry,
    redis: RedisDatabase | None,
    *,
    clock: Clock | None,
    transport: Transport | None,
) -> DataFeed:
    """The data feed of the market that the settings name. clock and transport replace its own; a transport also replaces the
    guards around it. Raises SettingsError."""
    if settings.market == "demo":
        feed = _demo(calendar, models, timer, clock)
    elif settings.market == "recorded":
        feed = _recorded(settings, calendar, timer, clock)
    else:
        feed = _polygon(settings, clock or wall_clock, timer, emit, telemetry, redis, transport)
    if transport is not None:
        feed = replace(feed, transport=transport)
    if feed.breaker is None:
        feed = replace(feed, transport=_measured(feed.transport, telemetry))
    return feed


def _demo(calendar: Calendar, models: ModelSet, timer: Timer, clock: Clock | None) -> DataFeed:
    """The demo market. Its namespace names the seed and the models, since its days repeat and its signals depend on both."""

    def market_time(moment: datetime) -> datetime:
        return demo_moment_before(calendar, moment.timestamp(), timer.epoch()) or EARLIEST

    own_clock = clock or demo_clock(calendar, timer.epoch)
    transport = FeedTransport(DemoFeed(calendar, give_way=partial(timer.sleep, 0)), calendar, own_clock)
    plan, namespace = Plan(Market.DEMO, Span.MINUTE), _demo_namespace(models)
    feed = DataFeed(transport, own_clock, plan, namespace, speed=SPEED)
    return feed if clock is not None else replace(feed, market_time=market_time)


def _recorded(settings: Settings, calendar: Calendar, timer: Timer, clock: Clock | None) -> DataFeed:
    plan = Plan(Market.RECORDED, Span.FIVE_MINUTES)
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
    market_time: Callable[[datetime], datetime] = real_time
    if clock is None:
        clock, market_time = _recorded_clock(settings, settings.clock or recorded.default_start(SUPPORTED), timer)
    plan = replace(plan, has_bars=bool(recorded.series()))
    degraded = [] if plan.has_bars else ["no_recorded_bars"]
    speed = 1.0 if clock is wall_clock else settings.clock_speed

    def on_change() -> None:
        degraded.append("recorded_bars_changed")
        log.warning("%s", CHANGED)

    feed = PinnedBars(recorded, on_change)
    name = _recorded_namespace(recorded)  # of the pinned bars, or of later ones that no read returns
    transport = FeedTransport(feed, calendar, clock)
    return DataFeed(transport, clock, plan, name, degraded, speed=speed, market_time=market_time)


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


def _recorded_clock(
    settings: Settings, start: datetime | None, timer: Timer
) -> tuple[Clock, Callable[[datetime], datetime]]:
    """The recorded market's clock, and its time at a moment of real time."""
    began = datetime.fromtimestamp(settings.clock_anchor or timer.epoch(), UTC)
    if start is None:
        return wall_clock, real_time

    def read_by(wall: Clock) -> Clock:
        return running_clock(start, settings.clock_speed, began, wall)

    return read_by(wall_clock), lambda moment: read_by(lambda: moment)()


def _polygon(
    settings: Settings,
    clock: Clock,
    timer: Timer,
    emit: Events,
    telemetry: Telemetry,
    redis: RedisDatabase | None,
    transport: Transport | None,
) -> DataFeed:
    """The market of a provider that is called over the network: HTTP, measured, inside budget, retries and breaker; or
    `transport` alone."""
    plan = Plan(Market.POLYGON, Span.MINUTE, timedelta(minutes=settings.polygon_delay_minutes), SETTLE)
    if settings.polygon_api_key is None or not settings.has_key:
        return DataFeed(no_key, clock, replace(plan, has_key=False), "polygon", ["no_api_key"])
    key, cap = settings.polygon_api_key.get_secret_value(), settings.polygon_calls_per_minute
    limit, namespace = SMALL_PLAN if cap is None else Limit(cap, 60.0), namespace_of(settings.polygon_base_url)
    plan = replace(plan, is_polygon=namespace == "polygon")
    if transport is not None:
        return DataFeed(transport, clock, plan, namespace)
    budget = budget_of(settings, namespace, redis, key, limit, timer, emit, telemetry.stages)
    skew, reachability = ClockSkew(clock, emit), Reachability(emit)
    http = _measured(HttpTransport(settings.polygon_base_url, key, headers=trace_headers), telemetry)
    http = with_reachability(with_clock_skew(http, skew), reachability)
    breaker = middleware.with_breaker(
        with_retries(with_budget(http, budget), timer), kind_of=kind_of, is_failure=is_failure, emit=emit, now=timer.now
    )
    return DataFeed(
        breaker, clock, plan, namespace, budget=budget, breaker=breaker, skew=skew, reachability=reachability
    )


def market_namespace(settings: Settings, models: ModelSet) -> str:
    """The namespace of the data feed that the settings name, without the feed. Raises Unavailable if it depends on recorded
    bars that cannot be read."""
    if settings.market == "demo":
        return _demo_namespace(models)
    if settings.market == "recorded":
        with closing(RecordedBars(settings.data_dir / "recorded.sqlite3", Calendar())) as recorded:
            return _recorded_namespace(recorded)
    return namespace_of(settings.polygon_base_url) if settings.has_key else "polygon"


def _demo_namespace(models: ModelSet) -> str:
    return f"demo-{SEED}-{models.set_id}"


def _recorded_namespace(recorded: RecordedBars) -> str:
    return f"recorded-{recorded.data_hash()[:12]}"


def namespace_of(base_url: str) -> str:
    """The folder of a provider's records: signals of a simulated provider never enter the real record (ruling M4)."""
    parts = urlsplit(base_url)
    return "polygon" if parts.hostname in HOSTS else re.sub(r"[^a-z0-9]+", "-", f"polygon-{parts.netloc}".lower())


def _measured(transport: Transport, telemetry: Telemetry) -> Transport:
    return middleware.with_measurement(transport, telemetry.stages, kind_of, outcome)
