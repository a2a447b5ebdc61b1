"""Whatever is asked of v1, it answers JSON, below 500 but for the 503s it documents, and as its document says.

Schemathesis makes requests that fit the document and requests that do not; below them stand the ones it does not make.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from jsonschema import ValidationError
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from app.factory import create_app
from tests.blueprints.openapi import document, documented, operations, validate
from tests.support import FakeClock, ScriptedMarket, new_york, settings

ENOUGH = 5_000
PER_MODE = 170
PER_DAY = 60
DAYS = {
    "today": "2025-03-11",
    "a trading day": "2025-03-10",
    "an early close": "2024-11-29",
    "a Saturday": "2025-03-08",
    "before all tickers": "1990-01-02",
    "tomorrow": "2025-03-12",
}
UNAVAILABLE = {"/predict"}
"""The paths that may say 503 in an open market with data: no pattern model ships."""

GETS = sorted(path for path, method in operations().items() if method == "GET")
POSTS = sorted(path for path, method in operations().items() if method == "POST")
REFUSED = "/health"
"""Whose documented refusals stand for those of paths that are not v1's."""


@dataclass
class Judge:
    """Looks at every answer of one server.

    asked     different requests so far
    statuses  how many of them were answered how
    compared  answers that are known to be as documented
    """

    app: Flask
    asked: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    compared: set[tuple[str, int, bytes]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.client = Client(self.app)

    def send(self, case: Case, path: str) -> None:
        """One request that Schemathesis made, sent to a path."""
        request = {**case.as_transport_kwargs(), "path": path}
        self._judge(case.method, path, self.client.open(**request), said=repr(request))

    def ask(self, method: str, path: str, **request: Any) -> Response:
        """One request of our own, its path sent as it is; gives the answer back."""
        builder = EnvironBuilder(method=method, **request)
        environ = builder.get_environ()
        environ["PATH_INFO"] = path
        response = Response(*run_wsgi_app(self.app, environ, buffered=True))
        self._judge(method, path, response, said=f"{method} {path} {request}")
        return response

    def _judge(self, method: str, path: str, response: Response, said: str) -> None:
        if said not in self.asked:
            self.asked.add(said)
            self.statuses[response.status_code] += 1
        try:
            self._look(method, path, response.status_code, response.content_type, response.get_data())
        except (AssertionError, ValidationError, ValueError) as exc:
            exc.add_note(f"asked: {said[:1_000]}")
            raise

    def _look(self, method: str, path: str, status: int, content_type: str | None, body: bytes) -> None:
        assert status < 500 or (status == 503 and path in UNAVAILABLE), f"{status}: {body[:300]!r}"
        if method == "HEAD" or status in (204, 304) or (method == "OPTIONS" and not body):
            assert body == b""
            return
        assert content_type == "application/json", f"{status} {content_type}: {body[:300]!r}"
        assert b"<html" not in body.lower()
        assert b"Traceback" not in body
        self._compare(path, status, body)

    def _compare(self, path: str, status: int, body: bytes) -> None:
        path = "/" + path.lstrip("/")
        where = path if path in operations() else REFUSED
        if (where, status, body) in self.compared:
            return
        assert where == path or status >= 400, f"{status} for a path that is not v1's"
        assert documented(where, status), f"{path} does not document {status}: {body[:300]!r}"
        validate(where, status, json.loads(body, parse_constant=_no_json))
        self.compared.add((where, status, body))


def _no_json(text: str) -> NoReturn:
    raise AssertionError(f"{text} is no JSON")


@pytest.fixture(scope="module")
def market() -> ScriptedMarket:
    """An open one, at a moment that stands."""
    return ScriptedMarket(FakeClock(new_york("2025-03-11 11:30")))


@pytest.fixture(scope="module")
def served(market: ScriptedMarket, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Of the server of all tests here, whose rate limits are out of the way."""
    values = {"market": "polygon", "polygon_api_key": "k-secret", "data_dir": tmp_path_factory.mktemp("data")}
    return Judge(create_app(settings(**values), clock=market.clock, transport=market))


@pytest.fixture
def judge(served: Judge) -> Judge:
    """Of that server, by whom nothing was asked yet. What is known to be as documented stays known."""
    return Judge(served.app, compared=served.compared)


def alike() -> list[list[str]]:
    """The documented paths, those together that take the same parameters and body."""
    groups: dict[str, list[str]] = {}
    for path, item in document()["paths"].items():
        ((method, said),) = item.items()
        takes = [method, said.get("parameters"), said.get("requestBody")]
        groups.setdefault(json.dumps(takes), []).append(path)
    return list(groups.values())


def drive(judge: Judge, paths: list[str], most: int, query: Mapping[str, str] | None = None) -> None:
    """Cases of the first path, in either mode at most `most` and the same in every run, each sent to all the paths."""
    schema = schemathesis.openapi.from_dict(copy.deepcopy(document()), config=SchemathesisConfig())
    schema.app = judge.app
    operation = schema[paths[0]][operations()[paths[0]]]
    takes_nothing = not operation.query and not operation.body
    for mode in [GenerationMode.POSITIVE] if takes_nothing else GenerationMode:

        @bounds(
            max_examples=most,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode, query=dict(query) if query else None))
        def every(case: Case) -> None:
            for path in paths:
                judge.send(case, path)

        every()


@pytest.mark.parametrize("share", [34, pytest.param(1, marks=pytest.mark.soak)], ids=["a thirty-fourth", "all"])
def test_five_thousand_generated_requests_are_answered_as_documented(
    judge: Judge, market: ScriptedMarket, share: int
) -> None:
    groups = alike()
    assert {path for paths in groups for path in paths} == set(operations())
    for paths in groups:
        drive(judge, paths, PER_MODE // share)
    assert len(judge.asked) >= ENOUGH // share
    assert set(judge.statuses) >= {200, 400, 503}
    assert all(any(f"/{ticker}" in call for ticker in ("SPY", "QQQ", "IWM", "VIXY")) for call in market.calls)


@pytest.mark.parametrize("share", [20, pytest.param(1, marks=pytest.mark.soak)], ids=["a twentieth", "all"])
@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS.keys())
def test_generated_replays_of_chosen_days_are_answered_as_documented(judge: Judge, day: str, share: int) -> None:
    drive(judge, ["/replay"], PER_DAY // share, query={"date": day})
    assert len(judge.asked) >= PER_DAY // share


def test_a_replay_before_time_zones_has_an_offset_that_browsers_read(judge: Judge) -> None:
    judge.ask("GET", "/replay", query_string="date=1883-01-01&time=04:00")


DEEP = 100_000
BODIES = {
    "nothing": b"",
    "a blank": b" ",
    "deep lists": b"[" * DEEP,
    "deep lists that end": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"fvgs":' * DEEP + b"1" + b"}" * DEEP,
    "a deep pattern": b'{"fvgs":[' + b"[" * DEEP + b"]" * DEEP + b"]}",
    "an integer of a million digits": b'{"fvgs":[' + b"9" * 1_000_000 + b"]}",
    "a number beyond floats": b'{"fvgs":[{"x":1e999999}]}',
    "a number below floats": b'{"fvgs":[{"x":-1e-999999}]}',
    "not a number": b'{"fvgs":[NaN,Infinity,-Infinity]}',
    "invalid UTF-8": b'{"fvgs":["\xff\xfe\xc0\x80"]}',
    "half a character": b'{"fvgs":["\xe2\x82"]}',
    "UTF-16": '{"fvgs":[]}'.encode("utf-16"),
    "UTF-32": '{"fvgs":[]}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"fvgs":[]}',
    "a lone surrogate": rb'{"fvgs":["\ud800"],"ticker":"\udfff"}',
    "NUL bytes": b"\x00" * 1000,
    "NUL in a string": b'{"fvgs":["a\x00b"]}',
    "an escaped NUL": rb'{"fvgs":["a\u0000b"],"ticker":"\u0000"}',
    "twice the same key": b'{"fvgs":1,"fvgs":[]}',
    "a hundred thousand patterns": b'{"fvgs":[' + b",".join([b'{"fvg_id":1}'] * 100_000) + b"]}",
    "a hundred thousand keys": b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b'"fvgs":[]}',
    "a long string": b'{"fvgs":["' + b"x" * 2_000_000 + b'"]}',
    "a list": b"[]",
    "null": b"null",
    "text": b'"fvgs"',
    "half an object": b'{"fvgs":[',
    "two objects": b'{"fvgs":[]}{"fvgs":[]}',
    "a form": b"fvgs=1&fvgs=2",
    "markup": b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
}
JSON = "application/json"
CONTENT_TYPES = [
    None,
    "",
    JSON,
    "application/json; charset=utf-16",
    "application/json; charset=no-such-thing",
    "text/html",
    "text/plain; charset=\x7f",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "x" * 5_000,
    ";;;",
]


@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.soak)], ids=["a fifth", "all"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_no_body_breaks_the_server(judge: Judge, body: bytes, share: int) -> None:
    """As JSON, and as what else it may be called: of that a fifth in CI, another one for each body."""
    for content_type in {JSON, *CONTENT_TYPES[list(BODIES.values()).index(body) % share :: share]}:
        for path in POSTS:
            judge.ask("POST", path, data=body, content_type=content_type)


@pytest.mark.parametrize("name", ["deep lists", "invalid UTF-8", "NUL bytes", "a long string"])
def test_a_body_where_none_belongs_breaks_nothing(judge: Judge, name: str) -> None:
    for path in GETS:
        judge.ask("GET", path, data=BODIES[name], content_type="application/json")


VALUES = {
    "empty": "",
    "blanks": "%20%09%0a",
    "a NUL byte": "%00",
    "a NUL byte in a symbol": "SP%00Y",
    "invalid UTF-8": "%ff%fe",
    "an overlong encoding": "%c0%80",
    "a lone surrogate": "%ed%a0%80",
    "half an escape": "%",
    "no escape": "%zz",
    "a line end": "SPY%0d%0aSet-Cookie:%20a=b",
    "other digits": "%D9%A1%D9%A1",
    "full-width letters": "%EF%BC%B3%EF%BC%B0%EF%BC%B9",
    "right to left": "%E2%80%AESPY",
    "markup": "%3Cscript%3Ealert(1)%3C/script%3E",
    "a path": "../../../../etc/passwd",
    "a query": "SPY'%20OR%20'1'='1",
    "a template": "{{7*7}}${7*7}",
    "a huge number": "9" * 5_000,
    "a negative number": "-1",
    "not a number": "NaN",
    "an exponent": "1e999",
    "a long value": "A" * 60_000,
    "ten thousand commas": "," * 10_000,
    "ten thousand symbols": ",".join(f"S{n}" for n in range(10_000)),
    "fifty long symbols": ",".join(f"{n}{'é' * 500}" for n in range(50)),
    "a year that is none": "0000-00-00",
    "the last day": "9999-12-31",
    "the first day": "0001-01-01",
    "a leap day that is none": "2025-02-29",
    "midnight": "24:00",
    "a leap second": "15:59:60",
}
NAMES = ("ticker", "tickers", "date", "time", "hour")


OTHERS = [path for path in GETS if path != "/replay"]


@pytest.mark.parametrize("share", [len(OTHERS), pytest.param(1, marks=pytest.mark.soak)], ids=["two", "all"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_no_parameter_breaks_the_server(judge: Judge, value: str, share: int) -> None:
    """Of the route that reads all of them, and of the others: of one in CI, another one for each value."""
    for path in ["/replay", *OTHERS[list(VALUES.values()).index(value) % share :: share]]:
        for name in NAMES:
            moment = "&date=2025-03-10&time=11:00" if path == "/replay" and name.startswith("ticker") else ""
            judge.ask("GET", path, query_string=f"{name}={value}{moment}")
        judge.ask("GET", path, query_string="&".join(f"{name}={value}" for name in NAMES))
        judge.ask("GET", path, query_string=value)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("ticker=SPY&ticker=QQQ&date=2025-03-10&time=11:00", 200),
        ("ticker=SPY&ticker=UVXY&date=2025-03-10&time=11:00", 200),
        ("ticker=UVXY&ticker=SPY&date=2025-03-10&time=11:00", 400),
        ("ticker=SPY&tickers=UVXY&date=2025-03-10&date=x&time=11:00&time=99:99", 200),
        ("date=x&date=2025-03-10&time=11:00", 400),
        ("&".join(["ticker=SPY"] * 1_000) + "&date=2025-03-10&hour=11", 200),
        ("ticker[]=SPY&date[$ne]=x&date=2025-03-10&time=11:00", 200),
        ("ticker=SPY;ticker=QQQ&date=2025-03-10&time=11:00", 400),
        ("=&=&&&==&date=2025-03-10&time=11:00", 200),
        ("&".join(f"k{n}={n}" for n in range(5_000)) + "&date=2025-03-10&hour=11", 200),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else str(value),
)
def test_of_a_parameter_given_twice_the_first_counts(judge: Judge, query: str, status: int) -> None:
    assert judge.ask("GET", "/replay", query_string=query).status_code == status


METHODS = ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "BREW", "get", "G" * 1_000, "*"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[:10])
def test_unusual_methods_are_answered_or_refused(judge: Judge, method: str) -> None:
    answered = {"OPTIONS": {200, 204}, "HEAD": {200, 400, 405}, "get": {200, 400, 405}}
    for path in operations():
        status = judge.ask(method, path).status_code
        assert status in answered.get(method, {400, 405, 501}), path


HEADERS: list[dict[str, str]] = [
    {"Accept": "text/html"},
    {"Accept": "\xff"},
    {"Accept-Encoding": "gzip;q=nan, *;q=0"},
    {"Accept-Language": "x" * 5_000},
    {"Range": "bytes=0-1"},
    {"If-None-Match": "*"},
    {"If-None-Match": '"' + "x" * 5_000},
    {"If-Modified-Since": "never"},
    {"Host": "a" * 300},
    {"Host": "[::1"},
    {"Host": "x.test:99999999"},
    {"X-Forwarded-For": ", ".join(["1.2.3.4"] * 500)},
    {"X-Forwarded-For": "<script>"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Content-Length": "-1"},
    {"Content-Length": "many"},
    {"Transfer-Encoding": "chunked"},
    {"Content-Encoding": "gzip"},
    {"Cookie": "a=" + "b" * 5_000 + '; ="\\'},
    {"Authorization": "Bearer \xff"},
    {"Authorization": "Basic ===="},
    {"X-API-Key": "x" * 5_000},
    {"X-Request-ID": "\x01\x7f" + "x" * 5_000},
    {"traceparent": "00-zz-zz-zz"},
    {"Origin": "null"},
    {"Origin": "x" * 5_000},
    {"Expect": "100-continue"},
    {"Connection": "Upgrade", "Upgrade": "websocket"},
]


def test_no_header_breaks_the_server(judge: Judge) -> None:
    for headers in HEADERS:
        for path, method in operations().items():
            judge.ask(method, path, headers=headers)
    assert len(judge.asked) == len(HEADERS) * len(operations())


NO_PATHS = [
    "//",
    "/mtf/",
    "/mtf//",
    "/./mtf",
    "/mtf/../health",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/mtf%2f",
    "/mtf;a=b",
    "/mtf\x00",
    "/mtf\r\nSet-Cookie:a=b",
    "/\xff\xfe",
    "/" + "a" * 60_000,
    "/" + "a/" * 10_000,
    "/MTF",
    "/mtf.json",
    "/{ticker}",
    "/static/../app/config/settings.py",
    "/.env",
    "/.git/config",
    "/openapi.yaml",
    "",
    "*",
]


def test_paths_that_are_none_get_json(judge: Judge) -> None:
    for path in NO_PATHS:
        assert judge.ask("GET", path).status_code in (400, 404, 414), path[:100]


def test_doubled_slashes_lead_nowhere(judge: Judge) -> None:
    assert {judge.ask("GET", path).status_code for path in ("//mtf", "/v1//mtf", "///health", "/mtf//")} == {404}
