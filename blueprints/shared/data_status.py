"""How fresh an answer is (ruling V3), and what makes it count as delayed or stale."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from app.market.plan import Plan
from blueprints.shared.values import Json, age_s, iso


class Dated(Protocol):
    """What is said of a ticker (a signal, a state): the end of the newest bar that it rests on, whether newer ones should be
    here, and whether it is still the hour before's."""

    @property
    def as_of(self) -> datetime | None: ...
    @property
    def stale(self) -> bool: ...
    @property
    def waiting(self) -> bool: ...


def data_status(at: datetime, answers: Iterable[Dated], plan: Plan, *, failed: bool = False) -> Json:
    """How fresh what was answered is (ruling V3); of several tickers, the oldest. failed: the data of a ticker that was asked
    for could not be had. Where no data can come from anywhere, or none have come, nothing is fresh;
    nor is a plan that lacks the running day."""
    answers = list(answers)
    as_of = min((answer.as_of for answer in answers if answer.as_of is not None), default=None)
    nothing = not plan.has_data or (as_of is None and not plan.is_answered)
    lacks_today = plan.ends_on is not None
    return {
        "source": plan.market.value,
        "plan": plan.shown_name,
        "delayed": bool(plan.delay) or any(answer.waiting for answer in answers),
        "stale": failed or nothing or lacks_today or any(answer.stale for answer in answers),
        "as_of": iso(as_of) if as_of else None,
        "age_s": age_s(as_of, at),
    }
