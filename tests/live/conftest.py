"""Fixtures of live events: the time, and the stores that keep them for several processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from app.live.event_log import SqliteEventLog
from tests.live.logs import Open, redis_log
from tests.support import FakeTimer


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer()


@pytest.fixture(params=["sqlite", "redis"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path, timer: FakeTimer) -> Iterator[Open]:
    """Opens the log of one more process, all on one store."""
    with ExitStack() as stack:
        if request.param == "redis":
            url = request.getfixturevalue("redis_url")
            yield lambda: stack.enter_context(closing(redis_log(url, timer)))
        else:
            yield lambda: stack.enter_context(closing(SqliteEventLog(tmp_path / "live.sqlite3", timer.timer)))
