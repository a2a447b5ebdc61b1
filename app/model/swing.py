"""The swing models: from the features of a completed day to the probabilities that closes lie higher after it (v6.md 9).

The probability of a horizon is the base rate of its training days, moved towards a logistic regression as far as its
weight says. The weight is 0 where the evaluation measures no difference: then the base rate is all that is said. Arrays in,
numbers out, numpy alone. Pure: reads no files, knows no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from app.market.bars import Floats, Ints
from app.model.elementary import weighted_sum
from app.model.swing_features import SwingFeatures
from app.model.v6 import sigmoid
from app.model.verdicts import Verdict, verdict_of_record

HORIZONS = (1, 3, 5, 10)
"""Trading days from the close of day t to the close that is compared with it."""

TARGETS = {horizon: f"up_{horizon}d_close_gt_close_v1" for horizon in HORIZONS}


class SwingVerdict(StrEnum):
    """The only words that may be used for a horizon: the verdict against its base rate."""

    BETTER = "measurably better than the base rate"
    NO_DIFFERENCE = "no measurable difference from the base rate"
    WORSE = "measurably worse than the base rate"


VERDICTS: Mapping[Verdict, SwingVerdict] = {
    Verdict.BETTER: SwingVerdict.BETTER,
    Verdict.NO_DIFFERENCE: SwingVerdict.NO_DIFFERENCE,
    Verdict.WORSE: SwingVerdict.WORSE,
}
"""By the interval of (log-loss of the base rate - log-loss of the model)."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """One horizon: its base rate, how far the regression may move it (0..1), and the regression on scaled features."""

    base_rate: float
    weight: float
    columns: Ints
    center: Floats
    scale: Floats
    coef: Floats
    intercept: float

    def probability(self, values: Floats) -> float:
        """P(close after the horizon > close of t), in (0, 1)."""
        x = (values[self.columns] - self.center) / self.scale
        return self.base_rate + self.weight * (
            sigmoid(float(weighted_sum(x, self.coef)) + self.intercept) - self.base_rate
        )


@dataclass(frozen=True, slots=True)
class SwingModel:
    """The loaded swing models of all tickers. `metadata` is what the artefact says about itself (v6.md 8)."""

    model_id: str
    artifact_sha256: str
    data_end: date
    tickers: tuple[str, ...]
    horizons: Mapping[int, Horizon]
    metadata: Mapping[str, Any]

    def predict(self, features: SwingFeatures) -> dict[int, float]:
        """The probability of every horizon that there is a model of."""
        return {horizon: model.probability(features.values) for horizon, model in self.horizons.items()}

    def evaluation_of(self, horizon: int) -> Mapping[str, Any]:
        """The out-of-sample evaluation of a horizon, as the artefact has it."""
        found: Mapping[str, Any] = self.metadata["evaluation"]["horizons"][str(horizon)]
        return found

    def verdict_of(self, horizon: int) -> SwingVerdict:
        """What may be said of a horizon."""
        return VERDICTS[verdict_of_record(self.evaluation_of(horizon))]
