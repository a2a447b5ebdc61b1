"""Those who follow a ticker in the server as it is deployed: nothing is lost or told twice, whatever ends; who leaves or does
not read costs nothing for long."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serving.test_gunicorn import QUICK_DEMO, Server, started
from tests.serving.test_lifecycle import connected, get
from tests.serving.test_socket_clients import kill, ready
from tests.serving.test_streams import value, wait_for
from tests.waiting import PATIENCE_S

PATH = "/v2/trading-directions/SPY/stream?follow=true"
NO_LIMITS = {
    "RATE_LIMIT_STREAMS": 1_000_000,
    "RATE_LIMIT_OTHER": 1_000_000,
    "STREAMS_PER_CLIENT": 2000,
    "STREAMS_IN_ALL": 2000,
    "MAX_CONNECTIONS_PER_ADDRESS": 2000,
}
LISTENERS = "predict_live_listeners"


def request(server: Server, after: str | None = None, receive_bytes: int | None = None) -> socket.socket:
    """A connection that has asked to follow. receive_bytes: what its own side takes without being read."""
    sock = connected(server, receive_bytes=receive_bytes)
    sock.settimeout(PATIENCE_S)
    path = PATH if after is None else f"{PATH}&after={after}"
    sock.sendall(get(path))
    return sock


def lines(sock: socket.socket) -> Iterator[dict[str, Any]]:
    """The JSON lines of a chunked answer, each with the bytes that came."""
    rest = b""
    while data := sock.recv(65_536):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if line.startswith(b"{"):
                yield json.loads(line)


class Client:
    """Follows over connections that end anywhere, and keeps what it was told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.events: list[dict[str, Any]] = []
        self.snapshots: list[dict[str, Any]] = []
        self.last: str | None = None

    def follow(self, count: int) -> None:
        """Take `count` events, and leave without a word."""
        with closing(request(self.server, self.last)) as sock:
            for line in lines(sock):
                count -= self.take(line)
                if count <= 0:
                    return
        raise AssertionError("the stream ended")

    def follow_until_the_end(self, server: Server) -> None:
        """Take what comes while the server stops: its last line says where to go on."""
        with closing(request(server, self.last)) as sock:
            found = lines(sock)
            self.take(next(found))
            server.process.send_signal(signal.SIGTERM)
            *events, last = found
        for event in events:
            self.take(event)
        assert (last["status"], last["after"]) == ("resume", self.last)
        assert server.process.wait(PATIENCE_S) == 0

    def take(self, line: dict[str, Any]) -> bool:
        """Whether it is an event that counts."""
        kind = line.get("kind")
        if kind == "snapshot":
            self.snapshots.append(line)
        elif kind in ("price", "signal", "status"):
            self.events.append(line)
        if kind is not None:
            self.last = line["id"]
        return kind in ("price", "signal", "status", "snapshot")


def check_complete(client: Client) -> None:
    """One snapshot at first, and from then on every event once, and every minute of the sessions."""
    assert [snapshot["resumed"] for snapshot in client.snapshots] == [None]
    first = client.snapshots[0]["seq"]
    assert [event["seq"] for event in client.events] == list(range(first + 1, first + 1 + len(client.events)))
    bars = [event["as_of"] for event in client.events if event["kind"] == "price"]
    days = {bar[:10] for bar in bars}
    for day in days:
        minutes = [int(bar[11:13]) * 60 + int(bar[14:16]) for bar in bars if bar[:10] == day]
        assert minutes == list(range(minutes[0], minutes[0] + len(minutes))), day
    if len(days) > 1:
        assert any(event["kind"] == "status" for event in client.events)


