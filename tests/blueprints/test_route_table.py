"""Every route there is: path, methods, aliases; and JSON for everything that is not one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.factory import create_app
from tests.support import settings

Serve = Callable[..., Flask]

GET = {"GET", "HEAD", "OPTIONS"}
POST = {"POST", "OPTIONS"}
ROUTES = {
    "/": GET,
    "/trading_directions": GET,
    "/trading-directions": GET,
    "/mtf": GET,
    "/replay": GET,
    "/rpe": GET,
    "/northstar": GET,
    "/swing": GET,
    "/daily_signals": GET,
    "/daily-signals": GET,
    "/signal_breakdown": GET,
    "/signal-breakdown": GET,
    "/volatility_meter": GET,
    "/price_ranges": GET,
    "/model_info": GET,
    "/predict": POST,
    "/batch_predict": POST,
    "/health": GET,
    "/models": GET,
    "/livez": GET,
    "/readyz": GET,
    "/versions": GET,
    "/metrics": GET,
    "/assets/<name>": GET,
    "/dashboard": GET,
    "/dashboard/<path:view>": GET,
    "/docs": GET,
    "/docs/errors": GET,
    "/docs/favicon-32x32.png": GET,
    "/docs/page.css": GET,
    "/docs/page.js": GET,
    "/docs/swagger-ui-bundle.js": GET,
    "/docs/swagger-ui.css": GET,
    "/docs/versions": GET,
    "/openapi.json": GET,
    "/asyncapi.json": GET,
    "/apps.json": GET,
    "/widgets.json": GET,
    "/docs/socket-io": GET,
    "/openapi/v1.json": GET,
    "/v2/trading-directions": GET,
    "/v2/trading-directions/<ticker>": GET,
    "/v2/trading-directions/<ticker>/stream": GET,
    "/v2/bars/<ticker>": GET,
    "/v2/signals/<ticker>": GET,
    "/v2/structure/<ticker>": GET,
    "/v2/swing/<ticker>": GET,
    "/v2/replay/<ticker>": GET,
    "/v2/models": GET,
    "/v2/models/<ticker>": GET,
    "/v2/calendar": GET,
    "/v2/status": GET,
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NEEDS = {"/replay": "?date=2025-03-10&time=11:00", "/v2/replay/<ticker>": "?at=2025-03-10T11:00:00-04:00"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """One server for all wrong requests, which change nothing."""
    limits = dict.fromkeys(
        ("rate_limit_directions", "rate_limit_analysis", "rate_limit_replay", "rate_limit_other"), 10_000
    )
    return create_app(settings(market="demo", data_dir=tmp_path_factory.mktemp("routes"), **limits)).test_client()


def test_the_routes_are_these_and_no_others(standing: Flask) -> None:
    table = {rule.rule: set(rule.methods or ()) for rule in standing.url_map.iter_rules()}
    assert table == ROUTES


@pytest.mark.parametrize(
    "path",
    sorted(
        p
        for p, methods in ROUTES.items()
        if "GET" in methods
        and p != "/metrics"
        and not p.startswith(("/docs", "/dashboard", "/assets"))
        and not p.endswith("/stream")
    ),
)
def test_every_get_route_answers_json(standing: Flask, path: str) -> None:
    response = standing.test_client().get(path.replace("<ticker>", "SPY") + NEEDS.get(path, ""))
    assert (response.status_code, response.content_type) == (200, "application/json")


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_wrong_methods_are_405_json_that_names_the_right_ones(client: FlaskClient, path: str) -> None:
    for method in [method for method in METHODS if method not in ROUTES[path]]:
        response = client.open(path.replace("<ticker>", "SPY"), method=method)
        assert response.status_code == 405, method
        assert response.get_json()["error_code"] == "METHOD_NOT_ALLOWED", method
        assert set(response.headers["Allow"].split(", ")) == ROUTES[path], method


@pytest.mark.parametrize(
    "path",
    [
        "/mtf/",
        "/MTF",
        "/v3/mtf",
        "/debug/files",
        "/set_model_version",
        "/static/x",
        "/favicon.ico",
        "/%2e%2e/etc/passwd",
    ],
)
def test_unknown_paths_are_404_json(standing: Flask, path: str) -> None:
    response = standing.test_client().get(path)
    assert response.status_code == 404
    assert set(response.get_json()) == {"error", "error_code"}
    assert response.get_json()["error_code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/trading_directions", "/trading-directions"),
        ("/daily_signals", "/daily-signals"),
        ("/signal_breakdown", "/signal-breakdown"),
    ],
)
def test_both_spellings_give_the_same_bytes(standing: Flask, one: str, other: str) -> None:
    client = standing.test_client()
    assert client.get(one).data == client.get(other).data
