"""Measures that need scikit-learn or scipy: discrimination, and whether stated and observed rates agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.market.bars import Bools, Floats, Ints
from app.model.scoring import LEAST_DAYS, draws, favoured

LEAST_P = 0.05
"""Stated and observed rates are said to disagree where the test's p-value is below this."""


def auc(p: Floats, y: Bools) -> float | None:
    """Area under the receiver operating characteristic; None where all labels are the same."""
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(y, p)), 6) if 0 < y.sum() < len(y) else None


def agreement(p: Floats, y: Bools, part: NDArray[np.str_], day: Ints, names: Sequence[str]) -> dict[str, Any]:
    """Whether the hit rates of signals agree with the mean probability that they stated, all parts judged jointly.

    Per part the gap is the hit rate less the mean stated probability of the favoured side. The gaps d have the covariance S of
    a bootstrap over days, and d' S^-1 d is compared with a chi-square distribution with as many degrees of freedom as parts
    (Wald).
    """
    if min(len(np.unique(day[part == name])) for name in names) < LEAST_DAYS:
        return {"parts": {}, "statistic": None, "p_value": None, "agrees": None}
    hits, stated = np.where(p > 0.5, y, ~y), favoured(p)
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
