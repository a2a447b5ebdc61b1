"""What the listeners of one ticker read: the newest events, a snapshot, the last heartbeat. Listeners compute nothing, and have
no queue of their own: each is a place in the sequence.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from app.live.event_log import MAX_BYTES, MAX_EVENTS, Head
from app.live.live_event import Kind, LiveEvent, Missed, Position, Shape

MAX_BEHIND: Final = 64
"""Events that a listener which was current may fall behind. Beyond that it gets a snapshot in their place, which holds the
newest of every kind."""


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

    changed   notified when there is something new
    head      where the sequence has come to; None before the first step of the broadcaster
    beats     how many heartbeats there were
    heartbeat the last one, while nothing came behind it
    is_ended  the server stops: nothing more comes
    snapshots_for_slow  how often a listener fell behind and got a snapshot in place of events
    """

    def __init__(self, ticker: str, shape: Shape, numbers: Numbers) -> None:
        self.changed = threading.Condition()
        self.ticker = ticker
        self.head: Head | None = None
        self.heartbeat: LiveEvent | None = None
        self.beats = 0
        self.reads_begun = self.reads_ended = 0
        self.is_ended = False
        self.snapshots_for_slow = 0
        self._shape = shape
        self._numbers = numbers
        self._dropped = numbers.newest
        self._events: deque[LiveEvent] = deque()
        self._bytes = 0
        self._is_awaited = False
        self._snapshots: dict[Missed | None, LiveEvent] = {}

    def __len__(self) -> int:
        """How many events are in memory."""
        return len(self._events)

    def publish(self, head: Head, events: Sequence[LiveEvent]) -> None:
        """The sequence has come to `head` by `events`; where they do not lead there from the head before,
        for instance to one of another epoch, it begins anew."""
        with self.changed:
            if self.head is None or self.head.position.forward(len(events)) != head.position:
                self._begin()
            for event in events:
                self._keep(event)
            if self.head is None or self.head.position != head.position:
                self.heartbeat = None
            self.head = head
            self._snapshots.clear()
            self.changed.notify_all()

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
        with self.changed:
            if self.head is None or not self._dropped <= number <= self._numbers.newest:
                return None
            later = sum(event.number > number for event in self._events)
            return self.head.position.forward(-later)

    def beat(self, told_at: float, next_by: float) -> None:
        """Tell all listeners that nothing changed. Seconds since 1970."""
        with self.changed:
            if self.head is None:
                return
            position = self.head.position
            body = self._shape.heartbeat(self.ticker, position, told_at, next_by)
            self.heartbeat = LiveEvent(self.ticker, Kind.HEARTBEAT, position, body)
            self.beats += 1
            self.changed.notify_all()

    def begin_read(self) -> None:
        """The log is read from now on."""
        self.reads_begun += 1

    def end_read(self) -> None:
        """What the log held since `begin_read` is published."""
        with self.changed:
            self.reads_ended = self.reads_begun
            if self._is_awaited:
                self._is_awaited = False
                self.changed.notify_all()

    def is_expected(self, position: Position, reads_begun: int) -> bool:
        """Whether a position that another process has told of may be in the log: it is ahead, and the log was not read through
        since `reads_begun`. Who waits for that is woken."""
        head = self.head
        is_ahead = head is not None and position.epoch == head.position.epoch and position.seq > head.position.seq
        self._is_awaited |= is_ahead
        return is_ahead and self.reads_ended <= reads_begun

    def clear(self) -> None:
        """Nobody listens: keep nothing."""
        with self.changed:
            self.head = self.heartbeat = None
            self._begin()
            self._snapshots.clear()

    def end(self) -> None:
        with self.changed:
            self.is_ended = True
            self.changed.notify_all()

    def missed(self, position: Position, *, is_current: bool = False) -> Missed | None:
        """Why the events behind a position cannot be sent; None: they can. is_current: the listener had everything before."""
        assert self.head is not None
        head = self.head.position
        if position.epoch != head.epoch:
            return Missed.EPOCH
        if position.seq > head.seq:
            return Missed.POSITION
        behind = head.seq - position.seq
        if is_current and behind > MAX_BEHIND:
            self.snapshots_for_slow += 1
            return Missed.SLOW
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


class Listener:
    """One who follows a ticker. A context manager; `close` frees it.

    position  of the last event that it took; None before the first
    missed    why it could not get what lies behind its position, most recently
    """

    def __init__(self, feed: Feed, after: Position | None, on_close: Callable[[], None]) -> None:
        self.position = after
        self.missed: Missed | None = None
        self._feed = feed
        self._beats = feed.beats
        self._reads_begun = feed.reads_begun
        self._is_current = False
        self._on_close: Callable[[], None] | None = on_close

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def is_over(self) -> bool:
        """Whether the server stops, so that nothing more comes."""
        return self._feed.is_ended

    def take(self, timeout_s: float) -> Sequence[LiveEvent]:
        """What is new, oldest first: at first a snapshot, or what comes behind the position that the listener began with. Waits
        for it for `timeout_s` real seconds at most; empty then, and where the server stops."""
        feed = self._feed
        with feed.changed:
            feed.changed.wait_for(lambda: feed.is_ended or self._has_news(), timeout_s)
            return self._news() if self._has_news() else ()

    def _has_news(self) -> bool:
        head = self._feed.head
        if head is None:
            return False
        if not self._is_current:
            return self.position is None or not self._feed.is_expected(self.position, self._reads_begun)
        return head.position != self.position or self._has_beat()

    def _has_beat(self) -> bool:
        return self._feed.beats != self._beats

    def _news(self) -> Sequence[LiveEvent]:
        feed, beats = self._feed, [self._feed.heartbeat] if self._has_beat() and self._feed.heartbeat else []
        assert feed.head is not None
        events = self._events(feed)
        self.position, self._beats, self._is_current = feed.head.position, feed.beats, True
        return [*events, *beats]

    def _events(self, feed: Feed) -> Sequence[LiveEvent]:
        if self.position is None:
            return [feed.snapshot(None)]
        self.missed = feed.missed(self.position, is_current=self._is_current)
        return feed.behind(self.position) if self.missed is None else [feed.snapshot(self.missed)]

    def close(self) -> None:
        """Listen no more. A second call does nothing."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
