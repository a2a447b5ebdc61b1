"""Requests as they are read from a connection, and answers as they are written to it: bounds, turns, and what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from typing import Any

import gevent
import pytest
from gevent import socket
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from serving.bounds import Bounds
from serving.connection import Connection
from serving.connections import Connections, State
from serving.reading import PIECE_S, TURN_S, HeadTimeout, IdleTimeout, RequestParser, RequestReader, Turns
from tests.waiting import PATIENCE_S

QUICK = Bounds(head_s=0.3, idle_s=0.3, body_s=0.3, write_s=0.3, linger_s=0.3, body_chunks=200, body_bytes=100_000)
POST = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Line:
    """Two ends of a connection: the client's, and the server's parser on the other."""

    def __init__(self, bounds: Bounds, now: Callable[[], float] = time.monotonic) -> None:
        self.client, self.server = socket.socketpair()
        self.connections = Connections(10, None, lambda address: None)
        self.connection = Connection(self.server, "127.0.0.1", bounds, self.connections, now)
        self.connections.enter(self.connection)
        self.closed = self.connections.closed
        self.reader = RequestReader(self.connection)
        self.parser = RequestParser(Config(), self.reader, ("127.0.0.1", 1))


Connect = Callable[[Bounds], Line]


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[Line] = []

    def begin(bounds: Bounds) -> Line:
        made.append(Line(bounds))
        return made[-1]

    yield begin
    for line in made:
        line.client.close()
        line.server.close()


@pytest.fixture
def line(connect: Connect) -> Line:
    return connect(QUICK)


def ends(work: Callable[[], Any], raises: type[BaseException] | None = None) -> None:
    """Work ends by itself, whatever the client goes on to do."""
    with gevent.Timeout(PATIENCE_S), nullcontext() if raises is None else pytest.raises(raises):
        work()


def sending(line: Line, pieces: Iterator[bytes], pause_s: float = 0.0) -> gevent.Greenlet:
    def send() -> None:
        for piece in pieces:
            line.client.sendall(piece)
            gevent.sleep(pause_s)

    return gevent.spawn(send)


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def test_a_body_that_nobody_read_ends_the_connection_and_is_not_drained(line: Line) -> None:
    line.client.sendall(CHUNKED + b"1\r\na\r\n" * 50)
    request = next(line.parser)
    assert request.should_close(), "the answer's head says so"
    ends(lambda: next(line.parser), StopIteration)  # gunicorn alone reads on until the client ends


def test_a_body_of_known_length_that_nobody_read_ends_the_connection_too(line: Line) -> None:
    line.client.sendall(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
    assert next(line.parser).should_close()
    with pytest.raises(StopIteration):
        next(line.parser)


def test_a_body_half_read_ends_the_connection_even_if_the_rest_is_read_after_the_head(line: Line) -> None:
    line.client.sendall(POST + b"Content-Length: 4000\r\n\r\n" + b"x" * 4000)
    request = next(line.parser)
    request.body.read(10)
    assert request.should_close()
    request.body.read()
    assert request.should_close()


@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
)
def test_a_body_read_to_its_end_keeps_the_connection(line: Line, body: bytes) -> None:
    line.client.sendall(POST + body + GET)
    request = next(line.parser)
    assert request.body.read() == b"{}"
    assert not request.should_close()
    line.reader.expect_head()
    assert next(line.parser).path == "/livez"


def test_too_many_pieces_are_refused_and_counted_and_others_have_turns_meanwhile(line: Line) -> None:
    line.client.sendall(CHUNKED + b"1\r\na\r\n" * 400)
    turns = []
    other = gevent.spawn(lambda: [turns.append(gevent.sleep(0)) for _ in range(100)])
    request = next(line.parser)
    with pytest.raises(RequestEntityTooLarge):
        request.body.read()
    assert line.closed == {("body_bounds",): 1}
    assert len(turns) >= 2
    assert request.should_close()
    other.kill()


def test_a_body_is_bounded_as_it_is_sent(connect: Connect) -> None:
    line = connect(Bounds(body_bytes=100_000))
    chunk = b"1;" + b"x" * 4000 + b"\r\na\r\n"
    sender = sending(line, iter([CHUNKED, *[chunk] * 40]))
    with pytest.raises(RequestEntityTooLarge):
        next(line.parser).body.read()
    assert line.closed == {("body_bounds",): 1}
    sender.kill()


def test_a_body_that_trickles_has_a_deadline_as_a_whole(line: Line) -> None:
    sender = sending(line, chain([CHUNKED], endless(b"1\r\na\r\n")), 0.02)
    request = next(line.parser)
    ends(request.body.read, ClientDisconnected)
    assert line.closed == {("body_timeout",): 1}
    assert request.should_close()
    sender.kill()


def test_a_fast_body_leaves_others_their_turns(connect: Connect) -> None:
    line = connect(Bounds())
    sender = sending(line, iter([POST + b"Content-Length: 1900000\r\n\r\n", b"x" * 1_900_000]))
    turns = []
    other = gevent.spawn(lambda: [turns.append(gevent.sleep(0)) for _ in range(1000)])
    assert len(next(line.parser).body.read()) == 1_900_000
    assert len(turns) >= 10
    gevent.killall([sender, other])


def test_half_a_head_has_a_deadline(line: Line) -> None:
    line.client.sendall(GET[:20])
    with pytest.raises(HeadTimeout) as raised:
        next(line.parser)
    assert raised.value.has_begun
    assert line.closed == {("head_timeout",): 1}


def test_a_head_that_trickles_has_a_deadline_as_a_whole(line: Line) -> None:
    sender = sending(line, chain([GET[:20]], endless(b"x")), 0.02)
    ends(lambda: next(line.parser), HeadTimeout)
    sender.kill()


def test_the_deadline_of_a_head_begins_with_a_new_connection_and_with_the_first_byte_of_an_old_one(line: Line) -> None:
    with pytest.raises(HeadTimeout) as raised:
        next(line.parser)
    assert not raised.value.has_begun
    line.reader.expect_head()
    with pytest.raises(IdleTimeout):
        next(line.parser)
    line.reader.expect_head()
    line.client.sendall(GET[:20])
    with pytest.raises(HeadTimeout):
        next(line.parser)


def test_half_a_head_behind_a_whole_request_has_the_deadline_of_a_head(connect: Connect) -> None:
    line = connect(Bounds(head_s=0.3, idle_s=60))
    line.client.sendall(GET + GET[:20])
    next(line.parser)
    line.reader.expect_head()
    ends(lambda: next(line.parser), HeadTimeout)


def test_line_and_headers_together_are_bounded(connect: Connect) -> None:
    line = connect(Bounds(head_bytes=20_000))
    sender = sending(line, iter([GET[:-2], *[b"X-A: " + b"x" * 4000 + b"\r\n"] * 6]))
    with pytest.raises(LimitRequestHeaders):
        next(line.parser)
    sender.kill()


def test_a_client_is_told_to_go_on_only_when_its_body_is_read(connect: Connect) -> None:
    line = connect(Bounds())
    line.client.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    request = next(line.parser)
    assert not request._expected_100_continue, "gunicorn would send it before anyone looked at the request"
    request.read_body_ahead()
    line.client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        line.client.recv(100)
    reading = gevent.spawn(request.body.read)
    line.client.settimeout(PATIENCE_S)
    assert line.client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.client.sendall(b"{}")
    assert reading.get(timeout=PATIENCE_S) == b"{}"


def test_a_small_body_is_here_when_the_app_begins(connect: Connect) -> None:
    line = connect(Bounds())
    sender = sending(line, iter([POST + b"Content-Length: 6\r\n\r\n", b"ab", b"c\nde", GET]), 0.02)
    request = next(line.parser)
    request.read_body_ahead()
    assert request.is_read()
    assert line.connection.state is State.ANSWERING
    assert request.body.readline() == b"abc\n"
    assert request.body.read() == b"de"
    assert request.body.read() == b""
    sender.join()


@pytest.mark.parametrize("head", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_a_large_body_is_not_waited_for_before_the_app_may_refuse_it(line: Line, head: str) -> None:
    line.client.sendall(POST + f"{head}\r\n\r\n".encode())
    next(line.parser).read_body_ahead()
    assert line.closed == {}, "the time of its body would be over otherwise"


def test_a_body_that_does_not_come_is_told_to_the_app_as_often_as_it_reads(line: Line) -> None:
    line.client.sendall(POST + b"Content-Length: 6\r\n\r\nab")
    request = next(line.parser)
    request.read_body_ahead()
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            request.body.read()
    assert not request.is_read()
    assert line.closed == {("body_timeout",): 1}


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_an_answer_of_known_length_leaves_in_one_packet(line: Line) -> None:
    line.connection.begin()
    line.connection.sendall(HEAD)
    line.client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        line.client.recv(1000)
    line.connection.sendall(b"{}")
    assert line.client.recv(1000) == HEAD + b"{}"


def test_the_head_of_a_stream_leaves_at_once(line: Line) -> None:
    line.connection.begin()
    line.connection.sendall(STREAM_HEAD)
    line.client.settimeout(PATIENCE_S)
    assert line.client.recv(1000) == STREAM_HEAD
    assert line.connection.is_streaming


def test_an_answer_without_a_body_is_sent_by_flush(line: Line) -> None:
    line.connection.begin()
    line.connection.sendall(HEAD)
    line.connection.flush()
    line.connection.flush()
    assert line.client.recv(1000) == HEAD


def test_a_client_that_does_not_read_is_dropped_and_counted(line: Line) -> None:
    line.connection.begin()
    line.connection.sendall(STREAM_HEAD)
    ends(lambda: line.connection.sendall(b"x" * 10_000_000), ConnectionAbortedError)
    assert line.closed == {("write_timeout",): 1}


def test_a_client_that_sips_is_dropped_as_well(connect: Connect) -> None:
    line = connect(Bounds(write_s=0.5, write_rate=1 << 30))

    def sip() -> None:
        while line.client.recv(20_000):
            gevent.sleep(0.05)

    sipping = gevent.spawn(sip)
    line.connection.begin()
    line.connection.sendall(STREAM_HEAD)
    ends(lambda: line.connection.sendall(b"x" * 50_000_000), ConnectionAbortedError)
    assert line.closed == {("write_timeout",): 1}
    sipping.kill()


def test_a_slow_client_that_goes_on_reading_gets_its_whole_answer() -> None:
    """In many times the seconds in which it must have taken something, by a clock that only its reading moves."""
    at = [0.0]
    line = Line(Bounds(write_s=0.5), now=lambda: at[0])
    got = []

    def read() -> None:
        while piece := line.client.recv(200_000):
            got.append(len(piece))
            at[0] += 0.25
            gevent.sleep(0)

    reading = gevent.spawn(read)
    line.connection.begin()
    line.connection.sendall(STREAM_HEAD)
    line.connection.sendall(b"x" * 10_000_000)
    line.connection.close()
    reading.get(timeout=PATIENCE_S)
    assert sum(got) == 10_000_000 + len(STREAM_HEAD)
    assert at[0] > 10.0
    assert not line.closed
    line.client.close()


def test_after_an_early_answer_the_client_can_read_it_and_is_not_listened_to_for_long(line: Line) -> None:
    line.client.sendall(b"x" * 1000)
    sender = sending(line, endless(b"x" * 1000))
    line.connection.begin()
    line.connection.sendall(HEAD)
    line.connection.sendall(b"{}")
    ends(line.connection.end)
    assert line.client.recv(1000) == HEAD + b"{}"
    sender.kill()


def test_a_client_that_leaves_ends_the_lingering_at_once() -> None:
    """And not by time, which stands still."""
    line = Line(Bounds(linger_s=5 * PATIENCE_S), now=lambda: 0.0)
    line.connection.begin()
    line.connection.sendall(STREAM_HEAD)
    assert line.client.recv(1000) == STREAM_HEAD
    line.client.close()
    ends(line.connection.end)


class Looks:
    """A clock that moves on by a tenth of a second whenever somebody looks at it, and does something after five seconds."""

    def __init__(self) -> None:
        self.at = 0.0
        self.after_five: Callable[[], None] | None = None

    def __call__(self) -> float:
        self.at += 0.1
        if self.at > 5.0 and self.after_five is not None:
            after_five, self.after_five = self.after_five, None
            after_five()
        return self.at


@pytest.mark.parametrize("is_stopping", [False, True])
def test_a_client_that_does_not_read_the_end_of_its_answer_holds_a_stop_for_seconds(is_stopping: bool) -> None:
    """Otherwise it has as long for that as for any other part of an answer."""
    now, bounds = Looks(), Bounds()
    line = Line(bounds, now)
    line.connection.begin()
    line.connection.sendall(HEAD)
    line.connection.sendall(b"x" * 100_000)
    if is_stopping:
        now.after_five = lambda: line.connection.hurry(bounds.stopping())
    line.connection.end()
    last = 5.0 + bounds.drop_s if is_stopping else bounds.write_s + 100_000 / bounds.write_rate
    assert last - 2 < now.at < last + 2, "by its own clock"
    assert line.closed == {("write_timeout",): 1}
    line.client.close()


def test_asking_for_more_does_not_renew_the_budget_of_a_client_that_sips(connect: Connect) -> None:
    """Each answer is taken in less than `write_s`, and all of them slower than `write_rate`."""
    line = connect(Bounds(write_s=0.5, write_rate=1 << 20, send_buffer=16 << 10))

    def sip() -> None:
        while line.client.recv(10_000):
            gevent.sleep(0.05)

    def answer_for_long() -> None:
        while True:
            line.connection.begin()
            line.connection.sendall(HEAD)
            line.connection.sendall(b"x" * 3000)

    sipping = gevent.spawn(sip)
    ends(answer_for_long, ConnectionAbortedError)
    assert line.closed == {("write_timeout",): 1}
    sipping.kill()


def test_a_client_that_catches_up_has_its_budget_anew() -> None:
    at = [0.0]
    line = Line(Bounds(write_s=0.3, write_rate=1 << 30), now=lambda: at[0])
    size = 1_000_000

    def read_answer() -> None:
        left = len(STREAM_HEAD) + size
        while left:
            left -= len(line.client.recv(left))

    for _ in range(4):
        reading = gevent.spawn(read_answer)
        line.connection.begin()
        line.connection.sendall(STREAM_HEAD)
        line.connection.sendall(b"x" * size)
        reading.get(timeout=PATIENCE_S)
        at[0] += 0.2
    assert not line.closed
    line.client.close()
    line.server.close()


def test_a_client_that_does_not_take_its_answer_can_be_evicted(connect: Connect) -> None:
    line = connect(Bounds())
    line.connections.limit(1)
    line.connection.become(State.ANSWERING)
    line.connection.begin()
    line.connection.sendall(STREAM_HEAD)
    writing = gevent.spawn(line.connection.sendall, b"x" * 10_000_000)
    gevent.sleep(0.1)
    other = connect(Bounds())
    assert line.connections.enter(other.connection)
    with pytest.raises(BrokenPipeError):
        writing.get(timeout=PATIENCE_S)
    assert line.closed == {("evicted",): 1}


def test_a_body_that_is_read_late_but_is_here_already_is_not_too_late(connect: Connect) -> None:
    """The server itself was slow."""
    line = connect(Bounds(body_s=0.1))
    line.client.sendall(POST + b"Content-Length: 4\r\n\r\n{}")
    request = next(line.parser)
    gevent.sleep(0.2)
    line.client.sendall(b"  ")
    assert request.body.read() == b"{}  "
    assert not line.closed


@pytest.mark.parametrize(
    ("version", "headers", "closes"),
    [
        ("1.1", [], False),
        ("1.1", ["Connection: TE, close"], True),
        ("1.1", ["Connection: Close ,TE"], True),
        ("1.1", ["Connection: keep-alive", "Connection: close"], True),
        ("1.1", ["Connection: closed"], False),
        ("1.0", [], True),
        ("1.0", ["Connection: x, Keep-Alive"], False),
        ("1.0", ["Connection: keep-alive, close"], True),
    ],
)
def test_connection_is_a_list_of_options(line: Line, version: str, headers: list[str], closes: bool) -> None:
    line.client.sendall("\r\n".join([f"GET / HTTP/{version}", "Host: localhost", *headers, "", ""]).encode())
    assert next(line.parser).should_close() is closes


def test_work_on_requests_that_arrive_in_parts_is_done_one_piece_at_a_time() -> None:
    """However many they are, others have their share of the processor."""
    pauses: list[float] = []
    turns = Turns(now=lambda: 10.0, sleep=pauses.append)
    for _ in range(300):
        turns.wait()
    assert pauses[0] == pytest.approx(TURN_S)
    assert pauses[-1] == pytest.approx(TURN_S + 299 * PIECE_S)


def test_a_chunk_larger_than_any_body_is_refused_at_once(line: Line) -> None:
    line.client.sendall(CHUNKED + b"7FFFFFFFFFFFFFFF\r\n{}")
    with pytest.raises(RequestEntityTooLarge):
        next(line.parser).body.read()
    assert line.closed == {("body_bounds",): 1}


def test_requests_that_are_sent_together_are_answered_in_turns(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """One client that asks for many at once does not hold up those who ask for one at a time."""
    pauses: list[float] = []
    monkeypatch.setattr("serving.reading.PIPELINED", Turns(now=lambda: 10.0, sleep=pauses.append))
    line.client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    for waited in (1, 2, 2):
        next(line.parser)
        line.reader.expect_head()
        assert len(pauses) == waited
