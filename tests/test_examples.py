"""The programs in `examples/` and in docs/socket-io.md, as they stand, against a real server."""

from __future__ import annotations

import json
import queue
import runpy
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import socketio
from engineio.packet import MESSAGE, Packet

from blueprints.socket_io.asyncapi import SENT
from blueprints.socket_io.socket_types import ByeReason, ErrorCode
from tests import node_packages
from tests.chromium import CHROMIUM, NO_CHROMIUM
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


def example(name: str, folder: Path, base: str) -> Path:
    """An example for another address, with what it imports beside it."""
    source = EXAMPLES / name
    shutil.copy(source.with_stem("live").with_suffix({".html": ".mjs"}.get(source.suffix, source.suffix)), folder)
    return placed(source.read_text(), folder, name, base)


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


def first_of_both(lines: Iterator[str]) -> list[str]:
    """The first line of each ticker. Before the second one the first ticker may have had others."""
    found: dict[str, str] = {}
    while not {"SPY", "QQQ"} <= found.keys():
        line = next(lines)
        found.setdefault(line.split()[0], line)
    return [*found.values()]


def test_the_python_example_prints_signals(base: str, tmp_path: Path) -> None:
    program = example("watch.py", tmp_path, base)
    with lines_of([sys.executable, program], tmp_path) as lines:
        assert all("DEMO: " in line for line in first_of_both(lines))


def test_the_javascript_example_prints_signals(base: str, tmp_path: Path) -> None:
    folder = node_packages.linked(tmp_path)
    example("watch.mjs", folder, base)
    with lines_of(["node", "watch.mjs"], folder) as lines:
        assert all("DEMO: " in line and "snapshot" in line for line in first_of_both(lines))


@pytest.mark.parametrize("name", ["watch.py", "watch.mjs"])
def test_the_examples_follow_a_named_server_that_may_have_several_processes(
    name: str, redis_url: str, tmp_path: Path
) -> None:
    folder = node_packages.linked(tmp_path)
    for file in (name, f"live{Path(name).suffix}"):
        shutil.copy(EXAMPLES / file, folder)
    settings = {"MARKET": "demo", "DATA_DIR": tmp_path / "data", "REDIS_URL": redis_url}
    with started(SERVE, tmp_path / "log", **settings) as server:
        server.wait_ready()
        requests.get(f"{server.base}/v2/trading-directions", timeout=PATIENCE_S)
        command = [sys.executable if name.endswith(".py") else "node", name, server.base]
        with lines_of(command, folder) as lines:
            assert all("DEMO: " in line for line in first_of_both(lines))


