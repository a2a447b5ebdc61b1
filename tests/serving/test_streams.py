"""Streams in the server as it is deployed: measured to their last byte; counted, traced and logged once however they end."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.collector import Collector, collecting
from tests.serving.test_gunicorn import Server, started
from tests.waiting import PATIENCE_S, wait_for

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.streaming:app"]
PATHS = ("/whole", "/breaking/0", "/breaking/2", "/timing-out", "/endless")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Collector]]:
    """A server that was asked for each of PATHS once, the endless one left midway."""
    folder = tmp_path_factory.mktemp("streams")
    with collecting() as collector:
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_TRACES_SAMPLER_ARG": 1, "LOG_FORMAT": "json"}
        with started(GUNICORN, folder / "log", MARKET="demo", DATA_DIR=folder, **traced) as server:
            server.wait_ready()
            server.get("/trading_directions")
            server.took["/whole"] = seconds_until_closed(server, "/whole")
            for path in PATHS[1:]:
                with (
                    suppress(requests.RequestException),
                    requests.get(server.base + path, stream=True, timeout=PATIENCE_S) as answer,
                ):
                    for _ in zip(range(5), answer.iter_content(1000), strict=False):
                        pass
            wait_for(lambda: value(server, "predict_requests_in_flight") == 1)
            yield server, collector


def seconds_until_closed(server: Server, path: str) -> float:
    """How long a caller waits for an answer and for the end of its connection. The server measures an answer before it ends
    the connection, so what it measures is a part of this."""
    began = time.monotonic()
    with closing(connected(server)) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        while sock.recv(65_536):
            pass
        return time.monotonic() - began


def connected(server: Server) -> socket.socket:
    host, _, port = server.base.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def value(server: Server, name: str, **labels: str) -> float:
    text = server.get("/metrics").text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


@pytest.mark.parametrize(
    ("route", "status", "times"),
    [("/whole", "200", 1), ("/breaking/<int:first>", "500", 2), ("/timing-out", "500", 1), ("/endless", "200", 1)],
)
def test_each_is_counted_once_by_how_it_ended(
    served: tuple[Server, Collector], route: str, status: str, times: int
) -> None:
    server, _ = served
    assert value(server, "predict_request_seconds_count", route=route) == times
    assert value(server, "predict_request_seconds_count", route=route, status=status) == times


def test_one_of_a_second_is_measured_as_a_second(served: tuple[Server, Collector]) -> None:
    server, collector = served
    seen_s = server.took["/whole"]
    assert 1.0 <= value(server, "predict_request_seconds_sum", route="/whole") <= seen_s, (
        "and no longer than its caller saw"
    )
    root, *_ = [span for span in collector.wait(lambda seen: named(seen, "GET /whole")) if span.name == "GET /whole"]
    assert 1.0 <= root.seconds <= seen_s
    assert not root.failed


def test_what_broke_is_an_error_in_the_trace(served: tuple[Server, Collector]) -> None:
    _, collector = served
    name = "GET /breaking/<int:first>"
    broken = [span for span in collector.wait(lambda seen: len(named(seen, name)) >= 2) if span.name == name]
    assert all(span.failed and span.events == ["RuntimeError"] for span in broken)
    assert not any(
        span.failed for span in collector.wait(lambda seen: named(seen, "GET /endless")) if "endless" in span.name
    )


def test_what_broke_is_told_once_and_who_left_is_not_told(served: tuple[Server, Collector]) -> None:
    server, _ = served
    log = server.log.read_text()
    assert log.count("Traceback") == 3, "two that broke, and the time-out"
    assert log.count("broke on its way") == 3
    assert "a connection broke" not in log
    assert "Error handling request" not in log


def named(seen: list, name: str) -> list:  # type: ignore[type-arg]
    return [span for span in seen if span.name == name]


def test_the_server_goes_on(served: tuple[Server, Collector]) -> None:
    server, _ = served
    assert server.get("/livez").status_code == 200
