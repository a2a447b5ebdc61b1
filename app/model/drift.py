"""Measures whether what the model reads now looks like what it was fitted on: values outside the training range, and the
population stability index.

An input counts at the decision hours whose slots read it, and at no other; what no slot reads does not count at all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.market.bars import Floats
from app.model.features import DECISION_HOURS, INPUTS
from app.model.v6 import V6Model

BINS: Final = 5
"""The number of bins is small: the index of a small sample is mostly its noise, (bins - 1) / days where a day's six decisions
share a value."""

LEAST_SHARE: Final = 1e-3
"""The share that an empty bin counts as, because the logarithm of 0 is not finite."""

WINDOW: Final = 360
"""How many decisions are kept: sixty days of six hours."""

ENOUGH: Final = 180
"""Thirty days. Of fewer decisions the index is mostly noise, and is not given."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Training values of one input: the least and the greatest, the inner edges of its bins, the share in each."""

    low: float
    high: float
    edges: Floats
    shares: Floats


@dataclass(frozen=True, slots=True)
class Reference:
    """The training sample of one ticker's model.

    bins  per input that it reads, in the order of a row of what was read
    hours per decision hour the inputs that its slots read
    """

    bins: Mapping[str, Bins]
    hours: Mapping[int, frozenset[str]]

    def row(self, hour: int, inputs: Floats) -> Floats:
        """What the model read at `hour` of `inputs`, one value per name of `bins`; NaN for what it did not read then."""
        read = self.hours.get(hour, frozenset())
        return np.array([inputs[INPUTS.index(name)] if name in read else np.nan for name in self.bins])


def bins_of(values: Floats) -> dict[str, list[float]]:
    """Range and quintiles of (n,) training values as an artefact keeps them; values that repeat make fewer bins."""
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    return {
        "range": [float(values.min()), float(values.max())],
        "edges": edges.tolist(),
        "shares": _shares(values, edges).tolist(),
    }


def reference_of(model: V6Model) -> Reference | None:
    """The reference of a model; None if its artefact has none for something that it reads, or it reads nothing."""
    hours = {hour: model.read_at(hour) for hour in DECISION_HOURS}
    read, known = frozenset[str]().union(*hours.values()), model.metadata.get("feature_bins") or {}
    if not read or not read <= known.keys():
        return None
    return Reference({name: _bins(known[name]) for name in INPUTS if name in read}, hours)


def _bins(record: Mapping[str, Any]) -> Bins:
    low, high = record["range"]
    return Bins(low, high, np.array(record["edges"]), np.array(record["shares"]))


def outside(reference: Reference, rows: Floats) -> float:
    """Share of the values read in (n, k) rows that lie outside their training range."""
    low, high = (np.array([getattr(bins, end) for bins in reference.bins.values()]) for end in ("low", "high"))
    return float(((rows < low) | (rows > high)).sum() / np.isfinite(rows).sum())


def stability(reference: Reference, rows: Floats) -> float:
    """Population stability index of (n, k) rows against training, the mean over the inputs read: below 0.1 nothing moved,
    above 0.25 it is another population (the usual reading in credit scoring). Weeks differ from years: windows of
    the training sample itself reach 0.3, so that its change says more than its level."""
    indices = []
    for column, bins in zip(rows.T, reference.bins.values(), strict=True):
        read = column[np.isfinite(column)]
        if len(read):
            now, then = (np.maximum(share, LEAST_SHARE) for share in (_shares(read, bins.edges), bins.shares))
            indices.append(float(((now - then) * np.log(now / then)).sum()))
    return float(np.mean(indices))


def _shares(column: Floats, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, column, side="right"), minlength=len(edges) + 1)
    return np.asarray(counts / len(column), dtype=np.float64)


class Drift:
    """The last decisions of each ticker beside its reference. Safe between threads."""

    def __init__(self, references: Mapping[str, Reference]) -> None:
        self._lock = threading.Lock()
        self.restart(references)

    def restart(self, references: Mapping[str, Reference]) -> None:
        """Forget all decisions: those to come are other models'."""
        with self._lock:
            self._references = references
            self._seen: dict[str, deque[Floats]] = {ticker: deque(maxlen=WINDOW) for ticker in references}

    def saw(self, ticker: str, hour: int, inputs: Floats) -> None:
        """Records that the decision of an hour was computed from these inputs, in the order of INPUTS."""
        reference = self._references.get(ticker)
        if reference is not None and reference.hours.get(hour):
            row = reference.row(hour, inputs)
            with self._lock:
                if self._references.get(ticker) is reference:
                    self._seen[ticker].append(row)

    def decisions(self) -> dict[str, int]:
        """Returns how many decisions are kept."""
        return {ticker: len(seen) for ticker, seen in self._seen.items()}

    def outside(self) -> dict[str, float]:
        """Share of values outside their training range, of tickers with a decision."""
        return {ticker: outside(*seen) for ticker, seen in self._values(1).items()}

    def stability(self) -> dict[str, float]:
        """Population stability index, of tickers with enough decisions."""
        return {ticker: stability(*seen) for ticker, seen in self._values(ENOUGH).items()}

    def _values(self, least: int) -> dict[str, tuple[Reference, Floats]]:
        with self._lock:
            known = self._references
            return {
                ticker: (known[ticker], np.array(seen)) for ticker, seen in self._seen.items() if len(seen) >= least
            }
