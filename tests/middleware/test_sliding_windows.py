"""At most so many requests in any sixty seconds, exactly: the same in this process and in a real Redis."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import redis
from hypothesis import example, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from app.redis_database import RedisDatabase
from middleware.sliding_windows import (
    PREFIX,
    Hit,
    InMemoryWindows,
    RedisWindows,
    SlidingWindows,
    WindowStorage,
    WindowsWithFallback,
)
from tests.redis_server import RedisServer
from tests.waiting import PATIENCE_S

START = 1_800_000_000.0
WINDOW_S = 60
WINDOW_US = WINDOW_S * 1_000_000

HitOnce = Callable[..., Hit]
Step = tuple[int, int]
"""Microseconds that pass, then so many requests at once."""

fresh = itertools.count()


class Epoch:
    """Seconds since 1970 that stand still until a test moves them."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at

    def after(self, seconds: float) -> None:
        """So long after the start."""
        self.at = START + seconds


@contextmanager
def connected(url: str, epoch: Epoch | None) -> Iterator[RedisWindows]:
    with closing(RedisDatabase(url, PATIENCE_S)) as db:
        windows = RedisWindows(db.client, PATIENCE_S, epoch)
        windows.connect()
        yield windows


@pytest.fixture
def epoch() -> Epoch:
    return Epoch()


@pytest.fixture(params=["memory", "redis"])
def windows(request: pytest.FixtureRequest, epoch: Epoch) -> Iterator[SlidingWindows]:
    if request.param == "memory":
        yield InMemoryWindows(epoch, epoch)
        return
    with connected(request.getfixturevalue("redis_url"), epoch) as shared:
        yield shared


@pytest.fixture
def hit(windows: SlidingWindows) -> HitOnce:
    """One hit of client `a` against three a minute, unless the test names others."""

    def one(key: str = "a", limit: int = 3, amount: int = 1) -> Hit:
        return windows.hit(key, limit, WINDOW_S, amount)

    return one


def us(seconds: float) -> int:
    """A moment after the start, as it is stamped."""
    return int((START + seconds) * 1e6)


def test_as_many_as_the_limit_go_and_the_next_is_refused(hit: HitOnce) -> None:
    hits = [hit(limit=5) for _ in range(7)]
    assert [t.allowed for t in hits] == [True] * 5 + [False] * 2
    assert [t.used for t in hits] == [1, 2, 3, 4, 5, 5, 5]


def test_what_is_told_says_when_the_oldest_came_and_when_it_was_counted(hit: HitOnce, epoch: Epoch) -> None:
    seen = []
    for second in (0, 1, 2, 3, 60, 60.5):
        epoch.after(second)
        seen.append(hit())
    assert [(t.first, t.at) for t in seen] == [
        (us(0), us(0)),
        (us(0), us(1)),
        (us(0), us(2)),
        (us(0), us(3)),
        (us(1), us(60)),
        (us(1), us(60.5)),
    ]


def test_exactly_one_place_is_back_when_the_first_request_is_sixty_seconds_old(hit: HitOnce, epoch: Epoch) -> None:
    for second in (0, 1, 2):
        epoch.after(second)
        hit()
    epoch.after(59.999999)
    assert not hit().allowed
    epoch.after(60)
    assert hit() == Hit(True, 3, us(1), us(60))
    assert not hit().allowed


def test_places_come_back_one_by_one_as_each_request_leaves(hit: HitOnce, epoch: Epoch) -> None:
    for second in range(10):
        epoch.after(second)
        assert hit(limit=10).allowed
    for second in range(10):
        epoch.after(60 + second - 0.00001)
        assert not hit(limit=10).allowed, f"{second} too early"
        epoch.after(60 + second)
        assert [hit(limit=10).allowed for _ in range(2)] == [True, False], f"{second} in time"


def test_the_turn_of_a_minute_does_not_double_the_limit(hit: HitOnce, epoch: Epoch) -> None:
    epoch.after(59)
    assert [hit().allowed for _ in range(3)] == [True] * 3
    epoch.after(61)
    assert not hit().allowed


def test_a_refused_request_costs_nothing(hit: HitOnce, epoch: Epoch) -> None:
    hit(limit=2)
    hit(limit=2)
    for second in range(1, 60):
        epoch.after(second)
        assert not hit(limit=2).allowed
    epoch.after(60)
    assert [hit(limit=2).allowed for _ in range(3)] == [True, True, False]


