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
from app.pipeline import Pipeline
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
        self._stale: set[str] = set()

    def is_stale(self, ticker: str) -> bool:
        """Whether the bars of a ticker were stale at the last look."""
        return ticker in self._stale

    def look(self) -> Iterator[Message]:
        """What is to be told now, whether it was told before or not. Tickers that are looked at are in use."""
        parts, at = self._parts, self._parts.clock()
        session = parts.calendar.session_at(at)
        if session is None or not session.is_open(at) or not parts.pipeline.plan.has_intraday:
            self._steadiness.forget()
            self._stale.clear()
            return
        with deadline(LOOK_S):
            for ticker in self._wanted.tickers:
                yield from self._about(ticker, at, decision_hour(session, at))
        if self._wanted.states and parts.is_key_refused is not None:
            condition = Condition.REFUSED if parts.is_key_refused() else Condition.ACCEPTED
            yield from self._state(PROVIDER, condition, at)

    def _about(self, ticker: str, at: datetime, hour: int | None) -> Iterator[Message]:
        parts = self._parts
        parts.pipeline.interest.request([ticker], at)
        signal = parts.pipeline.signal(ticker, at)
        (self._stale.add if signal.stale else self._stale.discard)(ticker)
        decision = signal.decision
        is_locked = decision is not None and signal.recorded and not signal.waiting and decision.hour == hour
        if decision is not None and is_locked and not signal.stale and self._wanted.takes(decision):
            yield self._message(decision, at)
        if self._wanted.states:
            yield from self._state(ticker, Condition.STALE if signal.stale else Condition.RECOVERED, at)

    def _message(self, decision: Decision, at: datetime) -> Message:
        return signal_message(decision, *self._market(), self._parts.bodies.signal(decision, at))

    def _state(self, subject: str, condition: Condition, at: datetime) -> Sequence[Message]:
        if not self._steadiness.observe(subject, condition, self._parts.now()):
            return []
        body = self._parts.bodies.state(subject, condition, at)
        return [state_message(subject, condition, at, *self._market(), body)]

    def _market(self) -> tuple[str, str]:
        """The name of the market, and what every text of it begins with."""
        market = self._parts.pipeline.plan.market
        return market.value, "" if market.label is None else f"{market.label}: "
