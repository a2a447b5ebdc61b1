"""Each stage of a stream is with the client before the next one begins: directly and through nginx, for Python, curl and the
EventSource of a browser. Every stage waits for a gate that is opened once the client has the line before it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import requests

from tests.chromium import CHROMIUM, NO_CHROMIUM
from tests.nginx import nginx, skip_without_nginx
from tests.serving.test_gunicorn import started
from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.gated_app:app"]
STREAM = "/v2/trading-directions/SPY/stream"
STAGES = ("data", "rpe", "v6", "signal", "complete")
LINES = ["computing", *STAGES]


class Gates:
    """The gates of the server's stages, all closed at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def close(self) -> None:
        for stage in STAGES:
            (self.folder / stage).unlink(missing_ok=True)

    def open_after(self, line: str) -> None:
        """Opens the gate of the stage that comes after a line."""
        if line != LINES[-1]:
            (self.folder / STAGES[LINES.index(line)]).touch()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Gates]]:
    folder = tmp_path_factory.mktemp("gates")
    with started(COMMAND, folder / "log", GATES=folder) as running:
        running.wait_ready()
        yield running.base, Gates(folder)


@pytest.fixture
def gates(server: tuple[str, Gates]) -> Iterator[Gates]:
    server[1].close()
    yield server[1]
    for line in LINES:  # the server gets rid of what a failed test has left
        server[1].open_after(line)


@pytest.fixture(params=["direct", "nginx"])
def address(request: pytest.FixtureRequest, server: tuple[str, Gates], tmp_path: Path) -> Iterator[str]:
    """Of the server, or of nginx in front of it."""
    with ExitStack() as stack:
        if request.param == "nginx":
            skip_without_nginx()
        yield stack.enter_context(nginx(tmp_path / "nginx", server[0])) if request.param == "nginx" else server[0]


def name(line: str | bytes) -> str:
    """What a line is called: its status, or else its stage."""
    found: dict[str, Any] = json.loads(line)
    return str(found.get("status", next(iter(found))))


def names_one_by_one(lines: Iterable[str | bytes], gates: Gates) -> list[str]:
    """The names of the lines; the gate of the stage after a line is opened when the line has come."""
    found = []
    for line in lines:
        found.append(name(line))
        gates.open_after(found[-1])
    return found


def test_python_has_each_line_before_the_next_stage_begins(address: str, gates: Gates) -> None:
    with requests.get(address + STREAM, stream=True, timeout=PATIENCE_S) as response:
        assert response.request.headers["Accept-Encoding"].startswith("gzip")
        assert "Content-Encoding" not in response.headers
        assert response.headers["Content-Type"] == "application/jsonl"
        assert names_one_by_one(response.iter_lines(chunk_size=None), gates) == LINES


def test_curl_has_each_line_before_the_next_stage_begins(address: str, gates: Gates) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    command = ["curl", "-sSN", "--max-time", str(PATIENCE_S), address + STREAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        assert names_one_by_one(iter(curl.stdout.readline, ""), gates) == LINES
    assert curl.returncode == 0


def test_nginx_compresses_other_answers(server: tuple[str, Gates], tmp_path: Path) -> None:
    skip_without_nginx()
    with nginx(tmp_path / "nginx", server[0]) as address:
        assert requests.get(f"{address}/v2/models", timeout=PATIENCE_S).headers["Content-Encoding"] == "gzip"


PAGE = f"""<!doctype html><title>follow</title><script>
const tell = text => fetch("/test/told", {{method: "POST", body: text}})
const source = new EventSource("{STREAM}")
source.onmessage = event => tell(event.data)
source.onerror = () => {{ if (source.readyState == EventSource.CLOSED) tell('{{"status": "closed"}}') }}
</script>""".encode()


@contextmanager
def page_that_tells() -> Iterator[tuple[str, Queue[bytes]]]:
    """The address of a page that opens the stream, and what it tells of it, in its order."""
    told: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(PAGE)

        def do_POST(self) -> None:
            told.put(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as collecting:
        threading.Thread(target=collecting.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{collecting.server_port}", told
        collecting.shutdown()


@contextmanager
def browser(address: str, folder: Path) -> Iterator[None]:
    """Chromium without a window, at an address."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    quiet = ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}"]
    with (folder.parent / "chromium.log").open("w") as log:
        process = subprocess.Popen([CHROMIUM, *options, *quiet, address], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_browsers_event_source_has_each_line_before_the_next_stage_begins_and_stops_at_the_end(
    server: tuple[str, Gates], gates: Gates, tmp_path: Path
) -> None:
    skip_without_nginx()
    with ExitStack() as stack:
        page, told = stack.enter_context(page_that_tells())
        locations = f"location /test/ {{ proxy_pass {page}; }}"
        address = stack.enter_context(nginx(tmp_path / "nginx", server[0], locations))
        stack.enter_context(browser(f"{address}/test/page", tmp_path / "profile"))
        lines = (told.get(timeout=PATIENCE_S) for _ in LINES)
        assert names_one_by_one(lines, gates) == LINES
        assert name(told.get(timeout=PATIENCE_S)) == "closed"
        assert told.empty()
