"""Where nobody can scrape, each replica pushes its series to a gateway, takes them back, and waits for nobody."""

from __future__ import annotations

import base64
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.factory import create_app
from app.telemetry import pushgateway
from app.telemetry.pushgateway import PushgatewayClient
from tests.redis_server import free_port
from tests.support import FakeClock, settings
from tests.waiting import PATIENCE_S, wait_for

GROUP = "/metrics/job/predict/instance/one"
PASSWORD = "p@ss/word:hunter2"
IN_ADDRESS = "p%40ss%2Fword%3Ahunter2"
QUICK_S = 0.3
"""For how long a push waits for a gateway that says nothing. The others have as long as a busy machine needs."""

MARGIN_S = 5.0
"""What a push may take beside that on a busy machine. A gateway that says nothing does so for longer."""


@dataclass(frozen=True)
class Sent:
    """A request that the gateway got."""

    method: str
    path: str
    authorization: str | None
    body: bytes


@dataclass
class Gateway:
    """A server with the Pushgateway's interface, as far as it is used. `answer`: a status, or what is sent in its stead."""

    port: int = 0
    answer: int | bytes = 200
    got: list[Sent] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, sent: Sent) -> None:
        self.got.append(sent)
        if sent.method == "PUT":
            self.kept[sent.path] = sent.body
        elif sent.method == "DELETE":
            self.kept.pop(sent.path, None)


class Handler(BaseHTTPRequestHandler):
    """Hands on what comes. An empty answer is silence until the test is over."""

    gateway: Gateway

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.gateway.take(Sent(self.command, self.path, self.headers.get("Authorization"), body))
        answer = self.gateway.answer
        if answer == b"":
            self.gateway.released.wait(30)
        elif isinstance(answer, bytes):
            self.wfile.write(answer)
        else:
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()
        self.close_connection = True

    do_DELETE = do_PUT

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def listening(gateway: Gateway) -> Iterator[Gateway]:
    handler = type("Bound", (Handler,), {"gateway": gateway})
    with ThreadingHTTPServer(("127.0.0.1", gateway.port), handler) as server:
        server.daemon_threads = True
        gateway.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield gateway
        finally:
            gateway.released.set()
            server.shutdown()
            thread.join(PATIENCE_S)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with listening(Gateway()) as found:
        yield found


@pytest.fixture(autouse=True)
def _patiently_and_by_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushgateway, "SEND_S", PATIENCE_S)
    monkeypatch.setenv("no_proxy", "*")


class Replica:
    """What pushes, and what it had to tell."""

    def __init__(self, address: str, name: str = "one") -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.registry = CollectorRegistry()
        self.asked = Counter("asked", "Requests", ["route"], registry=self.registry)
        Gauge("up_to_date", "1 if so", registry=self.registry).set(1)
        emit = lambda event, **fields: self.told.append((event, fields))  # noqa: E731
        self.client = PushgatewayClient(address, lambda: {"instance": name}, self.show, emit)

    def show(self, accept: str | None, names: Sequence[str]) -> tuple[str, str]:
        return generate_latest(self.registry).decode(), CONTENT_TYPE_LATEST

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.told]


