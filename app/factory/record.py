"""Where the record of signals is kept: in Redis where several servers share one, else in a file of DATA_DIR."""

from __future__ import annotations

from collections.abc import Callable

from app.config.settings import Settings
from app.errors import SettingsError
from app.factory.layers import UNKNOWN_OPTION
from app.signals.record import Record
from app.signals.sqlite_record import SqliteRecord
from app.telemetry.stages import NULL_STAGES, Stages

PREFIX = "predict:record"


def record_of(settings: Settings, namespace: str, stages: Stages = NULL_STAGES) -> Callable[[], Record]:
    """What opens the record of a market. namespace: keeps the records of different markets apart."""
    if settings.redis_url is None:
        return lambda: sqlite_record_of(settings, namespace, stages)
    return lambda: redis_record_of(settings, namespace, stages)


def sqlite_record_of(settings: Settings, namespace: str, stages: Stages = NULL_STAGES) -> Record:
    return SqliteRecord(settings.data_dir / namespace / "record.sqlite3", stages)


def redis_record_of(settings: Settings, namespace: str, stages: Stages = NULL_STAGES) -> Record:
    from app.redis_database import RedisDatabase
    from app.signals.redis_record import RedisRecord

    assert settings.redis_url is not None
    try:
        db = RedisDatabase(settings.redis_url.get_secret_value(), stages=stages)
    except (TypeError, ValueError):
        raise SettingsError(UNKNOWN_OPTION) from None
    return RedisRecord(db, f"{PREFIX}:{namespace}")
