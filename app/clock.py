"""Time: the only place where the server reads a clock. A `Clock` returns market time, a timezone-aware moment in New York.

Limits, deadlines, pauses and the breaker use a `Timer`, which is real time (ruling M3).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.market.calendar import NY

Clock = Callable[[], datetime]


def sleep(seconds: float) -> None:
    """Wait so many seconds. With 0, all other work has a turn, requests that have just come in included.

    Under gevent a sleep of 0 does less: up to 50 greenlets that can go on do so before the event loop looks at its sockets
    again. What waits with the highest priority for an idle loop goes on after that look, which neither waits for sockets nor
    can be put off by busy ones.
    """
    if seconds > 0 or not _is_under_gevent():
        time.sleep(seconds)
    else:
        import gevent

        gevent.idle(gevent.get_hub().loop.MAXPRI)


def _is_under_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("time")


@dataclass(frozen=True, slots=True)
class Timer:
    """Real seconds. now: since some moment, and never backwards; epoch: since 1970, the same for all processes of a machine;
    sleep: waits so many seconds; 0 gives all other work a turn."""

    now: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time
    sleep: Callable[[float], None] = sleep


REAL_TIME: Final = Timer()
"""The machine's own time, for waits on other processes and machines, which no test's time makes shorter."""


def wall_clock() -> datetime:
    """Now, in New York."""
    return datetime.now(NY)


def running_clock(start: datetime, speed: float, began: datetime, wall: Clock = wall_clock) -> Clock:
    """A clock that read `start` at the moment `began` and runs `speed` market seconds per real second (ruling M2)."""

    def now() -> datetime:
        return (start + timedelta(seconds=speed * (wall() - began).total_seconds())).astimezone(NY)

    return now
