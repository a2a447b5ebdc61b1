"""The Redis that several servers share: one client of it for all that a process keeps there."""

from __future__ import annotations

from app.clock import REAL_TIME, Timer
from app.config.settings import Settings
from app.errors import SettingsError
from app.redis_database import TIMEOUT_S, RedisDatabase
from app.telemetry.stages import NULL_STAGES, Stages

UNKNOWN_OPTION = "REDIS_URL: has an option (after the ?) that redis does not know"


def redis_database_of(
    settings: Settings, stages: Stages = NULL_STAGES, timer: Timer = REAL_TIME, timeout_s: float = TIMEOUT_S
) -> RedisDatabase | None:
    """The Redis at REDIS_URL, None if that is not set. Its own clock counts, but where a test brings one. Raises SettingsError
    for an option that redis does not know."""
    if settings.redis_url is None:
        return None
    epoch = None if timer.epoch is REAL_TIME.epoch else timer.epoch
    try:
        return RedisDatabase(settings.redis_url.get_secret_value(), timeout_s, stages, epoch)
    except (TypeError, ValueError):
        raise SettingsError(UNKNOWN_OPTION) from None
