"""What surrounds every answer: security headers, how long it may be kept, who may read it, and what is written down of it."""

from __future__ import annotations

import gc
import io
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from itertools import count, cycle
from pathlib import Path
from typing import Any

import http_sf
import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

from app.config import api_keys
from app.factory import create_app
from app.live.events import Events
from app.market.polygon import Reply
from app.telemetry.access_log import AccessLog, AccessRecord
from tests.support import FakeClock, ScriptedMarket, new_york, settings

OUTSIDE = {"REMOTE_ADDR": "203.0.113.9"}
EVERYTHING = ("/trading_directions", "/mtf", "/northstar", "/rpe", "/swing", "/daily_signals", "/signal_breakdown")
KEPT = (*EVERYTHING, "/volatility_meter", "/price_ranges")
NOT_KEPT = (
    "/replay?date=2025-03-10&time=11:00",
    "/health",
    "/models",
    "/model_info",
    "/livez",
    "/readyz",
    "/versions",
    "/metrics",
)
FLOATING = ("generated_at", "age_s")


@pytest.fixture(scope="module", autouse=True)
def _the_market_is_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The synthetic market's first bars take seconds: not at the cost of a test's deadline."""
    clock = FakeClock(new_york("2025-03-11 11:30"))
    for _ in range(3):
        started(tmp_path_factory.mktemp("warm"), clock, ScriptedMarket(clock)).test_client().get("/mtf")


def started(folder: Path, clock: FakeClock, market: ScriptedMarket, **values: object) -> Flask:
    known = {"market": "polygon", "polygon_api_key": "k", "data_dir": folder, **values}
    app = create_app(settings(**known), clock=clock, transport=market)
    app.add_url_rule("/v2/ping", "v2_ping", lambda: {"pong": True})
    return app


@pytest.fixture
def build(clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> Callable[..., Flask]:
    return lambda **values: started(tmp_path, clock, market, **values)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Flask]:
    """Servers for tests that only ask, at 11:30:06: one for each set of values."""
    clock, made = FakeClock(new_york("2025-03-11 11:30:06")), {}

    def found(**values: object) -> Flask:
        key = tuple(sorted(values.items()))
        if key not in made:
            made[key] = started(tmp_path_factory.mktemp("shared"), clock, ScriptedMarket(clock), **values)
        return made[key]

    return found


Build = Callable[..., Flask]


# --- security headers ---

ANSWERS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "good": ("GET", "/swing", {}, 200),
    "unchanged": ("GET", "/swing", {"HTTP_IF_NONE_MATCH": "*"}, 304),
    "head": ("HEAD", "/swing", {}, 200),
    "options": ("OPTIONS", "/swing", {}, 200),
    "v2": ("GET", "/v2/ping", {}, 200),
    "probe": ("GET", "/livez", {}, 200),
    "metrics": ("GET", "/metrics", {}, 200),
    "no metrics": ("GET", "/metrics", OUTSIDE, 403),
    "not there": ("GET", "/nothing", {}, 404),
    "not there in v2": ("GET", "/v2/nothing", {}, 404),
    "no such version": ("GET", "/v3/swing", {}, 404),
    "odd version": ("GET", "/swing", {"HTTP_X_API_VERSION": "x"}, 400),
    "wrong method": ("DELETE", "/swing", {}, 405),
    "bad body": ("POST", "/batch_predict", {}, 400),
    "wrong host": ("GET", "/swing", {"HTTP_HOST": "evil.example"}, 400),
}


def answer_to(app: Flask, name: str, **more: str) -> TestResponse:
    method, path, environ, status = ANSWERS[name]
    answer = app.test_client().open(path, method=method, environ_overrides=environ | more, buffered=True)
    assert answer.status_code == status
    return answer


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_forbids_to_guess_its_type_and_to_run_anything(shared: Build, name: str) -> None:
    app = shared(allowed_hosts="localhost")
    app.test_client().get("/swing")
    headers = answer_to(app, name).headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    (policy,) = headers.getlist("Content-Security-Policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["frame-ancestors"] == ["'none'"]
    assert "Strict-Transport-Security" not in headers
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("name", ANSWERS)
def test_behind_a_proxy_that_speaks_https_every_answer_asks_for_https(shared: Build, name: str) -> None:
    app = shared(allowed_hosts="localhost", trust_proxy=True)
    app.test_client().get("/swing")
    (told,) = answer_to(app, name, HTTP_X_FORWARDED_PROTO="https").headers.getlist("Strict-Transport-Security")
    assert int(told.removeprefix("max-age=").split(";")[0]) >= 31_536_000


@pytest.mark.parametrize(
    ("trusted", "environ"),
    [
        (False, {"HTTP_X_FORWARDED_PROTO": "https"}),
        (True, {"HTTP_X_FORWARDED_PROTO": "http"}),
        (True, {}),
        (None, {"HTTP_X_FORWARDED_PROTO": "https"}),
    ],
)
def test_https_is_asked_for_in_no_other_case(shared: Build, trusted: bool | None, environ: dict[str, str]) -> None:
    answer = shared(trust_proxy=trusted).test_client().get("/livez", environ_overrides=environ)
    assert "Strict-Transport-Security" not in answer.headers


# --- how long an answer may be kept ---


def cache_control(headers: Headers) -> dict[str, Any]:
    (value,) = headers.getlist("Cache-Control")
    members: Any = http_sf.parse(value.encode(), tltype="dictionary")
    return {name: item for name, (item, _) in members.items()}


@pytest.mark.parametrize("path", [*NOT_KEPT, "/nothing", "/v2/ping", "/v2/nothing", "/swing?ticker=XYZ", "/v3"])
def test_what_is_not_kept_is_not_to_be_stored(shared: Build, path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        answer = shared().test_client().open(path, method=method)
        assert cache_control(answer.headers) == {"no-store": True}
        assert "ETag" not in answer.headers


@pytest.mark.parametrize("path", KEPT)
def test_what_is_kept_is_private_and_has_a_strong_tag(build: Build, clock: FakeClock, path: str) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build().test_client()
    first, second = client.get(path), client.get(path)
    for answer in (first, second):
        told = cache_control(answer.headers)
        assert set(told) == {"private", "max-age"}
        (tag,) = answer.headers.getlist("ETag")
        assert re.fullmatch(r'"[!#-~]+"', tag)
    assert first.data == second.data
    assert first.headers["ETag"] == second.headers["ETag"]


SECONDS = [0, 0.5, 1, 4, 4.999, 5, 5.001, 7, 19.9, 20, 30.5, 58, 59, 59.001, 59.999]


def test_no_cache_keeps_an_answer_beyond_the_minute_or_the_moment_bars_turn_final(
    build: Build, clock: FakeClock
) -> None:
    """Bars of this plan turn final five seconds after their end."""
    client = build().test_client()
    for minute, second in enumerate(SECONDS, 20):
        clock.set(f"2025-03-11 11:{minute}:00")
        clock.forward(seconds=second)
        left = 5 - second if second < 5 else 60 - second
        for path in ("/trading_directions?ticker=SPY", "/swing"):
            for _ in range(3):
                told = cache_control(client.get(path).headers)["max-age"]
                assert 0 <= told <= left, f"{path} at second {second}"
                assert isinstance(told, int)


def test_soon_after_bars_turned_final_an_answer_is_good_for_a_while(build: Build, clock: FakeClock) -> None:
    client = build().test_client()
    clock.set("2025-03-11 11:30:06")
    client.get("/mtf")
    told = []
    for _ in range(4):
        told.append(cache_control(client.get("/mtf").headers)["max-age"])
        clock.forward(seconds=2)
    assert told[0] >= 5
    assert told == [told[0], told[0] - 2, told[0] - 4, told[0] - 6]


@pytest.mark.parametrize(
    ("wish", "unchanged"),
    [
        ("{tag}", True),
        ("W/{tag}", True),
        ('"other", {tag}', True),
        ('"other",{tag},"third"', True),
        ('W/"other" , W/{tag}', True),
        ("*", True),
        ('"other"', False),
        ('W/"other"', False),
        ("", False),
        ("{bare}", False),
        ('"{bare}x"', False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_known_answer_is_not_sent_again(shared: Build, wish: str, unchanged: bool, method: str) -> None:
    client = shared().test_client()
    client.get("/trading_directions")
    known = client.get("/trading_directions")
    tag = known.headers["ETag"]
    header = wish.replace("{tag}", tag).replace("{bare}", tag.strip('"'))
    answer = client.open("/trading_directions", method=method, headers={"If-None-Match": header})
    assert answer.status_code == (304 if unchanged else 200)
    assert answer.data == (b"" if unchanged or method == "HEAD" else known.data)
    assert answer.headers["ETag"] == tag
    assert set(cache_control(answer.headers)) == {"private", "max-age"}
    (quota,) = http_sf.parse(answer.headers["RateLimit"].encode(), tltype="list")  # type: ignore[misc]
    assert quota[0] == "directions"
    left = int(known.headers["X-RateLimit-Remaining"]) - 1
    assert quota[1]["r"] == left
    assert answer.headers["X-RateLimit-Remaining"] == str(left)
    assert "X-API-Version" in answer.headers["Vary"]
    assert answer.headers["X-API-Version"] == "1"


def test_a_first_answer_may_be_known_too(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build().test_client()
    tag = client.get("/swing").headers["ETag"]
    clock.forward(minutes=1)
    moved = client.get("/swing", headers={"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.headers["ETag"] != tag


def test_kept_answers_are_limited_like_others(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build(rate_limit_directions=3).test_client()
    tag = client.get("/trading_directions").headers["ETag"]
    codes = [client.get("/trading_directions", headers={"If-None-Match": tag}).status_code for _ in range(3)]
    assert codes == [304, 304, 429]


def settle(app: Flask) -> None:
    """Until every fetch that was begun is over: one that is joined after the clock was turned belongs to the time before."""
    ends = time.monotonic() + 10
    while app.extensions["predict-server"].pipeline.fetches():
        assert time.monotonic() < ends, "a fetch hangs"
        time.sleep(0.001)


class Watched:
    """A kept answer that is asked for again and again; its `generated_at` says when it was made."""

    def __init__(self, app: Flask, clock: FakeClock, path: str = "/trading_directions?ticker=SPY") -> None:
        self.app, self.client, self.clock, self.path = app, app.test_client(), clock, path

    def __call__(self) -> TestResponse:
        settle(self.app)
        answer = self.client.get(self.path)
        settle(self.app)
        assert answer.status_code == 200
        return answer

    def is_kept_for(self, seconds: float) -> bool:
        before = self().data
        self.clock.forward(seconds=seconds)
        return self().data == before


@pytest.fixture
def watched(build: Build, clock: FakeClock) -> Watched:
    """At 11:30:06, with what it needs in memory, so that asking changes nothing any more."""
    clock.set("2025-03-11 11:30:06")
    found = Watched(build(), clock)
    found()
    assert found.is_kept_for(1)
    return found


def test_bytes_stand_while_nothing_happens(watched: Watched) -> None:
    assert watched.is_kept_for(3)
    assert watched.is_kept_for(0.5)
    assert watched().get_json()["generated_at"].endswith("11:30:06-04:00")


def test_bytes_end_at_the_next_minute_in_new_york(watched: Watched, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:40")
    before = watched()
    clock.set("2025-03-11 11:30:59.999")
    assert watched().data == before.data
    clock.set("2025-03-11 11:31:00")
    after = watched()
    assert after.data != before.data
    assert after.get_json()["generated_at"].startswith("2025-03-11T11:31:00")


def test_bytes_end_when_a_bar_turns_final(watched: Watched, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:31:01")
    before = watched()
    clock.set("2025-03-11 11:31:04.999")
    assert watched().data == before.data
    clock.set("2025-03-11 11:31:05")
    after = watched()
    assert after.get_json()["generated_at"].startswith("2025-03-11T11:31:05")
    assert after.get_json()["data_status"]["as_of"] > before.get_json()["data_status"]["as_of"]


def test_bytes_end_when_bars_come_in(watched: Watched, clock: FakeClock, market: ScriptedMarket) -> None:
    calls = len(market.calls)
    assert watched.client.get("/price_ranges?ticker=SPY").status_code == 200
    assert len(market.calls) > calls
    clock.forward(seconds=1)
    assert watched().get_json()["generated_at"].endswith("11:30:08-04:00")


def test_bytes_stand_when_an_answer_out_of_memory_is_given(watched: Watched, market: ScriptedMarket) -> None:
    watched.client.get("/rpe?ticker=SPY")
    watched()
    calls, before = len(market.calls), watched().data
    watched.client.get("/rpe?ticker=SPY&again=1")
    watched.clock.forward(seconds=1)
    assert len(market.calls) == calls
    assert watched().data == before


def test_bytes_end_when_a_signal_locks(build: Build, clock: FakeClock, market: ScriptedMarket) -> None:
    """QQQ's bars are here before; its lock alone happens, without a call."""
    clock.set("2025-03-11 11:59:50")
    app = build()
    client = app.test_client()
    client.get("/mtf")
    clock.set("2025-03-11 12:00:06")
    store, day = app.extensions["predict-server"].pipeline.store, date(2025, 3, 11)
    watched = Watched(app, clock, "/volatility_meter?ticker=QQQ")
    watched()
    client.get("/trading_directions?ticker=SPY")
    client.get("/price_ranges")
    client.get("/price_ranges?b=1")
    assert watched.is_kept_for(1)
    assert (store.get("SPY", day, 12) is None, store.get("QQQ", day, 12) is None) == (False, True)
    calls = len(market.calls)
    client.get("/trading_directions?ticker=QQQ")
    assert store.get("QQQ", day, 12) is not None
    clock.forward(seconds=1)
    assert watched().get_json()["generated_at"].endswith("12:00:08-04:00")
    assert len(market.calls) - calls <= 1


