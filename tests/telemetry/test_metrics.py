"""What a scrape says: of requests, stages, the provider, market, signals and models; from closed sets of series alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

import middleware
from app.config import api_keys
from app.config.settings import VERSION
from app.errors import BudgetSpent, Unavailable, Upstream
from app.factory import create_app
from app.live.events import EVENTS, Events
from app.market import announcements
from app.market.calling import kind_of, outcome
from app.market.feed_transport import FeedTransport
from app.market.polygon import Reply
from app.signals.policy import SUPPORTED, Gate
from app.telemetry.core_metrics import ACTIONS, CACHES, OUTCOMES, STATES, WITHHELD
from app.telemetry.metrics import METHODS, OTHER, REQUEST_BUCKETS, Latencies
from app.telemetry.setup import build_telemetry
from app.telemetry.spans import MEASURED
from serving import connections
from tests.provider.world import World, world
from tests.support import CALENDAR, FakeClock, FakeTimer, ScriptedMarket, demo_feed, models_saying, settings

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMTOOL = "promtool"
MISSING = f"{PROMTOOL} is missing; to install it: `sudo apt-get install prometheus` (Debian), `brew install prometheus` (macOS)"
REQUESTS, STAGES, CALLS = "predict_request_seconds", "predict_stage_seconds", "predict_polygon_call_seconds"
ONE_TICKER = "/trading_directions?ticker=SPY"
Labels = frozenset[tuple[str, str]]


class Scrape:
    """The series of one moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {f.name: f for f in text_string_to_metric_families(text)}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def all(self, name: str) -> dict[Labels, float]:
        """Every series of that name."""
        return {labels: value for (found, labels), value in self._values.items() if found == name}

    def by(self, name: str, label: str) -> dict[str, float]:
        """Values by one label, those of the others added up."""
        found: dict[str, float] = {}
        for labels, value in self.all(name).items():
            key = dict(labels)[label]
            found[key] = found.get(key, 0.0) + value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self._values.get((name, frozenset(labels.items())))

    @property
    def series(self) -> set[tuple[str, Labels]]:
        return set(self._values)


def scrape(app: Flask) -> Scrape:
    """As /metrics would say it, without a request that counts itself."""
    return Scrape(app.extensions["predict-server"].metrics(None, [])[0])


def ask(app: Flask, path: str, method: str = "GET", **more: Any) -> TestResponse:
    return app.test_client().open(path, method=method, buffered=True, **more)


Build = Callable[..., Flask]


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer(hasty=True)


@pytest.fixture
def build(tmp_path: Path, clock: FakeClock, market: ScriptedMarket, timer: FakeTimer) -> Build:
    """A server at 11:30:06 on the scripted market, with routes that a test needs."""
    clock.set("2025-03-11 11:30:06")

    def built(**values: object) -> Flask:
        known = {"market": "polygon", "polygon_api_key": "k", "data_dir": tmp_path, **values}
        app = create_app(settings(**known), clock=clock, transport=market, timer=timer.timer)
        app.add_url_rule("/v2/ping", "v2_ping", lambda: {"pong": True})
        app.add_url_rule("/breaks", "breaks", lambda: 1 / 0)
        app.add_url_rule("/takes/<float:seconds>", "takes", lambda seconds: str(timer.forward(seconds)))
        app.add_url_rule("/looks", "looks", lambda: {"in_flight": in_flight(app)})
        app.add_url_rule("/streams", "streams", lambda: app.response_class(streamed(app, timer)))
        app.add_url_rule("/cut", "cut", lambda: app.response_class(streamed(app, timer, cut=True)))
        return app

    return built


def in_flight(app: Flask) -> float | None:
    return scrape(app).value("predict_requests_in_flight")


def streamed(app: Flask, timer: FakeTimer, *, cut: bool = False) -> Iterator[str]:
    """Says how many requests are under way; the last byte comes three seconds after the first."""
    yield f"{in_flight(app)} "
    timer.forward(3.0)
    if cut:
        raise RuntimeError("broke on its way")
    yield f"{in_flight(app)}"


