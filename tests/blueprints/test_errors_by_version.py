"""Every error in the shape of the version that was asked for; ids of requests; what a fault says, and what it does not."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Blueprint, Flask, request
from werkzeug import exceptions as http
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from app import errors
from app.factory import create_app
from app.telemetry import logs
from blueprints.error_codes import entry_of
from middleware.identity import ApiKeyMiddleware
from tests.support import FakeClock, ScriptedMarket, new_york, settings

SECRET = "hidden-in-a-fault"
MADE_ID = re.compile(r"[0-9a-f]{32}").fullmatch
PROBLEM = ["type", "title", "status", "detail", "instance", "error_code", "request_id", "trace_id"]
PREFIXES = {"v1": "", "v2": "/v2"}


class Case(NamedTuple):
    """An error that a route raises, and what becomes of it."""

    error: Callable[[], Exception]
    status: int
    code: str
    retry_after: str | None = None


def foreseen(message: str = "it is so") -> dict[str, Case]:
    return {
        "BadRequest": Case(lambda: errors.BadRequest(message), 400, "MISSING_PARAMETER"),
        "BadRequest with a code": Case(lambda: errors.BadRequest(message, code="INVALID_DATE"), 400, "INVALID_DATE"),
        "Unauthorized": Case(lambda: errors.Unauthorized(message), 401, "UNAUTHORIZED"),
        "Forbidden": Case(lambda: errors.Forbidden(message), 403, "FORBIDDEN"),
        "NotFound": Case(lambda: errors.NotFound(message), 404, "NOT_FOUND"),
        "Gone": Case(lambda: errors.Gone(message), 410, "GONE"),
        "TryLater": Case(lambda: errors.TryLater(message, retry_after=7.2), 503, "DATA_FETCH_ERROR", "8"),
        "Upstream": Case(lambda: errors.Upstream(message, retry_after=1), 503, "DATA_FETCH_ERROR", "1"),
        "BudgetSpent": Case(lambda: errors.BudgetSpent(message), 503, "RATE_LIMITED", "60"),
        "RateLimited": Case(lambda: errors.RateLimited(message, retry_after=3), 429, "TOO_MANY_REQUESTS", "3"),
        "NotEntitled": Case(lambda: errors.NotEntitled(message), 503, "DATA_FETCH_ERROR"),
        "Unavailable": Case(lambda: errors.Unavailable(message, part="models"), 503, "PIPELINE_UNAVAILABLE"),
    }


WERKZEUG = {
    "400": Case(lambda: http.BadRequest(), 400, "MISSING_PARAMETER"),
    "404": Case(lambda: http.NotFound(), 404, "NOT_FOUND"),
    "405": Case(lambda: http.MethodNotAllowed(["GET", "PUT"]), 405, "METHOD_NOT_ALLOWED"),
    "413": Case(lambda: http.RequestEntityTooLarge(), 413, "PAYLOAD_TOO_LARGE"),
    "415": Case(lambda: http.UnsupportedMediaType(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "429": Case(lambda: http.TooManyRequests(retry_after=9), 429, "TOO_MANY_REQUESTS", "9"),
    "lost client": Case(lambda: http.ClientDisconnected(), 408, "REQUEST_TIMEOUT"),
}
UNFORESEEN = {
    "RuntimeError": lambda: RuntimeError(SECRET),
    "ZeroDivisionError": lambda: 1 // 0,
    "KeyError": lambda: {}[SECRET],
    "BrokenData": lambda: errors.BrokenData(SECRET),
    "SettingsError": lambda: errors.SettingsError(SECRET),
    "PredictError": lambda: errors.PredictError(SECRET),
}
CASES = foreseen() | {f"werkzeug {name}": case for name, case in WERKZEUG.items()}
SERVER_SIDE = {"503": http.ServiceUnavailable, "500": http.InternalServerError, "502": http.BadGateway}


def raised(found: object) -> None:
    if isinstance(found, Exception):
        raise found


def failing() -> Blueprint:
    """Routes that raise what their last part names."""
    blueprint = Blueprint("failing", __name__)

    @blueprint.get("/raises/<name>")
    def raises(name: str) -> str:
        raised(CASES[name].error())
        return name

    @blueprint.get("/breaks/<name>")
    def breaks(name: str) -> str:
        raised(UNFORESEEN[name]())
        return name

    @blueprint.get("/serverside/<name>")
    def serverside(name: str) -> str:
        raise SERVER_SIDE[name]()

    @blueprint.post("/takes")
    def takes() -> str:
        return str(len(request.get_data()))

    return blueprint


def started(folder: Path, clock: FakeClock, **values: object) -> Flask:
    """A server with the failing routes in both versions."""
    known = {"market": "polygon", "polygon_api_key": "k", "data_dir": folder, **values}
    app = create_app(settings(**known), clock=clock, transport=ScriptedMarket(clock))
    app.register_blueprint(failing())
    app.register_blueprint(failing(), url_prefix="/v2", name="failing_v2")
    return app


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """One server for all tests that only ask: it answers to localhost alone."""
    clock = FakeClock(new_york("2025-03-11 11:30"))
    return started(tmp_path_factory.mktemp("guarded"), clock, allowed_hosts="localhost")


@pytest.fixture
def build(clock: FakeClock, tmp_path: Path) -> Callable[..., Flask]:
    """Builds a server of the test's own."""
    return lambda **values: started(tmp_path, clock, **values)


