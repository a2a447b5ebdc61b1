"""Pieces of an answer that others post: between what the answer sends by itself, whole, and bounded for who does not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from serving.bounds import Bounds
from serving.connection import Connection
from serving.connections import Connections, State
from tests.serving.test_outbox import Messages, message, pair, wait_for


class Client:
    """A connection whose answer is pushed, and its other end."""

    def __init__(self, bounds: Bounds) -> None:
        self.near, self.far = pair()
        self.messages = Messages(self.far)
        self.room = Connections(10, None, lambda address: address)
        self.connection = Connection(self.near, "192.0.2.1", bounds, self.room)
        self.room.enter(self.connection)
        self.connection.become(State.ANSWERING)
        self.told: list[str] = []
        self.stream = self.connection.push(lambda: self.told.append("drained"), lambda: self.told.append("end"), 60.0)

    def fill(self) -> int:
        count = 0
        while not self.stream.is_waiting:
            assert self.stream.post(message(count, 4000))
            count += 1
        return count


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    found = Client(getattr(request, "param", Bounds()))
    yield found
    found.stream.close()
    found.connection.close()
    found.far.close()


def test_what_is_pushed_lies_between_what_the_answer_sends_before_and_afterwards(client: Client) -> None:
    client.stream.close()
    client.connection.transmit(message(1))
    client.stream = client.connection.push(lambda: None, lambda: None, 60.0)
    assert client.stream.post(message(2), "price")
    assert client.stream.finish()
    client.stream.close()
    client.connection.transmit(message(3))
    assert client.messages.take(3) == [1, 2, 3]


def test_a_client_that_is_behind_is_one_whose_connection_can_be_closed(client: Client) -> None:
    count = client.fill()
    assert client.connection.state is State.WRITING
    assert client.messages.take(count) == list(range(count))
    wait_for(lambda: client.told == ["drained"])
    assert client.connection.state is State.ANSWERING


def test_a_burst_reaches_a_client_that_reads_whole_and_one_that_does_not_gets_the_newest(client: Client) -> None:
    count = client.fill()
    kept = [client.stream.post(message(number), "price") for number in range(count, count + 20)]
    assert all(kept)
    kept = [client.stream.post(message(number), "price") for number in range(count + 20, count + 120)]
    assert not all(kept)
    reading = gevent.spawn(client.messages.all)
    assert client.stream.finish()
    client.stream.close()
    client.connection.close()
    numbers: Any = reading.get()
    assert numbers[: count + 20] == list(range(count + 20))
    assert numbers[-1] == count + 119
    assert client.room.pushed.replaced == count + 120 - len(numbers)


@pytest.mark.parametrize("client", [Bounds(write_s=0.05, drop_s=0.05)], indirect=True)
def test_a_client_that_does_not_read_is_told_of_by_its_end_and_dropped(client: Client) -> None:
    client.fill()
    wait_for(lambda: client.told == ["end"])
    assert client.room.pushed.slow == {("stalled",): 1}
    client.stream.finish()
    client.stream.close()
    assert client.connection.reason == "write_timeout"
    assert client.room.closed == {("write_timeout",): 1}
    with pytest.raises(OSError, match="pipe"):
        client.connection.transmit(b"farewell")
    client.connection.close()
    with pytest.raises(ConnectionResetError):
        client.messages.all()


def test_a_client_that_left_ends_the_stream_and_is_not_blamed(client: Client) -> None:
    client.fill()
    client.far.close()
    wait_for(lambda: client.told == ["end"])
    assert not client.stream.finish()
    client.stream.close()
    assert client.connection.reason is None
