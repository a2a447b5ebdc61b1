"""Measures of probabilities against what came: calibration, discrimination, intervals by days. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.market.bars import Bools, Floats, Ints

BOOTSTRAPS = 2000
SEED = 20241231
ECE_BINS = 10


LEAST_DAYS = 20
"""Of fewer days in a part nothing is said of whether stated and observed rates agree."""

LEAST_P = 0.05
"""Stated and observed rates are said to disagree where the test's p-value is below this."""


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def hit_rate(p: Floats, y: Bools) -> float:
    """Share of labels on the side of p. A probability of exactly one half is on no side, and counts as half a hit."""
    return float(np.where(p == 0.5, 0.5, (p > 0.5) == y).mean())


def brier(p: Floats, y: Bools) -> float:
    """Mean squared difference of probability and label."""
    return float(((p - y) ** 2).mean())


def calibration_error(p: Floats, y: Bools) -> float:
    """Expected calibration error over ECE_BINS equal bins of p."""
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(float(p[bins == b].mean() - y[bins == b].mean())) * float((bins == b).mean()) for b in np.unique(bins)]
    return float(sum(gaps))


def reliability(p: Floats, y: Bools) -> list[dict[str, float]]:
    """Per bin of p that holds any: how many, the mean probability, and the share that came true."""
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    found = [(int((bins == b).sum()), p[bins == b].mean(), y[bins == b].mean()) for b in np.unique(bins)]
    return [{"n": n, "stated": round(float(stated), 6), "came": round(float(came), 6)} for n, stated, came in found]


def auc(p: Floats, y: Bools) -> float | None:
    """Area under the receiver operating characteristic; None where all labels are the same."""
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(y, p)), 6) if 0 < y.sum() < len(y) else None


@lru_cache(maxsize=8)
def draws(n_days: int) -> Ints:
    """How often each of the days comes in each bootstrap sample, (BOOTSTRAPS, n_days); the same ones each time."""
    generator = np.random.default_rng(SEED)
    return generator.multinomial(n_days, np.full(n_days, 1 / n_days), BOOTSTRAPS)


def mean_by_days(values: Floats, day: Ints) -> Interval:
    """The mean of values (n,) with an interval by resampling whole days: what happens on one day is one observation."""
    _, which = np.unique(day, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    drawn = draws(len(sums))
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def agreement(p: Floats, y: Bools, part: NDArray[np.str_], day: Ints, names: Sequence[str]) -> dict[str, Any]:
    """Whether the hit rates of signals agree with the mean probability that they stated, all parts judged jointly.

    Per part the gap is the hit rate less the mean stated probability of the favoured side. The gaps d have the covariance S of
    a bootstrap over days, and d' S^-1 d is compared with a chi-square distribution with as many degrees of freedom as parts
    (Wald).
    """
    if min(len(np.unique(day[part == name])) for name in names) < LEAST_DAYS:
        return {"parts": {}, "statistic": None, "p_value": None, "agrees": None}
    hits, stated = np.where(p > 0.5, y, ~y), np.maximum(p, 1 - p)
    _, which = np.unique(day, return_inverse=True)
    inside = [part == name for name in names]
    sums, counts = (
        np.array([np.bincount(which[at], values[at], which.max() + 1) for at in inside])
        for values in (hits - stated, np.ones(len(p)))
    )
    drawn = draws(sums.shape[1])
    gaps = sums.sum(axis=1) / counts.sum(axis=1)
    spread = np.cov((drawn @ sums.T / (drawn @ counts.T)).T)
    statistic = float(gaps @ np.linalg.solve(spread, gaps))
    parts = {
        name: {
            "n": int(at.sum()),
            "hit_rate": round(float(hits[at].mean()), 6),
            "stated": round(float(stated[at].mean()), 6),
            "standard_error": round(float(np.sqrt(spread[i, i])), 6),
        }
        for i, (name, at) in enumerate(zip(names, inside, strict=True))
    }
    p_value = _chi_square_tail(statistic, len(names))
    return {
        "parts": parts,
        "statistic": round(statistic, 4),
        "p_value": round(p_value, 4),
        "agrees": p_value >= LEAST_P,
    }


def _chi_square_tail(statistic: float, degrees: int) -> float:
    from scipy.stats import chi2

    return float(chi2.sf(statistic, degrees))
