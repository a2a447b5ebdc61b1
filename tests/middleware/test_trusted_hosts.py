"""Which host names are answered."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from tests.middleware.servers import Build

pytestmark = pytest.mark.usefixtures("warm_market")


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
