"""Market time: the one seam through which the server reads a clock. `Clock()` gives an aware New York moment.

Limits, deadlines and cache ages use the machine's monotonic time instead (ruling M3).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from app.market.calendar import NY

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, in New York."""
    return datetime.now(NY)


def running_clock(start: datetime, speed: float, began: datetime, wall: Clock = wall_clock) -> Clock:
    """A clock that read `start` at the moment `began` and runs `speed` market seconds per real second (ruling M2)."""

    def now() -> datetime:
        return (start + timedelta(seconds=speed * (wall() - began).total_seconds())).astimezone(NY)

    return now