# --- requests ---


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


ERRORS = {
    "NOT_FOUND": ("GET", "/nothing", {}),
    "METHOD_NOT_ALLOWED": ("DELETE", "/swing", {}),
    "INTERNAL": ("GET", "/breaks", {}),
    "BAD_REQUEST": ("GET", "/swing", {"headers": {"Host": "evil.example"}}),
    "UNSUPPORTED_VERSION": ("GET", "/swing", {"headers": {"X-API-Version": "77"}}),
    "VERSION_CONFLICT": ("GET", "/v1/swing", {"headers": {"X-API-Version": "2"}}),
    "MISSING_PARAMETER": ("GET", "/replay", {}),
    "UNAUTHORIZED": ("GET", "/swing", {"headers": {"X-API-Key": "predict_guess"}}),
    "FORBIDDEN": ("GET", "/metrics", {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}),
    "TOO_MANY_REQUESTS": ("GET", "/versions", {}),
}


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


# --- nobody can make the server's memory grow ---


def test_whatever_is_asked_for_there_is_a_closed_set_of_series(build: Build) -> None:
    app = build()

    def ask_odd_things(n: int) -> None:
        ask(app, f"/x{n}?q{n}={n}", f"M{n}")
        ask(app, f"/v{n + 10}/swing")
        ask(app, f"/livez?k{n}=v{n}")
        ask(app, "/swing", f"M{n}", headers={"X-API-Version": str(n + 10), "X-Request-Id": f"r{n}"})

    def ask_odd_tickers(n: int) -> None:
        ask(app, f"/trading_directions?ticker=ZZ{n}")
        ask(app, f"/replay?ticker=ZZ{n}&date=2025-03-10&time=11:{n % 60:02}")

    ask_odd_things(0)
    ask_odd_tickers(0)
    before = scrape(app).series
    for n in range(1, 1001):
        ask_odd_things(n)
    for n in range(1, 60):
        ask_odd_tickers(n)
    assert scrape(app).series == before


def test_methods_that_are_none_cost_no_memory() -> None:
    latencies = Latencies()
    for n in range(1000):
        asked = {"trace": SimpleNamespace(span=None), "method": f"M{n}", "version": 1, "route": None}
        latencies.answered(SimpleNamespace(**asked, status=405, code="METHOD_NOT_ALLOWED"), 0.001)
    assert len(latencies._children) == 1


def known_values(app: Flask) -> Mapping[str, set[str]]:
    """The closed set of each label."""
    return {
        "route": {rule.rule for rule in app.url_map.iter_rules()} | {"none"},
        "method": {*METHODS, OTHER},
        "status": {"200", "304", "400", "401", "403", "404", "405", "429", "500", "503"},
        "version": {"1", "2", VERSION},
        "stage": set(MEASURED),
        "kind": {"bars", "days", "snapshot", "status"},
        "outcome": {"ok", "slow", "limited", "refused", "failed", "allowed", *OUTCOMES},
        "cache": {"answers", *CACHES},
        "reason": {*WITHHELD, *announcements.REASONS, *connections.REASONS},
        "state": {*STATES, "spent", "left"},
        "ticker": set(SUPPORTED),
        "action": set(ACTIONS),
        "gate": {gate.value for gate in Gate},
        "event": set(EVENTS),
        "group": {"directions", "analysis", "replay", "other"},
        "code": {*ERRORS, *(gate.value for gate in Gate)},
        "market": {"polygon", "recorded", "demo"},
        "generation": {"0", "1", "2"},
    }


