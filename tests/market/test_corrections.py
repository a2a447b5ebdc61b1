"""Market data: late, corrected and re-based bars, and days on which nothing traded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from app.errors import Upstream
from app.market.bars import Span, to_ms
from app.market.market_data import MarketData
from app.market.opens import MissingOpen
from app.market.plan import Market, Plan
from tests.market.answers import DAY, SETTLE, minute_calls
from tests.support import FakeClock, ScriptedMarket, dropping, new_york


def test_a_bar_that_a_later_answer_lacks_stays(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    last = int(source.intraday("SPY", clock()).bars.t[-1])
    market.edit = dropping("/minute/", lambda row: row["t"] == last)
    clock.forward(minutes=1, seconds=10)
    bars = source.intraday("SPY", clock()).bars
    assert last in bars.t
    assert bars.end[-1] == to_ms(new_york("2025-03-11 11:31"))


def test_a_late_print_of_the_last_minutes_is_met(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    late = to_ms(new_york("2025-03-11 11:27"))
    market.edit = dropping("/minute/", lambda row: row["t"] == late)
    source = build()
    assert late not in source.intraday("SPY", clock()).bars.t
    market.edit = lambda path, body: body
    clock.forward(minutes=1)
    assert late in source.intraday("SPY", clock()).bars.t


def test_once_an_hour_the_day_is_asked_for_whole(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 11:58:10")
    source = build()
    for _ in range(4):
        source.intraday("SPY", clock())
        clock.forward(minutes=1)
    whole = [path.endswith("/2025-03-11/2025-03-11") for path in market.calls if "/minute/" in path]
    assert whole == [True, False, True, False], "at the start and at 12:00"


def test_one_revised_close_is_no_split(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    source.daily("SPY", DAY)
    source.intraday("SPY", new_york("2025-02-20 12:00"))
    revised = to_ms(new_york("2025-02-05 00:00"))
    market.edit = lambda path, body: {
        **body,
        "results": [{**r, "c": r["l"]} if r["t"] == revised else r for r in body.get("results", [])],
    }
    clock.set("2025-03-12 09:05")
    source.daily("SPY", date(2025, 3, 12))
    before = minute_calls(market)
    source.intraday("SPY", new_york("2025-02-20 12:00"))
    assert minute_calls(market) == before, "what was kept is still there"


def test_daily_bars_of_other_days_are_refused_and_never_kept(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = lambda path, body: {
        **body,
        "results": [{**row, "t": row["t"] - 86_400_000} for row in body.get("results", [])],
    }
    source = build()
    with pytest.raises(Upstream, match="other days"):
        source.daily("SPY", date(2025, 2, 20))
    market.edit = lambda path, body: body
    clock.forward(seconds=61)
    assert source.daily("SPY", date(2025, 2, 20)).t[-1] == to_ms(new_york("2025-02-19 00:00"))


def test_one_daily_bar_on_a_day_without_trading_is_left_out(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    saturday = to_ms(new_york("2025-03-08 00:00"))
    market.edit = lambda path, body: {**body, "results": [*body["results"], {**body["results"][-1], "t": saturday}]}
    daily = build().daily("SPY", DAY)
    assert saturday not in daily.t
    assert daily.t[-1] == to_ms(new_york("2025-03-10 00:00"))


def test_an_old_trading_day_that_came_back_empty_is_not_kept_for_ever(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    at, source = new_york("2025-01-15 12:00"), build()
    market.edit = lambda path, body: {k: v for k, v in body.items() if k != "results"}
    assert not len(source.intraday("SPY", at).bars)
    market.edit = lambda path, body: body
    clock.forward(seconds=61)
    assert len(source.intraday("SPY", at).bars)


def test_a_tomorrow_is_never_asked_for(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """A future date is refused, not empty (polygon.md 3.16)."""
    clock.set("2025-03-11 16:30")
    build().daily("SPY", date(2025, 3, 12))
    assert [path.rsplit("/", 1)[1] for path in market.calls] == ["2025-03-11"]


def test_days_brought_in_are_asked_for_never_again(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    source = build()
    assert source.fetcher.bring("SPY", date(2025, 2, 3), date(2025, 2, 28)) > 19 * 390
    assert source.fetcher.missing("SPY", date(2025, 2, 3), date(2025, 2, 28)) == []
    assert minute_calls(market) == 1
    source.fetcher.bring_days("SPY", date(2025, 2, 3))
    before, other = len(market.calls), build()
    assert len(other.intraday("SPY", new_york("2025-02-14 12:00")).bars)
    assert len(other.daily("SPY", date(2025, 2, 14))) > 250
    assert len(market.calls) == before


def test_a_daily_bar_that_is_there_before_the_opens_data_is_not_believed(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """On a delayed plan at 09:31 today's daily bar can only be of the pre-market (policy.md 3)."""
    premarket = to_ms(new_york("2025-03-11 00:00"))

    def edit(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        if "snapshot" in path:
            return {**body, "ticker": {"day": {"o": 111.0}}}
        if "/day/" not in path:
            return {**body, "status": "DELAYED"}
        rows = [row for row in body.get("results", []) if row["t"] < premarket]
        return {**body, "status": "DELAYED", "results": [*rows, {**rows[-1], "t": premarket, "o": rows[-1]["l"]}]}

    market.delay, market.edit = timedelta(minutes=15), edit
    clock.set("2025-03-11 09:31:00")
    source = build()
    with pytest.raises(MissingOpen):
        source.open_of("SPY", clock())
    assert source.opens.known("SPY", DAY) is None
    market.edit = lambda path, body: {**body, "status": "DELAYED"}
    clock.set("2025-03-11 09:46:10")
    assert source.open_of("SPY", clock()) == build(folder="cold").open_of("SPY", clock())


def test_one_corrected_close_does_not_hide_a_split(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    source.daily("SPY", DAY)
    source.intraday("SPY", new_york("2025-02-20 12:00"))
    revised = to_ms(new_york("2025-02-05 00:00"))

    def halved(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        rows = [{**r, **{n: r[n] / 2 for n in "ohlc"}} for r in body.get("results", [])]
        return {**body, "results": [{**r, "c": r["l"]} if r["t"] == revised else r for r in rows]}

    market.edit = halved
    clock.set("2025-03-12 09:05")
    source.daily("SPY", date(2025, 3, 12))
    before = minute_calls(market)
    source.intraday("SPY", new_york("2025-02-20 12:00"))
    assert minute_calls(market) == before + 1


def test_a_feed_that_is_less_late_than_it_says_gives_the_bars_of_a_cold_server(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """A late print of before the hour is met when the first bar beyond the hour comes."""
    late = to_ms(new_york("2025-03-11 10:40"))
    plan = Plan(Market.POLYGON, Span.MINUTE, timedelta(minutes=15), SETTLE)
    market.delay, market.edit = timedelta(minutes=11), dropping("/minute/", lambda row: row["t"] == late)
    clock.set("2025-03-11 11:09:10")
    source = build(plan)
    source.intraday("SPY", clock())
    market.edit = lambda path, body: body
    for _ in range(4):
        clock.forward(minutes=1)
        source.intraday("SPY", clock())
    hour = new_york("2025-03-11 11:00")
    assert source.is_complete("SPY", hour)
    assert source.intraday("SPY", hour).bars.equals(build(plan, folder="cold").intraday("SPY", hour).bars)


def test_after_the_close_a_days_bars_are_asked_for_once_more_when_the_day_is_over(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 16:00:10")
    source = build()
    source.minutes("SPY", clock())
    for hour in range(17, 24):
        clock.set(f"2025-03-11 {hour}:00")
        source.minutes("SPY", clock())
    assert minute_calls(market) == 1, "nothing after the close is read before midnight"
    clock.set("2025-03-12 08:00")
    evening = source.minutes("SPY", new_york("2025-03-11 20:00")).bars
    assert evening.end[-1] > to_ms(new_york("2025-03-11 19:00"))
    assert minute_calls(market) == 2
