"""The Redis that several servers share."""

from __future__ import annotations

from app.clock import REAL_TIME, Timer
from app.config.settings import Settings
from app.errors import SettingsError
from app.factory.layers import UNKNOWN_OPTION
from app.redis_database import TIMEOUT_S, RedisDatabase
from app.telemetry.stages import Stages


def redis_database_of(
    settings: Settings, stages: Stages, timer: Timer = REAL_TIME, timeout_s: float | None = None
) -> RedisDatabase:
    """The Redis at REDIS_URL, which is set; its own clock counts, but where a test brings one. timeout_s: in place of that of a
    server. Raises SettingsError for an option that redis does not know."""
    assert settings.redis_url is not None
    epoch = None if timer.epoch is REAL_TIME.epoch else timer.epoch
    try:
        return RedisDatabase(settings.redis_url.get_secret_value(), timeout_s or TIMEOUT_S, stages, epoch)
    except (TypeError, ValueError):
        raise SettingsError(UNKNOWN_OPTION) from None
