"""How a call to the provider is made: within the budget, with retries while its caller's patience lasts (polygon.md 6), and
with a measurement of this process's clock against the date of the answer.

Each function takes a transport and returns a transport. The breaker wraps them all, counts a call and its retries as
one call, and uses `is_failure` to tell whether that one failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.clock import Timer
from app.errors import BudgetSpent, Upstream
from app.market.budget import Budget, current_call_context
from app.market.plan import ClockSkew
from app.market.polygon import Reply, Transport


class Reachability:
    """Whether the provider answers at all. `is_answered` is None before the first call has ended, and True once a call was
    answered, whatever the answer said and whichever process on this machine made the call. `failure` is why this process's
    last call was not answered, or None if it was. It is safe between threads: the last observation wins. A change of
    `is_answered` is emitted as `provider_reached`."""

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self.is_answered: bool | None = None
        self.failure: str | None = None

    def observe(self, failure: str | None) -> None:
        """Records that a call has ended: `failure` is why it was not answered, or None if it was."""
        self.failure = failure
        self._conclude(bool(self.is_answered) or failure is None)

    def observe_elsewhere(self) -> None:
        """Records that a call of another process was answered."""
        self._conclude(True)

    def _conclude(self, is_answered: bool) -> None:
        before, self.is_answered = self.is_answered, is_answered
        if is_answered != before:
            self._emit("provider_reached", answered=self.is_answered)


RETRIES_S = (1.0, 2.0, 4.0)
"""Seconds of waiting before the second, third and fourth try."""

SLOW_S = 3.0
"""Seconds after which an answer counts as a failure for the breaker, however good it is (ruling A2)."""

PREFIXES = {"/v2/snapshot/": "snapshot", "/v1/marketstatus/": "status"}


def with_budget(call: Transport, budget: Budget) -> Transport:
    """Makes `call` only when the budget has a turn for it. The transport raises BudgetSpent or Unavailable when there is
    none."""

    def within_budget(path: str, params: Mapping[str, str]) -> Reply:
        ticket = budget.acquire()
        try:
            reply = call(path, params)
        finally:
            budget.release(ticket)
        return budget.observe(reply)

    return within_budget


def with_clock_skew(call: Transport, skew: ClockSkew) -> Transport:
    """Measures how far this process's clock is off by the dates of the good answers to `call`."""

    def observing(path: str, params: Mapping[str, str]) -> Reply:
        reply = call(path, params)
        if reply.status == 200 and reply.date is not None:
            skew.observe(reply.date, reply.took_s)
        return reply

    return observing


def with_reachability(call: Transport, reachability: Reachability) -> Transport:
    """Records whether `call` was answered."""

    def observing(path: str, params: Mapping[str, str]) -> Reply:
        try:
            reply = call(path, params)
        except Upstream as exc:
            reachability.observe(exc.message)
            raise
        reachability.observe(None)
        return reply

    return observing


def with_retries(call: Transport, timer: Timer) -> Transport:
    """Repeats `call` after 1, 2 and 4 seconds while its failure may be transient. No try begins after the end of its
    caller's patience."""

    def retrying(path: str, params: Mapping[str, str]) -> Reply:
        result = _try(call, path, params)
        for wait in RETRIES_S:
            if not _is_transient(result) or timer.now() + wait > current_call_context(timer).ends:
                break
            timer.sleep(wait)
            again = _try(call, path, params)
            if isinstance(again, BudgetSpent):
                break
            result = again
        if isinstance(result, Reply):
            return result
        raise result

    return retrying


def _try(call: Transport, path: str, params: Mapping[str, str]) -> Reply | Upstream | BudgetSpent:
    try:
        return call(path, params)
    except (Upstream, BudgetSpent) as exc:
        return exc


def _is_transient(result: Reply | Upstream | BudgetSpent) -> bool:
    """Whether another try may help: the provider has an error of its own, or the answer was not JSON."""
    if isinstance(result, Reply):
        return result.status >= 500 or (result.status == 200 and result.body is None)
    return isinstance(result, Upstream)


def is_failure(reply: Reply) -> bool:
    """Whether an answer counts as a failure of the provider. A refusal (4xx) does not."""
    return _is_transient(reply) or reply.took_s > SLOW_S


def outcome(reply: Reply) -> str:
    """How a single call ended: `ok`, `slow` (good, but late), `limited` (429), `refused` (any other 4xx) or `failed`."""
    if _is_transient(reply):
        return "failed"
    if reply.status == 429:
        return "limited"
    return "refused" if reply.status >= 400 else "slow" if reply.took_s > SLOW_S else "ok"


def kind_of(path: str) -> str:
    """The kind of a call, each with a circuit of its own: `days`, `bars`, `snapshot` or `status`."""
    for prefix, kind in PREFIXES.items():
        if path.startswith(prefix):
            return kind
    parts = path.split("/range/")
    return "days" if len(parts) == 2 and "/day/" in parts[1] else "bars"
