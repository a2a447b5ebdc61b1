"""What connected clients cost, and that clients which have left cost nothing."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from bench.serving import child_of
from tests.serving.test_gunicorn import Server, started
from tests.serving.websocket_clients import connection_to, frame, handshake, until

pytestmark = [pytest.mark.integration, pytest.mark.soak]
COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.sockets_app:app"]
CROWD, ROUNDS, TOGETHER = 1000, 10, 50
CONNECTION_KB, LEFT_KB = 55, 4096
JOINED = b'{"sid"'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    limits = {"RATE_LIMIT_OTHER": 1_000_000, "MAX_CONNECTIONS_PER_ADDRESS": 4096}
    with started(
        COMMAND, tmp_path / "log", MARKET="demo", DATA_DIR=tmp_path / "data", HOST="127.0.0.1", **limits
    ) as server:
        server.wait_ready()
        yield server


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@contextmanager
def crowd(server: Server) -> Iterator[None]:
    """So many clients, which offer compression as browsers do, in the namespace."""
    port = int(server.base.rsplit(":", 1)[1])
    with ExitStack() as stack:
        for _ in range(CROWD // TOGETHER):
            some = [stack.enter_context(closing(connection_to(port))) for _ in range(TOGETHER)]
            for client in some:
                client.sendall(
                    handshake(port, User_Agent="Mozilla/5.0 (X11; Linux x86_64)", Accept_Language="en-US,en;q=0.9")
                )
            for client in some:
                read_until(client, b"pingTimeout")
                client.sendall(frame(b"40"))
            for client in some:
                read_until(client, JOINED)
        yield


def read_until(client: socket.socket, words: bytes) -> None:
    data = b""
    while words not in data:
        got = client.recv(4096)
        assert got, data
        data += got


def test_a_connection_costs_little_and_ten_thousand_that_left_nothing(
    served: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = child_of(served.process.pid)
    resident: list[int] = []
    held: list[float] = []
    for _ in range(ROUNDS):
        before = resident_kb(worker)
        with crowd(served):
            assert served.get("/links").json()["open"] == {"websocket": CROWD, "polling": 0}
            held.append((resident_kb(worker) - before) / CROWD)
        until(lambda: not any(served.get("/links").json()["kept"].values()))
        resident.append(resident_kb(worker))
    with capsys.disabled():
        print(f"\n{held[0]:.1f} KB a connection; resident after each {CROWD} that came and left: {resident} KB")
    assert held[0] <= CONNECTION_KB
    assert resident[-1] - resident[1] <= LEFT_KB
    assert "Traceback" not in served.log.read_text()