def test_one_client_does_not_use_up_anothers_requests(hit: HitOnce) -> None:
    assert [hit("a").allowed for _ in range(4)] == [True, True, True, False]
    assert [hit("b").used for _ in range(4)] == [1, 2, 3, 3]


def test_looking_takes_nothing(hit: HitOnce, epoch: Epoch) -> None:
    assert hit(amount=0)[1:] == (0, us(0), us(0))
    hit()
    epoch.after(1)
    for _ in range(10):
        assert hit(amount=0)[1:] == (1, us(0), us(1))
    assert [hit().allowed for _ in range(3)] == [True, True, False]
    assert hit(amount=0).used == 3
    epoch.after(60)
    assert hit(amount=0)[1:] == (2, us(1), us(60))
    epoch.after(61)
    assert hit(amount=0)[1:] == (0, us(61), us(61))


def test_several_at_once_go_all_or_not_at_all(hit: HitOnce) -> None:
    assert hit(limit=5, amount=3)[:2] == (True, 3)
    assert hit(limit=5, amount=3)[:2] == (False, 3)
    assert hit(limit=5, amount=2)[:2] == (True, 5)


def test_a_limit_of_one_lets_one_go_a_minute(hit: HitOnce, epoch: Epoch) -> None:
    for minute in range(3):
        epoch.after(60 * minute)
        assert hit(limit=1) == Hit(True, 1, us(60 * minute), us(60 * minute))
        epoch.after(60 * minute + 59.99)
        assert hit(limit=1) == Hit(False, 1, us(60 * minute), us(60 * minute + 59.99))


