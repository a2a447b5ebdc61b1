"""The inputs of the swing models (v6.md 9), by one function for training and serving.

What it is given is cut at the close of day t first, so it cannot look ahead: t is a completed day, a week counts once its
Friday is over, and averages and extremes are of days up to t. Volume is not read: a daily bar's volume still grows in the
evening, so that it would not be the same in a replay. Pure: no clock, no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from app.errors import Unavailable
from app.market.bars import Bars, Floats
from app.market.calendar import midnight_ms
from app.model.elementary import log

MIN_DAYS = 253
"""Completed daily bars that the features read, t among them: a return over 252 days, which is a year."""

DAY_MS = 86_400_000
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
EPOCH_TO_MONDAY, FRIDAY = 3, 4  # the epoch is a Thursday
YEAR_DAYS, MAX_STREAK = 252, 5
RSI_CHANGES, RANGE_DAYS, CHANNEL_DAYS = 14, 14, 20
RETURN_DAYS = (1, 3, 5, 10, 20, 60, YEAR_DAYS)
AVERAGE_DAYS = (10, 20, 50, 200)
WEEKS = 4

FEATURES = (
    *(f"return_{k}d" for k in RETURN_DAYS),
    *(f"dist_from_sma_{w}" for w in AVERAGE_DAYS),
    "volatility_20d",
    "volatility_ratio_10_60",
    "volatility_ratio_20_252",
    "range_14d",
    "rsi_14",
    "position_in_20d",
    "drawdown_252d",
    "streak",
    "close_in_range",
    "gap",
    "week_return",
    "week_return_4",
    "is_monday",
    "is_friday",
)


@dataclass(frozen=True, slots=True)
class SwingFeatures:
    """What is known at the close of `day`: float64, in the order of FEATURES."""

    day: date
    values: Floats


def swing_features(daily: Bars, days: Sequence[date]) -> SwingFeatures:
    """The features of the last day of `days`.

    daily  daily bars; those after that day are cut away here
    days   the last MIN_DAYS trading days up to it, ascending; each must have its bar

    Raises Unavailable: part `data` (INSUFFICIENT_DATA) if bars are missing, part `models` (MODEL_UNAVAILABLE) if a feature is
    not finite.
    """
    x = _completed(daily, days)
    values = np.array([*_returns(x), *_averages(x), *_volatilities(x), *_levels(x), *_last_day(x), *_weeks(x)])
    if not np.isfinite(values).all():
        bad = ", ".join(name for name, value in zip(FEATURES, values, strict=True) if not np.isfinite(value))
        raise Unavailable(f"features without a value: {bad}", part="models", code="MODEL_UNAVAILABLE")
    return SwingFeatures(days[-1], values)


def _completed(daily: Bars, days: Sequence[date]) -> Bars:
    """The daily bars of `days`, without a hole."""
    known = daily[: int(np.searchsorted(daily.t, midnight_ms(days[-1]), side="right"))]
    if len(known) < MIN_DAYS:
        message = f"{len(known)} completed daily bars are known; {MIN_DAYS} are needed"
        raise Unavailable(message, part="data", code="INSUFFICIENT_DATA")
    last = known[len(known) - MIN_DAYS :]
    expected = np.array([day.toordinal() for day in days]) - EPOCH_ORDINAL
    if not np.array_equal(last.t // DAY_MS, expected):
        missing = max(set(expected.tolist()).difference((last.t // DAY_MS).tolist())) + EPOCH_ORDINAL
        message = f"the daily bar of {date.fromordinal(missing)} is missing"
        raise Unavailable(message, part="data", code="INSUFFICIENT_DATA")
    return last


def _returns(x: Bars) -> list[float]:
    """Over trading days up to t."""
    return [float(x.c[-1] / x.c[-1 - k]) - 1 for k in RETURN_DAYS]


def _averages(x: Bars) -> list[float]:
    """The close of t against the mean of the closes before it."""
    return [float(x.c[-1] / x.c[-1 - w : -1].mean()) - 1 for w in AVERAGE_DAYS]


def _volatilities(x: Bars) -> list[float]:
    """Standard deviation (ddof 1) of daily log returns, its ratios, and the mean true range as a share of the close."""
    returns = np.diff(log(x.c))
    ten, twenty, sixty, year = (float(returns[-n:].std(ddof=1)) for n in (10, 20, 60, YEAR_DAYS))
    true_ranges = np.maximum(x.h[1:], x.c[:-1]) - np.minimum(x.l[1:], x.c[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [float(np.float64(ten) / sixty), float(np.float64(twenty) / year)]
    return [twenty, *ratios, float(true_ranges[-RANGE_DAYS:].mean() / x.c[-1])]


def _levels(x: Bars) -> list[float]:
    """RSI by plain sums, the place in the channel of 20 days, the distance from the year's highest close."""
    changes = np.diff(x.c[-RSI_CHANGES - 1 :])
    moved = float(np.abs(changes).sum())
    rsi = float(changes[changes > 0].sum()) / moved if moved else 0.5
    high, low = float(x.h[-CHANNEL_DAYS:].max()), float(x.l[-CHANNEL_DAYS:].min())
    return [rsi, _place(float(x.c[-1]), low, high), float(x.c[-1] / x.c[-YEAR_DAYS:].max()) - 1]


def _last_day(x: Bars) -> list[float]:
    """Days in a row up (above 0) or down (below 0) to t, where t closed in its range, and its gap."""
    close = float(x.c[-1])
    return [_streak(x.c), _place(close, float(x.l[-1]), float(x.h[-1])), float(x.o[-1] / x.c[-2]) - 1]


def _weeks(x: Bars) -> list[float]:
    """Returns of the last completed week and of the last four, and the weekday of t. A week counts from its Friday on."""
    day = x.t // DAY_MS + EPOCH_TO_MONDAY
    week, weekday = day // 7, int(day[-1] % 7)
    ends = np.flatnonzero(np.append(week[1:] != week[:-1], weekday >= FRIDAY))
    closes = x.c[ends]
    one, four = (float(closes[-1] / closes[-1 - weeks]) - 1 for weeks in (1, WEEKS))
    return [one, four, float(weekday == 0), float(weekday == FRIDAY)]


def _place(price: float, low: float, high: float) -> float:
    """0 at the low, 1 at the high; 0.5 where they are the same."""
    return (price - low) / (high - low) if high > low else 0.5


def _streak(closes: Floats) -> float:
    """A day that closes where the day before closed breaks a streak."""
    signs = np.sign(np.diff(closes[-MAX_STREAK - 1 :]))[::-1]
    same = signs == signs[0]
    return float(signs[0] * (len(signs) if same.all() else int(np.argmin(same))))
