"""Which announced closures are believed, and which past ones bars have to confirm (policy.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from app.errors import Upstream
from app.market.announcements.rows import AnnouncedDays
from app.market.calendar import CLOSE, close_by_rule, differs_from_rules, ny, ny_day

MONTH = timedelta(days=30)
MOST_UNSCHEDULED = 7
"""Days from a MONTH ago on that may differ from the rules. The longest unscheduled closure since 1933 had four days (2001)."""

ASKED_FROM = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Closure:
    """A day whose hours differ from the rules. `close`: None for a day without trading; `confirmed`: the day of asking of the
    last list that named it, None if that is not known."""

    close: time | None
    confirmed: date | None


Closures = Mapping[date, Closure]


def merged(known: Closures, announced: AnnouncedDays, at: datetime) -> Closures:
    """Returns what is known after an answer of the moment `at`. Days that are over stay unless they are announced anew. Of the
    others, today included, a day that lies before the last one of the answer and is not in it was withdrawn. Raises Upstream
    for an answer that cannot be right."""
    if not announced.days:
        raise Upstream("the provider's list of holidays has no usable row")
    today, last = ny_day(at), max(announced.days)
    confirmed = asking_day(at)
    unscheduled = {
        day: Closure(close, confirmed) for day, close in announced.days.items() if differs_from_rules(day, close)
    }
    kept = {d: c for d, c in known.items() if d not in announced.days and (_is_over(d, c.close, at) or d > last)}
    if len(unscheduled) + sum(day >= today - MONTH for day in kept) > MOST_UNSCHEDULED:
        raise Upstream("the provider announces more unscheduled closures than can be right")
    return {**kept, **unscheduled}


def _is_over(day: date, close: time | None, at: datetime) -> bool:
    """Whether `day`, which closes at `close`, is over at `at`: today is the future until its close (policy.md 1). A day
    without trading is over when it would have closed by the rules."""
    return at >= ny(day, close or close_by_rule(day) or CLOSE)


def is_doubtful(day: date, closure: Closure, today: date) -> bool:
    """Whether `day` is past and no list that was read on it from 08:00 New York on named it, so that the closure may
    have been withdrawn unnoticed. A list of the night before counts as one of the day before."""
    return day < today and (closure.confirmed is None or closure.confirmed < day)


def asking_day(at: datetime) -> date:
    """Returns the day of asking, which begins at 08:00 New York, so that what is announced over night is known before the
    open."""
    return ny_day(at - ASKED_FROM)