def test_bytes_end_when_the_provider_begins_to_fail(watched: Watched, clock: FakeClock, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(500, None)
    watched.client.get("/price_ranges?ticker=SPY")
    clock.forward(seconds=1)
    assert watched().get_json()["generated_at"].endswith("11:30:08-04:00")


def test_an_answer_about_a_failure_ends_with_it(build: Build, clock: FakeClock, market: ScriptedMarket) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build().test_client()
    market.fault = lambda path: Reply(500, None)
    assert client.get("/trading_directions?ticker=SPY").get_json()["tickers"]["SPY"]["error_code"]
    market.fault = lambda path: None
    clock.forward(seconds=60)
    assert client.get("/trading_directions?ticker=SPY").get_json()["tickers"]["SPY"]["locked"] is True


@pytest.mark.parametrize(("turn", "open_then"), [("09:30:00", True), ("16:00:00", False)])
@pytest.mark.parametrize("path", ["/trading_directions?ticker=SPY", "/mtf"])
def test_bytes_end_at_open_and_close(build: Build, clock: FakeClock, path: str, turn: str, open_then: bool) -> None:
    at = new_york(f"2025-03-11 {turn}")
    clock.at = at - timedelta(seconds=1)
    watched = Watched(build(), clock, path)
    for _ in range(2):
        before = watched()
    clock.at = at - timedelta(microseconds=1)
    assert watched().data == before.data
    clock.at = at
    assert (before.get_json()["market_open"], watched().get_json()["market_open"]) == (not open_then, open_then)


def test_a_query_of_its_own_has_an_answer_of_its_own(shared: Build) -> None:
    client = shared().test_client()
    client.get("/mtf")
    tickers = {path: set(client.get(path).get_json()["tickers"]) for path in ("/mtf?ticker=SPY", "/mtf?ticker=QQQ")}
    assert tickers == {"/mtf?ticker=SPY": {"SPY"}, "/mtf?ticker=QQQ": {"QQQ"}}
    assert client.get("/mtf?ticker=SPY&_=1").status_code == 200


def without_floating(value: object) -> object:
    """An answer without what moves with every second."""
    if isinstance(value, dict):
        return {name: without_floating(member) for name, member in value.items() if name not in FLOATING}
    return [without_floating(member) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("start", "minutes"), [("2025-03-11 09:27:00", 9), ("2025-03-11 10:55:01", 40), ("2025-03-11 15:54:30", 12)]
)
def test_at_every_moment_a_kept_answer_says_what_a_server_that_never_keeps_says(
    build: Build, clock: FakeClock, market: ScriptedMarket, start: str, minutes: int
) -> None:
    """Stepping by odd seconds over more than an hour in all: open, two turns of an hour, close, and a fault on the way."""
    app, fresh, kept = build(), count(), 0
    client = app.test_client()
    clock.set(start)
    ends = clock.at + timedelta(minutes=minutes)
    others = cycle(KEPT)
    bodies: dict[str, bytes] = {}
    for step in cycle((1.3, 7, 3.7, 11, 2, 17.5, 0.9)):
        settle(app)
        clock.forward(seconds=step)
        if clock.at >= ends:
            break
        failing = 10 <= clock.at.minute % 20 < 12
        market.fault = (lambda path: Reply(500, None)) if failing else (lambda path: None)
        for path in ("/trading_directions?ticker=SPY", f"{next(others)}?ticker=SPY"):
            calls = len(market.calls)
            given = client.get(path)
            of_one_state = bodies.get(path) == given.data or len(market.calls) == calls
            made = client.get(f"{path}&_={next(fresh)}")
            assert (given.status_code, made.status_code) == (200, 200)
            same = not of_one_state or without_floating(given.get_json()) == without_floating(made.get_json())
            assert same, f"{path} at {clock.at}"
            kept += bodies.get(path) == given.data
            bodies[path] = given.data
    assert kept > minutes, "answers were given again on the way"


# --- pages of other origins ---

PAGE = {"Origin": "https://anywhere.example"}


@pytest.mark.parametrize(
    "path", ["/swing", "/replay?date=x&time=y", "/nothing", "/v1/swing", "/v1/nothing", "/health", "/v3/swing"]
)
@pytest.mark.parametrize("origin", ["https://anywhere.example", "null", None])
def test_any_page_may_read_v1_errors_too(shared: Build, path: str, origin: str | None) -> None:
    answer = shared().test_client().get(path, headers={} if origin is None else {"Origin": origin})
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_what_pages_may_read_is_the_same_for_all_origins_or_varies_by_origin(shared: Build) -> None:
    for path in ("/swing", "/v2/ping", "/nothing", "/livez"):
        shown = []
        for headers in ({}, PAGE, {"Origin": "https://other.example"}):
            answer = shared().test_client().get(path, headers=headers)
            if "origin" not in tokens(answer.headers, "Vary"):
                shown.append([(k, v) for k, v in answer.headers if k.lower().startswith("access-control-")])
        assert all(headers == shown[0] for headers in shown), path


def tokens(headers: Headers, name: str) -> set[str]:
    return {token.strip().lower() for token in ", ".join(headers.getlist(name)).split(",") if token.strip()}


def test_kept_and_unchanged_and_limited_answers_can_be_read_too(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build(rate_limit_analysis=3).test_client()
    known = [client.get("/swing", headers=PAGE | {"If-None-Match": tag}) for tag in ("", "", "*", "*")]
    assert [answer.status_code for answer in known] == [200, 200, 304, 429]
    for answer in known:
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        shown = tokens(answer.headers, "Access-Control-Expose-Headers")
        assert {"etag", "x-request-id", "ratelimit", "retry-after"} <= shown


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/predict", {"post", "options"}),
        ("/v1/batch_predict", {"post", "options"}),
        ("/trading_directions", {"get", "head", "options"}),
    ],
)
def test_a_preflight_of_v1_names_the_routes_methods_and_our_headers(
    shared: Build, path: str, methods: set[str]
) -> None:
    asked = PAGE | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    answer = shared().test_client().options(path, headers=asked)
    assert answer.status_code in (200, 204)
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert tokens(answer.headers, "Access-Control-Allow-Methods") == methods
    sent = tokens(answer.headers, "Access-Control-Allow-Headers")
    assert {"x-api-key", "authorization", "content-type", "x-api-version", "if-none-match"} <= sent
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert answer.data == b""


