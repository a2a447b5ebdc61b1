"""RPE phases 2-4: integrity, volatility, density, posture (rpe.md 3-5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import time

import numpy as np
import pytest

from app.market.bars import Bars, no_bars
from app.structure import QUIET
from app.structure.health import health_of
from app.structure.levels import measure
from app.structure.measured import (
    Aggregation,
    Core12,
    FailureTokens,
    MeasuredRange,
    MeasuredTruth,
    MtfContinuity,
    VolumeParticipation,
)
from app.structure.posture import (
    Posture,
    SignalDensity,
    SignalHealth,
    StandDown,
    posture_of,
    signal_density,
    signal_health,
)
from app.structure.terms import (
    ChangeType,
    ConfidenceBand,
    Conviction,
    Direction,
    HealthTier,
    MarketMode,
    PlayType,
    RangeState,
    RiskLevel,
    Throttle,
    VolatilityRegime,
)
from app.structure.truth import UNRESOLVED
from tests.structure.making import CALENDAR, DAY, joined, minutes, view

SESSION = CALENDAR.session(DAY)
HEALTH = health_of(UNRESOLVED, QUIET)


def without(bars: Bars, *gone: int) -> Bars:
    keep = np.setdiff1d(np.arange(len(bars)), gone)
    return joined(*(bars[int(i) : int(i) + 1] for i in keep))


def checked(bars: Bars) -> SignalHealth:
    return signal_health(bars, SESSION, None, HEALTH)


# integrity (rpe.md 3.1)


@pytest.mark.parametrize(
    ("gone", "missing", "quality"),
    [
        ((), 0, 100),
        ((5,), 0, 100),  # a step of two minutes is not longer than two minutes
        ((5, 6), 1, 95),
        ((5, 6, 9, 10, 13, 14, 17, 18), 4, 80),
        ((5, 6, 9, 10, 13, 14, 17, 18, 21, 22), 5, 55),
    ],
)
def test_steps_over_two_minutes_cost_quality(gone: tuple[int, ...], missing: int, quality: int) -> None:
    integrity = checked(without(minutes([100.0] * 40), *gone)).integrity
    assert (integrity.missing_bars, integrity.data_quality_score) == (missing, quality)
    assert integrity.time_alignment_ok is (missing < 5)


def test_quality_of_eighty_does_not_block_and_cannot_fall_below_zero() -> None:
    gaps = [i for start in range(5, 21, 4) for i in (start, start + 1)]
    assert checked(without(minutes([100.0] * 40), *gaps)).blockers == HEALTH.reasons
    gaps = [i for start in range(5, 85, 4) for i in (start, start + 1)]
    assert checked(without(minutes([100.0] * 90), *gaps)).integrity.data_quality_score == 0


def test_quality_below_eighty_blocks_before_everything_else() -> None:
    found = checked(without(minutes([100.0] * 40), 5, 6, 9, 10, 13, 14, 17, 18, 21, 22))
    assert "55" in found.blockers[0]
    assert found.blockers[1:] == HEALTH.reasons
    assert found.health_score == HEALTH.health_score


def test_gaps_outside_the_session_do_not_count() -> None:
    thin = without(minutes([100.0] * 60, start=time(8, 0)), *range(2, 50))
    assert checked(joined(thin, minutes([100.0] * 5))).integrity.missing_bars == 0


def test_without_a_session_no_gap_is_known() -> None:
    bars = without(minutes([100.0] * 40), 5, 6)
    assert signal_health(bars, None, None, HEALTH).integrity.missing_bars == 0


def test_without_bars_there_is_no_quality() -> None:
    integrity = checked(no_bars()).integrity
    assert (integrity.data_quality_score, integrity.time_alignment_ok) == (0, False)


# volatility regime (rpe.md 3.3)


def regime(last: float, count: int = 60) -> SignalHealth:
    """True ranges of 1, the last 14 of them `last`."""
    closes = [1000.0 + i % 2 for i in range(count - 14)]
    for i in range(14):
        closes.append(closes[-1] + (last if i % 2 else -last))
    bars = minutes(closes)
    return signal_health(bars, SESSION, measure(view(bars)), HEALTH)


@pytest.mark.parametrize(
    ("last", "name", "state"),
    [
        # with 59 true ranges the hour's mean is (45 + 14 x) / 59
        (1.0, "NORMAL", "NORMAL"),
        (1.758, "NORMAL", "NORMAL"),  # 1.49 times it
        (1.795, "HIGH", "REDUCED"),  # 1.51 times it
        (2.876, "HIGH", "REDUCED"),  # 1.99 times it
        (2.931, "EXTREME", "DEFENSIVE"),  # 2.01 times it
        (0.4376, "NORMAL", "NORMAL"),  # 0.505 times it
        (0.4229, "LOW", "NORMAL"),  # 0.49 times it
    ],
)
def test_the_regime_compares_atr_with_the_hour(last: float, name: str, state: str) -> None:
    found = regime(last).risk_state
    assert (found.volatility_regime, found.state) == (name, state)


def test_the_regime_needs_an_hour_and_some_range() -> None:
    assert regime(3.0, count=59).risk_state.volatility_regime is VolatilityRegime.NORMAL
    flat = minutes([100.0] * 60)
    assert signal_health(flat, SESSION, measure(view(flat)), HEALTH).risk_state.state is RiskLevel.NORMAL


# density (rpe.md 4)


def truth(
    *,
    direction: Direction = Direction.BALANCED,
    tier: ConfidenceBand = ConfidenceBand.STRUCTURAL_EDGE,
    score: int = 70,
    state: RangeState = RangeState.BALANCE,
    aligned: bool = True,
    conviction: Conviction = Conviction.MEDIUM,
    footprint: bool = False,
    failures: FailureTokens | None = None,
    relative_volume: float = 1.0,
) -> MeasuredTruth:
    return MeasuredTruth(
        core12=Core12(vwap=100.0, atr_14=0.5, relative_volume=relative_volume),
        range_state=MeasuredRange(state=state, range_high=101.0, range_low=99.0, range_width_atr=4.0),
        mtf_continuity=MtfContinuity(aligned=aligned),
        participation=VolumeParticipation(conviction=conviction, institutional_footprint=footprint),
        failures=failures or FailureTokens(),
        aggregation=Aggregation(resolved=True, direction=direction, truth_score=score, confidence_tier=tier),
    )


@pytest.mark.parametrize(
    ("direction", "mode"), [("UP", "ACCUMULATION"), ("DOWN", "DISTRIBUTION"), ("BALANCED", "NORMAL")]
)
def test_a_footprint_names_the_side(direction: str, mode: str) -> None:
    found = signal_density(truth(direction=Direction(direction), footprint=True, conviction=Conviction.LOW), 0).mode
    assert (found.mode, found.mode_confidence) == (mode, 0.8)


def test_little_volume_is_quiet() -> None:
    quiet = signal_density(truth(conviction=Conviction.LOW), 0).mode
    normal = signal_density(truth(), 0).mode
    assert (quiet.mode, quiet.mode_confidence) == (MarketMode.QUIET, 0.6)
    assert (normal.mode, normal.mode_confidence) == (MarketMode.NORMAL, 0.5)


@pytest.mark.parametrize(
    ("signals", "state", "score", "cooling", "throttle", "allowed", "reasons"),
    [
        (0, RangeState.BALANCE, 100, False, Throttle.OPEN, True, 0),
        (2, RangeState.BALANCE, 100, False, Throttle.OPEN, True, 0),
        (3, RangeState.BALANCE, 70, True, Throttle.OPEN, False, 1),
        (4, RangeState.BALANCE, 30, True, Throttle.OPEN, False, 2),
        (5, RangeState.BALANCE, 0, True, Throttle.OPEN, False, 3),
        (5, RangeState.TREND, 30, True, Throttle.OPEN, False, 2),
        (6, RangeState.TREND, 30, True, Throttle.OPEN, False, 2),
        (7, RangeState.TREND, 30, True, Throttle.LIMITED, False, 2),
        (10, RangeState.TREND, 0, True, Throttle.BLOCKED, False, 3),
        (12, RangeState.TREND, 0, True, Throttle.BLOCKED, False, 3),
    ],
)
def test_signals_cool_down_and_spend_the_budget(
    signals: int, state: RangeState, score: int, cooling: bool, throttle: Throttle, allowed: bool, reasons: int
) -> None:
    found = signal_density(truth(state=state), signals)
    assert (found.density_score, found.allow_signal, len(found.reasons)) == (score, allowed, reasons)
    assert (found.cooldown.active, found.cooldown.remaining_bars) == (cooling, 10 if cooling else 0)
    assert (found.budget.throttle, found.budget.used_today) == (throttle, signals)
    assert found.budget.remaining == max(0, 10 - signals)


FAILED = FailureTokens(present=True, most_recent_failure_bars_ago=3, failed_breakout_level=98.5)


@pytest.mark.parametrize(
    ("measured", "change", "magnitude", "bars"),
    [
        (truth(), None, 0.0, 0),
        (truth(failures=FAILED), ChangeType.LEVEL_BREAK, 0.0, 3),
        (truth(failures=FailureTokens(present=True)), ChangeType.LEVEL_BREAK, 0.0, 0),
        (truth(failures=FAILED, state=RangeState.FAILED_EXPANSION), ChangeType.REGIME_SHIFT, 0.0, 3),
        (truth(relative_volume=2.0), None, 0.0, 0),
        (truth(failures=FAILED, relative_volume=2.01), ChangeType.VOLUME_SPIKE, 2.01, 3),
    ],
)
def test_the_last_material_change_names_the_type(
    measured: MeasuredTruth, change: ChangeType | None, magnitude: float, bars: int
) -> None:
    found = signal_density(measured, 0).material_change
    assert (found.detected, found.change_type) == (change is not None, change)
    assert (found.magnitude, found.bars_since_change) == (magnitude, bars)


# posture (rpe.md 5)

SOUND = replace(checked(minutes([100.0] * 40)), tier=HealthTier.HEALTHY, health_score=100)


def posture(measured: MeasuredTruth, health: SignalHealth = SOUND, density: SignalDensity | None = None) -> Posture:
    return posture_of(measured, health, density or signal_density(measured, 0))


EXTREME = replace(SOUND, risk_state=replace(SOUND.risk_state, volatility_regime=VolatilityRegime.EXTREME))


@pytest.mark.parametrize(
    ("measured", "health", "signals", "reasons"),
    [
        (truth(tier=ConfidenceBand.NO_TRADE), SOUND, 0, 1),
        (truth(), replace(SOUND, stand_down=True), 0, 1),
        (truth(), SOUND, 10, 1),
        (truth(), EXTREME, 0, 1),
        (truth(tier=ConfidenceBand.NO_TRADE), replace(EXTREME, stand_down=True), 10, 4),
    ],
)
def test_standing_down_leaves_nothing_to_trade(
    measured: MeasuredTruth, health: SignalHealth, signals: int, reasons: int
) -> None:
    found = posture(measured, health, signal_density(measured, signals))
    assert found.stand_down_logic.active
    assert len(found.stand_down_logic.reasons) == reasons
    assert found.stand_down_logic.duration_recommendation_bars == 10
    assert not found.allowed
    assert found.confidence_risk.position_size_modifier == 0.0
    assert (found.confidence_risk.max_loss_atr, found.invalidation.time_limit_bars) == (1.0, None)
    assert (found.play_type.play_type, found.bias.strength) == (PlayType.NO_TRADE, 0.0)


@pytest.mark.parametrize(
    ("direction", "aligned", "bias", "strength", "reasons"),
    [
        ("UP", True, "LONG", 0.7, 2),
        ("UP", False, "LONG", 0.5, 1),
        ("DOWN", True, "SHORT", 0.7, 2),
        ("BALANCED", True, "NEUTRAL", 0.3, 2),
        ("BALANCED", False, "NEUTRAL", 0.3, 1),
    ],
)
def test_bias_follows_direction(direction: str, aligned: bool, bias: str, strength: float, reasons: int) -> None:
    found = posture(truth(direction=Direction(direction), aligned=aligned)).bias
    assert (found.bias, found.strength, len(found.reasons)) == (bias, strength, reasons)


@pytest.mark.parametrize(
    ("state", "tier", "play", "suitability", "alternatives"),
    [
        ("TREND", "HEALTHY", "TREND_CONTINUATION", 85, ("BREAKOUT",)),
        ("TREND", "DEGRADED", "SCALP", 60, ("BREAKOUT",)),
        ("BALANCE", "HEALTHY", "MEAN_REVERSION", 75, ("SCALP",)),
        ("BALANCE", "DEGRADED", "MEAN_REVERSION", 75, ("SCALP",)),
        ("BALANCE", "UNSTABLE", "NO_TRADE", 20, ()),
        ("FAILED_EXPANSION", "HEALTHY", "SCALP", 50, ("NO_TRADE",)),
        ("FAILED_EXPANSION", "UNSTABLE", "SCALP", 50, ("NO_TRADE",)),
    ],
)
def test_the_play_fits_range_and_health(
    state: str, tier: str, play: str, suitability: int, alternatives: tuple[str, ...]
) -> None:
    found = posture(truth(state=RangeState(state)), replace(SOUND, tier=HealthTier(tier))).play_type
    assert (found.play_type, found.suitability_score, found.alternatives) == (play, suitability, alternatives)


@pytest.mark.parametrize(
    ("tier", "risk", "size"),
    [
        ("HEALTHY", "NORMAL", 1.0),
        ("HEALTHY", "REDUCED", 0.5),
        ("DEGRADED", "NORMAL", 0.5),
        ("HEALTHY", "DEFENSIVE", 0.25),
        ("UNSTABLE", "NORMAL", 0.25),
    ],
)
def test_size_fits_health_and_risk(tier: str, risk: str, size: float) -> None:
    health = replace(SOUND, tier=HealthTier(tier), risk_state=replace(SOUND.risk_state, state=RiskLevel(risk)))
    assert posture(truth(), health).confidence_risk.position_size_modifier == size


@pytest.mark.parametrize(
    ("score", "health", "confidence", "loss"), [(10, 100, 70, 1.5), (8, 100, 69, 1.0), (60, 59, 73, 1.5)]
)
def test_confidence_is_the_mean_of_three_scores_cut_off(score: int, health: int, confidence: int, loss: float) -> None:
    found = posture(truth(score=score), replace(SOUND, health_score=health)).confidence_risk
    assert (found.confidence, found.max_loss_atr) == (confidence, loss)
    assert found.risk_reward_ratio == 2.0


def test_invalidation_lists_the_range_and_the_broken_level() -> None:
    plain = posture(truth()).invalidation
    assert (plain.price_levels, plain.time_limit_bars, len(plain.conditions)) == ((101.0, 99.0), 60, 4)
    assert posture(truth(failures=FAILED)).invalidation.price_levels == (101.0, 99.0, 98.5)
    assert posture(replace(truth(), range_state=MeasuredRange())).invalidation.price_levels == ()


def test_context_alone_gives_a_posture_that_is_not_allowed() -> None:
    found = posture(truth(tier=ConfidenceBand.CONTEXT_ONLY))
    assert not found.allowed
    assert found.stand_down_logic == StandDown()
    assert found.stand_down_logic.duration_recommendation_bars == 0
    assert found.play_type.play_type is PlayType.MEAN_REVERSION


def test_allowed_needs_edge_a_free_signal_and_confidence() -> None:
    assert posture(truth()).allowed
    assert not posture(truth(), density=signal_density(truth(), 3)).allowed
    low = replace(SOUND, health_score=0)
    assert not posture(truth(score=49), low).allowed
    assert posture(truth(score=50), low).allowed
