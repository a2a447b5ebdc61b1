"""`make asyncapi`: writes the AsyncAPI document of the Socket.IO protocol. Its examples are made through the types, from the
signal that the OpenAPI document of version 2 shows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from app.factory.openapi import EXAMPLES, MOMENT
from app.live.broadcaster import HEARTBEAT_S, NEXT_WITHIN_S
from app.market.plan import Market
from blueprints.socket_io.asyncapi import FILE, MESSAGES, document
from blueprints.socket_io.socket_types import (
    Acknowledgement,
    ByeEvent,
    ByeReason,
    ConnectAnswer,
    ConnectAuth,
    ConnectRefusal,
    ErrorCode,
    ErrorEvent,
    HelloEvent,
    Limits,
    RejectedTicker,
    Subscribe,
    Unsubscribe,
)
from blueprints.v2.live_types import HeartbeatEvent, MarketStatus, PriceEvent, SignalEvent, SnapshotEvent, StatusEvent
from blueprints.v2.schemas import Json
from blueprints.v2.types import Signal

EPOCH: Final = "3f9a1c20"
MODELS: Final = "v6-3b7aadede85f"
NEXT_BY: Final = MOMENT + timedelta(seconds=NEXT_WITHIN_S)

UNKNOWN_EVENT: Final = ErrorEvent(
    code=ErrorCode.UNKNOWN_EVENT, detail="There is no event `subscrbe`", ticker=None, retry_after_ms=None
)


def made() -> Json:
    """The document with its examples."""
    return document(
        {event.name: [plain(one) for one in examples() if type(one) is event.payload] for event in MESSAGES}
    )


def plain(message: BaseModel) -> Json:
    """The message as it is sent."""
    found: Json = json.loads(
        message.model_dump_json(exclude_unset=isinstance(message, Subscribe | Unsubscribe | ConnectAuth))
    )
    return found


def examples() -> list[BaseModel]:
    """One message of each kind, or several."""
    return [
        *connecting(),
        *about_a_ticker(),
        Subscribe(ticker="SPY"),
        Subscribe(tickers=["SPY", "QQQ"], after={"SPY": f"{EPOCH}-16"}),
        Unsubscribe(ticker="SPY"),
        Acknowledgement(
            subscribed=["SPY"],
            rejected=[
                RejectedTicker(
                    ticker="TSLA", code=ErrorCode.UNSUPPORTED_TICKER, detail="TSLA is not supported: SPY, QQQ, IWM are"
                )
            ],
            next_by=NEXT_BY,
            server_time=MOMENT,
            market_time=MOMENT,
        ),
        Acknowledgement(
            subscribed=[], rejected=[], next_by=None, server_time=MOMENT, market_time=MOMENT, error=UNKNOWN_EVENT
        ),
        UNKNOWN_EVENT,
        ByeEvent(reason=ByeReason.RESTART, detail="The server stops", retry_after_ms=2350),
    ]


def connecting() -> list[BaseModel]:
    limits = Limits(subscriptions=3, connections_per_client=20, messages_per_second=10, message_bytes=16_384)
    return [
        ConnectAuth(subscribe=["SPY", "QQQ"], after={"SPY": f"{EPOCH}-16"}),
        ConnectAnswer(sid="0vZbKdVq3xqkYkXcAAAB", pid="Yb1mKp0dPq3rT8wZ"),
        ConnectRefusal(code=ErrorCode.UNAUTHORIZED, detail="The API key is not known", retry_after_ms=None),
        HelloEvent(
            server_time=MOMENT,
            market_time=MOMENT,
            clock_speed=75.0,
            epoch="b7d0e4f1",
            heartbeat_seconds=HEARTBEAT_S,
            source=Market.DEMO,
            recovered=False,
            limits=limits,
        ),
    ]


def about_a_ticker() -> list[BaseModel]:
    """The five events, about one moment."""
    answers = json.loads(EXAMPLES.read_text())["answers"]
    signal = Signal.model_validate(answers["trading_direction"]["application/json"]["recorded"]["value"])
    status = MarketStatus(market_open=True, next_open=None, data_stale=False, provider_held_back=False, models=MODELS)
    return [
        SnapshotEvent(**common(signal, 16), signal=signal, status=status),
        SignalEvent(**common(signal, 17), signal=signal),
        PriceEvent(**common(signal, 18), prices=signal.prices, structure=signal.structure),
        StatusEvent(**common(signal, 19), status=status),
        HeartbeatEvent(id=f"{EPOCH}-19", ticker="SPY", epoch=EPOCH, seq=19, server_time=MOMENT, next_by=NEXT_BY),
    ]


def common(signal: Signal, seq: int) -> dict[str, Any]:
    """What every event says."""
    names = ("ticker", "generated_at", "as_of", "freshness", "source")
    place = {"id": f"{EPOCH}-{seq}", "epoch": EPOCH, "seq": seq, "told_afterwards": False}
    return place | {name: getattr(signal, name) for name in names}


if __name__ == "__main__":
    FILE.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n")
