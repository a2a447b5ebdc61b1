"""Limits that processes share in Redis: exact between them, kept by each alone while Redis is away, shared again after."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from tests import warm_processes
from tests.racing import racing
from tests.redis_faults import SILENCE_S
from tests.redis_server import PATIENT, RedisServer, free_port
from tests.serving.test_gunicorn import SERVE, Server, environment, started
from tests.waiting import PATIENCE_S, wait_for

DIRECTIONS = "/trading_directions?ticker=SPY"
HIGH = 1_000_000
UNNOTICED_S = 10.0
"""Of a busy machine. While Redis is paused nobody is answered who waits for it."""

SECRET = "hunter2-is-secret"
PROCESSES, TRIES, LIMIT = 20, 30, 100
HITTER = """
import sys, time
from redis import Redis
from app.redis_database import RedisDatabase
from middleware.sliding_windows import RedisWindows

def race(number):
    url, tries, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    db = RedisDatabase(url, timeout_s=60.0)
    windows = RedisWindows(db.client, db.timeout_s, time.time)
    windows.connect()
    with Redis.from_url(url, socket_timeout=600) as gate:
        gate.incr("ready")
        assert gate.blpop(["gate"], 300)
    hits = [windows.hit("one client", limit, 60) for _ in range(tries)]
    db.close()
    print(sum(hit.allowed for hit in hits), max(hit.used for hit in hits))
"""

Run = Callable[..., Iterator[Server]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts so many demo servers and waits until they answer; environment variables by name."""
    with ExitStack() as stack:

        def begin(servers: int = 1, **variables: object) -> Iterator[Server]:
            begun = []
            for n in range(servers):
                values = {"MARKET": "demo", "DATA_DIR": tmp_path / f"data{n}", "TRUST_PROXY": "true", **variables}
                begun.append(stack.enter_context(started(SERVE, tmp_path / f"log{n}", **values)))
            for server in begun:
                wait_for(lambda server=server: answers(server), "the server answers")
            return iter(begun)

        yield begin


def answers(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return server.get("/livez").ok
    except requests.RequestException:
        return False


def told(server: Server) -> list[str]:
    """What the log says of Redis, in order."""
    lines = [json.loads(line) for line in server.lines() if line.startswith("{")]
    events = [str(line.get("message", "")).split(" ")[0] for line in lines]
    return [event for event in events if event.startswith("limits_")]


def wait_told(server: Server, *events: str) -> None:
    wait_for(lambda: told(server) == list(events), f"{told(server)} becomes {list(events)}")


def metric(server: Server, name: str) -> float:
    families = text_string_to_metric_families(server.get("/metrics").text)
    [value] = [sample.value for family in families for sample in family.samples if sample.name == name]
    return value


def ask(server: Server, client: str, times: int) -> list[int]:
    """So many requests from a client's address."""
    headers = {"X-Real-IP": client}
    with requests.Session() as session:
        return [
            session.get(server.base + DIRECTIONS, headers=headers, timeout=PATIENCE_S).status_code for _ in range(times)
        ]


# Between processes


def test_twenty_processes_at_once_get_exactly_the_limit_together(redis_url: str) -> None:
    with Redis.from_url(redis_url) as gate, racing(HITTER, PROCESSES, redis_url, TRIES, LIMIT) as takers:
        wait_for(lambda: int(gate.get("ready") or 0) == PROCESSES, "all are ready")
        gate.rpush("gate", *range(PROCESSES))
        said = takers.communicate(timeout=PATIENCE_S)[0]
    found = [tuple(map(int, line.split())) for line in said.splitlines()]
    assert (takers.returncode, len(found)) == (0, PROCESSES)
    assert sum(allowed for allowed, _ in found) == LIMIT
    assert max(used for _, used in found) == LIMIT


def test_limits_are_shared_whenever_redis_is_there_and_kept_by_each_server_while_it_is_not(
    run: Run, own_redis: RedisServer
) -> None:
    own_redis.stop()
    servers = one, two = tuple(run(servers=2, REDIS_URL=f"{own_redis.url}{PATIENT}", RATE_LIMIT_DIRECTIONS=10))

    def each_alone(client: str) -> None:
        assert ask(one, client, 12) == [200] * 10 + [429] * 2
        assert ask(two, client, 12) == [200] * 10 + [429] * 2

    def together(client: str) -> None:
        assert ask(one, client, 6) == [200] * 6
        assert ask(two, client, 6) == [200] * 4 + [429] * 2
        assert ask(one, client, 1) == [429]

    each_alone("198.51.100.1")
    for server in servers:
        wait_told(server, "limits_local")
    own_redis.start()
    for server in servers:
        wait_told(server, "limits_local", "limits_shared")
    together("198.51.100.2")
    own_redis.kill()
    each_alone("198.51.100.3")
    for server in servers:
        wait_told(server, "limits_local", "limits_shared", "limits_local")
        assert metric(server, "predict_limits_local") == 1
    own_redis.start()
    for server in servers:
        wait_told(server, *["limits_local", "limits_shared"] * 2)
        assert metric(server, "predict_limits_local") == 0
        assert metric(server, "predict_limit_fallbacks_total") == 2
    together("198.51.100.4")


# While Redis comes and goes under load


class Load:
    """Clients that ask over connections kept alive, until they are told to stop. Asks: when, status, seconds."""

    def __init__(self, server: Server) -> None:
        self.asks: list[tuple[float, int, float]] = []
        self.broken: list[str] = []
        self._stop = threading.Event()
        self._address = urlsplit(server.base)

    @contextmanager
    def running(self, clients: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask_on, args=(f"198.51.100.{n}",)) for n in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)

    def _ask_on(self, client: str) -> None:
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=PATIENCE_S)
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                connection.request("GET", DIRECTIONS, headers={"X-Real-IP": client})
                answer = connection.getresponse()
                answer.read()
                self.asks.append((began, answer.status, time.monotonic() - began))
        except (OSError, http.client.HTTPException) as exc:
            self.broken.append(repr(exc))
        finally:
            connection.close()

    def since(self, moment: float) -> int:
        return sum(began >= moment for began, _, _ in self.asks)


