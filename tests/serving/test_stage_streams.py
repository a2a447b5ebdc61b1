"""Streams of v2 in the server as it is deployed, in front of a provider that takes its time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from app.clock import running_clock
from app.market.feed_transport import FeedTransport
from app.simulator.server import PolygonSimulator
from tests.serving.test_gunicorn import Server, started
from tests.serving.test_streams import value, wait_for
from tests.support import CALENDAR, demo_feed, new_york
from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.followed_app:server"]
STAGES = "/v2/trading-directions/SPY/stream"
DAY = "/v2/replay/SPY?from=2025-03-10T09:30:00-04:00&to=2025-03-10T16:00:00-04:00&step=30"
Served = tuple[Server, PolygonSimulator]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server at 11:30 that follows nothing yet, and its provider."""
    began = time.time()
    clock = running_clock(new_york("2025-03-11 11:30:10"), 1.0, datetime.fromtimestamp(began, UTC))
    with PolygonSimulator(FeedTransport(demo_feed(), CALENDAR, clock), clock=clock) as provider, ExitStack() as stack:
        values = {"POLYGON_BASE_URL": provider.address, "DATA_DIR": tmp_path, "BEGAN": began, "READ_S": 30}
        server = stack.enter_context(started(COMMAND, tmp_path / "log", **values))
        server.wait_ready()
        yield server, provider
        provider.clear_fault()


def asked(server: Server, path: str) -> requests.Response:
    return requests.get(server.base + path, stream=True, timeout=PATIENCE_S)


def test_the_first_line_of_a_cold_replay_is_read_before_the_provider_has_answered(served: Served) -> None:
    server, provider = served
    provider.inject_fault("silence")
    with asked(server, DAY) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["status"] == "computing"
        provider.clear_fault()
        rest = [json.loads(line) for line in lines]
    assert [next(iter(line)) for line in rest] == ["signal"] * 14 + ["status"]
    assert rest[-1] == {"status": "complete", "signals": 14}


def test_a_client_that_leaves_in_the_middle_frees_its_place_while_the_provider_still_thinks(served: Served) -> None:
    server, provider = served
    before = len(provider.calls)
    provider.inject_fault("silence")
    with asked(server, DAY) as answer:
        lines = answer.iter_lines()
        next(lines)
        wait_for(lambda: len(provider.calls) > before)
        assert value(server, "predict_under_way", group="replay") == 1
    wait_for(lambda: value(server, "predict_stream_seconds_count", route="/v2/replay/<ticker>", outcome="left") == 1)
    wait_for(lambda: value(server, "predict_under_way", group="replay") == 0)
    assert value(server, "predict_streams_open") == 0


@pytest.mark.soak
def test_the_first_byte_of_a_cold_replay_comes_within_fifty_milliseconds_of_the_request(served: Served) -> None:
    server, provider = served
    provider.inject_fault("slow", seconds=1.0)
    asked(server, "/livez").close()
    began = time.monotonic()
    with asked(server, DAY) as answer:
        received = answer.iter_content(1)
        assert next(received) == b"{"
        first_s = time.monotonic() - began
        assert b"".join(received).endswith(b'"signals":14}\n')
    print(f"first byte after {first_s * 1000:.1f} ms, the last after {time.monotonic() - began:.2f} s")
    assert first_s < 0.05
