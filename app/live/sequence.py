"""The sequence of live events of one ticker: what this process knows of it, and how it extends it.

What makes the events equal on all processes: they come out of the log, which alone says what stands at (ticker, epoch, seq).
One process computes them, under a lease, and an append that does not continue the head of the log is refused. A process that
takes over compares the market with the head that it finds, so that nothing is told twice, and tells first what was missed,
from the bars: those events are what a replay of their moments says, and are marked so. Live events equal them in all that rests
on bars and record; `generated_at`, ages, and what is said of the server itself belong to the moment at which an event was made.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from datetime import datetime

from app.live.event_log import EventLog, Head
from app.live.feed import Feed
from app.live.live_event import CHANGES, Change, Conditions, Kind, LiveEvent, Noticed, Position, Shape
from app.pipeline import State


class LiveSequence:
    """The sequence of one ticker.

    head        where it has come to in the log, as far as this process knows; None: it has not begun
    told_until  market time up to which this process has told everything of it; None where it has told nothing of it
    """

    def __init__(self, ticker: str, log: EventLog, shape: Shape, feed: Feed, emit: Callable[..., None]) -> None:
        """`emit("live_event", ...)` tells of each event that was appended."""
        self.head: Head | None = None
        self.told_until: datetime | None = None
        self._ticker = ticker
        self._log = log
        self._shape = shape
        self._feed = feed
        self._emit = emit
        self._untold: list[LiveEvent] = []
        self._shown: tuple[object, ...] | None = (
            None  # what the snapshot at the head says, if this process made it of now
        )

    @property
    def position(self) -> Position | None:
        """Where it has come to."""
        return None if self.head is None else self.head.position

    def read(self) -> None:
        """Take over what the log holds. A log that holds nothing (any more) ends the sequence that this process knows. Raises
        Unavailable."""
        head, known = self._log.head(self._ticker), self.head
        if known is None or head is None or known.position.epoch != head.position.epoch:
            known, self._untold, self.told_until = None, [], None
        if head is None or self.head is None or self.head.snapshot != head.snapshot:
            self._shown = None
        if head is not None and (known is None or known.position != head.position):
            after = Position(head.position.epoch, 0) if known is None else known.position
            self._untold += self._log.between(self._ticker, after, head.position)
        self.head = head

    def says(self, found: Noticed) -> bool:
        """Whether nothing is to be told of a state: the head says the same, and so does its snapshot."""
        assert self.head is not None
        is_new = found.after(self.head.noticed, CHANGES).kinds_since(self.head.noticed)
        return not is_new and found.shown() == self._shown

    def begin(self, state: State, noticed: Noticed, conditions: Conditions) -> bool:
        """Begin a new sequence, which ends the one before. Returns whether the log let this process do so."""
        start = Change(self._ticker, Kind.SNAPSHOT, Position(secrets.token_hex(4), 0), state, noticed.at, conditions)
        self._untold = []
        return self._append([], Head(start.position, noticed, self._shape.event(start)), noticed)

    def extend(
        self,
        state: State,
        found: Noticed,
        conditions: Conditions,
        kinds: Collection[Kind] = CHANGES,
        *,
        is_missed: bool = False,
    ) -> bool:
        """Append what of these kinds changed since the head, and renew the snapshot where it says something else than the state
        of now. Returns whether the log let this process do so."""
        assert self.head is not None
        before, noticed = self.head.position, found.after(self.head.noticed, kinds)
        changed = noticed.kinds_since(self.head.noticed)
        if not changed and (is_missed or found.shown() == self._shown):
            return True

        def change(kind: Kind, position: Position) -> Change:
            return Change(self._ticker, kind, position, state, found.at, conditions, is_missed)

        changes = [change(kind, before.forward(number)) for number, kind in enumerate(changed, 1)]
        events = [LiveEvent(self._ticker, c.kind, c.position, self._shape.event(c)) for c in changes]
        last = before.forward(len(changed))
        snapshot = self._shape.event(change(Kind.SNAPSHOT, last))
        return self._append(events, Head(last, noticed, snapshot), None if is_missed else found)

    def _append(self, events: list[LiveEvent], head: Head, shown: Noticed | None) -> bool:
        """shown: the state of the snapshot; None where it is over."""
        before = None if self.head is None else self.head.position
        if not self._log.append(self._ticker, before, events, head):
            return False
        self._untold += events
        self.head, self._shown = head, None if shown is None else shown.shown()
        for event in events:
            self._emit("live_event", ticker=self._ticker, kind=event.kind.value)
        return True

    def publish(self) -> None:
        """Show the listeners what is in the log."""
        known = self._feed.head
        if self.head is not None and known != self.head:
            untold, self._untold = self._untold, []
            self._feed.publish(self.head, untold)

    def leads(self) -> bool:
        """Whether this process extends the sequence."""
        return self._log.leads(self._ticker)

    def resign(self) -> None:
        self._log.resign(self._ticker)
