"""Where the log of live events is kept: in Redis where several servers share one, else in a file of DATA_DIR; in memory while
that cannot be used."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from app.core import Core
from app.live.append_listener import AppendListener
from app.live.event_log import EventLogWithFallback, SqliteEventLog
from app.live.lifecycle import Lifecycle
from app.live.redis_event_log import RedisEventLog
from app.signals.policy import SUPPORTED

PREFIX: Final = "predict:live"


class LiveLog(NamedTuple):
    """The log, and in Redis what hears of it."""

    log: EventLogWithFallback
    listener: AppendListener | None = None

    def status(self) -> dict[str, Any]:
        """The values of `/health.operations.live_log`."""
        status: dict[str, Any] = {"kind": "sqlite", "in_memory": self.log.is_in_memory}
        if self.listener is not None:
            status |= {"kind": "redis", "subscription_refused": self.listener.is_refused}
        return status


def live_log_of(core: Core, lifecycle: Lifecycle) -> LiveLog:
    """The log of live events of a market. In Redis, a part of `lifecycle` hears what other processes append."""
    events, now = core.events, core.timer.now
    if core.redis is None:
        path = core.settings.data_dir / core.market.namespace / "live.sqlite3"
        return LiveLog(EventLogWithFallback(lambda: SqliteEventLog(path, core.timer), events, now))
    log = RedisEventLog(core.redis, f"{PREFIX}:{core.market.namespace}", core.timer)
    listener = AppendListener(log.appended_elsewhere, SUPPORTED, events)
    lifecycle.add("live log", start=listener.start, stop=listener.close)
    return LiveLog(EventLogWithFallback(lambda: log, events, now, is_redis=True), listener)