def test_every_label_value_is_one_of_its_set(build: Build, market: ScriptedMarket, clock: FakeClock) -> None:
    app = build(rate_limit_other=200)
    ask(app, "/rpe?ticker=SPY")
    market.fault = lambda path: Reply(429, {}) if "QQQ" in path else Reply(500, None) if "IWM" in path else None
    clock.forward(minutes=1)
    for path in (
        ONE_TICKER,
        "/trading_directions",
        "/mtf?tickers=SPY,QQQ,IWM,UVXY",
        "/replay?date=2025-03-10&time=11:00",
    ):
        ask(app, path)
    for method, path, more in ERRORS.values():
        ask(app, path, method, **more)
    found, known, met = scrape(app), known_values(app), set()
    for name, labels in found.series:
        for label, value in labels:
            if label != "le":
                assert value in known[label], f"{name} has {label}={value}"
                met.add(label)
    assert met >= {"route", "method", "stage", "kind", "outcome", "cache", "ticker", "gate", "event", "group", "code"}


# --- kept answers, bars, records ---


def lookups(app: Flask, cache: str) -> tuple[float | None, float | None]:
    found = scrape(app)
    hit, miss = (found.value("predict_cache_lookups_total", cache=cache, outcome=how) for how in ("hit", "miss"))
    return hit, miss


def test_an_answer_given_again_is_a_hit_and_one_made_to_be_kept_a_miss(build: Build) -> None:
    app = build()
    assert lookups(app, "answers") == (0, 0)
    ask(app, "/swing")
    assert lookups(app, "answers") == (0, 1)
    ask(app, "/swing")  # what the first one fetched has ended it
    hits, misses = lookups(app, "answers")
    assert hits is not None
    ask(app, "/swing")
    ask(app, "/swing", headers={"If-None-Match": "*"})
    assert lookups(app, "answers") == (hits + 2, misses)
    ask(app, "/livez")
    assert lookups(app, "answers") == (hits + 2, misses), "what is never kept is neither"


def test_a_signal_out_of_the_record_is_a_hit(build: Build, clock: FakeClock) -> None:
    app = build()
    ask(app, ONE_TICKER)
    assert lookups(app, "record") == (0, 1)
    clock.forward(minutes=1)
    ask(app, ONE_TICKER)
    assert lookups(app, "record") == (1, 1)


def test_bars_in_memory_are_hits_until_newer_ones_are_due(build: Build, clock: FakeClock) -> None:
    app = build()
    ask(app, ONE_TICKER)
    hits, misses = lookups(app, "memory")
    assert misses is not None
    ask(app, "/mtf?ticker=SPY")
    again, still = lookups(app, "memory")
    assert again is not None
    assert hits is not None
    assert (again > hits, still) == (True, misses)
    clock.forward(minutes=1)
    ask(app, ONE_TICKER)
    assert lookups(app, "memory")[1] == misses + 1, "the running minute"


def test_past_days_on_disk_are_hits_of_a_server_that_starts_anew(build: Build) -> None:
    replay = "/replay?ticker=SPY&date=2025-03-07&time=11:00"
    first = build()
    ask(first, replay)
    hits, misses = lookups(first, "disk")
    assert misses is not None
    assert (hits, misses > 0) == (0, True)
    second = build()
    ask(second, replay)
    assert lookups(second, "disk") == (misses, 0)


# --- stages ---


def stages(app: Flask) -> dict[str, float]:
    return scrape(app).by(f"{STAGES}_count", "stage")


WAITING = {"await-data"}
"""Where a fetch that is under way is waited for, which is a matter of moments."""


def test_a_stage_is_measured_by_the_requests_that_have_it_and_by_no_others(build: Build) -> None:
    app = build()
    for path in ("/livez", "/versions", "/nothing", "/metrics"):
        ask(app, path)
    assert stages(app) == {}
    ask(app, "/models")
    assert stages(app) == {"shape": 1}
    ask(app, ONE_TICKER)
    assert set(stages(app)) - WAITING == {"fetch-data", "compute-v6", "policy", "shape"}
    assert (stages(app)["compute-v6"], stages(app)["policy"], stages(app)["shape"]) == (1, 1, 2)
    ask(app, "/rpe?ticker=SPY")
    assert set(stages(app)) | WAITING == MEASURED
    assert len(MEASURED) == 7
    assert stages(app)["compute-structure"] == stages(app)["compute-rpe"] == 1
    assert stages(app)["compute-v6"] == 1, "the signal is in the record"
    before = stages(app)
    ask(app, "/rpe?ticker=SPY")
    assert stages(app) == before, "a kept answer has no stages"


