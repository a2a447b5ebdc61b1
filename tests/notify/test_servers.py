"""Servers tell of signals: once, whatever is killed; and a receiver that hangs costs no request anything."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.factory import create_app
from app.signals.policy import SUPPORTED
from tests.notify.messages import SECRET
from tests.notify.receiver import Handler, Receiver, hang, receiving, status
from tests.serving.test_gunicorn import Server, started
from tests.serving.test_processes import worker_of
from tests.support import FakeClock, new_york, settings
from tests.waiting import wait_for

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.notify.told_app:server"]
EVERY = ("LONG", "SHORT", "NO_TRADE")
IDS = {f"signal-demo-{ticker}-2025-03-11T11" for ticker in SUPPORTED}
AT = "2025-03-11 11:30:40"

Serve = Callable[..., FlaskClient]


@pytest.fixture
def serve_demo(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server in this process that tells of the signals of 11:00."""
    apps: list[Flask] = []

    def begin(*webhooks: Receiver, apprise: tuple[Receiver, ...] = ()) -> FlaskClient:
        values = settings(
            market="demo",
            data_dir=tmp_path,
            webhook_urls=" ".join(receiver.url for receiver in webhooks),
            webhook_secret=SECRET,
            notify_urls=" ".join(receiver.apprise_url for receiver in apprise),
            notify_actions=EVERY,
        )
        apps.append(create_app(values, clock=FakeClock(new_york(AT))))
        apps[-1].extensions["predict-server"].start()
        return apps[-1].test_client()

    yield begin
    for app in apps:
        app.extensions["predict-server"].close()


def notifications(client: FlaskClient) -> Any:
    return client.get("/health").get_json()["operations"]["notifications"]


def test_every_locked_signal_reaches_webhooks_and_people(serve_demo: Serve) -> None:
    with receiving() as program, receiving() as person:
        client = serve_demo(program, apprise=(person,))
        wait_for(lambda: len(program.deliveries) == len(person.deliveries) == 3)
        assert set(program.ids()) == IDS
        titles = {json.loads(delivery.body)["title"].split()[1] for delivery in person.deliveries}
        assert titles == {*SUPPORTED}
        sent = 'predict_notifications_total{kind="signal",outcome="sent",target="webhook #1"} 3'
        wait_for(lambda: sent in client.get("/metrics").text)
        wait_for(lambda: notifications(client)["waiting"] == 0)
        found = notifications(client)
        assert (found["targets"], found["dead"], found["disabled"]) == (["json #1", "webhook #1"], 0, [])
    assert "apprise" not in sys.modules, "the server itself never imports it"


def test_requests_are_answered_while_receivers_hang_and_no_answer_has_an_address(serve_demo: Serve) -> None:
    with receiving(hang) as one, receiving(hang) as other:
        client = serve_demo(one, other)
        wait_for(lambda: one.deliveries and other.deliveries)
        for _ in range(20):
            assert client.get("/trading_directions").status_code == 200
            assert client.get("/v2/trading-directions/SPY").status_code == 200
        answers = [client.get(path).text for path in ("/health", "/metrics", "/v2/trading-directions")]
        assert not any(re.search(rf"a-secret-word|(?<![\d.]){one.port}(?!\d)", answer) for answer in answers)


def test_nobody_is_told_where_nobody_is_named(tmp_path: Path) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=FakeClock(new_york(AT)))
    assert app.test_client().get("/health").get_json()["operations"]["notifications"] is None
    app.extensions["predict-server"].close()


def test_regions_whose_record_is_not_the_one_that_is_published_tell_nobody(tmp_path: Path) -> None:
    """Each region has an outbox of its own: a person would be told once for each, of signals that may differ."""
    who = {"webhook_urls": "https://hooks.example/a-secret-word", "webhook_secret": SECRET}
    for region, is_told in (("us-east4", True), ("us-west2", False)):
        values = settings(market="demo", data_dir=tmp_path, home_region="us-east4", railway_region=region, **who)
        app = create_app(values, clock=FakeClock(new_york(AT)))
        assert (notifications(app.test_client()) is not None) is is_told
        app.extensions["predict-server"].close()


def test_two_replicas_tell_once_though_workers_are_killed_while_they_send(tmp_path: Path, redis_url: str) -> None:
    """The first webhook hangs until the worker that sent it, and its server, are killed. The ids say which delivery was
    repeated; a person is never told twice."""

    def answer(receiver: Receiver, handler: Handler) -> None:
        (hang if receiver is program and len(receiver.deliveries) == 1 else status(200))(receiver, handler)

    with receiving(answer) as program, receiving(answer) as person, ExitStack() as stack:
        values = {
            "REDIS_URL": redis_url,
            "AT": AT,
            "BEGAN": time.time(),
            "WEBHOOK_URLS": program.url,
            "WEBHOOK_SECRET": SECRET,
            "NOTIFY_URLS": person.apprise_url,
            "NOTIFY_ACTIONS": ",".join(EVERY),
            "NOTIFY_TICKERS": "SPY,QQQ",
        }

        def start(name: str) -> Server:
            folder = tmp_path / name
            return stack.enter_context(started(COMMAND, tmp_path / f"{name}.log", DATA_DIR=folder, **values))

        servers = [start("one"), start("other")]
        for server in servers:
            server.wait_ready()
        wait_for(lambda: program.deliveries)
        first = program.ids()[0]
        assert all(server.get("/trading_directions").ok for server in servers), "while the receiver hangs"
        leader = leader_of(servers)
        [other] = [server for server in servers if server is not leader]
        os.kill(worker_of(leader), signal.SIGKILL)
        leader.process.kill()
        wait_for(lambda: told(other)["leads"] and len(set(program.ids())) == 2 and told(other)["waiting"] == 0)
        repeated = Counter(program.ids())
        assert repeated.pop(first) == 2
        assert set(repeated.values()) == {1}
        os.kill(worker_of(other), signal.SIGKILL)  # gunicorn starts another worker
        wait_for(lambda: is_leading_again(other))
        assert len(program.ids()) == 3
        titles = Counter(json.loads(delivery.body)["title"] for delivery in person.deliveries)
        assert set(titles.values()) <= {1}
        assert "a-secret-word" not in "".join(path.read_text() for path in tmp_path.glob("*.log"))


def leader_of(servers: list[Server]) -> Server:
    """A process that has lost the lease learns it later."""
    found: list[Server] = []

    def is_one() -> bool:
        found[:] = [server for server in servers if told(server)["leads"]]
        return len(found) == 1

    wait_for(is_one)
    return found[0]


def told(server: Server) -> Any:
    return server.get("/health").json()["operations"]["notifications"]


def is_leading_again(server: Server) -> bool:
    """Whether a new worker leads and has counted what waits, which it does after it has looked."""
    try:
        text = server.get("/metrics").text
    except OSError:
        return False
    return 'predict_notifications_waiting{target="webhook #1"} 0' in text
