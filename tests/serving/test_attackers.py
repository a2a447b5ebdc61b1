"""The core of each attack on connections: the worker lives, others are answered meanwhile, and a metric shows it.
`python -m bench.attackers` measures what honest clients feel."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPResponse
from threading import Event, Thread

import pytest

from bench.serving import child_of
from tests.serving.quick_bounds import QUICK
from tests.serving.test_gunicorn import NO_GRACE, Server, started
from tests.serving.test_streams import value, wait_for
from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "tests/serving/quick.conf.py", "wsgi:app"]
ANSWERED_S = 5.0
"""Of a busy machine too; the faults that were seen took 40 and 74 s."""

HOST = b"Host: localhost\r\n"
CLOSED = "predict_connections_closed_total"
PER_ADDRESS = 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("attackers")
    values = {"MAX_CONNECTIONS_PER_ADDRESS": PER_ADDRESS, "RATE_LIMIT_OTHER": 1_000_000}
    with started(COMMAND, folder / "log", MARKET="demo", DATA_DIR=folder, **values) as server:
        server.wait_ready()
        server.get("/trading_directions")  # makes the days of the demo, which holds all others up
        yield server


@pytest.fixture(autouse=True)
def _the_worker_lives(served: Server) -> Iterator[None]:
    before = child_of(served.process.pid)
    yield
    assert child_of(served.process.pid) == before
    assert "WORKER TIMEOUT" not in served.log.read_text()


def connected(server: Server, receive_bytes: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(PATIENCE_S)
    sock.connect(("127.0.0.1", int(server.base.rpartition(":")[2])))
    return sock


def answered_soon(server: Server) -> None:
    began = time.monotonic()
    assert server.get("/livez").status_code == 200
    assert time.monotonic() - began < ANSWERED_S


CHUNKED = b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = b" HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000\r\n\r\n"
BODIES = {
    "one-byte chunks that nobody reads": (b"POST /nothing" + CHUNKED, b"1\r\na\r\n" * 1000, "body_unread", 404),
    "a plain body that nobody reads": (b"POST /nothing" + PLAIN, b"x" * 65_536, "body_unread", 404),
    "one-byte chunks to a route": (b"POST /batch_predict" + CHUNKED, b"1\r\na\r\n" * 1000, "body_bounds", 413),
    "a body too large for a route": (b"POST /batch_predict" + PLAIN, b"x" * 65_536, "body_unread", 413),
    "chunks to a route that takes none": (b"GET /nothing" + CHUNKED, b"1\r\na\r\n" * 1000, "body_unread", 404),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_end_is_answered_closed_and_counted_and_others_are_served(served: Server, name: str) -> None:
    head, piece, reason, status = BODIES[name]
    before, over = value(served, CLOSED, reason=reason), Event()

    def attack() -> None:
        with suppress(OSError), closing(connected(served)) as sock:
            sock.sendall(head)
            while not over.is_set():
                sock.sendall(piece)

    attacker = Thread(target=attack)
    attacker.start()
    try:
        for _ in range(5):
            answered_soon(served)
        attacker.join(PATIENCE_S)
        assert not attacker.is_alive(), "the server closed the connection"
    finally:
        over.set()
        attacker.join()
    assert value(served, CLOSED, reason=reason) > before
    with closing(connected(served)) as sock:
        sock.sendall(head + piece)
        answer = HTTPResponse(sock)
        answer.begin()
        assert answer.headers["Connection"] == "close"
        if reason == "body_unread":
            assert answer.status == status
            assert b"error_code" in answer.read()


def test_after_a_refused_upload_the_client_reads_its_answer_and_not_a_reset(served: Server) -> None:
    body = b"x" * 500_000
    with closing(connected(served)) as sock:
        sock.sendall(b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.2)
        answer = HTTPResponse(sock)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (404, "close")
        assert b"NOT_FOUND" in answer.read()
        assert sock.recv(10) == b""


def test_clients_that_never_read_are_dropped_and_counted_and_do_not_hold_the_stop(served: Server) -> None:
    before = value(served, CLOSED, reason="write_timeout")
    with ExitStack() as stack:
        for _ in range(5):
            sock = stack.enter_context(closing(connected(served, receive_bytes=4096)))
            Thread(target=_ask, args=(sock,), daemon=True).start()
        wait_for_drops(served, before + 5)
        answered_soon(served)


def _ask(sock: socket.socket) -> None:
    """For far more bytes than the sockets hold between them."""
    with suppress(OSError):
        sock.sendall((b"GET /models HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)


def wait_for_drops(server: Server, count: float) -> None:
    wait_for(lambda: value(server, CLOSED, reason="write_timeout") >= count, every_s=0.2)


def test_half_sent_requests_keep_nobody_out_and_are_closed_and_counted(served: Server) -> None:
    """From the same address as the honest client: the newest connection takes the place of the oldest half-sent one."""
    evicted, late = (value(served, CLOSED, reason=reason) for reason in ("evicted", "head_timeout"))
    with ExitStack() as stack:
        half = [stack.enter_context(closing(connected(served))) for _ in range(3 * PER_ADDRESS)]
        for sock in half:
            with suppress(OSError):
                sock.sendall(b"GET /livez HTTP/1.1\r\nHost: lo")
        answered_soon(served)
        assert value(served, "predict_connections_open") <= PER_ADDRESS
        assert value(served, CLOSED, reason="evicted") >= evicted + 2 * PER_ADDRESS
        wait_for(lambda: value(served, CLOSED, reason="head_timeout") > late)
        answer = HTTPResponse(half[-1])
        with suppress(ConnectionResetError):
            answer.begin()
            assert answer.status == 408
            assert b"REQUEST_TIMEOUT" in answer.read()


def test_connections_that_say_nothing_are_closed_and_counted(served: Server) -> None:
    before = value(served, CLOSED, reason="head_timeout")
    with closing(connected(served)) as sock:
        assert sock.recv(10) == b""
    assert value(served, CLOSED, reason="head_timeout") == before + 1


def test_an_idle_connection_that_was_served_stays(served: Server) -> None:
    with closing(connected(served)) as sock:
        for wait_s in (QUICK.head_s + 0.5, 0):
            sock.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
            answer = HTTPResponse(sock)
            answer.begin()
            assert answer.read() == b'{"status":"ok"}\n'
            time.sleep(wait_s)


def test_sigterm_is_prompt_while_clients_do_not_read_and_half_requests_stand(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    command = [*COMMAND[:4], "gunicorn.conf.py", COMMAND[5]]
    values = {"RATE_LIMIT_OTHER": 1_000_000, "GUNICORN_CMD_ARGS": NO_GRACE}
    with started(command, folder / "log", MARKET="demo", DATA_DIR=folder, **values) as server:
        server.wait_ready()
        with ExitStack() as stack:
            for _ in range(5):
                sock = stack.enter_context(closing(connected(server, receive_bytes=4096)))
                Thread(target=_ask, args=(sock,), daemon=True).start()
                half = stack.enter_context(closing(connected(server)))
                half.sendall(b"GET /livez HTTP/1.1\r\nHost: lo")
            wait_for(lambda: value(server, "predict_connections_open") >= 10)
            time.sleep(1.0)
            assert server.stop() == 0
