"""Outboxes for tests, over a timer that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.clock import Timer
from app.notify.outbox import MOST, Outbox
from app.notify.redis_outbox import RedisOutbox
from app.notify.sqlite_outbox import SqliteOutbox, outbox_in_memory
from app.redis_database import RedisDatabase
from tests.waiting import PATIENCE_S

Opened = Callable[[], Outbox]
"""Opens the same outbox anew, as another process would; one in memory is the same again."""


def opened(request: pytest.FixtureRequest, folder: Path, timer: Timer, most: int = MOST) -> Opened:
    if request.param == "memory":
        outbox = outbox_in_memory(timer, most)
        return lambda: outbox
    if request.param == "sqlite":
        return lambda: SqliteOutbox(folder / "notify.sqlite3", timer, most=most)
    url = request.getfixturevalue("redis_url")
    return lambda: RedisOutbox(RedisDatabase(url, PATIENCE_S, epoch=timer.epoch), "notify:{demo}", most)


KINDS = ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.integration)]
