"""Servers for the tests of the layers, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from app.config import api_keys
from app.factory import create_app
from tests.support import FakeClock, ScriptedMarket, settings

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


Build = Callable[..., Flask]


def started(folder: Path, clock: FakeClock, market: ScriptedMarket, **values: object) -> Flask:
    known = {"market": "polygon", "polygon_api_key": "k", "data_dir": folder, **values}
    app = create_app(settings(**known), clock=clock, transport=market)
    app.add_url_rule("/v2/ping", "v2_ping", lambda: {"pong": True})
    return app


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


def in_settings(holders: dict[str, tuple[str, api_keys.ApiKey]]) -> str:
    return ",".join(str(key) for _, key in holders.values())


class Asking:
    """A client that takes an answer to its last byte: then it is written down."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()

    def get(self, path: str, **more: Any) -> TestResponse:
        return self._client.get(path, buffered=True, **more)


def asked(app: Flask) -> Asking:
    return Asking(app)