ORIGINS = "https://dash.example, http://localhost:5173"


@pytest.mark.parametrize("path", ["/v2/ping", "/v2/nothing"])
@pytest.mark.parametrize("origin", ["https://dash.example", "http://localhost:5173"])
def test_pages_on_the_list_may_read_v2(shared: Build, path: str, origin: str) -> None:
    answer = shared(cors_origins=ORIGINS).test_client().get(path, headers={"Origin": origin})
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert "origin" in tokens(answer.headers, "Vary")
    assert "Access-Control-Allow-Credentials" not in answer.headers


STRANGERS = [
    "https://evil.example",
    "http://dash.example",
    "https://dash.example:8443",
    "https://dash.example.evil.example",
    "https://evil-dash.example",
    "https://dash.example/",
    "https://dash.example, https://evil.example",
    "null",
    "*",
    "",
    None,
]


@pytest.mark.parametrize("origin", STRANGERS)
@pytest.mark.parametrize("origins", [ORIGINS, ""])
def test_no_other_page_may_read_v2(shared: Build, origin: str | None, origins: str) -> None:
    client = shared(cors_origins=origins).test_client()
    headers = {} if origin is None else {"Origin": origin}
    for path in ("/v2/ping", "/v2/nothing"):
        for answer in (client.get(path, headers=headers), client.options(path, headers=headers)):
            assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
            assert "origin" in tokens(answer.headers, "Vary")