def test_a_stage_takes_as_long_as_it_does(build: Build, market: ScriptedMarket, timer: FakeTimer) -> None:
    def slowly(path: str) -> None:
        if "/minute/" in path:
            timer.forward(0.75)

    market.fault = slowly  # type: ignore[assignment]
    app = build()
    ask(app, ONE_TICKER)
    took = scrape(app).by(f"{STAGES}_sum", "stage")
    assert took["fetch-data"] >= 0.75
    assert took["compute-v6"] == took["policy"] == took["shape"] == 0.0


# --- the provider ---


def unreachable() -> Reply:
    raise Upstream("the provider cannot be reached")


EMPTY = {"status": "OK", "results": []}
ANSWERS: dict[str, tuple[Callable[[], Reply], str]] = {
    "good": (lambda: Reply(200, EMPTY, took_s=3.0), "ok"),
    "late": (lambda: Reply(200, EMPTY, took_s=3.1), "slow"),
    "429": (lambda: Reply(429, {}), "limited"),
    "401": (lambda: Reply(401, {}), "refused"),
    "403": (lambda: Reply(403, {}, took_s=9.0), "refused"),
    "404": (lambda: Reply(404, {}), "refused"),
    "500": (lambda: Reply(500, {}), "failed"),
    "503 and late": (lambda: Reply(503, {}, took_s=9.0), "failed"),
    "no JSON": (lambda: Reply(200, None), "failed"),
    "unreachable": (unreachable, "failed"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_call_to_the_provider_is_counted_by_how_it_ended(
    build: Build, market: ScriptedMarket, timer: FakeTimer, what: str
) -> None:
    answer, ended = ANSWERS[what]

    def fault(path: str) -> Reply | None:
        if "/minute/" not in path:
            return None
        timer.forward(0.25)
        return answer()

    market.fault = fault
    app = build()
    ask(app, ONE_TICKER)
    found = scrape(app)
    assert (found.value(f"{CALLS}_count", kind="days", outcome="ok") or 0) >= 1
    bars = {labels: n for labels, n in found.all(f"{CALLS}_count").items() if ("kind", "bars") in labels}
    calls = sum("/minute/" in path for path in market.calls)
    assert bars == {frozenset({"kind": "bars", "outcome": ended}.items()): calls}
    assert found.value(f"{CALLS}_sum", kind="bars", outcome=ended) == 0.25 * calls


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/aggs/ticker/SPY/range/1/minute/2025-03-11/2025-03-11", "bars"),
        ("/v2/aggs/ticker/SPY/range/1/day/2025-03-01/2025-03-10", "days"),
        ("/v2/snapshot/locale/us/markets/stocks/tickers/SPY", "snapshot"),
        ("/v1/marketstatus/now", "status"),
    ],
)
def test_calls_are_told_apart_by_kind(clock: FakeClock, timer: FakeTimer, path: str, kind: str) -> None:
    telemetry = build_telemetry(
        None, service="s", instance="i", share=0.0, emit=Events(), now=timer.timer.now, epoch=timer.timer.epoch
    )
    middleware.with_measurement(FeedTransport(demo_feed(), CALENDAR, clock), telemetry.stages, kind_of, outcome)(
        path, {}
    )
    [labels] = [
        s.labels for f in telemetry.latencies.registry.collect() for s in f.samples if s.name == f"{CALLS}_count"
    ]
    assert labels == {"kind": kind, "outcome": "ok"}


@pytest.mark.parametrize("why", [Unavailable("no key", part="api_key"), BudgetSpent("spent"), ValueError("ours")])
def test_what_never_became_a_call_is_none(build: Build, market: ScriptedMarket, why: Exception) -> None:
    def fault(path: str) -> Reply:
        raise why

    market.fault = fault
    app = build()
    ask(app, ONE_TICKER)
    assert market.calls
    assert scrape(app).all(f"{CALLS}_count") == {}


