"""Market data: what is fetched, how often, and who shares a fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.clock import Timer
from app.errors import Upstream
from app.market.bars import Span, no_bars, to_ms
from app.market.cache import BarCache
from app.market.calendar import ny_day
from app.market.expectations import BarsAsOf
from app.market.fetching import Fetcher
from app.market.market_data import MarketData
from app.market.plan import Market, Plan
from app.market.polygon import Reply
from app.market.running_day import SharedSeries
from app.sqlite import REOPEN_AFTER_S
from tests.market.answers import DAY, SETTLE, minute_calls
from tests.support import FakeClock, ScriptedMarket, dropping, new_york
from tests.waiting import PATIENCE_S, wait_for


def test_a_cache_that_could_not_be_opened_is_opened_later(tmp_path: Path) -> None:
    now, heard = [1000.0], []
    timer = Timer(now=lambda: now[0])
    (tmp_path / "file").write_text("in the way")
    cache = BarCache(
        tmp_path / "file" / "bars.sqlite3", lambda event, **fields: heard.append((event, fields)), timer=timer
    )
    day = date(2025, 3, 10)
    cache.put("SPY", Span.DAY, day, day, no_bars(), new_york("2025-03-11 09:00"))
    (tmp_path / "file").unlink()
    assert not cache.is_open()
    now[0] += REOPEN_AFTER_S
    assert cache.is_open()
    cache.put("SPY", Span.DAY, day, day, no_bars(), new_york("2025-03-11 09:00"))
    assert cache.covers("SPY", Span.DAY, day, day)
    assert [event for event, _ in heard] == ["cache_unavailable", "cache_recovered"]


def test_nothing_after_the_moment_is_visible(build: Callable[..., MarketData]) -> None:
    source = build()
    at = new_york("2025-03-11 10:15")
    assert source.intraday("SPY", at).bars.end[-1] == to_ms(at)


def test_one_fetch_a_minute_however_often_it_is_asked(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    for _ in range(5):
        for second in range(0, 60, 5):
            clock.at = new_york("2025-03-11 11:30:05") + timedelta(seconds=second)
            source.intraday("SPY", clock())
    assert minute_calls(market) == 1
    clock.set("2025-03-11 11:31:05")
    source.intraday("SPY", clock())
    assert minute_calls(market) == 2


def test_bars_in_memory_are_hits_until_newer_ones_are_due(build: Callable[..., MarketData], clock: FakeClock) -> None:
    source = build()
    for moment in ("2025-03-11 11:30:05", "2025-03-11 11:30:59", "2025-03-11 11:31:05"):
        clock.set(moment)
        source.intraday("SPY", clock())
    lookups = [fields["outcome"] for event, fields in source.emitted if event == "looked_up"]  # type: ignore[attr-defined]
    assert lookups == ["miss", "hit", "miss"]


def test_a_bar_is_final_five_seconds_after_its_end(build: Callable[..., MarketData], clock: FakeClock) -> None:
    clock.set("2025-03-11 11:00:04")
    source = build()
    assert source.intraday("SPY", clock()).bars.end[-1] == to_ms(new_york("2025-03-11 10:59"))
    assert not source.is_complete("SPY", new_york("2025-03-11 11:00"))
    clock.set("2025-03-11 11:00:05")
    assert source.intraday("SPY", clock()).bars.end[-1] == to_ms(new_york("2025-03-11 11:00"))
    assert source.is_complete("SPY", new_york("2025-03-11 11:00"))


def test_a_delayed_plan_is_complete_when_its_delay_is_over(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.delay = timedelta(minutes=15)
    source = build(Plan(Market.POLYGON, Span.MINUTE, timedelta(minutes=15), SETTLE))
    clock.set("2025-03-11 11:15:04")
    assert not source.is_complete("SPY", new_york("2025-03-11 11:00"))
    clock.set("2025-03-11 11:15:05")
    assert source.is_complete("SPY", new_york("2025-03-11 11:00"))


def test_a_past_day_is_fetched_once_for_ever_even_after_a_restart(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    at = new_york("2025-03-07 12:00")
    first = build().intraday("SPY", at).bars
    calls = minute_calls(market)
    again = build().intraday("SPY", at).bars
    assert again.equals(first)
    assert minute_calls(market) == calls == 1


def test_a_past_day_without_bars_is_not_asked_for_again(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    saturday = new_york("2025-03-08 12:00")
    assert len(build().intraday("SPY", saturday).bars) == 0
    assert len(build().intraday("SPY", saturday).bars) == 0
    assert minute_calls(market) == 1


def test_a_hundred_who_ask_at_once_share_one_fetch(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    source, gate = build(), threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(PATIENCE_S)
        return None

    market.fault = wait
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(source.intraday, "SPY", new_york("2025-03-11 11:30")) for _ in range(100)]
        gate.set()
        bars = [future.result().bars for future in asked]
    assert minute_calls(market) == 1
    assert all(found.equals(bars[0]) for found in bars)


def test_what_another_process_brought_does_not_replace_what_was_asked_for_later(
    build: Callable[..., MarketData], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch of this process ends while the daily bars of another one are compared with the calendar."""
    source, adopted = build(), Fetcher.adopted
    source.daily("SPY", DAY)
    first = source.memory.get("SPY", Span.DAY, DAY)
    assert first is not None
    others, newer = (replace(first, fetched=clock() + timedelta(minutes=minutes)) for minutes in (1, 2))
    clock.at += timedelta(minutes=3)

    def meanwhile(*args: Any) -> BarsAsOf:
        source.memory.put("SPY", Span.DAY, DAY, newer)
        return adopted(*args)

    monkeypatch.setattr(Fetcher, "adopted", meanwhile)
    loader = source.fetches._loader
    assert loader.adopt("SPY", Span.DAY, DAY, SharedSeries(others.bars, others.fetched, delayed=False)) is newer
    assert source.memory.get("SPY", Span.DAY, DAY) is newer