def test_v2_asked_for_by_header_is_guarded_as_well(shared: Build) -> None:
    client = shared(cors_origins=ORIGINS).test_client()
    for origin, told in (("https://dash.example", ["https://dash.example"]), ("https://evil.example", [])):
        answer = client.get("/ping", headers={"Origin": origin, "X-API-Version": "2"})
        assert answer.get_json() == {"pong": True}
        assert answer.headers.getlist("Access-Control-Allow-Origin") == told


@pytest.mark.parametrize("path", ["//v2/ping", "/v1//v2/ping"])
def test_no_spelling_of_a_path_opens_v2_to_all_pages(shared: Build, path: str) -> None:
    answer = shared(cors_origins=ORIGINS).test_client().get("/", headers=PAGE, environ_overrides={"PATH_INFO": path})
    assert answer.status_code != 200 or "Access-Control-Allow-Origin" not in answer.headers


def test_a_preflight_of_v2_is_for_pages_on_the_list(shared: Build) -> None:
    client = shared(cors_origins=ORIGINS).test_client()
    asked = {"Origin": "https://dash.example", "Access-Control-Request-Method": "GET"}
    answer = client.options("/v2/ping", headers=asked)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://dash.example"
    assert tokens(answer.headers, "Access-Control-Allow-Methods") == {"get", "head", "options"}
    assert "x-api-key" in tokens(answer.headers, "Access-Control-Allow-Headers")


