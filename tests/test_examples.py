"""The programs in `examples/` and in docs/socket-io.md, as they stand, against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from blueprints.socket_io.asyncapi import SENT
from blueprints.socket_io.socket_types import ByeReason, ErrorCode
from clients.event_types import TYPESCRIPT
from tests import node_packages
from tests.blueprints.test_pages import CHROMIUM
from tests.markdown import ROOT, blocks, section, table
from tests.serving.test_gunicorn import SERVE, free_port, started
from tests.waiting import PATIENCE_S

ADDRESS = "http://127.0.0.1:8000"
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "socket-io.md").read_text()
OBSERVE = """<script>
new MutationObserver(() => fetch("/said", { method: "POST", body: document.body.innerText }))
  .observe(document.documentElement, { childList: true, subtree: true, characterData: true })
</script>"""
"""Makes a page tell the server that it came from what it shows."""


class Pages(SimpleHTTPRequestHandler):
    """Sends the files of a folder, and takes what a page shows."""

    def do_POST(self) -> None:
        self.server.said.append(self.rfile.read(int(self.headers["Content-Length"])).decode())  # type: ignore[attr-defined]
        self.server.new.release()  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def origin() -> str:
    """Where the page comes from, which the server must know."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with started(SERVE, folder / "log", MARKET="demo", DATA_DIR=folder / "data", CORS_ORIGINS=origin) as server:
        server.wait_ready()
        requests.get(
            f"{server.base}/v2/trading-directions", timeout=PATIENCE_S
        )  # the first answer makes the days of the demo
        yield server.base


def placed(text: str, folder: Path, name: str, base: str) -> Path:
    """A program in a folder, for another address than the one that it names."""
    assert text.count(ADDRESS) == 1
    file = folder / name
    file.write_text(text.replace(ADDRESS, base))
    return file


@contextmanager
def lines_of(command: list[str | Path], folder: Path) -> Iterator[Iterator[str]]:
    """The lines that a program prints, which is ended afterwards."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
        finally:
            process.kill()


def until_both(lines: Iterator[str]) -> list[str]:
    """The lines until there is one of each ticker."""
    found: list[str] = []
    while not {"SPY", "QQQ"} <= {line.split()[0] for line in found}:
        found.append(next(lines))
    return found


def test_the_python_example_prints_signals(base: str, tmp_path: Path) -> None:
    program = placed((EXAMPLES / "watch.py").read_text(), tmp_path, "watch.py", base)
    with lines_of([sys.executable, program], tmp_path) as lines:
        assert all("DEMO: " in line for line in until_both(lines))


def test_the_javascript_example_prints_signals(base: str, tmp_path: Path) -> None:
    folder = node_packages.linked(tmp_path)
    placed((EXAMPLES / "watch.mjs").read_text(), folder, "watch.mjs", base)
    with lines_of(["node", "watch.mjs"], folder) as lines:
        assert all("DEMO: " in line and "snapshot" in line for line in until_both(lines))


def test_the_page_shows_signals_in_a_browser(base: str, origin: str, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium (Debian), brew install chromium (macOS)")
    folder = node_packages.linked(tmp_path)
    placed((EXAMPLES / "watch.html").read_text() + OBSERVE, folder, "watch.html", base)
    server = ThreadingHTTPServer(("127.0.0.1", int(origin.rpartition(":")[2])), partial(Pages, directory=str(folder)))
    server.said, server.new = [], threading.Semaphore(0)  # type: ignore[attr-defined]
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'p'}",
    ]
    browser = subprocess.Popen([CHROMIUM, *options, f"{origin}/watch.html"], stderr=subprocess.DEVNULL)
    try:
        shown = ""
        while not all(words in shown for words in ("Connected", "SPY: ", "QQQ: ", "DEMO: ")):
            assert server.new.acquire(timeout=PATIENCE_S), shown  # type: ignore[attr-defined]
            shown = server.said[-1]  # type: ignore[attr-defined]
    finally:
        browser.kill()
        browser.wait(PATIENCE_S)
        server.shutdown()
        server.server_close()


def test_the_examples_are_as_short_as_they_say() -> None:
    assert len((EXAMPLES / "watch.html").read_text().splitlines()) <= 20
    assert len((EXAMPLES / "watch.py").read_text().splitlines()) <= 16


def test_the_client_library_of_the_examples_is_the_one_that_is_tested() -> None:
    versions = [
        json.loads((folder / "package.json").read_text())["dependencies"]["socket.io-client"]
        for folder in (EXAMPLES, ROOT / "tests" / "node")
    ]
    assert versions[0] == versions[1]


# --- docs/socket-io.md ---


def code(language: str) -> str:
    (found,) = ["\n".join(block.lines) for block in blocks(PAGE) if block.language == language]
    return found + "\n"


def test_the_javascript_of_the_page_prints_signals(base: str, tmp_path: Path) -> None:
    folder = node_packages.linked(tmp_path)
    placed(code("js"), folder, "client.mjs", base)
    with lines_of(["node", "client.mjs"], folder) as lines:
        assert all("snapshot" in line for line in until_both(lines))


def test_the_typescript_of_the_page_passes_the_compiler(tmp_path: Path) -> None:
    folder = node_packages.linked(tmp_path)
    shutil.copy(TYPESCRIPT, folder)
    (folder / "client.ts").write_text(code("ts"))
    (folder / "package.json").write_text('{"type": "module"}')
    flags = ["--strict", "--noEmit", "--skipLibCheck", "--target", "ES2022", "--module", "NodeNext"]
    node_packages.node("node_modules/typescript/bin/tsc", *flags, "client.ts", folder=folder)


def test_the_page_has_every_event_every_code_and_every_reason() -> None:
    assert [row[0].strip("`") for row in table(section(PAGE, "Events"))] == [event.name for event in SENT]
    for heading, words in (("Errors", ErrorCode), ("Goodbye", ByeReason)):
        rows = [[row[0].strip("`"), *row[1:]] for row in table(section(PAGE, heading))]
        assert rows == [[word.value, word.meaning, word.advice] for word in words], heading
