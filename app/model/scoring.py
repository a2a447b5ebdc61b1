"""Measures of probabilities against what came: losses, calibration, intervals by days, and the choice of the simplest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.market.bars import Bools, Floats, Ints

BOOTSTRAPS = 2000
SEED = 20241231
ECE_BINS = 10


LEAST_DAYS = 20
"""A month of sessions. Of fewer days no figure is given."""


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def losses(p: Floats, y: Bools) -> Floats:
    """Negative log-likelihood per row, nats, (n,)."""
    safe = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(-np.where(y, np.log(safe), np.log1p(-safe)))


def by_day(values: Floats, day: Ints) -> Floats:
    """The mean over the rows of each day, ascending: the tickers and hours of a day are one observation."""
    _, which, counts = np.unique(day, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(which, values) / counts)


def simplest(found: Sequence[Floats], standard_error: Callable[[Floats], float]) -> int:
    """Position of the first candidate, the simplest, whose mean over days is within one standard error of the best one's.
    found: the losses of each by day; standard_error: of the mean of such values."""
    best = found[int(np.argmin([values.mean() for values in found]))]
    gaps = (values - best for values in found)
    return next(i for i, gap in enumerate(gaps) if gap.mean() <= standard_error(gap))


def favoured(p: Floats) -> Floats:
    """The probability of the side that p favours."""
    return np.maximum(p, 1 - p)


def surest(p: Floats, n: int) -> Ints:
    """The n rows of which a rule is surest, the surest first."""
    return np.argsort(-favoured(p), kind="stable")[:n]


def bins_of(p: Floats) -> Ints:
    """Which of ECE_BINS equal bins each probability lies in, (n,)."""
    return np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def hit_rate(p: Floats, y: Bools) -> float:
    """Share of labels on the side of p. A probability of exactly one half is on no side, and counts as half a hit."""
    return float(np.where(p == 0.5, 0.5, (p > 0.5) == y).mean())


def brier(p: Floats, y: Bools) -> float:
    """Mean squared difference of probability and label."""
    return float(((p - y) ** 2).mean())


def calibration_error(p: Floats, y: Bools) -> float:
    """Expected calibration error over the bins of p."""
    bins = bins_of(p)
    gaps = [abs(float(p[bins == b].mean() - y[bins == b].mean())) * float((bins == b).mean()) for b in np.unique(bins)]
    return float(sum(gaps))


def reliability(p: Floats, y: Bools) -> list[dict[str, float]]:
    """Per bin of p that holds any: how many, the mean probability, and the share that came true."""
    bins = bins_of(p)
    found = [(int((bins == b).sum()), p[bins == b].mean(), y[bins == b].mean()) for b in np.unique(bins)]
    return [{"n": n, "stated": round(float(stated), 6), "came": round(float(came), 6)} for n, stated, came in found]


def draws(n_days: int) -> Ints:
    """How often each of the days comes in each bootstrap sample, (BOOTSTRAPS, n_days); the same ones each time."""
    generator = np.random.default_rng(SEED)
    return generator.multinomial(n_days, np.full(n_days, 1 / n_days), BOOTSTRAPS)


_kept_draws = lru_cache(maxsize=8)(draws)
"""An evaluation asks for the same ones again and again; a server does not, and they are large."""


def mean_by_days(values: Floats, day: Ints) -> Interval:
    """The mean of values (n,) with an interval by resampling whole days: what happens on one day is one observation."""
    _, which = np.unique(day, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    drawn = _kept_draws(len(sums))
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
