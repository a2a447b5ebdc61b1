"""Phase 2 of both engines: penalties, weights, tiers (northstar.md 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.structure import QUIET, Activity
from app.structure.health import WEIGHTS_PCT, Dimensions, _tier, health_of
from app.structure.terms import Conviction, FailureType, HealthTier, RangeState
from app.structure.truth import (
    UNRESOLVED,
    Acceptance,
    Continuity,
    Failure,
    Failures,
    Participation,
    RangeOutcome,
    Truth,
)

SOUND = Truth(
    resolved=True,
    acceptance=Acceptance(accepted=True),
    continuity=Continuity(aligned=True),
    participation=Participation(Conviction.MEDIUM, effort_result_match=True),
)
FAILED = Failures((Failure(FailureType.FAILED_HIGH_BREAKOUT, 101.0),))


def test_nothing_wrong_is_a_hundred_without_a_reason() -> None:
    health = health_of(SOUND, QUIET)
    assert (health.health_score, health.tier, health.stand_down, health.reasons) == (100, HealthTier.HEALTHY, False, ())
    assert health.dimensions == Dimensions()


def test_an_unresolved_reading_scores_eighty_one() -> None:
    health = health_of(UNRESOLVED, QUIET)
    assert (health.health_score, health.tier) == (81, HealthTier.HEALTHY)
    assert len(health.reasons) == 4


@pytest.mark.parametrize(
    ("truth", "activity", "dimensions", "score"),
    [
        (replace(SOUND, acceptance=Acceptance()), QUIET, Dimensions(structural_integrity=75), 92),
        (replace(SOUND, continuity=Continuity()), QUIET, Dimensions(structural_integrity=85), 95),
        (replace(SOUND, failures=FAILED), QUIET, Dimensions(structural_integrity=70, failure_risk=60), 83),
        (
            replace(SOUND, range=RangeOutcome(RangeState.FAILED_EXPANSION)),
            QUIET,
            Dimensions(structural_integrity=80),
            94,
        ),
        (SOUND, Activity(stalled=True), Dimensions(time_persistence=80), 97),
        (SOUND, Activity(time_since_acceptance_minutes=61), Dimensions(time_persistence=90), 98),
        (SOUND, Activity(time_since_acceptance_minutes=60), Dimensions(), 100),
        (SOUND, Activity(volatility_dislocated=True), Dimensions(volatility_alignment=75), 96),
        (
            replace(SOUND, participation=Participation(Conviction.LOW, True)),
            QUIET,
            Dimensions(participation_consistency=85),
            97,
        ),
        (
            replace(SOUND, participation=Participation(Conviction.HIGH, False)),
            QUIET,
            Dimensions(participation_consistency=80),
            96,
        ),
    ],
)
def test_each_penalty_has_its_dimension_and_weight(
    truth: Truth, activity: Activity, dimensions: Dimensions, score: int
) -> None:
    health = health_of(truth, activity)
    assert health.dimensions == dimensions
    assert health.health_score == score


def test_a_failure_gives_two_reasons() -> None:
    assert len(health_of(replace(SOUND, failures=FAILED), QUIET).reasons) == 2


def test_the_worst_that_bars_can_say_is_sixty_one_and_degraded() -> None:
    """Unanswered volume is never low volume, so no resolved reading loses both penalties of participation."""
    worst = Truth(
        failures=FAILED,
        range=RangeOutcome(RangeState.FAILED_EXPANSION),
        participation=Participation(Conviction.MEDIUM, effort_result_match=False),
    )
    health = health_of(worst, QUIET)
    assert (health.health_score, health.tier, health.stand_down) == (61, HealthTier.DEGRADED, False)
    assert len(health.reasons) == 6


def test_every_penalty_at_once_leaves_forty_nine_and_ten_reasons() -> None:
    activity = Activity(stalled=True, time_since_acceptance_minutes=90, volatility_dislocated=True)
    health = health_of(replace(UNRESOLVED, failures=FAILED, range=RangeOutcome(RangeState.FAILED_EXPANSION)), activity)
    assert (health.health_score, health.tier, health.stand_down) == (49, HealthTier.DEGRADED, False)
    assert len(health.reasons) == 10


def test_the_weights_add_up() -> None:
    assert sum(WEIGHTS_PCT.values()) == 100


@pytest.mark.parametrize(("score", "tier"), [(75, "HEALTHY"), (74, "DEGRADED"), (45, "DEGRADED"), (44, "UNSTABLE")])
def test_the_tiers_begin_at_forty_five_and_seventy_five(score: int, tier: str) -> None:
    assert _tier(score) == tier
