"""The budget of a key over a Redis that is lost, full, paused, emptied, or a copy of another one."""

from __future__ import annotations

from datetime import date

import pytest

from app.clock import REAL_TIME, Timer
from app.errors import BudgetSpent, Unavailable
from app.market.budget import SMALL_PLAN, Budget, Limit, Priority, call_context
from app.market.plan import Entitlement
from app.market.polygon import Reply
from app.market.redis_ledger import RedisLedger
from app.redis_database import RedisDatabase
from app.sqlite import REOPEN_AFTER_S, Retries
from tests.market.budgets import KEY
from tests.redis_faults import FAULTS, PASSWORD, Fault, allow_someone, kill, time_out_s, url_of_someone
from tests.redis_server import RedisServer
from tests.waiting import PATIENCE_S

PREFIX = "predict:budget:{test}"
FULL = Limit(6, 600.0)


class Spender:
    """The budget of a process over a Redis, what it says, and the time by which it tries again."""

    def __init__(self, server: RedisServer, limit: Limit = FULL, timeout_s: float = PATIENCE_S) -> None:
        self.at = 1000.0
        self.heard: list[str] = []
        self.errors: list[str] = []
        self.timer = Timer(lambda: self.at, REAL_TIME.epoch, REAL_TIME.sleep)
        ledger = RedisLedger(RedisDatabase(url_of_someone(server), timeout_s), PREFIX, KEY)
        self.budget = Budget(lambda: ledger, limit, self.timer, self._hear, Retries(self.timer.now, spread=0.5))

    def _hear(self, event: str, **fields: object) -> None:
        if event != "call_withheld":
            self.heard.append(event)
            self.errors.append(str(fields.get("error")))

    def spend(self, calls: int) -> int:
        """How many of so many calls may go."""
        return sum(self._goes() for _ in range(calls))

    def _goes(self) -> bool:
        try:
            with call_context(Priority.MINUTES, 0, self.timer):
                self.budget.release(self.budget.acquire())
        except BudgetSpent:
            return False
        return True

    def try_again(self) -> None:
        self.at += 1.5 * REOPEN_AFTER_S
        self.budget.status()


@pytest.fixture
def server(own_redis: RedisServer) -> RedisServer:
    allow_someone(own_redis)
    return own_redis


@pytest.mark.parametrize("fault", FAULTS)
def test_while_redis_fails_each_of_two_processes_spends_half(server: RedisServer, fault: Fault) -> None:
    """They go on from what they last saw of it, and give it their calls when it is back."""
    one, other = (Spender(server, timeout_s=time_out_s(fault)) for _ in range(2))
    assert (one.spend(1), other.spend(1)) == (1, 1)
    assert (one.budget.status().spent, other.budget.status().spent) == (2, 2)
    mend = fault(server)
    assert (one.spend(6), other.spend(6)) == (1, 1), "half of 6 is 3, of which 2 are spent"
    status = one.budget.status()
    assert (status.in_memory, status.limit, status.left) == (True, Limit(3, 600.0), 0)
    mend()
    for spender in (one, other):
        spender.try_again()
        assert spender.heard == ["budget_in_memory", "budget_shared"]
        assert PASSWORD not in "".join(spender.errors)
    in_redis = 2 if fault is kill else 4
    assert (one.budget.status().spent, other.budget.status().spent) == (in_redis, in_redis)
    assert one.spend(6) == 6 - in_redis
    assert other.spend(6) == 0


def test_more_processes_than_calls_have_one_each_while_redis_fails(server: RedisServer) -> None:
    spenders = [Spender(server, Limit(2, 600.0)) for _ in range(3)]
    for spender in spenders:
        spender.budget.status()
    spenders[0].budget.status()
    server.kill()
    assert spenders[0].spend(3) == 1


def test_a_process_that_starts_without_its_redis_counts_as_many_as_there_are_workers(server: RedisServer) -> None:
    server.kill()
    heard: list[str] = []
    ledger = RedisLedger(RedisDatabase(server.url), PREFIX, KEY)
    timer = Timer()
    budget = Budget(lambda: ledger, FULL, timer, lambda event, **_: heard.append(event), processes=2)
    assert budget.status().limit.calls == 3
    assert heard == ["budget_in_memory"]


def test_a_pause_of_the_provider_goes_on_while_redis_fails_and_when_it_is_back_empty(server: RedisServer) -> None:
    one = Spender(server)
    one.budget.observe(Reply(429, None, 300.0))
    with pytest.raises(BudgetSpent), call_context(Priority.MINUTES, 0, one.timer):
        one.budget.acquire()
    server.kill()
    with pytest.raises(BudgetSpent, match="asked for a pause"), call_context(Priority.MINUTES, 0, one.timer):
        one.budget.acquire()
    server.start()
    allow_someone(server)
    one.try_again()
    other = Spender(server)
    with pytest.raises(BudgetSpent, match="asked for a pause"), call_context(Priority.MINUTES, 0, other.timer):
        other.budget.acquire()


def test_a_refused_key_stays_refused_for_all_processes(server: RedisServer) -> None:
    one, other = Spender(server), Spender(server)
    one.budget.observe(Reply(401, None))
    with pytest.raises(Unavailable) as caught:
        other.spend(1)
    assert caught.value.part == "api_key"
    assert other.heard == []


def test_a_redis_that_was_emptied_gets_the_plan_again(server: RedisServer) -> None:
    found = Entitlement(True, date(2003, 9, 10))
    one = Spender(server)
    one.budget.keep_plan(found)
    with server.client() as client:
        client.flushall()
    assert one.spend(1) == 1
    kept = Spender(server).budget.kept_plan()
    assert kept is not None
    assert kept.entitlement == found


def test_all_that_is_in_redis_expires_and_none_of_it_is_the_key(server: RedisServer) -> None:
    one = Spender(server, SMALL_PLAN)
    one.spend(1)
    one.budget.observe(Reply(429, None, 30.0))
    one.budget.keep_plan(Entitlement(True, date(2003, 9, 10)))
    with server.client() as client:
        keys = sorted(client.scan_iter())
        assert [key.rpartition(":")[2] for key in keys] == ["calls", "pauses", "plan", "processes"]
        assert all(key.startswith(PREFIX) for key in keys)
        assert all(0 < client.ttl(key) <= 30 * 86_400 for key in keys)
        texts = [str(client.zrange(keys[0], 0, -1)), str(client.hgetall(keys[1])), str(client.get(keys[2]))]
        assert not [text for text in (*keys, *texts) if KEY in text]


def test_calls_of_long_ago_are_not_kept(server: RedisServer) -> None:
    now = [1_000_000.0]
    timer = Timer(lambda: now[0], lambda: now[0], REAL_TIME.sleep)
    ledger = RedisLedger(RedisDatabase(server.url, PATIENCE_S, epoch=timer.epoch), PREFIX, KEY)
    budget = Budget(lambda: ledger, Limit(50, 1.0), timer, lambda event, **_: None)
    with server.client() as client:
        for _ in range(100):
            now[0] += 2.0
            budget.release(budget.acquire())
        calls = next(key for key in client.scan_iter() if key.endswith(":calls"))
        assert client.zcard(calls) <= 31