def test_a_large_limit_is_exact_too(hit: HitOnce, epoch: Epoch) -> None:
    large = 50_000
    for part in range(10):
        epoch.after(part)
        assert hit(limit=large, amount=large // 10).used == large // 10 * (part + 1)
    assert not hit(limit=large).allowed
    epoch.after(60)
    assert hit(limit=large, amount=large // 10)[:2] == (True, large)
    assert not hit(limit=large).allowed


def test_a_forgotten_client_begins_anew_and_the_others_do_not(windows: SlidingWindows, hit: HitOnce) -> None:
    for key in ("a", "a", "a", "b"):
        hit(key)
    windows.clear("a")
    windows.clear("never seen")
    assert hit("a").used == 1
    assert hit("b").used == 2


def test_threads_together_get_as_many_as_the_limit(windows: SlidingWindows) -> None:
    start, allowed = threading.Barrier(8), []

    def ask() -> None:
        start.wait(PATIENCE_S)
        allowed.extend(windows.hit("a", 100, WINDOW_S).allowed for _ in range(40))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(allowed) == 320
    assert sum(allowed) == 100


@pytest.mark.parametrize("back", [0.000001, 0.3, 5.0])
def test_a_clock_that_runs_backwards_gives_no_more_than_the_limit(hit: HitOnce, epoch: Epoch, back: float) -> None:
    epoch.after(10)
    assert hit().allowed
    epoch.after(10 - back)
    assert [hit().used for _ in range(3)] == [2, 3, 3]
    assert not hit().allowed
    epoch.after(69.9 - back)
    assert not hit().allowed
    epoch.after(70)
    assert [hit().allowed for _ in range(4)] == [True, True, True, False]


wobbling = st.lists(st.tuples(st.integers(-2_000_000, 20_000_000), st.integers(1, 4)), min_size=1, max_size=30)


@given(wobbling)
def test_a_wobbling_clock_never_lets_more_than_the_limit_into_a_window_that_much_shorter(steps: list[Step]) -> None:
    epoch = Epoch()
    windows, stamps, latest, wobble = InMemoryWindows(epoch, epoch), [], 0.0, 0.0
    for passes, requests in steps:
        epoch.at += passes / 1e6
        latest = max(latest, epoch.at)
        wobble = max(wobble, latest - epoch.at)
        hits = [windows.hit("a", 5, WINDOW_S) for _ in range(requests)]
        stamps += [t.at for t in hits if t.allowed]
        assert all(t.used <= 5 for t in hits)
    assert most_together(stamps, WINDOW_US - int(wobble * 1e6) - 1) <= 5


def most_together(stamps: list[int], window_us: int) -> int:
    """The most of these moments that one half-open window holds."""
    return max((sum(end - window_us < at <= end for at in stamps) for end in stamps), default=0)


def test_the_measure_of_the_properties_finds_one_too_many() -> None:
    assert most_together([0, 1, WINDOW_US], WINDOW_US) == 2
    assert most_together([0, 1, WINDOW_US - 1], WINDOW_US) == 3
    assert most_together([], WINDOW_US) == 0


passing = st.one_of(st.integers(0, 30_000_000), st.sampled_from([0, 1, WINDOW_US // 2, WINDOW_US - 1, WINDOW_US]))
steps_of = st.lists(st.tuples(passing, st.integers(0, 6)), min_size=1, max_size=25)


def run(windows: SlidingWindows, epoch: Epoch, steps: list[Step], limit: int) -> list[Hit]:
    """Every request's outcome."""
    key, epoch.at, outcomes = f"run-{next(fresh)}", START, []
    for passes, requests in steps:
        epoch.at += passes / 1e6
        outcomes += [windows.hit(key, limit, WINDOW_S) for _ in range(requests)]
        outcomes.append(windows.hit(key, limit, WINDOW_S, 0))
    return outcomes


@given(steps_of, st.integers(1, 8))
@example([(0, 3), (WINDOW_US - 1, 1), (1, 4)], 3)
def test_no_window_ever_holds_more_than_the_limit_and_none_is_refused_needlessly(steps: list[Step], limit: int) -> None:
    epoch = Epoch()
    went: list[int] = []
    for hit in run(InMemoryWindows(epoch, epoch), epoch, steps, limit)[:-1]:
        inside = sum(hit.at - WINDOW_US < at <= hit.at for at in went)
        if hit.allowed and hit.used > inside:
            went.append(hit.at)
            inside += 1
        elif not hit.allowed:
            assert inside == limit, "refused although there was a place"
        assert hit.used == inside
    assert most_together(went, WINDOW_US) <= limit


def test_memory_and_redis_agree_on_every_request(redis_server: RedisServer) -> None:
    epoch = Epoch()
    with connected(redis_server.url, epoch) as shared:

        @rules(max_examples=60)
        @given(steps_of, st.integers(1, 8))
        @example([(0, 3), (WINDOW_US - 1, 1), (1, 4)], 3)
        def agree(steps: list[Step], limit: int) -> None:
            here = run(InMemoryWindows(epoch, epoch), epoch, steps, limit)
            assert run(shared, epoch, steps, limit) == here

        agree()


def test_memory_and_redis_agree_on_a_clock_that_wobbles(redis_server: RedisServer) -> None:
    epoch = Epoch()
    with connected(redis_server.url, epoch) as shared:

        @rules(max_examples=40)
        @given(wobbling)
        def agree(steps: list[Step]) -> None:
            here = run(InMemoryWindows(epoch, epoch), epoch, steps, 4)
            assert run(shared, epoch, steps, 4) == here

        agree()


def test_this_process_keeps_so_many_windows_and_drops_the_one_used_longest_ago(epoch: Epoch) -> None:
    windows = InMemoryWindows(epoch, epoch, max_clients=3)
    for key in ("a", "b", "c", "a", "d"):
        windows.hit(key, 9, WINDOW_S)
        assert len(windows) <= 3
    assert [windows.hit(key, 9, WINDOW_S).used for key in ("a", "c", "d")] == [3, 2, 2]
    assert windows.hit("b", 9, WINDOW_S).used == 1, "b was dropped: it begins anew"
    assert windows.hit("a", 9, WINDOW_S).used == 1, "and now a was"
    assert len(windows) == 3


def test_a_flood_of_clients_stays_within_the_bound(epoch: Epoch) -> None:
    windows = InMemoryWindows(epoch, epoch, max_clients=100)
    for number in range(5_000):
        windows.hit(f"client {number}", 9, WINDOW_S)
    assert len(windows) == 100


def test_redis_forgets_a_client_a_minute_after_the_last_request(redis_url: str, epoch: Epoch) -> None:
    with connected(redis_url, epoch) as windows, closing(redis.Redis.from_url(redis_url)) as raw:
        before = set(raw.keys("*"))
        windows.hit("looked at", 3, WINDOW_S, 0)
        assert not set(raw.keys("*")) - before
        windows.hit("a", 3, WINDOW_S)
        [key] = set(raw.keys("*")) - before
        assert key.decode().startswith(PREFIX)
        assert 0 < raw.pttl(key) <= WINDOW_S * 1000


def test_redis_that_lost_the_script_says_so_and_counts_on_once_it_is_taught_again(redis_url: str, epoch: Epoch) -> None:
    with connected(redis_url, epoch) as windows, closing(redis.Redis.from_url(redis_url)) as raw:
        windows.hit("a", 3, WINDOW_S)
        raw.script_flush()
        with pytest.raises(redis.RedisError):
            windows.hit("a", 3, WINDOW_S)
        windows.connect()
        assert windows.hit("a", 3, WINDOW_S).used == 2


def test_a_redis_that_answers_but_cannot_count_is_told_as_lost_once(own_redis: RedisServer, epoch: Epoch) -> None:
    told: list[str] = []
    knocks: list[float] = []
    shared = RedisWindows(RedisDatabase(own_redis.url, PATIENCE_S).client, PATIENCE_S, epoch)
    emit = lambda event, **_: told.append(event)  # noqa: E731
    windows = WindowsWithFallback(shared, InMemoryWindows(epoch, epoch), emit, knocks.append)
    with closing(windows), own_redis.client() as raw:
        raw.config_set("maxmemory", "1")
        asked = until(lambda: len(knocks) >= 5, lambda: windows.hit("a", 1_000_000, WINDOW_S))
        assert told == ["limits_local"]
        assert windows.hit("a", 1_000_000, WINDOW_S).used == asked + 1, "counted here meanwhile"
        raw.config_set("maxmemory", "0")
        until(lambda: told == ["limits_local", "limits_shared"])
        assert windows.hit("a", 1_000_000, WINDOW_S).used == 1, "and in Redis again"


def until(what: Callable[[], bool], meanwhile: Callable[[], object] = lambda: time.sleep(0.01)) -> int:
    """How often `meanwhile` was done before it was so."""
    end, times = time.monotonic() + PATIENCE_S, 0
    while not what():
        assert time.monotonic() < end
        meanwhile()
        times += 1
    return times


def test_the_limits_packages_strategy_counts_the_same(windows: SlidingWindows, epoch: Epoch) -> None:
    strategy, item = MovingWindowRateLimiter(WindowStorage(windows=windows)), RateLimitItemPerMinute(4)
    twin = InMemoryWindows(epoch, epoch)
    for second in (0, 0, 1, 5, 5.5, 59.5, 60, 60, 61, 64, 65, 65.5, 66, 300):
        epoch.after(second)
        assert strategy.test(item, "client", "group") == (twin.hit("k", 4, WINDOW_S, 0).used < 4)
        expected = twin.hit("k", 4, WINDOW_S)
        assert strategy.hit(item, "client", "group") == expected.allowed
        stats = strategy.get_window_stats(item, "client", "group")
        assert stats.remaining == 4 - expected.used
        assert stats.reset_time == pytest.approx(expected.first / 1e6 + WINDOW_S, abs=1e-5)


def test_the_limits_packages_strategy_and_a_direct_count_share_one_window(windows: SlidingWindows) -> None:
    strategy, item = MovingWindowRateLimiter(WindowStorage(windows=windows)), RateLimitItemPerMinute(4)
    key = item.key_for("client", "group")
    went = [strategy.hit(item, "client", "group"), windows.hit(key, 4, WINDOW_S).allowed]
    went += [strategy.hit(item, "client", "group", cost=2), windows.hit(key, 4, WINDOW_S).allowed]
    assert went == [True, True, True, False]
    strategy.clear(item, "client", "group")
    assert windows.hit(key, 4, WINDOW_S).used == 1


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    real, shown = Epoch(), Epoch()
    windows = InMemoryWindows(real, shown)
    assert [windows.hit("a", 2, WINDOW_S).allowed for _ in range(3)] == [True, True, False]
    shown.at -= 3600
    assert windows.hit("a", 2, WINDOW_S) == (False, 2, int(shown.at * 1e6), int(shown.at * 1e6))
    real.at += WINDOW_S
    assert windows.hit("a", 2, WINDOW_S).allowed


def test_clients_that_are_gone_are_forgotten(epoch: Epoch) -> None:
    windows = InMemoryWindows(epoch, epoch)
    for number in range(100):
        windows.hit(f"client {number}", 9, WINDOW_S)
    epoch.at += WINDOW_S
    for _ in range(100):
        windows.hit("the one that stays", 200, WINDOW_S)
    assert len(windows) == 1


def test_redis_counts_by_its_own_time_whatever_the_hosts_say(redis_url: str) -> None:
    with connected(redis_url, None) as windows, closing(redis.Redis.from_url(redis_url)) as raw:
        seconds, micros = raw.time()
        hit = windows.hit("a", 2, WINDOW_S)
        assert 0 <= hit.at - (seconds * 1_000_000 + micros) < 10_000_000
        assert (hit.allowed, hit.used, hit.first) == (True, 1, hit.at)
        assert [windows.hit("a", 2, WINDOW_S).allowed for _ in range(2)] == [True, False]
