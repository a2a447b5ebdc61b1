"""Northstar's own decisions: words of phase 1, density, permission (northstar.md 3-6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.structure import QUIET, Activity, Northstar, analyse
from app.structure.health import Health, health_of
from app.structure.northstar import Phase1, Phase3, _density, _execution_mode, _permission, _risk_state
from app.structure.terms import (
    Bias,
    ConfidenceBand,
    Direction,
    ExecutionMode,
    HealthTier,
    RangeState,
    RiskLevel,
    Throttle,
)
from app.structure.truth import UNRESOLVED, RangeOutcome
from tests.structure.making import DAY, days, minutes, view
from tests.structure.plain import plain

UP = [100.0 + i / 10 for i in range(60)]
DAILY_UP = [50.0 + i for i in range(50)]
LOUD = [1000.0] * 55 + [5000.0] * 5


def analysed(closes: list[float], activity: Activity = QUIET, **made: list[float]) -> Northstar:
    bars = minutes(closes, **made)  # type: ignore[arg-type]
    return analyse("SPY", view(bars, days(DAILY_UP), opened=closes[0]), activity=activity).northstar


def test_a_trend_with_everything_behind_it_is_permitted() -> None:
    found = analysed(UP, v=LOUD)
    assert found.phase1.confidence_band is ConfidenceBand.STRUCTURAL_EDGE
    assert found.phase4 == replace(
        found.phase4, allowed=True, bias=Bias.LONG, execution_mode=ExecutionMode.TREND_CONTINUATION
    )
    assert found.phase4.risk_state is RiskLevel.NORMAL
    assert len(found.phase4.invalidation_context) == 3


def test_the_moment_is_told_in_new_york_time() -> None:
    stamp = analysed(UP).timestamp
    assert stamp.isoformat() == f"{DAY}T10:30:00-05:00"


def test_sentences_carry_the_prices() -> None:
    found = analysed(UP, v=LOUD)
    assert (
        found.phase1.acceptance.acceptance_reason
        == "10 of the last 10 closes hold above $104.45, the middle of the range"
    )
    split = analysed([99.0, 101.0] + [100.0] * 30)
    assert "$100.00" in split.phase1.acceptance.acceptance_reason
    assert "no clear side" in split.phase1.acceptance.acceptance_reason


def test_a_conflict_names_both_directions() -> None:
    down = [200.0 - i / 10 for i in range(60)]
    found = analysed(down)
    assert not found.phase1.mtf.aligned
    assert "DAILY=UP" in (found.phase1.mtf.conflict_tf or "")
    assert "INTRADAY=DOWN" in (found.phase1.mtf.conflict_tf or "")


def test_failures_start_with_their_token_and_carry_prices() -> None:
    found = analysed([100.0] * 30 + [101.0] + [99.5] * 8)
    (failure,) = found.phase1.failure.failure_types
    assert failure.startswith("FAILED_HIGH_BREAKOUT")
    assert "$101.00" in failure
    assert "$99.50" in failure


def test_failed_levels_say_level_price_and_distance() -> None:
    found = analysed([100.0] * 26 + [101.0, 99.0, 100.0, 100.0])
    rejected, bounced = found.phase1.acceptance.failed_levels
    assert all(text in rejected for text in ("$101.00", "$100.00", "1.00%"))
    assert all(text in bounced for text in ("$99.00", "$100.00", "1.01%"))


def test_below_thirty_bars_nothing_is_resolved_and_nothing_permitted() -> None:
    found = analysed(UP[:29])
    assert found.phase1 == Phase1()
    assert found.phase2.health_score == 81
    assert found.phase3.allowed_signals == 999
    assert (found.phase4.allowed, found.phase4.risk_state) == (False, RiskLevel.DEFENSIVE)
    assert len(found.phase4.invalidation_context) == 1


@pytest.mark.parametrize(
    ("activity", "state", "score", "throttle", "allowed"),
    [
        (Activity(), RangeState.BALANCE, 100, Throttle.OPEN, 999),
        (Activity(signals_last_10m=3), RangeState.BALANCE, 100, Throttle.OPEN, 999),
        (Activity(signals_last_10m=4), RangeState.BALANCE, 60, Throttle.LIMITED, 1),
        (Activity(signals_last_10m=4, levels=1), RangeState.BALANCE, 60, Throttle.LIMITED, 1),
        (Activity(signals_last_10m=4, levels=2), RangeState.BALANCE, 100, Throttle.OPEN, 999),
        (Activity(signals_last_10m=5), RangeState.BALANCE, 30, Throttle.BLOCKED, 0),
        (Activity(signals_last_10m=5), RangeState.TREND, 60, Throttle.LIMITED, 1),
        (Activity(firing_timeframes=3), RangeState.TREND, 70, Throttle.OPEN, 999),
        (Activity(firing_timeframes=2), RangeState.TREND, 100, Throttle.OPEN, 999),
        (Activity(signals_last_10m=5, firing_timeframes=3), RangeState.BALANCE, 0, Throttle.BLOCKED, 0),
    ],
)
def test_density_falls_with_signals(
    activity: Activity, state: RangeState, score: int, throttle: Throttle, allowed: int
) -> None:
    found = _density(replace(UNRESOLVED, range=RangeOutcome(state)), activity)
    assert (found.density_score, found.throttle, found.allowed_signals) == (score, throttle, allowed)
    assert (found.density_score == 100) == (not found.reasons)


EDGE = Phase1(confidence_band=ConfidenceBand.STRUCTURAL_EDGE)
SOUND = health_of(UNRESOLVED, QUIET)
OPEN = _density(UNRESOLVED, QUIET)


@pytest.mark.parametrize(
    ("phase1", "health", "density", "denials"),
    [
        (EDGE, SOUND, OPEN, 0),
        (Phase1(confidence_band=ConfidenceBand.CONTEXT_ONLY), SOUND, OPEN, 1),
        (EDGE, replace(SOUND, stand_down=True), OPEN, 1),
        (EDGE, SOUND, replace(OPEN, throttle=Throttle.BLOCKED), 1),
        (Phase1(), replace(SOUND, stand_down=True), replace(OPEN, throttle=Throttle.BLOCKED), 3),
    ],
)
def test_any_of_three_denies(phase1: Phase1, health: Health, density: Phase3, denials: int) -> None:
    found = _permission(phase1, health, density)
    assert found.allowed is (denials == 0)
    if denials:
        assert len(found.invalidation_context) == denials
        assert (found.bias, found.execution_mode) == (Bias.NEUTRAL, ExecutionMode.NO_TRADE)


def test_a_denial_names_the_band() -> None:
    found = _permission(Phase1(confidence_band=ConfidenceBand.CONTEXT_ONLY), SOUND, OPEN)
    assert "CONTEXT_ONLY" in found.invalidation_context[0]


@pytest.mark.parametrize(("direction", "bias"), [("UP", "LONG"), ("DOWN", "SHORT"), ("BALANCED", "NEUTRAL")])
def test_bias_follows_direction_and_neutral_is_kept(direction: str, bias: str) -> None:
    found = _permission(replace(EDGE, direction=Direction(direction)), SOUND, OPEN)
    assert found.allowed
    assert found.bias == bias


@pytest.mark.parametrize(
    ("state", "tier", "mode"),
    [
        ("TREND", "HEALTHY", "TREND_CONTINUATION"),
        ("TREND", "DEGRADED", "SCALP"),
        ("BALANCE", "HEALTHY", "MEAN_REVERSION"),
        ("BALANCE", "DEGRADED", "MEAN_REVERSION"),
        ("BALANCE", "UNSTABLE", "SCALP"),
        ("FAILED_EXPANSION", "HEALTHY", "SCALP"),
    ],
)
def test_the_mode_fits_range_and_health(state: str, tier: str, mode: str) -> None:
    assert _execution_mode(RangeState(state), HealthTier(tier)) == mode


@pytest.mark.parametrize(
    ("tier", "throttle", "risk"),
    [
        ("HEALTHY", "OPEN", "NORMAL"),
        ("HEALTHY", "LIMITED", "REDUCED"),
        ("DEGRADED", "OPEN", "REDUCED"),
        ("UNSTABLE", "LIMITED", "REDUCED"),
        ("UNSTABLE", "OPEN", "DEFENSIVE"),
        ("HEALTHY", "BLOCKED", "DEFENSIVE"),
    ],
)
def test_the_risk_state_fits_health_and_throttle(tier: str, throttle: str, risk: str) -> None:
    assert _risk_state(HealthTier(tier), Throttle(throttle)) == risk


def test_lists_are_empty_never_none() -> None:
    found = plain(analysed(UP))
    assert found["phase1"]["failure"]["failure_types"] == []
    assert found["phase1"]["acceptance"]["failed_levels"] == []
    assert found["phase3"]["reasons"] == []
