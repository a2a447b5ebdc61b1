"""The swing probabilities as v1 sends them: `v6_swing` of `/mtf` and `/swing` (v1-contract.md 4.2)."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import PredictError
from app.pipeline import SwingOutlook
from app.signals.policy import shown_swing
from blueprints.shared.values import Json

Outlooks = Mapping[str, SwingOutlook | PredictError]
UNKNOWN = 0.5
"""The probability of a horizon that nothing is said of: a null would be shown as bearish."""


def v6_swing(outlook: SwingOutlook | PredictError | None) -> Json | None:
    """The probabilities of all horizons; None where there are none."""
    if not isinstance(outlook, SwingOutlook):
        return None
    found = outlook.horizons.values()
    return {
        **{f"prob_{h.horizon}d_up": UNKNOWN if h.probability is None else shown_swing(h.probability) for h in found},
        **{f"signal_{h.horizon}d": h.signal for h in found},
        "unavailable_horizons": [f"{h.horizon}d" for h in found if h.probability is None],
    }
