"""Tracing in the server as it is deployed: two of them in one trace, and collectors that do not do their part."""

from __future__ import annotations

import http.client
import statistics
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.collector import Seen, collecting
from tests.provider.world import KEY, simulated_provider
from tests.serving.test_gunicorn import Server, Start, start
from tests.serving.test_streams import wait_for
from tests.waiting import PATIENCE_S

__all__ = ["start"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORD = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
CLOSE_BOUND_S = 6.0
"""How much longer a stop may take with a collector: less than the ten seconds that an export may take."""
SLOWER_S = 0.005


def test_two_servers_are_seen_in_one_trace_and_hand_it_on_to_the_provider(start: Start, tmp_path: Path) -> None:
    with collecting() as collector, simulated_provider() as provider:
        common = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_TRACES_SAMPLER_ARG": 0, "LOG_FORMAT": "json"}
        polygon = {"POLYGON_API_KEY": KEY, "POLYGON_BASE_URL": provider.address, "POLYGON_CALLS_PER_MINUTE": 600}
        first = start(MARKET="polygon", DATA_DIR=tmp_path / "a", **common, **polygon)
        second = start(MARKET="demo", DATA_DIR=tmp_path / "b", OTEL_SERVICE_NAME="other", **common)
        for server in (first, second):
            answer = requests.get(f"{server.base}/swing?ticker=SPY", headers=RECORD, timeout=PATIENCE_S)
            assert f"00-{TRACE}-" in answer.headers["Server-Timing"]
        past = "/replay?date=2025-03-10&time=12:05&ticker=SPY"  # of today the follower may have fetched all before
        assert requests.get(first.base + past, headers=RECORD, timeout=PATIENCE_S).ok
        names = {"predict", "other"}
        spans = collector.wait(
            lambda seen: (
                {s.service["service.name"] for s in seen if s.name == "GET /swing"} == names
                and any(called_over_http(s) for s in seen)
            )
        )
        mine = [span for span in spans if span.trace == TRACE]
        roots = [span for span in mine if span.parent == SPAN and span.name == "GET /swing"]
        assert {(span.name, span.service["service.name"]) for span in roots} == {("GET /swing", name) for name in names}
        assert len({span.service["service.instance.id"] for span in roots}) == 2
        handed_on = [call.traceparent for call in provider.calls if call.traceparent]
        calls = {f"00-{span.trace}-{span.id}-01" for span in mine if called_over_http(span)}
        assert calls
        assert calls <= set(handed_on)
        wait_for(lambda: TRACE in first.log.read_text(), "the log has the trace too")
        assert TRACE not in timing_when_asked_with_two_traces(second), "two headers are none"


def test_no_request_waits_for_a_collector_of_any_kind_and_no_stop_does(start: Start, tmp_path: Path) -> None:
    """A client that asks one thing after the other would cause one export for each, if answers waited for them."""
    with collecting() as collector:
        plain = start(MARKET="demo", DATA_DIR=tmp_path / "a", RATE_LIMIT_OTHER=1_000_000)
        traced = start(MARKET="demo", DATA_DIR=tmp_path / "b", **traced_to(collector.address))
        for mood in ("ok", "slow", "failing", "silent"):
            collector.mood, before, began = mood, collector.exports, time.monotonic()
            answered = times(traced)
            of_the_clock = time.monotonic() - began  # what waits is sent once a second, however long the answers take
            assert collector.exports - before < len(answered) / 5 + of_the_clock, mood
            collector.wait(lambda seen: len(seen) > 0)  # traced all along: those of the first mood arrive
        assert stop_s(traced) < stop_s(plain) + CLOSE_BOUND_S


def test_a_collector_that_is_not_there_delays_nothing_and_is_told_once(start: Start, tmp_path: Path) -> None:
    plain = start(MARKET="demo", DATA_DIR=tmp_path / "a", RATE_LIMIT_OTHER=1_000_000)
    traced = start(MARKET="demo", DATA_DIR=tmp_path / "b", **traced_to("http://127.0.0.1:9"))
    assert times(traced)
    wait_for(lambda: "spans_lost" in traced.log.read_text())
    assert times(traced)
    assert stop_s(traced) < stop_s(plain) + CLOSE_BOUND_S
    log = traced.log.read_text()
    assert log.count("spans_lost") == 1
    assert "Traceback" not in log


def called_over_http(span: Seen) -> bool:
    """Whether it is a call of the first server. The second one, a demo, asks the market in its own process."""
    return span.name.startswith("polygon ") and span.service["service.name"] == "predict"


def timing_when_asked_with_two_traces(server: Server) -> str:
    with closing(http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=PATIENCE_S)) as connection:
        connection.putrequest("GET", "/livez")
        for _ in range(2):
            connection.putheader("traceparent", RECORD["traceparent"])
        connection.endheaders()
        return str(connection.getresponse().headers["Server-Timing"])


def traced_to(address: str) -> dict[str, object]:
    common = {"RATE_LIMIT_OTHER": 1_000_000, "OTEL_TRACES_SAMPLER_ARG": 1}
    return {**common, "OTEL_EXPORTER_OTLP_ENDPOINT": address}


def twentieth_delay_s(plain: Server, traced: Server, rounds: int = 25) -> float:
    """How much longer the slowest of twenty requests takes on the traced server: the median of interleaved rounds."""
    pairs = [(times(traced), times(plain)) for _ in range(rounds)]
    return statistics.median(mine[int(len(mine) * 0.95)] - theirs[int(len(theirs) * 0.95)] for mine, theirs in pairs)


@pytest.mark.soak
@pytest.mark.parametrize("mood", ["ok", "slow", "failing", "silent"])
def test_on_a_quiet_machine_not_one_request_in_twenty_is_delayed(start: Start, tmp_path: Path, mood: str) -> None:
    with collecting(mood) as collector:
        plain = start(MARKET="demo", DATA_DIR=tmp_path / "a", RATE_LIMIT_OTHER=1_000_000)
        traced = start(MARKET="demo", DATA_DIR=tmp_path / "b", **traced_to(collector.address))
        assert twentieth_delay_s(plain, traced) < SLOWER_S


def stop_s(server: Server) -> float:
    began = time.monotonic()
    assert server.stop() == 0
    return time.monotonic() - began


def times(server: Server, count: int = 60) -> list[float]:
    """Seconds that requests one after the other take, the quickest first."""
    took = []
    with requests.Session() as session:
        for _ in range(count):
            began = time.perf_counter()
            assert session.get(f"{server.base}/health", timeout=PATIENCE_S).status_code == 200
            took.append(time.perf_counter() - began)
    return sorted(took)
