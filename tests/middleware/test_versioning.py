"""Versions at the door: which one a request gets, in whose shape errors come, and how a version says that it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import http_sf
import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

import blueprints
from app.clock import Timer
from app.config.api_versions import VERSIONS, Version, Versions
from app.factory import create_app
from tests.support import FakeClock, ScriptedMarket, new_york, settings, settle

UNVERSIONED = sorted(blueprints.UNVERSIONED)
NEEDS = {"/replay": "?date=2025-03-10&time=11:00"}
Ask = Callable[..., TestResponse]


@dataclass
class Today:
    """The day by which the table is read; moved by hand."""

    day: date

    def timer(self) -> Timer:
        return Timer(epoch=self.seconds)

    def seconds(self) -> float:
        """Noon, UTC."""
        return datetime(self.day.year, self.day.month, self.day.day, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def today() -> Today:
    return Today(date(2026, 6, 1))


def started(folder: Path, clock: FakeClock, today: Today, versions: Versions = VERSIONS, **values: object) -> Flask:
    """A server with a route that only v2 has."""
    known = {"market": "polygon", "polygon_api_key": "k", "data_dir": folder, **values}
    transport = ScriptedMarket(clock)
    app = create_app(settings(**known), clock=clock, transport=transport, timer=today.timer(), versions=versions)
    app.add_url_rule("/v2/ping", "v2_ping", lambda: {"pong": True})
    return app


@pytest.fixture
def build(clock: FakeClock, today: Today, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Flask]:
    """Builds a server on a table of the test's choice."""

    def made(versions: Versions = VERSIONS, **values: object) -> Flask:
        return started(tmp_path_factory.mktemp("d"), clock, today, versions, **values)

    return made


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """One server for all tests that only ask."""
    clock = FakeClock(new_york("2025-03-11 11:30"))
    return started(tmp_path_factory.mktemp("d"), clock, Today(date(2026, 6, 1))).test_client().get


def listed(headers: Headers, name: str) -> set[str]:
    """The members of a header that is a list of tokens, lower case."""
    value = ", ".join(headers.getlist(name))
    return {str(token).lower() for token, _ in http_sf.parse(value.encode(), tltype="list")} if value else set()


def is_v1_error(answer: TestResponse, code: str) -> bool:
    body = answer.get_json()
    return (
        answer.content_type == "application/json"
        and set(body) == {"error", "error_code"}
        and body["error_code"] == code
    )


def is_v2_error(answer: TestResponse, code: str) -> bool:
    body = answer.get_json()
    members = {"type", "title", "status", "detail", "instance", "error_code", "request_id", "trace_id"}
    return (
        answer.content_type == "application/problem+json"
        and set(body) == members
        and (body["error_code"], body["status"]) == (code, answer.status_code)
    )


HEADERS = {
    "none": None,
    "1": "1",
    "2": "2",
    "3": "3",
    "abc": "abc",
    "empty": "",
    "1,2": "1, 2",
    "_1_": " 1 ",
    "01": "01",
    "latin": "\u00b2",
    "arabic": "\u0661",
    "fullwidth": "\uff11",
    "utf8": "\u0661".encode().decode("latin-1"),
    "-1": "-1",
    "1.0": "1.0",
    "99999": "99999",
}
"""Values of X-API-Version; those after `_1_` are nonsense everywhere."""

OUTCOMES = {
    "ok1": (200, None, "1"),
    "ok2": (200, None, "2"),
    "none1": (404, "NOT_FOUND", "1"),
    "none2": (404, "NOT_FOUND", "2"),
    "clash1": (400, "VERSION_CONFLICT", "1"),
    "clash2": (400, "VERSION_CONFLICT", "2"),
    "odd1": (400, "UNSUPPORTED_VERSION", "1"),
    "odd2": (400, "UNSUPPORTED_VERSION", "2"),
    "nobody": (404, "NOT_FOUND", None),
}
"""Status, error code, echo; an error has the shape of the version that is echoed, of v1 where none is."""

