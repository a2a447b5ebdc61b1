"""What is kept of clients that lost their connection, so that they go on where they were (Socket.IO's connection state
recovery: https://socket.io/docs/v4/connection-state-recovery).

The client library sends the id of its session, `pid`, and the offset of the last event that it has: `epoch-number`, the place
among all events of this process. Of each ticker the session says how far a client was that has a given offset.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.live.feed import Numbers
from app.live.live_event import Position, position_of

KEPT_S: Final = 60.0
"""Real seconds for which the session of a client that is gone is kept."""

MOST_KEPT: Final = 4096
"""Sessions of clients that are gone."""


class Place(NamedTuple):
    """How far a subscription came. after: the position behind which it began, None: with a snapshot; began_at: the number of
    the last event that it began with, None: it has not begun; posted: the position of the last event that was posted."""

    after: Position | None
    began_at: int | None
    posted: Position | None


@dataclass(frozen=True, slots=True)
class Session:
    """A client that is gone. release: lets go of what is held for it; ends_at: until when it is kept, real seconds."""

    client: str
    places: Mapping[str, Place]
    release: Callable[[], None]
    ends_at: float


def offset_of(numbers: Numbers) -> str:
    """The offset of a client that has all events of this process so far. An offset is written as a position is."""
    return str(Position(numbers.name, numbers.newest))


def number_of(offset: str | None, epoch: str) -> int | None:
    """The number in an offset of this process; None for any other text."""
    found = None if offset is None else position_of(offset)
    return found.seq if found is not None and found.epoch == epoch else None


def positions(
    places: Mapping[str, Place], number: int, position_at: Callable[[str, int], Position | None]
) -> Mapping[str, Position | None] | None:
    """Behind which position each subscription goes on of a client that has all up to an event's number; None where that is not
    known of one of them. The position of a subscription is None where it begins with a snapshot. A client that was cut off
    while it got what it had missed gets all of that again."""
    found: dict[str, Position | None] = {}
    for ticker, place in places.items():
        if place.began_at is None or number < place.began_at:
            found[ticker] = place.after
        elif (position := earlier(position_at(ticker, number), place.posted)) is not None:
            found[ticker] = position
        else:
            return None
    return found


def earlier(one: Position | None, other: Position | None) -> Position | None:
    """The earlier of two positions; None unless both are of the same sequence. An event of one ticker may have been posted
    before an event of another that has a smaller number."""
    return None if one is None or other is None or one.epoch != other.epoch else min(one, other)


def later(one: Position | None, other: Position | None) -> Position | None:
    """The later of two positions of the same sequence; else the first one, or the only one."""
    if one is None or other is None or one.epoch != other.epoch:
        return one or other
    return max(one, other)


class Sessions:
    """The sessions of clients that are gone, each for KEPT_S, MOST_KEPT at most. Safe between threads."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, pid: str, client: str, places: Mapping[str, Place], release: Callable[[], None]) -> None:
        session = Session(client, places, release, self._now() + KEPT_S)
        with self._lock:
            before = self._kept.pop(pid, None)
            self._kept[pid] = session
        if before is not None:
            before.release()
        self.sweep()

    def take(self, pid: str, client: str) -> Session | None:
        """The session of a client that comes back; the caller releases it."""
        with self._lock:
            session = self._kept.get(pid)
            if session is None or session.client != client:
                return None
            return self._kept.pop(pid)

    def sweep(self) -> None:
        """Let go of the sessions whose time is over, or that are too many."""
        for session in self._take_ended():
            session.release()

    def _take_ended(self) -> Sequence[Session]:
        with self._lock:
            now, ended = self._now(), []
            while self._kept and (len(self._kept) > MOST_KEPT or next(iter(self._kept.values())).ends_at <= now):
                ended.append(self._kept.popitem(last=False)[1])
            return ended

    def close(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, OrderedDict()
        for session in kept.values():
            session.release()
