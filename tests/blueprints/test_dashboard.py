"""The dashboard as the server sends it: which page, its assets, their coding and caching, and what holds without a build."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

Serve = Callable[..., Flask]
Get = Callable[..., TestResponse]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PAGE, SCRIPT, PICTURE = b"<!doctype html><title>Predict</title>", b"export {}", b"<svg/>"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A folder as `make dashboard` writes it; the letters br stand for Brotli."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    files = {"index.html": PAGE, "assets/index-B4_d-x.js": SCRIPT, "assets/live-1.svg": PICTURE}
    for name, body in files.items():
        (folder / name).write_bytes(body)
        (folder / f"{name}.gz").write_bytes(gzip.compress(body, mtime=0))
    (folder / "assets" / "index-B4_d-x.js.br").write_bytes(b"br " + SCRIPT)
    (folder / "assets" / "notes.md").write_bytes(b"not a part of the page")
    (tmp_path / "secret.js").write_bytes(b"outside")
    return folder


@pytest.fixture
def get(serve: Serve, build: Path) -> Get:
    client = serve(dashboard_dir=build).test_client()
    return lambda path, **headers: client.get(path, headers={n.replace("_", "-"): v for n, v in headers.items()})


@pytest.mark.parametrize(
    "path", ["/", "/dashboard", "/dashboard/SPY?date=2026-01-05&time=14:00", "/dashboard/SPY/record"]
)
def test_a_browser_gets_the_page_at_every_address_of_it(get: Get, path: str) -> None:
    answer = get(path, Accept=BROWSER)
    assert (answer.status_code, answer.content_type, answer.data) == (200, "text/html; charset=utf-8", PAGE)


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_all_other_clients_get_what_they_always_got_at_the_root(get: Get, accept: str) -> None:
    answer = get("/", Accept=accept)
    assert answer.content_type == "application/json"
    assert set(answer.get_json()) == {"name", "version", "about", "state", "paths"}
    assert "Accept" in answer.headers["Vary"]


def test_the_page_is_asked_for_anew_each_time_and_sent_when_it_has_changed(get: Get, build: Path) -> None:
    first = get("/", Accept=BROWSER)
    assert first.headers["Cache-Control"] == "no-cache"
    assert {"Accept", "Accept-Encoding"} <= set(first.headers["Vary"].split(", "))
    same = get("/", Accept=BROWSER, If_None_Match=first.headers["ETag"])
    assert (same.status_code, same.data) == (304, b"")
    (build / "index.html").write_bytes(b"<!doctype html>new")
    assert get("/", Accept=BROWSER, If_None_Match=first.headers["ETag"]).data == b"<!doctype html>new"


def test_the_page_loads_nothing_but_what_this_server_sends(get: Get) -> None:
    headers = get("/dashboard/SPY").headers
    rules = {rule.split()[0]: rule.split()[1:] for rule in headers["Content-Security-Policy"].split(";")}
    others = [name for name, values in rules.items() if values != ["'self'"]]
    assert [rules[name] for name in others] == [["'none'"]] * len(others)
    assert set(others) == {"default-src", "base-uri", "frame-ancestors"}
    assert {"script-src", "style-src", "img-src", "connect-src", "form-action"} <= rules.keys()
    assert (headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")


@pytest.mark.parametrize(
    ("takes", "coding", "body"),
    [
        ("gzip, deflate, br, zstd", "br", b"br " + SCRIPT),
        ("gzip", "gzip", gzip.compress(SCRIPT, mtime=0)),
        ("br;q=0, *", "gzip", gzip.compress(SCRIPT, mtime=0)),
        ("identity", None, SCRIPT),
        ("", None, SCRIPT),
    ],
)
def test_an_asset_is_kept_for_ever_and_sent_in_the_smallest_coding(
    get: Get, takes: str, coding: str | None, body: bytes
) -> None:
    answer = get("/assets/index-B4_d-x.js", Accept_Encoding=takes)
    assert (answer.status_code, answer.data, answer.headers.get("Content-Encoding")) == (200, body, coding)
    assert answer.content_type == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert "X-API-Version" not in answer.headers


def test_codings_of_one_asset_are_told_apart(get: Get) -> None:
    tags = {get("/assets/index-B4_d-x.js", Accept_Encoding=coding).headers["ETag"] for coding in ("br", "gzip", "")}
    assert len(tags) == 3


def test_a_head_request_gets_the_headers_alone(serve: Serve, build: Path) -> None:
    client = serve(dashboard_dir=build).test_client()
    for path in ("/dashboard/SPY", "/assets/live-1.svg"):
        whole, head = client.get(path), client.head(path)
        assert (head.data, head.headers["Content-Length"]) == (b"", str(len(whole.data)))


@pytest.mark.parametrize(
    "path",
    [
        *("/assets/none.js", "/assets/", "/assets/notes.md", "/assets/index-B4_d-x.js.br", "/assets/live-1.svg/x"),
        *("/assets/../../secret.js", "/assets/..%2f..%2fsecret.js", "/assets/..%5c..%5csecret.js", "/assets/%00.js"),
        *(
            "/assets/.hidden.js",
            f"/assets/{'a' * 300}.js",
            "/v1/assets/live-1.svg",
            "/v2/assets/live-1.svg",
            "/v1/dashboard/SPY",
        ),
    ],
)
def test_what_is_no_asset_is_not_there(get: Get, path: str) -> None:
    answer = get(path)
    assert answer.status_code == 404
    assert answer.content_type in ("application/problem+json", "application/json")
    assert answer.get_json()["error_code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["/dashboard/SPY", "/assets/live-1.svg"])
def test_another_method_is_answered_with_those_that_may_be_used(serve: Serve, build: Path, path: str) -> None:
    answer = serve(dashboard_dir=build).test_client().post(path)
    assert (answer.status_code, answer.get_json()["error_code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("header", ["1", "2", "7"])
def test_the_page_and_its_assets_are_of_no_version(get: Get, header: str) -> None:
    for path in ("/dashboard/SPY", "/assets/live-1.svg"):
        answer = get(path, X_API_Version=header)
        assert answer.status_code == 200
        assert "X-API-Version" not in {*answer.headers.keys(), *answer.headers["Vary"].split(", ")}


def test_page_and_assets_need_no_key_where_the_server_has_keys(serve: Serve, build: Path) -> None:
    key = f"desk:standard:2030-01-01:{'0' * 64}"
    client = serve(dashboard_dir=build, api_keys=key).test_client()
    for path in ("/", "/dashboard/SPY", "/assets/live-1.svg"):
        assert client.get(path, headers={"Accept": BROWSER}).status_code == 200


def test_page_and_assets_count_against_the_limit_of_all_other_requests(serve: Serve, build: Path) -> None:
    client = serve(dashboard_dir=build, rate_limit_other=2).test_client()
    assert [client.get(path).status_code for path in ("/dashboard/SPY", "/assets/live-1.svg", "/dashboard")] == [
        200,
        200,
        429,
    ]


@pytest.mark.parametrize("path", ["/", "/dashboard", "/dashboard/SPY"])
def test_without_a_build_the_page_says_what_to_do(serve: Serve, tmp_path: Path, path: str) -> None:
    answer = serve(dashboard_dir=tmp_path / "none").test_client().get(path, headers={"Accept": BROWSER})
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert "make dashboard" in answer.text
    assert 'href="/docs"' in answer.text


def test_a_build_that_appears_while_the_server_runs_is_sent(serve: Serve, build: Path, tmp_path: Path) -> None:
    client = serve(dashboard_dir=tmp_path / "later").test_client()
    client.get("/dashboard")
    build.rename(tmp_path / "later")
    assert client.get("/dashboard").data == PAGE
