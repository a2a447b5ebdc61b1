"""A client by the types of the events: what is right passes mypy, and what is wrong needs the comment that says so."""

from __future__ import annotations

from predict_client.live_events import Acknowledgement, ByeEvent, LiveEvent, SignalEvent, Subscribe


def on_signal(event: SignalEvent, offset: str) -> str:
    return f"{event['ticker']} {event['signal']['action']} {event['signal']['lock']['expires_at']} {offset}"


def on_event(event: LiveEvent) -> float | None:
    if event["kind"] == "price":
        return event["prices"]["now"]
    if event["kind"] == "status":
        event["signal"]  # type: ignore[typeddict-item]
    return None


def on_bye(event: ByeEvent) -> bool:
    return event["reason"] == "tired"  # type: ignore[comparison-overlap]


one: Subscribe = {"ticker": "SPY", "after": "ab12cd34-17"}
several: Subscribe = {"tickers": ["SPY", "QQQ"], "after": {"SPY": "ab12cd34-17", "QQQ": None}}
both: Subscribe = {"ticker": "SPY", "tickers": ["QQQ"]}  # type: ignore[assignment]
answer: Acknowledgement = {
    "subscribed": ["SPY"],
    "rejected": [],
    "next_by": None,
    "server_time": "2026-11-26T15:40:00-05:00",
    "market_time": "2025-03-06T12:10:00-05:00",
    "error": None,
}
