"""Phase 2 of both intraday engines: how far the base truth can be trusted, in five weighted dimensions.

Computed once and read by both. Looks at the truth and at what the caller knows; never at bars, prices or a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.structure.sentences import FAILURES
from app.structure.terms import Conviction, HealthTier, RangeState
from app.structure.truth import Truth
from app.structure.view import Activity

FULL = 100  # northstar.md 4
WEIGHTS_PCT = {  # northstar.md 4
    "structural_integrity": 30,
    "time_persistence": 15,
    "volatility_alignment": 15,
    "participation_consistency": 20,
    "failure_risk": 20,
}
STALE_MINUTES = 60  # northstar.md 4, time_persistence
HEALTHY_SCORE, DEGRADED_SCORE = 75, 45  # northstar.md 4


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The five dimensions, 0-100 each, 100 is sound (northstar.md 4)."""

    structural_integrity: int = FULL
    time_persistence: int = FULL
    volatility_alignment: int = FULL
    participation_consistency: int = FULL
    failure_risk: int = FULL


@dataclass(frozen=True, slots=True)
class Health:
    """Phase 2 (northstar.md 4); health_score 0-100."""

    health_score: int
    tier: HealthTier
    stand_down: bool
    reasons: tuple[str, ...]
    dimensions: Dimensions


def health_of(truth: Truth, activity: Activity) -> Health:
    """Phase 2 of a truth, resolved or not (northstar.md 4, N15)."""
    left = dict.fromkeys(WEIGHTS_PCT, FULL)
    reasons = []
    for dimension, points, reason in _penalties(truth, activity):
        left[dimension] = max(0, left[dimension] - points)
        reasons.append(reason)
    score = sum(weight * left[dimension] for dimension, weight in WEIGHTS_PCT.items()) // 100
    tier = _tier(score)
    return Health(score, tier, tier is HealthTier.UNSTABLE, tuple(reasons), Dimensions(**left))


def _tier(score: int) -> HealthTier:
    if score >= HEALTHY_SCORE:
        return HealthTier.HEALTHY
    return HealthTier.DEGRADED if score >= DEGRADED_SCORE else HealthTier.UNSTABLE


def _penalties(truth: Truth, activity: Activity) -> Iterator[tuple[str, int, str]]:
    """Dimension, points and reason of each penalty that applies, in the order of northstar.md 4."""
    failed = " and ".join(FAILURES[failure.type] for failure in truth.failures.found)
    if not truth.acceptance.accepted:
        yield "structural_integrity", 25, "Closes hold neither side of the 30-bar middle"
    if not truth.continuity.aligned:
        yield "structural_integrity", 15, "The session and the daily bars point different ways"
    if truth.failures.present:
        yield "structural_integrity", 30, f"Structure was damaged by {failed}"
    if truth.range.state is RangeState.FAILED_EXPANSION:
        yield "structural_integrity", 20, "The range was stretched without getting anywhere"
    if activity.stalled:
        yield "time_persistence", 20, "The move has stalled"
    if activity.time_since_acceptance_minutes > STALE_MINUTES:
        yield "time_persistence", 10, f"Acceptance is {activity.time_since_acceptance_minutes} minutes old"
    if activity.volatility_dislocated:
        yield "volatility_alignment", 25, "Volatility is out of line with the structure"
    if truth.participation.conviction is Conviction.LOW:
        yield "participation_consistency", 15, "Volume is below its 20-bar mean"
    if not truth.participation.effort_result_match:
        yield "participation_consistency", 20, "Volume is not answered by price"
    if truth.failures.present:
        yield "failure_risk", 40, f"Another failure is likelier after {failed}"