@pytest.mark.parametrize("environ", [{}, OUTSIDE])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_page_may_read_the_metrics(shared: Build, environ: dict[str, str], method: str) -> None:
    answer = shared().test_client().open("/metrics", method=method, headers=PAGE, environ_overrides=environ)
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]


# --- host names ---


@pytest.mark.parametrize(
    "host", ["api.example", "API.EXAMPLE", "api.example:443", "10.0.0.7:8000", "[::1]", "[::1]:80"]
)
def test_our_own_host_names_are_answered(shared: Build, host: str) -> None:
    client = shared(allowed_hosts="api.example, 10.0.0.7, [::1]").test_client()
    assert client.get("/swing", environ_overrides={"HTTP_HOST": host}).status_code == 200


WRONG_HOSTS = ["evil.example", "api.example.evil.example", "xapi.example", "[::2]:80"]
NO_HOSTS = [
    *("", " ", ":80", "a b", "a/b", "a,b", "a\tb", "http://api.example", "api.example:80:80", "api.example:http"),
    *("api.example:80@evil.example", "api.example@evil.example", "api.example:65536", "api.example:-1", "[::1", "::1"),
    *("[:::]", "[evil]", "a%zz", "caf\u00e9", "a" * 300 + "@b"),
]


@pytest.mark.parametrize("path", ["/swing", "/v1/swing", "/nothing", "/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("hosts", ["", "api.example"])
def test_a_host_that_cannot_be_is_a_bad_request(shared: Build, hosts: str, path: str) -> None:
    app = shared(allowed_hosts=hosts)
    for host in NO_HOSTS:
        status, body = raw(app, path, HTTP_HOST=host)
        assert (status, json.loads(body)["error_code"]) == (400, "BAD_REQUEST"), host


def raw(app: Flask, path: str, **environ: str) -> tuple[int, bytes]:
    """Status and body of a request that the test client would refuse to send; without a host unless one is given."""
    asked = EnvironBuilder(path).get_environ()
    del asked["HTTP_HOST"]
    statuses: list[str] = []

    def start(status: str, headers: object, exc_info: object = None) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    body = b"".join(app.wsgi_app({**asked, **environ}, start))  # type: ignore[arg-type]
    return int(statuses[0][:3]), body


def test_a_request_without_a_host_is_a_bad_one_but_in_http_1_0(shared: Build) -> None:
    assert raw(shared(), "/livez")[0] == 400
    assert raw(shared(), "/livez", SERVER_PROTOCOL="HTTP/1.0")[0] == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://api.example/swing", "evil.example", 200),
        ("http://evil.example/swing", "api.example", 400),
        ("HTTPS://api.example:443/swing?ticker=SPY", "api.example", 200),
        ("http://api.example@evil.example/swing", "api.example", 400),
        ("/swing?back=http://evil.example/", "api.example", 200),
    ],
)
def test_a_whole_address_in_the_request_line_outranks_the_host(
    shared: Build, target: str, host: str, status: int
) -> None:
    client = shared(allowed_hosts="api.example").test_client()
    environ = {"HTTP_HOST": host, "RAW_URI": target}
    assert client.get("/swing", environ_overrides=environ).status_code == status


