"""What processes share of the running day, in a file and in a Redis: what one brings all have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.clock import REAL_TIME, Timer
from app.errors import BudgetSpent, NotEntitled, PredictError, Unavailable, Upstream
from app.market.bars import Span
from app.market.lease import LEASE_S, Lease
from app.market.opens import MissingOpen
from app.market.redis_shared_day import RedisSharedDay
from app.market.running_day import REOPEN_AFTER_S, WAITS_S, FetchFailure, RunningDay, SharedSeries
from app.market.shared_day import DayBounds, SharedDay
from app.market.sqlite_shared_day import SqliteSharedDay
from app.redis_database import RedisDatabase
from tests.redis_faults import FAULTS, PASSWORD, Fault, allow_someone, time_out_s, url_of_someone
from tests.redis_server import RedisServer
from tests.support import FakeTimer, new_york, some_bars
from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
AT = new_york("2025-03-11 11:20")
NAME = "SPY 1min 2025-03-11"
PREFIXES = ("predict:day:{test}", "predict:lease:{test}")
MINUTE = timedelta(seconds=60)
Make = Callable[..., RunningDay]


@pytest.fixture
def time() -> FakeTimer:
    return FakeTimer(hasty=True)


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, time: FakeTimer) -> Make:
    """Makes the running day of one more process, all on one store."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("redis_url")

    def opened(bounds: DayBounds) -> SharedDay:
        if not url:
            return SqliteSharedDay(tmp_path / "day.sqlite3", time.timer, bounds=bounds)
        return RedisSharedDay(RedisDatabase(url, PATIENCE_S, epoch=time.timer.epoch), *PREFIXES, time.timer, bounds)

    def build(bounds: DayBounds | None = None, ahead_s: float = 0.0) -> RunningDay:
        offset = timedelta(seconds=ahead_s)
        errors = (MissingOpen,)
        return RunningDay(lambda: opened(bounds or DayBounds()), time.timer, unheard, errors, lambda: offset)

    return build


def unheard(event: str, **fields: object) -> None:
    pass


def brought(day: RunningDay, series: SharedSeries, name: str = NAME) -> bool:
    """Whether the series that this process fetches is kept."""
    kept: list[bool] = []
    day.once(name, nothing, lambda: series, lambda found, lease: kept.append(day.put(name, DAY, found, lease)))
    return kept[0]


def nothing() -> Any:
    return None


def unshared(found: SharedSeries, lease: Lease) -> None:
    pass


def series(n: int = 5, at: datetime = AT) -> SharedSeries:
    return SharedSeries(some_bars(n), at, False)


def test_what_one_process_fetched_all_have(make: Make) -> None:
    one, other = make(), make()
    found = SharedSeries(some_bars(3, span=Span.DAY), AT, True, missing=2, again=AT + timedelta(minutes=5))
    assert brought(one, found)
    known = other.get(NAME)
    assert known is not None
    assert (known.fetched, known.delayed, known.missing, known.again) == (AT, True, 2, found.again)
    for column in ("t", "end", "o", "h", "l", "c", "v"):
        assert getattr(known.bars, column).tolist() == getattr(found.bars, column).tolist()
    assert other.fetched(DAY) == {NAME: AT}
    assert other.fetched(DAY + timedelta(days=1)) == {}
    assert other.get("QQQ 1min 2025-03-11") is None


def test_a_process_whose_clock_is_fast_has_the_moments_of_its_own_clock(make: Make) -> None:
    right, fast = make(), make(ahead_s=90)
    brought(right, series())
    known = fast.get(NAME)
    assert known is not None
    assert known.fetched == AT + timedelta(seconds=90)


