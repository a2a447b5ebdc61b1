"""How the biases of session and days stand to each other (v1-contract.md 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.structure.terms import Bias


@dataclass(frozen=True, slots=True)
class Alignment:
    """direction: the common bias, None unless both are the same and have a side."""

    status: Literal["ALIGNED", "CONFLICT", "PARTIAL"]
    direction: Bias | None
    intraday: Bias
    swing: Bias
    confidence: Literal["HIGH", "MEDIUM", "LOW"]


def alignment_of(intraday: Bias, swing: Bias) -> Alignment:
    """Aligned with the same side, in conflict with opposite ones, partial where one of the two has none."""
    if Bias.NEUTRAL in (intraday, swing):
        return Alignment("PARTIAL", None, intraday, swing, "MEDIUM")
    if intraday is swing:
        return Alignment("ALIGNED", intraday, intraday, swing, "HIGH")
    return Alignment("CONFLICT", None, intraday, swing, "LOW")