def killed_and_restarted(folder: Path, kills: int, restarts: int) -> Client:
    """Follows the demo market over connections that are cut at random points, and servers that are killed or stopped."""
    chance = random.Random(15)
    values = {"MARKET": "demo", "DATA_DIR": folder, "LOG_LEVEL": "WARNING", **NO_LIMITS}
    client: Client | None = None
    for round_ in range(restarts + 1):
        with started(QUICK_DEMO, folder / f"log{round_}", **values) as server:
            server.wait_ready()
            client = client or Client(server)
            client.server = server
            for _ in range(kills // (restarts + 1) + 1):
                client.follow(chance.randint(1, 3))
            if round_ % 2:
                client.follow_until_the_end(server)
    assert client is not None
    return client


def test_no_event_is_lost_or_doubled_over_five_cut_connections_and_a_server_that_is_killed(tmp_path: Path) -> None:
    client = killed_and_restarted(tmp_path, kills=5, restarts=1)
    check_complete(client)
    assert len(client.events) > 5


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_event_is_lost_or_doubled_over_fifty_cut_connections_and_five_restarts(tmp_path: Path) -> None:
    client = killed_and_restarted(tmp_path, kills=50, restarts=5)
    check_complete(client)
    print(f"{len(client.events)} events, {sum(event['told_afterwards'] for event in client.events)} told afterwards")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("following")
    values = {"MARKET": "demo", "DATA_DIR": folder, "LOG_LEVEL": "WARNING", **NO_LIMITS}
    with started(QUICK_DEMO, folder / "log", **values) as server:
        server.wait_ready()
        yield server


def listeners(server: Server) -> float:
    return value(server, LISTENERS, ticker="SPY")


def test_a_client_that_goes_away_is_free_within_a_second(served: Server) -> None:
    sock = request(served)
    for line in lines(sock):
        if line.get("kind") == "snapshot":
            break
    assert listeners(served) == 1
    sock.close()
    wait_for(lambda: listeners(served) == 0)
    wait_for(lambda: value(served, "predict_streams_open") == 0)


def test_server_sent_events_resume_by_their_header(served: Server) -> None:
    def events(**headers: str) -> Iterator[dict[str, str]]:
        headers = {"Accept": "text/event-stream", **headers}
        with requests.get(served.base + PATH, stream=True, headers=headers, timeout=PATIENCE_S) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            event: dict[str, str] = {}
            for line in response.iter_lines(decode_unicode=True):
                if line:
                    name, _, text = line.partition(": ")
                    event[name] = text
                else:
                    yield event
                    event = {}

    seen = [
        json.loads(event["data"]) | {"at": event["id"]}
        for event, _ in zip(filter(has_id, events()), range(3), strict=False)
    ]
    assert all(event["id"] == event["at"] for event in seen)
    again = next(event for event in events(**{"Last-Event-ID": seen[-1]["id"]}) if has_id(event))
    assert int(again["id"].split("-")[1]) == seen[-1]["seq"] + 1


def has_id(event: dict[str, str]) -> bool:
    return "id" in event


@pytest.mark.soak
def test_two_processes_on_one_folder_tell_the_same_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    values = {"MARKET": "demo", "DATA_DIR": tmp_path, "LOG_LEVEL": "WARNING", **NO_LIMITS}
    with started(QUICK_DEMO, tmp_path / "other", **values) as other:
        with started(QUICK_DEMO, tmp_path / "one", **values) as one:
            for server in (one, other):
                server.wait_ready()
            first, second = Client(one), Client(other)
            first.follow(1)
            second.last = first.last
            with closing(request(one, first.last)), closing(request(other, first.last)):
                first.follow(5)
                second.follow(5)
        second.follow(5)
        first.server = other
        first.follow(5)
    assert [event["seq"] for event in second.events] == list(
        range(second.events[0]["seq"], second.events[0]["seq"] + 10)
    )
    shared = min(len(first.events), len(second.events))
    assert first.events[:shared] == second.events[:shared]
    assert not second.snapshots


@pytest.fixture
def in_redis(tmp_path: Path, redis_url: str) -> Callable[[str], AbstractContextManager[Server]]:
    """Starts one more server, with a folder of its own, all on one Redis."""
    values = {"MARKET": "demo", "REDIS_URL": redis_url, "LOG_LEVEL": "WARNING", **NO_LIMITS}
    return lambda name: started(QUICK_DEMO, tmp_path / f"log {name}", DATA_DIR=tmp_path / name, **values)


def test_two_servers_on_one_redis_tell_the_same_and_a_client_that_changes_between_them_misses_nothing(
    in_redis: Callable[[str], AbstractContextManager[Server]],
) -> None:
    with in_redis("one") as one, in_redis("other") as other:
        for server in (one, other):
            ready(server)
        first, second = Client(one), Client(other)
        first.follow(1)
        second.last = first.last
        with closing(request(one, first.last)), closing(request(other, first.last)):
            for client in (first, second, first, second):
                client.follow(3)
                client.server = other if client.server is one else one
        for client in (first, second):
            client.server = other
        kill(one)
        for client in (first, second):
            client.follow(3)
    check_complete(first)
    assert not second.snapshots
    shared = min(len(first.events), len(second.events))
    assert first.events[:shared] == second.events[:shared]
    seqs = [event["seq"] for event in second.events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    for log in (one.log, other.log):
        assert "Traceback" not in log.read_text()


def resident_kib(server: Server) -> int:
    """Memory of the server's processes."""
    pids = [server.process.pid, *children(server.process.pid)]
    return sum(int(line.split()[1]) for pid in pids for line in status(pid) if line.startswith("VmRSS"))


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_follower_costs_at_most_25_kb(served: Server) -> None:
    warm = [request(served) for _ in range(20)]
    for sock in warm:
        until_snapshot(sock)
        sock.close()
    wait_for(lambda: listeners(served) == 0)
    before = resident_kib(served)
    socks = []
    for _ in range(1000):
        socks.append(request(served))
        until_snapshot(socks[-1])
    assert listeners(served) == 1000
    each = (resident_kib(served) - before) / 1000
    print(f"1,000 followers: {each:.1f} KiB each")
    for sock in socks:
        sock.close()
    wait_for(lambda: listeners(served) == 0)
    assert each <= 25


def until_snapshot(sock: socket.socket) -> None:
    seen = []
    for line in lines(sock):
        if line.get("kind") == "snapshot":
            return
        seen.append(line)
    pytest.fail(f"the stream ended without a snapshot: {seen}")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_client_that_does_not_read_is_cut_off_with_bounded_memory(served: Server) -> None:
    closed = "predict_connections_closed_total"
    with closing(request(served)) as first:
        until_snapshot(first)
    before, cut = resident_kib(served), value(served, closed, reason="write_timeout")
    socks = [request(served, receive_bytes=4096) for _ in range(20)]
    ends = time.monotonic() + 500
    while value(served, closed, reason="write_timeout") < cut + 20 and time.monotonic() < ends:
        time.sleep(1)
    grown = resident_kib(served) - before
    print(
        f"20 clients that do not read: {grown} KiB in all, {value(served, closed, reason='write_timeout') - cut} cut off"
    )
    for sock in socks:
        sock.close()
    assert value(served, closed, reason="write_timeout") == cut + 20
    assert grown < 20 * 1024
