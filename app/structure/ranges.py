"""The price ranges of a day and of the trading day before it, by their times in New York (v1-contract.md 5.4).

Cuts minute bars into windows and measures them. Never looks past the moment it is asked for, and names no levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from app.market.bars import Bars
from app.market.calendar import Session, ny

PREMARKET_OPEN = time(4, 0)  # v1-contract.md 5.4, this and the two below
AFTERMARKET_CLOSE = time(20, 0)
FIRST_MINUTES = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Range:
    """Highest and lowest price of a window, USD."""

    high: float
    low: float


@dataclass(frozen=True, slots=True)
class Premarket(Range):
    """Today 04:00 to the open."""

    open: float
    close: float


@dataclass(frozen=True, slots=True)
class FirstHalfHour(Range):
    """The first 30 minutes of the session; `range` is high less low, USD."""

    range: float


@dataclass(frozen=True, slots=True)
class CurrentSession(Range):
    """Today's session so far."""

    open: float
    last: float


@dataclass(frozen=True, slots=True)
class YesterdaySession(Range):
    """The session of the trading day before."""

    close: float


@dataclass(frozen=True, slots=True)
class Ranges:
    """Each None as long as no bar of its window has ended.

    aftermarket    of the previous trading day, from its close to 20:00
    rolling_24h    the extremes of the four other windows but yesterday's session
    """

    premarket: Premarket | None
    first_30min: FirstHalfHour | None
    current_session: CurrentSession | None
    aftermarket: Range | None
    yesterday_session: YesterdaySession | None
    rolling_24h: Range | None


def price_ranges(
    at: datetime, session: Session | None, minutes: Bars, previous: Session, previous_minutes: Bars
) -> Ranges:
    """The ranges known at `at`.

    session           of the New York day of `at`; None if it is not a trading day, then nothing is said of today
    minutes           that day's one-minute bars, extended hours included
    previous          the session of the trading day before, with its bars in previous_minutes
    """
    today, before = minutes.until(at), previous_minutes.until(at)
    premarket = _premarket(session, today) if session else None
    first = _first_30min(session, today) if session else None
    current = _current_session(session, today) if session else None
    aftermarket = _aftermarket(previous, before)
    return Ranges(
        premarket=premarket,
        first_30min=first,
        current_session=current,
        aftermarket=aftermarket,
        yesterday_session=_yesterday_session(previous, before),
        rolling_24h=_around(premarket, first, current, aftermarket),
    )


def _premarket(session: Session, minutes: Bars) -> Premarket | None:
    bars = _between(minutes, ny(session.day, PREMARKET_OPEN), session.open)
    return Premarket(_high(bars), _low(bars), float(bars.o[0]), float(bars.c[-1])) if len(bars) else None


def _first_30min(session: Session, minutes: Bars) -> FirstHalfHour | None:
    bars = _between(minutes, session.open, session.open + FIRST_MINUTES)
    return FirstHalfHour(_high(bars), _low(bars), _high(bars) - _low(bars)) if len(bars) else None


def _current_session(session: Session, minutes: Bars) -> CurrentSession | None:
    bars = _between(minutes, session.open, session.close)
    return CurrentSession(_high(bars), _low(bars), float(bars.o[0]), float(bars.c[-1])) if len(bars) else None


def _aftermarket(previous: Session, minutes: Bars) -> Range | None:
    bars = _between(minutes, previous.close, ny(previous.day, AFTERMARKET_CLOSE))
    return Range(_high(bars), _low(bars)) if len(bars) else None


def _yesterday_session(previous: Session, minutes: Bars) -> YesterdaySession | None:
    bars = _between(minutes, previous.open, previous.close)
    return YesterdaySession(_high(bars), _low(bars), float(bars.c[-1])) if len(bars) else None


def _around(*ranges: Range | None) -> Range | None:
    """The range that holds all that are there."""
    known = [r for r in ranges if r is not None]
    return Range(max(r.high for r in known), min(r.low for r in known)) if known else None


def _between(minutes: Bars, start: datetime, end: datetime) -> Bars:
    return minutes.since(start).until(end)


def _high(bars: Bars) -> float:
    return float(bars.h.max())


def _low(bars: Bars) -> float:
    return float(bars.l.min())
