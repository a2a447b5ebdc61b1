"""The record in a real Redis that is lost, full, paused or a copy of another one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Thread

import pytest

from app.clock import Timer
from app.errors import Unavailable
from app.factory import build, create_app
from app.market.opens import OfficialOpen
from app.redis_database import RedisDatabase
from app.signals.redis_record import RedisRecord
from app.signals.store import RecordStore
from app.sqlite import REOPEN_AFTER_S
from tests.redis_server import RedisServer
from tests.signals.stores import redis_store
from tests.signals.test_policy import decision
from tests.support import FakeClock, new_york, settings
from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
LATER = replace(decision(0.6, 0.9), hour=14)


class Kept:
    """A store over a Redis, with what it said and the time that a test moves."""

    def __init__(self, server: RedisServer) -> None:
        self.now = 1000.0
        self.heard: list[str] = []
        emit = lambda event, **fields: self.heard.append(event)  # noqa: E731
        self.store: RecordStore = redis_store(server.url, "record", emit, Timer(now=lambda: self.now))

    def try_again(self) -> str | None:
        self.now += REOPEN_AFTER_S
        return self.store.degraded()


@pytest.fixture
def kept(own_redis: RedisServer) -> Kept:
    return Kept(own_redis)


def test_a_redis_that_is_gone_and_back_has_all_that_was_said(kept: Kept, own_redis: RedisServer) -> None:
    before = kept.store.put(decision(0.6, 0.9))
    own_redis.kill()
    after = kept.store.put(LATER)
    assert kept.store.put(replace(LATER, p_b=0.1)) == after
    assert kept.store.put_open("SPY", DAY, OfficialOpen(500.1, "daily")) == OfficialOpen(500.1, "daily")
    assert kept.store.get("SPY", DAY, 13) == before
    assert kept.heard == ["store_degraded"]
    own_redis.start()
    assert kept.try_again() is None
    assert kept.heard == ["store_degraded", "store_recovered"]
    other = redis_store(own_redis.url, "record")
    assert (other.get("SPY", DAY, 14), other.get_open("SPY", DAY)) == (after, OfficialOpen(500.1, "daily"))


def test_a_signal_that_redis_lost_is_shown_on_and_told_as_a_change(kept: Kept, own_redis: RedisServer) -> None:
    """It is not written again: what a record has lost is a gap (ruling S7)."""
    said = kept.store.put(decision(0.6, 0.9))
    own_redis.flush()
    assert kept.store.get("SPY", DAY, 13) == said
    kept.store.verify(DAY)
    assert kept.heard == ["record_changed"]
    assert redis_store(own_redis.url, "record").listing("SPY", (DAY, 0), DAY, 9) == []


def test_a_full_redis_is_told_once_and_what_it_has_is_still_read(kept: Kept, own_redis: RedisServer) -> None:
    said = kept.store.put(decision(0.6, 0.9))
    with own_redis.client() as client:
        client.config_set("maxmemory", 1)
        assert kept.store.put(LATER) == LATER
        assert "maxmemory" in str(kept.store.degraded())
        assert redis_reader(own_redis).signal("SPY", DAY, 13) == said
        client.config_set("maxmemory", 0)
    assert kept.try_again() is None
    assert kept.heard == ["store_degraded", "store_recovered"]
    assert redis_store(own_redis.url, "record").get("SPY", DAY, 14) == LATER


def redis_reader(server: RedisServer) -> RedisRecord:
    """A record that was opened while Redis could be written."""
    with server.client() as client:
        most = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 0)
        record = RedisRecord(RedisDatabase(server.url, PATIENCE_S), "record")
        client.config_set("maxmemory", most)
    return record


def test_a_replica_that_may_not_be_written_is_told(kept: Kept, own_redis: RedisServer) -> None:
    said = kept.store.put(decision(0.6, 0.9))
    with own_redis.client() as client:
        client.replicaof("127.0.0.1", 1)
        assert kept.store.put(LATER) == LATER
        assert "read only replica" in str(kept.store.degraded())
        client.replicaof("NO", "ONE")
    assert kept.try_again() is None
    other = redis_store(own_redis.url, "record")
    assert (other.get("SPY", DAY, 13), other.get("SPY", DAY, 14)) == (said, LATER)


def test_servers_that_race_agree_on_every_signal(redis_url: str) -> None:
    said: dict[float, list[float]] = {}

    def race(p: float) -> None:
        store = redis_store(redis_url, "record")
        said[p] = [store.put(replace(decision(0.6, p), hour=hour)).p_b for hour in range(100)]

    threads = [Thread(target=race, args=(p,)) for p in (0.9, 0.8, 0.2, 0.1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = said.values()
    assert others == [first] * 3


def test_no_error_says_the_password(own_redis: RedisServer) -> None:
    address = own_redis.url.removeprefix("redis://")
    own_redis.kill()
    with pytest.raises(Unavailable) as caught:
        RedisRecord(RedisDatabase(f"redis://someone:a-secret-word@{address}", PATIENCE_S), "record")
    assert "a-secret-word" not in f"{caught.value} {caught.value.detail} {caught.value.__cause__}"


def test_two_servers_with_one_redis_have_one_record(tmp_path: Path, redis_url: str) -> None:
    at, found = new_york("2025-03-11 11:40:07"), []
    for name in ("first", "second"):
        core = build(settings(market="demo", data_dir=tmp_path / name, redis_url=redis_url), clock=FakeClock(at))
        if name == "first":
            core.pipeline.states(["SPY"], at)
        found.append(core.store.listing("SPY", (DAY, 0), DAY, 9))
        core.close()
    assert [signal.hour for signal in found[0]] == [11]
    assert found[0] == found[1]
    assert not list(tmp_path.rglob("record.sqlite3"))


def test_a_server_without_its_redis_answers_and_is_ready(tmp_path: Path) -> None:
    gone = settings(market="demo", data_dir=tmp_path, redis_url="redis://127.0.0.1:1")
    client = create_app(gone, clock=FakeClock(new_york("2025-03-11 11:40:07"))).test_client()
    health = client.get("/health").get_json()
    assert "store" in health["degraded"]
    how = {"persistence": "unknown", "eviction_policy": "unknown", "can_forget": None, "risks": []}
    assert health["operations"]["store"] == {"kind": "redis", "failing": True, "message": None, **how}
    assert client.get("/readyz").status_code == 200
    assert client.get("/trading_directions").status_code == 200
