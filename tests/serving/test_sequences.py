"""One sequence of events, whoever follows it and however often the connection ends: clients of Socket.IO, followers of JSON
lines and followers of server-sent events have the same events in the same order, over drops and restarts (ruling L1)."""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import websocket

from tests.serving.test_following import NO_LIMITS, PATH
from tests.serving.test_gunicorn import QUICK_DEMO, Server, free_port, started
from tests.serving.test_socket_clients import WEBSOCKET, OrderedClient, kill, ready, stop
from tests.waiting import PATIENCE_S, wait_for

NUMBERED: Final = ("signal", "price", "status")
LONGEST_WAIT_S: Final = 3.0
"""For one more event before a drop: a closed market has none for long."""

LINGER_0: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection (RST in place of FIN)."""

Event = dict[str, Any]
End = Callable[[Server], None]


def place(event: Event) -> tuple[str, int]:
    return event["epoch"], event["seq"]


class Told:
    """What one who follows was told, in its order. first: the id behind which it began."""

    def __init__(self, name: str, first: str) -> None:
        self.name, self.first = name, first
        self.last = first
        self.all: list[Event] = []

    def take(self, event: Event) -> None:
        if event.get("kind") in (*NUMBERED, "snapshot"):
            self.all.append(event)
            self.last = event["id"]

    def numbered(self) -> dict[tuple[str, int], str]:
        """The JSON of the events that have a number, with the fields in the order in which they came."""
        return {place(event): json.dumps(event) for event in self.all if event["kind"] in NUMBERED}

    @property
    def is_conflated(self) -> bool:
        """Whether it was told that it was too slow for some events."""
        return any(event["kind"] == "snapshot" and event["missed"] == "slow" for event in self.all)

    def has(self, id_: str) -> bool:
        """Whether it has come to a place, or to a later sequence."""
        epoch, seq = id_.split("-")
        last_epoch, last_seq = self.last.split("-")
        return last_epoch != epoch or int(last_seq) >= int(seq)

    def check(self) -> None:
        """Every event behind the one before it, once; a snapshot only where a sequence begins, or for who is told why."""
        epoch, seq = self.first.split("-")
        for before, event in pairwise([{"epoch": epoch, "seq": int(seq)}, *self.all]):
            if event["kind"] != "snapshot":
                assert place(event) == (before["epoch"], before["seq"] + 1), self.name
            elif event["missed"] == "slow":
                assert event["epoch"] == before["epoch"], self.name
                assert event["seq"] > before["seq"], self.name
            else:
                assert event["missed"] == "unknown_epoch", (self.name, event["missed"])
                assert event["epoch"] != before["epoch"], self.name


# --- three ways to follow ---


class SocketFollower:
    """A client of python-socketio, whose `auth` is a function that says what it has."""

    def __init__(self, name: str, url: str, first: str, options: dict[str, Any]) -> None:
        self.told = Told(name, first)
        self.hellos = 0
        self.byes: list[str] = []
        self._url, self._options = url, options
        self._websockets: list[websocket.WebSocket] = []
        self.socket = OrderedClient(
            reconnection_delay=0.05,
            reconnection_delay_max=0.25,
            randomization_factor=0.05,
            websocket_extra_options={"class_": self._websocket},
        )
        self.socket.on("*", self._hear)
        self._connect()

    def _websocket(self, **options: Any) -> websocket.WebSocket:
        """A new connection. The library leaves the sockets of those that were cut to the garbage collection, which warns."""
        self._close_sockets()
        self._websockets.append(websocket.WebSocket(**options))
        return self._websockets[-1]

    def _close_sockets(self) -> None:
        while self._websockets:
            self._websockets.pop().shutdown()

    def _hear(self, name: str, event: Event, _offset: str | None = None) -> None:
        self.told.take(event)
        self.hellos += name == "hello"
        if name == "bye":
            self.byes.append(event["reason"])

    def _auth(self) -> dict[str, object]:
        return {"subscribe": ["SPY"], "after": {"SPY": self.told.last}}

    def _connect(self) -> None:
        self.socket.connect(self._url, auth=self._auth, wait_timeout=PATIENCE_S, retry=True, **self._options)

    def wait_connected(self, hellos: int) -> None:
        wait_for(lambda: self.hellos >= hellos and self.socket.connected, f"{self.told.name} does not come back")

    def wait_event(self, longest_s: float) -> None:
        """Wait for one more event, or so many seconds."""
        count, ends = len(self.told.all), time.monotonic() + longest_s
        while len(self.told.all) == count and time.monotonic() < ends:
            time.sleep(0.005)

    def drop(self, way: str) -> None:
        """End the connection, and wait until there is another one."""
        hellos = self.hellos
        if way == "cut":  # the library connects again by itself
            cut(self._websockets[-1].sock)
        elif way == "disconnect":
            self.socket.disconnect()
            self._connect()
        else:
            self.socket.eio.disconnect()
            self._connect()
        self.wait_connected(hellos + 1)

    def close(self) -> None:
        self.socket.shutdown()
        self._close_sockets()


WAYS: Final = ("cut", "disconnect", "engine")


def cut(sock: socket.socket) -> None:
    with suppress(OSError):  # it has ended already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        sock.shutdown(socket.SHUT_RDWR)


class StreamFollower:
    """Follows by HTTP in a thread of its own, and asks again behind what it has whenever the stream ends. lines: JSON lines and
    `after`; otherwise server-sent events and `Last-Event-ID`."""

    def __init__(self, name: str, port: int, first: str, *, lines: bool) -> None:
        self.told = Told(name, first)
        self.connections = 0
        self._port, self._lines = port, lines
        self._sock: socket.socket | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            with suppress(OSError, http.client.HTTPException):
                self._follow()
            time.sleep(0.05)

    def _follow(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.connect()
            self._sock = connection.sock
            if self._is_over:
                return
            if self._lines:
                connection.request("GET", f"{PATH}&after={self.told.last}")
            else:
                headers = {"Accept": "text/event-stream", "Last-Event-ID": self.told.last}
                connection.request("GET", PATH, headers=headers)
            response = connection.getresponse()
            if response.status == 200:
                self.connections += 1
                for event in json_lines(response) if self._lines else server_sent(response):
                    self.told.take(event)
        finally:
            connection.close()

    def drop(self) -> None:
        connections = self.connections
        if self._sock is not None:
            cut(self._sock)
        wait_for(lambda: self.connections > connections, f"{self.told.name} does not come back")

    def close(self) -> None:
        self._is_over = True
        if self._sock is not None:
            cut(self._sock)
        self._thread.join(PATIENCE_S)


def json_lines(response: http.client.HTTPResponse) -> Iterator[Event]:
    for line in response:
        if line.endswith(b"\n") and line.strip():
            yield json.loads(line)


def server_sent(response: http.client.HTTPResponse) -> Iterator[Event]:
    """The events of a stream, whose data have the id of their own line."""
    fields: dict[str, str] = {}
    for line in response:
        if line.endswith(b"\n") and line.strip():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            fields[name] = value
        elif fields:
            if "data" in fields:
                event = json.loads(fields["data"])
                assert fields.get("id") == event.get("id", fields.get("id"))
                yield event
            fields = {}


# --- a market that is followed ---


@dataclass
class Played:
    """What came of it."""

    sockets: list[SocketFollower] = field(default_factory=list)
    streams: list[StreamFollower] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    drops: int = 0
    restarts: int = 0

    @property
    def told(self) -> Sequence[Told]:
        return [one.told for one in (*self.sockets, *self.streams)]

    def numbers(self) -> str:
        whole = self.streams[0].told
        afterwards = sum(event["told_afterwards"] for event in whole.all)
        conflated = sum(told.is_conflated for told in self.told)
        cuts = sum(one.connections for one in self.streams) - len(self.streams)
        return (
            f"{len(whole.numbered())} events ({afterwards} told afterwards), {self.drops} drops of clients, {cuts} streams "
            f"resumed, {self.restarts} restarts, {conflated} conflated, "
            f"{len({place(event)[0] for event in whole.all})} sequence(s), {time.monotonic() - self.began:.0f} s"
        )


def head(base: str) -> str:
    """The id of the newest event, as a snapshot tells it."""
    with requests.get(base + PATH, stream=True, timeout=PATIENCE_S) as response:
        for line in response.iter_lines():
            event = json.loads(line)
            if event.get("kind") == "snapshot":
                return str(event["id"])
    raise AssertionError("there was no snapshot")


def begin(played: Played, stack: ExitStack, server: Server, port: int) -> None:
    """Three clients and two streams, all behind the same event."""
    first = head(server.base)
    options: Sequence[dict[str, Any]] = ({}, WEBSOCKET, WEBSOCKET)
    for number, chosen in enumerate(options, 1):
        played.sockets.append(SocketFollower(f"client {number}", server.base, first, chosen))
        stack.callback(played.sockets[-1].close)
        played.sockets[-1].wait_connected(1)
    for name, is_lines in (("JSON lines", True), ("server-sent events", False)):
        played.streams.append(StreamFollower(name, port, first, lines=is_lines))
        stack.callback(played.streams[-1].close)


def drop_some(played: Played, chance: random.Random, until: int) -> None:
    """Drop clients at random moments until there were so many drops; with every fifth of them a stream too."""
    while played.drops < until:
        one = chance.choice(played.sockets)
        one.wait_event(chance.choice((chance.uniform(0.0, 0.5), LONGEST_WAIT_S)))
        one.drop(chance.choice(WAYS))
        played.drops += 1
        if played.drops % 5 == 0:
            chance.choice(played.streams).drop()


def wait_back(played: Played, hellos: Sequence[int]) -> None:
    """After a restart: everyone is back who had so many connections."""
    for one, count in zip(played.sockets, hellos, strict=True):
        one.wait_connected(count + 1)


def wait_same(played: Played, server: Server) -> None:
    """Everyone has come to the newest event."""
    newest = head(server.base)
    for told in played.told:
        wait_for(partial(told.has, newest), f"{told.name} has not come to {newest}")


def play(folder: Path, drops: int, ends: Sequence[End], **settings: object) -> Played:
    """Servers on one folder and one port, one behind the other, each but the last ended by one of `ends`; and those who follow
    them all the time, and are dropped at random."""
    chance, port, played = random.Random(16), free_port(), Played()
    values = {"DATA_DIR": folder / "data", **NO_LIMITS, **settings}
    with ExitStack() as stack:
        for number in range(len(ends) + 1):
            hellos = [one.hellos for one in played.sockets]
            with started(QUICK_DEMO, folder / f"log{number}", port=port, **values) as server:
                ready(server)
                if number == 0:
                    begin(played, stack, server, port)
                else:
                    wait_back(played, hellos)
                drop_some(played, chance, drops * (number + 1) // (len(ends) + 1))
                if number < len(ends):
                    ends[number](server)
                    played.restarts += 1
                else:
                    wait_same(played, server)
                    stack.close()
            assert "Traceback" not in server.log.read_text()
    return played


def check_same(played: Played) -> None:
    """Each by itself has the whole sequence, they have the same one, byte for byte; only a stop sends a client away."""
    assert {reason for one in played.sockets for reason in one.byes} <= {"restart"}
    for told in played.told:
        told.check()
    whole = [told for told in played.told if not told.is_conflated]
    assert {"JSON lines", "server-sent events"} <= {told.name for told in whole}
    longest = max((told.numbered() for told in whole), key=len)
    for told in played.told:
        numbered = told.numbered()
        assert all(longest.get(at, body) == body for at, body in numbered.items()), told.name
    newest = min(max(told.numbered()) for told in whole)
    for told in whole:
        assert {at for at in told.numbered() if at <= newest} == {at for at in longest if at <= newest}, told.name


def test_clients_and_streams_have_the_same_sequence_over_drops_and_a_server_that_is_killed(tmp_path: Path) -> None:
    played = play(tmp_path, 8, [kill], MARKET="demo")
    print(played.numbers())
    check_same(played)
    assert len(played.told[0].numbered()) > 3


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_drops_and_three_restarts_of_the_demo_market(tmp_path: Path) -> None:
    played = play(tmp_path, 100, [stop, kill, stop], MARKET="demo")
    print(played.numbers())
    check_same(played)
    assert len(played.told[0].numbered()) > 30


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_drops_and_three_restarts_of_the_demo_market_in_redis(tmp_path: Path, redis_url: str) -> None:
    played = play(tmp_path, 100, [stop, kill, stop], MARKET="demo", REDIS_URL=redis_url)
    print(played.numbers())
    check_same(played)
    assert len(played.told[0].numbered()) > 30
    assert not list(tmp_path.rglob("live.sqlite3"))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_drops_and_three_restarts_of_a_recorded_session(tmp_path: Path, recorded_dir: Path) -> None:
    """A bar of five minutes in a second."""
    clock = {"CLOCK": "2024-06-12T09:30", "CLOCK_SPEED": 300, "CLOCK_ANCHOR": time.time()}
    played = play(tmp_path, 100, [stop, kill, stop], MARKET="recorded", **clock)
    print(played.numbers())
    check_same(played)
    assert len(played.told[0].numbered()) > 30
