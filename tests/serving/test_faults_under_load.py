"""What befalls replicas and their Redis under a load, each with its numbers: requests that failed, seconds until all was well
again, events that were lost, calls that were spent. Three replicas, on one Redis, are asked directly.

What is to be true of each fault by itself is in test_processes.py (leases that move, fencing), test_sequences.py (restarts),
test_limits_shared.py, tests/live/test_redis_event_log.py, tests/market/test_running_day.py and
tests/signals/test_redis_record.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import requests

from app.market.lease import LEASE_S
from tests import redis_faults
from tests.redis_server import RedisServer, skip_without_redis_server
from tests.serving.replicas import Requests, Say, Sockets, decided, port_of, replica, wait_whole
from tests.serving.test_gunicorn import Server
from tests.serving.test_processes import Market, fenced, follower, halt, market, within, worker_of
from tests.support import demo_feed

RATE, SOCKETS, REPLICAS = 60, 30, 3
BEFORE_S, LASTS_S, AFTER_S = 5.0, 10.0, 12.0


@dataclass
class Fleet:
    """locked: what was locked, as all answers of all faults say it."""

    found: Market
    redis: RedisServer
    servers: list[Server]
    locked: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))

    def leader(self) -> Server:
        leaders: list[Server] = []

        def look() -> bool:
            leaders[:] = [server for server in self.servers if is_leader(server)]
            return len(leaders) == 1

        within(look)
        return leaders[0]

    def broadcaster(self) -> Server:
        """The one that told of most of the events of the last minute."""
        before = {server.base: told(server) for server in self.servers}
        within(lambda: any(told(server) > before[server.base] for server in self.servers))
        return max(self.servers, key=lambda server: told(server) - before[server.base])


def is_leader(server: Server) -> bool:
    with suppress(requests.RequestException, KeyError):
        return bool(follower(server)["role"] == "leader")
    return False


def told(server: Server) -> float:
    """How many live events it has put into the log."""
    return sum(
        float(count) for count in re.findall(r"predict_live_events_total{[^}]*} (\S+)", server.get("/metrics").text)
    )


def kill_worker(server: Server) -> None:
    os.kill(worker_of(server), signal.SIGKILL)


def halt_past_the_lease(fleet: Fleet) -> None:
    halted = worker_of(leader := fleet.leader())
    halt(halted)
    others = [server for server in fleet.servers if server is not leader]
    within(lambda: any(is_leader(server) for server in others))
    time.sleep(LEASE_S)
    os.kill(halted, signal.SIGCONT)


def of_redis(fault: redis_faults.Fault) -> Callable[[Fleet], None]:
    def befalls(fleet: Fleet) -> None:
        mend = fault(fleet.redis)
        time.sleep(LASTS_S)
        mend()

    return befalls


FAULTS: Final[dict[str, Callable[[Fleet], None]]] = {
    "nothing": lambda fleet: None,
    "kill -9 a worker": lambda fleet: kill_worker(fleet.servers[-1]),
    "kill -9 the follower": lambda fleet: kill_worker(fleet.leader()),
    "kill -9 a broadcaster": lambda fleet: kill_worker(fleet.broadcaster()),
    "the leader halted past its lease": halt_past_the_lease,
    "Redis gone for 10 s, and empty": of_redis(redis_faults.kill),
    "Redis paused for 10 s": of_redis(redis_faults.pause),
    "Redis out of memory for 10 s": of_redis(redis_faults.fill),
    "Redis read-only for 10 s": of_redis(redis_faults.make_a_copy),
}
MAY_BREAK: Final = ("kill -9", "halted")
"""Faults at which a client of the server itself loses what was under way; a balancer asks another server."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    skip_without_redis_server()
    demo_feed()
    folder = tmp_path_factory.mktemp("fleet")
    with RedisServer() as redis, market(folder / "data", 2.0, "2025-03-11 11:50:00", REDIS_URL=redis.url) as found:
        servers = [replica(found, 1, f"r{number}") for number in range(REPLICAS)]
        wait_whole(servers)
        yield Fleet(found, redis, servers)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_under_load_changes_no_signal_and_loses_no_event(
    fleet: Fleet, tmp_path: Path, say: Say, name: str
) -> None:
    ports = [port_of(server) for server in fleet.servers]
    watched, load = Sockets(tmp_path, ports, SOCKETS), Requests(tmp_path, ports, RATE)
    with watched.running(), load.running():
        time.sleep(BEFORE_S)
        spent, began, minute = len(fleet.found.provider.calls), time.time(), fleet.found.clock()
        FAULTS[name](fleet)
        lasted = time.time() - began
        wait_whole(fleet.servers)
        fleet.leader()
        led = time.time() - began
        time.sleep(AFTER_S)
        spent = len(fleet.found.provider.calls) - spent
        minutes = (fleet.found.clock() - minute).total_seconds() / 60
    failed = load.failed()
    troubled = max(0.0, load.troubled_until() - began)
    kinds = watched.check_same()
    snapshots = dict(watched.snapshots())
    say(
        f"{name}: {load.numbers()}; {len(failed)} failed; "
        f"lasted {lasted:.1f} s, well after {troubled:.1f} s, led after {led:.1f} s; "
        f"{sum(kinds.values())} events, {watched.lost()} lost, {watched.repeated()} repeated, snapshots {snapshots}, "
        f"{watched.reconnects()} reconnects; {spent} calls in {minutes:.1f} minutes; "
        f"fenced {[fenced(server) for server in fleet.servers]}"
    )
    for key, signals in decided(load.all).items():
        fleet.locked[key] |= signals
    assert all(len(signals) == 1 for signals in fleet.locked.values()), fleet.locked
    broken = [one for one in failed if one["status"]]
    assert broken == [], json.dumps(broken[:1])
    if not any(word in name for word in MAY_BREAK):
        assert failed == []
    assert watched.lost() == 0
    assert set(snapshots) <= {"unknown_epoch"}, "a new sequence is said to be one"
