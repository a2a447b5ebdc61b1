"""Where the log of live events is kept: in Redis where several servers share one, else in a file of DATA_DIR; in memory while
that cannot be used."""

from __future__ import annotations

from typing import Final

from app.core import Core
from app.live.append_listener import AppendListener
from app.live.event_log import EventLogWithFallback, SqliteEventLog
from app.live.lifecycle import Lifecycle
from app.live.redis_event_log import RedisEventLog
from app.signals.policy import SUPPORTED

PREFIX: Final = "predict:live"


def live_log_of(core: Core, lifecycle: Lifecycle) -> EventLogWithFallback:
    """The log of live events of a market. In Redis, a part of `lifecycle` hears what other processes append."""
    events, now = core.events, core.timer.now
    if core.redis is None:
        path = core.settings.data_dir / core.market.namespace / "live.sqlite3"
        return EventLogWithFallback(lambda: SqliteEventLog(path, core.timer), events, now)
    log = RedisEventLog(core.redis, f"{PREFIX}:{core.market.namespace}", core.timer)
    listener = AppendListener(log.appended_elsewhere, SUPPORTED, events)
    lifecycle.add("live log", start=listener.start, stop=listener.close)
    return EventLogWithFallback(lambda: log, events, now, is_redis=True)
