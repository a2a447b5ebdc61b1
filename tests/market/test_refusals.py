"""Market data: what a plan has, and what is not asked for because of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.errors import BudgetSpent, NotEntitled
from app.market.market_data import MarketData
from app.market.plan import Entitlement
from app.market.polygon import Reply
from tests.market.answers import DAY, no_daily_bar_today, no_snapshot, open_now
from tests.support import FakeClock, ScriptedMarket, new_york


def test_a_plan_without_the_data_is_not_retried_within_the_minute(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    market.fault = lambda path: Reply(403, {"message": "Your plan doesn't include this data timeframe"})
    source = build()
    for _ in range(3):
        with pytest.raises(NotEntitled):
            source.intraday("SPY", new_york("2025-03-11 11:30"))
    assert len(market.calls) == 1


def test_a_cache_that_cannot_be_written_is_said_and_done_without(
    tmp_path: Path, build: Callable[..., MarketData], clock: FakeClock
) -> None:
    (tmp_path / "a").write_text("a file where a folder should be")
    source = build()
    assert len(source.daily("SPY", DAY)) > 400
    assert "cache_unavailable" in source.heard  # type: ignore[attr-defined]


def entitled(source: MarketData, *, today: bool = True, since: date = date(2003, 9, 10)) -> MarketData:
    source.apply_entitlement(Entitlement(today, since))
    return source


def test_a_plan_without_today_costs_no_call_for_todays_bars(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    source = entitled(build(), today=False)
    with pytest.raises(NotEntitled, match="running day"):
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    assert market.calls == []
    assert source.plan.name == "end_of_day"
    source.daily("SPY", DAY)
    assert market.calls == [path for path in market.calls if path.endswith("/2025-03-10")], "up to yesterday, at once"


def test_history_is_asked_for_as_far_as_the_plan_has_it(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    source = entitled(build(), since=date(2024, 9, 3))
    source.daily("SPY", DAY)
    assert "/2024-09-03/" in market.calls[0]
    with pytest.raises(NotEntitled, match="begins on 2024-09-03"):
        source.intraday("SPY", new_york("2024-08-30 12:00"))
    assert len(market.calls) == 1


def test_a_clock_ahead_of_the_providers_waits_longer_for_a_bar(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build(clock_offset=lambda: timedelta(seconds=8))
    clock.set("2025-03-11 11:00:10")
    assert not source.is_complete("SPY", new_york("2025-03-11 11:00"))
    clock.set("2025-03-11 11:00:13")
    assert source.is_complete("SPY", new_york("2025-03-11 11:00"))


def test_a_refused_snapshot_is_not_asked_for_again(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    market.edit, market.fault = no_daily_bar_today, no_snapshot
    source = build()
    open_now(source)
    source.open_of("QQQ", new_york("2025-03-11 11:30"))
    assert sum("snapshot" in path for path in market.calls) == 1


def test_a_refusal_of_the_plan_is_remembered_for_a_quarter_of_an_hour(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.fault = lambda path: Reply(403, {"message": "Your plan doesn't include this data timeframe"})
    source = build()
    for _ in range(14):
        with pytest.raises(NotEntitled):
            source.intraday("SPY", new_york("2025-03-11 11:30"))
        clock.forward(minutes=1)
    assert len(market.calls) == 1
    market.fault = lambda path: None
    clock.forward(minutes=1)
    assert len(source.intraday("SPY", clock()).bars)


def test_a_pause_that_ends_sooner_than_a_minute_is_waited_for_no_longer(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.fault = lambda path: Reply(429, None, 7.0)
    source = build()
    with pytest.raises(BudgetSpent):
        source.intraday("SPY", clock())
    market.fault = lambda path: None
    clock.forward(seconds=8)
    assert len(source.intraday("SPY", clock()).bars)
