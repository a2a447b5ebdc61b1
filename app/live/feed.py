"""What is posted to the members of one ticker: the newest events, a snapshot, the last heartbeat. Members compute nothing, and
have no queue here: each is a place in the sequence.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice

from app.live.event_log import MAX_BYTES, MAX_EVENTS, Head
from app.live.live_event import NOT_BEGUN, Kind, LiveEvent, Missed, Position, Shape


class Numbers:
    """Numbers the events of all tickers in the order in which this process learns of them, from 2 on.

    name    tells the numbers of this process from those of another
    newest  the number that was given last
    """

    def __init__(self) -> None:
        self.name = secrets.token_hex(4)
        self.newest = 1

    def take(self) -> int:
        self.newest += 1
        return self.newest


class Feed:
    """The end of one sequence, as it is in the log. Safe between threads.

    lock      held where the feed is read or changed
    head      where the sequence has come to; None before the first state is known
    heartbeat the last one, while nothing came behind it
    is_ended  the server stops: nothing more comes
    """

    def __init__(self, ticker: str, shape: Shape, numbers: Numbers) -> None:
        self.lock = threading.RLock()
        self.ticker = ticker
        self.head: Head | None = None
        self.heartbeat: LiveEvent | None = None
        self.reads_begun = self.reads_ended = 0
        self.is_ended = False
        self._shape = shape
        self._numbers = numbers
        self._dropped = numbers.newest
        self._events: deque[LiveEvent] = deque()
        self._bytes = 0
        self._snapshots: dict[Missed | None, LiveEvent] = {}

    def __len__(self) -> int:
        """How many events are in memory."""
        return len(self._events)

    def publish(self, head: Head, events: Sequence[LiveEvent]) -> None:
        """The sequence has come to `head` by `events`; where they do not lead there from the head before,
        for instance to one of another epoch, it begins anew."""
        with self.lock:
            if self.head is None or self.head.position.forward(len(events)) != head.position:
                self._begin()
            for event in events:
                self._keep(event)
            if self.head is None or self.head.position != head.position:
                self.heartbeat = None
            self.head = head
            self._snapshots.clear()

    def _begin(self) -> None:
        self._events.clear()
        self._bytes, self._dropped = 0, self._numbers.take()

    def _keep(self, event: LiveEvent) -> None:
        event.number = self._numbers.take()
        self._events.append(event)
        self._bytes += len(event.body)
        while self._bytes > MAX_BYTES or len(self._events) > MAX_EVENTS:
            oldest = self._events.popleft()
            self._bytes -= len(oldest.body)
            self._dropped = oldest.number

    def take_number(self) -> int:
        """A number behind those of all events of this process so far."""
        return self._numbers.take()

    def position_at(self, number: int) -> Position | None:
        """Where the sequence was when the event of that number was the newest of all tickers; None where that is not known any
        more."""
        with self.lock:
            if self.head is None or not self._dropped <= number <= self._numbers.newest:
                return None
            later = sum(event.number > number for event in self._events)
            return self.head.position.forward(-later)

    def beat(self, told_at: float, next_by: float) -> LiveEvent:
        """A heartbeat: nothing changed, or nothing is known yet. Seconds since 1970."""
        with self.lock:
            position = None if self.head is None else self.head.position
            body = self._shape.heartbeat(self.ticker, position, told_at, next_by)
            self.heartbeat = LiveEvent(self.ticker, Kind.HEARTBEAT, position or NOT_BEGUN, body)
            return self.heartbeat

    def begin_read(self) -> None:
        """The log is read from now on."""
        self.reads_begun += 1

    def end_read(self) -> None:
        """What the log held since `begin_read` is published."""
        with self.lock:
            self.reads_ended = self.reads_begun

    def is_expected(self, position: Position, reads_begun: int) -> bool:
        """Whether a position that another process has told of may be in the log: it is ahead, and the log was not read through
        since `reads_begun`."""
        head = self.head
        is_ahead = head is not None and position.epoch == head.position.epoch and position.seq > head.position.seq
        return is_ahead and self.reads_ended <= reads_begun

    def clear(self) -> None:
        """Nobody listens: keep nothing."""
        with self.lock:
            self.head = self.heartbeat = None
            self._begin()
            self._snapshots.clear()

    def end(self) -> None:
        with self.lock:
            self.is_ended = True

    def missed(self, position: Position) -> Missed | None:
        """Why the events behind a position cannot be sent; None: they can."""
        assert self.head is not None
        head = self.head.position
        if position.epoch != head.epoch:
            return Missed.EPOCH
        if position.seq > head.seq:
            return Missed.POSITION
        behind = head.seq - position.seq
        return Missed.TOO_OLD if behind > len(self._events) else None

    def behind(self, position: Position) -> Sequence[LiveEvent]:
        """The events behind a position of which nothing is missed."""
        assert self.head is not None
        return list(islice(self._events, len(self._events) - (self.head.position.seq - position.seq), None))

    def snapshot(self, missed: Missed | None) -> LiveEvent:
        """All that is known now, in place of what was missed."""
        assert self.head is not None
        found = self._snapshots.get(missed)
        if found is None:
            body = self._shape.snapshot_after(self.head.snapshot, missed)
            found = self._snapshots[missed] = LiveEvent(self.ticker, Kind.SNAPSHOT, self.head.position, body)
        return found
