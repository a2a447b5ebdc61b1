"""How a call to the provider is made: metered by the budget, and tried again while its errand has time (polygon.md 6); the
date of its answer is held against this process's clock.

Each function takes a transport and is one. What wraps them further out, the breaker, sees a call with all its tries
as one, and judges it by `failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.clock import Timer
from app.errors import BudgetSpent, Upstream
from app.market.budget import Budget, current_errand
from app.market.plan import ClockSkew
from app.market.polygon import Reply, Transport


class Reachability:
    """Whether the provider answers at all. `is_answered`: None before the first call has ended, True once one was answered,
    whatever the answer and whichever process on this machine made the call. `failure`: why this process's last call was not
    answered, None if it was. Safe between threads: the last word stands. `emit("provider_reached", ...)` hears of a change of
    `is_answered`."""

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self.is_answered: bool | None = None
        self.failure: str | None = None

    def observe(self, failure: str | None) -> None:
        """A call has ended: answered, or not, for this reason."""
        self.failure = failure
        self._conclude(bool(self.is_answered) or failure is None)

    def observe_elsewhere(self) -> None:
        """A call of another process was answered."""
        self._conclude(True)

    def _conclude(self, is_answered: bool) -> None:
        before, self.is_answered = self.is_answered, is_answered
        if is_answered != before:
            self._emit("provider_reached", answered=self.is_answered)


RETRIES_S = (1.0, 2.0, 4.0)
"""Waits before the second, third and fourth try."""

SLOW_S = 3.0
"""A call that takes longer is a failure to the breaker, however good its answer (ruling A2)."""

PREFIXES = {"/v2/snapshot/": "snapshot", "/v1/marketstatus/": "status"}


def metered(call: Transport, budget: Budget) -> Transport:
    """`call` when the budget gives it a turn. Raises BudgetSpent or Unavailable when it does not."""

    def within_budget(path: str, params: Mapping[str, str]) -> Reply:
        ticket = budget.acquire()
        try:
            reply = call(path, params)
        finally:
            budget.release(ticket)
        return budget.heed(reply)

    return within_budget


def dated(call: Transport, skew: ClockSkew) -> Transport:
    """`call`; the dates of its good answers tell how far this process's clock is off."""

    def observing(path: str, params: Mapping[str, str]) -> Reply:
        reply = call(path, params)
        if reply.status == 200 and reply.date is not None:
            skew.observe(reply.date, reply.took_s)
        return reply

    return observing


def observed(call: Transport, reachability: Reachability) -> Transport:
    """`call`; whether it was answered is told."""

    def observing(path: str, params: Mapping[str, str]) -> Reply:
        try:
            reply = call(path, params)
        except Upstream as exc:
            reachability.observe(exc.message)
            raise
        reachability.observe(None)
        return reply

    return observing


def persistent(call: Transport, timer: Timer) -> Transport:
    """`call`, again after 1, 2 and 4 seconds when it failed in passing; no try begins after the errand's end."""

    def with_retries(path: str, params: Mapping[str, str]) -> Reply:
        found = _try(call, path, params)
        for wait in RETRIES_S:
            if not _passing(found) or timer.now() + wait > current_errand(timer).ends:
                break
            timer.sleep(wait)
            again = _try(call, path, params)
            if isinstance(again, BudgetSpent):
                break
            found = again
        if isinstance(found, Reply):
            return found
        raise found

    return with_retries


def _try(call: Transport, path: str, params: Mapping[str, str]) -> Reply | Upstream | BudgetSpent:
    try:
        return call(path, params)
    except (Upstream, BudgetSpent) as exc:
        return exc


def _passing(found: Reply | Upstream | BudgetSpent) -> bool:
    """Whether another try may help: the provider is in trouble, or what came was not JSON."""
    if isinstance(found, Reply):
        return found.status >= 500 or (found.status == 200 and found.body is None)
    return isinstance(found, Upstream)


def failed(reply: Reply) -> bool:
    """Whether an answer counts against the provider's health; refusals (4xx) are answers."""
    return _passing(reply) or reply.took_s > SLOW_S


def outcome(reply: Reply) -> str:
    """How a single call ended: `ok`, `slow` (good, but too late), `limited` (429), `refused` (any other 4xx), `failed`."""
    if _passing(reply):
        return "failed"
    if reply.status == 429:
        return "limited"
    return "refused" if reply.status >= 400 else "slow" if reply.took_s > SLOW_S else "ok"


def kind_of(path: str) -> str:
    """The kinds of call that fail separately: bars by span, snapshots, market status."""
    for prefix, kind in PREFIXES.items():
        if path.startswith(prefix):
            return kind
    parts = path.split("/range/")
    return "days" if len(parts) == 2 and "/day/" in parts[1] else "bars"
