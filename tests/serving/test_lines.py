"""Connections that wait for a place: who waits for whom, and how many may."""

from __future__ import annotations

import gevent
import pytest

from serving.connections import Connections
from serving.lines import Lines
from tests.serving.test_connections import FakeConnection

GREEDY, HONEST, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture
def room() -> Connections:
    """Full: two addresses hold their share of two places each."""
    full = Connections(4, 2, lambda address: address)
    for address in (GREEDY, GREEDY, OTHER, OTHER):
        assert full.enter(FakeConnection(address))
    return full


def test_who_competes_with_its_own_address_holds_up_nobody_else(room: Connections) -> None:
    lines = Lines(room)
    waiting = gevent.spawn(lines.wait, FakeConnection(GREEDY), 60.0)
    gevent.sleep(0)
    assert not lines.wait(FakeConnection(GREEDY), 60.0), "the line of its address is full"
    with gevent.Timeout(5):
        assert lines.wait(FakeConnection(HONEST), 0.0)
    assert not waiting.ready()
    waiting.kill()


def test_a_line_has_room_again_when_its_first_one_left(room: Connections) -> None:
    lines = Lines(room)
    waiting = gevent.spawn(lines.wait, FakeConnection(GREEDY), 60.0)
    gevent.sleep(0)
    waiting.kill()
    with gevent.Timeout(5):
        assert lines.wait(FakeConnection(GREEDY), 0.0)


def test_who_finds_room_does_not_wait() -> None:
    lines = Lines(Connections(4, 2, lambda address: address))
    with gevent.Timeout(5):
        assert lines.wait(FakeConnection(GREEDY), 60.0)
