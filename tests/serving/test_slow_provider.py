"""The server as it is deployed, in front of a provider whose answers do not come."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from app.clock import running_clock
from app.market.feed_transport import FeedTransport
from app.signals.policy import SUPPORTED
from app.simulator.server import PolygonSimulator
from bench.serving import child_of
from tests.serving.test_gunicorn import NO_GRACE, Server, started
from tests.support import CALENDAR, demo_feed, new_york
from tests.waiting import PATIENCE_S, wait_for

AT = "2025-03-11 11:30:50"
"""Soon the next minute's bars are asked for."""

CLIENTS, ROUNDS = 200, 5
PATHS = ["/trading_directions", *(f"/trading_directions?ticker={ticker}" for ticker in SUPPORTED)]
"""Those that nobody asked for before are made while the calls are under way."""

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.followed_app:server"]


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[Server, PolygonSimulator]]:
    began = time.time()
    clock = running_clock(new_york(AT), 1.0, datetime.fromtimestamp(began, UTC))
    with PolygonSimulator(FeedTransport(demo_feed(), CALENDAR, clock), clock=clock) as provider, ExitStack() as stack:
        values = {"POLYGON_BASE_URL": provider.address, "DATA_DIR": tmp_path, "BEGAN": began, "AT": AT}
        values["READ_S"] = 5 * PATIENCE_S
        values["GUNICORN_CMD_ARGS"] = NO_GRACE
        server = stack.enter_context(started(COMMAND, tmp_path / "log", **values))
        server.wait_ready()
        yield server, provider
        provider.clear_fault()


def test_two_hundred_clients_are_answered_while_every_call_is_under_way_and_wait_for_none(
    followed: tuple[Server, PolygonSimulator],
) -> None:
    server, provider = followed
    wait_for(lambda: all(e["locked"] for e in board(server)["tickers"].values()), every_s=0.2)
    provider.inject_fault("slow", seconds=5 * PATIENCE_S)
    before = len(provider.calls)
    wait_for(lambda: any("/1/minute/" in call.path for call in provider.calls[before:]), every_s=0.1)

    def client(number: int) -> list[float]:
        with requests.Session() as session:
            return [ask(session, f"{server.base}{PATHS[(number + n) % len(PATHS)]}") for n in range(ROUNDS)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        times = sorted(t for found in pool.map(client, range(CLIENTS)) for t in found)
    print(f"99th percentile {times[int(len(times) * 0.99)]:.2f} s of {len(times)} requests")
    assert len(provider.calls) - before <= 8, "the clients cost no calls"


def board(server: Server) -> dict:  # type: ignore[type-arg]
    return server.get("/trading_directions").json()  # type: ignore[no-any-return]


def ask(session: requests.Session, address: str) -> float:
    """How long an answer took, in s. What it waited for on the server is in its `Server-Timing`."""
    began = time.monotonic()
    answer = session.get(address, timeout=PATIENCE_S)
    body = answer.json()
    assert all(entry["locked"] for entry in body["tickers"].values()), body
    assert "-data" not in answer.headers["Server-Timing"], "neither fetch-data nor await-data"
    return time.monotonic() - began


@pytest.mark.parametrize("fault", ["silence", "429-bare"])
def test_a_provider_that_hangs_does_not_hold_the_stop(followed: tuple[Server, PolygonSimulator], fault: str) -> None:
    server, provider = followed
    provider.inject_fault(fault)
    before = len(provider.calls)
    wait_for(lambda: len(provider.calls) > before)
    assert server.stop() == 0


def test_a_worker_whose_master_is_killed_ends_although_the_provider_hangs(
    followed: tuple[Server, PolygonSimulator],
) -> None:
    server, provider = followed
    worker = child_of(server.process.pid)
    provider.inject_fault("silence")
    before = len(provider.calls)
    wait_for(lambda: len(provider.calls) > before)
    server.process.kill()
    try:
        wait_for(lambda: not Path(f"/proc/{worker}").exists(), "it lives on without a master")
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    assert "follower_broke" not in server.log.read_text()
