"""What may be claimed of a model against the random walk, by its evaluation (claim rule, v6.md 7). Pure.

The 95 % interval is that of the mean of (log-loss of B2 - log-loss of the model), paired row by row, with days as clusters.
A verdict is read off the interval wherever it is shown; no stored word is repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The only words that may be used for a cell."""

    BETTER = "measurably better than the random walk"
    NO_DIFFERENCE = "no measurable difference"
    WORSE = "measurably worse than the random walk"


def verdict_of(low: float, high: float) -> Verdict:
    """Returns the verdict on a cell whose 95 % interval of (log-loss of B2 - log-loss of the model) is low .. high, nats."""
    if low > 0:
        return Verdict.BETTER
    return Verdict.WORSE if high < 0 else Verdict.NO_DIFFERENCE


def verdict_of_record(record: Mapping[str, Any]) -> Verdict:
    """Returns the verdict on a cell of an artefact, by its interval."""
    return verdict_of(record["skill_low"], record["skill_high"])


def verdict_beyond_variance(record: Mapping[str, Any]) -> Verdict:
    """Returns the verdict on a cell against the random walk that is given the model's forecast of the variance (B2v)."""
    return verdict_of(record["beyond_v_low"], record["beyond_v_high"])


def counts_text(verdicts: Iterable[Verdict]) -> str:
    """Returns how many cells have which verdict: "0 measurably better, 25 no measurable difference, 8 ..."."""
    counts = Counter(verdicts)
    return (
        f"{counts[Verdict.BETTER]} measurably better, {counts[Verdict.NO_DIFFERENCE]} no measurable difference,"
        f" {counts[Verdict.WORSE]} measurably worse"
    )
