"""A client that follows over HTTP gets every event once and in order; where it is too slow for that, a snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from app.live.event_log import MAX_EVENTS
from app.live.live_event import NOT_BEGUN, Kind, LiveEvent, Missed, Position
from blueprints.v2.line_formats import EVENT_STREAM
from blueprints.v2.stream_recipient import MAX_BEHIND, StreamRecipient
from tests.waiting import PATIENCE_S

EPOCH = "aaaaaaaa"
PRICE, SIGNAL, STATUS, HEARTBEAT = Kind.PRICE, Kind.SIGNAL, Kind.STATUS, Kind.HEARTBEAT


def event(seq: int, kind: Kind = PRICE) -> LiveEvent:
    return LiveEvent("SPY", kind, Position(EPOCH, seq), b"%d %b" % (seq, kind.encode()))


class Live:
    """Broadcasters of which a test tells the events, and a membership that notices which are lost."""

    def __init__(self) -> None:
        self.seq = 0
        self.recipient: Any = None
        self.is_closed = self.is_behind = False

    def join(self, ticker: str, recipient: Any, after: Position | None = None) -> Live:
        self.recipient = recipient
        return self

    def post(self, *kinds: Kind) -> None:
        for kind in kinds:
            self.seq += kind is not HEARTBEAT
            self._post(event(self.seq, kind))

    def _post(self, event: LiveEvent) -> None:
        if not self.recipient.post(event):
            self.is_behind |= event.kind is not HEARTBEAT

    def catch_up(self) -> None:
        if self.is_behind and not self.is_closed:
            self.is_behind = False
            snapshot = LiveEvent("SPY", Kind.SNAPSHOT, Position(EPOCH, self.seq), b"snapshot %b" % Missed.SLOW.encode())
            self._post(snapshot)

    def close(self) -> None:
        self.is_closed = True


class Client:
    """What a client gets that takes `room` pieces at once; of those that wait, the newest of each key."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.waiting: dict[Hashable, bytes] = {}
        self.room = 1000
        self.is_done = False
        self.on_drained: Callable[[], None]
        self.on_end: Callable[[], None]

    def push(self, on_drained: Callable[[], None], on_end: Callable[[], None], seconds: float) -> Client:
        self.on_drained, self.on_end = on_drained, on_end
        return self

    @property
    def is_waiting(self) -> bool:
        return bool(self.waiting)

    def post(self, data: bytes, key: Hashable | None = None) -> bool:
        if self.is_done:
            return False
        if len(self.got) < self.room:
            self.got.append(data)
            return True
        is_kept = self.waiting.pop(key, None) is None
        self.waiting[key] = data
        return is_kept

    def read(self) -> None:
        self.room += 1000
        self.got += self.waiting.values()
        self.waiting = {}
        self.on_drained()

    def finish(self) -> bool:
        is_everything = not (self.is_done and self.waiting)
        self.is_done = True
        self.got += self.waiting.values() if is_everything else ()
        return is_everything

    def close(self) -> None:
        self.is_done = True

    def wake(self) -> None:
        pass


def chunk(event: LiveEvent) -> bytes:
    return b"<%b>" % event.body


def joined(live: Live, after: Position | None = None) -> StreamRecipient:
    recipient = StreamRecipient(after, chunk)
    recipient.join(live, "SPY")  # type: ignore[arg-type]
    return recipient


@contextmanager
def pushing(recipient: StreamRecipient, seconds: float = 60.0) -> Iterator[Client]:
    client = Client()
    recipient.push(client.push, seconds)
    thread = threading.Thread(target=recipient.wait_pushed)
    thread.start()
    yield client
    recipient.end()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def taken(recipient: StreamRecipient) -> list[bytes]:
    return [event.body for event in recipient.take()]


def test_events_that_were_lost_while_the_response_took_those_before_are_made_up_for_when_others_are_pushed() -> None:
    recipient = joined(live := Live())
    live.post(PRICE)
    taking = recipient.take()
    assert next(taking).body == b"1 price"
    live.post(*[PRICE] * (MAX_EVENTS + MAX_BEHIND + 1))  # the client is slow to take the first one
    assert list(taking) == []
    with pushing(recipient) as client:
        assert client.got == [b"<snapshot slow>"]
        assert recipient.position == (EPOCH, live.seq)
        live.post(SIGNAL)
        assert client.got[1:] == [b"<%d signal>" % live.seq]


def test_events_wait_for_the_response_and_then_go_straight_to_the_client() -> None:
    recipient = joined(live := Live())
    live.post(PRICE, SIGNAL)
    assert taken(recipient) == [b"1 price", b"2 signal"]
    with pushing(recipient) as client:
        live.post(PRICE, HEARTBEAT)
        assert client.got == [b"<3 price>", b"<3 heartbeat>"]
        assert recipient.position == (EPOCH, 3)
    assert live.is_closed
    assert taken(recipient) == []