def families(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


# --- what arrives ---


def test_what_arrives_has_the_series_as_they_are_now(gateway: Gateway) -> None:
    replica = Replica(gateway.address)
    for n in (1, 2):
        replica.asked.labels("/swing").inc()
        replica.client.push()
        found = families(gateway.kept[GROUP])
        assert [(s.name, s.labels, s.value) for s in found["asked"].samples] == [
            ("asked_total", {"route": "/swing"}, n)
        ]
        assert found["up_to_date"].samples[0].value == 1
    assert [sent.method for sent in gateway.got] == ["PUT", "PUT"], "a push replaces the one before"
    assert replica.told == []


def test_each_replica_has_a_group_of_its_own(gateway: Gateway) -> None:
    for name in ("one", "two"):
        Replica(gateway.address, name).client.push()
    assert set(gateway.kept) == {GROUP, GROUP.replace("one", "two")}


def test_the_gateway_may_be_below_a_path(gateway: Gateway) -> None:
    Replica(f"{gateway.address}/push/").client.push()
    assert list(gateway.kept) == [f"/push{GROUP}"]


def test_a_server_pushes_in_the_background_what_it_would_show(
    gateway: Gateway, tmp_path: Path, clock: FakeClock
) -> None:
    values = {"market": "demo", "data_dir": tmp_path, "railway_replica": "one", "pushgateway": gateway.address}
    app = create_app(settings(**values), clock=clock)
    app.test_client().get("/livez", buffered=True)
    services = app.extensions["predict-server"]
    services.start()
    wait_for(lambda: GROUP in gateway.kept, "it pushes")
    pushed, shown = families(gateway.kept[GROUP]), families(services.metrics(None, [])[0].encode())
    assert set(pushed) == set(shown)
    [count] = [s.value for s in pushed["predict_request_seconds"].samples if s.name.endswith("_count")]
    assert count == 1
    services.stop()
    services.close()
    assert gateway.kept == {}


# --- who pushes ---


def test_a_user_and_a_password_in_the_address_are_sent_as_basic_auth(gateway: Gateway) -> None:
    replica = Replica(gateway.address.replace("//", f"//us%20er:{IN_ADDRESS}@"))
    replica.client.push()
    replica.client.close()
    assert [sent.path for sent in gateway.got] == [GROUP, GROUP]
    for sent in gateway.got:
        kind, _, said = (sent.authorization or "").partition(" ")
        assert (kind, base64.b64decode(said).decode()) == ("Basic", f"us er:{PASSWORD}")


def test_a_user_alone_is_sent_with_an_empty_password(gateway: Gateway) -> None:
    Replica(gateway.address.replace("//", "//user@")).client.push()
    assert gateway.got[0].authorization == f"Basic {base64.b64encode(b'user:').decode()}"


def test_without_a_user_nothing_is_sent(gateway: Gateway) -> None:
    Replica(gateway.address).client.push()
    assert gateway.got[0].authorization is None


@pytest.mark.parametrize("answer", [200, 401, 500, b"nonsense\r\n\r\n"])
def test_the_password_is_in_no_line_of_the_log_and_in_nothing_told(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], answer: int | bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway.answer = answer
    replica = Replica(gateway.address.replace("//", f"//user:{IN_ADDRESS}@"))
    replica.client.push()
    gateway.answer = 200
    replica.client.push()
    replica.client.close()
    said = [
        str(replica.told),
        *(f"{record.getMessage()} {record.__dict__}" for record in caplog.records),
        *capfd.readouterr(),
    ]
    for text in said:
        assert not [part for part in (PASSWORD, IN_ADDRESS, "hunter2") if part in text]


# --- gateways that fail ---

FAILING: dict[str, tuple[int | bytes, str]] = {
    "says no": (401, "HTTPError"),
    "broken": (500, "HTTPError"),
    "silent": (b"", "ReadTimeout"),
    "no web server": (b"220 mail.example ESMTP\r\n", "ConnectionError"),
    "hangs up": (b"HTTP/1.1 ", "ConnectionError"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_gateway_that_fails_costs_no_more_than_its_time_and_is_told_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gateway.answer, error = FAILING[name]
    replica = Replica(gateway.address)
    with monkeypatch.context() as patch:
        if name == "silent":
            patch.setattr(pushgateway, "SEND_S", QUICK_S)
        for _ in range(2):
            began = time.monotonic()
            replica.client.push()
            assert time.monotonic() - began < QUICK_S + MARGIN_S
    assert replica.told == [("metrics_not_pushed", {"error": error})]
    wait_for(lambda: len(gateway.got) == 2, "the gateway has read what was sent")
    gateway.answer = 200
    replica.client.push()
    replica.client.push()
    assert replica.events == ["metrics_not_pushed", "metrics_pushed"]
    assert gateway.kept[GROUP]
    gateway.answer = 500
    replica.client.push()
    assert replica.events == ["metrics_not_pushed", "metrics_pushed", "metrics_not_pushed"]


def test_a_gateway_that_is_down_is_told_once_and_again_when_it_is_back() -> None:
    gateway = Gateway(free_port())
    replica = Replica(gateway.address)
    for _ in range(2):
        began = time.monotonic()
        replica.client.push()
        assert time.monotonic() - began < QUICK_S + MARGIN_S
    assert replica.told == [("metrics_not_pushed", {"error": "ConnectionError"})]
    with listening(gateway):
        replica.client.push()
    assert replica.events == ["metrics_not_pushed", "metrics_pushed"]


@pytest.mark.parametrize("answer", [500, b"nonsense\r\n\r\n"])
def test_pushing_goes_on_in_the_background_whatever_the_gateway_said(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, answer: int | bytes
) -> None:
    monkeypatch.setattr(pushgateway, "EVERY_S", 0.01)
    gateway.answer = answer
    replica = Replica(gateway.address)
    replica.client.start()
    wait_for(lambda: len(gateway.got) > 2, "it goes on")
    gateway.answer = 200
    wait_for(lambda: replica.events == ["metrics_not_pushed", "metrics_pushed"], "it is told")
    replica.client.close()


def test_a_figure_that_cannot_be_read_does_not_end_the_pushing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushgateway, "EVERY_S", 0.01)
    replica, broken = Replica(gateway.address), [True]

    def read() -> float:
        if broken[0]:
            raise RuntimeError("no figure")
        return 1.0

    Gauge("odd", "Odd", registry=replica.registry).set_function(read)
    replica.client.start()
    wait_for(lambda: replica.events == ["metrics_not_pushed"], "it is told")
    broken[0] = False
    wait_for(lambda: GROUP in gateway.kept, "it pushes again")
    replica.client.close()


# --- the end ---


def test_the_end_takes_the_series_back_and_nothing_is_pushed_after_it(gateway: Gateway) -> None:
    replica = Replica(gateway.address)
    replica.client.push()
    replica.client.close()
    replica.client.push()
    assert [sent.method for sent in gateway.got] == ["PUT", "DELETE"]
    assert gateway.kept == {}


def test_a_push_under_way_at_the_end_does_not_bring_the_series_back(gateway: Gateway) -> None:
    replica, reading, go_on = Replica(gateway.address), threading.Event(), threading.Event()

    def read() -> float:
        reading.set()
        go_on.wait(PATIENCE_S)
        return 1.0

    Gauge("slow", "Slow to be read", registry=replica.registry).set_function(read)
    under_way = threading.Thread(target=replica.client.push)
    under_way.start()
    assert reading.wait(PATIENCE_S)
    ending = threading.Thread(target=replica.client.close)
    ending.start()
    ending.join(QUICK_S / 6)
    go_on.set()
    for thread in (under_way, ending):
        thread.join(PATIENCE_S)
    assert [sent.method for sent in gateway.got] == ["PUT", "DELETE"]


@pytest.mark.parametrize("answer", [500, b""])
def test_a_gateway_that_fails_does_not_hold_the_end(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, answer: int | bytes
) -> None:
    if answer == b"":
        monkeypatch.setattr(pushgateway, "SEND_S", QUICK_S)
    gateway.answer = answer
    replica = Replica(gateway.address)
    began = time.monotonic()
    replica.client.close()
    assert time.monotonic() - began < QUICK_S + MARGIN_S
    assert replica.events == ["metrics_not_pushed"]


# --- the program itself ---

PROGRAMS = ("prometheus-pushgateway", "pushgateway")


@pytest.fixture
def real_gateway(tmp_path: Path) -> Iterator[str]:
    """The address of a real Pushgateway. Skips where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(
            f"{PROGRAMS[0]} is missing; to install it: `sudo apt-get install prometheus-pushgateway` (Debian), or take "
            "it from prometheus.io/download"
        )
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([program, f"--web.listen-address={address}"], stdout=out, stderr=out, cwd=tmp_path)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"http://{address}/-/ready", timeout=PATIENCE_S).ok
        except requests.ConnectionError:
            return False

    try:
        wait_for(is_ready, "the gateway answers")
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def test_a_real_pushgateway_shows_what_was_pushed_until_the_end(real_gateway: str) -> None:
    replica, other = Replica(real_gateway), Replica(real_gateway, "two")
    replica.asked.labels("/swing").inc(3)
    for one in (replica, other):
        one.client.push()
        assert one.told == []

    def asked() -> list[tuple[dict[str, str], float]]:
        found = families(requests.get(f"{real_gateway}/metrics", timeout=PATIENCE_S).content)
        return [(s.labels, s.value) for s in found["asked"].samples] if "asked" in found else []

    assert asked() == [({"job": "predict", "instance": "one", "route": "/swing"}, 3)]
    replica.client.close()
    wait_for(lambda: asked() == [], "the gateway deletes after it has answered")
    assert 'instance="two"' in requests.get(f"{real_gateway}/metrics", timeout=PATIENCE_S).text
