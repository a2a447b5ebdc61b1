"""Market data: how fresh bars are, and how long an answer is valid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.errors import Upstream
from app.market.bars import to_ms
from app.market.market_data import MarketData
from app.market.polygon import Reply
from tests.market.answers import minute_calls
from tests.support import FakeClock, ScriptedMarket, dropping, new_york


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2025-03-11 11:30:00", "2025-03-11 11:30:05"),
        ("2025-03-11 11:30:04.999999", "2025-03-11 11:30:05"),
        ("2025-03-11 11:30:05", "2025-03-11 11:30:20"),
        ("2025-03-11 11:30:20", "2025-03-11 11:31:00"),
        ("2025-03-11 11:30:59.999999", "2025-03-11 11:31:00"),
    ],
)
def test_an_answer_stands_until_a_minute_turns_or_a_bar_becomes_final_or_old(
    build: Callable[..., MarketData], at: str, until: str
) -> None:
    assert build().steady_until(new_york(at)) == new_york(until)


def test_the_hour_that_comes_twice_is_no_hour_of_grace(build: Callable[..., MarketData]) -> None:
    at = new_york("2025-11-02 01:59:30")
    assert build().steady_until(at).timestamp() == at.timestamp() + 30


def test_an_answer_that_rests_on_a_failure_ends_with_it(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    market.fault = lambda path: Reply(500, None)
    clock.set("2025-03-11 11:30:30")
    with pytest.raises(Upstream):
        source.intraday("SPY", clock())
    assert "fetch_failed" in source.heard  # type: ignore[attr-defined]
    clock.set("2025-03-11 11:31:25")
    assert source.steady_until(clock()) == new_york("2025-03-11 11:31:30")


def test_an_answer_about_one_ticker_does_not_end_with_the_failure_of_another(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source, whole = build(), market.fault
    clock.set("2025-03-11 11:30:30")
    market.fault = lambda path: Reply(500, None)
    with pytest.raises(Upstream):
        source.intraday("SPY", clock())
    market.fault = whole
    clock.set("2025-03-11 11:31:21")
    source.intraday("QQQ", clock())
    assert source.steady_until(clock(), "QQQ") == new_york("2025-03-11 11:32:00")
    assert source.steady_until(clock(), "SPY") == source.steady_until(clock()) == new_york("2025-03-11 11:31:30")


def test_where_newer_bars_are_due_the_answer_stands_for_a_second(
    build: Callable[..., MarketData], clock: FakeClock
) -> None:
    clock.set("2025-03-11 11:30:12")
    source = build()
    source.intraday("SPY", clock())
    assert source.steady_until(clock()) == new_york("2025-03-11 11:30:20")
    clock.set("2025-03-11 11:31:06")
    assert source.steady_until(clock()) == new_york("2025-03-11 11:31:07")


def frozen_at(text: str) -> Callable[[str, dict], dict]:  # type: ignore[type-arg]
    """A provider that goes on answering without a minute that starts at or after this New York moment."""
    since = to_ms(new_york(text))
    return dropping("/minute/", lambda row: row["t"] >= since)


def test_bars_are_as_fresh_as_the_newest_of_them_however_often_they_are_fetched(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = frozen_at("2025-03-11 11:30")
    clock.set("2025-03-11 11:30:10")
    source, states = build(), {}
    for _ in range(18):
        known = source.intraday("SPY", clock())
        states[f"{clock.at:%H:%M}"] = (known.stale, known.expired)
        clock.forward(minutes=1)
    assert minute_calls(market) == 18, "asked every minute"
    assert states["11:31"] == states["11:32"] == (False, False)
    assert states["11:33"] == states["11:45"] == (True, False)
    assert states["11:46"] == states["11:47"] == (True, True)
    market.edit = lambda path, body: body
    assert not source.intraday("SPY", clock()).stale


def test_an_answer_ends_when_its_bars_become_stale_and_when_they_expire(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = frozen_at("2025-03-11 11:30")
    clock.set("2025-03-11 11:32:10")
    source = build()
    source.intraday("SPY", clock())
    assert source.steady_until(clock()) == new_york("2025-03-11 11:32:20")
    clock.set("2025-03-11 11:46:04")
    source.intraday("SPY", clock())
    assert source.steady_until(clock()) == new_york("2025-03-11 11:46:05")


def test_single_missing_bars_never_make_an_answer_stale(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """Every third minute has no trade; asked from second to second, with the fetch taking a while."""
    market.edit = dropping("/minute/", lambda row: row["t"] // 60_000 % 3 == 0)
    clock.set("2025-03-11 11:20:07")
    source = build()
    seen = set()
    for second in range(0, 600, 3):
        clock.set("2025-03-11 11:20:07")
        clock.forward(seconds=second)
        seen.add(source.intraday("SPY", clock()).stale)
    assert seen == {False}


def test_an_hour_is_not_complete_while_its_last_bar_may_still_come(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    hour = new_york("2025-03-11 11:00")
    market.edit = frozen_at("2025-03-11 10:59")
    clock.set("2025-03-11 11:00:10")
    source = build()
    assert not source.is_complete("SPY", hour)
    market.edit = dropping("/minute/", lambda row: row["t"] == to_ms(new_york("2025-03-11 10:59")))
    clock.set("2025-03-11 11:01:10")
    assert source.is_complete("SPY", hour), "a later bar is here: the one before the hour had no trade"


def test_bars_stamped_in_the_future_are_dropped_counted_and_never_known(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    good = build(folder="good").intraday("SPY", clock()).bars

    def with_future(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        rows = body.get("results", [])
        return {**body, "results": [*rows, *({**rows[-1], "t": rows[-1]["t"] + n * 3_600_000} for n in (1, 2))]}

    market.edit = with_future
    source = build()
    assert source.intraday("SPY", clock()).bars.equals(good)
    assert "bars_rejected" in source.heard  # type: ignore[attr-defined]
    clock.forward(minutes=1)
    source.intraday("SPY", clock())
    market.edit = lambda path, body: body
    clock.forward(minutes=1)
    known = source.intraday("SPY", clock())
    assert not known.stale
    assert known.bars.end[-1] == to_ms(new_york("2025-03-11 11:31"))


def test_ok_and_delayed_in_turns_leave_the_plan_delayed_until_a_quarter_of_an_hour_has_passed_without(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    statuses = iter(["DELAYED", "OK"] * 10)
    market.edit = lambda path, body: {**body, "status": next(statuses, "OK")}
    source, delays = build(), []
    for _ in range(34):
        source.intraday("SPY", clock())
        delays.append(source.plan.delay)
        clock.forward(minutes=1)
    assert set(delays[:33]) == {timedelta(minutes=15)}
    clock.forward(minutes=1)
    source.intraday("SPY", clock())
    assert source.plan.delay == timedelta(0)


def test_bars_that_do_not_reach_the_close_are_asked_for_again_and_are_stale_until_then(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = frozen_at("2025-03-11 15:59")
    clock.set("2025-03-11 16:00:10")
    source = build()
    assert source.minutes("SPY", clock()).stale
    clock.set("2025-03-11 16:04:00")
    source.minutes("SPY", clock())
    assert minute_calls(market) == 1, "every five minutes is often enough"
    market.edit = lambda path, body: body
    clock.set("2025-03-11 16:06:00")
    assert not source.minutes("SPY", clock()).stale
    before = minute_calls(market)
    clock.set("2025-03-11 17:00:00")
    source.minutes("SPY", clock())
    assert minute_calls(market) == before


def test_minutes_without_trades_outside_the_session_are_not_stale(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    quiet = to_ms(new_york("2025-03-11 08:00"))
    opens = to_ms(new_york("2025-03-11 09:30"))
    market.edit = dropping("/minute/", lambda row: quiet <= row["t"] < opens)
    source = build()
    for at in ("08:45", "09:29:59", "09:31:10", "18:00", "19:59"):
        clock.set(f"2025-03-11 {at}")
        assert not source.minutes("SPY", clock()).stale, at