def test_who_asks_while_another_process_fetches_waits_for_what_that_one_brings(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()
    calls: list[str] = []

    def fetch() -> SharedSeries:
        calls.append("one")
        with pytest.raises(Upstream, match="still fetching"):
            other.once(NAME, lambda: other.get(NAME), other_fetch, unshared)
        return series()

    def other_fetch() -> SharedSeries:
        calls.append("other")
        return series()

    def renewing(seconds: float) -> None:
        time.forward(seconds)
        one.lead()

    other._timer = Timer(lambda: time.at, lambda: time.at, renewing)
    before = time.at
    one.once(NAME, nothing, fetch, lambda found, lease: one.put(NAME, DAY, found, lease))
    assert WAITS_S <= time.at - before < WAITS_S + 1
    found = other.once(NAME, lambda: other.get(NAME), other_fetch, unshared)
    assert len(found.bars) == 5
    assert calls == ["one"]


def test_a_process_that_was_halted_past_its_lease_and_wakes_writes_no_old_bars(make: Make, time: FakeTimer) -> None:
    halted, other = make(), make()
    kept = []

    def fetch() -> SharedSeries:
        time.forward(LEASE_S + 1)  # it stands still in the middle of its call
        kept.append(brought(other, series(5, AT + MINUTE)))
        return series(3)

    def share(found: SharedSeries, lease: Lease) -> None:
        kept.append(halted.put(NAME, DAY, found, lease))

    halted.once(NAME, nothing, fetch, share)
    assert kept == [True, False]
    known = other.get(NAME)
    assert known is not None
    assert (len(known.bars), known.fetched) == (5, AT + MINUTE)


def test_one_process_leads_until_it_resigns_or_dies(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()
    first = one.lead()
    assert first is not None
    assert other.lead() is None
    assert other.leader() == first
    one.resign()
    second = other.lead()
    assert second is not None
    assert second.token > first.token
    time.forward(LEASE_S + 1)
    assert one.lead() is not None


def test_a_long_fetch_keeps_its_lease_while_the_process_lives(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()

    def fetch() -> SharedSeries:
        for _ in range(20):
            time.forward(1)
            one.lead()
        assert other._day is not None
        assert other._day.leases.acquire(NAME) is None
        return series()

    one.once(NAME, nothing, fetch, unshared)


def test_a_failure_is_the_same_one_in_another_process(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()
    refusal, failure = NotEntitled("the plan has no such data"), Upstream("it failed", retry_after=7)
    spent = BudgetSpent("the budget is spent", retry_after=3.5)
    for error in (refusal, failure, spent, MissingOpen("not there", code="MISSING_DAILY_BAR", fault=failure)):
        one.fail(NAME, FetchFailure(AT, time.at, MINUTE, error))
        found = other.failure(NAME)
        assert found is not None
        assert (type(found.error), found.error.args) == (type(error), error.args)
        assert fields(found.error) == fields(error)
        assert (found.at, found.epoch_s, found.lasts) == (AT, time.at, MINUTE)
    one.forget_failures()
    assert other.failure(NAME) is None


def fields(error: PredictError) -> dict[str, Any]:
    known = {"code": error.code, **vars(error)}
    return known | ({"fault": fields(known["fault"])} if "fault" in known else {})


def test_after_a_split_the_series_of_the_ticker_are_gone_for_all(make: Make) -> None:
    one, other = make(), make()
    for name in (NAME, "SPY 1day 2025-03-11", "SPYX 1min 2025-03-11"):
        brought(one, series(), name)
    other.forget("SPY")
    assert list(one.fetched(DAY)) == ["SPYX 1min 2025-03-11"]
    assert one.get(NAME) is None
    assert one.get("SPYX 1min 2025-03-11") is not None


def test_what_is_kept_is_bounded(make: Make, time: FakeTimer) -> None:
    day, at = make(DayBounds(3, 3, 3)), AT
    for number in range(6):
        time.forward(1)
        at += timedelta(seconds=1)
        name = f"T{number} 1min 2025-03-11"
        brought(day, series(2, at), name)
        day.fail(name, FetchFailure(at, time.at, MINUTE, Upstream("no")))
        day.ask_for({f"T{number}": at})
    assert sorted(day.fetched(DAY)) == [f"T{number} 1min 2025-03-11" for number in (3, 4, 5)]
    assert day.get("T2 1min 2025-03-11") is None
    assert day.asked_for(at - timedelta(hours=1), at) == ["T3", "T4", "T5"]
    assert day.asked_for(at - timedelta(seconds=2), at - timedelta(seconds=1)) == ["T4"]
    assert day.failure("T2 1min 2025-03-11") is None
    assert day.failure("T5 1min 2025-03-11") is not None


def test_past_days_of_months_stay_in_redis_for_a_replica_that_starts_with_an_empty_disk(
    redis_url: str, time: FakeTimer
) -> None:
    db = RedisDatabase(redis_url, PATIENCE_S, epoch=time.timer.epoch)
    one, started = (
        RunningDay(lambda: RedisSharedDay(db, *PREFIXES, time.timer), time.timer, unheard) for _ in range(2)
    )
    names = [f"SPY 1min {DAY - timedelta(days=n)}" for n in range(200)]
    for n, name in enumerate(names):
        past = series(390, AT + timedelta(seconds=n))
        one.once(
            name, nothing, lambda past=past: past, lambda found, lease, name=name: one.put(name, DAY, found, lease)
        )  # type: ignore[misc]
    assert all(started.get(name) is not None for name in names)
    size = db.read("MEMORY", "USAGE", f"{PREFIXES[0]}:series", "SAMPLES", 0)
    assert size < len(names) * 30_000


def test_a_failure_holds_for_a_machine_whose_clock_is_a_little_behind() -> None:
    failure = FetchFailure(AT, 1000.0, MINUTE, Upstream("no"))
    assert failure.holds(AT - timedelta(seconds=1), 999.0)
    assert failure.holds(AT + timedelta(seconds=59), 1059.0)
    assert not failure.holds(AT + MINUTE, 1059.0)
    assert not failure.holds(AT + timedelta(seconds=59), 1060.0)
    assert not failure.holds(AT - timedelta(hours=1), 1000.0), "the clock was set back"


class Sharing:
    """The running day of a process over a Redis of a test's own, what it says, and the time by which it tries again."""

    def __init__(self, server: RedisServer, timeout_s: float = PATIENCE_S) -> None:
        self.at = 1000.0
        self.heard: list[str] = []
        self.errors: list[str] = []
        timer = Timer(lambda: self.at, REAL_TIME.epoch, REAL_TIME.sleep)
        db = RedisDatabase(url_of_someone(server), timeout_s)
        self.day = RunningDay(lambda: RedisSharedDay(db, *PREFIXES, timer), timer, self._hear)

    def _hear(self, event: str, **fields: object) -> None:
        self.heard.append(event)
        self.errors.append(str(fields.get("error")))

    def try_again(self) -> None:
        self.at += 1.5 * REOPEN_AFTER_S
        self.day.lead()


@pytest.fixture
def open_to_someone(own_redis: RedisServer) -> RedisServer:
    allow_someone(own_redis)
    return own_redis


@pytest.mark.parametrize("fault", FAULTS)
def test_a_redis_that_fails_costs_sharing_and_no_answer(open_to_someone: RedisServer, fault: Fault) -> None:
    one = Sharing(open_to_someone, timeout_s=time_out_s(fault))
    assert brought(one.day, series())
    mend = fault(open_to_someone)
    found = series(7)
    for _ in range(3):
        assert one.day.once(NAME, nothing, lambda: found, unshared) is found
    assert one.day.failing()
    assert one.day.lead() is None
    mend()
    one.try_again()
    assert one.day.failing() is None
    assert brought(one.day, series(7))
    assert one.heard == ["running_day_unshared", "running_day_shared"]
    assert PASSWORD not in "".join(one.errors)


def test_a_redis_that_fails_is_not_asked_again_at_once(open_to_someone: RedisServer) -> None:
    one = Sharing(open_to_someone)
    one.day.lead()
    open_to_someone.kill()
    one.day.lead()
    open_to_someone.start()
    allow_someone(open_to_someone)
    one.at += REOPEN_AFTER_S - 0.1
    assert one.day.lead() is None
    assert one.day.failing()
    one.try_again()
    assert one.day.failing() is None


def test_processes_that_lost_one_redis_do_not_all_come_back_at_once(open_to_someone: RedisServer) -> None:
    lost = [Sharing(open_to_someone) for _ in range(20)]
    open_to_someone.kill()
    for one in lost:
        one.day.lead()
    open_to_someone.start()
    allow_someone(open_to_someone)
    back = []
    for _ in range(10):
        for one in lost:
            one.at += REOPEN_AFTER_S / 6
            one.day.lead()
        back.append(sum(one.day.failing() is None for one in lost))
    assert back[4] == 0
    assert back[9] == len(lost)
    assert any(0 < count < len(lost) for count in back)


def test_what_a_redis_that_came_back_empty_has_lost_is_brought_again(open_to_someone: RedisServer) -> None:
    one, other = Sharing(open_to_someone), Sharing(open_to_someone)
    brought(one.day, series())
    with open_to_someone.client() as client:
        client.flushall()
    assert other.day.get(NAME) is None
    assert brought(other.day, series())
    assert one.day.get(NAME) is not None


def test_what_a_fetch_brings_whose_lease_redis_has_lost_is_not_written(open_to_someone: RedisServer) -> None:
    one = Sharing(open_to_someone)

    def fetch() -> SharedSeries:
        with open_to_someone.client() as client:
            client.flushall()
        return series()

    kept = []
    one.day.once(NAME, nothing, fetch, lambda found, lease: kept.append(one.day.put(NAME, DAY, found, lease)))
    assert kept == [False]
    assert one.heard == ["bars_fenced"]


def test_all_that_is_in_redis_expires(open_to_someone: RedisServer) -> None:
    one = Sharing(open_to_someone)
    one.day.lead()
    brought(one.day, series())
    one.day.fail(NAME, FetchFailure(AT, REAL_TIME.epoch(), MINUTE, Upstream("no")))
    one.day.ask_for({"SPY": AT})
    with open_to_someone.client() as client:
        keys = list(client.scan_iter())
        assert len(keys) == 7
        assert all(key.startswith(PREFIXES) for key in keys)
        assert all(0 < client.ttl(key) <= 86_400 for key in keys)


def test_what_another_version_wrote_is_as_nothing(open_to_someone: RedisServer) -> None:
    one = Sharing(open_to_someone)
    with open_to_someone.client() as client:
        for text in ("not JSON", '{"day": "2025-03-11"}', "[]"):
            client.hset(f"{PREFIXES[0]}:series", NAME, text)
            assert one.day.get(NAME) is None
    assert one.day.failing() is None


def test_unavailable_is_a_failure_of_the_store_alone(make: Make) -> None:
    """What a fetch raises is its own."""
    day = make()
    refused = Unavailable("the key was refused", part="api_key")

    def fetch() -> SharedSeries:
        raise refused

    with pytest.raises(Unavailable) as caught:
        day.once(NAME, nothing, fetch, unshared)
    assert caught.value is refused
    assert day.failing() is None
