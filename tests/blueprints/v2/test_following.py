"""Following a ticker: the stages, a snapshot, every change; who comes back gets what it missed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from app.live import broadcaster
from blueprints.v2 import following
from tests.blueprints.v2.calls import ask, call, document, lines_of, valid
from tests.support import FakeClock
from tests.waiting import PATIENCE_S, wait_for

Serve = Callable[..., Flask]
STREAM = "/trading-directions/SPY/stream"
FOLLOW = f"{STREAM}?follow=true"
EVENTS = {"Accept": "text/event-stream"}
LINE = {"$ref": "#/components/schemas/StageStreamLine"}


class Reader:
    """Reads a stream line by line; each line is one that the document promises."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = filter(None, pieces)

    def line(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(next(self._pieces))
        valid(found, LINE)
        return found

    def until(self, **fields: Any) -> dict[str, Any]:
        """The next line with these values; heartbeats and others before it are left out."""
        while not fields.items() <= (line := self.line()).items():
            pass
        return line


@contextmanager
def following_of(app: Flask, path: str = FOLLOW, **options: Any) -> Iterator[Reader]:
    response = app.test_client().get(f"/v2{path}", **options)
    assert response.status_code == 200
    try:
        yield Reader(response.iter_encoded())
    finally:
        response.close()


def listeners(app: Flask) -> int:
    found: int = app.extensions["predict-server"].live.listeners()["SPY"]
    return found


@pytest.fixture
def app(serve: Serve, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """A server whose heartbeats come between no two lines, however busy the machine is."""
    monkeypatch.setattr(broadcaster, "HEARTBEAT_S", PATIENCE_S)
    clock.set("2025-03-11 10:30:07")
    found = serve()
    yield found
    found.extensions["predict-server"].close()


def test_the_stages_come_first_then_a_snapshot_then_every_change(app: Flask, clock: FakeClock) -> None:
    with following_of(app) as reader:
        first = [reader.line() for _ in range(8)]
        assert [next(iter(line)) for line in first] == [
            *("status", "data", "rpe", "v6", "signal", "status", "status", "kind"),
        ]
        assert first[5]["status"] == "complete"
        assert (first[6]["status"], first[6]["after"], first[6]["heartbeat_seconds"]) == ("following", None, 15)
        snapshot = first[7]
        assert (snapshot["kind"], snapshot["seq"], snapshot["resumed"]) == ("snapshot", 0, None)
        assert snapshot["signal"] == ask(app, "/trading-directions/SPY")
        clock.set("2025-03-11 10:31:07")
        price, plain = reader.line(), ask(app, "/trading-directions/SPY")
        assert (price["kind"], price["seq"], price["told_afterwards"]) == ("price", 1, False)
        assert [price[name] for name in ("as_of", "prices", "structure", "freshness")] == [
            plain[name] for name in ("as_of", "prices", "structure", "freshness")
        ]
        clock.set("2025-03-11 11:00:07")
        signal = reader.until(kind="signal")
        assert (signal["signal"]["decision_hour"], signal["freshness"]) == (11, "live")
    assert listeners(app) == 0


@pytest.mark.parametrize("how", ["after", "Last-Event-ID"])
def test_who_comes_back_gets_what_it_missed_and_no_stages(app: Flask, clock: FakeClock, how: str) -> None:
    with following_of(app) as reader:
        last = reader.until(kind="snapshot")["id"]
        clock.set("2025-03-11 10:31:07")
        assert reader.until(kind="price")["seq"] == 1
    clock.set("2025-03-11 10:34:07")
    path, headers = (f"{FOLLOW}&after={last}", {}) if how == "after" else (FOLLOW, {how: last})
    with following_of(app, path, headers=headers) as reader:
        assert reader.line()["after"] == last
        events = [reader.line() for _ in range(4)]
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert [event["as_of"][11:16] for event in events] == ["10:31", "10:32", "10:33", "10:34"]
    assert [event["told_afterwards"] for event in events] == [False, True, True, False]


def test_what_is_told_afterwards_is_what_a_replay_of_its_moment_says(app: Flask, clock: FakeClock) -> None:
    clock.set("2025-03-11 10:58:07")
    with following_of(app) as reader:
        last = reader.until(kind="snapshot")["id"]
    clock.set("2025-03-11 11:02:07")
    with following_of(app, f"{FOLLOW}&after={last}") as reader:
        signal = reader.until(kind="signal")
        assert signal["told_afterwards"]
        assert signal["signal"] == ask(app, f"/replay/SPY?at={signal['generated_at'].replace('+', '%2B')}")


def test_the_first_snapshot_of_a_morning_is_the_answer_of_now(app: Flask, clock: FakeClock) -> None:
    clock.set("2025-03-11 15:59:07")
    with following_of(app) as reader:
        reader.until(kind="snapshot")
        clock.set("2025-03-11 16:00:07")
        reader.until(kind="status")
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "live SPY"])
    clock.set("2025-03-12 08:00:00")
    with following_of(app) as reader:
        assert reader.until(kind="snapshot")["signal"] == ask(app, "/trading-directions/SPY")


