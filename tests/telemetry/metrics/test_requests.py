"""What a scrape says of requests: each is counted once, with its rule, method, status and duration."""

from __future__ import annotations

from datetime import date

import pytest

from app.config import api_keys
from app.telemetry.metrics import METHODS, REQUEST_BUCKETS
from tests.telemetry.metrics.scraping import ERRORS, REQUESTS, Build, Scrape, ask, in_flight, scrape


def test_every_answer_is_counted_once_kept_and_made_ones_alike(build: Build) -> None:
    app = build()
    for _ in range(3):
        assert ask(app, "/swing").status_code == 200
    assert ask(app, "/swing", headers={"If-None-Match": "*"}).status_code == 304
    ask(app, "/swing", "HEAD")
    ask(app, "/swing", "OPTIONS")
    found = scrape(app)
    by = {"route": "/swing", "version": "1"}
    assert found.value(f"{REQUESTS}_count", method="GET", status="200", **by) == 3
    assert found.value(f"{REQUESTS}_count", method="GET", status="304", **by) == 1
    assert found.value(f"{REQUESTS}_count", method="HEAD", status="200", **by) == 1
    assert found.value(f"{REQUESTS}_count", method="OPTIONS", status="200", **by) == 1
    assert sum(found.all(f"{REQUESTS}_count").values()) == 6


@pytest.mark.parametrize(
    ("path", "method", "headers", "route", "status", "version"),
    [
        ("/trading-directions", "GET", {}, "/trading-directions", "200", "1"),
        ("/v1/swing", "GET", {}, "/swing", "200", "1"),
        ("/v2/ping", "GET", {}, "/v2/ping", "200", "2"),
        ("/ping", "GET", {"X-API-Version": "2"}, "/v2/ping", "200", "2"),
        ("/livez", "GET", {}, "/livez", "200", "1"),
        ("/takes/0.5", "GET", {}, "/takes/<float:seconds>", "200", "1"),
        ("/breaks", "GET", {}, "/breaks", "500", "1"),
        ("/nothing", "GET", {}, "none", "404", "1"),
        ("/v2/nothing", "GET", {}, "none", "404", "2"),
        ("/v9/swing", "GET", {}, "none", "404", "1"),
        ("/swing", "DELETE", {}, "none", "405", "1"),
        ("/swing", "BREW", {}, "none", "405", "1"),
        ("/swing", "GET", {"Host": "evil.example"}, "none", "400", "1"),
    ],
)
def test_a_request_has_the_rule_that_matched_its_method_status_and_version(
    build: Build, path: str, method: str, headers: dict[str, str], route: str, status: str, version: str
) -> None:
    app = build(allowed_hosts="localhost")
    ask(app, path, method, headers=headers)
    known = method if method in METHODS else "other"
    labels = {"route": route, "method": known, "status": status, "version": version}
    assert scrape(app).all(f"{REQUESTS}_count") == {frozenset(labels.items()): 1}


def test_two_seconds_are_not_more_than_two_seconds(build: Build) -> None:
    """The alert's bound is an edge: what took exactly that long is below it."""
    app = build()
    for seconds in ("2.0", "2.0009765625"):
        ask(app, f"/takes/{seconds}")
    counted = scrape(app).by(f"{REQUESTS}_bucket", "le")
    assert (counted["1.0"], counted["2.0"], counted["5.0"]) == (0, 1, 2)
    assert [float(edge) for edge in counted][:-1] == list(REQUEST_BUCKETS)
    assert sum(scrape(app).all(f"{REQUESTS}_sum").values()) == 4.0009765625


def test_an_answer_takes_until_its_last_byte(build: Build) -> None:
    app = build()
    assert ask(app, "/streams").text == "1.0 1.0"
    assert scrape(app).by(f"{REQUESTS}_sum", "route") == {"/streams": 3.0}


def test_an_answer_that_breaks_on_its_way_is_a_500(build: Build) -> None:
    app = build()
    with pytest.raises(RuntimeError, match="broke on its way"):
        ask(app, "/cut")
    found = scrape(app)
    assert found.by(f"{REQUESTS}_count", "status") == {"500": 1}
    assert found.by("predict_errors_total", "code") == {"INTERNAL": 1}


def test_requests_under_way_are_one_inside_and_none_after(build: Build) -> None:
    app = build()
    assert in_flight(app) == 0
    for path in ("/looks", "/swing", "/swing", "/streams", "/breaks", "/nothing", "/v9/x", "/metrics"):
        answer = ask(app, path)
        if path == "/looks":
            assert answer.get_json() == {"in_flight": 1.0}
        assert in_flight(app) == 0, path
    with pytest.raises(RuntimeError):
        ask(app, "/cut")
    assert in_flight(app) == 0
    leaving = app.test_client().get("/streams")
    assert in_flight(app) == 1
    leaving.close()
    assert in_flight(app) == 0, "one who leaves is gone too"
    assert Scrape(ask(app, "/metrics").text).value("predict_requests_in_flight") == 1, "the scrape itself"


def test_answers_with_an_error_are_counted_by_its_code(build: Build) -> None:
    _, key = api_keys.new_key("desk", "operator", date(2100, 1, 1))
    app = build(allowed_hosts="localhost", rate_limit_other=100, api_keys=str(key))
    assert scrape(app).by("predict_errors_total", "code") == {}
    for n, (code, (method, path, more)) in enumerate(ERRORS.items()):
        if code == "TOO_MANY_REQUESTS":
            while ask(app, path, method, **more).status_code == 200:
                pass
        else:
            ask(app, path, method, **more)
        assert scrape(app).by("predict_errors_total", "code") == dict.fromkeys(list(ERRORS)[: n + 1], 1), code
    ask(app, "/swing")
    assert sum(scrape(app).by("predict_errors_total", "code").values()) == len(ERRORS), "a good answer has none"
