"""Stores of signals for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.clock import REAL_TIME, Timer
from app.redis_database import RedisDatabase
from app.signals.redis_record import RedisRecord
from app.signals.sqlite_record import SqliteRecord
from app.signals.store import RecordStore
from app.sqlite import Database
from tests.waiting import PATIENCE_S


def unheard(event: str, **fields: object) -> None:
    pass


def sqlite_store(path: Path, emit: Callable[..., None] = unheard, timer: Timer = REAL_TIME) -> RecordStore:
    return RecordStore(lambda: SqliteRecord(path), emit, timer)


def redis_store(
    url: str, prefix: str, emit: Callable[..., None] = unheard, timer: Timer = REAL_TIME, timeout_s: float = PATIENCE_S
) -> RecordStore:
    return RecordStore(lambda: RedisRecord(RedisDatabase(url, timeout_s), prefix), emit, timer)


def database_of(store: object) -> Database:
    """The open file of such a store."""
    assert isinstance(store, RecordStore)
    assert isinstance(store._record, SqliteRecord)
    return store._record.db
