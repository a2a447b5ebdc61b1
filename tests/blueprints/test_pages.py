"""The documents and the pages: what is sent, who may read it, and what a browser makes of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser
from werkzeug.serving import make_server

import blueprints
from blueprints.pages.files import FILES
from blueprints.pages.routes import docs
from tests.blueprints.v2.calls import document
from tests.browser.watching import tab
from tests.waiting import wait_for

Serve = Callable[..., Flask]
PAGES = sorted(blueprints.PAGES)
CONTENT_TYPES = {
    "json": "application/json",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
}


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/openapi.json", "v2/openapi.json"),
        ("/openapi/v1.json", "v1/openapi.json"),
        ("/asyncapi.json", "socket_io/asyncapi.json"),
    ],
)
def test_the_committed_documents_are_sent(standing: Flask, path: str, file: str) -> None:
    response = standing.test_client().get(path)
    committed = Path(blueprints.__file__).parent / file
    assert response.data == committed.read_bytes()


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_a_page_and_a_file_are_sent_once_and_then_known(standing: Flask, path: str) -> None:
    client = standing.test_client()
    first = client.get(path)
    kind = path.rpartition(".")[2]
    assert (first.status_code, first.content_type) == (200, CONTENT_TYPES.get(kind, "text/html; charset=utf-8"))
    assert re.fullmatch(r"public, max-age=\d+", first.headers["Cache-Control"])
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    head = client.head(path)
    assert (head.data, head.headers["Content-Length"]) == (b"", str(len(first.data)))
    assert "X-API-Version" not in first.headers


@pytest.mark.parametrize(
    ("path", "origin", "allowed"),
    [
        ("/openapi.json", "https://friend.example", "https://friend.example"),
        ("/openapi.json", "https://other.example", None),
        ("/openapi/v1.json", "https://other.example", "*"),
    ],
)
def test_other_origins_may_read_the_document_of_a_version_as_they_may_read_its_answers(
    serve: Serve, path: str, origin: str, allowed: str | None
) -> None:
    app = serve(cors_origins="https://friend.example")
    response = app.test_client().get(path, headers={"Origin": origin})
    assert response.headers.get("Access-Control-Allow-Origin") == allowed
    assert ("Origin" in response.headers.get("Vary", "")) == (path == "/openapi.json")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_found_with_a_slash_at_its_end_too(standing: Flask, path: str) -> None:
    client = standing.test_client()
    page, same = client.get(path), client.get(f"{path}/")
    assert (same.status_code, same.data) == (200, page.data)
    assert "X-API-Version" not in same.headers
    assert same.headers["Content-Security-Policy"] == page.headers["Content-Security-Policy"]


def test_an_error_at_a_page_is_a_problem(standing: Flask) -> None:
    problem = standing.test_client().post("/docs").get_json()
    assert problem["type"] == "/docs/errors#METHOD_NOT_ALLOWED"


class Links(HTMLParser):
    """What a page loads and where it leads, and whether it holds a script or a style of its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for name, value in attrs:
            if name in ("src", "href"):
                self.found.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_only_what_this_server_has_and_holds_no_script_and_no_style(standing: Flask, path: str) -> None:
    client = standing.test_client()
    response = client.get(path)
    links = Links(response.get_data(as_text=True))
    assert links.inline == []
    assert [link for link in links.found if not link.startswith(("/", "#"))] == []
    for link in {link.partition("#")[0] for link in links.found} - {""}:
        assert client.get(link).status_code == 200, link
    rules = {rule.split()[0]: rule.split()[1:] for rule in response.headers["Content-Security-Policy"].split(";")}
    assert rules["default-src"] == rules["frame-ancestors"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]


def test_the_document_is_judged_by_no_other_host() -> None:
    assert "validatorUrl: null" in FILES["/docs/page.js"].path.read_text()


# --- in a browser ---

LOOKS_EVERY_S = 0.5
"""The page of all operations is so large that to look at it takes longer than to wait."""


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """The app on a port of loopback, for a browser."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_browser_shows_every_operation_and_nothing_breaks_the_policy(serve: Serve, chromium: Browser) -> None:
    paths = {*document()["paths"], *document()["webhooks"]}
    with listening(serve()) as base, tab(chromium, base) as shown:
        page = shown.page
        page.goto(f"{base}/docs#/signals/replay")
        wait_for(lambda: set(re.findall(r'data-path="([^"]+)"', page.content())) == paths, every_s=LOOKS_EVERY_S)
        wait_for(
            lambda: "/docs/errors#UNSUPPORTED_TICKER" in page.content(),
            "the operation of the address is open, with its examples",
            every_s=LOOKS_EVERY_S,
        )
        shown.settle()
        assert shown.wrong == []


def test_a_browser_would_say_what_breaks_the_policy(serve: Serve, chromium: Browser) -> None:
    app = serve()
    app.view_functions["pages.errors"] = broken
    with listening(app) as base, tab(chromium, base) as shown:
        shown.page.goto(f"{base}/docs/errors")
        said = lambda: "Content Security Policy" in "".join(shown.wrong)  # noqa: E731
        wait_for(lambda: shown.page.content() and said(), every_s=LOOKS_EVERY_S)


def broken() -> Response:
    """A page with a script of its own."""
    response = docs()
    response.set_data(response.get_data() + b"<script>document.title = 'x'</script>")
    return response
