"""Northstar: what the market is doing, how healthy that reading is, and whether trading on it is permitted.

Four phases, each a function of the ones before (northstar.md 3-8). Words the shared base truth and decides the
permission; measures no bars itself, and no probability gates anything here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from app.market.calendar import NY
from app.structure import sentences
from app.structure.expansion import NO_ESTIMATE, VolatilityExpansion, expansion_of
from app.structure.health import Health
from app.structure.levels import UNKNOWN_LEVELS, KeyLevels, Levels, key_levels
from app.structure.terms import (
    REDUNDANT,
    AcceptanceStrength,
    Bias,
    ConfidenceBand,
    Conviction,
    Direction,
    ExecutionMode,
    GapBehavior,
    HealthTier,
    Memory,
    RangeState,
    RiskLevel,
    Throttle,
    Timeframe,
)
from app.structure.truth import BIAS, UNRESOLVED, Continuity, RangeOutcome, Truth, confidence_band, evidence
from app.structure.view import Activity, View

ACCEPTANCE_POINTS = {AcceptanceStrength.STRONG: 30, AcceptanceStrength.MODERATE: 20}  # northstar.md 3.11
FULL_DENSITY = 100  # northstar.md 5
BURST, BURST_LEVELS, BURST_POINTS = 3, 1, 40  # northstar.md 5
CROWDED_TIMEFRAMES, CROWDED_POINTS = 3, 30  # northstar.md 5
CHURN, CHURN_POINTS = 4, 30  # northstar.md 5
OPEN_DENSITY, LIMITED_DENSITY = 70, 40  # northstar.md 5
ALLOWED_SIGNALS = {Throttle.OPEN: 999, Throttle.LIMITED: 1, Throttle.BLOCKED: 0}  # northstar.md 5; 999 is unlimited


@dataclass(frozen=True, slots=True)
class AcceptanceState:
    """phase1.acceptance (northstar.md 8)."""

    accepted: bool = False
    acceptance_strength: AcceptanceStrength = AcceptanceStrength.WEAK
    acceptance_reason: str = ""
    failed_levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mtf:
    """phase1.mtf: agreement of timeframes (northstar.md 8)."""

    aligned: bool = False
    dominant_tf: Timeframe = Timeframe.INTRADAY
    conflict_tf: str | None = None


@dataclass(frozen=True, slots=True)
class ParticipationState:
    """phase1.participation (northstar.md 8)."""

    conviction: Conviction = Conviction.LOW
    effort_result_match: bool = False


@dataclass(frozen=True, slots=True)
class MemoryState:
    """phase1.memory (northstar.md 8)."""

    memory: Memory = Memory.RESET
    gap_behavior: GapBehavior | None = None


@dataclass(frozen=True, slots=True)
class FailureState:
    """phase1.failure; each entry starts with its token (northstar.md 3.8)."""

    present: bool = False
    failure_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase1:
    """Reality state. The defaults are an unresolved reading (northstar.md 3, rule 0)."""

    resolved: bool = False
    direction: Direction = Direction.BALANCED
    dominant_timeframe: Timeframe = Timeframe.INTRADAY
    confidence_band: ConfidenceBand = ConfidenceBand.NO_TRADE
    acceptance: AcceptanceState = AcceptanceState()
    range: RangeOutcome = UNRESOLVED.range
    mtf: Mtf = Mtf()
    participation: ParticipationState = ParticipationState()
    memory: MemoryState = MemoryState()
    failure: FailureState = FailureState()
    key_levels: KeyLevels = UNKNOWN_LEVELS
    volatility_expansion: VolatilityExpansion = NO_ESTIMATE


@dataclass(frozen=True, slots=True)
class Phase3:
    """Signal density; allowed_signals 999 means unlimited (northstar.md 5)."""

    density_score: int
    throttle: Throttle
    allowed_signals: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase4:
    """Execution permission (northstar.md 6)."""

    allowed: bool
    bias: Bias
    execution_mode: ExecutionMode
    risk_state: RiskLevel
    invalidation_context: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Northstar:
    """The whole analysis (northstar.md 8); timestamp in New York time (N2)."""

    timestamp: datetime = field(metadata=REDUNDANT)
    symbol: str = field(metadata=REDUNDANT)
    phase1: Phase1
    phase2: Health
    phase3: Phase3
    phase4: Phase4


def northstar(
    symbol: str, view: View, levels: Levels | None, truth: Truth, health: Health, activity: Activity
) -> Northstar:
    """The four phases; levels is None where the view is unresolved."""
    phase1 = Phase1() if levels is None else _reality(view, levels, truth)
    density = _density(truth, activity)
    return Northstar(
        timestamp=view.at.astimezone(NY),
        symbol=symbol,
        phase1=phase1,
        phase2=health,
        phase3=density,
        phase4=_permission(phase1, health, density),
    )


def _reality(view: View, levels: Levels, truth: Truth) -> Phase1:
    memory, participation = truth.memory, truth.participation
    return Phase1(
        resolved=True,
        direction=truth.direction,
        dominant_timeframe=truth.dominant_timeframe,
        confidence_band=confidence_band(evidence(truth, ACCEPTANCE_POINTS.get(truth.acceptance.strength, 0))),
        acceptance=_acceptance(truth),
        range=truth.range,
        mtf=_mtf(truth.continuity),
        participation=ParticipationState(participation.conviction, participation.effort_result_match),
        memory=MemoryState(memory.memory, memory.gap_behavior),
        failure=_failure(truth, levels.price),
        key_levels=key_levels(levels),
        volatility_expansion=expansion_of(view, levels),
    )


def _acceptance(truth: Truth) -> AcceptanceState:
    held = truth.acceptance
    return AcceptanceState(
        accepted=held.accepted,
        acceptance_strength=held.strength,
        acceptance_reason=sentences.acceptance(held),
        failed_levels=tuple(map(sentences.failed_level, truth.failed_levels)),
    )


def _mtf(continuity: Continuity) -> Mtf:
    return Mtf(continuity.aligned, continuity.dominant_tf, sentences.conflict(continuity))


def _failure(truth: Truth, price: float) -> FailureState:
    return FailureState(
        truth.failures.present, tuple(sentences.failure(failure, price) for failure in truth.failures.found)
    )


def _density(truth: Truth, activity: Activity) -> Phase3:
    penalties = list(_density_penalties(truth, activity))
    score = max(0, FULL_DENSITY - sum(points for points, _ in penalties))
    throttle = _throttle(score)
    return Phase3(score, throttle, ALLOWED_SIGNALS[throttle], tuple(reason for _, reason in penalties))


def _throttle(score: int) -> Throttle:
    if score >= OPEN_DENSITY:
        return Throttle.OPEN
    return Throttle.LIMITED if score >= LIMITED_DENSITY else Throttle.BLOCKED


def _density_penalties(truth: Truth, activity: Activity) -> Iterator[tuple[int, str]]:
    """Points and reason of each penalty that applies (northstar.md 5)."""
    fired = activity.signals_last_10m
    if fired > BURST and activity.levels <= BURST_LEVELS:
        yield BURST_POINTS, f"{fired} signals in ten minutes on too few levels: {activity.levels}"
    if activity.firing_timeframes >= CROWDED_TIMEFRAMES:
        yield CROWDED_POINTS, f"{activity.firing_timeframes} timeframes fire at the same time"
    if truth.range.state is RangeState.BALANCE and fired > CHURN:
        yield CHURN_POINTS, f"{fired} signals inside a balanced range"


def _permission(phase1: Phase1, health: Health, density: Phase3) -> Phase4:
    denials = tuple(_denials(phase1, health, density))
    if denials:
        return Phase4(False, Bias.NEUTRAL, ExecutionMode.NO_TRADE, RiskLevel.DEFENSIVE, denials)
    return Phase4(
        allowed=True,
        bias=BIAS[phase1.direction],
        execution_mode=_execution_mode(phase1.range.state, health.tier),
        risk_state=_risk_state(health.tier, density.throttle),
        invalidation_context=_invalidation(phase1),
    )


def _denials(phase1: Phase1, health: Health, density: Phase3) -> Iterator[str]:
    """Why trading is not permitted, in the order of northstar.md 6."""
    if phase1.confidence_band is not ConfidenceBand.STRUCTURAL_EDGE:
        yield f"The evidence is too thin to trade on ({phase1.confidence_band})"
    if health.stand_down:
        yield f"Health of {health.health_score} calls for standing down"
    if density.throttle is Throttle.BLOCKED:
        yield f"Too many signals: density is down to {density.density_score}"


def _execution_mode(state: RangeState, tier: HealthTier) -> ExecutionMode:
    if state is RangeState.TREND and tier is HealthTier.HEALTHY:
        return ExecutionMode.TREND_CONTINUATION
    if state is RangeState.BALANCE and tier is not HealthTier.UNSTABLE:
        return ExecutionMode.MEAN_REVERSION
    return ExecutionMode.SCALP


def _risk_state(tier: HealthTier, throttle: Throttle) -> RiskLevel:
    if tier is HealthTier.HEALTHY and throttle is Throttle.OPEN:
        return RiskLevel.NORMAL
    if tier is HealthTier.DEGRADED or throttle is Throttle.LIMITED:
        return RiskLevel.REDUCED
    return RiskLevel.DEFENSIVE


def _invalidation(phase1: Phase1) -> tuple[str, str, str]:
    """What would take the permission back (northstar.md 6): acceptance, timeframes, failures."""
    levels = phase1.key_levels
    return (
        f"Closes lose their side of the range between ${levels.recent_low:.2f} and ${levels.recent_high:.2f}",
        f"The daily bars turn against the session, which goes {sentences.MOVES[phase1.direction]}",
        f"A breakout is taken back or a bar reverses around ${levels.current_price:.2f}",
    )
