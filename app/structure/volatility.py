"""How lively a ticker is against its own last 300 days, and the tickers together (v1-contract.md 5.3).

A rank of what has been measured, from completed daily bars: it forecasts no range, and the ranges it names are the
customary ones of a regime, not estimates for the ticker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from app.errors import Unavailable
from app.market.bars import Bars, Floats
from app.market.calendar import day_of_ms, ny
from app.structure.levels import ATR_RANGES, true_ranges

HISTORY = timedelta(days=300)  # v1-contract.md 5.3, this and every number below
ENOUGH_DAYS = 100
ENOUGH_VALUES = 100
UNKNOWN_RANK = 0.5
RETURN_DAYS = 20
LOW_BELOW, HIGH_ABOVE = 0.30, 0.70
SCORE_DIGITS = 3
NOISE_DIGITS = 9
"""Decimals on which two measures are compared, so that the rounding of a sum never counts as movement."""


class VolatilityRegime(StrEnum):
    """Where the score lies; the edges belong to NORMAL."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


LABELS = {
    VolatilityRegime.LOW: "Low volatility",
    VolatilityRegime.NORMAL: "Normal volatility",
    VolatilityRegime.HIGH: "High volatility",
}
COLORS = {VolatilityRegime.LOW: "green", VolatilityRegime.NORMAL: "yellow", VolatilityRegime.HIGH: "red"}
EXPECTED_RANGES = {
    VolatilityRegime.LOW: "0.2-0.5%",
    VolatilityRegime.NORMAL: "0.5-1.0%",
    VolatilityRegime.HIGH: "1.0-2.0%+",
}
GUIDANCE = {
    VolatilityRegime.LOW: "Small moves: keep targets close and expect breakouts to stall.",
    VolatilityRegime.NORMAL: "Ordinary moves: usual size, usual stops.",
    VolatilityRegime.HIGH: "Large moves: trade smaller and give stops more room.",
}
NO_GUIDANCE = "Volatility could not be measured for any ticker."


@dataclass(frozen=True, slots=True)
class Volatility:
    """One ticker, unrounded.

    score         0-1, mean of the ranks of true range and of daily volatility
    percentile    the score in per cent
    atr_pct       mean true range of the last 14 days, per cent of the last close
    daily_vol     standard deviation of the last 20 daily returns, per cent, not annualised
    expected_range  the regime's customary daily range, text
    """

    regime: VolatilityRegime
    regime_label: str
    regime_color: str
    score: float
    percentile: float
    atr_pct: float
    daily_vol: float
    expected_range: str


@dataclass(frozen=True, slots=True)
class MarketVolatility:
    """All tickers: the mean score with 3 decimals and the regime of that number; None if there is no score."""

    regime: VolatilityRegime | None
    score: float | None
    guidance: str


def volatility(daily: Bars) -> Volatility:
    """The meter of completed daily bars, of which the 300 calendar days up to the last one count.

    Raises Unavailable (part `data`, INSUFFICIENT_DATA) if these are fewer than 100 bars.
    """
    bars = _recent(daily)
    if len(bars) < ENOUGH_DAYS:
        message = (
            f"the volatility meter needs {ENOUGH_DAYS} daily bars of the last {HISTORY.days} days, not {len(bars)}"
        )
        raise Unavailable(message, part="data", code="INSUFFICIENT_DATA")
    atrs, vols = _atrs(bars), _daily_vols(bars)
    score = (rank(atrs) + rank(vols)) / 2
    regime = regime_of(score)
    return Volatility(
        regime=regime,
        regime_label=LABELS[regime],
        regime_color=COLORS[regime],
        score=score,
        percentile=score * 100,
        atr_pct=float(atrs[-1] / bars.c[-1]) * 100,
        daily_vol=float(vols[-1]),
        expected_range=EXPECTED_RANGES[regime],
    )


def market_volatility(scores: Sequence[float]) -> MarketVolatility:
    """The tickers together, from the scores of those that have one."""
    if not scores:
        return MarketVolatility(None, None, NO_GUIDANCE)
    score = round(sum(scores) / len(scores), SCORE_DIGITS)
    regime = regime_of(score)
    return MarketVolatility(regime, score, GUIDANCE[regime])


def regime_of(score: float) -> VolatilityRegime:
    if score < LOW_BELOW:
        return VolatilityRegime.LOW
    return VolatilityRegime.HIGH if score > HIGH_ABOVE else VolatilityRegime.NORMAL


def rank(values: Floats) -> float:
    """Share of the values, the last one among them, that lie strictly below the last; 0.5 if there are under 100."""
    if len(values) < ENOUGH_VALUES:
        return UNKNOWN_RANK
    seen = values.round(NOISE_DIGITS)
    return float((seen < seen[-1]).mean())


def _recent(daily: Bars) -> Bars:
    if not len(daily):
        return daily
    return daily.since(ny(day_of_ms(int(daily.t[-1])) - HISTORY, time(0)))


def _atrs(bars: Bars) -> Floats:
    """Simple mean of 14 true ranges, USD, one per day from the 15th bar on."""
    means: Floats = sliding_window_view(true_ranges(bars), ATR_RANGES).mean(axis=1)
    return means


def _daily_vols(bars: Bars) -> Floats:
    """Sample standard deviation (ddof 1) of 20 daily returns in per cent, one per day from the 21st bar on."""
    returns = np.diff(bars.c) / bars.c[:-1] * 100
    sigmas: Floats = sliding_window_view(returns, RETURN_DAYS).std(axis=1, ddof=1)
    return sigmas