def test_the_page_shows_signals_in_a_browser(base: str, origin: str, tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    folder = node_packages.linked(tmp_path)
    page = example("watch.html", folder, base)
    page.write_text(page.read_text() + OBSERVE)
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


CONNECTED_AT, EARLIER = "2025-03-06T12:10:00-05:00", "2025-03-06T12:09:00-05:00"


def about(kind: str, generated_at: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": f"3f9a1c20-{kind}",
        "ticker": "SPY",
        "generated_at": generated_at,
        "freshness": "live",
    }


SCRIPT: list[tuple[str, dict[str, Any] | str | None]] = [
    ("hello", {"market_time": CONNECTED_AT}),
    ("snapshot", about("snapshot", EARLIER)),
    ("price", about("price", EARLIER)),
    ("status", about("status", CONNECTED_AT)),
    ("heartbeat", {"server_time": "2026-11-26T15:40:00-05:00", "next_by": "2026-11-26T15:40:45-05:00"}),
    ("quiet", None),
    ("error", {"ticker": "SPY", "detail": "The state cannot be computed."}),
    ("error", {"ticker": None, "detail": "There is no such event."}),
    ("bye", {"reason": "restart", "detail": "The server stops."}),
    ("disconnect", "transport close"),
]
SAID = [
    "Connected",
    "snapshot live",
    "price replayed",
    "status live",
    "quiet after 45 s",
    "Nothing comes any more: what was shown last says nothing about now",
    "SPY: The state cannot be computed.",
    "There is no such event.",
    "The server ends the connection (restart). The server stops.",
    "Not connected (transport close): what was shown last says nothing about now",
]
"""What a user is told of the script."""

PLAY = """
import { follow } from "./live.mjs"

const heard = new Map(), said = [], timers = new Map()
let number = 0, anything, auth
globalThis.setTimeout = (call, ms) => { timers.set(++number, { call, ms }); return number }
globalThis.clearTimeout = (id) => { timers.delete(id) }
const socket = { active: false, onAny: (call) => { anything = call } }
socket.on = (name, call) => { heard.set(name, call); return socket }
socket.connect = () => said.push("connects again")
const io = (url, options) => { auth = options.auth; return socket }
follow(io, "", ["SPY"], ({ kind }, freshness) => said.push(`${kind} ${freshness}`), (text) => said.push(text))
for (const [name, payload] of JSON.parse(process.argv[2])) {
  if (name === "quiet") {
    const [{ call, ms }] = timers.values()
    said.push(`quiet after ${ms / 1000} s`)
    call()
    continue
  }
  if (!["disconnect", "connect_error"].includes(name)) anything(name, payload)
  heard.get(name)(payload)
}
const waiting = [...timers.values()].map(({ ms }) => ms)
for (const { call } of timers.values()) call()
auth(({ after }) => console.log(JSON.stringify({ said, after, waiting })))
"""


def played(folder: Path, script: object) -> dict[str, Any]:
    """What the JavaScript example says of events, timers that are over, and refusals."""
    shutil.copy(EXAMPLES / "live.mjs", folder)
    (folder / "play.mjs").write_text(PLAY)
    found: dict[str, Any] = json.loads(
        node_packages.node("play.mjs", json.dumps(script), folder=node_packages.linked(folder))
    )
    return found


def test_the_javascript_example_tells_replayed_events_silence_errors_and_the_end(tmp_path: Path) -> None:
    found = played(tmp_path, SCRIPT)
    told = [text for text in found["said"] if text != "Connected"]
    assert [found["said"][0], *told] == SAID
    assert found["said"].count("Connected") == 2, "and that events come again after a silence"
    assert (found["after"], found["waiting"]) == ({"SPY": "3f9a1c20-status"}, [])


def test_the_javascript_example_comes_back_after_a_refusal_when_the_server_says(tmp_path: Path) -> None:
    refusal = {"message": "Too many.", "data": {"detail": "Too many.", "retry_after_ms": 5000}}
    for_good = {"message": "No key.", "data": {"detail": "No key.", "retry_after_ms": None}}
    found = played(tmp_path, [("connect_error", refusal), ("connect_error", for_good)])
    assert found == {"said": ["Too many.", "No key.", "connects again"], "after": {}, "waiting": [5000]}


class Over(Exception):
    """The script is over."""


class FakeClient:
    """A client of python-socketio that hears the script once it connects. refusals: those of its first attempts."""

    def __init__(self, refusals: list[Any]) -> None:
        self.connected = False
        self.refusals = refusals
        self._handlers: dict[str, Any] = {}

    def on(self, name: str, handler: Any = None) -> Any:
        if handler is None:
            return partial(self._handlers.__setitem__, name)
        self._handlers[name] = handler
        return handler

    def connect(self, url: str, auth: Any, transports: list[str], retry: bool) -> None:
        if self.refusals:
            self._handlers["connect_error"](self.refusals.pop(0))
            raise socketio.exceptions.ConnectionError
        self.connected, self.auth = True, auth
        for name, payload in SCRIPT:
            if name == "disconnect":
                self._handlers[name](payload)
            else:
                self._handlers["*"](name, payload)


class ScriptedQueue:
    """The queue of the example: where the script says so nothing comes in time, and at its end the example is ended."""

    def __init__(self) -> None:
        self.put = (items := deque[Any]()).append
        self._items = items
        self.waited: list[float] = []

    def get(self, timeout: float) -> Any:
        if not self._items:
            raise Over
        item = self._items.popleft()
        if item[0] == "quiet":
            self.waited.append(timeout)
            raise queue.Empty
        return item


def test_the_python_example_tells_replayed_events_silence_errors_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = {"message": "Too many.", "data": {"detail": "Too many.", "retry_after_ms": 5000}}
    client, events, said, slept = FakeClient([refusal]), ScriptedQueue(), list[str](), list[float]()
    live = runpy.run_path(str(EXAMPLES / "live.py"))
    names = live["follow"].__globals__
    monkeypatch.setitem(names, "OrderedClient", lambda: client)
    monkeypatch.setitem(names, "queue", SimpleNamespace(Queue=lambda: events, Empty=queue.Empty))
    monkeypatch.setitem(names, "time", SimpleNamespace(sleep=slept.append))
    with pytest.raises(Over):
        live["follow"]("", ["SPY"], lambda event, freshness: said.append(f"{event['kind']} {freshness}"), said.append)
    assert said == ["Too many.", *(text for text in SAID if not text.startswith("quiet"))]
    assert (events.waited, slept) == ([45.0], [5.0])
    assert client.auth() == {"subscribe": ["SPY"], "after": {"SPY": "3f9a1c20-status"}}


def test_the_python_example_hears_events_in_their_order_whichever_thread_runs_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, heard = runpy.run_path(str(EXAMPLES / "live.py"))["OrderedClient"](), list[tuple[Any, ...]]()
    client.on("*", lambda *event: heard.append(event))
    begun: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", begun.append)
    for seq in range(3):
        client.eio._receive_packet(Packet(MESSAGE, f'2["price",{{"seq":{seq}}}]'))
    for thread in reversed(begun):
        thread.run()
    assert heard == [("price", {"seq": 0}), ("price", {"seq": 1}), ("price", {"seq": 2})]


def test_the_python_example_says_that_it_has_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(["Connection error"])
    live = runpy.run_path(str(EXAMPLES / "live.py"))
    names = live["follow"].__globals__
    monkeypatch.setitem(names, "OrderedClient", lambda: client)
    said: list[str] = []
    with pytest.raises(socketio.exceptions.ConnectionError):
        live["follow"]("", ["SPY"], lambda event, freshness: None, said.append)
    assert said == ["The server does not answer, or refuses the connection"]


def test_the_python_example_ends_where_the_same_would_be_refused_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient([{"message": "No key.", "data": {"detail": "No key.", "retry_after_ms": None}}])
    live = runpy.run_path(str(EXAMPLES / "live.py"))
    names = live["follow"].__globals__
    monkeypatch.setitem(names, "OrderedClient", lambda: client)
    said: list[str] = []
    with pytest.raises(socketio.exceptions.ConnectionError):
        live["follow"]("", ["SPY"], lambda event, freshness: None, said.append)
    assert said == ["No key."]


def test_the_examples_are_as_short_as_they_say() -> None:
    assert len((EXAMPLES / "watch.html").read_text().splitlines()) <= 20
    assert len((EXAMPLES / "watch.py").read_text().splitlines()) <= 16


def test_the_client_library_of_the_examples_is_the_one_that_is_tested() -> None:
    versions = [
        json.loads((folder / "package.json").read_text())["dependencies"]["socket.io-client"]
        for folder in (EXAMPLES, ROOT / "tests" / "node")
    ]
    assert versions[0] == versions[1]


@pytest.mark.soak
@pytest.mark.parametrize("name", ["watch.py", "watch.mjs"])
def test_an_example_tells_of_a_restart_and_goes_on(name: str, tmp_path: Path) -> None:
    port, folder = free_port(), node_packages.linked(tmp_path)
    example(name, folder, f"http://127.0.0.1:{port}")
    settings = {"MARKET": "demo", "DATA_DIR": tmp_path / "data"}
    command = [sys.executable if name.endswith(".py") else "node", name]
    with ExitStack() as stack:
        first = stack.enter_context(started(SERVE, tmp_path / "first", port=port, **settings))
        first.wait_ready()
        requests.get(f"{first.base}/v2/trading-directions", timeout=PATIENCE_S)
        process = stack.enter_context(
            subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stderr is not None
        first_of_both(process.stdout)
        first.stop()
        said: list[str] = []
        while not any("Not connected" in line for line in said):
            said.append(process.stderr.readline())
        assert said[0] == "Connected\n"
        assert said[1].startswith("The server ends the connection (restart).")
        second = stack.enter_context(started(SERVE, tmp_path / "second", port=port, **settings))
        second.wait_ready()
        while said[-1] != "Connected\n":
            said.append(process.stderr.readline())
        assert next(process.stdout)


# --- docs/socket-io.md ---


def code(language: str) -> str:
    (found,) = ["\n".join(block.lines) for block in blocks(PAGE) if block.language == language]
    return found + "\n"


def test_the_javascript_of_the_page_prints_signals(base: str, tmp_path: Path) -> None:
    folder = node_packages.linked(tmp_path)
    placed(code("js"), folder, "client.mjs", base)
    with lines_of(["node", "client.mjs"], folder) as lines:
        assert all("snapshot" in line for line in first_of_both(lines))


REFUSED = """
const connected = []
const socket = { active: false, on: (name, call) => { socket[name] = call }, connect: () => connected.push("again") }
%s
globalThis.setTimeout = (call, ms) => { connected.push(ms); call() }
socket.connect_error({ data: { retry_after_ms: null } })
socket.connect_error({})
socket.connect_error({ data: { retry_after_ms: 5000 } })
socket.active = true
socket.connect_error({ data: { retry_after_ms: 7000 } })
console.log(JSON.stringify(connected))
"""


def test_the_handler_of_refusals_connects_again_when_the_server_says_so_and_the_library_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "refused.mjs").write_text(REFUSED % code("javascript"))
    assert json.loads(node_packages.node("refused.mjs", folder=node_packages.linked(tmp_path))) == [5000, "again"]


def test_the_page_has_every_event_every_code_and_every_reason() -> None:
    assert [row[0].strip("`") for row in table(section(PAGE, "Events"))] == [event.name for event in SENT]
    for heading, words in (("Errors", ErrorCode), ("Goodbye", ByeReason)):
        rows = [[row[0].strip("`"), *row[1:]] for row in table(section(PAGE, heading))]
        assert rows == [[word.value, word.meaning, word.advice] for word in words], heading