#                    header:  absent   1         2         3, nonsense  " 1 "
MATRIX: dict[str, tuple[str, ...]] = {
    "/swing": ("ok1", "ok1", "none2", "odd1", "ok1"),
    "/ping": ("none1", "none1", "ok2", "odd1", "none1"),
    "/nothing": ("none1", "none1", "none2", "odd1", "none1"),
    "/v1/swing": ("ok1", "ok1", "clash1", "odd1", "ok1"),
    "/v1/ping": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v1/nothing": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v1": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v1/": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v2/ping": ("ok2", "clash2", "ok2", "odd2", "clash2"),
    "/v2/swing": ("none2", "clash2", "none2", "odd2", "clash2"),
    "/v2/nothing": ("none2", "clash2", "none2", "odd2", "clash2"),
    "/v2": ("none2", "clash2", "none2", "odd2", "clash2"),
    "/v3/swing": ("nobody",) * 5,
    "/v3/ping": ("nobody",) * 5,
    "/v0/swing": ("nobody",) * 5,
    "/v10/swing": ("nobody",) * 5,
    "/v01/swing": ("none1", "none1", "none2", "odd1", "none1"),
    "/v02/ping": ("none1", "none1", "none2", "odd1", "none1"),
    "/v1x/swing": ("none1", "none1", "none2", "odd1", "none1"),
    "/V1/swing": ("none1", "none1", "none2", "odd1", "none1"),
    "/v1/v1/swing": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v1/v2/ping": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v2/v1/swing": ("none2", "clash2", "none2", "odd2", "clash2"),
    "/v2/v2/ping": ("none2", "clash2", "none2", "odd2", "clash2"),
    "/v1/livez": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v1/versions": ("none1", "none1", "clash1", "odd1", "none1"),
    "/v2/livez": ("none2", "clash2", "none2", "odd2", "clash2"),
    "/livez/": ("none1", "none1", "none2", "odd1", "none1"),
}
COLUMNS = {"none": 0, "1": 1, "2": 2, "_1_": 4}


def request_by(ask: Ask, path: str, header: str | None) -> TestResponse:
    """Past the client's own care for headers: the server sees the value as it stands."""
    return ask(path, environ_overrides={} if header is None else {"HTTP_X_API_VERSION": header})


@pytest.mark.parametrize("path", MATRIX)
def test_a_path_and_a_header_give_this_version_and_this_error(ask: Ask, path: str) -> None:
    for name, header in HEADERS.items():
        outcome = MATRIX[path][COLUMNS.get(name, 3)]
        status, code, echo = OUTCOMES[outcome]
        answer = request_by(ask, path, header)
        case = f"{path} with X-API-Version {name}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code == status, case
        assert answer.headers.getlist("X-API-Version") == ([] if echo is None else [echo]), case
        if code is not None:
            assert is_v2_error(answer, code) if echo == "2" else is_v1_error(answer, code), case
        vary = listed(answer.headers, "Vary")
        assert "x-api-version" in vary, case
        assert ("origin" in vary) is (echo == "2"), case


def test_a_version_that_is_not_there_is_answered_with_those_that_are(ask: Ask) -> None:
    assert "must be the number of a version, 1 or 2;" in request_by(ask, "/swing", "7").get_json()["error"]


@pytest.mark.parametrize("path", UNVERSIONED)
def test_unversioned_paths_are_of_no_version_whatever_the_header_says(ask: Ask, path: str) -> None:
    for name, header in HEADERS.items():
        answer = request_by(ask, path, header)
        assert answer.status_code == 200, name
        assert "X-API-Version" not in answer.headers
        assert "x-api-version" not in listed(answer.headers, "Vary")


@pytest.mark.parametrize(
    ("path", "header"), [("/swing", "2"), ("/mtf", "2"), ("/daily_signals", "2"), ("/v2/trading_directions", None)]
)
def test_v1_routes_are_not_there_in_v2(ask: Ask, path: str, header: str | None) -> None:
    answer = request_by(ask, path, header)
    assert answer.status_code == 404
    assert is_v2_error(answer, "NOT_FOUND")
    assert answer.get_json()["instance"] == path


@pytest.mark.parametrize("path", ["/trading_directions", "/trading-directions"])
def test_the_header_asks_for_the_signals_of_v2_under_both_spellings(ask: Ask, path: str) -> None:
    answer = request_by(ask, path, "2")
    assert answer.headers["X-API-Version"] == "2"
    assert answer.get_json() == ask("/v2/trading-directions").get_json()
    assert (
        request_by(ask, f"{path}?tickers=SPY", "2").get_json() == ask("/v2/trading-directions?tickers=SPY").get_json()
    )
    problem = request_by(ask, f"{path}?colour=red", "2")
    assert (problem.status_code, problem.get_json()["instance"]) == (400, path)
    assert set(request_by(ask, path, None).get_json()) > {"tickers", "trading_rules"}


