"""What a key may spend, in any rolling minute, for all processes on one ledger (polygon.md 5, 6): a file, or a Redis."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.errors import BudgetSpent, Unavailable
from app.market.budget import PAID_PLAN, SMALL_PLAN, Budget, Limit, Priority, call_context
from app.market.ledger import Ledger, LedgerState
from app.market.plan import Entitlement
from app.market.polygon import Reply
from app.market.sqlite_ledger import SqliteLedger
from app.sqlite import MEMORY, REOPEN_AFTER_S
from tests.market.budgets import KEY, budget_of, redis_budget_of
from tests.racing import raced
from tests.support import FakeTimer
from tests.waiting import PATIENCE_S, wait_for


@pytest.fixture
def time() -> FakeTimer:
    return FakeTimer(hasty=True)


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, time: FakeTimer) -> Callable[..., Budget]:
    """Makes the budget of one more process, all with one name and key on one ledger."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    heard: list[str] = []

    def hear(event: str, **fields: object) -> None:
        heard.append(event)

    def build(limit: Limit = SMALL_PLAN, name: str = "budget", key: str = KEY) -> Budget:
        if url:
            budget = redis_budget_of(url, name, time.timer, limit, hear, key, epoch=time.timer.epoch)
        else:
            budget = budget_of(tmp_path / f"{name}.sqlite3", time.timer, limit, hear, key)
        budget.heard = heard  # type: ignore[attr-defined]
        return budget

    return build


def call(budget: Budget, time: FakeTimer, priority: Priority = Priority.MINUTES, patience_s: float = 0.0) -> float:
    """One call that takes no time; the moment it went."""
    with call_context(priority, patience_s, time.timer):
        ticket = budget.acquire()
    budget.release(ticket)
    return time.at


def spent(budget: Budget, time: FakeTimer, priority: Priority = Priority.MINUTES) -> BudgetSpent:
    with pytest.raises(BudgetSpent) as caught:
        call(budget, time, priority)
    return caught.value


