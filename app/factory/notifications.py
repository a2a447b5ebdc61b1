"""Who is told of signals, and where the outbox of messages is kept: in Redis where several servers share one, else in a file of
DATA_DIR."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from app.clock import Timer
from app.config.settings import Settings
from app.core import Core
from app.factory.shared_market import LEASES
from app.market.lease import SqliteLeases
from app.market.redis_leases import RedisLeases
from app.notify.message import Wanted
from app.notify.notifier import Notifier, Store
from app.notify.redis_outbox import RedisOutbox
from app.notify.sending import Sender
from app.notify.sqlite_outbox import SqliteOutbox
from app.notify.target import Target, targets_of
from app.notify.watch import MarketParts, Watch
from app.redis_database import RedisDatabase
from app.telemetry.stages import Stages
from blueprints.v2.notifications import NotificationBodies

PREFIX: Final = "predict:notify"


def notifier_of(core: Core, stages: Stages) -> Notifier | None:
    """The notifier; None where nobody is to be told, there is no market without a key, or another region tells, whose record is
    the one that is published (ruling L2): this one has an outbox of its own, and would tell everybody again."""
    settings, market = core.settings, core.market
    targets = configured_targets(settings)
    if not targets or "no_api_key" in market.degraded or not settings.has_home_record:
        return None
    bodies, budget = NotificationBodies(core.pipeline), market.budget
    is_key_refused = None if budget is None else lambda: budget.status().key_refused
    parts = MarketParts(core.pipeline, core.calendar, market.clock, core.timer.now, bodies, is_key_refused)
    wanted = Wanted(
        settings.notify_tickers, settings.notify_actions, settings.notify_min_probability, settings.notify_states
    )
    open_store = partial(store_of, settings, market.namespace, core.redis, core.timer, stages)
    sender = Sender(settings.webhook_secret, core.timer.epoch)
    return Notifier(
        targets, Watch(parts, wanted), open_store, sender, market.clock, core.timer, core.events, market.speed
    )


def configured_targets(settings: Settings) -> tuple[Target, ...]:
    return targets_of(settings.notify_urls, settings.webhook_urls)


def store_of(settings: Settings, namespace: str, redis: RedisDatabase | None, timer: Timer, stages: Stages) -> Store:
    """Opens the outbox of a market and the lease of who sends what is in it. Raises Unavailable."""
    if redis is None:
        in_file = SqliteOutbox(settings.data_dir / namespace / "notify.sqlite3", timer, stages)
        return Store(in_file, SqliteLeases(in_file.db, timer))
    outbox = RedisOutbox(redis, f"{PREFIX}:{{{namespace}}}")
    outbox.check()
    return Store(outbox, RedisLeases(redis, f"{LEASES}:{{{namespace}}}", timer))


def health_of(notifier: Notifier | None) -> Callable[[], dict[str, Any] | None]:
    """The values of `/health.operations.notifications`; null where nobody is told."""

    def status() -> dict[str, Any] | None:
        if notifier is None:
            return None
        now = notifier.status()
        return {
            "targets": [target.name for target in notifier.targets],
            "leads": now.leads,
            "waiting": sum(now.waiting.values()),
            "dead": sum(now.dead.values()),
            "disabled": list(now.disabled),
            "message": now.failure,
        }

    return status
