"""One broadcaster per ticker, running only while anyone listens. It sleeps until something changes about its ticker, computes
the state once, and tells all listeners what a user would notice. Neither computing nor calls to the provider grow with the
number of listeners.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.clock import Clock, Timer
from app.errors import PredictError
from app.live.event_log import EventLog
from app.live.events import Events
from app.live.fan_out import FanOut, Membership, Recipient
from app.live.feed import Feed, Numbers
from app.live.gap import CannotContinue, Gap, MissedMoment
from app.live.live_event import Conditions, Kind, Noticed, Position, Shape
from app.live.sequence import LiveSequence
from app.market.calendar import Calendar
from app.pipeline import Pipeline
from app.telemetry.stages import NULL_STAGES, Stages

HEARTBEAT_S: Final = 15.0
NEXT_WITHIN_S: Final = 30.0
"""Real seconds after an event, within which the next one comes: a heartbeat, and what a slow step takes."""

TICK_S: Final = 1.0
"""The longest sleep, real seconds: leases are renewed and other processes' events are read."""

PACE_S: Final = 0.2
"""The shortest time between two steps, real seconds."""

ENDS_WITHIN_S: Final = 1.0

CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""Real time by which the moment of one process may lie before that of another. A clock that goes back by more has been set."""


@dataclass(frozen=True, slots=True)
class LiveParts:
    """What broadcasters work with. speed: market seconds per real second; conditions(): those of the server now."""

    pipeline: Pipeline
    calendar: Calendar
    events: Events
    clock: Clock
    timer: Timer
    log: EventLog
    shape: Shape
    conditions: Callable[[], Conditions]
    speed: float = 1.0
    stages: Stages = NULL_STAGES


class Broadcaster:
    """Tells the listeners of one ticker what changes. `step` is one look at the market."""

    def __init__(self, ticker: str, parts: LiveParts, numbers: Numbers) -> None:
        self.ticker = ticker
        self.feed = Feed(ticker, parts.shape, numbers)
        self.fan_out = FanOut(self.feed, self._leave, lambda: parts.timer.sleep(0), parts.stages)
        self.listeners = self.held = 0
        self._parts = parts
        self._lock = self.feed.lock
        self._thread: threading.Thread | None = None
        self._begin()

    def _begin(self) -> None:
        parts = self._parts
        self._sequence = LiveSequence(self.ticker, parts.log, parts.shape, self.feed, parts.events)
        self._beat_at = self._parts.timer.now()
        self._is_failing = False

    def join(self, recipient: Recipient, after: Position | None) -> Membership:
        """Post to a recipient what comes behind `after`, or a snapshot at first."""
        release = self.hold()
        try:
            with self._lock:
                member = self.fan_out.join(recipient, after)
                self.listeners += 1
            return member
        finally:
            release()

    def hold(self) -> Callable[[], None]:
        """Run as for a listener, until the returned function is called."""
        with self._lock:
            self.held += 1
            try:
                self._start()
            except BaseException:  # a client that is cut off meanwhile, too
                self.held -= 1
                raise
        return self._release

    def _start(self) -> None:
        if self.feed.is_ended or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self.run, name=f"live {self.ticker}", daemon=True)
        self._thread.start()

    def _leave(self) -> None:
        with self._lock:
            self.listeners -= 1

    def _release(self) -> None:
        with self._lock:
            self.held -= 1

    def run(self) -> None:
        """Step while anyone listens. A step that raises is logged and does not end the broadcaster."""
        events = self._parts.events
        with self._parts.pipeline.interest.subscription([self.ticker]):
            if not self._parts.pipeline.is_in_memory(self.ticker, self._parts.clock()):
                self._beat()  # the first step waits for bars
            while self._goes_on():
                revision = events.revision((self.ticker,))
                at = self._parts.clock()
                try:
                    self.step(at)
                except Exception as exc:  # the listeners would wait for ever
                    events.emit("broadcaster_broke", ticker=self.ticker, error=f"{type(exc).__name__}: {exc}")
                    self._give_way(exc)
                self._parts.timer.sleep(PACE_S)
                events.wait(self.ticker, revision, self._pause_s())

    def _give_way(self, error: Exception) -> None:
        """A step has failed: say so, and let another process lead, which may be able to compute the state."""
        self._is_failing = True
        self.fan_out.fail(error)
        self._beat_if_due()
        with suppress(PredictError):
            self._sequence.resign()

    def _beat_if_due(self) -> None:
        if self._parts.timer.now() - self._beat_at >= HEARTBEAT_S:
            self._beat()

    def _beat(self) -> None:
        """A heartbeat; or, while no state can be computed, the reason for that once more."""
        self._beat_at = self._parts.timer.now()
        if self._is_failing:
            self.fan_out.remind()
        else:
            now = self._parts.timer.epoch()
            self.fan_out.beat(now, now + NEXT_WITHIN_S)

    def _goes_on(self) -> bool:
        """Whether this thread steps on. The store is used without the lock, for which listeners wait."""
        with self._lock:
            if self._thread is not threading.current_thread():  # its start was given up
                return False
            if (self.listeners or self.held) and not self.feed.is_ended:
                return True
            sequence, self._thread = self._sequence, None
            self.feed.clear()
            self._begin()
        sequence.resign()
        return False

    def _pause_s(self) -> float:
        """Real seconds until the market moves on by itself."""
        at = self._parts.clock()
        left_s = (self._parts.pipeline.steady_until(at, self.ticker) - at).total_seconds() / self._parts.speed
        return min(max(left_s, 0.0), TICK_S)

    def step(self, at: datetime) -> None:
        """Tell what changed up to `at`: what this process finds if it leads, else what the leader put into the log."""
        self.feed.begin_read()
        leads, before = self._sequence.leads(), self._sequence.position
        self._sequence.read()
        if leads:
            self._tell(at)
        if leads or self._sequence.position != before:
            self._is_failing = False
        self._sequence.publish()
        self.feed.end_read()
        if not self._is_failing:  # otherwise whether another process can compute the state is not known
            self.fan_out.deliver()
        self._beat_if_due()

    def _tell(self, at: datetime) -> None:
        conditions = self._parts.conditions()
        head = self._sequence.head
        if head is not None and timedelta(0) < head.noticed.at - at <= CLOCKS_DIFFER * self._parts.speed:
            return
        outline = self._parts.pipeline.outline(self.ticker, at)
        noticed = Noticed.of(outline, at, conditions)
        try:
            missed = None if head is None else self._missed(head.noticed, noticed, is_open=outline.is_open)
        except (CannotContinue, PredictError) as exc:
            missed = None
            self._parts.events.emit("live_sequence_ended", ticker=self.ticker, error=str(exc))
        is_said = missed is not None and not missed and self._sequence.says(noticed)
        if is_said or self._tell_state(at, missed, conditions):
            self._sequence.told_until = at

    def _tell_state(self, at: datetime, missed: Sequence[MissedMoment] | None, conditions: Conditions) -> bool:
        """Tell of what was missed and of the state of now; missed is None where a new sequence begins. Returns whether the log
        let this process do so."""
        state = self._parts.pipeline.live(self.ticker, at)
        noticed = Noticed.of(state, at, conditions)
        if missed is None:
            return self._sequence.begin(state, noticed, conditions)
        return self._tell_missed(missed, conditions) and self._sequence.extend(state, noticed, conditions)

    def _tell_missed(self, moments: Sequence[MissedMoment], conditions: Conditions) -> bool:
        """Tell of moments that are over. A fault that a replay finds now says nothing about them; if it lasts, the state of now
        tells of it. Returns whether the log let this process do so."""
        for moment in moments:
            state = self._parts.pipeline.state(self.ticker, moment.at, keep=False)
            gate, found = state.signal.gate, Noticed.of(state, moment.at, conditions)
            kinds = moment.kinds - {Kind.SIGNAL} if gate is not None and gate.is_fault else moment.kinds
            if not self._sequence.extend(state, found, conditions, kinds, is_missed=True):
                return False
            self._parts.timer.sleep(0)
        return True

    def _missed(self, before: Noticed, now: Noticed, *, is_open: bool) -> Sequence[MissedMoment]:
        """The moments between two states. Raises CannotContinue, and PredictError."""
        pipeline = self._parts.pipeline
        since = max(before.at, min(self._sequence.told_until or before.at, now.at))
        gap = Gap(since, now.at, before.as_of, now.as_of, is_open=is_open)
        return gap.moments(
            self._parts.calendar,
            lambda session, until: pipeline.bar_ends(self.ticker, session, until),
            pipeline.plan,
        )

    def end(self) -> None:
        """The server stops: wake all listeners."""
        self.feed.end()
        self.fan_out.end()

    def close(self) -> None:
        """Wait for the thread to end, for ENDS_WITHIN_S at most."""
        thread = self._thread
        if thread is not None:
            thread.join(ENDS_WITHIN_S)


class Broadcasters:
    """The broadcasters of the supported tickers."""

    def __init__(self, tickers: Sequence[str], parts: LiveParts) -> None:
        self.numbers = Numbers()
        self._log = parts.log
        self._all = {ticker: Broadcaster(ticker, parts, self.numbers) for ticker in tickers}

    def join(self, ticker: str, recipient: Recipient, after: Position | None = None) -> Membership:
        """Post the events of a supported ticker to a recipient, from `after` on or from now."""
        return self._all[ticker].join(recipient, after)

    def hold(self, ticker: str) -> Callable[[], None]:
        """Keep the events of a ticker for a client that is expected back, until the returned function is called."""
        return self._all[ticker].hold()

    def position_at(self, ticker: str, number: int) -> Position | None:
        """Where a ticker's sequence was when the event of that number was the newest of all in this process; None where that
        is not known any more."""
        return self._all[ticker].feed.position_at(number)

    def listeners(self) -> Mapping[str, int]:
        """How many listen, by ticker."""
        return {ticker: one.listeners for ticker, one in self._all.items()}

    def events_kept(self) -> Mapping[str, int]:
        """How many events are in memory, by ticker."""
        return {ticker: len(one.feed) for ticker, one in self._all.items()}

    def snapshots_for_slow(self) -> int:
        """How often a listener fell behind and got a snapshot in place of events."""
        return sum(one.fan_out.snapshots_for_slow for one in self._all.values())

    def stop(self) -> None:
        """The server stops: all listeners are woken, and get nothing more."""
        for one in self._all.values():
            one.end()

    def close(self) -> None:
        self.stop()
        for one in self._all.values():
            one.close()
        self._log.close()
