"""Tracing in the server as it is deployed: two of them in one trace, and collectors that do not do their part."""

from __future__ import annotations

import http.client
import statistics
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.collector import collecting
from tests.provider.world import KEY, standing_in
from tests.serving.test_gunicorn import Server, Start, start

__all__ = ["start"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORD = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
CLOSE_BOUND_S = 1.5
SLOWER_S = 0.005


def test_two_servers_are_seen_in_one_trace_and_hand_it_on_to_the_provider(start: Start, tmp_path: Path) -> None:
    with collecting() as collector, standing_in() as standin:
        common = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_TRACES_SAMPLER_ARG": 0, "LOG_FORMAT": "json"}
        polygon = {"POLYGON_API_KEY": KEY, "POLYGON_BASE_URL": standin.address, "POLYGON_CALLS_PER_MINUTE": 600}
        first = start(MARKET="polygon", DATA_DIR=tmp_path / "a", **common, **polygon)
        second = start(MARKET="demo", DATA_DIR=tmp_path / "b", OTEL_SERVICE_NAME="other", **common)
        for server in (first, second):
            answer = requests.get(f"{server.base}/swing?ticker=SPY", headers=RECORD, timeout=10)
            assert f"00-{TRACE}-" in answer.headers["Server-Timing"]
        names = {"predict", "other"}
        spans = collector.wait(
            lambda seen: (
                {s.service["service.name"] for s in seen if s.name == "GET /swing"} == names
                and any(s.name == "polygon days" for s in seen)
            )
        )
        mine = [span for span in spans if span.trace == TRACE]
        roots = [span for span in mine if span.parent == SPAN]
        assert {(span.name, span.service["service.name"]) for span in roots} == {("GET /swing", name) for name in names}
        assert len({span.service["service.instance.id"] for span in roots}) == 2
        handed_on = [call.traceparent for call in standin.calls if call.traceparent]
        calls = {f"00-{span.trace}-{span.id}-01" for span in mine if span.name == "polygon days"}
        assert calls
        assert calls <= set(handed_on)
        assert TRACE in first.log.read_text(), "the log has the trace too"


def test_two_traceparent_headers_are_none(start: Start) -> None:
    server = start(MARKET="demo")
    connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=10)
    connection.putrequest("GET", "/livez")
    for _ in range(2):
        connection.putheader("traceparent", RECORD["traceparent"])
    connection.endheaders()
    with closing(connection):
        assert TRACE not in str(connection.getresponse().headers["Server-Timing"])


def test_a_collector_of_any_kind_delays_no_request_and_no_stop(start: Start, tmp_path: Path) -> None:
    with collecting() as collector:
        plain = start(MARKET="demo", DATA_DIR=tmp_path / "a", RATE_LIMIT_OTHER=1_000_000)
        traced = start(MARKET="demo", DATA_DIR=tmp_path / "b", **traced_to(collector.address))
        for mood in ("ok", "slow", "failing", "silent"):
            collector.mood = mood
            assert slower_by(plain, traced) < SLOWER_S, mood
        assert collector.spans, "it was traced all along"
        assert stop_s(traced) < stop_s(plain) + CLOSE_BOUND_S + 1


def test_a_collector_that_is_not_there_delays_nothing_and_is_told_once(start: Start, tmp_path: Path) -> None:
    plain = start(MARKET="demo", DATA_DIR=tmp_path / "a", RATE_LIMIT_OTHER=1_000_000)
    traced = start(MARKET="demo", DATA_DIR=tmp_path / "b", **traced_to("http://127.0.0.1:9"))
    assert slower_by(plain, traced) < SLOWER_S
    assert stop_s(traced) < stop_s(plain) + CLOSE_BOUND_S + 1
    log = traced.log.read_text()
    assert log.count("spans_lost") == 1
    assert "Traceback" not in log


def traced_to(address: str) -> dict[str, object]:
    common = {"RATE_LIMIT_OTHER": 1_000_000, "OTEL_TRACES_SAMPLER_ARG": 1}
    return {**common, "OTEL_EXPORTER_OTLP_ENDPOINT": address}


def slower_by(plain: Server, traced: Server) -> float:
    """Seconds, a median of interleaved rounds."""
    return statistics.median(_slowest(traced) - _slowest(plain) for _ in range(5))


def stop_s(server: Server) -> float:
    began = time.monotonic()
    assert server.stop() == 0
    return time.monotonic() - began


def _slowest(server: Server, requests_: int = 60) -> float:
    """The slowest but two of a second's worth of requests."""
    took = []
    with requests.Session() as session:
        for _ in range(requests_):
            began = time.perf_counter()
            assert session.get(f"{server.base}/health", timeout=10).status_code == 200
            took.append(time.perf_counter() - began)
    return sorted(took)[-3]
