"""One who follows a ticker over HTTP, as its broadcaster sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from typing import Final

from app.clock import REAL_TIME
from app.live.broadcaster import Broadcasters
from app.live.event_log import MAX_EVENTS
from app.live.fan_out import Membership
from app.live.live_event import Kind, LiveEvent, Position
from blueprints.streams import Push, Pushed

MAX_BEHIND: Final = 64
"""Events that wait for the response beside those that were missed before. Beyond that it gets a snapshot in their place,
which holds the newest of every kind."""


class StreamRecipient:
    """Events wait here until the response takes them; or, while they are pushed, go straight to the client's connection, where
    the newest of each kind waits for a client that is slow. It gets a snapshot once it has caught up.

    position   behind which the client goes on: it was sent everything up to it
    is_ended   the server stops
    is_cut     the client is too slow, or has left
    """

    def __init__(self, after: Position | None, chunk: Callable[[LiveEvent], bytes]) -> None:
        self.position = self._posted = after  # _posted: of the last event that was pushed
        self.is_ended = self.is_cut = False
        self._chunk = chunk
        self._queue: list[LiveEvent] = []
        self._pushed: Pushed | None = None
        self._pushed_until = 0.0
        self._wake = Event()
        self._membership: Membership | None = None

    def join(self, live: Broadcasters, ticker: str) -> None:
        self._membership = live.join(ticker, self, self.position)

    def close(self) -> None:
        """Be sent nothing more."""
        pushed, self._pushed = self._pushed, None
        if pushed is not None:
            pushed.close()
        self._leave()

    def _leave(self) -> None:
        if self._membership is not None:
            self._membership.close()

    def post(self, event: LiveEvent) -> bool:
        if self._pushed is None:
            is_kept = self._keep(event)
            self._wake.set()  # last, since who wakes looks at once
            return is_kept
        is_kept = self._pushed.post(self._chunk(event), event.kind)
        self._posted = _behind(event, self._posted)
        if is_kept and not (self._is_behind or self._pushed.is_waiting):
            self.position = self._posted
        return is_kept

    def _keep(self, event: LiveEvent) -> bool:
        """Let an event wait for the response; not behind one that was lost, since a snapshot comes in the place of both."""
        is_full = len(self._queue) >= MAX_EVENTS + MAX_BEHIND
        if is_full and event.kind is not Kind.HEARTBEAT:
            self._queue.clear()
        if is_full or self._is_behind:
            return False
        self._queue.append(event)
        return True

    @property
    def _is_behind(self) -> bool:
        """Whether an event is lost to the client."""
        return self._membership is not None and self._membership.is_behind

    def fail(self, ticker: str, error: Exception) -> None:
        pass

    def end(self) -> None:
        self.is_ended = True
        self._wake.set()
        if self._pushed is not None:
            self._pushed.wake()

    def take(self) -> Iterator[LiveEvent]:
        """What has come since, oldest first."""
        self._catch_up()
        with suppress(IndexError):
            while True:
                event = self._queue.pop(0)
                self.position = _behind(event, self.position)
                yield event

    def wait(self, seconds: float) -> None:
        """Wait for an event or an end."""
        self._wake.wait(seconds)
        self._wake.clear()

    def push(self, push: Push, seconds: float) -> None:
        """Let the events go straight to the client from now on, for so long at most. Whoever calls this then waits. Events that
        were lost while the last ones were taken are made up for now: a client that is not slow any more drains nothing."""
        self._pushed_until, self._posted = REAL_TIME.now() + seconds, self.position
        self._pushed = push(self._drained, self._cut, seconds)
        self._catch_up()

    def wait_pushed(self) -> None:
        """Wait while the events are pushed; then send what waits for the client. Does nothing while they are not."""
        pushed = self._pushed
        if pushed is None:
            return
        try:
            while not (self.is_ended or self.is_cut) and (left_s := self._pushed_until - REAL_TIME.now()) > 0:
                self.wait(left_s)
            self._finish(pushed)
        finally:
            self._pushed = None
            pushed.close()

    def _finish(self, pushed: Pushed) -> None:
        self._catch_up()
        self._leave()
        if pushed.finish() and not (self._is_behind or self.is_cut):
            self.position = self._posted

    def _drained(self) -> None:
        if not self._is_behind:
            self.position = self._posted
        self._catch_up()

    def _cut(self) -> None:
        self.is_cut = True
        self._wake.set()

    def _catch_up(self) -> None:
        """A snapshot comes in place of events that are lost, if any are."""
        if self._membership is not None and not self.is_cut:
            self._membership.catch_up()


def _behind(event: LiveEvent, position: Position | None) -> Position | None:
    """Behind which position a client goes on that is sent an event. A heartbeat from before the first one moves none."""
    return position if event.id is None else event.position
