"""What waits for a client that polls: everything between two polls, and of a client that stays away the newest."""

from __future__ import annotations

from queue import Empty

import pytest
from engineio.packet import MESSAGE, Packet

from serving.link_bounds import LinkBounds
from serving.packet_queue import ROOM, PacketQueue


def message(number: int) -> Packet:
    return Packet(MESSAGE, data=f"{number}")


def texts(queue: PacketQueue) -> list[str]:
    return [packet.data for _, packet in queue.take() if packet is not None]


def test_what_comes_between_two_polls_waits_in_its_order() -> None:
    queue = PacketQueue()
    assert all(queue.put(message(number), "price") for number in range(ROOM))
    assert not queue.has_replaced
    assert texts(queue) == [str(number) for number in range(ROOM)]
    assert queue.size == 0


def test_who_stays_away_longer_gets_the_newest_of_each_kind_and_all_that_has_none() -> None:
    queue = PacketQueue()
    queue.put(message(1000))
    for number in range(ROOM - 1):
        queue.put(message(number), ("signal", "price")[number % 2])
    assert not queue.put(message(ROOM + 1), "signal")
    assert queue.has_replaced
    assert texts(queue) == ["1000", *(str(number) for number in range(1, ROOM - 1, 2)), str(ROOM + 1)]


def test_its_size_is_that_of_what_waits() -> None:
    queue = PacketQueue()
    for number in range(10 * ROOM):
        queue.put(message(number), "price")
    assert len(queue) <= ROOM
    assert queue.size == sum(len(packet.encode(b64=True)) for _, packet in queue.take() if packet is not None)


def test_a_client_that_stays_away_is_sent_the_newest_before_it_is_ended() -> None:
    """Of what has a key; the rest of the bound is for what has none."""
    bounds = LinkBounds().outbox
    queue = PacketQueue()
    for number in range(10 * bounds.messages):
        queue.put(message(number), "price")
        assert len(queue) < bounds.messages
        assert queue.size < bounds.bytes


def test_an_empty_one_says_so() -> None:
    with pytest.raises(Empty):
        PacketQueue().get(block=False)
