"""Looks at the market for what is to be told: signals that are locked for the running hour, and states that have changed.

It looks at the decision hour of now alone, so that no message is made of an hour that is over: not at a start, not after an
outage, and not by a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from app.clock import Clock
from app.market.calendar import Calendar
from app.market.single_flight import deadline
from app.notify.message import PROVIDER, Condition, Message, Wanted, signal_message, state_message
from app.notify.steadiness import Steadiness
from app.pipeline import Pipeline, TickerSignal
from app.signals.lock import decision_hour
from app.signals.policy import Decision

LOOK_S: Final = 2.0
"""The longest time that a look waits for bars, real seconds."""


class Bodies(Protocol):
    """Makes the JSON that webhooks get. The blueprints of a version provide it."""

    def signal(self, decision: Decision, at: datetime) -> str: ...

    def state(self, subject: str, condition: Condition, at: datetime) -> str: ...

    def test(self, at: datetime) -> str: ...


@dataclass(frozen=True, slots=True)
class MarketParts:
    """What a watch looks at. now: real seconds; is_key_refused(): whether the provider refuses its key, None without one."""

    pipeline: Pipeline
    calendar: Calendar
    clock: Clock
    now: Callable[[], float]
    bodies: Bodies
    is_key_refused: Callable[[], bool] | None = None


class Watch:
    """The market as the notifier sees it."""

    def __init__(self, parts: MarketParts, wanted: Wanted) -> None:
        self._parts = parts
        self._wanted = wanted
        self._steadiness = Steadiness()
        self._seen: dict[str, Condition | None] = {}

    def is_stale(self, ticker: str) -> bool:
        """Whether the bars of a ticker were not seen to be current at the last look."""
        return self._seen.get(ticker) is not Condition.RECOVERED

    def forget(self) -> None:
        """Nobody looked here for a while: what was seen before says nothing about now."""
        self._steadiness.forget()
        self._seen.clear()

    def wants(self, message: Message) -> bool:
        """Whether the settings want a message, which may be of a time when they wanted others."""
        return self._wanted.takes(message)

    def look(self) -> Iterator[Message]:
        """What is to be told now, whether it was told before or not. Tickers that are looked at are in use."""
        return filter(self.wants, self._look())

    def _look(self) -> Iterator[Message]:
        parts, at = self._parts, self._parts.clock()
        session = parts.calendar.session_at(at)
        if session is None or not session.is_open(at) or not parts.pipeline.plan.has_intraday:
            self.forget()
            return
        with deadline(LOOK_S):
            for ticker in self._wanted.tickers:
                yield from self._about(ticker, at, decision_hour(session, at))
        if parts.is_key_refused is not None:
            yield from self._state(PROVIDER, self._of_key(parts.is_key_refused()), at)

    def _about(self, ticker: str, at: datetime, hour: int | None) -> Iterator[Message]:
        parts = self._parts
        parts.pipeline.interest.request([ticker], at)
        signal = parts.pipeline.signal(ticker, at)
        self._seen[ticker] = condition = _of_data(signal)
        decision = signal.decision
        is_locked = decision is not None and signal.recorded and not signal.waiting and decision.hour == hour
        is_due = is_locked and condition is Condition.RECOVERED
        if decision is not None and is_due and self._is_in_record(decision):
            yield self._message(decision, at)
        yield from self._state(ticker, condition, at)

    def _is_in_record(self, decision: Decision) -> bool:
        """Whether what is locked is in the record; while that cannot be written, another process may lock another signal, which
        this one shows once the record can be written again. It may become so just when that is asked for."""
        store = self._parts.pipeline.store
        return store.degraded() is None and store.get(decision.ticker, decision.day, decision.hour) == decision

    def _of_key(self, is_refused: bool) -> Condition | None:
        """That a key is accepted is known by bars that come."""
        if is_refused:
            return Condition.REFUSED
        return Condition.ACCEPTED if Condition.RECOVERED in self._seen.values() else None

    def _message(self, decision: Decision, at: datetime) -> Message:
        return signal_message(decision, *self._market(), self._parts.bodies.signal(decision, at))

    def _state(self, subject: str, condition: Condition | None, at: datetime) -> Sequence[Message]:
        if not self._steadiness.observe(subject, condition, self._parts.now()) or condition is None:
            return []
        body = self._parts.bodies.state(subject, condition, at)
        return [state_message(subject, condition, at, *self._market(), body)]

    def _market(self) -> tuple[str, str]:
        """The name of the market, and what every text of it begins with."""
        market = self._parts.pipeline.plan.market
        return market.value, "" if market.label is None else f"{market.label}: "


def _of_data(signal: TickerSignal) -> Condition | None:
    """The condition of the data behind a signal; None before the first bar of a day, when nothing is known yet."""
    if signal.stale:
        return Condition.STALE
    return None if signal.as_of is None else Condition.RECOVERED