def test_who_is_woken_by_an_event_finds_it() -> None:
    recipient, found = joined(live := Live()), list[bytes]()

    class Woken(threading.Event):
        """Whoever waits runs at once, as threads may."""

        def set(self) -> None:
            found.extend(taken(recipient))

    recipient._wake = Woken()
    live.post(PRICE, SIGNAL)
    assert found == [b"1 price", b"2 signal"]


def test_the_events_that_were_missed_are_all_sent_however_many_they_are() -> None:
    recipient = joined(live := Live(), Position(EPOCH, 0))
    live.post(*[PRICE] * 512)
    assert len(taken(recipient)) == 512
    assert recipient.position == (EPOCH, 512)


def test_a_client_that_was_slow_gets_a_snapshot_once_it_has_caught_up() -> None:
    recipient = joined(live := Live())
    live.post(PRICE)
    taken(recipient)
    with pushing(recipient) as client:
        client.room = 1
        live.post(PRICE, PRICE, SIGNAL, PRICE, HEARTBEAT, HEARTBEAT)
        assert client.got == [b"<2 price>"]
        assert recipient.position == (EPOCH, 2), "it goes on behind what it was sent if it loses its connection now"
        client.read()
        assert client.got[1:] == [b"<4 signal>", b"<5 price>", b"<5 heartbeat>", b"<snapshot slow>"]
        live.post(PRICE)
        assert client.got[-1] == b"<6 price>"
        assert recipient.position == (EPOCH, 6)


def test_a_client_for_which_only_heartbeats_gave_way_missed_nothing() -> None:
    recipient = joined(live := Live())
    with pushing(recipient) as client:
        client.room = 0
        live.post(PRICE, HEARTBEAT, HEARTBEAT, STATUS)
        assert recipient.position is None
        client.read()
        assert client.got == [b"<1 price>", b"<1 heartbeat>", b"<2 status>"]
        assert recipient.position == (EPOCH, 2)


def test_a_client_that_is_behind_at_the_end_gets_the_snapshot_before_it_is_told_to_come_back() -> None:
    recipient = joined(live := Live())
    with pushing(recipient) as client:
        client.room = 0
        live.post(PRICE, PRICE)
    assert client.got == [b"<2 price>", b"<snapshot slow>"]
    assert recipient.position == (EPOCH, 2)


def test_a_client_that_is_cut_goes_on_behind_what_it_was_surely_sent() -> None:
    recipient = joined(live := Live())
    with pushing(recipient) as client:
        live.post(PRICE, SIGNAL)
        client.room = 0
        live.post(PRICE)
        client.close()
        client.on_end()
    assert recipient.is_cut
    assert recipient.position == (EPOCH, 2)
    assert taken(recipient) == [], "nothing more is sent"


def test_pushing_ends_in_time_and_what_came_is_sent() -> None:
    recipient = joined(live := Live())
    live.post(PRICE)
    taken(recipient)
    with pushing(recipient, seconds=0.0) as client:
        pass
    assert client.is_done
    assert recipient.position == (EPOCH, 1)


def test_an_event_is_written_once_in_each_format_whoever_follows() -> None:
    written: list[bytes] = []

    def encode(body: bytes, id: str | None, retry_after_ms: int | None) -> bytes:
        written.append(body)
        return body

    one = replace(EVENT_STREAM, encode=encode)
    told = event(1)
    assert {one.chunk(told) for _ in range(20)} == {one.chunk(told)}
    assert written == [b"1 price"]


def test_a_heartbeat_before_the_first_event_moves_no_client() -> None:
    recipient = joined(live := Live(), Position(EPOCH, 7))
    beat = LiveEvent("SPY", HEARTBEAT, NOT_BEGUN, b"{}")
    recipient.post(beat)
    assert taken(recipient) == [b"{}"]
    with pushing(recipient):
        recipient.post(beat)
    assert recipient.position == (EPOCH, 7)
    assert live.is_closed
    assert EVENT_STREAM.write(beat) == b"data: {}\n\n", "a browser keeps the id that it has"


def test_a_heartbeat_for_which_there_is_no_room_costs_no_event() -> None:
    recipient = joined(live := Live())
    live.post(*[PRICE] * (MAX_EVENTS + MAX_BEHIND), HEARTBEAT)
    assert len(taken(recipient)) == MAX_EVENTS + MAX_BEHIND


def test_a_response_that_takes_nothing_keeps_a_bounded_number_of_events_and_gets_a_snapshot() -> None:
    recipient = joined(live := Live())
    live.post(*[PRICE] * 5000)
    assert taken(recipient) == [b"snapshot slow"]
    live.post(PRICE)
    assert taken(recipient) == [b"5001 price"]