@pytest.mark.parametrize("path", ["/v2/swing", "/v9/swing", "/v1/v1/swing"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_do_not_open_other_paths(build: Callable[..., Flask], path: str, method: str) -> None:
    assert build().test_client().open(path, method=method).status_code == 404


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("//swing", "1"),
        ("/v1//swing", "1"),
        ("/v1///swing", "1"),
        pytest.param("//v2/ping", "2"),
        pytest.param("///v2/ping", "2"),
        pytest.param("/v1//v2/ping", "2"),
        pytest.param("/v2//ping", "2"),
        ("/v1/no//thing", "1"),
    ],
)
def test_doubled_slashes_do_not_open_another_version_and_are_answered_in_json(
    ask: Ask, path: str, version: str
) -> None:
    answer = ask("/", environ_overrides={"PATH_INFO": path})
    assert answer.content_type in ("application/json", "application/problem+json")
    assert answer.status_code in (200, 404)
    if answer.status_code == 200:
        assert answer.headers["X-API-Version"] == version


def without_uptime(answer: TestResponse) -> object:
    """The bytes; of the one answer that tells the seconds since the start, the rest."""
    body = answer.get_json()
    return {k: v for k, v in body.items() if k != "uptime_seconds"} if "uptime_seconds" in body else answer.data


def test_with_and_without_v1_the_bytes_are_the_same(build: Callable[..., Flask]) -> None:
    app = build()
    client = app.test_client()
    rules = [r.rule for r in app.url_map.iter_rules() if "GET" in (r.methods or ())]
    others = ("/v2/", *blueprints.UNVERSIONED_BELOW)
    rules = [rule for rule in rules if rule not in UNVERSIONED and not rule.startswith(others)]
    assert len(rules) >= 15
    for rule in rules:
        query = NEEDS.get(rule, "?a=1")
        client.get(rule + query)
        settle(app)
        plain, prefixed = client.get(rule + query), client.get("/v1" + rule + query)
        assert (plain.status_code, prefixed.status_code) == (200, 200), rule
        assert without_uptime(plain) == without_uptime(prefixed), rule
        assert prefixed.headers["X-API-Version"] == "1"
        assert plain.headers.get("ETag") == prefixed.headers.get("ETag")


@pytest.mark.parametrize("path", ["/swing", "/trading_directions?ticker=SPY", "/mtf"])
def test_prefixed_answers_that_were_not_kept_are_the_same_too(build: Callable[..., Flask], path: str) -> None:
    first, second = build().test_client(), build().test_client()
    for client in (first, second):
        client.get("/mtf")  # so that both know their bars
    assert first.get(path).get_json() == second.get("/v1" + path).get_json()


# --- the end of a version ---

DEPRECATED, SUNSET = date(2026, 3, 1), date(2026, 9, 1)
BEFORE_SUNSET = SUNSET - timedelta(days=1)
CONTRACT = "c" * 64


def with_v1_ending(sunset: date | None = SUNSET) -> Versions:
    old = Version(
        1,
        released=date(2026, 1, 3),
        deprecated=DEPRECATED,
        sunset=sunset,
        successor=2,
        guide="/guides/v1",
        contract=CONTRACT,
    )
    return Versions([old, Version(2, released=date(2026, 2, 1), guide="/guides/v2", contract=CONTRACT)])


def with_v2_ending() -> Versions:
    old = Version(
        2,
        released=date(2026, 1, 10),
        deprecated=DEPRECATED,
        sunset=SUNSET,
        successor=3,
        guide="https://example.org/two?a=1,2",
        contract=CONTRACT,
    )
    return Versions([Version(1, released=date(2026, 1, 3), contract=CONTRACT), old, Version(3, guide="/guides/v3")])


def links(headers: Headers) -> dict[str, str]:
    """Targets of Link by relation. Its syntax is that of structured fields but for the target (RFC 8288), which is quoted."""
    found = {}
    for header in headers.getlist("Link"):
        for link in parsed_links(header):
            found[link["rel"]] = link["url"]
    return found


def parsed_links(header: str) -> list[dict[str, str]]:
    quoted = "".join('"' if character in "<>" else character for character in header)
    members: Any = http_sf.parse(quoted.encode(), tltype="list")
    return [{"url": target, **parameters} for target, parameters in members]