def test_who_cannot_go_on_gets_a_snapshot_that_says_so(app: Flask) -> None:
    for headers, path in (({}, f"{FOLLOW}&after=00000000-7"), ({"Last-Event-ID": "what"}, FOLLOW)):
        with following_of(app, path, headers=headers) as reader:
            snapshot = reader.until(kind="snapshot")
            assert (snapshot["resumed"], snapshot["missed"]) == (False, "unknown_epoch")


def test_server_sent_events_have_the_ids_and_say_when_to_come_back(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with following_of(app) as reader:
        last = reader.until(kind="snapshot")["id"]
        monkeypatch.setattr(following, "LASTS_S", 0.0)
        first, *events = lines_of(call(app, FOLLOW, headers=EVENTS))
        assert "id" not in first
        data = [json.loads(event["data"]) for event in events]
        assert [event.get("id") for event in events] == [line.get("id") or line.get("after") for line in data]
        assert {"kind": "snapshot", "id": last}.items() <= data[-2].items()
        assert (data[-1]["status"], data[-1]["after"], events[-1]["id"]) == ("resume", last, last)
        assert int(events[-1]["retry"]) == data[-1]["retry_after_ms"]
        assert all(event.get("id") != "complete" for event in events), "a browser would not come back"


def test_a_client_that_is_told_to_come_back_goes_on_where_it_was(
    app: Flask, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with following_of(app) as other, monkeypatch.context() as patch:
        other.until(kind="snapshot")
        patch.setattr(following, "LASTS_S", 0.0)
        resume = lines_of(call(app, FOLLOW))[-1]
    assert (resume["status"], 500 <= resume["retry_after_ms"] < 3000) == ("resume", True)
    clock.set("2025-03-11 10:31:07")
    with following_of(app, f"{FOLLOW}&after={resume['after']}") as reader:
        assert reader.line()["after"] == resume["after"]
        assert reader.until(kind="price")["seq"] == 1
        clock.set("2025-03-11 10:32:07")
        assert reader.until(kind="price")["seq"] == 2, "each once"


def test_a_server_that_stops_says_where_to_go_on(app: Flask) -> None:
    with following_of(app) as reader:
        last = reader.until(kind="snapshot")["id"]
        app.extensions["predict-server"].stop()
        assert reader.line() | {"retry_after_ms": 0} == {"status": "resume", "after": last, "retry_after_ms": 0}
    assert listeners(app) == 0


def test_followers_are_sent_the_same_bytes(app: Flask, clock: FakeClock) -> None:
    responses = [app.test_client().get(f"/v2{FOLLOW}") for _ in range(3)]
    pieces = [filter(None, response.iter_encoded()) for response in responses]
    for one in pieces:
        while b'"snapshot"' not in next(one):
            pass
    assert listeners(app) == 3
    clock.set("2025-03-11 10:31:07")
    first, *others = [next(one) for one in pieces]
    assert json.loads(first)["kind"] == "price"
    assert all(other is first for other in others), "encoded once"
    for response in responses:
        response.close()
    del pieces
    wait_for(lambda: listeners(app) == 0)


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("?after=aaaaaaaa-1", "/after"),
        ("?follow=false&after=aaaaaaaa-1", "/after"),
        ("?follow=true&after=1", "/after"),
        ("?follow=1", "/follow"),
        ("?follow=", "/follow"),
    ],
)
def test_a_wrong_parameter_is_named(app: Flask, query: str, fault: str) -> None:
    response = call(app, STREAM + query)
    assert response.status_code == 400
    assert [error["pointer"] for error in response.get_json()["errors"]] == [fault]


def test_every_kind_of_event_is_described() -> None:
    schemas = document()["components"]["schemas"]
    named = {part["$ref"].rpartition("/")[2] for part in schemas["StageStreamLine"]["anyOf"]}
    assert named >= {
        "SnapshotEvent",
        "SignalEvent",
        "PriceEvent",
        "StatusEvent",
        "HeartbeatEvent",
        "Following",
        "Resume",
    }
