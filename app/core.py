"""The core of the server, without Flask: the parts that the factory joined, and what operators see of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from app.clock import Clock, Timer
from app.config.settings import Settings
from app.live.events import Events
from app.live.follower import Follower
from app.market.announcements import Announcements, upcoming
from app.market.budget import Budget
from app.market.calendar import NY, Calendar, ny_day
from app.market.calling import Reachability
from app.market.completeness import resumes_after
from app.market.market_data import MarketData
from app.market.plan import ClockSkew, Plan
from app.market.polygon import Transport
from app.market.running_day import RunningDay
from app.model.reloading import ServedModels, ServedStatus
from app.pipeline import LivePromise, Pipeline
from app.redis_database import RedisDatabase, certificate_advice
from app.signals.durability import Durability
from app.signals.policy import SUPPORTED
from app.signals.store import RecordStore

UNANSWERED = (
    "No call to the provider has been answered since the start: check the network of this machine and POLYGON_BASE_URL. "
    "The calls are repeated; nothing has to be restarted."
)


class Circuit(Protocol):
    """One circuit of the breaker (`middleware.breaker.CircuitState`, a dataclass)."""

    @property
    def state(self) -> str: ...


class Circuits(Protocol):
    """The circuit breaker."""

    def states(self) -> Mapping[str, Any]:
        """The circuits by kind of call."""
        ...


def real_time(moment: datetime) -> datetime:
    """The market time of a market whose clock is that of the world."""
    return moment


@dataclass(frozen=True, slots=True)
class DataFeed:
    """Where the market data of a deployment comes from: one of the three markets.
    transport        calls its provider
    clock, speed     market time, and market seconds per real second
    plan             what data it has
    namespace        folder of its records below DATA_DIR
    degraded         short names of what works less well than it should
    budget, breaker  guard a provider that is called over the network
    skew             how far our clock is ahead of the provider's
    reachability     whether a provider that is called over the network has answered
    market_time      of a past moment of real time
    """

    transport: Transport
    clock: Clock
    plan: Plan
    namespace: str
    degraded: list[str] = field(default_factory=list)
    budget: Budget | None = None
    breaker: Circuits | None = None
    skew: ClockSkew | None = None
    speed: float = 1.0
    reachability: Reachability | None = None
    market_time: Callable[[datetime], datetime] = real_time

    def is_answered(self) -> bool:
        """False if a provider was called over the network and has never answered, here or in another process."""
        return self.reachability is None or self.reachability.is_answered is not False

    def observe_elsewhere(self) -> None:
        """The provider has answered a call of another process."""
        if self.reachability is not None:
            self.reachability.observe_elsewhere()


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of the server that know neither Flask nor HTTP."""

    settings: Settings
    timer: Timer
    events: Events
    market: DataFeed
    calendar: Calendar
    store: RecordStore
    source: MarketData
    models: ServedModels
    pipeline: Pipeline
    live_promise: LivePromise
    follower: Follower
    announcements: Announcements | None = None
    running_day: RunningDay | None = None
    redis: RedisDatabase | None = None

    def close(self) -> None:
        """Start nothing more, and close files and the Redis. Fetches in progress are not waited for."""
        self.follower.close()
        self.source.close()
        if self.running_day is not None:
            self.running_day.close()
        self.store.close()
        if self.announcements is not None:
            self.announcements.close()
        if self.market.budget is not None:
            self.market.budget.close()
        if self.redis is not None:
            self.redis.close()


def degradations(core: Core) -> list[str]:
    """Short names of what works less well than it should between this server and its provider."""
    budget, breaker, following = core.market.budget, core.market.breaker, core.follower.status()
    names = []
    if budget is not None:
        status = budget.status()
        names += ["api_key_refused"] if status.key_refused else ["budget_spent"] if not status.left else []
        names += ["provider_pause"] if status.paused_s and not status.key_refused else []
    failing = breaker is not None and any(circuit.state != "closed" for circuit in breaker.states().values())
    if failing or following.probe_error is not None or not core.market.is_answered():
        names.append("provider_failing")
    if following.last_step_s is not None and not following.alive:
        names.append("follower_stopped")
    if following.role == "unshared":
        names.append("follower_unshared")
    if core.announcements is not None and core.announcements.degraded() is not None:
        names.append("calendar_unshared")
    names += ["daily_bars_missing"] if _missing_days(core) else []
    return names


