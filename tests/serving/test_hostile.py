"""What a deployed server makes of requests that are none, or mean harm: a refusal in JSON, soon, and it goes on serving."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPResponse
from select import select
from typing import Any, NamedTuple

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.test_gunicorn import Server, free_port, started
from tests.waiting import PATIENCE_S, wait_for

SOON_S = 5.0
ARRIVAL_S = 10.0
"""serving/bounds.py: in so many seconds a body must be here."""

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"


class Hostile(NamedTuple):
    """The server, and its operations port."""

    server: Server
    port: int
    operations: str


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    folder, operations = tmp_path_factory.mktemp("hostile"), free_port()
    limits = {f"RATE_LIMIT_{group}": 1_000_000 for group in ("DIRECTIONS", "ANALYSIS", "REPLAY", "OTHER")}
    values: dict[str, Any] = {"MARKET": "recorded", "DATA_DIR": folder / "data", "OPERATIONS_PORT": operations}
    values |= {"HOST": "127.0.0.1", "LOG_LEVEL": "INFO", "LOG_FORMAT": "auto", **limits}
    with started(COMMAND, folder / "log", **values) as server:
        server.wait_ready()
        yield Hostile(server, int(server.base.rsplit(":", 1)[1]), f"http://127.0.0.1:{operations}")


@pytest.fixture(autouse=True)
def _still_serves(hostile: Hostile) -> Iterator[None]:
    """After each test the server is the same process, answers, and has written nothing but JSON, and no trace."""
    before = len(hostile.server.log.read_text())
    yield
    assert hostile.server.process.poll() is None
    assert hostile.server.get("/livez").json() == {"status": "ok"}
    assert "Traceback" not in hostile.server.log.read_text()[before:]
    assert all(isinstance(json.loads(line), dict) for line in hostile.server.lines())


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


def connected(hostile: Hostile) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hostile.port), timeout=PATIENCE_S)


def received(connection: socket.socket, method: str, began: float) -> Answer:
    response = HTTPResponse(connection, method=method)
    response.begin()
    return Answer(
        response.status,
        {name.lower(): value for name, value in response.getheaders()},
        response.read(),
        time.monotonic() - began,
    )


def sent(hostile: Hostile, data: bytes, method: str = "GET") -> Answer:
    """The answer to these bytes, on a connection of their own."""
    with closing(connected(hostile)) as connection:
        began = time.monotonic()
        connection.sendall(data)
        return received(connection, method, began)


def refuse_unless_json(answer: Answer) -> None:
    """An error as v1 has it, without a word of HTML, code or a trace."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert {"error", "error_code"} <= set(body)
    text = answer.body.decode().lower()
    assert not [word for word in ("<html", "<!doctype", "traceback", "gunicorn", ".py", "werkzeug") if word in text]
    assert answer.seconds < SOON_S


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + b"".join(h + b"\r\n" for h in headers) + b"\r\n"


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + length + b"Content-Type: application/json\r\n"
    return head + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