@pytest.mark.parametrize("host", WRONG_HOSTS)
def test_another_host_name_is_refused_but_for_probes(shared: Build, host: str) -> None:
    client = shared(allowed_hosts="api.example").test_client()
    for path in ("/swing", "/v1/swing", "/nothing", "/versions", "/metrics"):
        answer = client.get(path, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code == 400
        assert set(answer.get_json()) == {"error", "error_code"}
        assert answer.get_json()["error_code"] == "BAD_REQUEST"
    for path in ("/livez", "/readyz"):
        assert client.get(path, environ_overrides={"HTTP_HOST": host}).status_code == 200


def test_another_host_name_is_refused_in_the_shape_of_the_version(shared: Build) -> None:
    client = shared(allowed_hosts="api.example").test_client()
    answer = client.get("/v2/ping", environ_overrides={"HTTP_HOST": "evil.example"})
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_any_host_name_is_answered_where_none_is_named(shared: Build) -> None:
    assert shared().test_client().get("/swing", environ_overrides={"HTTP_HOST": "evil.example"}).status_code == 200


# --- metrics ---


def metrics_status(app: Flask, headers: dict[str, str] | None = None, **environ: str) -> int:
    return app.test_client().get("/metrics", headers=headers, environ_overrides=environ).status_code


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1"])
def test_without_keys_the_machine_itself_may_read_the_metrics(shared: Build, peer: str) -> None:
    assert metrics_status(shared(), REMOTE_ADDR=peer) == 200


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_REAL_IP": "127.0.0.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=127.0.0.1"},
        {"REMOTE_ADDR": "203.0.113.9"},
        {"REMOTE_ADDR": "10.0.0.3"},
        {"REMOTE_ADDR": "::ffff:203.0.113.9"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "unix"},
        {"REMOTE_ADDR": "203.0.113.9", "HTTP_X_REAL_IP": "127.0.0.1"},
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_nobody_else_may_and_a_proxy_speaks_for_others(shared: Build, environ: dict[str, str], trusted: bool) -> None:
    app = shared(trust_proxy=trusted)
    assert metrics_status(app, **environ) == 403
    body = app.test_client().get("/metrics", environ_overrides=environ).get_json()
    assert body["error_code"] == "FORBIDDEN"


@pytest.fixture
def holders() -> dict[str, tuple[str, api_keys.ApiKey]]:
    """A key of every tier, and one that is over."""
    last = date(2100, 1, 1)
    made = {tier: api_keys.new_key(tier, tier, last) for tier in api_keys.TIERS}
    return made | {"over": api_keys.new_key("over", "operator", date(2020, 1, 1))}


def in_settings(holders: dict[str, tuple[str, api_keys.ApiKey]]) -> str:
    return ",".join(str(key) for _, key in holders.values())


def test_with_keys_only_an_operator_may_read_the_metrics(
    build: Build, holders: dict[str, tuple[str, api_keys.ApiKey]]
) -> None:
    app = build(api_keys=in_settings(holders))
    secrets = {name: secret for name, (secret, _) in holders.items()}
    assert metrics_status(app) == 403
    assert metrics_status(app, **OUTSIDE) == 403
    for tier, status in (("standard", 403), ("high", 403), ("proxy", 403), ("operator", 200), ("over", 401)):
        assert metrics_status(app, {"X-API-Key": secrets[tier]}, **OUTSIDE) == status, tier
        assert metrics_status(app, {"Authorization": f"Bearer {secrets[tier]}"}, **OUTSIDE) == status, tier
    assert metrics_status(app, {"X-API-Key": "predict_guess"}) == 401
    assert metrics_status(app, {"Authorization": f"Basic {secrets['operator']}"}) == 403
    answer = app.test_client().get(f"/metrics?api_key={secrets['operator']}")
    assert answer.status_code == 403, "a key in an address is no key"


@pytest.mark.parametrize("with_keys", [True, False])
def test_the_operations_port_needs_no_key_and_no_other_port_is_it(
    build: Build, holders: dict[str, tuple[str, api_keys.ApiKey]], with_keys: bool
) -> None:
    app = build(operations_port=9200, api_keys=in_settings(holders) if with_keys else "")
    assert metrics_status(app, SERVER_PORT="9200", **OUTSIDE) == 200
    for port in ("8000", "80", "920", "92000", ""):
        assert metrics_status(app, SERVER_PORT=port, **OUTSIDE) == 403
    assert metrics_status(app, SERVER_PORT="8000", HTTP_HOST="localhost:9200", **OUTSIDE) == 403


@pytest.mark.parametrize("path", ["/metrics/", "/v1/metrics", "/v2/metrics", "/METRICS", "/./metrics"])
def test_other_spellings_of_the_metrics_are_not_there(shared: Build, path: str) -> None:
    answer = shared().test_client().get("/", environ_overrides=OUTSIDE | {"PATH_INFO": path})
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["//metrics", "///metrics", "/v1//metrics"])
def test_no_spelling_goes_around_the_guard_of_the_metrics(shared: Build, path: str) -> None:
    answer = shared().test_client().get("/", environ_overrides=OUTSIDE | {"PATH_INFO": path})
    assert answer.status_code in (403, 404)


