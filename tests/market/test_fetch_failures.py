"""Market data: answers that fail or cannot be right, and waits that are bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest

from app.clock import Timer
from app.errors import Upstream
from app.market import single_flight
from app.market.bars import to_ms
from app.market.market_data import MarketData
from app.market.polygon import Reply
from app.market.single_flight import deadline
from tests.support import FakeClock, FakeTimer, ScriptedMarket, new_york
from tests.waiting import PATIENCE_S, wait_for


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a fetch waits as long as a busy machine needs."""
    monkeypatch.setattr("app.market.shared_fetches.DEADLINE_S", PATIENCE_S)


class Waits:
    """The real time by which deadlines go, which a test moves. allowed_s: how long each wait for a fetch may last."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.allowed_s: list[float] = []

    def remaining(self, timeout_s: float) -> float:
        self.allowed_s.append(REMAINING(timeout_s))
        return self.allowed_s[-1]


REMAINING = single_flight._remaining


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    found = Waits()
    monkeypatch.setattr(single_flight, "REAL_TIME", Timer(now=lambda: found.now))
    monkeypatch.setattr(single_flight, "_remaining", found.remaining)
    return found


def test_the_answer_for_a_past_day_says_nothing_of_todays_delay(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.delay = timedelta(minutes=15)
    market.edit = lambda path, body: {**body, "status": "DELAYED"} if path.endswith("2025-03-11") else body
    clock.set("2025-03-11 10:07:10")
    source = build()
    assert not source.is_complete("SPY", new_york("2025-03-11 10:00"))
    source.minutes("SPY", new_york("2025-03-10 16:00"))
    clock.set("2025-03-11 10:07:20")
    assert not source.is_complete("SPY", new_york("2025-03-11 10:00"))
    assert source.plan.delay == timedelta(minutes=15)


def test_an_answer_that_lost_its_bars_is_a_failure_and_the_known_ones_stand_in(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source = build()
    before = source.intraday("SPY", clock())
    market.edit = lambda path, body: {k: v for k, v in body.items() if k != "results"}
    clock.forward(minutes=1)
    known = source.intraday("SPY", clock())
    assert known.stale
    assert known.bars.equals(before.bars)


def test_a_failed_fetch_is_made_again_after_a_minute_of_real_time_where_the_clock_of_the_market_hardly_moves(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    time = FakeTimer()
    source = build(timer=time.timer)
    market.fault = lambda path: Reply(500, None)
    with pytest.raises(Upstream):
        source.intraday("SPY", clock())
    market.fault = lambda path: None
    time.forward(59)
    with pytest.raises(Upstream):
        source.intraday("SPY", clock())
    time.forward(1)
    assert len(source.intraday("SPY", clock()).bars)


def test_a_trading_day_that_came_back_empty_is_not_kept_for_ever(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = lambda path, body: {k: v for k, v in body.items() if k != "results"}
    at = new_york("2025-03-10 12:00")
    source = build()
    assert not len(source.intraday("SPY", at).bars)
    market.edit = lambda path, body: body
    clock.forward(seconds=61)
    assert len(source.intraday("SPY", at).bars)
    assert len(build().intraday("SPY", at).bars)


def test_daily_bars_of_the_evening_are_asked_for_again_in_the_morning(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """The provider corrects a close over night; an old process and a new one agree the next day."""
    clock.set("2025-03-11 16:30")
    source = build()
    provisional = to_ms(new_york("2025-03-11 00:00"))
    market.edit = lambda path, body: {
        **body,
        "results": [{**r, "c": r["h"]} if r["t"] == provisional else r for r in body.get("results", [])],
    }
    evening = source.daily("SPY", date(2025, 3, 12))
    calls = len(market.calls)
    clock.set("2025-03-11 20:00")
    source.daily("SPY", date(2025, 3, 12))
    assert len(market.calls) == calls, "once in an evening is enough"
    market.edit = lambda path, body: body
    clock.set("2025-03-12 09:00")
    morning = source.daily("SPY", date(2025, 3, 12))
    assert morning.c[-1] != evening.c[-1]
    assert morning.equals(build(folder="new").daily("SPY", date(2025, 3, 12)))


def test_one_error_raised_many_times_does_not_grow(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(500, None)
    source = build()
    lengths = []
    for _ in range(30):
        with pytest.raises(Upstream) as caught:
            source.intraday("SPY", new_york("2025-03-11 11:30"))
        lengths.append(len(caught.traceback))
    assert max(lengths[1:]) == min(lengths[1:])


def test_whatever_an_answer_breaks_is_the_providers_failure(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    market.edit = lambda path, body: 1 / 0  # type: ignore[assignment,return-value]
    with pytest.raises(Upstream, match="ZeroDivisionError"):
        build().intraday("SPY", new_york("2025-03-11 11:30"))


@pytest.mark.usefixtures("patient")
def test_replays_do_not_keep_todays_bars_waiting(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    source, gate = build(), threading.Event()

    def wait_for_history(path: str) -> Reply | None:
        if not path.endswith("2025-03-11"):
            gate.wait(PATIENCE_S)
        return None

    market.fault = wait_for_history
    days = [new_york(f"2025-0{month}-{day:02d} 12:00") for month in (1, 2) for day in range(1, 21)]
    with ThreadPoolExecutor(60) as pool:
        history = [pool.submit(source.intraday, "SPY", at) for at in days]
        today = pool.submit(source.intraday, "SPY", new_york("2025-03-11 11:30"))
        assert len(today.result(PATIENCE_S / 2).bars)
        gate.set()
        assert all(future.result() is not None for future in history)


@pytest.mark.usefixtures("patient")
def test_fetches_that_wait_are_bounded(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    source, gate = build(), threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(PATIENCE_S)
        return None

    market.fault = wait
    with ThreadPoolExecutor(90) as pool:
        asked = [pool.submit(source.intraday, f"T{n}", new_york("2025-03-11 11:30")) for n in range(90)]
        wait_for(lambda: sum(future.done() for future in asked) >= 26)
        refused = [future.exception() for future in asked if future.done()]
        gate.set()
    assert all("too many fetches" in str(exc) for exc in refused)


def test_all_waiting_of_a_request_ends_at_its_deadline(
    build: Callable[..., MarketData], market: ScriptedMarket, waits: Waits
) -> None:
    gate = threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(PATIENCE_S)
        return None

    market.fault = wait
    source = build()
    with deadline(0.2):
        for ticker in ("SPY", "QQQ", "IWM"):
            with pytest.raises(Upstream, match="within the request's time"):
                source.intraday(ticker, new_york("2025-03-11 11:30"))
            waits.now += 0.15
    gate.set()
    assert waits.allowed_s == pytest.approx([0.2, 0.05, 0.0]), "one deadline for all three, not one each"


def test_a_deadline_inside_another_never_outlasts_it(
    build: Callable[..., MarketData], market: ScriptedMarket, waits: Waits
) -> None:
    gate = threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(PATIENCE_S)
        return None

    market.fault = wait
    source = build()
    with deadline(0.1), deadline(60), pytest.raises(Upstream, match="within the request's time"):
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    gate.set()
    assert waits.allowed_s == pytest.approx([0.1])