UNREADABLE: dict[str, tuple[bytes, set[int]]] = {
    "not http": (b"hello there\r\n\r\n", {400}),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "no path": (b"GET\r\n\r\n", {400}),
    "four words": (b"GET / swing HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "lower-case method": (b"get /health HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "long method": (b"A" * 100 + b" /health HTTP/1.1\r\n" + HOST + b"\r\n", {400}),
    "line of 5000": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {414}),
    "query of 5000": (b"GET /health?" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {414}),
    "header of 9000": (get(b"/health", b"X-Long: " + b"a" * 9000), {431}),
    "100 headers": (get(b"/health", *(b"X-%d: 1" % number for number in range(100))), {431}),
    "http 9.9": (b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n", {505}),
    "http 2.0": (b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n", {505}),
    "version that is none": (b"GET /health HTTP/x.y\r\n" + HOST + b"\r\n", {400}),
    "address without a host": (get(b"http:///livez"), {400}),
    "address of another scheme": (get(b"ftp://localhost/livez"), {400}),
    "unknown method": (b"BREW /health HTTP/1.1\r\n" + HOST + b"\r\n", {501}),
    "unknown expectation": (get(b"/health", b"Expect: foo"), {417}),
    "no version": (b"GET /health\r\n" + HOST + b"\r\n", {400}),
    "header without colon": (get(b"/health", b"nonsense"), {400}),
    "space before colon": (get(b"/health", b"X-A : 1"), {400}),
    "empty header name": (get(b"/health", b": 1"), {400}),
    "null in a header": (get(b"/health", b"X-A: a\x00b"), {400}),
    "newline in a header": (get(b"/health", b"X-A: a\rb"), {400}),
    "folded header": (get(b"/health", b"X-A: a\r\n b"), {400}),
    "length is no number": (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: ten\r\n\r\n", {400}),
    "negative length": (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", {400}),
    "two lengths": (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
    "length and chunks": (
        b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "unknown coding": (b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: zip\r\n\r\n", {501}),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_request_is_refused_and_the_connection_closed(hostile: Hostile, name: str) -> None:
    data, statuses = UNREADABLE[name]
    with closing(connected(hostile)) as connection:
        began = time.monotonic()
        connection.sendall(data)
        answer = received(connection, "GET", began)
        assert answer.status in statuses
        refuse_unless_json(answer)
        assert answer.headers["connection"] == "close"
        with suppress(ConnectionResetError):  # it did not care to read the rest
            assert connection.recv(100) == b""


ODD_BUT_READABLE: dict[str, tuple[bytes, set[int]]] = {
    "script name": (get(b"/health", b"SCRIPT_NAME: /health"), {200, 400}),
    "script-name": (get(b"/health", b"Script-Name: /health"), {200, 400}),
    "remote_addr": (get(b"/metrics", b"REMOTE_ADDR: 127.0.0.1", b"X-Forwarded-For: 203.0.113.9"), {400, 403}),
    "null in the path": (get(b"/a%00b"), {404, 400}),
    "null after a route": (get(b"/health%00"), {404, 400}),
    "newline in the path": (get(b"/a%0ab"), {404, 400}),
    "carriage return": (get(b"/a%0d%0aX-Evil:%201"), {404, 400}),
    "broken percent": (get(b"/a%zz"), {404, 400}),
    "no utf-8": (get(b"/%ff%fe"), {404, 400}),
    "raw bytes": (get(b"/\xff\xfe"), {404, 400}),
    "climbing": (get(b"/../../etc/passwd"), {404, 400}),
    "climbing, hidden": (get(b"/%2e%2e/%2e%2e/etc/passwd"), {404, 400}),
    "other server": (get(b"http://evil.example/health"), {200, 400, 404}),
    "star": (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {200, 400, 404}),
    "trace": (b"TRACE /health HTTP/1.1\r\n" + HOST + CLOSE + b"X-Secret: 7\r\n\r\n", {400, 404, 405}),
    "connect": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", {400, 404, 405}),
    "upgrade that is ignored": (get(b"/livez", b"Connection: Upgrade", b"Upgrade: websocket"), {200}),
    "address": (get(b"http://localhost/livez"), {200}),
    "expectation without a body": (get(b"/livez", b"Expect: 100-continue"), {200}),
    "giant chunk": (
        b"POST /batch_predict HTTP/1.1\r\n"
        + HOST
        + CLOSE
        + b"Transfer-Encoding: chunked\r\n\r\n7FFFFFFFFFFFFFFF\r\n{}",
        {413},
    ),
    "two versions": (get(b"/health", b"X-API-Version: 1", b"X-API-Version: 2"), {400}),
    "the same version twice": (get(b"/health", b"X-API-Version: 1", b"X-API-Version: 1"), {400}),
    "odd version": (get(b"/health", b"X-API-Version: \xb2"), {400}),
    "no such version": (get(b"/v3/health"), {404}),
    "length of a billion": (
        b"POST /batch_predict HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: 1000000000\r\n\r\n{}",
        {413},
    ),
    "length of more digits": (
        b"POST /batch_predict HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n{}",
        {400, 413},
    ),
    "broken chunk": (
        b"POST /batch_predict HTTP/1.1\r\n" + HOST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        {400},
    ),
    "negative chunk": (
        b"POST /batch_predict HTTP/1.1\r\n" + HOST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        {400},
    ),
    "chunk without end": (
        b"POST /batch_predict HTTP/1.1\r\n" + HOST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        {400},
    ),
    "nested": (post(b"/batch_predict", b"[" * 100_000 + b"]" * 100_000), {400}),
    "nested in an object": (post(b"/batch_predict", b'{"fvgs":' * 50_000 + b"1" + b"}" * 50_000), {400}),
    "nested in the list": (post(b"/batch_predict", b'{"fvgs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), {400}),
    "number": (post(b"/batch_predict", b'{"fvgs":' + b"9" * 1_000_000 + b"}"), {400}),
    "negative number": (post(b"/batch_predict", b'{"fvgs":-' + b"1" * 999_000 + b"}"), {400}),
    "exponent": (post(b"/batch_predict", b'{"fvgs":1e999999999}'), {400}),
    "not utf-8": (post(b"/batch_predict", b'{"fvgs":"\xff\xfe"}'), {400}),
    "nothing": (post(b"/batch_predict", b""), {400}),
    "just too large": (post(b"/batch_predict", b"x" * (1 << 20) + b"x"), {413}),
}


@pytest.mark.parametrize("name", ODD_BUT_READABLE)
def test_what_is_odd_is_refused_in_json(hostile: Hostile, name: str) -> None:
    data, statuses = ODD_BUT_READABLE[name]
    answer = sent(hostile, data)
    assert answer.status in statuses, answer.body[:300]
    assert answer.seconds < SOON_S
    assert b"X-Secret" not in answer.body
    assert b"<html" not in answer.body.lower()
    assert "x-evil" not in answer.headers
    if answer.status != 200:
        refuse_unless_json(answer)


def test_an_answer_names_no_higher_version_than_the_server_speaks(hostile: Hostile) -> None:
    with closing(connected(hostile)) as connection:
        connection.sendall(b"GET /livez HTTP/1.2\r\n" + HOST + CLOSE + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_nobody_is_told_to_go_on_where_no_body_comes(hostile: Hostile) -> None:
    with closing(connected(hostile)) as connection:
        connection.sendall(get(b"/livez", b"Expect: 100-continue"))
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_number_too_long_inside_a_list_does_not_hold_the_server(hostile: Hostile) -> None:
    answer = sent(hostile, post(b"/batch_predict", b'{"fvgs":[' + b"9" * 1_000_000 + b"]}"))
    assert answer.status in (200, 400)
    assert answer.seconds < SOON_S
    assert "application/json" in answer.headers["content-type"]


def test_a_header_cannot_move_the_server_below_a_path(hostile: Hostile) -> None:
    """gunicorn knows SCRIPT_NAME as a header; from outside it must not turn one path into another."""
    for header in (b"SCRIPT_NAME: /v3", b"Script-Name: /v3"):
        answer = sent(hostile, get(b"/v3/livez", header))
        assert answer.status in (400, 404)
        refuse_unless_json(answer)


@pytest.mark.soak
def test_a_body_that_does_not_come_is_408_after_ten_seconds_and_the_connection_is_closed(hostile: Hostile) -> None:
    """Meanwhile others are answered. In CI tests/serving/test_lifecycle.py asks for the same of a shorter bound."""
    with closing(connected(hostile)) as connection:
        began = time.monotonic()
        connection.sendall(b"POST /batch_predict HTTP/1.1\r\n" + HOST + b"Content-Length: 20\r\n\r\n{")
        assert hostile.server.get("/livez").status_code == 200
        assert not select([connection], [], [], 0)[0], "the body is still waited for"
        answer = received(connection, "POST", began)
        assert answer.status == 408
        assert answer.json()["error_code"] == "REQUEST_TIMEOUT"
        assert answer.headers["content-type"] == "application/json"
        assert ARRIVAL_S - 1 < answer.seconds < 2 * ARRIVAL_S
        assert answer.headers["connection"] == "close"
        assert connection.recv(100) == b""


def test_after_head_of_an_error_the_connection_is_still_in_step(hostile: Hostile) -> None:
    with closing(connected(hostile)) as connection:
        began = time.monotonic()
        connection.sendall(b"HEAD /v3/health HTTP/1.1\r\n" + HOST + b"\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert time.monotonic() - began < SOON_S


def test_the_operations_port_serves_the_metrics_and_the_usual_one_only_its_own_machine(hostile: Hostile) -> None:
    answer = requests.get(f"{hostile.operations}/metrics", headers={"X-Real-IP": "203.0.113.9"}, timeout=PATIENCE_S)
    assert answer.status_code == 200
    assert requests.get(f"{hostile.operations}/models", timeout=PATIENCE_S).status_code == 200, (
        "every route answers there"
    )
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"predict_limit_decisions", "predict_kept_answers", "predict_access_lines_lost"} <= names
    public = f"{hostile.server.base}/metrics"
    assert requests.get(public, timeout=PATIENCE_S).status_code == 200
    for name in ("X-Real-IP", "X-Forwarded-For", "Forwarded"):
        assert requests.get(public, headers={name: "203.0.113.9"}, timeout=PATIENCE_S).status_code == 403


def test_a_proxys_visitor_finds_no_other_way_to_the_metrics(hostile: Hostile) -> None:
    answer = sent(hostile, get(b"//metrics", b"X-Forwarded-For: 203.0.113.9"))
    assert answer.status in (403, 404)


def test_what_was_asked_stands_in_the_log_one_line_each(hostile: Hostile) -> None:
    ids = [f"hostile-{number}" for number in range(20)]
    for number in ids:
        sent(hostile, get(b"/a%0a%7b%7d?secret=" + number.encode(), b"X-Request-Id: " + number.encode()))
    wait_for(lambda: any(ids[-1] in line for line in hostile.server.lines()))
    lines = [json.loads(line) for line in hostile.server.lines()]
    asked = [line for line in lines if str(line.get("request_id")).startswith("hostile-")]
    assert [line["request_id"] for line in asked] == ids
    assert {line["status"] for line in asked} == {404}
    assert not [line for line in lines if "secret=" in json.dumps(line)]
