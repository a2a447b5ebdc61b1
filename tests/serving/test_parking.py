"""A stream that waits has no greenlet; when it goes on, everything is as if it had kept one."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPResponse
from pathlib import Path
from socket import socket

import pytest

from serving.parking import CONNECTION, Parked, Pieces
from tests.serving.test_following import NO_LIMITS, PATH, lines, until_snapshot
from tests.serving.test_gunicorn import Server, started
from tests.serving.test_lifecycle import connected, get
from tests.serving.test_streams import value, wait_for
from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
BRIEFLY, ALWAYS = [*COMMAND, "tests.serving.followed_briefly:app"], [*COMMAND, "wsgi:app"]
FOLLOWERS = 20


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("brief")
    with started(BRIEFLY, folder / "log", MARKET="demo", DATA_DIR=folder, **NO_LIMITS) as server:
        server.wait_ready()
        yield server


def answer(sock: socket) -> tuple[HTTPResponse, bytes]:
    found = HTTPResponse(sock)
    found.begin()
    return found, found.read()


def read_to_the_end(sock: socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65_536), b""))


class Pushed:
    """What others post to an answer."""

    is_awake = False


class Answering:
    """A connection with an answer under way, to which others push or not."""

    pushed: Pushed | None = None


def test_an_answer_that_others_push_leaves_its_greenlet_once_and_is_closed_at_its_end() -> None:
    closed, connection = [], Answering()

    def body() -> Iterator[bytes]:
        try:
            yield from (b"", b"first", b"", b"", b"last")
        finally:
            closed.append(True)

    pieces = Pieces(body(), {CONNECTION: connection})
    assert [next(pieces), next(pieces)] == [b"", b"first"]
    connection.pushed = Pushed()
    with pytest.raises(Parked):
        next(pieces)
    pieces.close()
    assert not closed
    pieces.go_on()
    assert list(pieces) == [b"", b"last"]
    pieces.close()
    assert closed == [True]


def test_a_follower_whose_time_is_up_is_told_so_and_reported_once(brief: Server) -> None:
    with closing(connected(brief)) as sock:
        sock.sendall(get(PATH, "X-Request-Id: followed-briefly"))
        _, body = answer(sock)
    assert json.loads(body.splitlines()[-1])["retry_after_ms"] > 0
    wait_for(lambda: brief.log.read_text().count("followed-briefly") > 0)
    assert brief.log.read_text().count("followed-briefly") == 1
    wait_for(lambda: value(brief, "predict_streams_open") == 0)


def test_the_connection_of_a_follower_whose_time_is_up_answers_further_requests(brief: Server) -> None:
    with closing(connected(brief)) as sock:
        sock.sendall(get(PATH) + get("/livez", "Connection: close"))
        found = read_to_the_end(sock)
        stream, _, behind = found.partition(b"\r\n0\r\n\r\n")
    assert b'"retry_after_ms"' in stream.splitlines()[-2] + stream.splitlines()[-1]
    assert behind.startswith(b"HTTP/1.1 200 OK")
    assert behind.count(b"HTTP/1.1") == 1


def test_a_follower_who_asks_for_it_is_alone_on_its_connection(brief: Server) -> None:
    with closing(connected(brief)) as sock:
        sock.sendall(get(PATH, "Connection: close") + get("/livez"))
        found = read_to_the_end(sock)
    assert found.endswith(b"\r\n0\r\n\r\n")
    assert found.count(b"HTTP/1.1") == 1


def test_followers_hear_the_last_words_of_a_server_that_stops(tmp_path: Path) -> None:
    with (
        started(ALWAYS, tmp_path / "log", MARKET="demo", DATA_DIR=tmp_path, **NO_LIMITS) as server,
        ExitStack() as stack,
    ):
        server.wait_ready()
        socks = []
        for _ in range(FOLLOWERS):
            socks.append(stack.enter_context(closing(connected(server))))
            socks[-1].sendall(get(PATH))
            until_snapshot(socks[-1])
        server.process.send_signal(signal.SIGTERM)
        for sock in socks:
            *_, last = lines(sock)
            assert last["retry_after_ms"] > 0
        assert server.process.wait(PATIENCE_S) == 0
