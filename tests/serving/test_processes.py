"""Servers as they are deployed, on one DATA_DIR, or on one Redis with a DATA_DIR each: together they ask the provider as often
as one does, and the one that follows is killed, and halted past its lease."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import signal
import sqlite3
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis

from app.clock import Clock, running_clock
from app.market.feed_transport import FeedTransport
from app.market.lease import LEASE_S
from app.simulator.server import PolygonSimulator
from tests.serving.test_gunicorn import Server, started
from tests.support import CALENDAR, demo_feed, new_york
from tests.waiting import PATIENCE_S, wait_for

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.followed_app:server"]
SERIES = "SELECT name, fetched, length(bars) FROM series"


@dataclass(frozen=True)
class Market:
    """A provider whose clock, like that of its servers, runs `speed` times as fast as the wall's."""

    provider: PolygonSimulator
    clock: Clock
    speed: float
    start: Callable[..., Server]

    def wait_for(self, second: int) -> datetime:
        """Sleeps until the clock next shows this second of a minute."""
        now = self.clock()
        turn = now.replace(second=second, microsecond=0)
        turn += timedelta(minutes=turn <= now)
        time.sleep((turn - now).total_seconds() / self.speed)
        return turn

    def calls(self, since: datetime) -> Counter[tuple[str, str]]:
        """The calls from a moment on, by what was asked for and the market's minute."""
        found = [call for call in self.provider.calls if call.provider_time is not None and call.provider_time >= since]
        return Counter((re.sub(r"/\d{13}/", "/.../", call.path), f"{call.provider_time:%H:%M}") for call in found)


@contextmanager
def market(folder: Path, speed: float, at: str = "2025-03-11 11:30:40", **options: object) -> Iterator[Market]:
    """options: environment variables of all servers; `start` takes those of one."""
    began = time.time()
    clock = running_clock(new_york(at), speed, datetime.fromtimestamp(began, UTC))
    with PolygonSimulator(FeedTransport(demo_feed(), CALENDAR, clock), clock=clock) as provider, ExitStack() as stack:
        values = {"POLYGON_BASE_URL": provider.address, "DATA_DIR": folder, "AT": at, "BEGAN": began, "SPEED": speed}
        values |= options
        numbers = itertools.count()

        def start(**variables: object) -> Server:
            number = next(numbers)
            own = {"DATA_DIR": folder / str(number)} if "REDIS_URL" in options else {}
            log = folder.parent / f"{folder.name}-{number}.log"
            return stack.enter_context(started(COMMAND, log, **{**values, **own, **variables}))

        yield Market(provider, clock, speed, start)


def running(found: Market, count: int) -> list[Server]:
    """So many servers, the leader first, that all know the running day."""
    servers = [found.start() for _ in range(count)]
    for server in servers:
        within(lambda server=server: is_up(server))  # type: ignore[misc]
    servers = leader_first(servers)
    within(lambda: all(is_whole(server) for server in servers))
    return servers


@pytest.fixture(params=[pytest.param("one folder", marks=pytest.mark.soak), "one redis"])
def sharing(request: pytest.FixtureRequest) -> dict[str, str]:
    """What servers share besides the folder, by its setting."""
    return {} if request.param == "one folder" else {"REDIS_URL": request.getfixturevalue("redis_url")}


@pytest.fixture
def pair(tmp_path: Path, sharing: dict[str, str]) -> Iterator[tuple[list[Server], PolygonSimulator]]:
    demo_feed()
    with market(tmp_path / "data", 1.0, READ_S=10 * PATIENCE_S, **sharing) as found:
        yield running(found, 2), found.provider


def is_up(server: Server) -> bool:
    try:
        return server.get("/livez").ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def follower(server: Server) -> Any:
    return server.get("/health").json()["operations"]["follower"]


def within(condition: Callable[[], bool]) -> float:
    """Seconds until `condition` held."""
    began = time.monotonic()
    wait_for(condition, every_s=0.1)
    return time.monotonic() - began


def leader_first(servers: list[Server]) -> list[Server]:
    roles = ["leader"] + ["reader"] * (len(servers) - 1)
    within(lambda: sorted(follower(server)["role"] for server in servers) == roles)
    return sorted(servers, key=lambda server: str(follower(server)["role"]))


def is_whole(server: Server) -> bool:
    body = server.get("/trading_directions").json()
    return all(entry["locked"] for entry in body["tickers"].values()) and not body["data_status"]["stale"]


