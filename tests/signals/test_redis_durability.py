"""A Redis that may lose the record says so at the start, in /health and in the metrics; a real one, with such options."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.clock import Timer
from app.factory import create_app
from app.redis_database import RedisDatabase
from app.signals.durability import Durability
from app.signals.redis_record import RedisRecord
from app.sqlite import REOPEN_AFTER_S
from tests.redis_server import PATIENT, RedisServer, skip_without_redis_server
from tests.signals.stores import redis_store
from tests.support import FakeClock, new_york, settings
from tests.telemetry.metrics.scraping import scrape
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.integration
Start = Callable[..., RedisServer]
LASTS = {"appendonly": "yes", "maxmemory-policy": "noeviction"}


@pytest.fixture
def redis_with() -> Iterator[Start]:
    """Starts a Redis with options of redis.conf."""
    skip_without_redis_server()
    with ExitStack() as started:
        yield lambda **options: started.enter_context(
            RedisServer(options={name.replace("_", "-"): value for name, value in options.items()})
        )


def durability(url: str) -> Durability:
    record = RedisRecord(RedisDatabase(url, PATIENCE_S), "record")
    found = record.durability()
    record.close()
    return found


@pytest.mark.parametrize(
    ("options", "found", "can_forget"),
    [
        ({}, Durability("none", "noeviction"), True),
        ({"appendonly": "yes"}, Durability("append_only", "noeviction"), False),
        ({"save": "60 1"}, Durability("snapshots", "noeviction"), False),
        ({"appendonly": "yes", "save": "60 1"}, Durability("append_only", "noeviction"), False),
        ({"appendonly": "yes", "maxmemory_policy": "allkeys-lru"}, Durability("append_only", "allkeys-lru"), True),
        ({"appendonly": "yes", "maxmemory_policy": "volatile-lru"}, Durability("append_only", "volatile-lru"), False),
    ],
)
def test_what_a_redis_says_of_itself_tells_whether_the_record_lasts(
    redis_with: Start, options: dict[str, str], found: Durability, can_forget: bool
) -> None:
    assert durability(redis_with(**options).url) == found
    assert found.can_forget is can_forget
    assert bool(found.risks) is can_forget


@pytest.mark.parametrize(
    ("appendonly", "refused", "found"),
    [
        ("no", "-config", Durability("unknown", "noeviction")),
        ("yes", "-config", Durability("append_only", "noeviction")),
        ("no", "-info", Durability("unknown", "unknown")),
    ],
)
def test_what_a_managed_redis_does_not_say_is_unknown_and_not_guessed(
    redis_with: Start, appendonly: str, refused: str, found: Durability
) -> None:
    server = redis_with(appendonly=appendonly)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "managed", "on", ">word", "~*", "+@all", refused)
    said = durability(server.url.replace("redis://", "redis://managed:word@"))
    assert said == found
    assert said.can_forget is (False if found.persistence == "append_only" else None)
    assert said.risks == ()


def test_no_key_of_the_record_expires_so_that_volatile_policies_do_no_harm(redis_with: Start, tmp_path: Path) -> None:
    server = redis_with()
    serve(tmp_path, server).test_client().get("/trading_directions")
    with server.client() as client:
        keys = client.keys("predict:record:*")
        assert len(keys) > 3
        assert {client.ttl(key) for key in keys} == {-1}


def serve(tmp_path: Path, server: RedisServer) -> Flask:
    chosen = settings(market="demo", data_dir=tmp_path, redis_url=f"{server.url}{PATIENT}")
    return create_app(chosen, clock=FakeClock(new_york("2025-03-11 11:40:07")))


def kept(app: Flask) -> Any:
    return app.test_client().get("/health").get_json()["operations"]["store"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        line.getMessage()
        for line in caplog.records
        if line.levelno == logging.WARNING and "record_can_forget" in line.getMessage()
    ]


def test_a_redis_that_forgets_is_told_once_at_the_start_and_in_health_and_metrics(
    redis_with: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = serve(tmp_path, redis_with(maxmemory_policy="allkeys-random"))
    for _ in range(2):
        store = kept(app)
    disk, memory = store.pop("risks")
    assert store == {
        **{"kind": "redis", "failing": False, "message": None, "persistence": "none"},
        **{"eviction_policy": "allkeys-random", "can_forget": True},
    }
    assert ("appendonly yes" in disk, "maxmemory-policy noeviction" in memory) == (True, True)
    assert warnings(caplog) == [f"record_can_forget risk={risk}" for risk in (disk, memory)]
    assert scrape(app).value("predict_record_can_forget") == 1


def test_a_redis_that_lasts_is_told_as_such(
    redis_with: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = serve(tmp_path, redis_with(appendonly="yes"))
    assert kept(app) == {
        **{"kind": "redis", "failing": False, "message": None, "persistence": "append_only"},
        **{"eviction_policy": "noeviction", "can_forget": False, "risks": []},
    }
    assert warnings(caplog) == []
    assert scrape(app).value("predict_record_can_forget") == 0


def test_what_changes_in_a_running_redis_is_told_once_and_lasts_while_redis_is_away(redis_with: Start) -> None:
    heard: list[str] = []
    now = [1000.0]
    server = redis_with(appendonly="yes")
    emit = lambda event, **fields: heard.append(event)  # noqa: E731
    store = redis_store(server.url, "record", emit, Timer(now=lambda: now[0]))
    assert store.durability() == Durability("append_only", "noeviction")
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
    for _ in range(3):
        now[0] += REOPEN_AFTER_S
        store.durability()
    assert heard == ["record_can_forget"]
    server.kill()
    now[0] += REOPEN_AFTER_S
    assert store.durability() == Durability("append_only", "allkeys-lfu")
    assert heard == ["record_can_forget", "store_degraded"]
