"""When a signal is valid: decision hours, validity, and which signal is shown at the turn of an hour (policy.md 10, rulings
S2-S4).

Pure: every moment is handed in.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app.market.calendar import NY, Session
from app.model.features import decision_hours, decision_moment

GRACE = timedelta(seconds=120)
"""How long after the turn of an hour (plus the plan's delay) the signal of the hour before stays (ruling S3)."""


def decision_hour(session: Session, at: datetime) -> int | None:
    """Returns the latest decision hour at or before `at`; None before the first one. `at` lies on the session's day."""
    hour = at.astimezone(NY).hour
    return max((h for h in decision_hours(session) if h <= hour), default=None)


def previous_hour(session: Session, hour: int) -> int | None:
    """Returns the decision hour before `hour`, if there is one."""
    return max((h for h in decision_hours(session) if h < hour), default=None)


def validity(session: Session, hour: int) -> tuple[datetime, datetime]:
    """Returns (locked_at, lock_expires_at): H:00, and (H+1):00 or the close, whichever is first (ruling S4)."""
    locked_at = decision_moment(session, hour)
    return locked_at, min(locked_at + timedelta(hours=1), session.close)


def still_stands(session: Session, hour: int, at: datetime, delay: timedelta) -> bool:
    """Whether the signal of the hour before `hour` may be shown in its place at `at`, because the data are not there yet."""
    return at < decision_moment(session, hour) + delay + GRACE
