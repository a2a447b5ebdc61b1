"""What is known at a moment, fetched as rarely as can be (architecture, "Answering fast"; rulings T1, T2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.clock import Timer
from app.errors import BudgetSpent, NotEntitled, Unavailable, Upstream
from app.market.bars import Span, no_bars, to_ms
from app.market.cache import BarCache
from app.market.calendar import midnight_ms
from app.market.completeness import AGAIN_AFTER, DAYS_AGAIN
from app.market.market_data import MarketData
from app.market.opens import MissingOpen, OfficialOpen
from app.market.plan import Entitlement, Market, Plan
from app.market.polygon import Polygon, Reply
from app.market.single_flight import deadline
from app.signals.store import SqliteStore
from app.sqlite import REOPEN_AFTER_S
from tests.support import CALENDAR, FakeClock, ScriptedMarket, dropping, new_york

DAY = date(2025, 3, 11)
SETTLE = timedelta(seconds=5)


@pytest.fixture
def build(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Callable[..., MarketData]:
    def make(
        plan: Plan | None = None, folder: str = "a", clock_offset: Callable[[], timedelta] = timedelta
    ) -> MarketData:
        heard: list[str] = []
        store = SqliteStore(tmp_path / folder / "record.sqlite3", lambda event, **fields: heard.append(event))
        cache = BarCache(tmp_path / folder / "bars.sqlite3", lambda event, **fields: heard.append(event))
        plan = plan or Plan(Market.POLYGON, Span.MINUTE, settle=SETTLE)
        polygon, emit = Polygon(market, CALENDAR), lambda e, **f: heard.append(e)
        source = MarketData(polygon, cache, store, CALENDAR, clock, plan, emit, clock_offset=clock_offset)
        source.heard = heard  # type: ignore[attr-defined]
        return source

    return make


def minute_calls(market: ScriptedMarket) -> int:
    return sum("/minute/" in path for path in market.calls)


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
        gate.wait(5)
        return None

    market.fault = wait
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(source.intraday, "SPY", new_york("2025-03-11 11:30")) for _ in range(100)]
        gate.set()
        bars = [future.result().bars for future in asked]
    assert minute_calls(market) == 1
    assert all(found.equals(bars[0]) for found in bars)


def test_a_fetch_that_is_too_slow_is_left_to_finish_for_the_others(
    build: Callable[..., MarketData], market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, gate = build(), threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(5)
        return None

    market.fault = wait
    monkeypatch.setattr("app.market.shared_fetches.DEADLINE_S", 0.01)
    with pytest.raises(Upstream, match="within the request's time"):
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    monkeypatch.setattr("app.market.shared_fetches.DEADLINE_S", 5.0)
    gate.set()
    assert len(source.intraday("SPY", new_york("2025-03-11 11:30")).bars)
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


def no_daily_bar_today(path: str, body: dict) -> dict:  # type: ignore[type-arg]
    midnight = to_ms(new_york("2025-03-11 00:00"))
    return dropping("/day/", lambda row: row["t"] >= midnight)(path, body)


def no_snapshot(path: str) -> Reply | None:
    return Reply(403, {"message": "not entitled"}) if "snapshot" in path else None


def open_now(source: MarketData) -> OfficialOpen:
    return source.open_of("SPY", new_york("2025-03-11 11:30"))


def test_the_open_comes_from_the_daily_bar_then_the_snapshot_then_the_first_minute(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    official = open_now(build(folder="a"))
    market.edit = no_daily_bar_today
    from_snapshot = open_now(build(folder="b"))
    market.fault = no_snapshot
    from_minute = open_now(build(folder="c"))
    assert [x.source for x in (official, from_snapshot, from_minute)] == ["daily", "snapshot", "minute"]
    assert official.price == from_snapshot.price == from_minute.price


def with_snapshot(**changes: object) -> Callable[[str, dict], dict]:  # type: ignore[type-arg]
    """No daily bar of today, and this in the snapshot."""

    def edit(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        if "snapshot" not in path:
            return no_daily_bar_today(path, body)
        return {**body, "ticker": {**body["ticker"], **changes}}

    return edit


YESTERDAY_NS = to_ms(new_york("2025-03-10 16:00")) * 1_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"updated": YESTERDAY_NS, "min": {"t": YESTERDAY_NS // 1_000_000}, "day": {"o": 1.0}},
        {"updated": None, "min": None, "day": {"o": 1.0}},
    ],
    ids=["of yesterday", "undated"],
)
def test_a_snapshot_that_is_not_of_today_is_never_todays_open(
    build: Callable[..., MarketData], market: ScriptedMarket, changes: dict[str, object]
) -> None:
    official = open_now(build(folder="a"))
    market.edit = with_snapshot(**changes)
    source = build(folder="b")
    found = open_now(source)
    assert (found.price, found.source) == (official.price, "minute")
    assert "snapshot_refused" in source.heard  # type: ignore[attr-defined]


def test_a_daily_bar_of_another_moment_than_the_days_start_is_never_the_open(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    """A bar of the next midnight lies within a day of 25 hours."""
    midnight = to_ms(new_york("2025-03-11 00:00"))

    def edit(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        rows = [{**r, "t": r["t"] + 86_400_000} if r["t"] == midnight else r for r in body.get("results", [])]
        return {**body, "results": rows} if "/day/" in path else body

    market.edit, market.fault = edit, no_snapshot
    assert open_now(build()).source == "minute"


@pytest.mark.parametrize("failing", ["snapshot", "/day/2025-03-11/", "/day/"])
def test_a_source_of_the_open_that_fails_passes_on_to_the_next(
    build: Callable[..., MarketData], market: ScriptedMarket, failing: str
) -> None:
    market.edit = no_daily_bar_today
    market.fault = lambda path: Reply(500, None) if failing in path else None
    assert open_now(build()).source == ("minute" if failing == "snapshot" else "snapshot")


def test_the_open_of_the_first_minute_stays_when_the_other_sources_are_back(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    market.fault = lambda path: Reply(500, None) if "/minute/" not in path else None
    first = open_now(build())
    market.fault = lambda path: None
    assert first.source == "minute"
    assert open_now(build()) == first


@pytest.mark.parametrize(
    ("reply", "error"),
    [(Reply(429, None, 7.0), BudgetSpent), (Reply(401, None), Unavailable), (Reply(500, None), Upstream)],
    ids=["spent budget", "unknown key", "every source fails"],
)
def test_what_is_about_every_source_does_not_pass_on(
    build: Callable[..., MarketData], market: ScriptedMarket, reply: Reply, error: type[Exception]
) -> None:
    source = build()
    if reply.status != 500:
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    market.fault = lambda path: reply
    with pytest.raises(error):
        open_now(source)
    assert source.opens.known("SPY", DAY) is None


def test_the_failure_of_a_source_is_said_when_no_other_has_the_open(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    half_past_nine = to_ms(new_york("2025-03-11 09:30"))

    def edit(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        return dropping("/minute/", lambda row: row["t"] == half_past_nine)(path, no_daily_bar_today(path, body))

    market.edit = edit
    market.fault = lambda path: Reply(500, None) if "snapshot" in path else None
    with pytest.raises(Upstream):
        open_now(build())


def test_the_first_open_that_was_learned_stays(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    market.edit, market.fault = no_daily_bar_today, no_snapshot
    first = open_now(build())
    market.edit, market.fault = (lambda path, body: body), (lambda path: None)
    assert open_now(build()) == first


def test_pre_market_is_never_the_open(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    half_past_nine = to_ms(new_york("2025-03-11 09:30"))

    def edit(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        return dropping("/minute/", lambda row: row["t"] == half_past_nine)(path, no_daily_bar_today(path, body))

    market.edit, market.fault = edit, no_snapshot
    with pytest.raises(MissingOpen) as caught:
        open_now(build())
    assert caught.value.code == "MISSING_DAILY_BAR"


@pytest.mark.parametrize("broken", [None, 0, -3.0])
def test_a_daily_bar_without_a_usable_open_is_another_thing_than_none(
    build: Callable[..., MarketData], market: ScriptedMarket, broken: float | None
) -> None:
    midnight, half_past_nine = to_ms(new_york("2025-03-11 00:00")), to_ms(new_york("2025-03-11 09:30"))

    def edit(path: str, body: dict) -> dict:  # type: ignore[type-arg]
        rows = [{**r, "o": broken} if r["t"] == midnight else r for r in body.get("results", [])]
        return dropping("/minute/", lambda row: row["t"] == half_past_nine)(path, {**body, "results": rows})

    market.edit, market.fault = edit, no_snapshot
    with pytest.raises(MissingOpen) as caught:
        open_now(build())
    assert caught.value.code == "MISSING_DAILY_OPEN"


def test_yesterdays_daily_bar_is_never_todays_open(build: Callable[..., MarketData], clock: FakeClock) -> None:
    clock.set("2025-03-11 09:20")
    source = build()
    source.daily("SPY", DAY)
    assert source.opens.known("SPY", DAY) is None
    with pytest.raises(MissingOpen):
        source.open_of("SPY", clock())
    clock.set("2025-03-11 09:31:05")
    assert source.open_of("SPY", clock()).price != source.daily("SPY", DAY).o[-1]


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


def test_replays_do_not_keep_todays_bars_waiting(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    source, gate = build(), threading.Event()

    def wait_for_history(path: str) -> Reply | None:
        if not path.endswith("2025-03-11"):
            gate.wait(5)
        return None

    market.fault = wait_for_history
    days = [new_york(f"2025-0{month}-{day:02d} 12:00") for month in (1, 2) for day in range(1, 21)]
    with ThreadPoolExecutor(60) as pool:
        history = [pool.submit(source.intraday, "SPY", at) for at in days]
        today = pool.submit(source.intraday, "SPY", new_york("2025-03-11 11:30"))
        assert len(today.result(4).bars)
        gate.set()
        assert all(future.result() is not None for future in history)


def test_fetches_that_wait_are_bounded(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    source, gate = build(), threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(5)
        return None

    market.fault = wait
    with ThreadPoolExecutor(90) as pool:
        asked = [pool.submit(source.intraday, f"T{n}", new_york("2025-03-11 11:30")) for n in range(90)]
        while sum(future.done() for future in asked) < 26:
            pass
        refused = [future.exception() for future in asked if future.done()]
        gate.set()
    assert all("too many fetches" in str(exc) for exc in refused)


def test_all_waiting_of_a_request_ends_at_its_deadline(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    gate = threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(5)
        return None

    market.fault = wait
    source = build()
    began = time.monotonic()
    with deadline(0.2):
        for ticker in ("SPY", "QQQ", "IWM"):
            with pytest.raises(Upstream, match="within the request's time"):
                source.intraday(ticker, new_york("2025-03-11 11:30"))
    waited = time.monotonic() - began
    gate.set()
    assert waited < 2.5, "one deadline for all three, not one each"


def test_a_deadline_inside_another_never_outlasts_it(build: Callable[..., MarketData], market: ScriptedMarket) -> None:
    gate = threading.Event()

    def wait(path: str) -> Reply | None:
        gate.wait(5)
        return None

    market.fault = wait
    source, began = build(), time.monotonic()
    with deadline(0.1), deadline(60), pytest.raises(Upstream, match="within the request's time"):
        source.intraday("SPY", new_york("2025-03-11 11:30"))
    waited = time.monotonic() - began
    gate.set()
    assert waited < 2.5


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


# --- days that are over and incomplete (rows of polygon.md 7: complete days alone are kept for good) ---


def between(first: str, last: str) -> Callable[[dict[str, Any]], bool]:
    """Rows that start between two New York times of 2025-02-26."""
    lo, hi = (to_ms(new_york(f"2025-02-26 {at}")) for at in (first, last))
    return lambda row: bool(lo <= row["t"] < hi)


def one_in(n: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["t"] // 60_000 % n == 0


INCOMPLETE = {
    "cut off at noon": between("12:00", "23:00"),
    "cut off ten minutes before the close": between("15:50", "23:00"),
    "begins at ten": between("04:00", "10:00"),
    "a hole at midday": between("12:00", "12:10"),
    "one row in five": one_in(5),
    "nothing at all": lambda row: True,
}
NOON = new_york("2025-02-26 12:30")
FORTNIGHT = [timedelta(minutes=m) for m in (*range(1, 90), *range(90, 14 * 24 * 60, 60))]


@pytest.mark.parametrize("drop", INCOMPLETE.values(), ids=list(INCOMPLETE))
def test_an_incomplete_past_day_is_asked_for_again_and_replaced(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket, drop: Callable[[dict[str, Any]], bool]
) -> None:
    whole = build(folder="whole").intraday("SPY", NOON).bars
    market.edit, source = dropping("/minute/", drop), build()
    found = source.intraday("SPY", NOON)
    assert found.missing
    assert "bars_incomplete" in source.heard  # type: ignore[attr-defined]
    market.edit = lambda path, body: body
    clock.forward(minutes=1)
    healed = build().intraday("SPY", NOON)
    assert (healed.bars.equals(whole), healed.missing) == (True, 0)
    calls = minute_calls(market)
    clock.forward(minutes=60 * 24 * 30)
    assert build().intraday("SPY", NOON).bars.equals(whole)
    assert minute_calls(market) == calls, "a whole day is kept for good"


def test_a_day_that_stays_incomplete_costs_seven_calls_whoever_asks(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """Two processes and many restarts on one folder, for two weeks."""
    market.edit = dropping("/minute/", between("12:00", "12:10"))
    began, running = clock(), [build(), build()]
    for i, passed in enumerate(FORTNIGHT):
        clock.at = began + passed
        for source in running if i % 30 else [build()]:
            assert source.intraday("SPY", NOON).missing == 10
    assert minute_calls(market) == 1 + len(AGAIN_AFTER) == 7


def test_an_answer_that_lacks_more_does_not_replace_what_is_known(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    market.edit = dropping("/minute/", between("12:00", "12:10"))
    before = build().intraday("SPY", NOON).bars
    market.edit = dropping("/minute/", between("10:00", "16:00"))
    clock.forward(minutes=2)
    assert build().intraday("SPY", NOON).bars.equals(before)
    market.fault = lambda path: Reply(500, None)
    clock.forward(minutes=30)
    assert build().intraday("SPY", NOON).bars.equals(before), "nor does a failure hide it"


@pytest.mark.parametrize(
    ("at", "drop"),
    [
        pytest.param("2025-02-26 12:30", one_in(17), id="single quiet minutes"),
        pytest.param("2025-02-26 12:30", between("12:00", "12:03"), id="three quiet minutes"),
        pytest.param("2024-11-29 12:30", lambda row: row["t"] >= to_ms(new_york("2024-11-29 13:00")), id="half day"),
    ],
)
def test_a_thin_day_and_a_half_day_are_whole(
    build: Callable[..., MarketData],
    clock: FakeClock,
    market: ScriptedMarket,
    at: str,
    drop: Callable[[dict[str, Any]], bool],
) -> None:
    market.edit = dropping("/minute/", drop)
    assert not build().intraday("SPY", new_york(at)).missing
    clock.forward(minutes=60 * 24)
    build().intraday("SPY", new_york(at))
    assert minute_calls(market) == 1


def test_an_incomplete_day_of_an_older_cache_is_asked_for_again(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    day = NOON.date()
    whole = build(folder="whole").intraday("SPY", NOON).bars
    cache = BarCache(tmp_path / "a" / "bars.sqlite3", lambda event, **fields: None)
    cache.put("SPY", Span.MINUTE, day, day, whole[:200], clock())
    assert build().intraday("SPY", NOON).bars.equals(whole)


def test_days_brought_in_incomplete_are_brought_in_again_when_they_are_due(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    source, first, last = build(), date(2025, 2, 24), date(2025, 2, 28)
    market.edit = dropping("/minute/", between("12:00", "23:00"))
    source.fetcher.bring("SPY", first, last)
    assert source.fetcher.missing("SPY", first, last) == [], "not within the minute"
    clock.forward(minutes=1)
    assert build().fetcher.missing("SPY", first, last) == [NOON.date()]
    market.edit = lambda path, body: body
    source.fetcher.bring("SPY", first, last)
    clock.forward(minutes=60)
    assert source.fetcher.missing("SPY", first, last) == []
    assert minute_calls(market) == 2


# --- holes in the daily history ---


HOLE = date(2025, 3, 4)


def without_hole(market: ScriptedMarket) -> None:
    market.edit = dropping("/day/", lambda row: row["t"] == midnight_ms(HOLE))


def test_a_missing_daily_bar_is_asked_for_again_at_a_pace_and_filled_when_it_comes(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    without_hole(market)
    source = build()
    assert midnight_ms(HOLE) not in source.daily("SPY", DAY).t
    assert source.missing_days("SPY", DAY) == [HOLE]
    market.edit = lambda path, body: body
    clock.forward(minutes=1)
    assert midnight_ms(HOLE) in source.daily("SPY", DAY).t
    assert source.missing_days("SPY", DAY) == []
    assert midnight_ms(HOLE) in build().daily("SPY", DAY).t
    assert len(market.calls) == 2


def test_a_daily_bar_that_stays_missing_costs_a_bounded_number_of_calls(
    build: Callable[..., MarketData], clock: FakeClock, market: ScriptedMarket
) -> None:
    """For replays of four days that read it and for the running day, in two processes, for a day."""
    without_hole(market)
    days, running, began = CALENDAR.days_before(DAY, 4), [build(), build()], clock()
    for passed in FORTNIGHT[:110]:
        clock.at = began + passed
        for source in running:
            for day in (*days, DAY):
                source.daily("SPY", day)
    assert len(market.calls) <= 1 + len(DAYS_AGAIN) + len(days)


def test_a_rejected_daily_bar_is_a_missing_one_and_one_a_rounding_off_is_not(
    build: Callable[..., MarketData], market: ScriptedMarket
) -> None:
    def bent(by: float) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        def edit(path: str, body: dict[str, Any]) -> dict[str, Any]:
            rows = [{**r, "h": max(r["o"], r["c"]) * by} if r["t"] == midnight_ms(HOLE) else r for r in body["results"]]
            return {**body, "results": rows}

        return edit

    market.edit = bent(0.99)
    source = build()
    source.daily("SPY", DAY)
    assert source.missing_days("SPY", DAY) == [HOLE]
    market.edit = bent(1 - 2e-16)
    source = build(folder="b")
    source.daily("SPY", DAY)
    assert source.missing_days("SPY", DAY) == []
    assert "bars_repaired" in source.heard  # type: ignore[attr-defined]
