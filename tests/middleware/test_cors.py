"""Which pages of other origins may read an answer."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from tests.middleware.servers import OUTSIDE, Build
from tests.support import FakeClock

pytestmark = pytest.mark.usefixtures("warm_market")


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