class Raw(NamedTuple):
    """An answer as the WSGI server gets it: nothing is cut off, no header repaired."""

    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def raw(app: Flask, path: str, method: str = "GET", body: bytes = b"", **environ: str) -> Raw:
    asked = (
        EnvironBuilder(path=path, method=method, data=body or None).get_environ()
        | {"REMOTE_ADDR": "127.0.0.1"}
        | environ
    )
    begun: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
        begun[:] = [status, headers]
        return lambda data: None

    parts = app(asked, start)
    try:
        sent = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    return Raw(int(begun[0].split()[0]), Headers(begun[1]), sent)


def refuse_if_not_in_shape(answer: Raw, version: str, code: str, path: str) -> None:
    body = answer.json()
    (length,) = answer.headers.getlist("Content-Length")
    assert int(length) == len(answer.body)
    if version == "v1":
        assert answer.headers.getlist("Content-Type") == ["application/json"]
        assert set(body) == {"error", "error_code"}
        text = body["error"]
    else:
        assert answer.headers.getlist("Content-Type") == ["application/problem+json"]
        assert list(body) == PROBLEM
        assert (body["type"], body["title"]) == (f"/docs/errors#{code}", entry_of(code).title)
        assert (body["status"], body["instance"]) == (answer.status, path)
        assert body["request_id"] == answer.headers["X-Request-Id"]
        assert f"-{body['trace_id']}-" in answer.headers["Server-Timing"]
        text = body["detail"]
    assert body["error_code"] == code
    assert len(text) > 3
    assert text[:1].isupper()
    assert text.endswith(".")
    assert answer.headers.getlist("X-API-Version") == [version[1:]]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("version", PREFIXES)
@pytest.mark.parametrize("name", CASES)
def test_a_foreseen_error_has_its_status_code_and_shape(guarded: Flask, name: str, version: str) -> None:
    case, path = CASES[name], f"{PREFIXES[version]}/raises/{name}"
    answer = raw(guarded, path)
    assert answer.status == case.status
    refuse_if_not_in_shape(answer, version, case.code, path)
    assert answer.headers.get("Retry-After") == case.retry_after


@pytest.mark.parametrize("version", PREFIXES)
def test_an_error_by_header_is_shaped_like_one_by_path(guarded: Flask, version: str) -> None:
    answer = raw(guarded, "/raises/TryLater", HTTP_X_API_VERSION=version[1:])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "8")
    refuse_if_not_in_shape(answer, version, "DATA_FETCH_ERROR", "/raises/TryLater")


@pytest.mark.parametrize("name", SERVER_SIDE)
def test_a_fault_of_the_server_is_never_called_a_missing_parameter(guarded: Flask, name: str) -> None:
    answer = raw(guarded, f"/serverside/{name}")
    assert answer.status == int(name)
    assert answer.json()["error_code"] != "MISSING_PARAMETER"


@pytest.mark.parametrize("version", PREFIXES)
def test_a_real_wrong_method_names_the_right_ones(guarded: Flask, version: str) -> None:
    path = f"{PREFIXES[version]}/takes"
    answer = raw(guarded, path)
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    refuse_if_not_in_shape(answer, version, "METHOD_NOT_ALLOWED", path)


@pytest.mark.parametrize("version", PREFIXES)
def test_a_real_body_that_is_too_large_is_413_and_one_that_just_fits_is_read(guarded: Flask, version: str) -> None:
    app, path = guarded, f"{PREFIXES[version]}/takes"
    fits = raw(app, path, "POST", b"x" * (1 << 20))
    assert (fits.status, fits.body) == (200, b"1048576")
    answer = raw(app, path, "POST", b"x" * ((1 << 20) + 1))
    assert answer.status == 413
    refuse_if_not_in_shape(answer, version, "PAYLOAD_TOO_LARGE", path)