def farewell(answer: TestResponse) -> tuple[object, object, dict[str, str]]:
    """Deprecation as a moment, Sunset as a moment, Link by relation; each header once at most."""
    assert max(len(answer.headers.getlist(name)) for name in ("Deprecation", "Sunset", "Link")) <= 1
    deprecation, sunset = answer.headers.get("Deprecation"), answer.headers.get("Sunset")
    if deprecation is not None:
        assert deprecation.startswith("@")
    moment: Any = (None, {}) if deprecation is None else http_sf.parse(deprecation.encode(), tltype="item")
    assert moment[1] == {}
    return moment[0], sunset and parsedate_to_datetime(sunset), links(answer.headers)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


V1_LINKS = {"deprecation": "/guides/v1", "sunset": "/guides/v1", "successor-version": "/guides/v2"}
V1_FAREWELL = (midnight(DEPRECATED), midnight(SUNSET), V1_LINKS)
NO_FAREWELL = (None, None, {})
V1_ANSWERS = {
    "good": ("GET", "/swing", {}, 200),
    "good, by path": ("GET", "/v1/swing", {}, 200),
    "good, by header": ("GET", "/swing", {"X-API-Version": "1"}, 200),
    "not kept": ("GET", "/replay?date=2025-03-10&time=11:00", {}, 200),
    "unchanged": ("GET", "/swing", {"If-None-Match": "*"}, 304),
    "head": ("HEAD", "/swing", {}, 200),
    "options": ("OPTIONS", "/swing", {}, 200),
    "unknown ticker": ("GET", "/swing?ticker=XYZ", {}, 400),
    "bad date": ("GET", "/replay?date=x&time=11:00", {}, 400),
    "not there": ("GET", "/nothing", {}, 404),
    "wrong method": ("POST", "/swing", {}, 405),
    "no body": ("POST", "/batch_predict", {}, 400),
    "no model": ("POST", "/predict", {"Content-Type": "application/json"}, 400),
}


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """One server for all tests that only ask what it says of the end of v1."""
    clock = FakeClock(new_york("2025-03-11 11:30"))
    return started(tmp_path_factory.mktemp("d"), clock, Today(date(2026, 6, 1)), with_v1_ending())


@pytest.mark.parametrize("name", V1_ANSWERS)
def test_every_answer_of_an_ending_version_says_when_it_ends(ending: Flask, name: str) -> None:
    method, path, headers, status = V1_ANSWERS[name]
    client = ending.test_client()
    client.get("/swing")
    answer = client.open(path, method=method, headers=headers)
    assert answer.status_code == status
    assert farewell(answer) == V1_FAREWELL


CONFUSED = {
    "header says another": ("/v1/swing", {"X-API-Version": "2"}, 400),
    "header is nonsense": ("/swing", {"X-API-Version": "abc"}, 400),
    "prefix twice": ("/v1/v1/swing", {}, 404),
    "unversioned path below it": ("/v1/livez", {}, 404),
}


@pytest.mark.parametrize("name", CONFUSED)
def test_errors_about_the_version_itself_say_when_it_ends(ending: Flask, name: str) -> None:
    path, headers, status = CONFUSED[name]
    answer = ending.test_client().get(path, headers=headers)
    assert (answer.status_code, answer.headers["X-API-Version"]) == (status, "1")
    assert farewell(answer) == V1_FAREWELL


@pytest.mark.parametrize("path", ["/v2/ping", "/v2/nothing", "/livez", "/versions", "/metrics", "/v3/swing"])
def test_nothing_else_says_that_it_ends(ending: Flask, path: str) -> None:
    assert farewell(ending.test_client().get(path)) == NO_FAREWELL


def test_an_ending_v2_says_so_and_v1_does_not(build: Callable[..., Flask]) -> None:
    client = build(with_v2_ending()).test_client()
    told = {
        "deprecation": "https://example.org/two?a=1,2",
        "sunset": "https://example.org/two?a=1,2",
        "successor-version": "/guides/v3",
    }
    for path in ("/v2/ping", "/v2/nothing"):
        assert farewell(client.get(path)) == (midnight(DEPRECATED), midnight(SUNSET), told)
    assert farewell(client.get("/swing")) == NO_FAREWELL


def test_a_version_refused_for_too_many_requests_says_when_it_ends(build: Callable[..., Flask]) -> None:
    client = build(with_v1_ending(), rate_limit_analysis=1).test_client()
    assert client.get("/swing").status_code == 200
    for path in ("/swing", "/mtf"):
        answer = client.get(path)
        assert answer.status_code == 429
        assert farewell(answer) == V1_FAREWELL


