"""The V6 intraday model: from the inputs of a decision hour to the probabilities of targets A and B (v6.md 1, 2).

Arrays in, numbers out, numpy alone. Pure: reads no files, knows no time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np

from app.errors import Unavailable
from app.market.bars import Floats, Ints
from app.model.elementary import exp, log1p, weighted_sum
from app.model.features import DECISION_HOURS, INPUTS, LATE_FROM, Features
from app.model.ranges import PriceRange, RangeForecast

SlotName = Literal["early_a", "late_a", "late_b"]
SLOTS: tuple[SlotName, ...] = ("early_a", "late_a", "late_b")
SLOT_HOURS: Mapping[SlotName, tuple[int, ...]] = {
    name: tuple(hour for hour in DECISION_HOURS if (hour < LATE_FROM) == (name == "early_a")) for name in SLOTS
}
"""The decision hours that each slot answers."""

LOG_TIME_LEFT = INPUTS.index("log_time_left")
"""The variance to come grows with the time that is left: on days that close early it is forecast for less of it."""

LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -40.0, 5.0
"""Between a move of a billionth and one by a factor of thousands: beyond them bars are broken, and nothing is said."""

MOST_SCORE = 30.0
"""Beyond it log odds count as this."""

EARLY_B = 0.5
"""p_B before 11:00, where B has no reference price yet (v6.md 1)."""


TARGETS: Mapping[SlotName, Literal["A", "B"]] = {"early_a": "A", "late_a": "A", "late_b": "B"}
MOVES: Mapping[SlotName, str] = {"early_a": "current_vs_open", "late_a": "current_vs_open", "late_b": "current_vs_11am"}
"""The input that says how far the price is from the reference of a slot's target: P/ref - 1."""


@dataclass(frozen=True, slots=True)
class VarianceForecast:
    """How much variance of the log price is still to come until the close: per decision hour a line for its logarithm.

    columns    (k,) positions in INPUTS of what it reads
    coef       (6, k), intercept (6,), one row per hour of DECISION_HOURS
    """

    columns: Ints
    coef: Floats
    intercept: Floats

    @property
    def read(self) -> frozenset[str]:
        """Names of the inputs that move it."""
        used = self.columns[np.any(self.coef != 0, axis=0)]
        return frozenset(INPUTS[column] for column in used) | {"log_time_left"}

    def log_variance(self, hour: int, inputs: Floats) -> Floats:
        """The logarithm of the forecast at `hour`, of inputs (..., len(INPUTS))."""
        row = hour - DECISION_HOURS[0]
        line = weighted_sum(inputs.take(self.columns, axis=-1), self.coef[row]) + self.intercept[row]
        return np.asarray(line + inputs[..., LOG_TIME_LEFT])


@dataclass(frozen=True, slots=True)
class Slot:
    """One model: the probability that the close is above the reference of its target.

    z is the log distance of the price from the reference in units of the forecast standard deviation; the score is
    slope * z + bend * z * |z| + offset, and what further inputs add to it.

    move     position in INPUTS of P/ref - 1
    columns  (k,) positions in INPUTS of further inputs, often none, with their center, scale and coef (k,)
    """

    move: int
    slope: float
    bend: float
    offset: float
    columns: Ints
    center: Floats
    scale: Floats
    coef: Floats

    @property
    def read(self) -> frozenset[str]:
        """Names of the inputs that move its score, beside those of the variance forecast."""
        return frozenset({INPUTS[self.move], *(INPUTS[column] for column in self.columns[self.coef != 0])})

    def score(self, inputs: Floats, log_variance: Floats) -> Floats:
        """The log odds, of inputs (..., len(INPUTS)) and the forecast of the same rows, (...)."""
        score = self._line(standardised(inputs[..., self.move], log_variance))
        if len(self.columns):
            score = score + weighted_sum((inputs[..., self.columns] - self.center) / self.scale, self.coef)
        return np.asarray(score)

    def probability(self, inputs: Floats, log_variance: float) -> float:
        """P(target) for the inputs of one decision hour, in (0, 1)."""
        if len(self.columns):
            return sigmoid(float(self.score(inputs, np.asarray(log_variance))))
        return sigmoid(float(self._line(standardised(float(inputs[self.move]), log_variance))))

    def _line(self, z: Any) -> Any:
        """What z alone gives, of one or of many."""
        return self.slope * z + self.bend * z * abs(z) + self.offset