@pytest.mark.parametrize("version", PREFIXES)
def test_a_real_limit_is_429_and_says_when_to_come_back(build: Callable[..., Flask], version: str) -> None:
    app, path = build(rate_limit_other=2), f"{PREFIXES[version]}/nothing"
    assert [raw(app, path).status for _ in range(2)] == [404, 404]
    answer = raw(app, path)
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    refuse_if_not_in_shape(answer, version, "TOO_MANY_REQUESTS", path)


@pytest.mark.parametrize("version", PREFIXES)
def test_a_very_long_path_is_cut_where_it_is_shown(guarded: Flask, version: str) -> None:
    path = PREFIXES[version] + "/" + "a" * 3000
    answer = raw(guarded, path)
    assert answer.status == 404
    assert len(answer.body) < 1000


# --- HEAD ---


ERRORS_OF_ALL_KINDS = {
    "route": "/raises/TryLater",
    "route of v2": "/v2/raises/NotFound",
    "fault": "/breaks/RuntimeError",
    "unknown": "/nothing",
    "unknown in v2": "/v2/nothing",
    "method": "/takes",
}


@pytest.mark.parametrize("name", ERRORS_OF_ALL_KINDS)
def test_head_of_an_error_has_the_same_status_and_no_body(guarded: Flask, name: str) -> None:
    app, path = guarded, ERRORS_OF_ALL_KINDS[name]
    head, get = raw(app, path, "HEAD"), raw(app, path)
    assert (head.status, head.headers["Content-Type"]) == (get.status, get.headers["Content-Type"])
    assert head.body == b""
    assert get.body != b""


BELOW_FLASK: dict[str, tuple[str, dict[str, str]]] = {
    "no such version": ("/v3/swing", {}),
    "odd version": ("/swing", {"HTTP_X_API_VERSION": "abc"}),
    "versions disagree": ("/v2/takes", {"HTTP_X_API_VERSION": "1"}),
    "not for you": ("/metrics", {"REMOTE_ADDR": "203.0.113.9"}),
    "wrong host": ("/swing", {"HTTP_HOST": "evil.example"}),
}


@pytest.mark.parametrize("name", BELOW_FLASK)
def test_head_of_an_error_from_a_layer_has_no_body_either(guarded: Flask, name: str) -> None:
    path, environ = BELOW_FLASK[name]
    app = guarded
    head, get = raw(app, path, "HEAD", **environ), raw(app, path, **environ)
    assert head.status == get.status
    assert get.status in (400, 403, 404)
    assert head.body == b""


# --- request ids ---

ANSWERS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "good": ("GET", "/swing", {}, 200),
    "good again": ("GET", "/swing", {}, 200),
    "unchanged": ("GET", "/swing", {"HTTP_IF_NONE_MATCH": "*"}, 304),
    "head": ("HEAD", "/swing", {}, 200),
    "not kept": ("GET", "/health", {}, 200),
    "options": ("OPTIONS", "/swing", {}, 200),
    "options of nothing": ("OPTIONS", "/nothing", {}, 404),
    "probe": ("GET", "/livez", {}, 200),
    "metrics": ("GET", "/metrics", {}, 200),
    "versions": ("GET", "/versions", {}, 200),
    "not there": ("GET", "/nothing", {}, 404),
    "not there in v2": ("GET", "/v2/nothing", {}, 404),
    "wrong method": ("POST", "/swing", {}, 405),
    "trace": ("TRACE", "/swing", {}, 405),
    "unknown ticker": ("GET", "/swing?ticker=XYZ", {}, 400),
    "fault": ("GET", "/breaks/RuntimeError", {}, 500),
    "busy": ("GET", "/raises/TryLater", {}, 503),
    **{f"layer: {name}": ("GET", path, environ, 0) for name, (path, environ) in BELOW_FLASK.items()},
}


@pytest.fixture
def answers(guarded: Flask) -> Callable[..., Raw]:
    raw(guarded, "/swing")

    def answer(name: str, **more: str) -> Raw:
        method, path, environ, status = ANSWERS[name]
        found = raw(guarded, path, method, **environ, **more)
        assert found.status == status or (status == 0 and found.status >= 400)
        return found

    return answer


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_carries_exactly_one_id_its_own_or_the_callers(answers: Callable[..., Raw], name: str) -> None:
    (own,), (other,) = (answers(name).headers.getlist("X-Request-Id") for _ in range(2))
    assert MADE_ID(own)
    assert own != other
    assert answers(name, HTTP_X_REQUEST_ID="caller.1").headers.getlist("X-Request-Id") == ["caller.1"]