def test_without_a_sunset_there_is_none_to_tell(build: Callable[..., Flask], today: Today) -> None:
    today.day = date(2036, 1, 1)
    answer = build(with_v1_ending(None)).test_client().get("/swing")
    told = {name: guide for name, guide in V1_LINKS.items() if name != "sunset"}
    assert answer.status_code == 200
    assert farewell(answer) == (midnight(DEPRECATED), None, told)


@pytest.mark.parametrize("day", [SUNSET, SUNSET + timedelta(days=1), date(2036, 1, 1)])
def test_from_the_sunset_on_a_version_is_gone_with_its_headers(
    build: Callable[..., Flask], today: Today, day: date
) -> None:
    app = build(with_v1_ending())
    client, today.day = app.test_client(), BEFORE_SUNSET
    before = client.get("/swing")
    assert (before.status_code, farewell(before)) == (200, V1_FAREWELL)
    today.day = day
    for path in ("/swing", "/v1/swing", "/nothing", "/v1/health", "/replay"):
        answer = client.get(path)
        assert answer.status_code == 410, path
        assert is_v1_error(answer, "GONE")
        assert answer.headers["X-API-Version"] == "1"
        assert farewell(answer) == V1_FAREWELL
    assert client.post("/batch_predict", json={"fvgs": []}).status_code == 410
    assert client.get("/v2/ping").get_json() == {"pong": True}
    assert client.get("/ping", headers={"X-API-Version": "2"}).status_code == 200
    assert [client.get(path).status_code for path in UNVERSIONED] == [200] * len(UNVERSIONED)


def test_a_later_version_is_gone_in_its_own_shape(build: Callable[..., Flask], today: Today) -> None:
    client, today.day = build(with_v2_ending()).test_client(), BEFORE_SUNSET
    assert client.get("/v2/ping").status_code == 200
    today.day = SUNSET
    answer = client.get("/v2/ping")
    assert answer.status_code == 410
    assert is_v2_error(answer, "GONE")
    assert client.get("/swing").status_code == 200


def test_the_sunset_comes_at_midnight_utc(
    build: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, today: Today
) -> None:
    at = midnight(SUNSET).timestamp()
    moment = [at - 0.001]
    monkeypatch.setattr(today, "seconds", lambda: moment[0])
    client = build(with_v1_ending()).test_client()
    assert client.get("/swing").status_code == 200
    moment[0] = at
    assert client.get("/swing").status_code == 410


STATUS_BY_DAY = {
    DEPRECATED - timedelta(days=1): "current",
    DEPRECATED: "deprecated",
    BEFORE_SUNSET: "deprecated",
    SUNSET: "gone",
}


@pytest.mark.parametrize("day", STATUS_BY_DAY)
def test_the_list_of_versions_says_the_same(build: Callable[..., Flask], today: Today, day: date) -> None:
    client, today.day = build(with_v1_ending()).test_client(), day
    first, second = client.get("/versions").get_json()["versions"]
    assert first == {
        "version": 1,
        "status": STATUS_BY_DAY[day],
        "released": "2026-01-03",
        "deprecated": "2026-03-01",
        "sunset": "2026-09-01",
        "successor": 2,
        "guide": "/guides/v1",
        "contract_sha256": CONTRACT,
    }
    assert (second["version"], second["status"]) == (2, "current")
    assert (client.get("/swing").status_code == 410) is (first["status"] == "gone")


def test_the_shipped_list_is_v1_current_and_v2_current(ask: Ask) -> None:
    listed_ = ask("/versions").get_json()["versions"]
    assert [(v["version"], v["status"]) for v in listed_] == [(1, "current"), (2, "current")]
    assert farewell(ask("/swing")) == NO_FAREWELL


@pytest.mark.parametrize("path", ["metrics", "metrics/", "foo:metrics", "", "*"])
def test_a_path_without_its_slash_is_nowhere(serve: Callable[..., Flask], path: str) -> None:
    """Some servers hand such targets on, and the routes would take them for their own."""
    environ = EnvironBuilder("/", environ_overrides={"REMOTE_ADDR": "8.8.8.8"}).get_environ()
    told: list[str] = []
    body = b"".join(serve().wsgi_app({**environ, "PATH_INFO": path}, lambda status, *_: told.append(status)))
    assert told == ["404 Not Found"]
    assert json.loads(body)["error_code"] == "NOT_FOUND"
