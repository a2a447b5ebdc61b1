"""What was known of one ticker at a moment: its minute bars, its days, and today's bar as far as it had come.

The only door into the structure engines: everything that could look ahead, repaint or mix pre-market bars into the
session is settled here, once (northstar.md 9: N1, N7, N8; rulings T1, T5). Measures nothing and judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from app.errors import BrokenData
from app.market.bars import Bars, to_ms
from app.market.calendar import NY, Session, midnight_ms

ENOUGH_MINUTES = 30  # below it an intraday reading is unresolved (northstar.md 3, rule 0) and N8 keeps all bars
DAILY_WINDOW = timedelta(days=90)  # ruling T5
LEAST_USD, MOST_USD = 1e-6, 1e9  # a price outside is broken; inside, no formula of the package can overflow
MOST_SHARES = {"minute": 1e15, "daily": 1e18}  # a day holds every minute


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One ticker as known at `at`; made by `view_at` only.

    minutes    one-minute bars of the New York day of `at` that had ended by then: from 09:30 on the regular session's
               alone once 30 of them exist, else all of the day (N8)
    days       daily bars of the last 90 calendar days, ascending; the last one may be today so far
    completed  those of `days` that came as ended daily bars
    has_today  whether days[-1] is the day of `at`
    """

    at: datetime
    session: Session | None
    minutes: Bars
    days: Bars
    completed: Bars
    has_today: bool

    @property
    def resolved(self) -> bool:
        """Whether there are minute bars enough to read (northstar.md 3, rule 0)."""
        return len(self.minutes) >= ENOUGH_MINUTES

    @property
    def today_open(self) -> float | None:
        """Open of today's daily bar, USD; None while there is none (N1)."""
        return float(self.days.o[-1]) if self.has_today else None


@dataclass(frozen=True, slots=True)
class Activity:
    """What a caller may know beside the bars; the defaults are what every route supplies (northstar.md 1, 4; R10)."""

    signals_last_10m: int = 0
    time_since_acceptance_minutes: int = 0
    levels: int = 0
    firing_timeframes: int = 0
    stalled: bool = False
    volatility_dislocated: bool = False


QUIET = Activity()


def view_at(
    minutes: Bars, daily: Bars, session: Session | None, at: datetime, *, official_open: float | None = None
) -> View:
    """What these bars say at `at`; whatever ends later is not seen.

    minutes: one-minute bars, extended hours included; other days are left out. daily: daily bars that end at their
    session's close. session: the session of the New York day of `at`, None if it does not trade. official_open: USD,
    of that session (ruling T1), None while unknown. Once today's daily bar has ended it is taken as delivered; before,
    today is the official open and the range of the regular minutes so far.

    Raises ValueError if `session` is of another day, BrokenData if a price or volume is beyond all reason.
    """
    day = at.astimezone(NY).date()
    if session is not None and session.day != day:
        raise ValueError(f"session of {session.day} given for a moment on {day}")
    midnight = midnight_ms(day)
    known = _since(minutes.until(at), midnight)
    completed = _since(daily.until(at), midnight_ms(day - DAILY_WINDOW))
    regular = _regular(known, session)
    days = completed
    if official_open is not None and session is not None and at >= session.open and not _holds(completed, midnight):
        days = _with_today(completed, regular, midnight, to_ms(session.close), official_open)
    _refuse_absurd(known, "minute")
    _refuse_absurd(days, "daily")
    return View(
        at=at,
        session=session,
        minutes=regular if len(regular) >= ENOUGH_MINUTES else known,
        days=days,
        completed=completed,
        has_today=_holds(days, midnight),
    )


def _since(bars: Bars, ms: int) -> Bars:
    return bars[int(np.searchsorted(bars.t, ms)) :]


def _regular(minutes: Bars, session: Session | None) -> Bars:
    """The bars that start inside the regular session (N8)."""
    if session is None:
        return minutes[:0]
    first, last = np.searchsorted(minutes.t, (to_ms(session.open), to_ms(session.close)))
    return minutes[int(first) : int(last)]


def _holds(days: Bars, midnight: int) -> bool:
    return len(days) > 0 and int(days.t[-1]) >= midnight


def _with_today(completed: Bars, regular: Bars, midnight: int, close: int, official_open: float) -> Bars:
    """The completed days, and today as far as its regular minutes have come (N7, ruling T1)."""
    last = float(regular.c[-1]) if len(regular) else official_open
    return Bars(
        t=np.concatenate((completed.t, (midnight,))),
        end=np.concatenate((completed.end, (close,))),
        o=np.concatenate((completed.o, (official_open,))),
        h=np.concatenate((completed.h, (regular.h.max(initial=official_open),))),
        l=np.concatenate((completed.l, (regular.l.min(initial=official_open),))),
        c=np.concatenate((completed.c, (last,))),
        v=np.concatenate((completed.v, (regular.v.sum(),))),
    )


def _refuse_absurd(bars: Bars, kind: str) -> None:
    if not len(bars):
        return
    low, high, volume = bars.l.min(), bars.h.max(), bars.v.max()
    if low < LEAST_USD or high > MOST_USD or volume > MOST_SHARES[kind]:
        raise BrokenData(f"{kind} bars beyond all reason: {low:g} to {high:g} USD, up to {volume:g} shares a bar")
