"""How far the price goes until the close: quantiles of the highest and the lowest price after a decision (v6.md 10).

The log distances of high and low from the decision price, in units of the forecast standard deviation of the rest of the day,
have much the same distribution on calm and on restless days; its quantiles at each decision hour are the forecast. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.market.bars import Floats, Ints
from app.model.features import DECISION_HOURS

LEVELS = (0.5, 0.8, 0.9)
"""Shares of the days on which the price stays within the forecast high, and within the forecast low."""

DECIDED: Final = LEVELS[:2]
"""The levels of the ranges that a decision carries: half of the days go further up, and four of five do not."""


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The lowest and the highest price until the close, USD. level: the probability of each of the two that it is not passed,
    so that of staying within both is lower."""

    level: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RangeForecast:
    """Quantiles at LEVELS of how far the price rises (up) and falls (down), both (6, 3), in forecast standard deviations; a row
    per hour of DECISION_HOURS."""

    up: Floats
    down: Floats

    def at(self, hour: int, price: float, log_variance: float) -> tuple[PriceRange, ...]:
        """The ranges around the decision price, USD, one for each level of DECIDED."""
        row, deviation = hour - DECISION_HOURS[0], math.exp(0.5 * log_variance)
        far = zip(DECIDED, self.down[row].tolist(), self.up[row].tolist(), strict=False)
        return tuple(
            PriceRange(level, low=price * math.exp(-down * deviation), high=price * math.exp(up * deviation))
            for level, down, up in far
        )


def fit_ranges(hour: Ints, up: Floats, down: Floats, log_variance: Floats) -> RangeForecast:
    """The quantiles of training rows. up, down: log distances of high and low from the price, both at least 0, (n,)."""
    deviation = np.exp(0.5 * log_variance)
    rows = [hour == h for h in DECISION_HOURS]
    return RangeForecast(*(np.array([np.quantile((far / deviation)[at], LEVELS) for at in rows]) for far in (up, down)))