def operations(core: Core) -> dict[str, Any]:
    """The values of `/health.operations` (open object, ruling V3)."""
    pipeline, budget, breaker = core.pipeline, core.market.budget, core.market.breaker
    return {
        "market": pipeline.plan.market.value,
        "market_time": core.market.clock().astimezone(NY).isoformat(timespec="seconds"),
        "region": core.settings.replica.region,
        "replica": core.settings.replica.id,
        "home_region": core.settings.home_region,
        "has_home_record": core.settings.has_home_record,
        "plan": _plan(core.source, core.market.skew),
        "provider": _provider(core.market),
        "calendar": _calendar(core),
        "daily_bars_missing": _missing_days(core),
        "fetches": pipeline.fetches(),
        "budget": None if budget is None else _rounded(asdict(budget.status())),
        "breaker": {} if breaker is None else {k: _rounded(asdict(s)) for k, s in breaker.states().items()},
        "follower": _rounded(asdict(core.follower.status())),
        "store": _store(core),
        "cache": {"kind": "sqlite", "failing": not core.source.cache.is_open()},
        "models": _models(core.models.status()),
        "models_missing": dict(pipeline.models.missing),
    }


def _models(status: ServedStatus) -> dict[str, Any]:
    """The model set that is served, the promoted one, when that takes over, and why it does not."""
    takes_over_at = status.takes_over_at
    moment = None if takes_over_at is None else takes_over_at.isoformat(timespec="minutes")
    return {**asdict(status), "takes_over_at": moment}


def _store(core: Core) -> dict[str, Any]:
    """Where the record is kept, whether that fails, and of a Redis what to do then and whether it may lose the record."""
    failure = core.store.degraded()
    failing = failure is not None
    if core.settings.redis_url is None:
        return {"kind": "sqlite", "failing": failing}
    kept = _durability(core)
    how = {"persistence": kept.persistence, "eviction_policy": kept.eviction_policy, "can_forget": kept.can_forget}
    return {
        "kind": "redis",
        "failing": failing,
        "message": certificate_advice(failure),
        **how,
        "risks": list(kept.risks),
    }


def record_can_forget(core: Core) -> bool | None:
    """Whether the disk or the Redis that keeps the record may lose it; None if that is unknown."""
    if core.settings.redis_url is None:
        return core.settings.can_forget
    return _durability(core).can_forget


def _durability(core: Core) -> Durability:
    """How Redis keeps the record, as far as it has said."""
    return core.store.durability() or Durability()


def _calendar(core: Core) -> dict[str, Any]:
    """The next days with unusual hours, and the outcome of asking the provider for them, where there is one."""
    today = ny_day(core.market.clock())
    if core.announcements is None:
        return {"upcoming": upcoming(core.calendar, today)}
    return asdict(core.announcements.status(today))


def _missing_days(core: Core) -> dict[str, Any]:
    """By ticker: the daily bars that are missing among those that today's signals read, and until when there is no signal."""
    today, gaps = ny_day(core.market.clock()), {}
    for ticker in SUPPORTED:
        missing = core.source.missing_days(ticker, today)
        if missing:
            resumes = resumes_after(missing, core.calendar)
            sessions = len(core.calendar.trading_days(today, resumes)) - 1
            days = [day.isoformat() for day in missing]
            gaps[ticker] = {"days": days, "no_signal_until": resumes.isoformat(), "sessions_without_signal": sessions}
    return gaps


def _plan(source: MarketData, skew: ClockSkew | None) -> dict[str, Any]:
    plan, entitlement = source.plan, source.observed_plan.entitlement
    ahead = None if skew is None else skew.measured
    return {
        "name": plan.shown_name,
        "delay_s": plan.delay.total_seconds(),
        "probed": entitlement is not None,
        "history_from": None if entitlement is None else entitlement.history_from.isoformat(),
        "clock_ahead_s": None if ahead is None else round(ahead.total_seconds(), 1),
    }


def _provider(market: DataFeed) -> dict[str, Any] | None:
    """Whether a provider that is called over the network answers, and what to do if it does not."""
    reachability = market.reachability
    if reachability is None:
        return None
    advice = None if market.is_answered() else UNANSWERED
    return {"answered": reachability.is_answered, "last_failure": reachability.failure, "message": advice}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in values.items()}
