"""The tests' own redis-server does what the tests that use it rely on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis import ConnectionError, Redis, TimeoutError

from tests import redis_server as module
from tests.redis_server import RedisServer, skip_without_redis_server
from tests.waiting import PATIENCE_S


def test_data_is_there(redis_url: str) -> None:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        client.set("kept", "yes")
        assert client.get("kept") == "yes"


@pytest.mark.parametrize("_", ["first", "second"])
def test_each_test_finds_the_shared_server_empty(redis_url: str, _: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_nothing_is_kept_on_disk(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("key", "value")
        folder = Path(client.config_get("dir")["dir"])
        assert client.config_get("save", "appendonly") == {"save": "", "appendonly": "no"}
    own_redis.stop()
    assert not folder.exists()


def test_a_killed_one_refuses_connections(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        assert client.ping()
        own_redis.kill()
        with pytest.raises(ConnectionError):
            client.ping()
    with own_redis.client() as client, pytest.raises(ConnectionError, match="refused"):
        client.ping()


def test_a_paused_one_answers_nothing_until_it_is_resumed(own_redis: RedisServer) -> None:
    with own_redis.client() as client, own_redis.client(seconds=0.2) as impatient:
        client.set("kept", "yes")
        own_redis.pause()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            impatient.get("kept")
        assert 0.15 < time.monotonic() - began < PATIENCE_S / 2
        own_redis.resume()
        assert client.get("kept") == "yes"


def test_a_restarted_one_is_empty_and_on_the_same_port(own_redis: RedisServer) -> None:
    url = own_redis.url
    with own_redis.client() as client:
        client.set("lost", "yes")
    own_redis.restart()
    assert own_redis.url == url
    with Redis.from_url(url) as client:
        assert client.dbsize() == 0


def test_one_that_was_killed_comes_back(own_redis: RedisServer) -> None:
    own_redis.kill()
    own_redis.restart()
    with own_redis.client() as client:
        assert client.ping()


def test_a_paused_one_is_stopped_in_good_order(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", PATIENCE_S)
    own_redis.pause()
    began = time.monotonic()
    own_redis.stop()
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_start_that_fails_shows_the_servers_log(own_redis: RedisServer) -> None:
    with pytest.raises(RuntimeError, match="Address already in use"):
        RedisServer(own_redis.port).start()
    with own_redis.client() as client:
        assert client.ping()


def test_without_the_program_tests_skip_and_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception) as skipped:
        skip_without_redis_server()
    assert str(skipped.value) == (
        "redis-server is missing; to install it: `sudo apt-get install redis-server` (Debian), "
        "`brew install redis` (macOS)"
    )
