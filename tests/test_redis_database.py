"""One client of Redis for all that a process keeps there: how many connections it opens, when they are closed, and that a
process that stands still for a while has its answers."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from redis.sentinel import SentinelManagedConnection

from app.errors import Unavailable
from app.factory import create_app
from app.redis_database import CONNECTIONS, RedisDatabase
from tests.redis_server import RedisServer
from tests.support import FakeClock, new_york, settings
from tests.waiting import PATIENCE_S, wait_for


def connections(server: RedisServer) -> int:
    """How many connections a Redis has but the one that asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


def test_a_server_keeps_record_day_budget_events_and_limits_over_few_connections_and_closes_them(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    provider = {"market": "polygon", "polygon_api_key": "k", "polygon_base_url": "http://127.0.0.1:9"}
    wanted = settings(**provider, data_dir=tmp_path, redis_url=own_redis.url)
    app = create_app(wanted, clock=FakeClock(new_york("2025-03-11 11:40:07")))
    services = app.extensions["predict-server"]
    services.start()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: app.test_client().get("/health").status_code, range(64)))
    assert 2 <= connections(own_redis) <= CONNECTIONS + 1

    def shown() -> str:
        return app.test_client().get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"}).text

    wait_for(lambda: f"predict_redis_connections {connections(own_redis)}.0" in shown(), "a thread may open one more")
    services.close()
    with own_redis.client() as client:
        for channel in client.pubsub_channels():
            client.publish(channel, "a last word, so that it need not wait for a silence")
    wait_for(lambda: connections(own_redis) == 0)


def test_who_needs_one_more_connection_waits_for_one(own_redis: RedisServer) -> None:
    many = 4 * CONNECTIONS
    with (
        closing(RedisDatabase(own_redis.url, PATIENCE_S)) as db,
        own_redis.client() as client,
        ThreadPoolExecutor(many) as pool,
    ):
        answers = pool.map(lambda _: db.read("BLPOP", "queue", 0), range(many))
        wait_for(lambda: client.info("clients")["blocked_clients"] == CONNECTIONS)
        client.rpush("queue", *range(many))
        assert sorted(int(value) for _, value in answers) == [*range(many)]
        assert db.connections() == connections(own_redis) - 1 == CONNECTIONS


@pytest.mark.parametrize("option", ["unheard_of=1", "socket_timeout=soon"])
def test_an_option_that_redis_does_not_know_is_refused_before_the_first_command(option: str) -> None:
    for url in ("redis://127.0.0.1:1/0", "redis+sentinel://127.0.0.1:1/predict"):
        with pytest.raises((TypeError, ValueError)):
            RedisDatabase(f"{url}?{option}")


@pytest.mark.parametrize("option", ["unheard_of=1", "socket_timeout=soon"])
def test_an_option_for_sentinels_that_redis_does_not_know_is_refused_before_the_first_command(option: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        RedisDatabase(f"redis+sentinel://127.0.0.1:1/predict?sentinel_{option}")


def test_options_for_sentinels_have_the_types_of_those_for_redis() -> None:
    options = "sentinel_socket_connect_timeout=0.5&sentinel_socket_keepalive=no"
    with closing(RedisDatabase(f"redis+sentinel://127.0.0.1:1/predict?{options}")) as db, pytest.raises(Unavailable):
        db.read("PING")


def test_sentinels_that_do_not_answer_are_asked_again_and_again_without_more_memory() -> None:
    def kept() -> int:
        gc.collect()
        return sum(isinstance(one, SentinelManagedConnection) for one in gc.get_objects())

    before = kept()
    with closing(RedisDatabase("redis+sentinel://127.0.0.1:1/predict")) as db:
        for _ in range(3 * CONNECTIONS):
            with pytest.raises(Unavailable):
                db.read("PING")
            with pytest.raises(Unavailable):
                next(db.messages("news"))
        assert kept() - before <= CONNECTIONS + 1


STANDS_STILL = """
from gevent import monkey
monkey.patch_all()

import sys
import time
import gevent
from app.redis_database import TIMEOUT_S, RedisDatabase
from middleware.sliding_windows import RedisWindows

def answers(asks):
    asking = [gevent.spawn(ask) for ask in asks]
    gevent.sleep(0)  # all have asked, and wait
    ends = time.monotonic() + 4 * TIMEOUT_S
    while time.monotonic() < ends:
        pass
    return [one.get() for one in asking]

database = RedisDatabase(sys.argv[1])
windows = RedisWindows(database.client, TIMEOUT_S)
windows.connect()
many = 20
assert answers([lambda: database.read("PING")] * many) == [True] * many
hits = answers([lambda: windows.hit("one client", 5, 60)] * many)
assert sum(hit.allowed for hit in hits) == 5
print("answered")
"""


def test_a_process_that_stands_still_for_longer_than_a_time_out_has_its_answers(redis_server: RedisServer) -> None:
    command = [sys.executable, "-c", STANDS_STILL, redis_server.url]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout == "answered\n", done.stderr