@pytest.mark.parametrize("given", ["a", "7", "A-b_c.d~e:f/g+h=i@j", "x" * 128, "00000000-0000-4000-8000-000000000000"])
def test_a_harmless_id_comes_back(guarded: Flask, given: str) -> None:
    answer = raw(guarded, "/v2/nothing", HTTP_X_REQUEST_ID=given)
    assert answer.headers.getlist("X-Request-Id") == [given]
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "x" * 129,
        "x" * 100_000,
        "two words",
        'quo"ted',
        "quo'ted",
        "a\nX-Evil: 1",
        "a\r\nX-Evil: 1",
        "a\n",
        "\na",
        "a\x00",
        "<script>",
        "a;b",
        "a,b",
        "{}",
        "\u00e9",
        "\u0661",
        "%0a",
        "\x7f",
        "a\\b",
    ],
)
def test_an_id_that_is_too_long_or_not_harmless_is_replaced(guarded: Flask, given: str) -> None:
    answer = raw(guarded, "/v2/nothing", HTTP_X_REQUEST_ID=given)
    (made,) = answer.headers.getlist("X-Request-Id")
    assert MADE_ID(made)
    assert "X-Evil" not in answer.headers
    assert answer.json()["request_id"] == made
    assert all(character >= " " for name, value in answer.headers for character in name + value)


# --- faults ---


def tells_nothing(answer: Raw) -> bool:
    told = answer.body.decode() + repr(list(answer.headers))
    return not any(word in told for word in (SECRET, "Traceback", ".py", "Error(", "/blueprints", "division", "line "))


@pytest.mark.parametrize("version", PREFIXES)
@pytest.mark.parametrize("name", UNFORESEEN)
def test_a_fault_tells_the_caller_its_id_and_the_log_the_rest(
    build: Callable[..., Flask], caplog: pytest.LogCaptureFixture, name: str, version: str
) -> None:
    path = f"{PREFIXES[version]}/breaks/{name}"
    answer = raw(build(), path, HTTP_X_REQUEST_ID="fault-77")
    assert answer.status == 500
    refuse_if_not_in_shape(answer, version, "INTERNAL", path)
    assert tells_nothing(answer)
    assert "fault-77" in answer.body.decode()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    line = json.loads(logs.JsonLines().format(record))
    assert "fault-77" in line["message"]
    assert line["request_id"] == "fault-77"
    assert "Traceback" in line["exc_info"]
    assert __file__.rsplit("/", 1)[-1] in line["exc_info"]


@pytest.mark.parametrize("version", PREFIXES)
def test_two_faults_do_not_share_an_id(guarded: Flask, version: str) -> None:
    app, path = guarded, f"{PREFIXES[version]}/breaks/RuntimeError"
    assert raw(app, path).headers["X-Request-Id"] != raw(app, path).headers["X-Request-Id"]


@pytest.mark.parametrize("version", PREFIXES)
def test_a_fault_in_a_layer_below_flask_is_told_like_any_other(
    build: Callable[..., Flask], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    app, path = build(), f"{PREFIXES[version]}/nothing"
    monkeypatch.setattr(ApiKeyMiddleware, "__call__", broken)
    answer = raw(app, path, HTTP_X_REQUEST_ID="deep-1")
    assert answer.status == 500
    refuse_if_not_in_shape(answer, version, "INTERNAL", path)
    assert tells_nothing(answer)
    assert "deep-1" in answer.body.decode()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert SECRET in logs.JsonLines().format(record)
    assert "deep-1" in record.getMessage()
    monkeypatch.undo()
    assert raw(app, path).status == 404


def test_a_clock_that_breaks_is_a_fault_and_not_the_end(
    build: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: FakeClock) -> None:
        raise RuntimeError(SECRET)

    app = build()
    assert raw(app, "/swing").status == 200
    monkeypatch.setattr(FakeClock, "__call__", broken)
    answer = raw(app, "/swing")
    assert answer.status == 500
    refuse_if_not_in_shape(answer, "v1", "INTERNAL", "/swing")
    assert tells_nothing(answer)
    monkeypatch.undo()
    assert raw(app, "/swing").status == 200
