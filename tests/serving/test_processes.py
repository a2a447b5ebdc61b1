"""Two servers as they are deployed, on one DATA_DIR: the one that follows is killed, and halted past its lease."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from app.clock import running_clock
from app.market.lease import LEASE_S
from app.market.standin import StandIn
from app.market.wire import Wire
from tests.serving.test_gunicorn import Server, started
from tests.support import CALENDAR, demo_feed, new_york

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.followed_app:app"]
PATIENCE_S = 60.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[list[Server], StandIn]]:
    began = time.time()
    clock = running_clock(new_york("2025-03-11 11:30:40"), 1.0, datetime.fromtimestamp(began, UTC))
    with StandIn(Wire(demo_feed(), CALENDAR, clock), clock=clock) as provider, ExitStack() as stack:
        values = {"POLYGON_BASE_URL": provider.address, "DATA_DIR": tmp_path, "BEGAN": began}
        servers = [stack.enter_context(started(COMMAND, tmp_path / f"log{n}", **values)) for n in (0, 1)]
        for server in servers:
            within(lambda server=server: is_up(server))  # type: ignore[misc]
        yield servers, provider


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
    while not condition():
        assert time.monotonic() < began + PATIENCE_S
        time.sleep(0.1)
    return time.monotonic() - began


def leader_first(servers: list[Server]) -> list[Server]:
    within(lambda: sorted(follower(server)["role"] for server in servers) == ["leader", "reader"])
    return sorted(servers, key=lambda server: str(follower(server)["role"]))


def is_whole(server: Server) -> bool:
    body = server.get("/trading_directions").json()
    return all(entry["locked"] for entry in body["tickers"].values()) and not body["data_status"]["stale"]


def worker_of(server: Server) -> int:
    """The process that answers: gunicorn's only child."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return int(children[0])


def test_the_lease_moves_when_its_holder_is_killed_and_when_it_is_halted(pair: tuple[list[Server], StandIn]) -> None:
    servers, provider = pair
    leader, reader = leader_first(servers)
    within(lambda: is_whole(leader) and is_whole(reader))
    assert sum("/minute/" in call.path for call in provider.calls) <= 6, "three tickers, whose day is asked for once"
    assert follower(leader)["holder"] == follower(reader)["holder"]
    halted = worker_of(leader)
    os.kill(halted, signal.SIGSTOP)
    waited = within(lambda: follower(reader)["role"] == "leader" and is_whole(reader))
    assert waited < 3 * LEASE_S
    os.kill(halted, signal.SIGCONT)
    within(lambda: follower(leader)["role"] == "reader")
    assert follower(reader)["role"] == "leader"
    assert is_whole(leader)
    os.kill(worker_of(reader), signal.SIGKILL)
    reader.process.kill()
    waited = within(lambda: is_whole(leader) and follower(leader)["role"] == "leader")
    assert waited < 3 * LEASE_S
