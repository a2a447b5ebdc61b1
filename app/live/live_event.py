"""What those who follow a ticker are told: events, their places in the sequence, and what makes a new one.

A sequence has a name, its `epoch`, and numbers its events without a gap from 1 on, whatever their kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from app.market.calendar import NY
from app.pipeline import State, TickerSignal

POSITION: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})", re.ASCII)


class Kind(StrEnum):
    """snapshot: all that is known now, for who begins to follow or missed something; signal: a decision was locked, or a gate
    changed; price: a new bar; status: the market opened or closed, data became stale or fresh, the breaker or the models
    changed; heartbeat: nothing changed. Snapshots and heartbeats have no number of their own."""

    SNAPSHOT = "snapshot"
    SIGNAL = "signal"
    PRICE = "price"
    STATUS = "status"
    HEARTBEAT = "heartbeat"


CHANGES: Final = frozenset({Kind.STATUS, Kind.SIGNAL, Kind.PRICE})
"""The kinds of events that have a number."""


class Missed(StrEnum):
    """Why the events behind a position cannot be sent.

    unknown_epoch: the sequence of that name has ended, for instance because nobody followed for hours. unknown_position: it has
    not come so far. too_old: its events are not kept any more. slow: the listener fell behind."""

    EPOCH = "unknown_epoch"
    POSITION = "unknown_position"
    TOO_OLD = "too_old"
    SLOW = "slow"


class Position(NamedTuple):
    """The place of an event; as text `epoch-seq`, the id of an event."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    def forward(self, steps: int) -> Position:
        return Position(self.epoch, self.seq + steps)


NOT_BEGUN: Final = Position("", 0)
"""The place of a heartbeat that comes before the sequence has begun. No event is there."""


def position_of(text: str) -> Position | None:
    """The position that an id names; None for any other text."""
    found = POSITION.fullmatch(text)
    return None if found is None else Position(found[1], int(found[2]))


@dataclass(slots=True)
class LiveEvent:
    """One event. `body` is its JSON; its encodings for the formats of streams are made once, for all listeners. `number`: who
    has it has all events up to that place among those of all tickers in this process; 0 where that cannot be said, and for
    heartbeats."""

    ticker: str
    kind: Kind
    position: Position
    body: bytes
    number: int = field(default=0, compare=False)
    _twin: LiveEvent | None = field(default=None, repr=False, compare=False)
    _encodings: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def id(self) -> str | None:
        """The id of the last event that a client has who has this one; None before the first."""
        return None if self.position is NOT_BEGUN else str(self.position)

    def numbered(self, number: int) -> LiveEvent:
        """The same event with another number."""
        return LiveEvent(self.ticker, self.kind, self.position, self.body, number)

    def without_number(self) -> LiveEvent:
        """The same event without a number; one for all, so that its encodings are made once."""
        if self._twin is None:
            self._twin = self.numbered(0)
        return self._twin

    def encoded(self, encoding: str, make: Callable[[LiveEvent], bytes]) -> bytes:
        """The event in an encoding, which `make` makes the first time."""
        found = self._encodings.get(encoding)
        if found is None:
            found = self._encodings[encoding] = make(self)
        return found


class Conditions(NamedTuple):
    """What is told of the server beside the state of a ticker. breaker: `open` while calls to the provider are held back;
    models: which ones are loaded."""

    breaker: str = "closed"
    models: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What an event says. at: market time; is_missed: it was found afterwards, from the bars."""

    ticker: str
    kind: Kind
    position: Position
    state: State
    at: datetime
    conditions: Conditions
    is_missed: bool = False


class Shape(Protocol):
    """Makes JSON of what is told. The blueprints of a version provide it."""

    def event(self, change: Change) -> bytes: ...

    def snapshot_after(self, snapshot: bytes, missed: Missed | None) -> bytes:
        """A snapshot that says why it comes in place of what was missed; None: it comes because it was asked for."""
        ...

    def heartbeat(self, ticker: str, position: Position | None, told_at: float, next_by: float) -> bytes:
        """position: that of the last event, None before the first. told_at, next_by: seconds since 1970, real time; the next
        event comes by then, whatever happens."""
        ...


@dataclass(frozen=True, slots=True)
class Noticed:
    """What a user notices of a ticker. Two states with the same make no event.

    at: market time of the state; as_of, price: end and close (USD) of the newest bar told of; signal: the decision, or the gate
    before it; status: whether the market is open, whether bars are overdue, and the conditions.
    """

    at: datetime
    as_of: datetime | None
    price: float | None
    signal: str
    status: str

    @classmethod
    def of(cls, state: State, at: datetime, conditions: Conditions) -> Noticed:
        quote, signal = state.signal.quote, state.signal
        freshness = "stale" if state.stale and state.is_open else "current"
        status = " ".join(("open" if state.is_open else "closed", freshness, *conditions))
        return cls(at, quote.as_of if quote.price else None, quote.price, _named(signal), status)

    def after(self, before: Noticed, kinds: Collection[Kind]) -> Noticed:
        """What is noticed once `kinds` of this state were told behind `before`: for other kinds what was noticed before, and so
        for the newest bar if this state knows none, or an older one. Its moment is the later one."""
        has_bar = before.as_of is None or (self.as_of is not None and self.as_of >= before.as_of)
        bar = self if has_bar and Kind.PRICE in kinds else before
        signal = (self if Kind.SIGNAL in kinds else before).signal
        status = (self if Kind.STATUS in kinds else before).status
        return Noticed(max(self.at, before.at), bar.as_of, bar.price, signal, status)

    def kinds_since(self, before: Noticed) -> list[Kind]:
        """The kinds of the events that tell of the change, in their order."""
        pairs = (
            (Kind.STATUS, self.status, before.status),
            (Kind.SIGNAL, self.signal, before.signal),
            (Kind.PRICE, (self.as_of, self.price), (before.as_of, before.price)),
        )
        return [kind for kind, now, then in pairs if now != then]

    def shown(self) -> tuple[object, ...]:
        """What tells whether a snapshot of the state still says what is known: in a closed market the newest bar is forgotten,
        and words and days turn with the hours, without an event."""
        hour = self.at.astimezone(NY).replace(minute=0, second=0, microsecond=0)
        return self.as_of, self.price, self.signal, self.status, hour

    def as_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat)


def noticed_of_json(text: str) -> Noticed:
    """Raises ValueError, KeyError or TypeError for other text."""
    row = json.loads(text)
    as_of = None if row["as_of"] is None else datetime.fromisoformat(row["as_of"])
    return Noticed(datetime.fromisoformat(row["at"]), as_of, row["price"], row["signal"], row["status"])


def _named(signal: TickerSignal) -> str:
    """The decision or the gate. That a decision stands a little longer, because the bars of the next hour are not here, is no
    change: it is not seen in a replay either."""
    decision = signal.decision
    if decision is None:
        return str(signal.gate)
    return f"{decision.day} {decision.hour} {decision.action} {decision.model_id}"
