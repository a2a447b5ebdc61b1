"""A call with its tries (polygon.md 6): which failures are tried again, how often, and until when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import BudgetSpent, Unavailable, Upstream
from app.market.budget import Priority, call_context
from app.market.calling import is_failure, kind_of, with_budget, with_retries
from app.market.polygon import Reply
from tests.market.budgets import budget_of
from tests.support import FakeTimer

GOOD = Reply(200, {"status": "OK"})


def answering(*answers: Reply | Exception) -> Callable[..., Reply]:
    rest = list(answers)

    def call(path: str, params: Any) -> Reply:
        answer = rest.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    call.rest = rest  # type: ignore[attr-defined]
    return call


def ask(call: Callable[..., Reply], time: FakeTimer, patience_s: float = 60.0) -> Reply:
    with call_context(Priority.MINUTES, patience_s, time.timer):
        return with_retries(call, time.timer)("/v2/x", {})


@pytest.mark.parametrize("failure", [Reply(500, None), Reply(502, None), Reply(200, None), Upstream("time-out")])
def test_a_transient_failure_is_tried_again(failure: Any) -> None:
    time = FakeTimer(hasty=True)
    assert ask(answering(failure, failure, GOOD), time) == GOOD
    assert time.slept == [1.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_a_refusal_is_an_answer_and_is_not_asked_for_twice(status: int) -> None:
    time = FakeTimer(hasty=True)
    assert ask(answering(Reply(status, None)), time).status == status
    assert time.slept == []


def test_an_error_in_a_good_answer_is_not_asked_for_twice() -> None:
    assert ask(answering(Reply(200, {"status": "ERROR"})), FakeTimer(hasty=True)).body == {"status": "ERROR"}


def test_after_the_fourth_try_the_failure_is_the_answer() -> None:
    time = FakeTimer(hasty=True)
    assert ask(answering(*[Reply(503, None)] * 4), time).status == 503
    assert time.slept == [1.0, 2.0, 4.0]
    with pytest.raises(Upstream, match="gone"):
        ask(answering(*[Upstream("gone")] * 4), time)


def test_no_try_begins_after_the_end_of_the_callers_patience() -> None:
    time = FakeTimer(hasty=True)
    call = answering(*[Reply(500, None)] * 4)
    assert ask(call, time, patience_s=3.5).status == 500
    assert time.slept == [1.0, 2.0]


def test_a_spent_budget_ends_the_tries_with_the_first_failure() -> None:
    assert ask(answering(Reply(500, None), BudgetSpent("spent")), FakeTimer(hasty=True)).status == 500


def test_a_spent_budget_alone_is_said() -> None:
    with pytest.raises(BudgetSpent):
        ask(answering(BudgetSpent("spent")), FakeTimer(hasty=True))


def test_every_try_costs_a_call(tmp_path: Path) -> None:
    time = FakeTimer(hasty=True)
    budget = budget_of(tmp_path / "b.sqlite3", time.timer)
    ask(with_budget(answering(Reply(500, None), Reply(500, None), GOOD), budget), time)
    assert budget.status().spent == 3


def test_a_call_that_broke_gives_its_place_back(tmp_path: Path) -> None:
    time = FakeTimer(hasty=True)
    budget = budget_of(tmp_path / "b.sqlite3", time.timer)
    with call_context(Priority.MINUTES, 0, time.timer), pytest.raises(Upstream):
        with_budget(answering(Upstream("reset")), budget)("/v2/x", {})
    time.forward(61)
    assert budget.status().spent == 0


def test_what_the_provider_says_of_the_key_stops_the_next_call(tmp_path: Path) -> None:
    time = FakeTimer(hasty=True)
    budget = budget_of(tmp_path / "b.sqlite3", time.timer)
    call = answering(Reply(401, None), GOOD)
    ask(with_budget(call, budget), time)
    with pytest.raises(Unavailable, match="API key"):
        ask(with_budget(call, budget), time)
    assert call.rest == [GOOD]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        (GOOD, False),
        (GOOD._replace(took_s=3.1), True),
        (Reply(503, None), True),
        (Reply(200, None), True),
        (Reply(429, None), False),
        (Reply(401, None), False),
        (Reply(403, {}), False),
        (Reply(404, None), False),
    ],
)
def test_what_counts_against_the_providers_health(reply: Reply, counts: bool) -> None:
    assert is_failure(reply) is counts


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/aggs/ticker/SPY/range/1/minute/2025-03-11/2025-03-11", "bars"),
        ("/v2/aggs/ticker/SPY/range/1/day/2023-03-11/2025-03-11", "days"),
        ("/v2/snapshot/locale/us/markets/stocks/tickers/SPY", "snapshot"),
        ("/v1/marketstatus/now", "status"),
    ],
)
def test_kinds_of_call_fail_separately(path: str, kind: str) -> None:
    assert kind_of(path) == kind
