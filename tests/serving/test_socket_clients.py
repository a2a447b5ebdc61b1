"""Stock clients of Socket.IO against the server as it is deployed: `socket.io-client` from npm and `python-socketio`, by long
polling with its upgrade and by WebSocket alone, over cuts and restarts, without any code of their own for it."""

from __future__ import annotations

import json
import os
import queue
import runpy
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import node_packages
from tests.markdown import ROOT
from tests.serving.test_gunicorn import QUICK_DEMO, Server, free_port, started, workers_of
from tests.waiting import PATIENCE_S

HERE = Path(__file__).parent
POLICY_VIOLATION, TRY_AGAIN_LATER, ABNORMAL = 1008, 1013, 1006
"""Close codes of WebSockets (RFC 6455, 7.4.1; 1013: IANA's registry)."""

WEBSOCKET = {"transports": ["websocket"]}
Said = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with started(QUICK_DEMO, folder / "log", MARKET="demo", DATA_DIR=folder / "data") as running:
        ready(running)
        yield running
        assert "Traceback" not in running.log.read_text()


def ready(server: Server) -> None:
    """Waits until the server has signals: the first answer makes the days of the demo market."""
    server.wait_ready()
    requests.get(f"{server.base}/v2/trading-directions", timeout=PATIENCE_S)


class Heard:
    """What happened to a client, in its order."""

    def __init__(self) -> None:
        self.all: list[Said] = []
        self._new: queue.Queue[Said] = queue.Queue()

    def tell(self, said: Said) -> None:
        self._new.put(said)

    def until(self, what: str, count: int = 1, **fields: object) -> Said:
        """Waits for the count-th thing of this kind from now on that has these fields."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                said = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {what} {fields}; the last things were {self.all[-8:]}") from None
            self.all.append(said)
            if said["what"] == what and all(said.get(name) == value for name, value in fields.items()):
                count -= 1
                if count == 0:
                    return said

    def ever(self, what: str, **fields: object) -> Said:
        """The first thing of this kind that has these fields, which may be among what came by now."""
        wanted = {"what": what, **fields}
        known = [said for said in self.all if wanted.items() <= said.items()]
        return known[0] if known else self.until(what, **fields)

    def of(self, ticker: str) -> list[Said]:
        """The events of a ticker that have a number of their own or begin it."""
        kinds = ("snapshot", "signal", "price", "status")
        return [said for said in self.all if said["what"] in kinds and said["ticker"] == ticker]


class JavaScriptClient(Heard):
    """A process of Node."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__()
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.tell(json.loads(line))

    def close(self) -> None:
        """Ends the process. What it said to its end is read first: a pipe that another thread reads must not be closed."""
        self._process.kill()
        self._reader.join(PATIENCE_S)
        with self._process:  # closes its pipes
            pass

    def do(self, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = node_packages.linked(tmp_path_factory.mktemp("node"))
    shutil.copy(HERE / "socket_client.mjs", found)
    return found


@contextmanager
def javascript(
    folder: Path, url: str, options: dict[str, object], auth: dict[str, object] | None = None
) -> Iterator[JavaScriptClient]:
    arguments = [url, json.dumps(options), json.dumps(auth or {})]
    process = subprocess.Popen(
        ["node", "socket_client.mjs", *arguments],
        **{"cwd": folder, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},
    )
    with closing(JavaScriptClient(process)) as client:
        yield client


def without_a_gap(events: list[Said]) -> None:
    """A snapshot, and every event behind it once."""
    assert events[0]["what"] == "snapshot"
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events)))
    assert all(event["id"] == f"{event['epoch']}-{event['seq']}" for event in events)


# --- two libraries, two ways ---


@pytest.mark.parametrize(
    ("options", "first"), [({}, "polling"), (WEBSOCKET, "websocket")], ids=["defaults", "websocket"]
)
def test_the_javascript_client_with_the_simple_form(
    server: Server, folder: Path, options: dict[str, object], first: str
) -> None:
    with javascript(folder, server.base, options) as client:
        assert client.until("open")["transport"] == first
        assert client.until("connect")["recovered"] is False
        hello = client.until("hello")
        assert (hello["protocol"], hello["source"], hello["recovered"]) == (1, "demo", False)
        if first == "polling":
            client.ever("upgrade", transport="websocket")
        client.do(emit="subscribe", payload={"ticker": "SPY"})
        client.until("price", count=3)
        answer = client.ever("acknowledged")
        assert (answer["subscribed"], answer["rejected"]) == (["SPY"], [])
        without_a_gap(client.of("SPY"))
        client.do(emit="unsubscribe", payload={"ticker": "SPY"})
        assert client.until("acknowledged")["subscribed"] == []


OrderedClient: Any = runpy.run_path(str(ROOT / "examples" / "live.py"))["OrderedClient"]
"""The library alone hands messages on in any order."""


