"""A server that can be scraped, and what a scrape says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from app.factory import create_app
from tests.provider.world import World
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings, settle

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
AT = "2025-03-11 11:30:06"


def started(folder: Path, clock: FakeClock, market: ScriptedMarket, timer: FakeTimer, **values: object) -> Flask:
    """A server on the scripted market, with routes that tests need."""
    known = {"market": "polygon", "polygon_api_key": "k", "data_dir": folder, **values}
    app = create_app(settings(**known), clock=clock, transport=market, timer=timer.timer)
    app.add_url_rule("/v2/ping", "v2_ping", lambda: {"pong": True})
    app.add_url_rule("/breaks", "breaks", lambda: 1 / 0)
    app.add_url_rule("/takes/<float:seconds>", "takes", lambda seconds: str(timer.forward(seconds)))
    app.add_url_rule("/looks", "looks", lambda: {"in_flight": in_flight(app)})
    app.add_url_rule("/streams", "streams", lambda: app.response_class(streamed(app, timer)))
    app.add_url_rule("/cut", "cut", lambda: app.response_class(streamed(app, timer, cut=True)))
    return app


def in_flight(app: Flask) -> float | None:
    return scrape(app).value("predict_requests_in_flight")


def streamed(app: Flask, timer: FakeTimer, *, cut: bool = False) -> Iterator[str]:
    """Says how many requests are under way; the last byte comes three seconds after the first."""
    yield f"{in_flight(app)} "
    timer.forward(3.0)
    if cut:
        raise RuntimeError("broke on its way")
    yield f"{in_flight(app)}"


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


def stages(app: Flask) -> dict[str, float]:
    """How often each stage was measured, fetches that outlast their answers included."""
    settle(app)
    return scrape(app).by(f"{STAGES}_count", "stage")


def seen(found: World) -> Scrape:
    return scrape(found.client.application)
