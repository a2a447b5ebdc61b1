"""What one client is sent, over real sockets whose other end reads slowly, not at all, or goes away."""

from __future__ import annotations

import random
import socket as plain
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from gevent import socket

from serving.outbox import Outbox, OutboxBounds, OutboxCounters, Slow
from serving.sockets import unsent_by
from tests.waiting import PATIENCE_S

BOUNDS = OutboxBounds(messages=1000, bytes=64 << 20, stalled_s=10.0, finish_s=2.0, look_s=0.002)
HEAD = struct.Struct(">II")
"""Number and length of a message; each byte of its body is the number's lowest byte."""


def message(number: int, size: int = 600) -> bytes:
    return HEAD.pack(number, size) + bytes([number % 256]) * size


class Messages:
    """Reads messages strictly: what is no whole message is an error."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def next(self) -> int:
        number, size = HEAD.unpack(self.exactly(HEAD.size))
        assert self.exactly(size) == bytes([number % 256]) * size
        return int(number)

    def take(self, count: int) -> list[int]:
        return [self.next() for _ in range(count)]

    def all(self) -> list[int]:
        """The numbers of all messages until the end, which comes after a whole one."""
        numbers = []
        while self.sock.recv(1, plain.MSG_PEEK):
            numbers.append(self.next())
        return numbers


@dataclass
class Peer:
    """An outbox, the other end of its socket, and what it told its owner."""

    sock: Any
    far: Any
    messages: Messages
    counters: OutboxCounters = field(default_factory=OutboxCounters)
    told: list[str] = field(default_factory=list)
    now: float = 0.0
    outbox: Outbox = field(init=False)
    when_slow: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.open()

    def open(self, **bounds: Any) -> Outbox:
        values = {name: getattr(BOUNDS, name) for name in OutboxBounds.__slots__} | bounds
        self.outbox = Outbox(
            self.sock,
            self.counters,
            on_slow=self._slow,
            on_drained=lambda: self.told.append("drained"),
            on_over=lambda: self.told.append("over"),
            bounds=OutboxBounds(**values),
            now=lambda: self.now,
        )
        return self.outbox

    def _slow(self, reason: Slow) -> None:
        self.told.append(reason.value)
        self.when_slow()

    def fill(self, size: int = 600) -> int:
        """Post messages without a key until one waits. Returns how many."""
        count = 0
        while not self.outbox.is_blocked:
            assert self.outbox.post(message(count, size))
            count += 1
        return count


def wait_for(what: Callable[[], object]) -> None:
    with gevent.Timeout(PATIENCE_S):
        while not what():
            gevent.sleep(0.001)


def pair() -> tuple[Any, Any]:
    """Two ends of a TCP connection with small buffers."""
    with socket.socket() as server:
        server.setsockopt(plain.SOL_SOCKET, plain.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setsockopt(plain.SOL_SOCKET, plain.SO_SNDBUF, 8192)
    near.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)
    far.settimeout(PATIENCE_S)
    return near, far


@pytest.fixture
def peer() -> Iterator[Peer]:
    near, far = pair()
    found = Peer(near, far, Messages(far))
    yield found
    found.outbox.close()
    near.close()
    far.close()
    assert (found.counters.waiting_bytes, found.counters.blocked) == (0, 0)


def test_a_client_that_reads_gets_every_message_at_once(peer: Peer) -> None:
    for number in range(5):
        assert peer.outbox.post(message(number), "key")
        assert peer.messages.next() == number
    assert (peer.counters.sent, peer.counters.replaced, peer.told) == (5, 0, [])


def test_messages_without_a_key_arrive_whole_and_in_order_however_slow_the_reader(peer: Peer) -> None:
    chance = random.Random(16)
    for number in range(300):
        assert peer.outbox.post(message(number, chance.choice((10, 600, 60_000))))
    assert peer.outbox.is_blocked
    assert peer.messages.take(300) == list(range(300))
    wait_for(lambda: not peer.outbox.is_blocked)
    assert peer.told == ["drained"]
    assert (peer.counters.sent, peer.counters.replaced) == (300, 0)


def test_a_message_of_60_kb_that_was_begun_is_sent_whole_though_newer_ones_of_its_key_come(peer: Peer) -> None:
    kept = [peer.outbox.post(message(number, 60_000), "price") for number in range(50)]
    assert kept[:2] == [True, True]
    assert not any(kept[2:]), "the caller is told of each that was replaced"
    assert peer.messages.take(2) == [0, 49]
    wait_for(lambda: not peer.outbox.is_blocked)
    assert (peer.counters.sent, peer.counters.replaced) == (2, 48)


def test_the_newest_of_each_key_is_kept_in_the_order_of_age_and_those_without_a_key_all(peer: Peer) -> None:
    filling = peer.fill()
    posts = [("price", 1001), ("signal", 1002), (None, 1003), ("price", 1004), (None, 1005), ("signal", 1006)]
    kept = [peer.outbox.post(message(number), key) for key, number in posts]
    assert kept == [True, True, True, False, True, False]
    assert peer.messages.take(filling + 4) == [*range(filling), 1003, 1004, 1005, 1006]
    wait_for(lambda: peer.told == ["drained"])
    assert peer.outbox.post(message(7), "price"), "nothing waits, and nothing is replaced any more"
    assert peer.messages.next() == 7


def test_what_is_posted_while_it_drains_comes_behind_what_waited(peer: Peer) -> None:
    filling = peer.fill(60_000)
    seen = []
    for number in range(filling, filling + 200):
        peer.outbox.post(message(number, 6000))
        if number % 2:
            seen += peer.messages.take(1)
            gevent.sleep(0)
    peer.outbox.finish()
    reading = gevent.spawn(peer.messages.all)
    wait_for(lambda: peer.told[-1:] == ["over"])
    peer.outbox.close()
    peer.sock.close()
    assert seen + reading.get() == list(range(filling + 200))


@pytest.mark.parametrize("bounds", [{"bytes": 20_000}, {"messages": 20}], ids=["bytes", "messages"])
def test_a_client_for_which_too_much_waits_is_slow_and_only_a_begun_message_is_finished(
    peer: Peer, bounds: dict[str, int]
) -> None:
    peer.open(**bounds)
    peer.when_slow = lambda: peer.outbox.finish(message(9999))
    filling = peer.fill()
    while not peer.told:
        peer.outbox.post(message(5000))
        assert peer.counters.waiting_bytes < 21_000
    assert not peer.outbox.post(message(1))
    reading = gevent.spawn(peer.messages.all)
    wait_for(lambda: peer.told == ["full", "over"])
    peer.sock.close()
    *seen, last = reading.get()
    assert (seen == list(range(len(seen))), last) == (True, 9999)
    assert len(seen) in (filling, filling - 1), "the last one may have been begun"
    assert peer.counters.slow == {("full",): 1}


def test_a_client_that_takes_no_byte_for_too_long_is_slow(peer: Peer) -> None:
    peer.when_slow = lambda: peer.outbox.finish(message(9999))
    peer.fill()
    peer.now = 9.9
    gevent.sleep(0.01)
    assert peer.told == []
    while not peer.told:
        peer.now += 1.0
        gevent.sleep(0.01)
    assert (peer.told, peer.outbox.is_over) == (["stalled"], False)
    peer.now += 2.2
    wait_for(lambda: peer.told == ["stalled", "over"])
    assert peer.counters.slow == {("stalled",): 1}


def test_a_client_that_takes_a_little_now_and_then_is_kept(peer: Peer) -> None:
    taken = lambda: peer.outbox.written - unsent_by(peer.sock)  # noqa: E731
    peer.fill()
    peer.outbox.post(message(7000), "price")
    for _ in range(6):
        peer.now += 8.0
        before = taken()
        peer.far.recv(4096)
        wait_for(lambda before=before: taken() > before)  # type: ignore[misc]
        peer.outbox.post(message(8000), "price")
    assert "stalled" not in peer.told


def test_the_last_words_are_sent_behind_what_waits_and_nothing_after_them(peer: Peer) -> None:
    filling = peer.fill()
    peer.outbox.post(message(1000), "price")
    peer.outbox.finish(message(1001))
    assert not peer.outbox.post(message(1002), "price")
    peer.outbox.finish(message(1003))
    reading = gevent.spawn(peer.messages.all)
    wait_for(lambda: peer.told == ["over"])
    assert peer.outbox.is_over
    assert not peer.outbox.is_truncated
    peer.sock.close()
    assert reading.get() == [*range(filling), 1000, 1001]


def test_an_outbox_in_which_nothing_waits_finishes_at_once(peer: Peer) -> None:
    peer.outbox.finish(message(1))
    assert peer.told == ["over"]
    assert peer.messages.next() == 1


def test_finishing_ends_in_time_though_the_client_does_not_read(peer: Peer) -> None:
    peer.fill(60_000)
    peer.outbox.finish(message(1))
    peer.now = 2.1
    wait_for(lambda: peer.told == ["over"])
    assert peer.outbox.is_truncated, "nothing else may be sent over this socket"


def test_a_client_that_left_ends_the_outbox_where_it_is_posted_to(peer: Peer) -> None:
    peer.far.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, struct.pack("ii", 1, 0))
    peer.far.close()
    with gevent.Timeout(PATIENCE_S):
        while peer.outbox.post(message(1)):
            gevent.sleep(0)
    assert peer.told == ["over"]
    assert not peer.outbox.post(message(2))
    assert peer.told == ["over"]


def test_a_client_that_leaves_while_something_waits_ends_the_outbox(peer: Peer) -> None:
    peer.fill()
    peer.far.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, struct.pack("ii", 1, 0))
    peer.far.close()
    wait_for(lambda: peer.told == ["over"])


def test_a_closed_outbox_holds_no_descriptor_and_writes_to_no_socket_that_gets_the_same_number(peer: Peer) -> None:
    peer.fill()
    number = peer.sock.fileno()
    peer.outbox.close()
    peer.outbox.close()
    peer.sock.close()
    near, far = socket.socketpair()
    assert number in (near.fileno(), far.fileno())
    gevent.sleep(0.02)
    for end in (near, far):
        end.setblocking(False)
        with pytest.raises(BlockingIOError):
            end.recv(1)
    near.close()
    far.close()
    assert peer.told == [], "it was closed by its owner"


def test_two_greenlets_that_post_while_the_client_is_slow_mix_no_bytes(peer: Peer) -> None:
    def posting(first: int) -> None:
        for number in range(first, first + 100):
            peer.outbox.post(message(number, 3000))
            gevent.sleep(0)

    reading = gevent.spawn(peer.messages.take, 200)
    gevent.joinall([gevent.spawn(posting, 0), gevent.spawn(posting, 100)])
    numbers = reading.get()
    assert [number for number in numbers if number < 100] == list(range(100))
    assert [number for number in numbers if number >= 100] == list(range(100, 200))
