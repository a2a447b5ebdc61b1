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
from app.live.live_event import CHANGES, LiveEvent, Position
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
        self._has_gap = False
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
            self._keep(event)
            self._wake.set()
            return not self._has_gap
        is_kept = self._pushed.post(self._chunk(event), event.kind)
        self._posted = event.position
        self._has_gap |= not is_kept and event.kind in CHANGES
        if not self._has_gap and not self._pushed.is_waiting:
            self.position = event.position
        return is_kept

    def _keep(self, event: LiveEvent) -> None:
        if len(self._queue) >= MAX_EVENTS + MAX_BEHIND:
            self._queue.clear()
            self._has_gap = True
        if not self._has_gap:
            self._queue.append(event)

    def fail(self, ticker: str, error: Exception) -> None:
        pass

    def end(self) -> None:
        self.is_ended = True
        self._wake.set()
        if self._pushed is not None:
            self._pushed.wake()

    def take(self) -> Iterator[LiveEvent]:
        """What has come since, oldest first."""
        if self._has_gap:
            self._catch_up()
        with suppress(IndexError):
            while True:
                event = self._queue.pop(0)
                self.position = event.position
                yield event

    def wait(self, seconds: float) -> None:
        """Wait for an event or an end."""
        self._wake.wait(seconds)
        self._wake.clear()

    def push(self, push: Push, seconds: float) -> None:
        """Let the events go straight to the client from now on, for so long at most. Whoever calls this then waits."""
        self._pushed_until, self._posted = REAL_TIME.now() + seconds, self.position
        self._pushed = push(self._drained, self._cut, seconds)

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
        if self._has_gap and not self.is_cut:
            self._catch_up()
        self._leave()
        if pushed.finish() and not self._has_gap:
            self.position = self._posted

    def _drained(self) -> None:
        if self._has_gap:
            self._catch_up()
        else:
            self.position = self._posted

    def _cut(self) -> None:
        self.is_cut = self._has_gap = True
        self._wake.set()

    def _catch_up(self) -> None:
        """A snapshot comes in place of the events that were dropped."""
        self._has_gap = False
        if self._membership is not None:
            self._membership.catch_up()
