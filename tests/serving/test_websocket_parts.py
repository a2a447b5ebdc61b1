"""Parts of the links, without a server: frames, packets, the queue of a polling client, and what one client may send."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from queue import Empty
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from engineio.packet import MESSAGE, PING, Packet
from engineio.socket import Socket
from flask import Flask
from flask_socketio import SocketIO
from socketio.packet import Packet as SocketPacket

from serving import engine_server
from serving.connections import Connections, State
from serving.link_bounds import Allowance, LinkBounds
from serving.messages import message_of
from serving.packet_queue import PacketQueue
from serving.strict_packets import InvalidPacket, strict
from serving.websocket_frames import (
    Binary,
    Closed,
    IncomingMessages,
    Pinged,
    close_frame,
    frame_of,
    switching_protocols,
)
from serving.websocket_link import Links
from tests.serving.websocket_clients import frame
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_frame_says_the_length_of_its_text(length: int) -> None:
    data = frame_of("é" + "x" * (length - 2) if length > 1 else "x" * length)
    assert data[0] == 0x81
    if length <= 125:
        said, payload = data[1], data[2:]
    elif length <= 65_535:
        assert data[1] == 126
        said, payload = struct.unpack("!H", data[2:4])[0], data[4:]
    else:
        assert data[1] == 127
        said, payload = struct.unpack("!Q", data[2:10])[0], data[10:]
    assert said == len(payload) == length


def test_a_close_frame_holds_at_most_125_bytes_and_no_half_letter() -> None:
    data = close_frame(1013, "é" * 100)
    assert data[:2] == bytes([0x88, 2 + 122])
    assert data[2:4] == struct.pack("!H", 1013)
    assert data[4:].decode() == "é" * 61
    assert close_frame(1005) == b"\x88\x00", "no frame may carry 1005"


def test_the_answer_to_a_handshake_is_that_of_the_rfc() -> None:
    """RFC 6455, 1.3."""
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in switching_protocols("dGhlIHNhbXBsZSBub25jZQ==")


def test_messages_are_told_from_what_is_none() -> None:
    incoming = IncomingMessages(10)
    assert list(incoming.feed(frame(b"one") + frame(b"two"))) == ["one", "two"]
    whole = frame(b"thr", fin=False) + frame(b"?", 9) + frame(b"ee", 0)
    assert [item for byte in whole for item in incoming.feed(bytes([byte])) if item] == [Pinged(b"?"), "three"]
    assert list(incoming.feed(frame(b"", 10) + frame(b"\x00", 2))) == [None, Binary()]
    assert [type(item) for item in incoming.feed(frame(b"x" * 11) + frame(b"after"))] == [Closed]


def test_an_endless_message_is_too_big_once_it_is() -> None:
    incoming = IncomingMessages(10)
    data = frame(b"x" * 16, length=1 << 40)
    assert list(incoming.feed(data[:-8])) == [None]
    assert [type(item) for item in incoming.feed(data[-8:])] == [Closed]


def test_a_poll_waits_for_what_comes() -> None:
    queue, packet = PacketQueue(), Packet(MESSAGE, "2")
    waiting = gevent.spawn(queue.get, timeout=30.0)
    gevent.sleep(0)
    queue.put(packet)
    assert waiting.get(timeout=30) is packet
    with pytest.raises(Empty):
        queue.get(timeout=0.01)


def test_strict_packets_pass_what_clients_send_and_leave_what_the_server_sends() -> None:
    packets = strict(SocketPacket)
    assert packets(encoded_packet='0{"token":1}').data == {"token": 1}
    assert packets(encoded_packet='21["subscribe",{}]').id == 1
    assert packets(packet_type=3, data=[1], id=4).encode() == "34[1]"
    for wrong in ("9", "2", "2{}", '2["connect"]', "3[]", '51-["a",{}]', '2["a"', b"bytes"):
        with pytest.raises(InvalidPacket):
            packets(encoded_packet=wrong)


def test_a_client_may_send_a_burst_and_then_a_few_a_second() -> None:
    clock = SimpleNamespace(now=0.0)
    allowance = Allowance(LinkBounds(messages_burst=3, messages_s=2.0), lambda: clock.now)
    assert [allowance.spend() for _ in range(4)] == [True, True, True, False]
    clock.now = 1.0
    assert [allowance.spend() for _ in range(3)] == [True, True, False]
    clock.now = 1000.0
    assert [allowance.spend() for _ in range(4)] == [True, True, True, False]


class Place:
    """A connection."""

    state = State.READING
    reason: str | None = None
    is_in_app = False

    def __init__(self, address: str) -> None:
        self.address = address

    def evict(self) -> None:
        raise AssertionError("there is room")


def test_an_eighth_of_the_places_and_of_an_addresses_share_is_never_a_websockets() -> None:
    connections = Connections(40, 16, lambda address: address)
    places = [Place(address) for address in "abc" for _ in range(14)][:38]
    switched = []
    for place in places:
        assert connections.enter(place)
        if connections.may_switch(place):
            connections.switch(place)
            switched.append(place)
    assert [sum(place.address == address for place in switched) for address in "abc"] == [14, 14, 7]
    assert connections.switched == 35
    connections.leave(switched[0])
    connections.leave(switched[0])
    assert connections.switched == 34
    assert connections.may_switch(places[-1])
    for place in places:
        connections.leave(place)
    assert connections.switched == len(connections) == 0


def installed(now: Callable[[], float] = time.monotonic, **options: Any) -> Links:
    socketio = SocketIO(Flask("a"), **options)
    links = Links(now=now)
    links.install(socketio)
    return links


def test_another_version_of_engineio_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engine_server.VERSIONS, "python-engineio", "0.1")
    with pytest.raises(RuntimeError, match=r"python-engineio 4.15.1 in place of 0.1"):
        installed(async_mode="gevent", async_handlers=False)


def test_a_server_whose_handlers_run_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="async_handlers"):
        installed(async_mode="gevent")


def test_messages_to_nobody_are_lost_and_do_no_harm() -> None:
    links = installed(async_mode="gevent", async_handlers=False)
    assert not links.post("nobody", message_of('42["tick"]'), "a")
    links.finish("nobody")
    links.end("nobody", "slow")
    assert list(links) == []
    assert links.open_by_transport() == {"websocket": 0, "polling": 0}


def test_a_client_is_pinged_and_is_gone_if_it_does_not_answer() -> None:
    """As one is that vanished without a word."""
    clock = SimpleNamespace(now=0.0)
    links = installed(lambda: clock.now, async_mode="gevent", async_handlers=False)
    engine = links._engine
    assert engine is not None
    engine.has_joined = lambda sid: True
    for sid in ("answers", "vanished"):
        engine.sockets[sid] = Socket(engine, sid)
        engine._trigger_event("connect", sid, {})
    answers, vanished = engine.sockets.values()
    for moment, left in ((24.0, 2), (25.5, 2), (45.0, 2), (46.0, 1), (60.0, 1), (100.0, 1)):
        clock.now = moment
        for sock in list(engine.sockets.values()):
            sock.look(clock.now)
        if len(answers.queue):
            assert answers.queue.get().packet_type == PING
            answers.receive_text("3")
        assert len(engine.sockets) == left, moment
    assert vanished.closed
    assert vanished.reason == engine.reason.PING_TIMEOUT


def test_a_client_that_is_gone_when_its_turn_comes_is_not_let_in() -> None:
    """Its CONNECT waits while others are let in, and it closes its session meanwhile, as in the middle of an upgrade."""
    links = installed(async_mode="gevent", async_handlers=False)
    engine = links._engine
    assert engine is not None
    handled: list[str] = []
    engine.handlers["message"] = lambda sid, data: handled.append(sid)
    for sid in ("stays", "leaves"):
        engine.sockets[sid] = Socket(engine, sid)
        engine._trigger_event("connect", sid, {})
    with engine.turns:
        waiting = [gevent.spawn(sock.receive_text, "40") for sock in engine.sockets.values()]
        gevent.sleep(0)
        engine.sockets["leaves"].leave(engine.reason.TRANSPORT_CLOSE)
    gevent.joinall(waiting, timeout=PATIENCE_S)
    assert handled == ["stays"]
