"""Budgets for tests, over a file or a Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.clock import Timer
from app.market.budget import SMALL_PLAN, Budget, Limit
from app.market.redis_ledger import RedisLedger
from app.market.sqlite_ledger import SqliteLedger
from app.redis_database import RedisDatabase
from tests.waiting import PATIENCE_S

KEY = "k-very-secret"


def unheard(event: str, **fields: object) -> None:
    pass


def budget_of(
    path: Path, timer: Timer, limit: Limit = SMALL_PLAN, emit: Callable[..., None] = unheard, key: str = KEY
) -> Budget:
    return Budget(lambda: SqliteLedger(path, key, timer), limit, timer, emit)


def redis_budget_of(
    url: str,
    name: str,
    timer: Timer,
    limit: Limit = SMALL_PLAN,
    emit: Callable[..., None] = unheard,
    key: str = KEY,
    *,
    timeout_s: float = PATIENCE_S,
    epoch: Callable[[], float] | None = None,
) -> Budget:
    """`epoch`: takes the place of the clock of Redis."""
    ledger = RedisLedger(RedisDatabase(url, timeout_s, epoch=epoch), f"predict:budget:{{{name}}}", key)
    return Budget(lambda: ledger, limit, timer, emit)
