"""A builder of market data on the scripted provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.clock import Timer
from app.market.bars import Span
from app.market.cache import BarCache
from app.market.market_data import MarketData
from app.market.plan import Market, Plan
from app.market.polygon import Polygon
from tests.market.answers import SETTLE
from tests.signals.stores import sqlite_store
from tests.support import CALENDAR, FakeClock, ScriptedMarket


@pytest.fixture
def build(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Callable[..., MarketData]:
    def make(
        plan: Plan | None = None,
        folder: str = "a",
        clock_offset: Callable[[], timedelta] = timedelta,
        timer: Timer | None = None,
    ) -> MarketData:
        heard: list[str] = []
        emitted: list[tuple[str, dict[str, object]]] = []

        def emit(event: str, **fields: object) -> None:
            heard.append(event)
            emitted.append((event, fields))

        store = sqlite_store(tmp_path / folder / "record.sqlite3", lambda event, **fields: heard.append(event))
        cache = BarCache(tmp_path / folder / "bars.sqlite3", lambda event, **fields: heard.append(event))
        plan = plan or Plan(Market.POLYGON, Span.MINUTE, settle=SETTLE)
        source = MarketData(
            Polygon(market, CALENDAR), cache, store, CALENDAR, clock, plan, emit, timer, clock_offset=clock_offset
        )
        source.heard = heard  # type: ignore[attr-defined]
        source.emitted = emitted  # type: ignore[attr-defined]
        return source

    return make
