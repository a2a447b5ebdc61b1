"""A broadcaster whose market and clock a test moves by hand, and its events as plain values."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from app.factory import Core
from app.live.broadcaster import Broadcaster, LiveParts
from app.live.event_log import EventLog
from app.live.fan_out import Membership, Recipient
from app.live.feed import Numbers
from app.live.live_event import Change, Conditions, Kind, LiveEvent, Missed, Position, position_of
from app.pipeline import State
from tests.support import FakeClock, FakeTimer, new_york
from tests.waiting import PATIENCE_S, wait_for


class PlainShape:
    """Events as small JSON objects."""

    def event(self, change: Change) -> bytes:
        signal = change.state.signal
        decision, as_of = signal.decision, signal.quote.as_of
        body = {
            "id": str(change.position),
            "kind": change.kind,
            "as_of": None if as_of is None else f"{as_of:%d %H:%M}",
            "price": signal.quote.price,
            "open": change.state.is_open,
            "decision": None if decision is None else [decision.hour, decision.action, decision.p_a],
            "gate": signal.gate,
            "missed": change.is_missed,
            "stale": change.state.stale,
            "breaker": change.conditions.breaker,
        }
        return json.dumps(body).encode()

    def snapshot_after(self, snapshot: bytes, missed: Missed | None) -> bytes:
        return json.dumps({**json.loads(snapshot), "instead": missed}).encode()

    def heartbeat(self, ticker: str, position: Position | None, told_at: float, next_by: float) -> bytes:
        return json.dumps(
            {"kind": "heartbeat", "id": None if position is None else str(position), "within": next_by - told_at}
        ).encode()


class Listener:
    """A recipient that keeps what it is posted until a test takes it. A context manager, which leaves at its end.

    missed   why it got its last snapshot
    failures why no state could be computed
    is_over  the server stops
    """

    def __init__(self, join: Callable[[Recipient, Position | None], Membership], after: Position | None = None) -> None:
        self.missed: str | None = None
        self.is_over = False
        self.failures: list[str] = []
        self._events: list[LiveEvent] = []
        self._came = threading.Event()
        self._membership = join(self, after)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def position(self) -> Position | None:
        return self._membership.position

    def post(self, event: LiveEvent) -> bool:
        if event.kind is Kind.SNAPSHOT:
            self.missed = json.loads(event.body).get("instead")
        self._events.append(event)
        self._came.set()
        return True

    def fail(self, ticker: str, error: Exception) -> None:
        self.failures.append(str(error))

    def end(self) -> None:
        self.is_over = True
        self._came.set()

    def take(self, timeout_s: float) -> Sequence[LiveEvent]:
        """What has come, which is waited for so long at most."""
        self._came.wait(timeout_s)
        self._came.clear()
        events, self._events = self._events, []
        return tuple(events)

    def take_until(self, kind: Kind) -> Sequence[LiveEvent]:
        """What has come up to an event of this kind, which is waited for."""
        events: list[LiveEvent] = []
        wait_for(lambda: events.extend(self.take(PATIENCE_S)) or kind in [event.kind for event in events])
        return events

    def close(self) -> None:
        self._membership.close()


class Told:
    """A broadcaster without a thread; `computed` are the moments at which it asked for the state of now."""

    def __init__(self, core: Core, clock: FakeClock, timer: FakeTimer, log: EventLog) -> None:
        self.core, self.clock, self.timer, self.log = core, clock, timer, log
        self.conditions = Conditions()
        self.computed: list[str] = []
        parts = (core.calendar, core.events, clock, timer.timer, log, PlainShape(), lambda: self.conditions)
        self.one = Broadcaster("SPY", LiveParts(core.pipeline, *parts), Numbers())
        live = core.pipeline.live

        def counted(ticker: str, at: datetime) -> State:
            self.computed.append(f"{at:%H:%M:%S}")
            return live(ticker, at)

        core.pipeline.live = counted  # type: ignore[method-assign]

    def at(self, *moments: str) -> Told:
        """A step at each of these moments of 2025-03-11, or of another day that is named."""
        for moment in moments:
            self.clock.at = new_york(moment if " " in moment else f"2025-03-11 {moment}")
            self.one.step(self.clock.at)
        return self

    def minutes(self, first: str, count: int) -> Told:
        """A step a minute, from `first` on."""
        self.at(first)
        for _ in range(count - 1):
            self.clock.forward(minutes=1)
            self.one.step(self.clock.at)
        return self

    def listener(self, after: str | None = None) -> Listener:
        return Listener(self.one.fan_out.join, None if after is None else position_of(after))

    def listen(self) -> Listener:
        """A listener for which the broadcaster's thread runs."""
        return Listener(self.one.join)

    def kept(self) -> list[dict[str, Any]]:
        """All events of the log."""
        head = self.log.head("SPY")
        assert head is not None
        return bodies(self.log.between("SPY", Position(head.position.epoch, 0), head.position))

    def epoch(self) -> str:
        head = self.log.head("SPY")
        assert head is not None
        return head.position.epoch


def bodies(events: Sequence[LiveEvent]) -> list[dict[str, Any]]:
    return [json.loads(event.body) for event in events]


def content(event: dict[str, Any]) -> tuple[Any, ...]:
    """What an event says, wherever it stands, live or told afterwards. At the turn of the open and the close a live event does
    not know the bar that ends then; the price event has it."""
    said = ("kind", "open", "decision", "gate", *(("as_of", "price") if event["kind"] == "price" else ()))
    return tuple(str(event[name]) for name in said)
