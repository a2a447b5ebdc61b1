"""What webhooks get: the JSON of Standard Webhooks, with the same types as version 2's answers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from app.market.plan import Market
from app.notify.message import SENTENCES, Condition
from app.pipeline import Pipeline
from app.signals.policy import Decision
from blueprints.shared import sentences
from blueprints.v2.record_types import LockedSignal
from blueprints.v2.track_record import locked_signal
from blueprints.v2.types import Answer, Moment


class SignalData(Answer):
    """A locked signal."""

    ticker: str
    source: Market
    signal: LockedSignal


class StateData(Answer):
    """A change of state. subject: a ticker, or `provider`."""

    subject: str
    source: Market
    state: Condition
    reason: str


class TestData(Answer):
    """What `notify test` sends."""

    source: Market


class SignalNotification(Answer):
    """timestamp: market time."""

    type: Literal["signal.locked"] = "signal.locked"
    timestamp: Moment
    data: SignalData


class StateNotification(Answer):
    """timestamp: market time."""

    type: Literal["state.changed"] = "state.changed"
    timestamp: Moment
    data: StateData


class TestNotification(Answer):
    """timestamp: market time."""

    type: Literal["test"] = "test"
    timestamp: Moment
    data: TestData


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