def worker_of(server: Server) -> int:
    """The process that answers: gunicorn's only child."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return int(children[0])


def halt(worker: int) -> None:
    """Stop a process where it is, and wait until all its threads stand."""
    os.kill(worker, signal.SIGSTOP)
    threads = Path(f"/proc/{worker}/task")
    wait_for(lambda: all(state_of(thread) == "T" for thread in threads.iterdir()), "it does not halt", every_s=0.001)


def state_of(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(") ")[2][0]


def test_the_lease_moves_when_its_holder_is_killed_and_when_it_is_halted(
    pair: tuple[list[Server], PolygonSimulator],
) -> None:
    servers, provider = pair
    leader, reader = servers
    whole_days = [call for call in provider.calls if "/minute/2025-03-11/" in call.path]
    assert len(whole_days) == 3, "three tickers, whose day is asked for once"
    assert follower(leader)["holder"] == follower(reader)["holder"]
    halted = worker_of(leader)
    halt(halted)
    waited = within(lambda: follower(reader)["role"] == "leader" and is_whole(reader))
    assert waited < 3 * LEASE_S
    os.kill(halted, signal.SIGCONT)
    within(lambda: follower(leader)["role"] == "reader")
    assert follower(reader)["role"] == "leader"
    within(lambda: is_whole(leader))
    os.kill(worker_of(reader), signal.SIGKILL)
    reader.process.kill()
    waited = within(lambda: is_whole(leader) and follower(leader)["role"] == "leader")
    assert waited < 3 * LEASE_S


def kill(server: Server) -> None:
    os.kill(worker_of(server), signal.SIGKILL)
    server.process.kill()


def watched_until(servers: list[Server], found: Market, until: datetime) -> None:
    """Clients ask all servers, which at no time lack a minute."""
    while found.clock() < until:
        for server in servers:
            told = server.get("/trading_directions").json()["data_status"]
            assert not told["stale"]
            assert told["age_s"] < 90
        time.sleep(0.2)


@pytest.mark.soak
def test_three_processes_cost_the_calls_of_one_and_a_killed_leader_is_replaced_without_a_gap(tmp_path: Path) -> None:
    minutes, calls = timedelta(minutes=5), {}
    demo_feed()
    for count in (1, 3):
        with market(tmp_path / str(count), 4.0) as found:
            servers = running(found, count)
            began = found.wait_for(30)
            watched_until(servers, found, began + timedelta(minutes=2))
            if count > 1:
                kill(servers[0])
            watched_until(servers[-2:], found, began + minutes)
            calls[count] = found.calls(began)
    for count, counted in calls.items():
        assert len(counted) == 3 * 5, (count, counted)
        assert set(counted.values()) == {1}, (count, counted)
    assert {path for path, _ in calls[1]} == {path for path, _ in calls[3]}


def shared_series(folder: Path, sharing: dict[str, str]) -> dict[str, tuple[int, int]]:
    """What the processes share: when each series was asked for, and how many bytes its bars have."""
    if sharing:
        with closing(Redis.from_url(sharing["REDIS_URL"], decode_responses=True)) as client:
            (key,) = client.scan_iter("predict:day:*:series")
            rows = {name: json.loads(text) for name, text in client.hgetall(key).items()}
        bars = {name: zlib.decompress(base64.b64decode(row["deflated_bars"])) for name, row in rows.items()}
        return {name: (row["fetched"], len(bars[name])) for name, row in rows.items()}
    (file,) = folder.glob("*/running_day.sqlite3")
    with closing(sqlite3.connect(file)) as db:
        return {name: (fetched, size) for name, fetched, size in db.execute(SERIES)}


def fenced(server: Server) -> float:
    return float(re.search(r'predict_events_total{event="bars_fenced"} (\S+)', server.get("/metrics").text)[1])  # type: ignore[index]


def test_a_leader_that_is_halted_within_a_fetch_and_wakes_writes_no_old_bars(
    tmp_path: Path, sharing: dict[str, str]
) -> None:
    """Its calls outlast the halt, however long that takes: what is late is dropped, and does not time out."""
    demo_feed()
    with market(tmp_path / "data", 4.0, READ_S=10 * PATIENCE_S, **sharing) as found:
        leader, *readers = running(found, 3)
        found.provider.inject_fault("slow", only="/minute/", seconds=60.0)
        before = len(found.provider.calls)
        within(lambda: sum("/minute/" in call.path for call in found.provider.calls[before:]) == 3)
        halted = worker_of(leader)
        halt(halted)
        found.provider.clear_fault()
        old = shared_series(tmp_path / "data", sharing)
        within(lambda: all(seen > old[name] for name, seen in minutes_of(tmp_path / "data", sharing).items()))
        new = minutes_of(tmp_path / "data", sharing)
        os.kill(halted, signal.SIGCONT)
        within(lambda: fenced(leader) == 3.0)
        within(lambda: follower(leader)["role"] == "reader")
        assert all(seen >= new[name] for name, seen in minutes_of(tmp_path / "data", sharing).items())
        assert sum(fenced(server) for server in readers) == 0
        within(lambda: all(is_whole(server) for server in (leader, *readers)))
        prices = [server.get("/trading_directions").json()["data_status"]["as_of"] for server in (leader, *readers)]
        assert len(set(prices)) <= 2, "a minute may have turned between them"


def minutes_of(folder: Path, sharing: dict[str, str]) -> dict[str, tuple[int, int]]:
    return {name: seen for name, seen in shared_series(folder, sharing).items() if "1min" in name}
