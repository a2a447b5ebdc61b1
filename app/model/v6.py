"""The V6 intraday model: from the inputs of a decision hour to the probabilities of targets A and B (v6.md 1, 2).

Arrays in, numbers out, numpy alone. Pure: reads no files, knows no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from app.market.bars import Floats, Ints
from app.model.features import DECISION_HOURS, INPUTS, LATE_FROM, Features

SlotName = Literal["early_a", "late_a", "late_b"]
SLOTS: tuple[SlotName, ...] = ("early_a", "late_a", "late_b")
SLOT_HOURS: Mapping[SlotName, tuple[int, ...]] = {
    name: tuple(hour for hour in DECISION_HOURS if (hour < LATE_FROM) == (name == "early_a")) for name in SLOTS
}
"""The decision hours that each slot answers."""

EARLY_B = 0.5
"""p_B before 11:00, where B has no reference price yet (v6.md 1)."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression on scaled inputs: weight in the slot's mean, coefficients (k,), intercept."""

    weight: float
    coef: Floats
    intercept: float

    def score(self, x: Floats) -> float:
        return float(x @ self.coef) + self.intercept


@dataclass(frozen=True, slots=True)
class Slot:
    """One model: which inputs it reads (positions in INPUTS), their scaler, its members and its Platt calibrator."""

    columns: Ints
    center: Floats
    scale: Floats
    members: tuple[Logistic, ...]
    platt: tuple[float, float]

    @property
    def read(self) -> frozenset[str]:
        """Names of the inputs that move its score: those to which a member with a weight gives a coefficient."""
        used = np.any([member.weight * member.coef != 0 for member in self.members], axis=0)
        return frozenset(INPUTS[column] for column in self.columns[used])

    def probability(self, inputs: Floats) -> float:
        """P(target) for the inputs of one decision hour, in (0, 1)."""
        x = (inputs[self.columns] - self.center) / self.scale
        score = sum(member.weight * member.score(x) for member in self.members)
        slope, offset = self.platt
        return sigmoid(slope * score + offset)


@dataclass(frozen=True, slots=True)
class Prediction:
    """p_a = P(C0 > O0), p_b = P(C0 > P11); p_b is 0.5 in the early session."""

    p_a: float
    p_b: float


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


@dataclass(frozen=True, slots=True)
class V6Model:
    """A loaded model set of one ticker. `metadata` is what the artefact says about itself (v6.md 8)."""

    ticker: str
    model_id: str
    artifact_sha256: str
    data_end: date
    engine_version: str
    slots: Mapping[SlotName, Slot]
    accuracy: Accuracy
    metadata: Mapping[str, Any]

    def read_at(self, hour: int) -> frozenset[str]:
        """Names of the inputs that the slots of decision hour `hour` read."""
        slots = (self.slots[name] for name, hours in SLOT_HOURS.items() if hour in hours)
        return frozenset[str]().union(*(slot.read for slot in slots))

    def predict(self, hour: int, features: Features) -> Prediction:
        """Both probabilities at decision hour `hour`."""
        if hour < LATE_FROM:
            return Prediction(self.slots["early_a"].probability(features.inputs), EARLY_B)
        return Prediction(*(self.slots[name].probability(features.inputs) for name in ("late_a", "late_b")))


def sigmoid(score: float) -> float:
    """1 / (1 + e^-x), never exactly 0 or 1."""
    return float(1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0))))
