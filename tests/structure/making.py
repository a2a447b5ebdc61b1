"""Bars made to order: a session of one-minute bars, some weeks of daily bars, and views of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

import numpy as np

from app.market.bars import Bars, to_ms
from app.market.calendar import Calendar, midnight_ms, ny
from app.structure import View, view_at
from app.structure.levels import Levels, measure
from app.structure.truth import Truth, base_truth

CALENDAR = Calendar()
DAY = date(2025, 12, 5)  # a Friday without an early close
HALF_DAY = date(2025, 11, 28)
MINUTE_MS = 60_000
OPEN = time(9, 30)

Column = Sequence[float] | None


def columns(closes: Sequence[float], o: Column, h: Column, low: Column, v: Column) -> dict[str, np.ndarray]:
    """The price and volume columns; what is not given is the close, a range around open and close, 1000 shares."""
    c = np.array(closes, dtype=np.float64)
    opens = c if o is None else np.array(o, dtype=np.float64)
    return {
        "o": opens,
        "h": np.maximum(opens, c) if h is None else np.array(h, dtype=np.float64),
        "l": np.minimum(opens, c) if low is None else np.array(low, dtype=np.float64),
        "c": c,
        "v": np.full(len(c), 1000.0) if v is None else np.array(v, dtype=np.float64),
    }


def minutes(
    closes: Sequence[float],
    *,
    o: Column = None,
    h: Column = None,
    low: Column = None,
    v: Column = None,
    start: time = OPEN,
    day: date = DAY,
) -> Bars:
    """One-minute bars without gaps from `start` on."""
    first = to_ms(ny(day, start))
    t = first + MINUTE_MS * np.arange(len(closes), dtype=np.int64)
    return Bars(t=t, end=t + MINUTE_MS, **columns(closes, o, h, low, v))


def joined(*parts: Bars) -> Bars:
    """Series that follow one another as one."""
    return Bars(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Bars.__slots__})


def days(
    closes: Sequence[float],
    *,
    o: Column = None,
    h: Column = None,
    low: Column = None,
    v: Column = None,
    before: date = DAY,
) -> Bars:
    """Daily bars of the last trading days before `before`."""
    dates: list[date] = []
    for _ in closes:
        dates.append(CALENDAR.previous_trading_day(dates[-1] if dates else before))
    t = np.array([midnight_ms(day) for day in reversed(dates)], dtype=np.int64)
    return Bars(t=t, end=CALENDAR.day_ends(t), **columns(closes, o, h, low, v))


def after(bars: Bars) -> datetime:
    """The moment the last bar ends."""
    return datetime.fromtimestamp(int(bars.end[-1]) / 1000, tz=ny(DAY, OPEN).tzinfo)


def view(bars: Bars, daily: Bars | None = None, *, at: datetime | None = None, opened: float | None = None) -> View:
    """The view at the end of `bars`, or at `at`."""
    moment = at or after(bars)
    return view_at(
        bars, bars[:0] if daily is None else daily, CALENDAR.session_at(moment), moment, official_open=opened
    )


def night(daily: Bars) -> View:
    """The view late on the last of these days."""
    at = after(daily) + timedelta(hours=1)
    return view_at(daily[:0], daily, CALENDAR.session_at(at), at)


def read(bars: Bars, daily: Bars | None = None, *, opened: float | None = None) -> tuple[View, Levels, Truth]:
    """View, levels and truth at the end of `bars`."""
    seen = view(bars, daily, opened=opened)
    levels = measure(seen)
    return seen, levels, base_truth(seen, levels)


def truth_of(bars: Bars, daily: Bars | None = None, *, opened: float | None = None) -> Truth:
    return read(bars, daily, opened=opened)[2]
