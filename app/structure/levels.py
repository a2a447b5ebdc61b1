"""What both intraday engines read off the bars: extremes, true ranges, key levels, pivots; each measured once.

Also the few formulas of the notation that the swing engine shares. Gives numbers only: it never names a direction,
a state or a chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.market.bars import Bars, Floats
from app.structure.view import View

RANGE_BARS = 30  # the range of acceptance and range state (northstar.md 3.3, 3.4)
RECENT_BARS = 15  # recent and retest levels (northstar.md 3.9)
BREAK_BARS = 10  # breakouts and rotation (northstar.md 3.4, 3.8)
ATR_RANGES = 14  # rpe.md 1, swing.md 2.1
HOUR_BARS = 60  # northstar.md 3.2, rpe.md 3.3
TURN_BARS = 20  # one half of the direction function (northstar.md 2, DIR)


def mean(values: Floats) -> float:
    """numpy.mean of at least one float64, to the bit, without its overhead."""
    return float(np.add.reduce(values)) / len(values)


def true_ranges(bars: Bars) -> Floats:
    """The n-1 true ranges of n bars, USD (northstar.md 2, TR)."""
    high, low, before = bars.h[1:], bars.l[1:], bars.c[:-1]
    spread: Floats = np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))
    return spread


@dataclass(frozen=True, slots=True)
class PreviousDay:
    """The last daily bar before today, USD (N1)."""

    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Measures of at least 30 minute bars, USD.

    highs, lows, closes are the last 30 bars', oldest first. true_ranges are those of the last 60 bars, fewer early in
    the day. high_10 and low_10 are the last ten bars' extremes, the broken_* those of the ten bars before them.
    """

    highs: list[float]
    lows: list[float]
    closes: list[float]
    high_30: float
    low_30: float
    high_10: float
    low_10: float
    broken_high: float
    broken_low: float
    true_ranges: Floats
    atr: float
    today_open: float | None
    previous: PreviousDay | None

    @property
    def price(self) -> float:
        """The last close, USD."""
        return self.closes[-1]

    @property
    def mid_30(self) -> float:
        """The middle of the last 30 bars' range, USD."""
        return (self.high_30 + self.low_30) / 2


def measure(view: View) -> Levels:
    """The levels of a resolved view (northstar.md 3, rpe.md 1)."""
    tail = view.minutes[-HOUR_BARS - 1 :]
    highs, lows = tail.h[-RANGE_BARS:].tolist(), tail.l[-RANGE_BARS:].tolist()
    ranges = true_ranges(tail)
    previous = previous_day(view)
    return Levels(
        highs=highs,
        lows=lows,
        closes=tail.c[-RANGE_BARS:].tolist(),
        high_30=max(highs),
        low_30=min(lows),
        high_10=max(highs[-BREAK_BARS:]),
        low_10=min(lows[-BREAK_BARS:]),
        broken_high=max(highs[-2 * BREAK_BARS : -BREAK_BARS]),
        broken_low=min(lows[-2 * BREAK_BARS : -BREAK_BARS]),
        true_ranges=ranges,
        atr=mean(ranges[-ATR_RANGES:]),
        today_open=view.today_open if previous else None,
        previous=previous,
    )


def previous_day(view: View) -> PreviousDay | None:
    """The last day before today; None with fewer than two daily bars (northstar.md 3.9, N1)."""
    days = view.days
    if len(days) < 2:
        return None
    i = -2 if view.has_today else -1
    return PreviousDay(high=float(days.h[i]), low=float(days.l[i]), close=float(days.c[i]))


@dataclass(frozen=True, slots=True)
class KeyLevels:
    """The levels a client draws, USD, 2 decimals; 0.0 is unknown and hides the line (northstar.md 3.9)."""

    recent_high: float = 0.0
    recent_low: float = 0.0
    mid_point: float = 0.0
    pivot: float = 0.0
    pivot_r1: float = 0.0
    pivot_s1: float = 0.0
    current_price: float = 0.0
    today_open: float = 0.0
    prev_close: float = 0.0
    retest_high: float = 0.0
    retest_low: float = 0.0


UNKNOWN_LEVELS = KeyLevels()


def key_levels(levels: Levels) -> KeyLevels:
    """The drawn levels (northstar.md 3.9); the middle and the pivots' sides come from rounded ingredients."""
    recent_high = round(max(levels.highs[-RECENT_BARS:]), 2)
    recent_low = round(min(levels.lows[-RECENT_BARS:]), 2)
    pivot, pivot_r1, pivot_s1 = _pivots(levels.previous)
    return KeyLevels(
        recent_high=recent_high,
        recent_low=recent_low,
        mid_point=round((recent_high + recent_low) / 2, 2),
        pivot=pivot,
        pivot_r1=pivot_r1,
        pivot_s1=pivot_s1,
        current_price=round(levels.price, 2),
        today_open=round(levels.today_open or 0.0, 2),
        prev_close=round(levels.previous.close, 2) if levels.previous else 0.0,
        retest_high=round(max(levels.highs[-2 * RECENT_BARS : -RECENT_BARS]), 2),
        retest_low=round(min(levels.lows[-2 * RECENT_BARS : -RECENT_BARS]), 2),
    )


def _pivots(day: PreviousDay | None) -> tuple[float, float, float]:
    if day is None:
        return 0.0, 0.0, 0.0
    pivot = round((day.high + day.low + day.close) / 3, 2)
    return pivot, round(2 * pivot - day.low, 2), round(2 * pivot - day.high, 2)
