"""Tells whether two series of a ticker are in the same prices. A split or dividend adjusts every price of a day alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from app.market.bars import Floats

BLOCK_DAYS = 20
ENOUGH_DAYS = 10
TOLERANCE = 0.001
"""Share of the price. Twenty days' signed median of real vendors' closes and opens differs by up to 0.0005."""

FEW_TOLERANCE = 0.0025
"""The same for fewer days, where the smaller of a day's two deviations counts: one auction moves open or close, not both."""

ADJACENT = timedelta(days=4)
"""How far apart days may lie that are compared although no series has both: a weekend with a holiday."""

MOST_OVERNIGHT = 0.3
"""Share of the price by which a day may open from the close before it. A split of three for two moves it by a third; SPY, QQQ
and IWM have not opened 15 % away yet. A dividend cannot be told from an ordinary night."""


class SessionPrices(NamedTuple):
    """A session's first and last regular price, USD; NaN where its bar is missing."""

    open: float
    close: float


class Disagreement(NamedTuple):
    """The newest day on which two series clearly differ, which price it is (`open` or `close`), and its value in both."""

    day: date
    what: str
    one: float
    other: float


def disagreement(one: Mapping[date, SessionPrices], other: Mapping[date, SessionPrices]) -> Disagreement | None:
    """Returns where two series of one ticker are in different prices, judged by blocks of days; None if nowhere."""
    days = sorted(one.keys() & other.keys())
    for last in range(len(days), 0, -BLOCK_DAYS):
        block = days[max(0, last - BLOCK_DAYS) : last]
        difference = _in_block(block, one, other)
        if difference is not None:
            return difference
    return None


class Leap(NamedTuple):
    """A close and the open after it, in two series, that are too far apart for one night: USD, with their days."""

    day: date
    close: float
    next_day: date
    open: float

    @classmethod
    def between(cls, day: date, close: float, next_day: date, opening: float) -> Leap | None:
        """Returns the leap from a close to the next open; None if a night can explain it, if the days are not adjacent, and for
        a price that is not known (NaN)."""
        ratio = opening / close
        is_leap = ratio < 1 - MOST_OVERNIGHT or ratio > 1 / (1 - MOST_OVERNIGHT)
        return cls(day, close, next_day, opening) if is_leap and next_day - day <= ADJACENT else None

    def __str__(self) -> str:
        return f"from {self.close:g} at the close of {self.day} to {self.open:g} at the open of {self.next_day}"


def leap(one: Mapping[date, SessionPrices], other: Mapping[date, SessionPrices]) -> Leap | None:
    """Returns where the price leaps between two series of one ticker that have no day in common; None if nowhere."""
    both = {**one, **other}
    for day, next_day in pairwise(sorted(both)):
        close, opening = both[day].close, both[next_day].open
        found = Leap.between(day, close, next_day, opening) if (day in one) != (next_day in one) else None
        if found is not None:
            return found
    return None


def _in_block(
    block: list[date], one: Mapping[date, SessionPrices], other: Mapping[date, SessionPrices]
) -> Disagreement | None:
    deviations: Floats = np.array([[a / b - 1 for a, b in zip(one[d], other[d], strict=True)] for d in block])
    by_kind = zip(("open", "close"), deviations.T, strict=True)
    apart = [kind for kind, column in by_kind if _apart(column, TOLERANCE, ENOUGH_DAYS)]
    if not apart and not _apart(_common(deviations), FEW_TOLERANCE, 1):
        return None
    kind = apart[-1] if apart else "close"
    column = deviations[:, 1 if kind == "close" else 0]
    column = column if not np.isnan(column).all() else deviations[:, 0]
    i = int(np.nanargmin(np.abs(column - np.nanmedian(column))))
    kind = kind if not np.isnan(getattr(one[block[i]], kind)) else "open"
    return Disagreement(block[i], kind, getattr(one[block[i]], kind), getattr(other[block[i]], kind))


def _apart(column: Floats, tolerance: float, enough: int) -> bool:
    known = column[~np.isnan(column)]
    return len(known) >= enough and bool(abs(np.median(known)) > tolerance)


def _common(deviations: Floats) -> Floats:
    """Returns by how much both open and close of each day deviate: the smaller deviation, 0 if they have opposite signs, NaN
    without either."""
    one, other = np.where(np.isnan(deviations), deviations[:, ::-1], deviations).T
    smaller = np.where(np.abs(one) < np.abs(other), one, other)
    return np.asarray(np.where(np.sign(one) == np.sign(other), smaller, 0.0 * one * other), dtype=np.float64)
