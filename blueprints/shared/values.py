"""Values as every version sends and reads them: moments, days, ages, prices, probabilities, dataclasses as dicts."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Any

from app.market.calendar import NY
from app.signals.policy import Decision, shown_active, shown_other

Json = dict[str, Any]
MINUTE = timedelta(minutes=1)


def iso(at: datetime) -> str:
    """ISO 8601 with New York's offset, in whole minutes also before there were time zones; milliseconds where there are
    any."""
    local = at.astimezone(NY)
    offset = local.utcoffset() or timedelta(0)
    if offset % MINUTE:
        local = at.astimezone(timezone(offset // MINUTE * MINUTE))
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def age_s(as_of: datetime | None, at: datetime) -> int | None:
    """Whole market seconds from `as_of` to `at`; None where nothing is known."""
    return None if as_of is None else int((at - as_of).total_seconds())


def parse_day(text: str) -> date | None:
    """The day of the calendar that YYYY-MM-DD names; None for any other text."""
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None


def time_et(at: datetime) -> str:
    return at.astimezone(NY).strftime("%I:%M %p ET")


def price(value: float | None) -> float | None:
    """USD, two decimals, rounded once, here (ruling S5)."""
    return None if value is None else round(value, 2)


def change_pct(now: float | None, official: float | None) -> float | None:
    """Per cent against the official open, two decimals; adding 0.0 makes 0.0 of -0.0."""
    return None if now is None or official is None else round((now / official - 1) * 100, 2) + 0.0


def probabilities(decision: Decision) -> tuple[float, float]:
    """(A, B) as emitted: the active one rounded to the safe side (policy.md 4)."""
    return shown_probabilities(decision.p_a, decision.p_b, early=decision.session == "early")


def shown_probabilities(p_a: float, p_b: float, *, early: bool) -> tuple[float, float]:
    """(A, B) as emitted, from unrounded ones. early: before 11:00, where A is the active one."""
    return (shown_active if early else shown_other)(p_a), (shown_other if early else shown_active)(p_b)


def plain(value: Any) -> Any:
    """Dataclasses as dicts by field name, tuples as lists, enums as their values, moments as ISO text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return iso(value) if isinstance(value, datetime) else value