def test_the_metrics_say_what_the_layers_counted(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build(rate_limit_analysis=3).test_client()
    for _ in range(4):
        client.get("/swing")
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["predict_limit_decisions_total", "allowed", "analysis"] == 3
    assert values["predict_limit_decisions_total", "analysis", "refused"] == 1
    assert values["predict_cache_lookups_total", "answers", "miss"] >= 1
    made_and_kept = [values[("predict_cache_lookups_total", "answers", how)] for how in ("miss", "hit")]
    assert sum(made_and_kept) in (3, 4), "a refused one may have been at hand"
    assert values[("predict_kept_answers",)] == 1
    assert values[("predict_kept_answer_bytes",)] > 100
    assert values[("predict_access_lines_lost_total",)] == 0
    assert values["predict_under_way", "replay"] == 0
    assert values[("predict_limits_local",)] == 0
    assert values[("predict_limit_windows",)] >= 1
    assert all(
        family.documentation and family.type in ("counter", "gauge", "histogram") for family in families.values()
    )


# --- what is written down ---


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


class Asking:
    """A client that takes an answer to its last byte: then it is written down."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()

    def get(self, path: str, **more: Any) -> TestResponse:
        return self._client.get(path, buffered=True, **more)


def asked(app: Flask) -> Asking:
    return Asking(app)


Logged = Callable[..., tuple[Flask, io.StringIO]]
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


@pytest.fixture
def quiet(build: Build, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    app = build(log_level="WARNING")
    asked(app).get("/livez")
    return lambda: capsys.readouterr().err


def test_a_quiet_log_has_no_access_lines(quiet: Callable[[], str]) -> None:
    assert quiet() == ""


def test_a_kept_answer_leaves_nothing_to_the_garbage_collector(serve: Callable[..., Flask]) -> None:
    """A circle per request would stop all of them again and again while it is collected."""
    app = serve()
    app.test_client().get("/mtf?ticker=SPY")
    environ = EnvironBuilder("/mtf", query_string="ticker=SPY", headers={"Origin": "https://a.example"}).get_environ()
    gc.collect()
    gc.disable()
    try:
        for _ in range(requests := 100):
            list(app.wsgi_app(dict(environ), lambda status, headers, exc_info=None: lambda _: None))
        assert gc.collect() < requests
    finally:
        gc.enable()


@pytest.mark.parametrize("path", ["metrics", "metrics/", "foo:metrics", "", "*"])
def test_a_path_without_its_slash_is_nowhere(serve: Callable[..., Flask], path: str) -> None:
    """Some servers hand such targets on, and the routes would take them for their own."""
    environ = EnvironBuilder("/", environ_overrides={"REMOTE_ADDR": "8.8.8.8"}).get_environ()
    told: list[str] = []
    body = b"".join(serve().wsgi_app({**environ, "PATH_INFO": path}, lambda status, *_: told.append(status)))
    assert told == ["404 Not Found"]
    assert json.loads(body)["error_code"] == "NOT_FOUND"


def test_an_answer_that_took_its_time_is_not_promised_beyond_its_end(
    serve: Callable[..., Flask], clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 11:30:48")
    market.fault = lambda path: clock.set("2025-03-11 11:31:00")
    answer = serve().test_client().get("/mtf?ticker=SPY")
    assert answer.headers["Cache-Control"] == "private, max-age=0"


def made_to_be_kept(client: FlaskClient) -> float:
    """How many answers were made to be kept so far."""
    shown = client.get("/metrics").text
    [line] = [
        x for x in shown.splitlines() if x.startswith('predict_cache_lookups_total{cache="answers",outcome="miss"}')
    ]
    return float(line.split()[1])


def test_replays_of_old_days_end_no_kept_answer(serve: Callable[..., Flask]) -> None:
    client = serve().test_client()
    for _ in range(4):
        client.get("/mtf?ticker=SPY")
    made = made_to_be_kept(client)
    assert made >= 1
    assert client.get("/replay?date=2025-02-03&time=11:00&ticker=SPY").status_code == 200
    client.get("/mtf?ticker=SPY")
    assert made_to_be_kept(client) == made


def test_what_happens_to_one_ticker_ends_no_answer_about_another(
    tmp_path: Path, clock: FakeClock, market: ScriptedMarket
) -> None:
    events, values = Events(), settings(market="polygon", polygon_api_key="k", data_dir=tmp_path)
    app = create_app(values, clock=clock, transport=market, events=events)
    client = app.test_client()
    paths = ("/mtf?ticker=SPY", "/mtf?ticker=QQQ", "/mtf")
    for path in paths * 2:
        client.get(path)
        settle(app)
    made = made_to_be_kept(client)
    events("open_learned", ticker="QQQ", day="2025-03-11", source="daily")
    for path in paths:
        client.get(path)
    assert made_to_be_kept(client) == made + 2, "of QQQ, and of all tickers"
    events("store_degraded", error="full")
    for path in paths:
        client.get(path)
    assert made_to_be_kept(client) == made + 2 + len(paths)


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
