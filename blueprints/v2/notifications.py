"""What webhooks get: the JSON of Standard Webhooks, with the same types as version 2's answers."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, NamedTuple

from app.market.plan import Market
from app.notify.message import SENTENCES, Condition
from app.pipeline import Pipeline
from app.signals.policy import Decision
from blueprints.shared import sentences
from blueprints.v2.record_types import LockedSignal
from blueprints.v2.track_record import locked_signal
from blueprints.v2.types import Answer, Moment


class SignalData(Answer):
    """A locked signal of a ticker."""

    ticker: str
    source: Market
    signal: LockedSignal


class StateData(Answer):
    """What is so from now on."""

    subject: str
    """A ticker, or `provider`."""
    source: Market
    state: Condition
    reason: str
    """The same in words."""


class TestData(Answer):
    """What `predict notify test` sends: nothing but where bars come from."""

    source: Market


class SignalNotification(Answer):
    """The message of a locked signal."""

    type: Literal["signal.locked"] = "signal.locked"
    timestamp: Moment
    """Market time at which the message was made."""
    data: SignalData


class StateNotification(Answer):
    """The message that the market data of a ticker, or the provider's key, are in another state."""

    type: Literal["state.changed"] = "state.changed"
    timestamp: Moment
    """Market time at which the message was made."""
    data: StateData


class TestNotification(Answer):
    """The message of `predict notify test`."""

    type: Literal["test"] = "test"
    timestamp: Moment
    """Market time at which the message was made."""
    data: TestData


class Webhook(NamedTuple):
    """A kind of message, by the `type` of its body. summary: when it is sent."""

    name: str
    summary: str
    body: type[Answer]


WEBHOOKS: Final = (
    Webhook("signal.locked", "A signal was locked for its hour, and is wanted.", SignalNotification),
    Webhook(
        "state.changed", "Market data became stale or recovered, or the provider's key was refused.", StateNotification
    ),
    Webhook("test", "An operator tries the receivers.", TestNotification),
)


class NotificationBodies:
    """Makes the JSON of webhooks (`app.notify.watch.Bodies`)."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def signal(self, decision: Decision, at: datetime) -> str:
        plan = self._pipeline.plan
        data = SignalData(ticker=decision.ticker, source=plan.market, signal=locked_signal(decision, plan))
        return SignalNotification(timestamp=at, data=data).model_dump_json()

    def state(self, subject: str, condition: Condition, at: datetime) -> str:
        plan = self._pipeline.plan
        reason = sentences.error(SENTENCES[condition].format(subject=subject), plan)
        data = StateData(subject=subject, source=plan.market, state=condition, reason=reason)
        return StateNotification(timestamp=at, data=data).model_dump_json()

    def test(self, at: datetime) -> str:
        return TestNotification(timestamp=at, data=TestData(source=self._pipeline.plan.market)).model_dump_json()