def seen(found: World) -> Scrape:
    return scrape(found.client.application)


def withheld(found: World) -> dict[str, float]:
    return seen(found).by("predict_polygon_calls_withheld_total", "reason")


def test_a_circuit_that_opens_is_shown_and_what_it_withholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10") as found:
        found.get(ONE_TICKER)
        assert seen(found).value("predict_breaker_state", kind="bars", state="closed") == 1
        assert withheld(found).keys() == set(WITHHELD)
        assert withheld(found)["breaker"] == 0
        assert seen(found).all("predict_breaker_changes_total") == {}
        found.provider.inject_fault("500", only="/minute/")
        for _ in range(10):
            found.step(61)
            found.get(ONE_TICKER)
        found.get("/replay?ticker=SPY&date=2025-03-06&time=11:00")
        found.get("/replay?ticker=SPY&date=2025-03-05&time=11:00")
        found.settle()
        now = seen(found)
        states = {state: now.value("predict_breaker_state", kind="bars", state=state) for state in STATES}
        assert states == {"closed": 0, "open": 1, "half_open": 0}
        assert (now.value("predict_breaker_changes_total", kind="bars", state="open") or 0) >= 1
        assert now.value("predict_breaker_state", kind="days", state="closed") == 1
        assert withheld(found)["breaker"] >= 1
        assert now.value(f"{CALLS}_count", kind="bars", outcome="failed") >= 5  # type: ignore[operator]
        found.provider.clear_fault()
        found.step(61)
        found.step(61)
        assert seen(found).value("predict_breaker_state", kind="bars", state="closed") == 1
        assert seen(found).value("predict_breaker_changes_total", kind="bars", state="closed") >= 1  # type: ignore[operator]


def test_the_budget_is_shown_as_it_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", polygon_calls_per_minute=12) as found:
        found.step(3600)
        found.step(120)
        before = seen(found)
        assert before.value("predict_budget_limit_calls") == 12
        assert before.value("predict_budget_pause_seconds") == 0
        assert before.value("predict_api_key_refused") == 0
        spent, left = (before.value("predict_budget_calls", state=state) or 0 for state in ("spent", "left"))
        assert spent + left == 12
        found.get("/replay?ticker=SPY&date=2025-02-20&time=11:00")
        now = seen(found)
        assert now.value("predict_budget_calls", state="spent") > spent  # type: ignore[operator]
        for day in range(3, 8):
            found.get(f"/replay?tickers=SPY,QQQ,IWM&date=2025-02-{day:02}&time=11:00")
        found.settle()
        assert withheld(found)["budget"] >= 1
        assert seen(found).value("predict_budget_calls", state="left") == 12 - (
            seen(found).value("predict_budget_calls", state="spent") or 0
        )


def test_a_pause_that_the_provider_asks_for_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", hasty=False) as found:
        found.core.pipeline.interest.request(["SPY"], found.clock())
        found.step(61)
        found.provider.inject_fault("429", retry_after=40)
        found.step(61)
        now = seen(found)
        assert 39 < (now.value("predict_budget_pause_seconds") or 0) < 90
        assert now.value("predict_api_key_refused") == 0
        assert now.by(f"{CALLS}_count", "outcome")["limited"] >= 1
        found.provider.clear_fault()
        found.step(90)
        assert seen(found).value("predict_budget_pause_seconds") == 0


def test_a_refused_key_is_shown_and_what_is_not_asked_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", hasty=False) as found:
        found.core.pipeline.interest.request(["SPY"], found.clock())
        found.step(61)
        assert seen(found).value("predict_api_key_refused") == 0
        found.provider.inject_fault("401")
        found.step(61)
        refused = withheld(found)["key"]
        found.step(61)
        now = seen(found)
        assert now.value("predict_api_key_refused") == 1
        assert now.by(f"{CALLS}_count", "outcome")["refused"] >= 1
        assert 200 < (now.value("predict_budget_pause_seconds") or 0) <= 300
        assert withheld(found)["key"] > refused