def standardised(move: Any, log_variance: Any) -> Any:
    """z = ln(P/ref) in units of the forecast standard deviation, of one or of many; move: P/ref - 1."""
    return log1p(move) * exp(-0.5 * log_variance)


@dataclass(frozen=True, slots=True)
class Prediction:
    """p_a = P(C0 > O0), p_b = P(C0 > P11); p_b is 0.5 in the early session. ranges: where the price stays until the close."""

    p_a: float
    p_b: float
    ranges: tuple[PriceRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Out-of-sample hit rates of the loaded model's own evaluation (v6.md 7), each with its naive rules beside it.

    early: target A at 10:00; late_a, late_b: means over the cells of 11:00-15:00 (ruling L6: pooled in v1 only).
    sign_*: baseline B1 in the same cells, walk_*: baseline B2.
    """

    early: float
    late_a: float
    late_b: float
    baselines: Mapping[str, float]


class Coverage(NamedTuple):
    """On which share of the days of the evaluation the price stayed below the forecast high, above the low, and within both.
    n: their number, those of all tickers added up."""

    n: int
    high: float
    low: float
    both: float


@dataclass(frozen=True, slots=True)
class V6Model:
    """A loaded model set of one ticker. `metadata` is what the artefact says about itself (v6.md 8); coverage: of the forecast
    ranges, by level and decision hour, as its own evaluation measured it."""

    ticker: str
    model_id: str
    artifact_sha256: str
    data_end: date
    engine_version: str
    variance: VarianceForecast
    slots: Mapping[SlotName, Slot]
    ranges: RangeForecast
    coverage: Mapping[tuple[float, int], Coverage]
    accuracy: Accuracy
    metadata: Mapping[str, Any]

    def read_at(self, hour: int) -> frozenset[str]:
        """Names of the inputs that the slots of decision hour `hour` read."""
        slots = (self.slots[name] for name, hours in SLOT_HOURS.items() if hour in hours)
        return self.variance.read.union(*(slot.read for slot in slots))

    def predict(self, hour: int, features: Features) -> Prediction:
        """Both probabilities and the ranges of the price at decision hour `hour`. Raises Unavailable (MODEL_UNAVAILABLE) for
        what no market does: a forecast or a move without a probability."""
        inputs, log_variance = features.inputs, float(self.variance.log_variance(hour, features.inputs))
        if not LEAST_LOG_VARIANCE < log_variance < MOST_LOG_VARIANCE:
            raise Unavailable(
                "the forecast of the volatility is beyond all reason", part="models", code="MODEL_UNAVAILABLE"
            )
        ranges = self.ranges.at(hour, features.price, log_variance)
        if hour < LATE_FROM:
            return Prediction(self._probability("early_a", inputs, log_variance), EARLY_B, ranges)
        p_a, p_b = (self._probability(name, inputs, log_variance) for name in ("late_a", "late_b"))
        return Prediction(p_a, p_b, ranges)

    def _probability(self, name: SlotName, inputs: Floats, log_variance: float) -> float:
        p = self.slots[name].probability(inputs, log_variance)
        if math.isnan(p):
            raise Unavailable("the move of the price is beyond all reason", part="models", code="MODEL_UNAVAILABLE")
        return p


def sigmoid(score: float) -> float:
    """1 / (1 + e^-x), never exactly 0 or 1."""
    return 1.0 / (1.0 + exp(-min(max(score, -MOST_SCORE), MOST_SCORE)))


def probabilities(scores: Floats) -> Floats:
    """1 / (1 + e^-x) of any number of log odds, never exactly 0 or 1: for training, where the last digit is not looked at."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -MOST_SCORE, MOST_SCORE))))
