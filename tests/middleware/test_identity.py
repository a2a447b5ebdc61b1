"""Who may read the routes for operators."""

from __future__ import annotations

import pytest
from flask import Flask

from app.config import api_keys
from tests.middleware.servers import OUTSIDE, Build, in_settings

pytestmark = pytest.mark.usefixtures("warm_market")


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
