"""The life of a connection in the server as it is deployed: who can be evicted, why it is closed, and what is left of it at the
end. The server has room for 16 connections, 4 of one address; addresses of loopback stand for clients."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from select import select
from threading import Thread
from typing import Any

import pytest
import requests

from tests.serving.test_gunicorn import NO_GRACE, Server, free_port, is_refused, started, until, workers_of
from tests.serving.test_streams import value, wait_for
from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "tests/serving/quick.conf.py", "tests.serving.streaming:app"]
DEPLOYED = [*COMMAND[:4], "gunicorn.conf.py", COMMAND[5]]
CLOSED = "predict_connections_closed_total"
HOST = b"Host: localhost\r\n"
POST = b"POST /batch_predict HTTP/1.1\r\n" + HOST
SLOW_BODY = POST + b"Content-Length: 20\r\n\r\n{"
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 6)]
PROBE = "127.0.0.99"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lifecycle")
    values: dict[str, Any] = {"MAX_CONNECTIONS": 16, "MAX_CONNECTIONS_PER_ADDRESS": 4, "OPERATIONS_PORT": free_port()}
    with started(
        COMMAND, folder / "log", MARKET="demo", DATA_DIR=folder, RATE_LIMIT_OTHER=1_000_000, **values
    ) as server:
        server.wait_ready()
        server.operations = values["OPERATIONS_PORT"]  # type: ignore[attr-defined]
        yield server


@pytest.fixture(autouse=True)
def _is_quiet_again(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "served" in request.fixturenames:
        wait_for(lambda: is_quiet(request.getfixturevalue("served")))


def is_quiet(server: Server) -> bool:
    """Whether the connection that asks is the only one."""
    return is_open(server, 1)


def is_open(server: Server, count: int) -> bool:
    """Whether there are so many connections, with the one that asks."""
    return f"\npredict_connections_open {count:.1f}\n" in shown(server)


def shown(server: Server) -> str:
    """The metrics, at the operations port."""
    return requests.get(f"http://127.0.0.1:{server.operations}/metrics", timeout=PATIENCE_S).text  # type: ignore[attr-defined]


def connected(
    server: Server, source: str = "127.0.0.1", receive_bytes: int | None = None, port: int = 0
) -> socket.socket:
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(PATIENCE_S)
    try:
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port or int(server.base.rpartition(":")[2])))
    except OSError:
        sock.close()
        raise
    return sock


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def answered(server: Server, path: str, source: str = PROBE, port: int = 0) -> int:
    """The status of a request on a connection of its own."""
    with closing(connected(server, source, port=port)) as sock:
        sock.sendall(get(path))
        answer = HTTPResponse(sock)
        answer.begin()
        answer.read()
        return answer.status


@contextmanager
def all_places(server: Server, sent: bytes) -> Iterator[list[socket.socket]]:
    """Four clients at each of four addresses, which have sent `sent`."""
    with ExitStack() as stack:
        held = [stack.enter_context(closing(connected(server, source))) for source in ADDRESSES for _ in range(4)]
        for sock in held:
            sock.sendall(sent)
        wait_for(lambda: is_open(server, len(held) + 1))
        yield held


def counted(server: Server, what: Callable[[], object]) -> dict[str, float]:
    """How the counts of closed connections move, by reason."""
    before = counts(server)
    what()
    wait_for(lambda: is_quiet(server))
    return {reason: count - before[reason] for reason, count in counts(server).items() if count != before[reason]}


def counts(server: Server) -> dict[str, float]:
    return {reason: float(count) for reason, count in re.findall(CLOSED + r'\{reason="(\w+)"\} (\S+)', shown(server))}


def test_bodies_that_do_not_arrive_keep_nobody_out(served: Server) -> None:
    evicted = value(served, CLOSED, reason="evicted")
    with all_places(served, SLOW_BODY):
        for path in ("/livez", "/readyz", "/models"):
            assert answered(served, path) == 200
    assert value(served, CLOSED, reason="evicted") > evicted


def test_a_body_that_does_not_arrive_costs_the_app_nothing_before_its_time_is_over(served: Server) -> None:
    """An attacker whose bodies are evicted again and again would otherwise keep it busy with answers that nobody reads."""

    def in_app() -> float:
        counts = re.findall(r'predict_request_seconds_count{[^}]*route="/batch_predict"[^}]*} (\S+)', shown(served))
        return sum(map(float, counts))

    before, evicted = in_app(), value(served, CLOSED, reason="evicted")
    with all_places(served, SLOW_BODY) as held:
        assert [answered(served, "/livez") for _ in range(4)] == [200] * 4
    wait_for(lambda: is_quiet(served))
    assert (evicted_now := value(served, CLOSED, reason="evicted") - evicted)
    assert in_app() - before == len(held) - evicted_now


def test_probes_and_the_operations_port_are_answered_where_every_connection_is(served: Server) -> None:
    """Streams are answers under way: none of them may be closed."""
    refused = value(served, CLOSED, reason="refused")
    with all_places(served, get("/ticking")):
        wait_for(lambda: streams_open(served) == 16)
        for path in ("/livez", "/readyz"):
            assert answered(served, path) == 200
        assert answered(served, "/metrics", port=served.operations) == 200  # type: ignore[attr-defined]
        assert answered(served, "/models") == 503
        with closing(connected(served, ADDRESSES[0])) as sock:
            sock.sendall(get("/livez"))
            assert sock.recv(12) == b"HTTP/1.1 200", "of an address that holds its share, too"
        text = shown(served)
        assert f'{CLOSED}{{reason="refused"}} {refused + 1}' in text
        assert streams_open(served) == 16, "none of them was closed"


def streams_open(server: Server) -> float:
    return float(re.findall(r"^predict_streams_open (\S+)", shown(server), re.M)[0])


def slow_body(server: Server) -> None:
    """Meanwhile others are answered."""
    with closing(connected(server)) as sock:
        sock.sendall(SLOW_BODY)
        assert answered(server, "/livez") == 200
        assert not select([sock], [], [], 0)[0], "the body is still waited for"
        answer = HTTPResponse(sock)
        answer.begin()
        assert (answer.status, answer.headers["Content-Type"]) == (408, "application/json")
        assert answer.headers["Connection"] == "close"
        assert json.loads(answer.read())["error_code"] == "REQUEST_TIMEOUT"
        assert sock.recv(100) == b""


def many_chunks(server: Server) -> None:
    with closing(connected(server)) as sock:
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 9000)
        assert sock.recv(12) == b"HTTP/1.1 413"


def left_in_body(server: Server) -> None:
    with closing(connected(server)) as sock:
        sock.sendall(SLOW_BODY)
    time.sleep(0.3)


def half_closed_in_body(server: Server) -> None:
    with closing(connected(server)) as sock:
        sock.sendall(SLOW_BODY)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(10)


def left_in_head(server: Server) -> None:
    with closing(connected(server)) as sock:
        sock.sendall(b"GET / HT")
    time.sleep(0.3)


def unreadable(sent: bytes) -> Callable[[Server], None]:
    def send(server: Server) -> None:
        with closing(connected(server)) as sock:
            sock.sendall(sent)
            assert sock.recv(9) == b"HTTP/1.1 "

    return send


ENDS: dict[str, tuple[Callable[[Server], None], dict[str, float]]] = {
    "a body that does not arrive": (slow_body, {"body_timeout": 1}),
    "too many chunks": (many_chunks, {"body_bounds": 1}),
    "a client that leaves in its body": (left_in_body, {}),
    "a client that ends its side in its body": (half_closed_in_body, {}),
    "a client that leaves in its head": (left_in_head, {}),
    "nonsense": (unreadable(b"nonsense\r\n\r\n"), {"unreadable": 1}),
    "a line too long": (unreadable(get("/" + "a" * 5000)), {"unreadable": 1}),
    "headers too large": (unreadable(get("/", "X-A: " + "a" * 9000)), {"unreadable": 1}),
    "a chunk that is none": (unreadable(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), {"unreadable": 1}),
    "a whole request": (lambda server: server.get("/livez"), {}),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_connection_is_counted_once_by_why_it_is_closed_and_not_where_its_client_left(
    served: Server, name: str
) -> None:
    what, reasons = ENDS[name]
    assert counted(served, lambda: what(served)) == reasons


@pytest.mark.parametrize("path", ["/counted/20000", "/metrics"])
def test_an_answer_arrives_whole_whatever_the_client_sends_meanwhile(served: Server, path: str) -> None:
    """Its bytes stay unread, which would be a reset if the socket were closed at once (RFC 9112, 9.6)."""
    with closing(connected(served, receive_bytes=2304)) as sock:
        sock.sendall(get(path, "Connection: close"))
        assert sock.recv(1, socket.MSG_PEEK), "it comes"
        sock.sendall(b"\r\n")
        answer = HTTPResponse(sock)
        answer.begin()
        body = answer.read()
        assert (len(body) == 60_000) if path.startswith("/counted") else body.endswith(b"\n")
        assert answer.length in (0, None)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Server]:
    """A stopping server waits 2 s for what does not arrive, and 1 s for the client to go."""
    values: dict[str, Any] = {"RATE_LIMIT_OTHER": 1_000_000, "GUNICORN_CMD_ARGS": NO_GRACE}
    with started(DEPLOYED, tmp_path / "log", MARKET="demo", DATA_DIR=tmp_path, **values) as server:
        server.wait_ready()
        yield server


def test_sigterm_closes_the_port_at_once_and_waits_seconds_for_what_does_not_arrive(deployed: Server) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(closing(connected(deployed))) for _ in range(3)]
        for sock, sent in zip(held, [SLOW_BODY, b"GET /livez HT", b""], strict=True):
            sock.sendall(sent)
        wait_for(lambda: value(deployed, "predict_connections_open") == len(held) + 1)
        deployed.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(deployed))
        assert [sock.recv(12) for sock in held] == [b"HTTP/1.1 408", b"HTTP/1.1 408", b""]
        assert deployed.process.wait(PATIENCE_S) == 0


def test_a_server_that_drains_says_so_and_answers_all_until_it_stops(tmp_path: Path) -> None:
    """For balancers that ask `/readyz` and retry nothing: they see it before a connection is refused."""
    values: dict[str, Any] = {"DRAIN_SECONDS": 300, "RATE_LIMIT_OTHER": 1_000_000}
    with started(DEPLOYED, tmp_path / "log", MARKET="demo", DATA_DIR=tmp_path, **values) as server:
        server.wait_ready()
        with requests.Session() as session:
            assert session.get(f"{server.base}/readyz", timeout=PATIENCE_S).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: answered(server, "/readyz") == 503)
            answer = session.get(f"{server.base}/trading-directions?ticker=SPY", timeout=PATIENCE_S)
            assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert answered(server, "/livez") == 200
        assert server.process.poll() is None
        assert server.stop() == 0, "a second signal ends it"


def test_sighup_replaces_the_worker_in_seconds_while_a_body_does_not_arrive(deployed: Server) -> None:
    (old,) = workers_of(deployed)
    with closing(connected(deployed)) as slow:
        slow.sendall(SLOW_BODY)
        wait_for(lambda: value(deployed, "predict_connections_open") == 2)
        deployed.process.send_signal(signal.SIGHUP)
        until(lambda: len(workers_of(deployed)) == 2, "the new worker is there")
        until(lambda: not (Path("/proc") / str(old)).exists(), "the old worker is gone")
        assert deployed.get("/livez").status_code == 200


def test_an_upgrade_that_is_ignored_does_not_cut_the_answer_at_sigterm(tmp_path: Path) -> None:
    command, gate = [*DEPLOYED[:5], "tests.serving.slow_app:app"], tmp_path / "gate"
    with started(command, tmp_path / "log", MARKET="demo", DATA_DIR=tmp_path, GATE=gate) as server:
        server.wait_ready()
        with closing(connected(server)) as sock:
            sock.sendall(get("/trading-directions?ticker=SPY", "Connection: Upgrade", "Upgrade: h2c"))
            until(lambda: bool(server.get("/health").json()["operations"]["fetches"]), "it is under way")
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_refused(server))
            gate.touch()
            answer = HTTPResponse(sock)
            answer.begin()
            assert answer.status == 200
            assert b"DATA_FETCH_ERROR" in answer.read()


def test_clients_that_ask_on_and_sip_are_dropped_and_counted(served: Server) -> None:
    """Each answer fits into the kernel's buffer by itself."""
    before = value(served, CLOSED, reason="write_timeout")
    with closing(connected(served, receive_bytes=2304)) as sock:
        Thread(target=_ask_on, args=(sock,), daemon=True).start()
        wait_for(lambda: is_dropped(sock), every_s=0.2)
    assert value(served, CLOSED, reason="write_timeout") == before + 1


def is_dropped(sock: socket.socket) -> bool:
    """Whether the server has dropped a connection, of which this takes a sip."""
    try:
        return not sock.recv(100)
    except OSError:
        return True


def _ask_on(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(get("/nothing") * 100)
