"""Answers of the scripted provider that tests of the market data change."""

from __future__ import annotations

from datetime import date, timedelta

from app.market.bars import to_ms
from app.market.market_data import MarketData
from app.market.opens import OfficialOpen
from app.market.polygon import Reply
from tests.support import ScriptedMarket, dropping, new_york

DAY = date(2025, 3, 11)
SETTLE = timedelta(seconds=5)


def minute_calls(market: ScriptedMarket) -> int:
    return sum("/minute/" in path for path in market.calls)


def no_daily_bar_today(path: str, body: dict) -> dict:  # type: ignore[type-arg]
    midnight = to_ms(new_york("2025-03-11 00:00"))
    return dropping("/day/", lambda row: row["t"] >= midnight)(path, body)


def no_snapshot(path: str) -> Reply | None:
    return Reply(403, {"message": "not entitled"}) if "snapshot" in path else None


def open_now(source: MarketData) -> OfficialOpen:
    return source.open_of("SPY", new_york("2025-03-11 11:30"))
