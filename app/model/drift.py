"""Whether what the model reads now looks like what it was fitted on: values outside the training range, and the population
stability index.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.market.bars import Floats
from app.model.features import FEATURES

BINS: Final = 5
"""Few: the index of a small sample is mostly its noise, (bins - 1) / days where a day's six decisions share a value."""

LEAST_SHARE: Final = 1e-3
"""Share that an empty bin is taken to have, lest the logarithm end it."""

WINDOW: Final = 360
"""Decisions looked back on: sixty days of six hours."""

ENOUGH: Final = 180
"""Thirty days; below, the index is noise, and is not told."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The training sample of one ticker: low, high (29,); per feature the inner edges of its bins and the share in each."""

    low: Floats
    high: Floats
    edges: Sequence[Floats]
    shares: Sequence[Floats]


def bins_of(values: Floats) -> dict[str, list[list[float]]]:
    """The quintiles of (n, 29) training values as an artefact keeps them; values that repeat make fewer bins."""
    edges = [np.unique(np.quantile(column, np.arange(1, BINS) / BINS)) for column in values.T]
    shares = [_shares(column, inner) for column, inner in zip(values.T, edges, strict=True)]
    return {"edges": [e.tolist() for e in edges], "shares": [s.tolist() for s in shares]}


def reference_of(metadata: Mapping[str, Any]) -> Reference | None:
    """The reference of an artefact; None if it was made without one."""
    ranges, bins = metadata.get("feature_ranges"), metadata.get("feature_bins")
    if ranges is None or bins is None:
        return None
    table = np.array([ranges[name] for name in FEATURES])
    edges, shares = ([np.array(row) for row in bins[part]] for part in ("edges", "shares"))
    return Reference(table[:, 0], table[:, -1], edges, shares)


def outside(reference: Reference, values: Floats) -> float:
    """Share of (n, 29) values that lie outside their training range."""
    return float(((values < reference.low) | (values > reference.high)).mean())


def stability(reference: Reference, values: Floats) -> float:
    """Population stability index of (n, 29) values against training, the mean over the features: below 0.1 nothing moved,
    above 0.25 it is another population (the usual reading in credit scoring). Weeks differ from years: windows of
    the training sample itself reach 0.3, so that its course says more than its level."""
    found = []
    for column, edges, expected in zip(values.T, reference.edges, reference.shares, strict=True):
        now, then = (np.maximum(share, LEAST_SHARE) for share in (_shares(column, edges), expected))
        found.append(float(((now - then) * np.log(now / then)).sum()))
    return float(np.mean(found))


def _shares(column: Floats, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, column, side="right"), minlength=len(edges) + 1)
    return np.asarray(counts / len(column), dtype=np.float64)


class Drift:
    """The last decisions of each ticker beside its reference. Safe between threads."""

    def __init__(self, references: Mapping[str, Reference]) -> None:
        self._references = references
        self._lock = threading.Lock()
        self._seen: dict[str, deque[Floats]] = {ticker: deque(maxlen=WINDOW) for ticker in references}

    def saw(self, ticker: str, inputs: Floats) -> None:
        """A decision was computed from these inputs (29 features, and what else a model may read)."""
        with self._lock:
            if ticker in self._seen:
                self._seen[ticker].append(inputs[: len(FEATURES)])

    def decisions(self) -> dict[str, int]:
        """How many decisions are looked back on."""
        return {ticker: len(seen) for ticker, seen in self._seen.items()}

    def outside(self) -> dict[str, float]:
        """Share of values outside their training range, of tickers with a decision."""
        return {t: outside(self._references[t], values) for t, values in self._values(1).items()}

    def stability(self) -> dict[str, float]:
        """Population stability index, of tickers with enough decisions."""
        return {t: stability(self._references[t], values) for t, values in self._values(ENOUGH).items()}

    def _values(self, least: int) -> dict[str, Floats]:
        with self._lock:
            return {ticker: np.array(seen) for ticker, seen in self._seen.items() if len(seen) >= least}
