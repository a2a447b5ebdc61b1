"""create_app: builds and joins everything. The one module that may import everything."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response

import blueprints
import middleware
from app import keys, logs
from app.clock import Clock, Timer, running_clock, wall_clock
from app.config import VERSION, Settings, load
from app.errors import SettingsError, Unavailable
from app.follower import Follower
from app.market.bars import Span
from app.market.budget import PAID_PLAN, SMALL_PLAN, Budget, Limit
from app.market.cache import BarCache
from app.market.calendar import NY, Calendar
from app.market.calling import failed, kind_of, metered, persistent
from app.market.demo import SEED, SPEED, DemoFeed, demo_moment
from app.market.plan import Entitlement, Plan
from app.market.polygon import HOSTS, HttpTransport, Polygon, Reply, Transport, no_key
from app.market.recorded import RecordedBars
from app.market.source import Source
from app.market.wire import NoFeed, Wire
from app.model.artefact import ModelSet, PolicyStamp, load_models
from app.pipeline import Pipeline
from app.signals.policy import LONG_ABOVE, SHORT_BELOW, SPEC_VERSION, SUPPORTED
from app.signals.store import SqliteStore
from app.versions import VERSIONS, Version, Versions
from blueprints import errors
from blueprints.services import Keep, Services
from middleware.access import AccessLog
from middleware.breaker import Breaker
from middleware.exchange import request_id
from middleware.keeping import Answers
from middleware.limiting import Crowd, Limits
from middleware.metrics import Reading, exposition, single
from middleware.windows import LocalWindows, RedisWindows, SharedWindows

log = logging.getLogger("predict")

POLICY = PolicyStamp(SPEC_VERSION, LONG_ABOVE, SHORT_BELOW)
SETTLE = timedelta(seconds=5)
WARNINGS = frozenset(
    {
        "bars_rejected",
        "breaker_changed",
        "budget_in_memory",
        "cache_unavailable",
        "cache_unreadable",
        "cache_unwritable",
        "fetch_broke",
        "follower_broke",
        "history_rebased",
        "limits_local",
        "provider_pauses_us",
        "store_degraded",
    }
)
NEWS = frozenset({"limits_shared", "plan_probed", "signal_locked", "store_recovered"})
CHANGES = frozenset(
    {
        "bars_known",
        "breaker_changed",
        "entitled",
        "fetch_broke",
        "fetch_failed",
        "history_rebased",
        "open_learned",
        "signal_locked",
        "store_degraded",
        "store_recovered",
    }
)
"""What may change an answer: kept ones end with it (ruling A1)."""

REPLAYS_EACH, REPLAYS_ALL = 4, 16
"""Replays under way at a time, of one client and of all."""


@dataclass(frozen=True, slots=True)
class Market:
    """One of the three markets: how it is asked, its clock, what its data are, and the name its records go by. `budget` and
    `breaker` guard a provider that is asked over the network."""

    transport: Transport
    clock: Clock
    plan: Plan
    namespace: str
    degraded: list[str] = field(default_factory=list)
    budget: Budget | None = None
    breaker: Breaker[Reply] | None = None
    speed: float = 1.0


class Answer(Response):
    """JSON, unless it says otherwise: an empty answer (OPTIONS) is no page either."""

    default_mimetype = "application/json"


class News:
    """What the core has to tell: into the log, one line per event; and how often an answer may have changed."""

    def __init__(self) -> None:
        self.revision = 0

    def __call__(self, event: str, **fields: object) -> None:
        if event in CHANGES:
            self.revision += 1
        level = logging.WARNING if event in WARNINGS else logging.INFO if event in NEWS else logging.DEBUG
        if log.isEnabledFor(level):
            log.log(level, "%s %s", event, " ".join(f"{key}={value}" for key, value in fields.items()))


@dataclass(frozen=True, slots=True)
class Core:
    """The server without its doors."""

    settings: Settings
    timer: Timer
    news: News
    market: Market
    calendar: Calendar
    store: SqliteStore
    source: Source
    pipeline: Pipeline
    follower: Follower

    def close(self) -> None:
        """Begin nothing more and let go of files; fetches under way are left to themselves."""
        self.follower.close()
        self.source.close()
        self.store.close()
        if self.market.budget is not None:
            self.market.budget.close()


def create_app(
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    timer: Timer | None = None,
    versions: Versions = VERSIONS,
) -> Flask:
    """The whole server. `clock`, `timer` and `transport` replace the market's own, its guards included: tests hand them in.

    Raises SettingsError with a sentence that names the wrong variable.
    """
    core = build(settings or load(), clock=clock, transport=transport, timer=timer)
    access = AccessLog(_access_writer(core.settings), as_json=logs.is_json(core.settings.log_format))
    door = _door(core, versions, access)
    app = Flask("predict", static_folder=None)
    app.response_class = Answer
    app.json.sort_keys = False  # type: ignore[attr-defined]
    blueprints.register(app, _services(core, door, versions, access))
    middleware.install(app, door)
    logs.name_requests(request_id.get)
    _say_what_is_missing(core)
    return app


def build(
    settings: Settings,
    *,
    clock: Clock | None = None,
    transport: Transport | None = None,
    timer: Timer | None = None,
) -> Core:
    """Market, model, signals and follower, joined; nothing runs yet."""
    timer, calendar, notice = timer or Timer(), Calendar(), News()
    models = load_models(settings.models_dir, SUPPORTED, POLICY)
    market = _with(_market(settings, calendar, models, clock, timer, notice), clock, transport)
    folder = settings.data_dir / market.namespace
    store = SqliteStore(folder / "record.sqlite3", notice)
    cache = BarCache(folder / "bars.sqlite3", notice)
    polygon = Polygon(market.transport, calendar, settings.polygon_base_url)
    source = Source(polygon, cache, store, calendar, market.clock, market.plan, notice, timer)
    pipeline = Pipeline(source, models, store, calendar, market.clock, notice)

    def entitle(found: Entitlement) -> None:
        source.entitle(found)
        if market.budget is not None and settings.polygon_calls_per_minute is None:
            market.budget.limit = PAID_PLAN if found.today else SMALL_PLAN

    if market.budget is not None:
        market.budget.reserve_by(lambda: len(SUPPORTED) if _is_live(source, calendar, market.clock) else 0)
    probed = polygon if market.budget is not None else None
    follower = Follower(source, pipeline, calendar, market.clock, timer, notice, probed, entitle)
    return Core(settings, timer, notice, market, calendar, store, source, pipeline, follower)


def _is_live(source: Source, calendar: Calendar, clock: Clock) -> bool:
    """Whether the running day needs calls of its own now."""
    return source.plan.has_today and calendar.is_open(clock())


def _market(
    settings: Settings, calendar: Calendar, models: ModelSet, clock: Clock | None, timer: Timer, notice: News
) -> Market:
    if settings.market == "demo":
        return _demo(calendar, models, clock)
    if settings.market == "recorded":
        return _recorded(settings, calendar, clock)
    return _polygon(settings, timer, notice)


def _demo(calendar: Calendar, models: ModelSet, clock: Clock | None) -> Market:
    """Signals of another model set are other data: the demo is no record, and its days come again."""
    clock = clock or (lambda: demo_moment(calendar, time.time()))
    wire = Wire(DemoFeed(calendar), calendar, clock)
    return Market(wire, clock, Plan("demo", Span.MINUTE), f"demo-{SEED}-{models.set_id}", speed=SPEED)


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
    name = f"recorded-{recorded.data_hash()[:12]}"
    speed = 1.0 if clock is wall_clock else settings.clock_speed
    return Market(Wire(recorded, calendar, clock), clock, plan, name, degraded, speed=speed)


def _recorded_clock(settings: Settings, start: datetime | None) -> Clock:
    began = datetime.fromtimestamp(settings.clock_anchor or time.time(), UTC)
    return wall_clock if start is None else running_clock(start, settings.clock_speed, began)


def _polygon(settings: Settings, timer: Timer, notice: News) -> Market:
    plan = Plan("polygon", Span.MINUTE, timedelta(minutes=settings.polygon_delay_minutes), SETTLE)
    if settings.polygon_api_key is None or not settings.has_key:
        return Market(no_key, wall_clock, plan, "polygon", ["no_api_key"])
    key, cap = settings.polygon_api_key.get_secret_value(), settings.polygon_calls_per_minute
    limit, namespace = SMALL_PLAN if cap is None else Limit(cap, 60.0), _namespace(settings.polygon_base_url)
    budget = Budget(settings.data_dir / namespace / "budget.sqlite3", key, limit, timer, notice)
    http = HttpTransport(settings.polygon_base_url, key)
    breaker = middleware.wrap(
        persistent(metered(http, budget), timer), kind_of=kind_of, failed=failed, notice=notice, now=timer.now
    )
    return Market(breaker, wall_clock, plan, namespace, budget=budget, breaker=breaker)


def _namespace(base_url: str) -> str:
    """Signals of a server that plays the provider never enter the real record (ruling M4)."""
    parts = urlsplit(base_url)
    return "polygon" if parts.hostname in HOSTS else re.sub(r"[^a-z0-9]+", "-", f"polygon-{parts.netloc}".lower())


def _with(market: Market, clock: Clock | None, transport: Transport | None) -> Market:
    if transport is not None:
        market = replace(market, transport=transport, budget=None, breaker=None)
    return replace(market, clock=clock or market.clock)


def _door(core: Core, versions: Versions, access: AccessLog) -> middleware.Door:
    """What the layers around Flask need."""
    settings, timer, clock = core.settings, core.timer, core.market.clock
    limits = Limits(_amounts(settings), _windows(settings, timer, core.news), core.news)

    def today() -> date:
        return datetime.fromtimestamp(timer.epoch(), UTC).date()

    def find(secret: str) -> keys.ApiKey | None:
        return keys.find(settings.api_keys, secret, today())

    return middleware.Door(
        explain=errors.explain,
        tell=access,
        now=timer.now,
        epoch=timer.epoch,
        hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
        behind_proxy=settings.behind_proxy,
        neutral=blueprints.NEUTRAL,
        probes=blueprints.PROBES,
        operations=blueprints.OPERATIONS,
        operations_port=settings.operations_port,
        versions=versions,
        today=today,
        find=find if settings.api_keys else None,
        factors=keys.TIERS,
        allowed=settings.rate_limit_allow,
        limits=limits,
        groups=blueprints.GROUPS,
        crowds={"replay": Crowd(REPLAYS_EACH, REPLAYS_ALL)},
        answers=Answers(),
        market_now=lambda: clock().timestamp(),
        revision=lambda: core.news.revision,
    )


def _amounts(settings: Settings) -> Mapping[str, int]:
    """Requests a minute by group."""
    return {
        "directions": settings.rate_limit_directions,
        "analysis": settings.rate_limit_analysis,
        "replay": settings.rate_limit_replay,
        "other": settings.rate_limit_other,
    }


def _windows(settings: Settings, timer: Timer, notice: News) -> LocalWindows | SharedWindows:
    local = LocalWindows(timer.now, timer.epoch)
    if settings.redis_url is None:
        return local
    try:
        own_clock = None if timer.epoch is time.time else timer.epoch
        shared = RedisWindows(settings.redis_url.get_secret_value(), own_clock)
        return SharedWindows(shared, local, notice, time.sleep)
    except (TypeError, ValueError):
        raise SettingsError("REDIS_URL: has an option (after the ?) that redis does not know") from None


def _readings(door: middleware.Door, access: AccessLog) -> list[Reading]:
    """What the door counts."""
    limits, answers, windows = door.limits, door.answers, door.limits.windows
    local = windows.local if isinstance(windows, SharedWindows) else windows
    assert isinstance(local, LocalWindows)
    return [
        Reading(
            "predict_limit_decisions_total",
            "Requests counted against a limit",
            lambda: dict(limits.decisions),
            ("group", "outcome"),
        ),
        Reading("predict_limit_windows", "Clients whose requests this process counts", single(lambda: len(local))),
        Reading(
            "predict_limits_local",
            "1 while Redis is lost and each process counts for itself",
            single(lambda: float(isinstance(windows, SharedWindows) and windows.lost)),
        ),
        Reading(
            "predict_limit_fallbacks_total",
            "How often Redis was lost",
            single(lambda: windows.losses if isinstance(windows, SharedWindows) else 0),
        ),
        Reading(
            "predict_under_way",
            "Requests of bounded groups under way",
            lambda: {(group,): len(crowd) for group, crowd in door.crowds.items()},
            ("group",),
        ),
        Reading("predict_kept_answers", "Answers kept to be given again", single(lambda: len(answers))),
        Reading("predict_kept_answer_bytes", "Size of the answers kept", single(lambda: answers.bytes)),
        Reading(
            "predict_kept_answers_given_total",
            "Answers of keepable routes: kept ones given again, and made",
            lambda: {(how,): count for how, count in dict(answers.given).items()},
            ("how",),
        ),
        Reading("predict_access_lines_lost_total", "Access log lines that did not fit", single(lambda: access.lost)),
    ]


def _access_writer(settings: Settings) -> Callable[[str], object]:
    return sys.stderr.write if settings.log_level in ("DEBUG", "INFO") else lambda text: None


def _keep(core: Core) -> Keep:
    """What bounds an answer that is begun now; the revision is read first."""
    revision, at = core.news.revision, core.market.clock()
    return Keep(revision, at.timestamp(), core.pipeline.steady_until(at).timestamp(), core.market.speed)


def _services(core: Core, door: middleware.Door, versions: Versions, access: AccessLog) -> Services:
    started = time.monotonic()
    stopping = threading.Event()
    pipeline, store = core.pipeline, core.store

    def degraded() -> list[str]:
        found = [*core.market.degraded, *(f"no_model_{ticker}" for ticker in pipeline.models.missing)]
        found += ["store"] if store.degraded() else []
        return found + _troubles(core) + (["can_forget"] if core.settings.can_forget else [])

    def ready() -> str | None:
        if stopping.is_set():
            return "stopping"
        if not pipeline.models.models:
            return "no model is loaded"
        return store.degraded()

    def start() -> None:
        access.start()
        if "no_api_key" not in core.market.degraded:
            threading.Thread(target=core.follower.run, args=(stopping,), name="follower", daemon=True).start()

    def close() -> None:
        core.close()
        access.close()
        if isinstance(door.limits.windows, SharedWindows):
            door.limits.windows.close()

    return Services(
        pipeline=pipeline,
        clock=core.market.clock,
        calendar=core.calendar,
        degraded=degraded,
        operations=lambda: _operations(core),
        uptime_s=lambda: time.monotonic() - started,
        ready=ready,
        keep=partial(_keep, core),
        metrics=exposition(_readings(door, access)),
        versions=lambda: [_version(version, door.today()) for version in versions],
        start=start,
        stop=stopping.set,
        close=close,
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


def _troubles(core: Core) -> list[str]:
    """What is wrong between this server and its provider, as short names."""
    budget, breaker, following = core.market.budget, core.market.breaker, core.follower.status()
    found = []
    if budget is not None:
        spending = budget.spending()
        found += ["api_key_refused"] if spending.key_refused else ["budget_spent"] if not spending.left else []
        found += ["provider_pause"] if spending.paused_s and not spending.key_refused else []
    if breaker is not None and any(circuit.state != "closed" for circuit in breaker.states().values()):
        found.append("provider_failing")
    if following.last_step_s is not None and not following.alive:
        found.append("follower_stopped")
    return found


def _operations(core: Core) -> dict[str, Any]:
    pipeline, budget, breaker = core.pipeline, core.market.budget, core.market.breaker
    return {
        "market": pipeline.plan.source,
        "market_time": core.market.clock().astimezone(NY).isoformat(timespec="seconds"),
        "plan": _plan(core.source),
        "fetches": pipeline.fetches(),
        "budget": None if budget is None else _rounded(asdict(budget.spending())),
        "breaker": {} if breaker is None else {k: _rounded(asdict(s)) for k, s in breaker.states().items()},
        "follower": _rounded(asdict(core.follower.status())),
        "store": {"kind": "sqlite", "failing": core.store.degraded() is not None},
        "models_missing": dict(pipeline.models.missing),
    }


def _plan(source: Source) -> dict[str, Any]:
    plan, found = source.plan, source.entitlement
    return {
        "name": plan.name,
        "delay_s": plan.delay.total_seconds(),
        "probed": found is not None,
        "history_from": None if found is None else found.history_from.isoformat(),
        "clock_ahead_s": None if found is None else round(found.ahead.total_seconds(), 1),
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in values.items()}


def _say_what_is_missing(core: Core) -> None:
    settings, market = core.settings, core.market
    for why in core.pipeline.models.missing.values():
        log.warning("%s", why)
    if "no_api_key" in market.degraded:
        log.warning("no POLYGON_API_KEY: closed-market answers as usual, 503 where market data is needed")
    if market.budget is not None and market.namespace != "polygon":
        log.warning("POLYGON_BASE_URL is not the provider's own address: bars and signals of it are kept apart")
    if "no_recorded_bars" in market.degraded:
        log.warning("MARKET=recorded, but no bars were brought in yet: python -m app import FILE...")
    if settings.can_forget:
        log.warning("DATA_DIR is on a disk that a new deployment forgets: mount a volume, or the track record is lost")