def test_without_a_provider_there_is_no_budget_and_no_circuit(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    ask(app, ONE_TICKER)
    found = scrape(app)
    for name in ("calls", "limit_calls", "pause_seconds"):
        assert found.families[f"predict_budget_{name}"].samples == []
    for name in ("predict_api_key_refused", "predict_breaker_state"):
        assert found.families[name].samples == []
    assert found.value("predict_info", version=VERSION, market="demo") == 1


# --- market, signals, models ---


@pytest.mark.parametrize(
    ("at", "is_open"),
    [("03-11 09:29:59", 0), ("03-11 09:30", 1), ("03-11 15:59:59", 1), ("03-11 16:00", 0), ("03-15 11:30", 0)],
)
def test_an_open_market_is_shown(build: Build, clock: FakeClock, at: str, is_open: int) -> None:
    app = build()
    clock.set(f"2025-{at}")
    assert scrape(app).value("predict_market_open") == is_open


def test_the_age_of_followed_data_is_shown_beside_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10") as found:
        assert seen(found).by("predict_ticker_followed", "ticker") == dict.fromkeys(SUPPORTED, 0)
        assert seen(found).all("predict_data_age_seconds") == {}
        found.get(ONE_TICKER)
        found.run(2)  # the others are followed until the hour is locked
        assert seen(found).by("predict_ticker_followed", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 0}
        assert seen(found).by("predict_data_age_seconds", "ticker") == {"SPY": 10}
        assert seen(found).value("predict_follower_alive") == 1
        found.provider.inject_fault("500")
        found.step(70)
        assert seen(found).by("predict_data_age_seconds", "ticker") == {"SPY": 80}
        found.timer.forward(60)
        assert seen(found).value("predict_follower_alive") == 0


@pytest.mark.parametrize(("delay", "allowed"), [(0, 125), (15, 1025)])
def test_data_may_be_two_bars_old_and_as_late_as_the_plan_is(build: Build, delay: int, allowed: int) -> None:
    """Two one-minute bars, five seconds to settle, and the plan's delay."""
    assert scrape(build(polygon_delay_minutes=delay)).value("predict_data_age_allowed_seconds") == allowed


def current(app: Flask) -> dict[str, float]:
    return scrape(app).by("predict_signal_current", "ticker")


def test_a_signal_is_current_while_its_hour_runs(build: Build, clock: FakeClock) -> None:
    app = build()
    assert current(app) == {"SPY": 0, "QQQ": 0, "IWM": 0}
    ask(app, ONE_TICKER)
    assert current(app) == {"SPY": 1, "QQQ": 0, "IWM": 0}
    for at in ("09:45", "12:00", "16:30"):
        clock.set(f"2025-03-11 {at}")
        assert current(app)["SPY"] == 0, at
    clock.set("2025-03-11 11:59:59")
    assert current(app)["SPY"] == 1


@pytest.mark.parametrize(("p", "action"), [(0.95, "LONG"), (0.05, "SHORT"), (0.5, "NO_TRADE")])
def test_a_locked_signal_is_counted_once_by_its_action(
    build: Build, tmp_path: Path, clock: FakeClock, p: float, action: str
) -> None:
    app = build(models_dir=models_saying(tmp_path / "m", p))
    name = "predict_signals_locked_total"
    assert set(scrape(app).all(name).values()) == {0}
    for _ in range(2):
        ask(app, ONE_TICKER)
        clock.forward(minutes=1)
    assert {labels: n for labels, n in scrape(app).all(name).items() if n} == {
        frozenset({"ticker": "SPY", "action": action}.items()): 1
    }


def gates(app: Flask) -> dict[str, float]:
    return {gate: n for gate, n in scrape(app).by("predict_gates_total", "gate").items() if n}


def test_an_answer_without_a_signal_is_counted_by_its_gate(
    build: Build, market: ScriptedMarket, tmp_path: Path
) -> None:
    app = build()
    assert set(scrape(app).by("predict_gates_total", "gate")) == set(Gate)
    assert gates(app) == {}
    market.fault = lambda path: Reply(500, None) if "QQQ" in path else Reply(429, {}) if "IWM" in path else None
    ask(app, "/trading_directions")
    assert gates(app) == {"DATA_FETCH_ERROR": 1, "RATE_LIMITED": 1}


def test_models_are_loaded_or_missing(build: Build, tmp_path: Path) -> None:
    assert scrape(build()).by("predict_model_loaded", "ticker") == dict.fromkeys(SUPPORTED, 1)
    folder = models_saying(tmp_path / "m", 0.9)
    (folder / "v6_QQQ.npz").write_bytes(b"damaged")
    app = build(models_dir=folder, data_dir=tmp_path / "d")
    assert scrape(app).by("predict_model_loaded", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 1}
    ask(app, "/trading_directions?ticker=QQQ")
    assert gates(app) == {"MODEL_UNAVAILABLE": 1}
    assert "QQQ" not in scrape(app).by("predict_drift_decisions", "ticker")


def test_drift_is_told_of_the_decisions_that_were_computed(build: Build) -> None:
    app = build()
    ask(app, ONE_TICKER)
    found = scrape(app)
    assert found.by("predict_drift_decisions", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 0}
    assert found.by("predict_drift_outside_ratio", "ticker").keys() == {"SPY"}
    assert found.all("predict_drift_psi") == {}


def test_events_are_counted_from_nought(build: Build) -> None:
    app = build()
    assert set(scrape(app).by("predict_events_total", "event")) == set(EVENTS)
    ask(app, ONE_TICKER)
    assert scrape(app).value("predict_events_total", event="signal_locked") == 1


def test_a_record_that_cannot_be_written_is_shown(build: Build, tmp_path: Path) -> None:
    assert scrape(build()).value("predict_record_failing") == 0
    (tmp_path / "file").write_text("not a folder")
    assert scrape(build(data_dir=tmp_path / "file")).value("predict_record_failing") == 1


# --- what is bounded ---

BOUNDED = {
    "fetches under way or queued": "predict_fetches_waiting",
    "jobs of the follower": "predict_follower_jobs",
    "series of bars in memory": "predict_series_kept",
    "kept answers": "predict_kept_answers",
    "bytes of kept answers": "predict_kept_answer_bytes",
    "clients whose requests are counted": "predict_limit_windows",
    "replays under way": "predict_under_way",
    "requests under way": "predict_requests_in_flight",
    "access lines not written yet": "predict_access_lines_waiting",
    "access lines that did not fit": "predict_access_lines_lost",
    "spans not sent yet": "predict_spans_waiting",
    "spans that were lost": "predict_spans",
    "calls of the budget": "predict_budget_calls",
    "calls that were not made": "predict_polygon_calls_withheld",
    "requests over a limit": "predict_limit_decisions",
    "decisions that drift rests on": "predict_drift_decisions",
}


def test_every_bound_has_its_metric(build: Build) -> None:
    app = build(otlp_endpoint="http://127.0.0.1:9")
    found = scrape(app)
    assert [what for what, name in BOUNDED.items() if name not in found.families] == []
    ask(app, "/swing")
    ask(app, "/swing")
    now = scrape(app)
    for name, least in (("series_kept", 2), ("kept_answers", 1), ("kept_answer_bytes", 100), ("limit_windows", 1)):
        assert (found.value(f"predict_{name}") or 0) < least <= (now.value(f"predict_{name}") or 0)
    app.extensions["predict-server"].close()


def test_without_a_collector_nothing_is_said_of_spans(build: Build) -> None:
    assert not [name for name in scrape(build()).families if name.startswith("predict_spans")]


# --- the text ---


@pytest.fixture
def busy(build: Build, market: ScriptedMarket) -> Flask:
    """A server that has something to say of everything."""
    app = build()
    for path in ("/rpe", "/rpe", "/replay?date=2025-03-10&time=11:00", "/nothing", "/breaks"):
        ask(app, path)
    return app


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain", "text/plain;version=0.0.4", "text/html,*/*;q=0.8"])
def test_plain_text_is_given_to_whoever_does_not_ask_for_more(busy: Flask, accept: str | None) -> None:
    answer = ask(busy, "/metrics", headers={} if accept is None else {"Accept": accept})
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert "# EOF" not in answer.text
    assert REQUESTS in Scrape(answer.text).families


@pytest.mark.parametrize("more", ["", ",text/plain;version=0.0.4;q=0.5,*/*;q=0.1"])
def test_open_metrics_are_given_to_whoever_asks_for_them(busy: Flask, more: str) -> None:
    answer = ask(busy, "/metrics", headers={"Accept": OPENMETRICS + more})
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("\n# EOF\n")
    assert answer.text.count("# EOF") == 1


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("text/plain", text_string_to_metric_families), (OPENMETRICS, openmetrics.text_string_to_metric_families)],
    ids=["plain", "openmetrics"],
)
def test_both_texts_can_be_read_and_say_of_each_metric_what_it_is(
    busy: Flask, accept: str, parse: Callable[[str], Iterator[Metric]]
) -> None:
    text = ask(busy, "/metrics", headers={"Accept": accept}).text
    families = list(parse(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)) > 40
    assert {family.type for family in families} == {"histogram", "counter", "gauge"}
    said = {kind: re.findall(rf"^# {kind} (\S+) \S", text, re.MULTILINE) for kind in ("HELP", "TYPE")}
    assert said["HELP"] == said["TYPE"]
    assert len(said["HELP"]) == len(families)
    ours = [name for name in names if not name.startswith(("process_", "python_"))]
    assert all(name.startswith("predict_") for name in ours)
    assert (
        sum(sample.value for f in families if f.name == REQUESTS for sample in f.samples if "_count" in sample.name)
        == 5
    )


