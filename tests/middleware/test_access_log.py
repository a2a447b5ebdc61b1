"""What is written down of each request, and what is not."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.config import api_keys
from app.telemetry import access_log
from app.telemetry.access_log import AccessLog, AccessRecord
from tests.middleware.servers import ANSWERS, Build, answer_to, asked, in_settings
from tests.support import FakeClock
from tests.waiting import PATIENCE_S

Logged = Callable[..., tuple[Flask, io.StringIO]]

pytestmark = pytest.mark.usefixtures("warm_market")


@pytest.fixture
def logged(build: Build, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Flask, io.StringIO]]:
    """Builds a server whose access lines can be read."""

    def made(log_format: str = "json", **values: object) -> tuple[Flask, io.StringIO]:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stderr", out)
        app = build(log_level="INFO", log_format=log_format, **values)
        monkeypatch.undo()
        return app, out

    return made


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_answered_request_is_one_line(logged: Logged, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    app, out = logged(allowed_hosts="localhost")
    asked = [answer_to(app, "good"), *(answer_to(app, name) for name in ANSWERS)]
    written = lines(out)
    assert [line["request_id"] for line in written] == [answer.headers["X-Request-Id"] for answer in asked]
    assert [line["status"] for line in written] == [answer.status_code for answer in asked]
    assert [line["method"] for line in written[1:]] == [method for method, *_ in ANSWERS.values()]
    for line in written:
        assert line["level"] == "INFO"
        assert line["logger"] == "predict.access"
        assert line["duration_ms"] >= 0
        assert line["trace_id"] == line["request_id"], "who comes without a trace begins one"
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", line["time"])


def test_a_line_names_the_rule_that_matched_for_kept_answers_too(logged: Logged, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    app, out = logged()
    client = asked(app)
    for path in ("/trading-directions", "/trading-directions", "/v1/trading-directions", "/nothing", "/v2/ping"):
        client.get(path)
    assert [(line["route"], line["path"]) for line in lines(out)] == [
        ("/trading-directions", "/trading-directions"),
        ("/trading-directions", "/trading-directions"),
        ("/trading-directions", "/v1/trading-directions"),
        (None, "/nothing"),
        ("/v2/ping", "/v2/ping"),
    ]


@pytest.mark.parametrize(
    ("given", "trace_id"),
    [
        (TRACE, "4bf92f3577b34da6a3ce929d0e0e4736"),
        (TRACE.upper(), None),
        (TRACE[:-1], None),
        (TRACE.replace("-", "_"), None),
        ("", None),
        ("x" * 10_000, None),
        (TRACE[3:], None),
        pytest.param(
            "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
            None,
        ),
        pytest.param(
            "ff" + TRACE[2:],
            None,
        ),
        pytest.param(
            TRACE + "-more",
            None,
        ),
    ],
)
def test_a_line_carries_a_trace_that_is_valid(logged: Logged, given: str, trace_id: str | None) -> None:
    app, out = logged()
    asked(app).get("/livez", environ_overrides={"HTTP_TRACEPARENT": given})
    line = lines(out)[0]
    assert line["trace_id"] == (trace_id or line["request_id"]), "an invalid one begins anew"


FORGERIES = [
    "/a\n{}",
    "/a\r\n10:00:00 200 GET /forged 1.0 ms x",
    "/a\x00b",
    "/a\x1b[31mred",
    "/a\x85b",
    "/a" + "\u2028".encode().decode("latin-1") + "b",
    "/a\x0b\x0cb",
    '/a","status":200,"x":"',
    "/a\x7f",
    "/\xff\xfe",
]


@pytest.mark.parametrize("path", FORGERIES)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_path_can_forge_a_line_or_move_a_terminal(logged: Logged, path: str, log_format: str) -> None:
    app, out = logged(log_format)
    asked(app).get("/", environ_overrides={"PATH_INFO": path, "HTTP_X_REQUEST_ID": "own-1"})
    (written,) = out.getvalue().split("\n")[:-1]
    assert out.getvalue().splitlines() == [written]
    assert all(character >= " " and character not in "\x7f\x85\u2028" for character in written)
    assert "own-1" in written
    if log_format == "json":
        assert json.loads(written)["status"] == 404


METHOD_FORGERIES = ["GET\nX", "G\x1b[31mT"]


@pytest.mark.parametrize("method", METHOD_FORGERIES)
def test_no_method_can_forge_a_line_of_json(logged: Logged, method: str) -> None:
    """gunicorn refuses such methods; the log does not count on it."""
    app, out = logged("json")
    asked(app).get("/nothing", environ_overrides={"REQUEST_METHOD": method})
    assert len(lines(out)) == 1


def test_a_very_long_path_is_cut_in_the_log(logged: Logged) -> None:
    app, out = logged()
    asked(app).get("/" + "a" * 4000)
    assert len(out.getvalue()) < 1000


SECRET_QUERY = "hidden-in-the-query"


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("with_keys", [True, False])
def test_a_key_is_nowhere_but_with_its_holder(
    logged: Logged,
    caplog: pytest.LogCaptureFixture,
    holders: dict[str, tuple[str, api_keys.ApiKey]],
    log_format: str,
    with_keys: bool,
) -> None:
    caplog.set_level("DEBUG")
    app, out = logged(log_format, api_keys=in_settings(holders) if with_keys else "", rate_limit_analysis=30)
    client, said = asked(app), []
    secrets = [secret for secret, _ in holders.values()] + ["predict_guessed-by-someone"]
    for secret in secrets:
        for path in ("/swing", "/nothing", "/v2/nothing", "/v3/x", "/metrics", "/replay"):
            for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}, {}):
                answer = client.get(f"{path}?api_key={secret}&{SECRET_QUERY}=1", headers=headers)
                said.append(answer.text + repr(list(answer.headers)))
    operator = {"X-API-Key": holders["operator"][0]}
    metrics = client.get("/metrics", headers=operator)
    assert metrics.status_code == 200
    everything = [out.getvalue(), metrics.text, *said, *(f"{r.getMessage()} {r.__dict__}" for r in caplog.records)]
    assert out.getvalue().count("\n") == len(said) + 1
    hashes = [key.digest.hex() for _, key in holders.values()]
    for text in everything:
        found = [hidden for hidden in (*secrets, *hashes, SECRET_QUERY) if hidden in text]
        assert not found, text[:300]


def record(number: int) -> AccessRecord:
    return AccessRecord(1_750_000_000.0, f"id-{number}", None, "GET", "/x", "/x", 200, 0.01)


def test_lines_beyond_the_queue_are_counted_and_not_waited_for() -> None:
    written: list[str] = []
    log = AccessLog(written.append, as_json=True, max_records=3)
    log.start()
    for number in range(1000):
        log(record(number))
    log.close()
    told = [json.loads(text)["request_id"] for text in "".join(written).splitlines()]
    assert told[:3] == ["id-0", "id-1", "id-2"]
    assert log.lost > 900
    assert len(told) + log.lost == 1000


def test_lines_are_written_at_once_before_the_start_and_after_the_end() -> None:
    written: list[str] = []
    log = AccessLog(written.append, as_json=False, max_records=2)
    for number in range(5):
        log(record(number))
    log.start()
    log(record(5))
    log.close()
    log(record(6))
    assert [text.split()[-1] for text in "".join(written).splitlines()] == [f"id-{number}" for number in range(7)]
    assert log.lost == 0


def test_the_end_waits_for_lines_that_are_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends behind it, with all that is not written yet."""
    monkeypatch.setattr(access_log, "EVERY_S", 0.001)
    written: list[str] = []
    has_begun, may_go_on = threading.Event(), threading.Event()

    def write(text: str) -> None:
        has_begun.set()
        assert may_go_on.wait(PATIENCE_S)
        written.append(text)

    log = AccessLog(write, as_json=False)
    log.start()
    log(record(0))
    assert has_begun.wait(PATIENCE_S)
    closing = threading.Thread(target=log.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    may_go_on.set()
    closing.join(PATIENCE_S)
    assert [text.split()[-1] for text in written] == ["id-0"]


@pytest.fixture
def quiet(build: Build, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    app = build(log_level="WARNING")
    asked(app).get("/livez")
    return lambda: capsys.readouterr().err


def test_a_quiet_log_has_no_access_lines(quiet: Callable[[], str]) -> None:
    assert quiet() == ""


def test_a_log_that_cannot_be_written_loses_lines_and_goes_on() -> None:
    written: list[str] = []

    def write(text: str) -> None:
        if not written:
            written.append("")
            raise BlockingIOError
        written.append(text)

    log = AccessLog(write, as_json=True)
    lost = AccessRecord(1.0, "id", None, "GET", "/mtf", "/mtf", 200, 0.1)
    log(lost)
    log(lost)
    assert (log.lost, len(written)) == (1, 2)