class PythonClient(Heard):
    """A client of python-socketio."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = OrderedClient(reconnection_delay=0.05, reconnection_delay_max=0.25)
        self.socket.on("connect", lambda: self.tell({"what": "connect", "transport": self.socket.transport()}))
        self.socket.on("*", self._any)

    def _any(self, name: str, event: Said, offset: str | None = None) -> None:
        self.tell({"what": name, **event, "offset": offset})


@pytest.mark.parametrize(
    ("options", "first"), [({}, "polling"), (WEBSOCKET, "websocket")], ids=["defaults", "websocket"]
)
def test_the_python_client_with_the_simple_form(server: Server, options: dict[str, Any], first: str) -> None:
    client = PythonClient()
    client.socket.connect(server.base, **options)
    try:
        assert client.until("connect")["transport"] in (first, "websocket")
        client.until("hello")
        answer = client.socket.call("subscribe", {"ticker": "SPY"}, timeout=PATIENCE_S)
        assert (answer["subscribed"], answer["rejected"]) == (["SPY"], [])
        client.until("price", count=3)
        without_a_gap(client.of("SPY"))
        assert client.socket.transport() == "websocket", "the default client has changed over to it"
        assert client.socket.call("unsubscribe", {"tickers": ["SPY"]}, timeout=PATIENCE_S)["subscribed"] == []
    finally:
        client.socket.disconnect()


def test_what_is_wrong_is_told_and_the_connection_goes_on(server: Server, folder: Path) -> None:
    with javascript(folder, server.base, WEBSOCKET) as client:
        client.until("hello")
        client.do(emit="subscrbe", payload={})
        assert client.until("error")["code"] == "UNKNOWN_EVENT"
        assert client.until("acknowledged")["error"]["code"] == "UNKNOWN_EVENT"
        client.do(emit="*", payload="subscribe")
        assert "no event `*`" in client.until("error")["detail"]
        assert client.until("acknowledged")["error"]["code"] == "UNKNOWN_EVENT"
        client.do(emit="subscribe", payload={"ticker": "SPY", "colour": "red"})
        error = client.until("error")
        assert (error["code"], "`colour` is not known" in error["detail"]) == ("INVALID_PAYLOAD", True)
        assert client.until("acknowledged")["error"]["detail"] == error["detail"]
        client.do(emit="subscribe", payload={"tickers": ["SPY", "TSLA"]})
        answer = client.until("acknowledged", subscribed=["SPY"])
        assert [(one["ticker"], one["code"]) for one in answer["rejected"]] == [("TSLA", "UNSUPPORTED_TICKER")]
        assert not [said for said in client.all if said["what"] == "disconnect"]


def test_a_wrong_auth_is_refused_with_its_reason(server: Server, folder: Path) -> None:
    with javascript(folder, server.base, WEBSOCKET, {"subscribe": 5}) as client:
        data = client.until("connect_error")["data"]
    assert (data["code"], "`subscribe` must be" in data["detail"]) == ("INVALID_PAYLOAD", True)
    assert data.keys() == {"code", "detail", "retry_after_ms"}


# --- cuts and restarts ---


def test_the_javascript_client_recovers_after_a_cut_of_long_polling(server: Server, folder: Path) -> None:
    """The client tells the server that it closes its transport, as it does whenever a poll has failed."""
    with javascript(folder, server.base, {"transports": ["polling"]}, {"subscribe": "SPY"}) as client:
        client.until("connect", recovered=False)
        client.until("price", count=2)
        client.do(cut="engine")
        client.until("connect", recovered=True)
        client.until("price", count=3)
        without_a_gap(client.of("SPY"))


@pytest.mark.parametrize("cut", ["engine", "terminate", "flood"])
def test_the_javascript_client_recovers_after_a_cut(server: Server, folder: Path, cut: str) -> None:
    """The client closes its engine, the TCP connection ends, or the server closes the WebSocket."""
    with javascript(folder, server.base, WEBSOCKET, {"subscribe": ["SPY", "QQQ"]}) as client:
        client.until("connect", recovered=False)
        client.until("price", count=2)
        client.do(cut=cut)
        if cut == "flood":
            assert client.until("bye")["reason"] == "too_many_messages"
        lost = client.until("disconnect")
        assert lost["code"] == {"flood": POLICY_VIOLATION}.get(cut, lost["code"])
        client.until("connect", recovered=True)
        assert client.until("hello")["recovered"] is True
        client.until("price", count=3)
        for ticker in ("SPY", "QQQ"):
            without_a_gap(client.of(ticker))


def kill(server: Server) -> None:
    """Ends the server as a power cut does: its worker too."""
    for pid in [server.process.pid, *workers_of(server)]:
        os.kill(pid, signal.SIGKILL)
    server.process.wait(PATIENCE_S)


def stop(server: Server) -> None:
    assert server.stop() == 0


@pytest.mark.parametrize("end", [kill, pytest.param(stop, marks=pytest.mark.soak)])
def test_a_client_goes_on_receiving_over_a_restart_with_no_code_of_its_own(
    folder: Path, tmp_path: Path, end: Callable[[Server], None]
) -> None:
    port = free_port()
    settings = {"MARKET": "demo", "DATA_DIR": tmp_path / "data"}
    with javascript(folder, f"http://127.0.0.1:{port}", {}, {"subscribe": "SPY"}) as client:
        with started(QUICK_DEMO, tmp_path / "first", port=port, **settings) as first:
            ready(first)
            client.until("price", count=3)
            client.ever("upgrade", transport="websocket")
            end(first)
        if end is stop:
            assert client.until("bye")["reason"] == "restart"
        assert client.until("disconnect")["code"] == (TRY_AGAIN_LATER if end is stop else ABNORMAL)
        with started(QUICK_DEMO, tmp_path / "second", port=port, **settings) as second:
            client.until("connect", recovered=False)
            client.until("price", count=3, told_afterwards=False)
            assert "Traceback" not in second.log.read_text()
        without_a_gap(client.of("SPY"))
