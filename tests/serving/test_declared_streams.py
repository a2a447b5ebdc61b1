"""Streams that a route declares, in the server as it is deployed: their head, their metrics, their end; and Socket.IO below
the layers."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest
import requests
from simple_websocket import Client, ConnectionClosed

from tests.serving.quick_bounds import QUICK
from tests.serving.test_gunicorn import NO_GRACE, Server, started
from tests.serving.test_streams import value, wait_for
from tests.waiting import PATIENCE_S

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "tests/serving/quick.conf.py", "tests.serving.streaming:app"]
LAST = b'{"end": "stopping"}\n'
KEY = "predict_secret"
STREAMS = "predict_stream_seconds_count"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("declared")
    values = {"ALLOWED_HOSTS": "127.0.0.1", "RATE_LIMIT_OTHER": "1000000", "WITH_SOCKETS": "1"}
    values["GUNICORN_CMD_ARGS"] = NO_GRACE
    with started(GUNICORN, folder / "log", MARKET="demo", DATA_DIR=folder, LOG_FORMAT="json", **values) as server:
        server.wait_ready()
        yield server


def asked(server: Server, path: str) -> requests.Response:
    return requests.get(server.base + path, stream=True, timeout=PATIENCE_S)


def connected(server: Server) -> socket.socket:
    host, _, port = server.base.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def logged(server: Server, request_id: str) -> list[dict[str, object]]:
    """Access lines of a request."""
    lines = [json.loads(line) for line in server.lines() if request_id in line]
    return [line for line in lines if line["logger"] == "predict.access"]


def test_a_silent_stream_has_its_head_at_once(served: Server) -> None:
    with asked(served, "/silent") as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Cache-Control"] == "no-store, no-transform"
        assert value(served, "predict_streams_open") == 1
    with asked(served, "/counted/3") as answer:
        assert answer.content == b"{}\n" * 3


@pytest.mark.parametrize(
    ("path", "route", "outcome"),
    [
        ("/counted/3", "/counted/<int:pieces>", "ended"),
        ("/failing", "/failing", "broken"),
        ("/ticking", "/ticking", "left"),
    ],
)
def test_a_stream_is_measured_as_a_stream_and_never_as_a_request(
    served: Server, path: str, route: str, outcome: str
) -> None:
    before = value(served, STREAMS, route=route, outcome=outcome)
    with suppress(requests.RequestException), asked(served, path) as answer:
        for _ in zip(range(3), answer.iter_content(3), strict=False):
            pass
    wait_for(lambda: value(served, STREAMS, route=route, outcome=outcome) == before + 1)
    assert value(served, "predict_request_seconds_count", route=route) == 0
    assert value(served, "predict_requests_in_flight") == 1, "the one that asks"


@pytest.mark.parametrize(("path", "pieces"), [("/silent", 0), ("/parked", 1)])
def test_a_stream_that_waits_ends_when_its_client_leaves(served: Server, path: str, pieces: int) -> None:
    """Both streams would wait for longer than this test before they send anything."""
    wait_for(lambda: value(served, "predict_streams_open") == 0)
    before = value(served, STREAMS, route=path, outcome="left")
    with asked(served, path) as answer:
        received = answer.iter_content(3)  # kept: requests ends the connection with it
        assert [next(received) for _ in range(pieces)] == [b"{}\n"] * pieces
        time.sleep(1.1)  # longer than the server takes to see that a client has left
        assert value(served, "predict_streams_open") == 1
    wait_for(lambda: value(served, STREAMS, route=path, outcome="left") == before + 1)
    assert value(served, "predict_streams_open") == 0
    assert value(served, STREAMS, route=path, outcome="broken") == 0


def test_a_client_that_never_reads_its_stream_is_dropped_and_counted(served: Server) -> None:
    before = value(served, "predict_connections_closed_total", reason="write_timeout")
    with closing(connected(served)) as client:
        client.sendall(b"GET /flooding HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait_for(lambda: value(served, "predict_connections_closed_total", reason="write_timeout") == before + 1)
        wait_for(lambda: value(served, STREAMS, route="/flooding", outcome="left") == 1)


def handshake(server: Server, **headers: str) -> requests.Response:
    return requests.get(f"{server.base}/socket.io/?EIO=4&transport=polling", headers=headers, timeout=PATIENCE_S)


def test_a_polling_handshake_passes_the_layers(served: Server) -> None:
    answer = handshake(served, **{"X-Request-Id": "polling-1"})
    assert answer.status_code == 200
    assert json.loads(answer.text[1:])["upgrades"] == ["websocket"]
    assert answer.headers["X-Request-Id"] == "polling-1"
    assert answer.headers["X-RateLimit-Limit"] == "1000000"
    assert "X-API-Version" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert handshake(served, Host="evil.example").status_code == 400
    wait_for(lambda: logged(served, "polling-1"))
    assert logged(served, "polling-1")[0]["path"] == "/socket.io/"
    assert value(served, STREAMS, route="/socket.io/", outcome="ended") >= 1
    assert value(served, "predict_request_seconds_count", route="/socket.io/") == 0


def test_a_client_that_leaves_its_long_poll_ends_it_without_a_fault(served: Server) -> None:
    polls = f"{served.base}/socket.io/?EIO=4&transport=polling&sid=" + json.loads(handshake(served).text[1:])["sid"]
    assert requests.post(polls, "40", timeout=PATIENCE_S).text == "OK"
    assert requests.get(polls, timeout=PATIENCE_S).text.startswith("40")
    left = value(served, STREAMS, route="/socket.io/", outcome="left")
    with suppress(requests.Timeout):
        requests.get(polls, timeout=1)
    wait_for(lambda: value(served, STREAMS, route="/socket.io/", outcome="left") == left + 1)
    assert value(served, STREAMS, route="/socket.io/", outcome="broken") == 0
    wait_for(lambda: value(served, "predict_connections_open") == 1, "its connection ends")
    assert "GreenletExit" not in served.log.read_text()


def websocket(server: Server, **headers: str) -> Client:
    address = server.base.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    client = Client(address, headers=headers)
    client.send("40")  # this client sees what came in one packet with the handshake only when more comes
    assert client.receive(timeout=PATIENCE_S).startswith("0{")
    assert client.receive(timeout=PATIENCE_S).startswith("40")
    return client


def test_a_websocket_passes_the_layers_and_is_logged_when_it_ends(served: Server) -> None:
    others = value(served, "predict_streams_open")
    decided = value(served, "predict_limit_decisions_total", group="other")
    client = websocket(served, **{"X-Request-Id": "websocket-1"})
    time.sleep(QUICK.head_s + 0.5)  # longer than a head may take
    client.send('421["ask","what"]')
    assert client.receive(timeout=PATIENCE_S) == '431[{"answer":"what"}]'
    assert value(served, "predict_streams_open") == others + 1
    assert logged(served, "websocket-1") == []
    client.close()
    wait_for(lambda: logged(served, "websocket-1"))
    assert logged(served, "websocket-1")[0]["status"] == 101
    assert value(served, "predict_limit_decisions_total", group="other") > decided
    wait_for(lambda: value(served, "predict_streams_open") == others)


def test_sigterm_ends_every_stream_long_before_the_grace_time_and_in_order(served: Server) -> None:
    """The last test of this server. A stream has 1 s for itself, then it is interrupted. Streams wait for the event, for
    something else, for a client that does not read, and for none; beside them stands an open WebSocket."""
    link = websocket(served)
    with ExitStack() as stack:
        streams = [stack.enter_context(asked(served, path)) for path in ("/silent", "/parked", "/ticking")]
        deaf = stack.enter_context(closing(connected(served)))
        deaf.sendall(b"GET /flooding HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert deaf.recv(1), "it is answered"
        served.process.send_signal(signal.SIGTERM)
        ends = [stream.content for stream in streams]
    assert served.process.wait(PATIENCE_S) == 0
    assert all(content.endswith(LAST) for content in ends), "whole answers: the chunked coding ended as well"
    with suppress(ConnectionClosed):
        link.receive(timeout=1)
    log = served.log.read_text()
    assert "broke on its way" not in log.rpartition("Handling signal: term")[2]
