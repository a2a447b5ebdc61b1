"""The follower: bars kept current in the background, hours locked unasked (rulings S1, A4; architecture "Answering fast")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.factory import Core, build
from app.market.plan import Entitlement
from app.market.polygon import Reply
from app.pipeline import ModelRecord
from tests.provider.world import World, world
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings, wait_until_none_is_under_way

DAY = date(2025, 3, 11)
TICKERS = ("SPY", "QQQ", "IWM")


class Followed:
    """A server without doors, whose follower is stepped by hand."""

    def __init__(self, core: Core, clock: FakeClock, market: ScriptedMarket, timer: FakeTimer) -> None:
        self.core, self.clock, self.market, self.timer = core, clock, market, timer

    def step(self) -> None:
        self.core.follower.step()
        self.settle()

    def settle(self) -> None:
        """Until everything that was started is done."""
        wait_until_none_is_under_way(self.core.follower.waiting, self.core.source.fetches.waiting)

    def run(self, minutes: float, *, every_s: float = 10.0, ask: Callable[[], Any] = lambda: None) -> None:
        """`minutes` of market and real time, a step every few seconds, `ask` before each."""
        for _ in range(round(minutes * 60 / every_s)):
            self.clock.forward(seconds=every_s)
            self.timer.forward(every_s)
            ask()
            self.step()

    def calls(self, part: str = "") -> int:
        return sum(part in path for path in self.market.calls)

    def board(self, *tickers: str) -> Any:
        return self.core.pipeline.board(tickers or TICKERS, self.clock())


@pytest.fixture
def follow(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Iterator[Callable[..., Followed]]:
    made: list[Followed] = []

    def begin(at: str, folder: str = "a", **values: Any) -> Followed:
        clock.set(at)
        timer = FakeTimer(hasty=True)
        known = {"market": "polygon", "polygon_api_key": "k", "data_dir": tmp_path / folder, **values}
        core = build(settings(**known), clock=clock, transport=market, timer=timer.timer)
        clock.fetches.append(core.pipeline.fetches)
        made.append(Followed(core, clock, market, timer))
        return made[-1]

    yield begin
    for one in made:
        one.core.follower.close()
        one.core.source.close()


def test_with_nobody_asking_only_the_decision_hours_cost_calls(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:00")
    server.run(30)
    before = server.calls()
    server.run(9)
    assert server.calls() == before, "10:50 to 10:59: nobody asks"
    server.run(2)
    assert server.calls() == before + 3, "11:00: each ticker once"


def test_every_supported_ticker_is_locked_at_every_hour_unasked(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 09:50:00")
    server.run(6.2 * 60, every_s=60)
    store = server.core.store
    missing = [(t, h) for t in TICKERS for h in range(10, 16) if store.get(t, DAY, h) is None]
    assert missing == []


def test_a_ticker_in_use_costs_one_call_a_minute_and_no_request_calls(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.board("SPY")
    server.step()
    before = server.calls()
    asked_calls = []

    def ask() -> None:
        calls = server.calls()
        assert not server.board("SPY").tickers["SPY"].quote.stale
        asked_calls.append(server.calls() - calls)

    server.run(10, ask=ask)
    assert server.calls() - before == 10
    assert not any(asked_calls), "requests answer out of memory"


def test_the_minutes_after_the_first_are_asked_for_by_what_is_new(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.board("SPY")
    server.step()
    server.run(3, ask=lambda: server.board("SPY"))
    starts = [path.split("/")[-2] for path in server.market.calls if "/minute/" in path]
    assert starts[0] == "2025-03-11"
    assert all(start.isdigit() for start in starts[-3:])


def test_followed_bars_are_those_of_a_server_that_just_started(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.run(50, every_s=20, ask=lambda: server.board())
    fresh = follow(f"{server.clock.at:%Y-%m-%d %H:%M:%S}", folder="b")
    for ticker in TICKERS:
        ours = server.core.source.intraday(ticker, server.clock()).bars
        assert ours.equals(fresh.core.source.intraday(ticker, server.clock()).bars)


def test_a_ticker_nobody_asks_for_any_more_is_left(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.board("QQQ")
    server.run(4)
    assert server.core.follower.follows("QQQ")
    server.run(2)
    assert not server.core.follower.follows("QQQ")
    before = server.calls()
    server.run(3)
    assert server.calls() == before


def test_a_request_after_a_quiet_hour_fetches_and_is_not_stale(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.board("SPY")
    server.step()
    server.run(35)
    market = server.board("SPY").tickers["SPY"].quote
    assert not market.stale
    assert server.clock.at - market.as_of < timedelta(seconds=66)


def test_a_provider_that_fails_makes_bars_stale_and_then_no_trade_and_heals(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.run(2, ask=lambda: server.board("SPY"))
    server.market.fault = lambda path: Reply(500, None)
    server.run(3, ask=lambda: server.board("SPY"))
    signal = server.board("SPY").tickers["SPY"]
    assert signal.quote.stale
    assert signal.decision is not None, "the hour's signal is locked"
    server.run(45, every_s=60, ask=lambda: server.board("SPY"))
    signal = server.board("SPY").tickers["SPY"]
    assert signal.decision is None
    assert signal.gate is not None
    assert signal.gate.value == "DATA_FETCH_ERROR"
    server.market.fault = lambda path: None
    server.run(2, ask=lambda: server.board("SPY"))
    signal = server.board("SPY").tickers["SPY"]
    assert not signal.quote.stale
    assert signal.decision is not None


def test_at_the_turn_of_an_hour_the_new_signal_is_there_seconds_later(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:58:00")
    server.run(2, every_s=1, ask=lambda: server.board())
    board = server.board()
    assert {s.decision.hour for s in board.tickers.values()} == {10}
    assert all(s.waiting for s in board.tickers.values())
    server.run(8 / 60, every_s=1, ask=lambda: server.board())
    assert {s.decision.hour for s in server.board().tickers.values()} == {11}


def test_a_delayed_plan_locks_an_hour_when_its_data_are_complete(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:50:00")
    server.market.delay = timedelta(minutes=15)
    server.market.edit = lambda path, body: {**body, "status": "DELAYED"}
    server.run(24, every_s=60, ask=lambda: server.board())
    assert server.core.store.get("SPY", DAY, 11) is None
    server.run(2, ask=lambda: server.board())
    assert server.core.store.get("SPY", DAY, 11) is not None


def test_a_plan_without_today_is_not_followed(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:00")
    server.core.source.apply_entitlement(Entitlement(False, date(2023, 3, 15)))
    server.run(45, every_s=30, ask=lambda: server.board())
    assert server.calls("/minute/") == 0
    signal = server.board("SPY").tickers["SPY"]
    assert signal.gate is not None
    assert signal.gate.value == "MISSING_DAILY_BAR"


def test_a_follower_that_stopped_is_not_relied_on(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:20:07")
    server.run(1, ask=lambda: server.board("SPY"))
    server.clock.forward(minutes=2)
    server.timer.forward(120)
    assert not server.core.follower.status().alive
    before = server.calls()
    assert not server.board("SPY").tickers["SPY"].quote.stale
    assert server.calls() == before + 1, "the request fetched for itself"


def test_days_come_once_before_the_open_and_once_after_the_close(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 08:50:00")
    server.run(35, every_s=15)
    assert server.calls("/day/") == 3
    server.clock.set("2025-03-11 15:58:00")
    server.board()
    server.run(30, every_s=15, ask=lambda: server.board())
    assert server.calls("2025-03-11") >= 3
    evening = [p for p in server.market.calls if "/day/" in p]
    assert len(evening) <= 3 + 3 + 3, "with the opens that were not learned at 09:30"


def test_after_the_close_nothing_is_followed(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 15:58:00")
    server.run(40, every_s=60, ask=lambda: server.core.pipeline.states(TICKERS, server.clock()))
    before = server.calls()
    server.run(15, every_s=60, ask=lambda: server.core.pipeline.states(TICKERS, server.clock()))
    assert server.calls() == before
    newest = server.core.source.peek("SPY", server.clock())
    assert newest is not None
    assert not newest.stale


def test_a_revised_bar_never_changes_a_stored_signal(follow: Callable[..., Followed]) -> None:
    server = follow("2025-03-11 10:58:00")
    server.run(5, ask=lambda: server.board("SPY"))
    said = server.board("SPY").tickers["SPY"].decision
    server.market.edit = lambda path, body: {
        **body,
        "results": [{**row, "h": row["h"] + 5, "c": row["c"] + 5} for row in body.get("results", [])],
    }
    server.run(10, ask=lambda: server.board("SPY"))
    assert server.board("SPY").tickers["SPY"].decision == said
    assert server.core.store.get("SPY", DAY, 11) == said


def halved_before(day_ms: int) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """A two-for-one split: the provider shows all earlier prices at half."""

    def edit(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if "/range/" not in path:
            return body
        prices = ("o", "h", "l", "c")
        rows = [{**row, **{p: row[p] / 2 for p in prices}} for row in body.get("results", [])]
        return {**body, "results": rows}

    return edit


def test_a_split_overnight_refetches_that_tickers_history(follow: Callable[..., Followed], clock: FakeClock) -> None:
    server = follow("2025-03-11 10:20:07")
    past = clock.at - timedelta(days=12)
    server.run(1, ask=lambda: server.board("SPY", "QQQ"))
    locked = server.core.store.get("SPY", DAY, 10)
    before = {t: server.core.pipeline.state(t, past, keep=False).data.price for t in ("SPY", "QQQ")}
    opens = {t: server.core.source.open_of(t, past).price for t in ("SPY", "QQQ")}
    split = halved_before(0)
    server.market.edit = lambda path, body: split(path, body) if "/SPY/" in path else body
    clock.set("2025-03-12 09:05:00")
    server.step()
    calls = server.calls("/minute/")
    after = {t: server.core.pipeline.state(t, past, keep=False).data.price for t in ("SPY", "QQQ")}
    assert after["SPY"] == pytest.approx(before["SPY"] / 2)
    assert after["QQQ"] == before["QQQ"]
    assert server.core.source.open_of("SPY", past).price == pytest.approx(opens["SPY"] / 2)
    assert server.core.source.open_of("QQQ", past).price == opens["QQQ"]
    assert server.calls("/minute/") == calls + 1, "SPY's day came again, QQQ's did not"
    assert server.core.store.get("SPY", DAY, 10) == locked, "what was said stands"


def test_a_step_that_breaks_does_not_end_the_following(
    follow: Callable[..., Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = follow("2025-03-11 10:20:07")
    steps: list[int] = []

    class Stopped:
        def is_set(self) -> bool:
            return len(steps) >= 3

        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()

    def step() -> None:
        steps.append(1)
        raise RuntimeError("boom")

    monkeypatch.setattr(server.core.follower, "step", step)
    server.core.follower.run(Stopped())  # type: ignore[arg-type]
    assert len(steps) == 3


def test_recorded_hours_are_locked_unasked_too(recorded_dir: Path, clock: FakeClock, market: ScriptedMarket) -> None:
    clock.set("2024-06-12 11:00:10")
    timer = FakeTimer(hasty=True)
    core = build(settings(market="recorded", data_dir=recorded_dir), clock=clock, timer=timer.timer)
    clock.fetches.append(core.pipeline.fetches)
    server = Followed(core, clock, market, timer)
    server.run(0.5)  # one step brings the bars, a later one locks
    assert core.store.get("IWM", date(2024, 6, 12), 11) is not None
    core.follower.close()


def test_one_passing_refusal_does_not_end_the_following(provider_follow: Callable[[str], World]) -> None:
    found = provider_follow("2025-03-11 10:20:07")
    found.provider.inject_fault("403", only="/minute/", times=1)
    found.directions()
    found.run(45)
    missing = [t for t in TICKERS if found.core.store.get(t, DAY, 11) is None]
    assert missing == []


def test_a_probe_that_fails_halfway_keeps_what_was_known_and_is_tried_again(
    provider_follow: Callable[[str], World],
) -> None:
    found = provider_follow("2025-03-11 15:50:07")
    found.core.follower.probe_now()
    found.provider.inject_fault("500", only="/2004-01-05/")
    found.clock.set("2025-03-12 08:00:00")
    found.run(1)
    entitlement, status = found.core.source.observed_plan.entitlement, found.core.follower.status()
    assert entitlement is not None
    assert entitlement.history_from == date(2003, 9, 10)
    assert status.probe_error is not None
    found.provider.clear_fault()
    found.run(16, every_s=60)
    assert found.core.follower.status().probe_error is None


@pytest.fixture
def provider_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], World]]:
    with ExitStack() as stack:
        yield lambda at: stack.enter_context(world(tmp_path, monkeypatch, at))


def test_the_record_of_the_models_is_read_unasked(follow: Callable[..., Followed]) -> None:
    followed = follow("2025-03-11 11:30:06")
    promise = followed.core.live_promise
    assert isinstance(promise.of("SPY"), str)
    followed.step()
    assert isinstance(promise.of("SPY"), ModelRecord)