def test_under_load_nobody_notices_that_redis_comes_and_goes(run: Run, own_redis: RedisServer) -> None:
    url = f"{own_redis.url}?socket_timeout={SILENCE_S}&socket_connect_timeout={SILENCE_S}"
    [server] = run(REDIS_URL=url, **{f"RATE_LIMIT_{g}": HIGH for g in ("DIRECTIONS", "OTHER")})
    assert ask(server, "198.51.100.1", 1) == [200]
    load, events = Load(server), []

    def goes_on() -> None:
        """The clients go on being answered."""
        now = time.monotonic()
        wait_for(lambda: load.since(now) > 50, "the load goes on")

    with load.running(clients=8):
        for lose, find in ((own_redis.kill, own_redis.start), (own_redis.pause, own_redis.resume)):
            goes_on()
            lose()
            events.append("limits_local")
            wait_told(server, *events)
            goes_on()
            find()
            events.append("limits_shared")
            wait_told(server, *events)
            goes_on()
    assert load.broken == []
    assert {status for _, status, _ in load.asks} == {200}
    assert max(seconds for _, _, seconds in load.asks) < UNNOTICED_S
    assert told(server) == ["limits_local", "limits_shared"] * 2
    assert metric(server, "predict_limit_fallbacks_total") == 2
    assert metric(server, "predict_limits_local") == 0
    assert "Traceback" not in server.log.read_text()


# What is told of the address of Redis


def test_the_password_of_redis_is_told_nobody(run: Run, own_redis: RedisServer) -> None:
    url = f"redis://intruder:{SECRET}@127.0.0.1:{own_redis.port}/0"
    [server] = run(REDIS_URL=url, RATE_LIMIT_DIRECTIONS=3, LOG_LEVEL="DEBUG")
    paths = [*[DIRECTIONS] * 4, "/health", "/nope", "/metrics", "/versions", "/readyz"]
    given = [server.get(path) for path in paths]
    given.append(requests.post(server.base + "/health", timeout=PATIENCE_S))
    assert [answer.status_code for answer in given] == [200] * 3 + [429, 200, 404, 200, 200, 200, 405]
    wait_told(server, "limits_local")
    own_redis.kill()
    time.sleep(1.5)  # the server knocks once a second: now at a dead port
    given += [server.get(path) for path in paths]
    own_redis.start()
    time.sleep(1.5)
    assert not any(SECRET in f"{answer.headers}{answer.text}" for answer in given)
    assert SECRET not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    assert told(server) == ["limits_local"], "a Redis that refuses the password is not there"


@pytest.mark.parametrize("url", [f"redis://:{SECRET}/unescaped@127.0.0.1:6379/0", f"redis://:{SECRET}@127.0.0.1:x/0"])
def test_an_address_of_redis_that_is_none_stops_the_start_with_its_name_alone(tmp_path: Path, url: str) -> None:
    variables = environment(MARKET="demo", DATA_DIR=tmp_path, PORT=free_port(), REDIS_URL=url)
    done = warm_processes.run(SERVE, variables)
    assert done.returncode != 0
    assert SECRET not in done.stdout + done.stderr
    assert "Error: REDIS_URL: " in done.stderr
    assert "Traceback" not in done.stderr
