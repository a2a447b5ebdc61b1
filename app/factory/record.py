"""Where the record of signals is kept: in Redis where several servers share one, else in a file of DATA_DIR."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

from app.config.settings import Settings
from app.errors import Unavailable
from app.places import COMMAND
from app.redis_database import RedisDatabase
from app.signals.policy import SUPPORTED, Decision
from app.signals.record import Record
from app.signals.redis_record import RedisRecord
from app.signals.sqlite_record import SqliteRecord
from app.signals.store import SignalStore
from app.telemetry.stages import NULL_STAGES, Stages

PREFIX = "predict:record"
LEFT_BEHIND = (
    "REDIS_URL is set, and DATA_DIR has a record of signals that is not in Redis. These two commands move it: "
    f"`{COMMAND} record export --sqlite record.jsonl`, then `{COMMAND} record import record.jsonl`"
)


def record_of(
    settings: Settings, namespace: str, redis: RedisDatabase | None, stages: Stages = NULL_STAGES
) -> Callable[[], Record]:
    """What opens the record of a market. namespace: keeps the records of different markets apart."""
    if redis is None:
        return lambda: SqliteRecord(sqlite_path(settings, namespace), stages)
    return lambda: RedisRecord(redis, f"{PREFIX}:{namespace}")


def sqlite_path(settings: Settings, namespace: str) -> Path:
    """The file of a market's record where there is no Redis."""
    return settings.data_dir / namespace / "record.sqlite3"


def is_left_behind(settings: Settings, namespace: str, store: SignalStore) -> bool:
    """Whether the file of DATA_DIR has signals and the Redis that keeps the record now lacks the first of them, as before the
    record is moved."""
    path = sqlite_path(settings, namespace)
    if settings.redis_url is None or not path.exists():
        return False
    first = _first_signal(path)
    is_missing = first is not None and store.get(first.ticker, first.day, first.hour) is None
    return is_missing and store.degraded() is None


def _first_signal(path: Path) -> Decision | None:
    """One of the first signals of a file; None if it has none, or cannot be read."""
    with suppress(Unavailable), closing(SqliteRecord(path)) as record:
        for ticker in SUPPORTED:
            for signal in record.signals(ticker, (date.min, 0), date.max, 1):
                return signal
    return None