def test_both_texts_say_the_same(busy: Flask) -> None:
    metrics = busy.extensions["predict-server"].metrics

    def said(text: str, parse: Callable[[str], Iterator[Metric]]) -> dict[tuple[str, Labels], float]:
        samples = [sample for family in parse(text) for sample in family.samples]
        return {(s.name, frozenset(s.labels.items())): s.value for s in samples if s.name.startswith("predict_")}

    plain = said(metrics(None, [])[0], text_string_to_metric_families)
    assert said(metrics(OPENMETRICS, [])[0], openmetrics.text_string_to_metric_families) == plain


@pytest.mark.parametrize("name", ["predict_info", "predict_events_total", f"{REQUESTS}_count", "process_open_fds"])
@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
def test_who_names_a_metric_gets_that_one(busy: Flask, name: str, accept: str) -> None:
    text = ask(busy, f"/metrics?name[]={name}", headers={"Accept": accept}).text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    assert {re.split(r"[{ ]", line)[0] for line in lines} == {name}


def test_who_names_several_gets_these_and_who_names_none_that_there_is_nothing(busy: Flask) -> None:
    several = Scrape(ask(busy, "/metrics?name[]=predict_info&name[]=predict_market_open").text)
    assert set(several.families) == {"predict_info", "predict_market_open"}
    assert ask(busy, "/metrics?name[]=nothing").text == ""


def test_promtool_finds_nothing_to_mend(busy: Flask) -> None:
    if shutil.which(PROMTOOL) is None:
        pytest.skip(MISSING)
    text = ask(busy, "/metrics").text
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_follower_with_nothing_to_fetch_measures_no_fetch(build: Build, market: ScriptedMarket) -> None:
    app = build()
    ask(app, ONE_TICKER)
    before, calls = stages(app)["fetch-data"], len(market.calls)
    core = app.extensions["predict-server"].pipeline
    for _ in range(20):
        core._source.refresh("SPY", core.clock())
    assert len(market.calls) == calls
    assert stages(app)["fetch-data"] == before