def test_a_fetch_that_is_too_slow_is_left_to_finish_for_the_others(
    build: Callable[..., MarketData], market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, gate = build(), threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(PATIENCE_S)
        return None

    market.fault = wait
    monkeypatch.setattr("app.market.shared_fetches.DEADLINE_S", 0.01)
    with pytest.raises(Upstream, match="within the request's time"):
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    monkeypatch.setattr("app.market.shared_fetches.DEADLINE_S", PATIENCE_S)
    gate.set()
    assert len(source.intraday("SPY", new_york("2025-03-11 11:30")).bars)
    assert minute_calls(market) == 1


@pytest.mark.parametrize("what", ["put", "fail"])
def test_bars_or_a_failure_that_are_seen_before_their_fetch_is_over_are_not_given_to_who_needs_newer_ones(
    build: Callable[..., MarketData],
    clock: FakeClock,
    market: ScriptedMarket,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    source, seen, gate = build(), threading.Event(), threading.Event()
    remember = getattr(source.memory, what)

    def remembering(*known: object) -> None:
        remember(*known)
        seen.set()
        gate.wait(PATIENCE_S)

    monkeypatch.setattr(source.memory, what, remembering)
    market.fault = lambda path: Reply(500, None) if what == "fail" else None
    source.fetches.start("SPY", [Span.MINUTE], ny_day(clock()))
    assert seen.wait(PATIENCE_S)
    market.fault = lambda path: None
    clock.forward(seconds=65)
    source.fetches.start("SPY", [Span.MINUTE], ny_day(clock()))
    gate.set()
    wait_for(lambda: not source.fetches.waiting())
    known = source.peek("SPY", clock())
    assert known is not None
    assert known.fetched == clock()
    assert minute_calls(market) == 2


def test_who_comes_just_behind_a_failure_does_not_ask_again(
    build: Callable[..., MarketData], market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not seen the failure, nor is there a fetch any more that it could share."""
    source = build()
    market.fault = lambda path: Reply(500, None)
    run = source.fetches._flight.run

    def late(*asked: Any) -> Any:
        source.fetches.start("SPY", [Span.MINUTE], DAY)
        wait_for(lambda: not source.fetches.waiting())
        return run(*asked)

    monkeypatch.setattr(source.fetches._flight, "run", late)
    with pytest.raises(Upstream):
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    assert minute_calls(market) == 1


def test_daily_bars_end_before_the_day_and_come_with_its_open_in_one_call(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    source = build()
    daily = source.daily("SPY", DAY)
    assert daily.end[-1] == to_ms(new_york("2025-03-10 16:00"))
    assert source.open_of("SPY", new_york("2025-03-11 11:30")).source == "daily"
    assert len(market.calls) == 1


def test_daily_bars_that_do_not_reach_yesterday_yet_are_asked_for_again_and_never_cached(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    yesterday = to_ms(new_york("2025-03-10 00:00"))
    market.edit = dropping("/day/", lambda row: row["t"] == yesterday)
    source = build()
    for _ in range(3):
        assert source.daily("SPY", DAY).t[-1] < yesterday
    assert len(market.calls) == 1
    market.edit = lambda path, body: body
    clock.forward(minutes=5)
    assert source.daily("SPY", DAY).t[-1] == yesterday
    assert build().daily("SPY", DAY).t[-1] == yesterday


def test_bars_that_the_provider_calls_delayed_make_the_plan_late(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.delay = timedelta(minutes=15)
    market.edit = lambda path, body: {**body, "status": "DELAYED"}
    clock.set("2025-03-11 11:00:10")
    source = build()
    assert not source.is_complete("SPY", new_york("2025-03-11 11:00"))
    assert source.plan.delay == timedelta(minutes=15)
    clock.set("2025-03-11 11:15:10")
    assert source.is_complete("SPY", new_york("2025-03-11 11:00"))


def test_bars_of_the_last_fifteen_minutes_stand_in_for_a_failed_fetch(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    assert not source.intraday("SPY", clock()).stale
    market.fault = lambda path: Reply(500, None)
    clock.forward(minutes=15)
    known = source.intraday("SPY", clock())
    assert known.stale
    assert known.bars.end[-1] == to_ms(new_york("2025-03-11 11:29"))
    clock.forward(seconds=61)
    with pytest.raises(Upstream):
        source.intraday("SPY", clock())


def test_a_failed_fetch_is_tried_again_once_a_minute_and_then_heals(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    market.fault = lambda path: Reply(500, None)
    for _ in range(10):
        with pytest.raises(Upstream):
            source.intraday("SPY", clock())
        clock.forward(seconds=5)
    assert minute_calls(market) == 1
    market.fault = lambda path: None
    clock.forward(seconds=20)
    assert not source.intraday("SPY", clock()).stale
