"""Leases between processes: one holder at a time, and no write of one that has lost its lease. In a file and in a Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from app.clock import REAL_TIME
from app.errors import Unavailable
from app.market import redis_leases as redis_leases_module
from app.market.lease import FORGET_AFTER_S, LEASE_S, LEASES, Leases, SqliteLeases
from app.market.redis_leases import BOUNDS, RedisLeases
from app.redis_database import RedisDatabase
from app.sqlite import Database
from tests.redis_faults import SILENCE_S
from tests.redis_server import RedisServer
from tests.support import FakeTimer
from tests.waiting import PATIENCE_S, wait_for

NAME = "follower"
PREFIX = "predict:lease:{test}"
Make = Callable[[], Leases]


@pytest.fixture
def time() -> FakeTimer:
    return FakeTimer()


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, time: FakeTimer) -> Iterator[Make]:
    """Makes the leases of one more process, all on one store."""
    url = None if request.param == "sqlite" else request.getfixturevalue("redis_url")
    with ExitStack() as stack:

        def made() -> Leases:
            if url is None:
                return SqliteLeases(
                    stack.enter_context(closing(Database(tmp_path / "leases.sqlite3", LEASES))), time.timer
                )
            redis = stack.enter_context(closing(RedisDatabase(url, PATIENCE_S, epoch=time.timer.epoch)))
            return RedisLeases(redis, PREFIX, time.timer)

        yield made


def test_a_lease_has_one_holder_until_it_ends(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()
    first = one.acquire(NAME)
    assert first is not None
    assert other.acquire(NAME) is None
    time.forward(LEASE_S - 1)
    one.renew_held()
    time.forward(LEASE_S - 1)
    assert other.acquire(NAME) is None, "it was renewed"
    time.forward(2)
    second = other.acquire(NAME)
    assert second is not None
    assert second.token > first.token
    assert not one.is_current(first)
    one.renew_held()
    assert one.acquire(NAME) is None
    assert other.is_current(second)


def test_everybody_sees_who_holds_a_lease_and_when_nobody_does(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()
    assert other.current(NAME) is None
    lease = one.acquire(NAME)
    assert lease == other.current(NAME)
    assert lease is not None
    assert (lease.holder, lease.expires) == (one.holder, pytest.approx(time.at + LEASE_S))
    time.forward(LEASE_S)
    assert other.current(NAME) is None


def test_a_lease_that_is_renewed_keeps_its_token(make: Make, time: FakeTimer) -> None:
    one = make()
    first = one.acquire(NAME)
    time.forward(LEASE_S + 60)
    again = one.acquire(NAME)
    assert first is not None
    assert again is not None
    assert again.token == first.token, "nobody else had it"
    assert one.is_current(first)


def test_a_lease_that_is_released_is_free_at_once_and_the_next_token_is_larger(make: Make) -> None:
    one, other = make(), make()
    first = one.acquire(NAME)
    assert first is not None
    one.release(first)
    assert one.current(NAME) is None
    second = other.acquire(NAME)
    assert second is not None
    assert second.token > first.token


def test_one_that_was_stopped_past_its_lease_can_neither_renew_nor_release_its_successors(
    make: Make, time: FakeTimer
) -> None:
    stopped, other = make(), make()
    lost = stopped.acquire(NAME)
    assert lost is not None
    time.forward(LEASE_S + 1)
    held = other.acquire(NAME)
    time.forward(LEASE_S - 1)
    stopped.renew_held()
    stopped.release(lost)
    assert other.current(NAME) == held
    assert not stopped.is_current(lost)
    time.forward(2)
    assert other.current(NAME) is None, "it was not renewed by who had lost it"


def test_what_was_dropped_is_renewed_no_more(make: Make, time: FakeTimer) -> None:
    one = make()
    one.acquire(NAME)
    one.drop_held()
    time.forward(LEASE_S - 1)
    one.renew_held()
    time.forward(1)
    assert one.current(NAME) is None


def while_renewing(leases: Leases, do: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something once, in another thread's place, when a lease is next written."""
    store, name = (Database, "write") if isinstance(leases, SqliteLeases) else (RedisLeases, "_end_after")
    write, left = getattr(store, name), [do]

    def meanwhile(*args: Any) -> Any:
        while left:
            left.pop()()
        return write(*args)

    monkeypatch.setattr(store, name, meanwhile)


