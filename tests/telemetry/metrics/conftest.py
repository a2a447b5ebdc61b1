"""Servers whose metrics are scraped."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.factory import create_app
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings
from tests.telemetry.metrics.scraping import Build, in_flight, streamed


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
