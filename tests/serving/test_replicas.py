"""Replicas of several workers each on one Redis, under a load: identical signals, one fetch of each ticker and minute, exact
limits, one sequence of live events."""

from __future__ import annotations

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.serving.replicas import (
    TICKERS,
    Requests,
    Say,
    Sockets,
    decided,
    port_of,
    replica,
    variants,
    wait_whole,
)
from tests.serving.test_gunicorn import Server
from tests.serving.test_processes import market
from tests.support import demo_feed
from tests.waiting import PATIENCE_S

LIMIT, WINDOW_S, LONGEST_S = 60, 60.0, 1200.0
TRIES = 8
"""A busy machine may need longer than a window, or take its Redis for lost."""


def of_limits(servers: list[Server]) -> list[float]:
    """How many workers count by themselves now, and how often one has begun to."""
    shown = [server.get("/metrics").text for server in servers]
    names = ("predict_limits_local", "predict_limit_fallbacks_total")
    return [
        sum(float(n) for text in shown for n in re.findall(rf"^{name}(?:{{.*}})? (\S+)", text, re.M)) for name in names
    ]


def of_one_window(servers: list[Server]) -> Counter[int]:
    """The statuses of a client who asks for twice its limit, within one window in which all workers share their counts."""
    for number in range(TRIES):
        began, before = time.monotonic(), of_limits(servers)
        statuses = statuses_of_one_client(servers, f"198.51.100.{number}", 2 * LIMIT)
        if time.monotonic() - began < WINDOW_S and before[0] == 0 and of_limits(servers) == before:
            return statuses
    raise AssertionError("there was no such window")


def statuses_of_one_client(servers: list[Server], address: str, times: int) -> Counter[int]:
    """Of a client that asks all servers at once, on a connection of its own each time, so that all workers answer."""

    def ask(number: int) -> int:
        url = servers[number % len(servers)].base + "/trading_directions?ticker=SPY"
        return requests.get(url, headers={"X-Real-IP": address}, timeout=PATIENCE_S).status_code

    with ThreadPoolExecutor(12) as pool:
        return Counter(pool.map(ask, range(times)))


def fetches(calls: Counter[tuple[str, str]]) -> tuple[dict[tuple[str, str], int], Counter[str]]:
    """How often the bars of the running day were fetched, by ticker and minute; and how often those of past days, by path."""
    running: Counter[tuple[str, str]] = Counter()
    past: Counter[str] = Counter()
    for (path, minute), count in calls.items():
        if path.endswith("/2025-03-11"):
            running[path.split("/")[4], minute] += count
        elif "/range/" in path:
            past[path] += count
    return dict(running), past


@pytest.mark.parametrize(
    ("workers", "replicas", "count", "rate", "sockets", "at", "speed"),
    [
        pytest.param(2, 2, 600, 50, 4, "2025-03-11 11:30:40", 2.0, id="2 replicas of 2 workers"),
        pytest.param(
            *(4, 3, 10_000, 70, 30, "2025-03-11 11:56:30", 2.0),
            id="3 replicas of 4 workers",
            marks=[pytest.mark.soak, pytest.mark.timeout(1800)],
        ),
    ],
)
def test_replicas_answer_as_one_server(
    tmp_path: Path,
    redis_url: str,
    say: Say,
    workers: int,
    replicas: int,
    count: int,
    rate: float,
    sockets: int,
    at: str,
    speed: float,
) -> None:
    demo_feed()
    limit = {"RATE_LIMIT_DIRECTIONS": LIMIT}
    with market(tmp_path / "data", speed, at, REDIS_URL=redis_url, **limit) as found:
        servers = [replica(found, workers, f"r{number}") for number in range(replicas)]
        wait_whole(servers, workers)
        ports = [port_of(server) for server in servers]
        watched = Sockets(tmp_path, ports, sockets)
        load = Requests(tmp_path, ports, rate, count=count)
        with watched.running():
            began = found.clock()
            with load.running() as running:
                allowed = of_one_window(servers)
                running.wait(LONGEST_S)
            minutes, calls = (found.clock() - began).total_seconds() / 60, found.calls(began)
    of_minutes, of_past = fetches(calls)
    say(
        f"{load.numbers()}; in {minutes:.1f} minutes of the market {len(of_minutes)} fetches of the running day, "
        f"{sum(of_past.values())} of past days"
    )
    assert load.failed() + load.unread() == []
    assert len(load.all) == count
    assert {one["by"] for one in load.all} == {f"-/r{number}" for number in range(replicas)}
    assert allowed == {200: LIMIT, 429: LIMIT}
    answers = load.all
    differing = {key: bodies for key, bodies in variants(answers).items() if len(bodies) > 1}
    assert not differing, next(iter(differing.items()))
    locked = decided(answers)
    assert {ticker for ticker, _ in locked} == set(TICKERS)
    assert all(len(signals) == 1 for signals in locked.values()), locked
    assert set(of_minutes.values()) == {1}, "one fetch of each ticker and minute in all"
    assert len(of_minutes) >= len(TICKERS) * (int(minutes) - 1)
    assert max(of_past.values(), default=0) <= replicas, "bars of past days are kept by each DATA_DIR"
    kinds = watched.check_same()
    say(f"events {dict(kinds)}, lost {watched.lost()}, snapshots {dict(watched.snapshots())}")
    assert watched.lost() == 0
    assert not watched.snapshots()
