"""From the changes of a ticker to the JSON of v2's live events."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from app.live.live_event import Change, Kind, Missed, Position
from app.market.calendar import Calendar, TradingHours, ny_day
from app.pipeline import Pipeline
from blueprints.v2 import live_types, signals
from blueprints.v2.types import AnswerMode, Signal


class LiveShape:
    """Makes events. They rest on the same signal that the plain answer gives; of a moment that is told of afterwards, on that
    of its replay."""

    def __init__(self, pipeline: Pipeline, calendar: Calendar) -> None:
        self._pipeline = pipeline
        self._calendar = calendar

    def event(self, change: Change) -> bytes:
        """The JSON of one event."""
        hours = self._calendar.hours_at(change.at)
        signal = self._signal(change, hours)
        common = {
            "id": str(change.position),
            "ticker": change.ticker,
            "epoch": change.position.epoch,
            "seq": change.position.seq,
            "generated_at": signal.generated_at,
            "as_of": signal.as_of,
            "freshness": signal.freshness,
            "source": signal.source,
            "told_afterwards": change.is_missed,
        }
        return _event(change, common, signal, _status(change, hours)).model_dump_json().encode()

    def _signal(self, change: Change, hours: TradingHours) -> Signal:
        plan, models = self._pipeline.plan, self._pipeline.models
        if not change.is_missed:
            return signals.signal_of(change.state, hours, plan, models)
        return signals.signal_of(change.state, hours, plan.for_day(ny_day(change.at)), models, AnswerMode.REPLAY)

    def snapshot_after(self, snapshot: bytes, missed: Missed | None) -> bytes:
        """The snapshot may be of another version of this server, and is not read as a type."""
        if missed is None:
            return snapshot
        return json.dumps({**json.loads(snapshot), "resumed": False, "missed": missed}, separators=(",", ":")).encode()

    def heartbeat(self, ticker: str, position: Position | None, told_at: float, next_by: float) -> bytes:
        event = live_types.HeartbeatEvent(
            id=None if position is None else str(position),
            ticker=ticker,
            epoch=None if position is None else position.epoch,
            seq=None if position is None else position.seq,
            server_time=datetime.fromtimestamp(round(told_at, 3), UTC),
            next_by=datetime.fromtimestamp(round(next_by, 3), UTC),
        )
        return event.model_dump_json().encode()


def _event(
    change: Change, common: dict[str, object], signal: Signal, status: live_types.MarketStatus
) -> live_types.LiveEvent:
    if change.kind is Kind.SIGNAL:
        return live_types.SignalEvent(**common, signal=signal)
    if change.kind is Kind.PRICE:
        return live_types.PriceEvent(**common, prices=signal.prices, structure=signal.structure)
    if change.kind is Kind.STATUS:
        return live_types.StatusEvent(**common, status=status)
    return live_types.SnapshotEvent(**common, signal=signal, status=status)


def _status(change: Change, hours: TradingHours) -> live_types.MarketStatus:
    return live_types.MarketStatus(
        market_open=hours.is_open,
        next_open=None if hours.is_open else hours.upcoming.open,
        data_stale=change.state.stale and change.state.is_open,
        provider_held_back=change.conditions.breaker != "closed",
        models=change.conditions.models,
    )
