"""Logs of live events for tests, and events to put into them."""

from __future__ import annotations

from collections.abc import Callable

from app.live.event_log import EventLog, Head, SqliteEventLog
from app.live.live_event import Kind, LiveEvent, Noticed, Position
from app.live.redis_event_log import RedisEventLog
from app.redis_database import RedisDatabase
from tests.support import FakeTimer, new_york
from tests.waiting import PATIENCE_S

NOTICED = Noticed(new_york("2025-03-11 10:30:07"), new_york("2025-03-11 10:30"), 447.5, "gate", "open current")
PREFIX = "predict:live:test"
Open = Callable[[], EventLog]


def redis_log(url: str, timer: FakeTimer, timeout_s: float = PATIENCE_S) -> RedisEventLog:
    return RedisEventLog(RedisDatabase(url, timeout_s, epoch=timer.timer.epoch), PREFIX, timer.timer)


def event(seq: int, epoch: str = "aaaaaaaa", size: int = 2) -> LiveEvent:
    return LiveEvent("SPY", Kind.PRICE, Position(epoch, seq), b"x" * size)


def head(seq: int, epoch: str = "aaaaaaaa") -> Head:
    return Head(Position(epoch, seq), NOTICED, b'{"snapshot": 1}')


def filled(log: EventLog, count: int, size: int = 2) -> EventLog:
    """A log with the events 1 to `count`."""
    assert log.leads("SPY")
    assert log.append("SPY", None, [], head(0))
    assert log.append(
        "SPY", Position("aaaaaaaa", 0), [event(seq, size=size) for seq in range(1, count + 1)], head(count)
    )
    return log


def seqs(log: EventLog, last: int) -> list[int]:
    epoch = "aaaaaaaa"
    return [event.position.seq for event in log.between("SPY", Position(epoch, 0), Position(epoch, last))]


def spoil_head(log: EventLog) -> None:
    """As another version of the program might write it."""
    if isinstance(log, RedisEventLog):
        log._db.read("HSET", log._key("SPY", "head"), "noticed", "{}", "version", "another")
    else:
        assert isinstance(log, SqliteEventLog)
        log._db.write("UPDATE heads SET noticed = '{}'")