def test_what_is_released_while_it_is_being_renewed_is_renewed_no_more(
    make: Make, time: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch ends while the follower renews its lease: nobody would ever release that again."""
    one, other = make(), make()
    lease = one.acquire(NAME)
    assert lease is not None
    time.forward(LEASE_S - 1)
    while_renewing(one, lambda: one.release(lease), monkeypatch)
    one.renew_held()
    time.forward(LEASE_S - 1)
    one.renew_held()
    time.forward(1)
    assert other.acquire(NAME) is not None


def test_what_is_acquired_anew_while_the_lease_before_is_being_renewed_is_renewed(
    make: Make, time: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make(), make()
    assert one.acquire(NAME) is not None
    time.forward(LEASE_S + 1)
    taken = other.acquire(NAME)
    assert taken is not None

    def again() -> None:
        other.release(taken)
        assert one.acquire(NAME) is not None

    while_renewing(one, again, monkeypatch)
    one.renew_held()
    time.forward(LEASE_S - 1)
    one.renew_held()
    time.forward(2)
    assert other.acquire(NAME) is None


def test_leases_of_two_names_have_holders_of_their_own(make: Make) -> None:
    one, other = make(), make()
    assert one.acquire("SPY 1min 2025-03-11") is not None
    assert other.acquire("QQQ 1min 2025-03-11") is not None


def test_a_clock_that_is_set_back_does_not_make_a_dead_holders_lease_last(make: Make, time: FakeTimer) -> None:
    one, other = make(), make()
    first = one.acquire(NAME)
    time.forward(-3600)
    second = other.acquire(NAME)
    assert first is not None
    assert second is not None
    assert second.token > first.token


def test_of_processes_that_race_for_a_lease_one_gets_it(make: Make) -> None:
    racers = [make() for _ in range(6)]
    for n in range(20):
        with ThreadPoolExecutor(len(racers)) as pool:
            won = list(pool.map(lambda leases, name=str(n): leases.acquire(name), racers))  # type: ignore[misc]
        assert sum(lease is not None for lease in won) == 1


def redis_leases(server: RedisServer, timeout_s: float = PATIENCE_S) -> RedisLeases:
    return RedisLeases(RedisDatabase(server.url, timeout_s), PREFIX, REAL_TIME)


def test_a_token_grows_though_redis_has_lost_the_one_before(own_redis: RedisServer) -> None:
    lost = redis_leases(own_redis).acquire(NAME)
    own_redis.restart()
    held = redis_leases(own_redis).acquire(NAME)
    assert lost is not None
    assert held is not None
    assert held.token > lost.token
    assert not redis_leases(own_redis).is_current(lost)


def test_a_lease_in_redis_ends_by_its_own_clock_while_its_holder_and_redis_are_halted(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease lasts for half a second: the test waits for one of before the halt, and for one that is asked for in it."""
    monkeypatch.setattr(redis_leases_module, "BOUNDS", BOUNDS.replace(f"{LEASE_S}", "0.5", 1))
    stopped, other = redis_leases(own_redis, SILENCE_S), redis_leases(own_redis)
    lost = stopped.acquire(NAME)
    own_redis.pause()
    with pytest.raises(Unavailable):
        stopped.acquire(NAME)
    wait_for(lambda: lost is not None and REAL_TIME.epoch() > lost.expires)
    own_redis.resume()
    wait_for(lambda: other.acquire(NAME), "the lease does not end")
    assert lost is not None
    assert not stopped.is_current(lost)


@pytest.mark.parametrize("fault", ["full", "read only"])
def test_a_redis_that_cannot_be_written_gives_no_lease(own_redis: RedisServer, fault: str) -> None:
    leases = redis_leases(own_redis)
    held = leases.acquire(NAME)
    with own_redis.client() as client:
        if fault == "full":
            client.config_set("maxmemory", 1)
        else:
            client.replicaof("127.0.0.1", 1)
        with pytest.raises(Unavailable):
            redis_leases(own_redis).acquire("another")
        assert held is not None
        assert leases.is_current(held)


def test_redis_forgets_a_lease_that_nobody_has_had_for_long(own_redis: RedisServer) -> None:
    leases = redis_leases(own_redis)
    lease = leases.acquire(NAME)
    assert lease is not None
    leases.release(lease)
    with own_redis.client() as client:
        assert 0 < client.ttl(leases.key(NAME)) <= FORGET_AFTER_S