def test_five_calls_go_and_the_sixth_is_told_when(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    for _ in range(5):
        call(budget, time)
        time.forward(2)
    refused = spent(budget, time)
    assert refused.code == "RATE_LIMITED"
    assert refused.retry_after == pytest.approx(50)
    assert "50 s" in refused.message


def test_a_call_behind_a_waiting_one_is_told_the_real_wait(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    for _ in range(5):
        call(budget, time)
        time.forward(2)
    with budget._queued(Priority.PROBE):
        refused = spent(budget, time)
    assert refused.retry_after == pytest.approx(52), "the first call that becomes free is the probe's"
    assert "52 s" in refused.message


@pytest.mark.parametrize(("ahead", "wait_s"), [(0, 60), (4, 60), (5, 120), (11, 180)])
def test_a_full_window_lets_as_many_go_as_it_has_calls(
    ahead: int, wait_s: float, make: Callable[..., Budget], time: FakeTimer
) -> None:
    budget = make()
    for _ in range(5):
        call(budget, time)
    with ExitStack() as queue:
        for _ in range(ahead):
            queue.enter_context(budget._queued(Priority.PROBE))
        assert spent(budget, time).retry_after == pytest.approx(wait_s)


def test_no_refusal_says_that_the_next_call_may_go_in_0_s(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make(Limit(1, 60.0))
    call(budget, time)
    time.forward(59.8)
    assert "in 1 s" in spent(budget, time).message


def test_a_wait_is_announced_once_when_it_begins(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make(Limit(1, 60.0))
    call(budget, time)
    assert budget.heard == []  # type: ignore[attr-defined]
    call(budget, time, Priority.BACKFILL, patience_s=600)
    assert budget.heard == ["call_waits"]  # type: ignore[attr-defined]


def test_the_plan_found_is_kept_for_the_next_process_and_by_key(make: Callable[..., Budget], time: FakeTimer) -> None:
    found = Entitlement(True, date(2003, 9, 10))
    assert make().kept_plan() is None
    make().keep_plan(found)
    kept = make().kept_plan()
    assert kept is not None
    assert (kept.entitlement, kept.found_at) == (found, time.at)
    assert make(key="another").kept_plan() is None
    time.forward(31 * 86_400)
    assert make().kept_plan() is None, "a plan of last month says nothing of today"


def test_never_more_than_five_in_any_rolling_minute(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    went = [call(budget, time, patience_s=600) for _ in range(16)]
    assert all(later - earlier >= 60 for earlier, later in zip(went, went[5:], strict=False))


def test_a_call_counts_until_a_minute_after_its_end(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make(Limit(1, 60.0))
    with call_context(Priority.MINUTES, 0, time.timer):
        ticket = budget.acquire()
    time.forward(20)
    budget.release(ticket)
    time.forward(59)
    assert spent(budget, time)
    time.forward(1.5)
    call(budget, time)


def test_who_can_wait_waits_and_who_cannot_is_told_at_once(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make(Limit(1, 60.0))
    began = call(budget, time)
    time.forward(57)
    assert call(budget, time, patience_s=5.0) == pytest.approx(began + 60, abs=0.3)
    before = time.at
    spent(budget, time)
    assert time.at == before


def test_two_processes_on_one_folder_share_one_budget(make: Callable[..., Budget], time: FakeTimer) -> None:
    one, other = make(), make()
    for _ in range(3):
        call(one, time)
    for _ in range(2):
        call(other, time)
    assert spent(one, time)
    assert spent(other, time)


def test_another_key_has_its_own_budget(make: Callable[..., Budget], time: FakeTimer) -> None:
    for _ in range(5):
        call(make(), time)
    call(make(key="another"), time)


def test_a_process_that_died_in_a_call_does_not_hold_its_place_for_ever(
    make: Callable[..., Budget], time: FakeTimer
) -> None:
    budget = make(Limit(1, 60.0))
    with call_context(Priority.MINUTES, 0, time.timer):
        budget.acquire()
    time.forward(90)
    call(budget, time)


def test_history_leaves_the_running_day_its_calls(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    budget.reserve_by(lambda: 3)
    call(budget, time, Priority.REPLAY)
    call(budget, time, Priority.REPLAY)
    assert spent(budget, time, Priority.REPLAY)
    for _ in range(3):
        call(budget, time, Priority.MINUTES)
    assert spent(budget, time, Priority.OPEN)


def test_a_backfill_leaves_replays_a_call(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    budget.reserve_by(lambda: 3)
    call(budget, time, Priority.BACKFILL)
    assert spent(budget, time, Priority.BACKFILL)
    call(budget, time, Priority.REPLAY)


def test_with_the_market_closed_history_may_have_it_all(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    for _ in range(5):
        call(budget, time, Priority.BACKFILL)
    assert spent(budget, time, Priority.OPEN)


def test_the_more_urgent_one_of_two_that_wait_goes_first() -> None:
    time = FakeTimer()
    budget = budget_of(MEMORY, time.timer, Limit(1, 60.0))
    call(budget, time)
    order: list[str] = []

    def wait(name: str, priority: Priority) -> None:
        call(budget, time, priority, 600.0)
        order.append(name)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(wait, "replay", Priority.REPLAY)
        wait_for(lambda: time.sleeping == 1)
        pool.submit(wait, "open", Priority.OPEN)
        wait_for(lambda: time.sleeping == 2)
        while len(order) < 2:
            time.forward(0.25)
            wait_for(lambda: time.sleeping == 2 - len(order), every_s=0.0005)
    assert order == ["open", "replay"]


@pytest.mark.parametrize(("said", "pause"), [(7.0, 7.0), (90.0, 90.0), (0.0, 1.0)])
def test_a_429_pauses_every_call_of_the_key_for_as_long_as_it_says(
    make: Callable[..., Budget], time: FakeTimer, said: float, pause: float
) -> None:
    budget = make(PAID_PLAN)
    reply = budget.observe(Reply(429, None, said))
    assert reply.retry_after == pause
    time.forward(pause - 0.5)
    assert spent(make(PAID_PLAN), time, Priority.OPEN).retry_after == 1.0
    time.forward(0.6)
    call(budget, time)


def test_a_call_in_the_providers_pause_is_told_of_the_pause_and_not_of_a_spent_budget(
    make: Callable[..., Budget], time: FakeTimer
) -> None:
    budget = make(PAID_PLAN)
    budget.observe(Reply(429, None, 7.0))
    assert budget.status().left == 50
    refusal = spent(budget, time)
    assert (refusal.message, refusal.code) == (
        "the provider asked for a pause, the next call may go in 7 s",
        "RATE_LIMITED",
    )


def test_a_wait_is_announced_with_what_it_is_for(tmp_path: Path, time: FakeTimer) -> None:
    heard: list[tuple[object, object]] = []

    def hear(event: str, **fields: object) -> None:
        if event == "call_waits":
            heard.append((fields["reason"], fields["seconds"]))

    budget = budget_of(tmp_path / "budget.sqlite3", time.timer, Limit(1, 60.0), hear)
    call(budget, time)
    call(budget, time, patience_s=90.0)
    time.forward(61)
    budget.observe(Reply(429, None, 7.0))
    call(budget, time, patience_s=30.0)
    assert heard == [("budget", 60), ("pause", 7)]


def rebuffed(budget: Budget, time: FakeTimer, said: float | None = None) -> float:
    """The pause after a 429; then it is over."""
    wait = budget.observe(Reply(429, None, said)).retry_after or 0.0
    time.forward(wait + 0.1)
    return wait


def test_a_429_without_a_word_pauses_twenty_forty_eighty_seconds(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make(PAID_PLAN)
    for least in (20, 40, 80, 80):
        assert least <= rebuffed(budget, time) <= least * 1.1
    budget.observe(Reply(200, {}))
    assert rebuffed(budget, time) < 23


def test_a_provider_that_says_one_second_again_and_again_is_not_believed(
    make: Callable[..., Budget], time: FakeTimer
) -> None:
    budget = make(PAID_PLAN)
    assert rebuffed(budget, time, 1.0) == 1.0
    assert rebuffed(budget, time, 1.0) >= 40
    assert rebuffed(budget, time, 300.0) == 300.0


def test_calls_that_are_refused_together_are_one_refusal(make: Callable[..., Budget]) -> None:
    budget = make(PAID_PLAN)
    assert [budget.observe(Reply(429, None, 7.0)).retry_after for _ in range(5)] == [7.0] * 5


def test_calls_whose_refusals_come_while_the_ledger_is_asked_are_one_refusal(
    make: Callable[..., Budget], time: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of calls that were under way together: none of them finds the pause of another in the ledger yet."""
    budget = make(PAID_PLAN)
    state, left, others = Budget._state, [1.0, 2.0, 3.0], list[float | None]()

    def meanwhile(own: Budget, ledger: Ledger) -> LedgerState:
        found = state(own, ledger)
        while left:
            others.append(budget.observe(Reply(429, None, left.pop())).retry_after)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Budget, "_state", meanwhile)
        assert rebuffed(budget, time, 4.0) == 4.0
    assert sorted(filter(None, others)) == [1.0, 2.0, 3.0]
    assert rebuffed(budget, time, 1.0) >= 40, "the next one is the second"


def test_a_refused_key_stops_all_calls_and_is_tried_again_later(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    budget.observe(Reply(401, None))
    with pytest.raises(Unavailable) as caught:
        call(budget, time)
    assert caught.value.part == "api_key"
    assert budget.status().key_refused
    time.forward(301)
    call(budget, time)
    assert not budget.status().key_refused


def test_its_state_can_be_seen(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make()
    call(budget, time)
    call(budget, time)
    status = budget.status()
    assert (status.limit, status.spent, status.left, status.last_minute) == (SMALL_PLAN, 2, 3, 2)
    budget.observe(Reply(429, None, 30.0))
    assert budget.status().paused_s == pytest.approx(30)


def test_a_paid_plan_has_fifty_a_second(make: Callable[..., Budget], time: FakeTimer) -> None:
    budget = make(PAID_PLAN)
    for _ in range(50):
        call(budget, time)
    assert spent(budget, time).retry_after == 1.0
    time.forward(1.01)
    call(budget, time)


def test_a_folder_that_cannot_be_written_makes_it_count_in_memory(tmp_path: Path, time: FakeTimer) -> None:
    (tmp_path / "file").write_text("not a folder")
    heard: list[str] = []
    budget = budget_of(tmp_path / "file" / "b.sqlite3", time.timer, emit=lambda event, **_: heard.append(event))
    for _ in range(5):
        call(budget, time)
    assert spent(budget, time)
    assert [event for event in heard if event != "call_withheld"] == ["budget_in_memory"]


def test_asking_for_the_budget_alone_brings_the_ledger_back_to_disk_with_what_was_spent(
    tmp_path: Path, time: FakeTimer
) -> None:
    heard: list[str] = []
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "budget.sqlite3"
    budget = budget_of(path, time.timer, emit=lambda event, **_: heard.append(event))
    for _ in range(3):
        call(budget, time)
    under_way = budget.acquire()
    (tmp_path / "file").unlink()
    assert budget.status().in_memory, "it is tried again now and then, not with every question"
    time.forward(REOPEN_AFTER_S)
    assert not budget.status().in_memory
    assert budget.status().spent == 4
    assert heard == ["budget_in_memory", "budget_shared"]
    other = budget_of(path, time.timer, emit=lambda event, **_: heard.append(event))
    assert other.status().spent == 4, "other processes see it"
    budget.release(under_way)
    assert other.status().spent == 4, "a ticket of the ledger in memory ends no call of another process"


def test_calls_and_pauses_that_come_while_the_ledger_gets_those_before_reach_it_too(
    tmp_path: Path, time: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "budget.sqlite3"
    budget = budget_of(path, time.timer)
    call(budget, time)
    (tmp_path / "file").unlink()
    time.forward(REOPEN_AFTER_S)
    add = SqliteLedger.add
    left: list[Callable[[], object]] = [
        lambda: call(budget, time),
        lambda: budget.observe(Reply(429, None, 30.0)),
    ]

    def meanwhile(ledger: SqliteLedger, *what: Any) -> None:
        add(ledger, *what)
        if left:
            left.pop(0)()

    monkeypatch.setattr(SqliteLedger, "add", meanwhile)
    assert not budget.status().in_memory
    found = budget_of(path, time.timer).status()
    assert (found.spent, found.paused_s) == (2, pytest.approx(30.0))


def test_a_ledger_that_breaks_at_run_time_goes_on_in_memory_with_what_was_spent(
    time: FakeTimer, tmp_path: Path
) -> None:
    heard: list[str] = []
    budget = budget_of(tmp_path / "budget.sqlite3", time.timer, emit=lambda event, **_: heard.append(event))
    call(budget, time)
    assert budget.status().spent == 1
    with sqlite3.connect(tmp_path / "budget.sqlite3") as db:
        db.execute("DROP TABLE calls")
    call(budget, time)
    assert heard == ["budget_in_memory"]
    assert budget.status().spent == 2


def test_the_key_is_not_in_the_ledger(time: FakeTimer, tmp_path: Path) -> None:
    budget = budget_of(tmp_path / "budget.sqlite3", time.timer)
    call(budget, time)
    budget.observe(Reply(429, None))
    budget.close()
    assert not [file for file in tmp_path.iterdir() if KEY.encode() in file.read_bytes()]


PROCESS = """
import sys, time
from pathlib import Path
from app.clock import Timer
from app.errors import BudgetSpent
from app.market.budget import Limit, Priority, call_context
from tests.market.budgets import budget_of, redis_budget_of
hear = lambda event, **_: event in ("call_withheld", "call_waits") or print(event)
def race(number):
    store, limit = sys.argv[1], Limit(int(sys.argv[2]), float(sys.argv[3]))
    if store.startswith("redis:"):
        budget = redis_budget_of(store, "b", Timer(), limit, hear)
    else:
        budget = budget_of(Path(store), Timer(), limit, hear)
    for _ in range(10):
        try:
            with call_context(Priority.MINUTES, float(sys.argv[4]), Timer()):
                ticket = budget.acquire()
            print(time.time(), flush=True)
            budget.release(ticket)
        except BudgetSpent:
            pass
"""


def moments(where: str, limit: Limit, patience_s: float) -> list[float]:
    """When the calls of six processes went, each of which tries ten."""
    return sorted(map(float, raced(PROCESS, 6, where, limit.calls, limit.window_s, patience_s)))


@pytest.fixture(params=["sqlite", "redis"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "b.sqlite3" if request.param == "sqlite" else request.getfixturevalue("redis_url"))


@pytest.mark.integration
def test_processes_that_race_let_exactly_the_budget_through(where: str) -> None:
    assert len(moments(where, Limit(20, 600.0), 0.0)) == 20


@pytest.mark.integration
def test_processes_that_wait_for_turns_never_exceed_the_limit_in_any_window(where: str) -> None:
    went = moments(where, Limit(15, 0.5), PATIENCE_S)
    assert len(went) == 60
    assert min(later - earlier for earlier, later in zip(went, went[15:], strict=False)) >= 0.5
