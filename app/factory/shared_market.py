"""What processes share of a provider that is called over the network: the running day, the budget of its key, and announced
holidays. In Redis where several servers share one, else in files of DATA_DIR, for the processes on that folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.clock import Timer
from app.config.settings import Settings
from app.live.events import Events
from app.market.announcements.redis_store import RedisAnnouncements
from app.market.announcements.store import AnnouncementStore, SqliteAnnouncements
from app.market.budget import Budget, Limit
from app.market.opens import MissingOpen
from app.market.redis_ledger import RedisLedger
from app.market.redis_shared_day import RedisSharedDay
from app.market.running_day import REOPEN_AFTER_S, SPREAD, RunningDay
from app.market.sqlite_ledger import SqliteLedger
from app.market.sqlite_shared_day import SqliteSharedDay
from app.redis_database import RedisDatabase
from app.sqlite import Retries
from app.telemetry.stages import Stages

DAYS: Final = "predict:day"
LEASES: Final = "predict:lease"
BUDGETS: Final = "predict:budget"
CALENDARS: Final = "predict:calendar"


def running_day_of(
    settings: Settings,
    namespace: str,
    redis: RedisDatabase | None,
    timer: Timer,
    emit: Events,
    stages: Stages,
    ahead: Callable[[], timedelta],
) -> RunningDay:
    """namespace: keeps the providers apart; ahead: how far this process's market clock runs ahead of the provider's."""
    if redis is None:
        path = settings.data_dir / namespace / "running_day.sqlite3"
        return RunningDay(lambda: SqliteSharedDay(path, timer, stages), timer, emit, (MissingOpen,), ahead)
    days, leases = f"{DAYS}:{{{namespace}}}", f"{LEASES}:{{{namespace}}}"
    day = RedisSharedDay(redis, days, leases, timer)
    return RunningDay(lambda: day, timer, emit, (MissingOpen,), ahead)


def announcement_store_of(
    folder: Path, namespace: str, redis: RedisDatabase | None, stages: Stages
) -> Callable[[], AnnouncementStore]:
    """What opens the announced holidays that processes share. folder: of the market, below DATA_DIR."""
    if redis is None:
        return lambda: SqliteAnnouncements(folder / "calendar.sqlite3", stages)
    return lambda: RedisAnnouncements(redis, f"{CALENDARS}:{namespace}")


def budget_of(
    settings: Settings,
    namespace: str,
    redis: RedisDatabase | None,
    key: str,
    limit: Limit,
    timer: Timer,
    emit: Events,
    stages: Stages,
) -> Budget:
    """key: of the provider; only a hash of it is kept."""
    if redis is None:
        path = settings.data_dir / namespace / "budget.sqlite3"
        return Budget(lambda: SqliteLedger(path, key, timer, stages), limit, timer, emit)
    ledger = RedisLedger(redis, f"{BUDGETS}:{{{namespace}}}", key)
    retries = Retries(timer.now, REOPEN_AFTER_S, SPREAD)
    return Budget(lambda: ledger, limit, timer, emit, retries, settings.web_concurrency)
