"""Where the record of signals is kept: in Redis where several servers share one, else in a file of DATA_DIR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.config.settings import Settings
from app.errors import SettingsError
from app.factory.layers import UNKNOWN_OPTION
from app.signals.record import Record
from app.signals.sqlite_record import SqliteRecord
from app.telemetry.stages import NULL_STAGES, Stages

PREFIX = "predict:record"


def record_of(
    settings: Settings, namespace: str, stages: Stages = NULL_STAGES, timeout_s: float | None = None
) -> Callable[[], Record]:
    """What opens the record of a market. namespace: keeps the records of different markets apart. timeout_s: of a Redis, in
    place of that of a server."""
    if settings.redis_url is None:
        return lambda: SqliteRecord(sqlite_path(settings, namespace), stages)
    return lambda: _redis_record(settings, namespace, stages, timeout_s)


def sqlite_path(settings: Settings, namespace: str) -> Path:
    """The file of a market's record where there is no Redis."""
    return settings.data_dir / namespace / "record.sqlite3"


def _redis_record(settings: Settings, namespace: str, stages: Stages, timeout_s: float | None) -> Record:
    from app.redis_database import TIMEOUT_S, RedisDatabase
    from app.signals.redis_record import RedisRecord

    assert settings.redis_url is not None
    try:
        db = RedisDatabase(settings.redis_url.get_secret_value(), timeout_s or TIMEOUT_S, stages)
    except (TypeError, ValueError):
        raise SettingsError(UNKNOWN_OPTION) from None
    return RedisRecord(db, f"{PREFIX}:{namespace}")
