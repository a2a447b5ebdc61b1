"""Tells whether two series of a ticker are in the same prices. A split or dividend adjusts every price of a day alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import numpy as np

from app.market.bars import Floats

BLOCK_DAYS = 20
ENOUGH_DAYS = 10
TOLERANCE = 0.001
"""Share of the price. Twenty days' signed median of real vendors' closes and opens differs by up to 0.0005."""

FEW_TOLERANCE = 0.0025
"""The same for fewer days, where the smaller of a day's two deviations counts: one auction moves open or close, not both."""


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
