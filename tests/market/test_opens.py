"""Market data: where the official open of a day comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.errors import BudgetSpent, Unavailable, Upstream
from app.market.bars import to_ms
from app.market.market_data import MarketData
from app.market.opens import MissingOpen, OfficialOpen
from app.market.polygon import Reply
from app.market.series_memory import OPEN, Key
from app.market.shared_fetches import SharedFetches
from app.signals.store import RecordStore
from tests.market.answers import DAY, no_daily_bar_today, no_snapshot, open_now
from tests.support import FakeClock, ScriptedMarket, dropping, new_york


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


def test_an_open_is_kept_before_its_fetch_is_over(
    build: Callable[..., MarketData], market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks in between, in this process or another, would ask the provider again."""
    market.edit = no_daily_bar_today
    source, under_way, put = build(), list[int](), RecordStore.put_open

    def meanwhile(store: RecordStore, *args: Any) -> OfficialOpen:
        under_way.append(source.fetches.waiting())
        return put(store, *args)

    monkeypatch.setattr(RecordStore, "put_open", meanwhile)
    assert open_now(source).source == "snapshot"
    assert under_way == [1]


def test_an_open_that_another_thread_learned_just_before_costs_no_call(
    build: Callable[..., MarketData], market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.edit = no_daily_bar_today
    source, attempt, learned = build(), SharedFetches.attempt, OfficialOpen(500.0, "snapshot")

    def meanwhile(fetches: SharedFetches, key: Key, fetch: Callable[[], Any]) -> Any:
        if key[0] == OPEN:
            source.opens.keep("SPY", DAY, learned)
        return attempt(fetches, key, fetch)

    monkeypatch.setattr(SharedFetches, "attempt", meanwhile)
    assert open_now(source) == learned
    assert not any("snapshot" in path for path in market.calls)


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
