"""A Redis behind real Sentinels: what is kept goes on on the new master after a failover, and no answer fails meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.clock import REAL_TIME, Timer
from app.errors import Unavailable
from app.factory import create_app
from app.live.append_listener import AppendListener
from app.live.event_log import RETRY_REDIS_S, EventLogWithFallback
from app.live.live_event import Position
from app.live.redis_event_log import RedisEventLog
from app.market.redis_shared_day import RedisSharedDay
from app.market.running_day import REOPEN_AFTER_S, RunningDay
from app.redis_database import RedisDatabase
from app.signals.redis_record import RedisRecord
from app.signals.store import RecordStore
from app.sqlite import REOPEN_AFTER_S as RECORD_AFTER_S
from middleware.sliding_windows import InMemoryWindows, RedisWindows, WindowsWithFallback
from tests.live.logs import event, filled, head
from tests.redis_faults import PASSWORD
from tests.redis_sentinels import WatchedRedis
from tests.redis_server import RedisServer, skip_without_redis_server
from tests.signals.test_policy import decision
from tests.support import FakeClock, new_york, settings
from tests.waiting import PATIENCE_S, wait_for

DAY = date(2025, 3, 11)
NOON = replace(decision(0.6, 0.9), hour=12)


class Process:
    """All that one process keeps in Redis, over one client, with what it said and the time by which it tries again."""

    def __init__(self, url: str) -> None:
        self.at = 1000.0
        self.heard: list[str] = []
        timer = Timer(lambda: self.at, REAL_TIME.epoch, REAL_TIME.sleep)
        self.db = db = RedisDatabase(url, PATIENCE_S)
        self.store = RecordStore(lambda: RedisRecord(db, "record"), self._hear, timer)
        self.day = RunningDay(lambda: RedisSharedDay(db, "day:{test}", "lease:{test}", timer), timer, self._hear)
        shared = RedisEventLog(db, "live", timer)
        self.log = EventLogWithFallback(lambda: shared, self._hear, timer.now, is_redis=True)
        local = InMemoryWindows(timer.now, timer.epoch)
        self.windows = WindowsWithFallback(
            RedisWindows(db.client, db.timeout_s), local, self._hear, lambda seconds: REAL_TIME.sleep(0.05)
        )
        self.listener = AppendListener(
            shared.appended_elsewhere, ["SPY"], self._hear, lambda seconds: self._is_over.wait(0.05)
        )
        self._is_over = threading.Event()
        threading.Thread(target=self.listener.run, daemon=True).start()

    def _hear(self, name: str, **fields: object) -> None:
        self.heard.append(name)

    def use(self) -> tuple[object, ...]:
        """One use of each part."""
        return self.store.put(NOON), self.day.lead(), self.log.leads("SPY"), self.windows.hit("client", 100, 60).allowed

    def try_again(self) -> None:
        self.at += 2 * max(RECORD_AFTER_S, REOPEN_AFTER_S, RETRY_REDIS_S)
        self.use()

    def is_shared_again(self) -> bool:
        """Whether a try brought all parts back to Redis; on a busy machine one may be too slow for its time-out."""
        self.try_again()
        return self.store.degraded() is None and not self.windows.is_local and not self.log.is_in_memory

    def close(self) -> None:
        self._is_over.set()
        self.listener.close()
        self.windows.close()
        self.db.close()


@pytest.fixture
def watched() -> Iterator[WatchedRedis]:
    """One Sentinel, whose word is enough."""
    skip_without_redis_server()
    with WatchedRedis() as redis:
        yield redis


@pytest.fixture
def three_sentinels() -> Iterator[WatchedRedis]:
    """Of whom two must agree."""
    skip_without_redis_server()
    with WatchedRedis(3) as redis:
        yield redis


@pytest.fixture
def client(tmp_path: Path, watched: WatchedRedis) -> FlaskClient:
    """Of a whole server."""
    demo = settings(market="demo", data_dir=tmp_path, redis_url=watched.url)
    return create_app(demo, clock=FakeClock(new_york("2025-03-11 11:40:07"))).test_client()


def listeners(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.pubsub_numsub("live:appended")[0][1])


def fail_over(watched: WatchedRedis, meanwhile: Callable[[], None]) -> None:
    """Kills the master, and does something again and again until the replica has taken its place."""
    watched.wait_for_replication()
    watched.server.kill()
    done = threading.Thread(target=watched.wait_for_failover)
    done.start()
    while done.is_alive():
        meanwhile()
    done.join()


def test_after_a_failover_all_goes_on_on_the_new_master_and_no_answer_failed(
    watched: WatchedRedis, client: FlaskClient
) -> None:
    statuses = []

    def ask() -> None:
        one.use()
        statuses.extend(client.get(path).status_code for path in ("/trading_directions", "/health", "/readyz"))

    with ExitStack() as stack:
        one, other = (stack.enter_context(closing(Process(watched.url))) for _ in range(2))
        first = one.store.put(decision(0.6, 0.9))
        filled(one.log, 2)
        wait_for(lambda: listeners(watched.server) == 2)
        fail_over(watched, ask)
        assert set(statuses) == {200}
        lost = ["store_degraded", "running_day_unshared", "live_log_in_memory", "limits_local"]
        assert [name for name in one.heard if name in lost] == lost, "each is told once"
        wait_for(lambda: all(process.is_shared_again() for process in (one, other)))
        with closing(RedisDatabase(watched.replica.url, PATIENCE_S)) as db:
            record = RedisRecord(db, "record")
            assert [record.signal("SPY", DAY, hour) for hour in (first.hour, NOON.hour)] == [first, NOON]
            assert one.day.lead() is not None
            assert (
                RedisSharedDay(db, "day:{test}", "lease:{test}", REAL_TIME).leases.current("follower") == one.day.lead()
            )
        assert other.day.lead() is None
        assert not one.log.is_in_memory
        assert not one.log.append("SPY", Position("aaaaaaaa", 2), [event(3)], head(3))
        assert one.log.head("SPY") is None, "a sequence ends with the Redis that has taken it"
        wait_for(lambda: listeners(watched.replica) == 2)
        assert one.log.append("SPY", None, [event(1, "bbbbbbbb")], head(1, "bbbbbbbb"))
        wait_for(lambda: "live_log_grew" in other.heard)
        assert other.log.head("SPY") == head(1, "bbbbbbbb")


@pytest.mark.soak
def test_a_master_that_was_only_deaf_is_left_once_the_sentinels_have_made_it_a_replica(watched: WatchedRedis) -> None:
    """What it is told between its return and that moment is lost: `min-replicas-to-write` keeps it from taking it."""
    with closing(Process(watched.url)) as one:
        one.store.put(decision(0.6, 0.9))
        watched.wait_for_replication()
        watched.server.pause()
        watched.wait_for_failover()
        watched.server.resume()
        wait_for(watched.is_old_master_a_replica, "the old master is told of the new one")
        one.store.put(NOON)
        one.try_again()
        assert one.store.degraded() is None
        with closing(RedisDatabase(watched.replica.url, PATIENCE_S)) as db:
            assert RedisRecord(db, "record").signal("SPY", DAY, 12) == NOON


@pytest.mark.soak
def test_a_sentinel_that_is_lost_with_the_master_costs_nothing_more(three_sentinels: WatchedRedis) -> None:
    with closing(Process(three_sentinels.url)) as one:
        filled(one.log, 2)
        three_sentinels.wait_for_replication()
        three_sentinels.lose_first_sentinel()
        fail_over(three_sentinels, one.use)
        one.try_again()
        assert one.store.degraded() is None
        assert one.day.lead() is not None
        assert not one.log.is_in_memory


def test_no_sentinel_that_answers_is_a_redis_that_cannot_be_used(watched: WatchedRedis) -> None:
    [sentinel] = watched.sentinels
    sentinel.kill()
    url = watched.url.replace("://", f"://someone:{PASSWORD}@") + f"?sentinel_password={PASSWORD}"
    with closing(RedisDatabase(url, PATIENCE_S)) as db, pytest.raises(Unavailable) as raised:
        db.read("PING")
    assert "No master found for 'predict'" in str(raised.value.detail)
    assert PASSWORD not in f"{raised.value} {raised.value.detail}"
