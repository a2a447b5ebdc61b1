"""Sends the events of one ticker to all who follow it: its members. The broadcaster's thread computes and encodes an event once
and posts it to each of them; posting never waits.

Ruling L1 holds for each member by itself: it gets every event behind the one that it began with, in order and once, or a
snapshot that says why it could not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from app.live.feed import Feed
from app.live.live_event import Kind, LiveEvent, Missed, Position
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")

POSTS_A_TURN: Final = 256
"""Events posted between two turns of other work: a post takes some microseconds."""


class Recipient(Protocol):
    """One who is sent events. Its methods are called from any thread, while the members are locked, and must not wait."""

    def post(self, event: LiveEvent) -> bool:
        """Send an event, or keep it until the client takes it. Returns False where an event is lost to the client: this one, or
        one before it. Once the client takes events again, the recipient calls `catch_up` of its memberships."""
        ...

    def fail(self, ticker: str, error: Exception) -> None:
        """The state of a ticker cannot be computed, so that no event comes. Told once for each error, and again in place of
        each heartbeat while that lasts."""
        ...

    def end(self) -> None:
        """The server stops: nothing more comes."""
        ...


class Membership:
    """One recipient's place in the sequence of a ticker. `close` frees it.

    position    of the last event that was posted; None before the first
    is_behind   whether an event is lost to the client, which has had no snapshot since
    after       the position behind which it began; None where it began with a snapshot
    is_current  whether it had all events up to some moment, and gets every one since
    began_at    the number of the last event that it began with; None before it, and while a client that took too little waits
                for its snapshot. Of who has only events of smaller numbers, `after` tells what it has
    """

    __slots__ = (
        "_fan_out",
        "after",
        "began_at",
        "failure",
        "is_behind",
        "is_current",
        "position",
        "reads_begun",
        "recipient",
    )

    def __init__(self, fan_out: FanOut, recipient: Recipient, after: Position | None) -> None:
        self.recipient = recipient
        self.position = self.after = after
        self.is_behind = self.is_current = False
        self.began_at: int | None = None
        self.reads_begun = fan_out.feed.reads_begun
        self.failure: str | None = None
        self._fan_out = fan_out

    @property
    def ticker(self) -> str:
        return self._fan_out.feed.ticker

    def post(self, events: Sequence[LiveEvent]) -> None:
        """Post events in their order."""
        for event in events:
            if not self.recipient.post(event):
                self.lose(event)

    def lose(self, event: LiveEvent) -> None:
        """An event is lost to the client: this one, or one of its kind before it. Of heartbeats the newest says everything."""
        if event.kind is not Kind.HEARTBEAT:
            self.is_behind, self.began_at, self.after = True, None, None

    def fail(self, error: Exception) -> None:
        """The state cannot be computed. The recipient is told once for each error, until it is reminded."""
        text = f"{type(error).__name__}: {error}"
        if self.failure != text:
            self.failure = text
            self.recipient.fail(self.ticker, error)

    def catch_up(self) -> None:
        """Post a snapshot in place of events that are lost, if any are."""
        if self.is_behind:
            self._fan_out.catch_up(self)

    def close(self) -> None:
        """Be sent nothing more. A second call does nothing."""
        self._fan_out.leave(self)


Delivery = tuple[Membership, Position, Sequence[LiveEvent]]
"""A member, the position that it was at, and what is new to it."""


class FanOut:
    """The members of one ticker. Safe between threads; `deliver` is called by one at a time.

    on_leave()  is called for each member that leaves
    rest()      gives other work a turn
    """

    def __init__(
        self, feed: Feed, on_leave: Callable[[], None], rest: Callable[[], None], stages: Stages = NULL_STAGES
    ) -> None:
        self.feed = feed
        self.lock = feed.lock
        self._on_leave = on_leave
        self._rest = rest
        self._stages = stages
        self._members: dict[Membership, None] = {}
        self._snapshots_for_slow = 0
        self._failure: Exception | None = None

    def __len__(self) -> int:
        return len(self._members)

    @property
    def snapshots_for_slow(self) -> int:
        """How often a member got a snapshot in place of events that it did not take in time."""
        return self._snapshots_for_slow

    def join(self, recipient: Recipient, after: Position | None) -> Membership:
        """Post what comes behind `after`, or a snapshot, now or as soon as there is something, and every event since."""
        member = Membership(self, recipient, after)
        with self.lock:
            self._members[member] = None
            if self._failure is None:
                self._begin(member)
            else:
                member.fail(self._failure)
            if self._is_unknown and self.feed.heartbeat is not None:
                member.post([self.feed.heartbeat])
            if self.feed.is_ended:
                recipient.end()
        return member

    @property
    def _is_unknown(self) -> bool:
        """Whether nothing is known of the ticker yet, nor why."""
        return self.feed.head is None and self._failure is None

    def leave(self, member: Membership) -> None:
        with self.lock:
            if self._members.pop(member, self) is self:
                return
        self._on_leave()

    def _begin(self, member: Membership) -> int:
        """Post what a member begins with, if that is known by now. Returns how many events that were."""
        feed, after = self.feed, member.after
        if feed.head is None or (after is not None and feed.is_expected(after, member.reads_begun)):
            return 0
        missed = None if after is None else feed.missed(after)
        events = feed.behind(after) if after is not None and missed is None else [feed.snapshot(missed)]
        member.is_current, member.began_at = True, feed.take_number()
        self._post(member, _numbered(events, member.began_at))
        return len(events)

    def _post(self, member: Membership, events: Sequence[LiveEvent]) -> None:
        assert self.feed.head is not None
        member.position = self.feed.head.position
        member.post(events)

    def catch_up(self, member: Membership) -> None:
        with self.lock:
            if member in self._members and self.feed.head is not None:
                self._snapshots_for_slow += 1
                member.is_behind, member.began_at = False, self.feed.take_number()
                self._post(member, _numbered([self.feed.snapshot(Missed.SLOW)], member.began_at))

    def deliver(self) -> None:
        """Post what is new to all members. The state could be computed."""
        self._succeed()
        if deliveries := self._deliveries():
            with self._stages.root("deliver", ticker=self.feed.ticker, members=len(deliveries)):
                self._deliver_in_turns(deliveries)
        self._begin_waiting()

    def _succeed(self) -> None:
        if self._failure is not None:
            with self.lock:
                self._failure = None
                for member in self._members:
                    member.failure = None

    def _begin_waiting(self) -> None:
        """Let all begin that wait for the first state, or for the log. However many they are, and however much each of them
        missed, other work has its turns; who joins or leaves in one of them is not begun twice, or at all."""
        with self.lock:
            waiting = [one for one in self._members if not one.is_current]
        posts = 0
        for member in waiting:
            with self.lock:
                if member in self._members and not member.is_current:
                    posts += self._begin(member)
            if posts >= POSTS_A_TURN:
                self._rest()
                posts = 0

    def _deliver_in_turns(self, deliveries: Sequence[Delivery]) -> None:
        most = max(len(events) for _, _, events in deliveries)
        for turn in _turns(deliveries, max(1, POSTS_A_TURN // max(1, most))):
            self._deliver(turn)
            self._rest()

    def _deliver(self, deliveries: Iterable[Delivery]) -> None:
        """Post, unless a member has left or has been sent a snapshot meanwhile."""
        with self.lock:
            if self.feed.head is None:
                return
            head, members = self.feed.head.position, self._members
            for member, position, events in deliveries:
                if member.position == position and member in members:
                    member.position = head
                    for event in events:
                        if not member.recipient.post(event):
                            member.lose(event)

    def _deliveries(self) -> list[Delivery]:
        with self.lock:
            head = self.feed.head
            if head is None:
                return []
            behind = [(one, one.position) for one in self._members if one.is_current and one.position != head.position]
            events = {position: self._events_behind(position) for position in {position for _, position in behind}}
            return [(member, position, events[position]) for member, position in behind if position is not None]

    def _events_behind(self, position: Position | None) -> Sequence[LiveEvent]:
        assert position is not None
        missed = self.feed.missed(position)
        if missed is None:
            return self.feed.behind(position)
        return _numbered([self.feed.snapshot(missed)], self.feed.take_number())

    def beat(self, told_at: float, next_by: float) -> None:
        """Post a heartbeat to all members that have all events so far, and to those that wait for the first one. Seconds since
        1970."""
        with self.lock:
            beat = self.feed.beat(told_at, next_by)
            members = [one for one in self._members if one.is_current or self._is_unknown]
        self._for_each(members, lambda member: member.post([beat]))

    def fail(self, error: Exception) -> None:
        """The state cannot be computed: tell all members once, and let those who come wait, since what was known last may be
        old."""
        with self.lock:
            self._failure = error
            members = list(self._members)
        self._for_each(members, lambda member: member.fail(error))

    def remind(self) -> None:
        """In place of a heartbeat: tell all members again that the state cannot be computed."""
        with self.lock:
            error, members = self._failure, list(self._members)
            for member in members:
                member.failure = None
        if error is not None:
            self._for_each(members, lambda member: member.fail(error))

    def _for_each(self, members: Sequence[Membership], tell: Callable[[Membership], None]) -> None:
        """Tell members something, with turns for other work. Who has left in one of them is told nothing."""
        for turn in _turns(members, POSTS_A_TURN):
            with self.lock:
                for member in turn:
                    if member in self._members:
                        tell(member)
            self._rest()

    def end(self) -> None:
        """The server stops."""
        with self.lock:
            members = list(self._members)
        for member in members:
            member.recipient.end()


def _numbered(events: Sequence[LiveEvent], number: int) -> Sequence[LiveEvent]:
    """What a member begins with. It has all of that once it has the last event, which alone has a number."""
    return [*(event.without_number() for event in events[:-1]), *(event.numbered(number) for event in events[-1:])]


def _turns(work: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(work), size):
        yield work[start : start + size]
