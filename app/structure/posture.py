"""RPE phases 2-4: integrity and health of the signal, density of signals, and the posture to trade from.

Reads RPE's phase 1 and the shared health (rpe.md 3-5). Knows no probability and keeps nothing between calls: what
was signalled before comes from the caller (R10).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from app.market.bars import Bars, to_ms
from app.market.calendar import Session
from app.structure.health import Dimensions, Health
from app.structure.levels import HOUR_BARS, Levels, mean
from app.structure.measured import Core12, MeasuredTruth
from app.structure.sentences import MOVES
from app.structure.terms import (
    REDUNDANT,
    Bias,
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
from app.structure.truth import BIAS

GAP_MS = 120_000  # a longer step between two bars misses bars (rpe.md 3.1)
MISSING_TOLERATED = 5  # rpe.md 3.1
FULL = 100  # rpe.md 3.1, 4
MISSING_POINTS, MISALIGNED_POINTS = 5, 20  # rpe.md 3.1
QUALITY_BLOCKS = 80  # rpe.md 3.2
EXTREME, HIGH, LOW = 2.0, 1.5, 0.5  # times the hour's true range (rpe.md 3.3)
RISK = {VolatilityRegime.EXTREME: RiskLevel.DEFENSIVE, VolatilityRegime.HIGH: RiskLevel.REDUCED}  # rpe.md 3.3
FOOTPRINT_CONFIDENCE, QUIET_CONFIDENCE, NORMAL_CONFIDENCE = 0.8, 0.6, 0.5  # rpe.md 4, mode
FOOTPRINT_MODE = {  # rpe.md 4, mode
    Direction.UP: MarketMode.ACCUMULATION,
    Direction.DOWN: MarketMode.DISTRIBUTION,
    Direction.BALANCED: MarketMode.NORMAL,
}
WINDOW_BARS, COOLDOWN_SIGNALS = 10, 3  # rpe.md 4, cooldown
DAILY_BUDGET, LIMITED_BUDGET = 10, 3  # rpe.md 4, budget
VOLUME_SPIKE = 2.0  # rpe.md 4, material_change
BURST, BURST_POINTS, COOLDOWN_POINTS = 3, 40, 30  # rpe.md 4, density_score
SPENT_POINTS, CHURN, CHURN_POINTS = 50, 4, 30  # rpe.md 4, density_score
LEAST_DENSITY = 40  # rpe.md 4, allow_signal
STAND_DOWN_BARS = 10  # rpe.md 5.1
ALIGNED_STRENGTH, ALONE_STRENGTH, NEUTRAL_STRENGTH = 0.7, 0.5, 0.3  # rpe.md 5.3
FULL_SIZE, HALF_SIZE, QUARTER_SIZE = 1.0, 0.5, 0.25  # rpe.md 5.5
WIDE_LOSS_ATR, NARROW_LOSS_ATR, WIDE_FROM = 1.5, 1.0, 70  # rpe.md 5.5
POSTURE_BARS = 60  # rpe.md 5.6
LEAST_CONFIDENCE = 50  # rpe.md 5.7


@dataclass(frozen=True, slots=True)
class Integrity:
    """phase2_signal_health.integrity (rpe.md 3.1); duplicates cannot occur in `Bars`."""

    missing_bars: int = 0
    duplicate_bars: int = field(default=0, metadata=REDUNDANT)
    time_alignment_ok: bool = False
    feed_latency_ms: float = field(default=0.0, metadata=REDUNDANT)
    data_quality_score: int = 0


@dataclass(frozen=True, slots=True)
class RiskState:
    """phase2_signal_health.risk_state (rpe.md 3.3)."""

    state: RiskLevel = RiskLevel.NORMAL
    volatility_regime: VolatilityRegime = VolatilityRegime.NORMAL
    vix_level: None = field(default=None, metadata=REDUNDANT)
    correlation_breakdown: bool = field(default=False, metadata=REDUNDANT)


@dataclass(frozen=True, slots=True)
class SignalHealth:
    """phase2_signal_health (rpe.md 3)."""

    integrity: Integrity
    conditions: Dimensions
    risk_state: RiskState
    health_score: int
    tier: HealthTier
    blockers: tuple[str, ...]
    stand_down: bool


@dataclass(frozen=True, slots=True)
class Mode:
    """phase3_signal_density.mode (rpe.md 4)."""

    mode: MarketMode
    mode_confidence: float
    regime_duration_bars: int = field(default=0, metadata=REDUNDANT)


@dataclass(frozen=True, slots=True)
class Cooldown:
    """phase3_signal_density.cooldown (rpe.md 4)."""

    active: bool
    remaining_bars: int
    signals_in_window: int
    last_signal_bars_ago: None = field(default=None, metadata=REDUNDANT)
    window_size_bars: int = WINDOW_BARS


@dataclass(frozen=True, slots=True)
class SignalBudget:
    """phase3_signal_density.budget (rpe.md 4)."""

    used_today: int
    remaining: int
    throttle: Throttle
    daily_budget: int = DAILY_BUDGET


@dataclass(frozen=True, slots=True)
class MaterialChange:
    """phase3_signal_density.material_change (rpe.md 4)."""

    detected: bool
    change_type: ChangeType | None
    magnitude: float
    bars_since_change: int


@dataclass(frozen=True, slots=True)
class SignalDensity:
    """phase3_signal_density (rpe.md 4)."""

    mode: Mode
    cooldown: Cooldown
    budget: SignalBudget
    material_change: MaterialChange
    density_score: int
    allow_signal: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PostureBias:
    """phase4_execution_posture.bias (rpe.md 5.3)."""

    bias: Bias = Bias.NEUTRAL
    strength: float = 0.0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Play:
    """phase4_execution_posture.play_type (rpe.md 5.4)."""

    play_type: PlayType = PlayType.NO_TRADE
    suitability_score: int = 0
    alternatives: tuple[PlayType, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfidenceRisk:
    """phase4_execution_posture.confidence_risk (rpe.md 5.5); no size while standing down (R8)."""

    confidence: int = 0
    risk_reward_ratio: float = 0.0
    position_size_modifier: float = 0.0
    max_loss_atr: float = NARROW_LOSS_ATR


@dataclass(frozen=True, slots=True)
class Invalidation:
    """phase4_execution_posture.invalidation (rpe.md 5.6); prices in USD."""

    price_levels: tuple[float, ...] = ()
    time_limit_bars: int | None = None
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StandDown:
    """phase4_execution_posture.stand_down_logic (rpe.md 5.1)."""

    active: bool = False
    reasons: tuple[str, ...] = ()
    duration_recommendation_bars: int = 0


@dataclass(frozen=True, slots=True)
class Posture:
    """phase4_execution_posture. The defaults are those of standing down (rpe.md 5.2)."""

    stand_down_logic: StandDown
    bias: PostureBias = PostureBias()
    play_type: Play = Play()
    confidence_risk: ConfidenceRisk = ConfidenceRisk()
    invalidation: Invalidation = Invalidation()
    allowed: bool = False


PLAYS = {  # rpe.md 5.4, by range state and whether health is the tier that earns the better play
    (RangeState.TREND, True): Play(PlayType.TREND_CONTINUATION, 85, (PlayType.BREAKOUT,)),
    (RangeState.TREND, False): Play(PlayType.SCALP, 60, (PlayType.BREAKOUT,)),
    (RangeState.BALANCE, True): Play(PlayType.MEAN_REVERSION, 75, (PlayType.SCALP,)),
    (RangeState.BALANCE, False): Play(PlayType.NO_TRADE, 20, ()),
    (RangeState.FAILED_EXPANSION, True): Play(PlayType.SCALP, 50, (PlayType.NO_TRADE,)),
}


def signal_health(minutes: Bars, session: Session | None, levels: Levels | None, health: Health) -> SignalHealth:
    """Phase 2 (rpe.md 3). Data quality blocks, but does not enter the health score."""
    integrity = _integrity(minutes, session)
    return SignalHealth(
        integrity=integrity,
        conditions=health.dimensions,
        risk_state=RiskState() if levels is None else _risk_state(levels),
        health_score=health.health_score,
        tier=health.tier,
        blockers=(*_data_blockers(integrity), *health.reasons),
        stand_down=health.stand_down,
    )


def _integrity(minutes: Bars, session: Session | None) -> Integrity:
    if not len(minutes):
        return Integrity()
    missing = _missing(minutes, session)
    ok = missing < MISSING_TOLERATED
    lost = MISSING_POINTS * missing + (0 if ok else MISALIGNED_POINTS)
    return Integrity(missing_bars=missing, time_alignment_ok=ok, data_quality_score=max(0, FULL - lost))


def _missing(minutes: Bars, session: Session | None) -> int:
    """Steps longer than two minutes between bars of the regular session (R1)."""
    if session is None:
        return 0
    first, last = minutes.t.searchsorted((to_ms(session.open), to_ms(session.close)))
    return int(np.count_nonzero(np.diff(minutes.t[first:last]) > GAP_MS))


def _data_blockers(integrity: Integrity) -> Iterator[str]:
    if integrity.data_quality_score < QUALITY_BLOCKS:
        yield f"Data quality is {integrity.data_quality_score} of 100: {integrity.missing_bars} gaps in the minute bars"


def _risk_state(levels: Levels) -> RiskState:
    regime = _volatility_regime(levels)
    return RiskState(RISK.get(regime, RiskLevel.NORMAL), regime)


def _volatility_regime(levels: Levels) -> VolatilityRegime:
    """rpe.md 3.3; 60 bars give 59 true ranges."""
    if len(levels.true_ranges) < HOUR_BARS - 1 or not levels.atr:
        return VolatilityRegime.NORMAL
    hour = mean(levels.true_ranges)
    if levels.atr > EXTREME * hour:
        return VolatilityRegime.EXTREME
    if levels.atr > HIGH * hour:
        return VolatilityRegime.HIGH
    return VolatilityRegime.LOW if levels.atr < LOW * hour else VolatilityRegime.NORMAL


def signal_density(measured: MeasuredTruth, signals: int) -> SignalDensity:
    """Phase 3 (rpe.md 4). signals: how many were given in the last ten minutes."""
    cooldown, budget = _cooldown(signals), _budget(signals)
    penalties = list(_density_penalties(measured, cooldown, budget))
    score = max(0, FULL - sum(points for points, _ in penalties))
    return SignalDensity(
        mode=_mode(measured),
        cooldown=cooldown,
        budget=budget,
        material_change=_material_change(measured),
        density_score=score,
        allow_signal=score >= LEAST_DENSITY and not cooldown.active,
        reasons=tuple(reason for _, reason in penalties),
    )


def _mode(measured: MeasuredTruth) -> Mode:
    if measured.participation.institutional_footprint:
        return Mode(FOOTPRINT_MODE[measured.aggregation.direction], FOOTPRINT_CONFIDENCE)
    if measured.participation.conviction is Conviction.LOW:
        return Mode(MarketMode.QUIET, QUIET_CONFIDENCE)
    return Mode(MarketMode.NORMAL, NORMAL_CONFIDENCE)


def _cooldown(signals: int) -> Cooldown:
    active = signals >= COOLDOWN_SIGNALS
    return Cooldown(active=active, remaining_bars=WINDOW_BARS if active else 0, signals_in_window=signals)


def _budget(signals: int) -> SignalBudget:
    remaining = max(0, DAILY_BUDGET - signals)
    return SignalBudget(used_today=signals, remaining=remaining, throttle=_throttle(remaining))


def _throttle(remaining: int) -> Throttle:
    if not remaining:
        return Throttle.BLOCKED
    return Throttle.LIMITED if remaining <= LIMITED_BUDGET else Throttle.OPEN


def _material_change(measured: MeasuredTruth) -> MaterialChange:
    """rpe.md 4: of several changes the last one names the type."""
    relative_volume = measured.core12.relative_volume
    spiked = relative_volume > VOLUME_SPIKE
    change: ChangeType | None = None
    if measured.failures.present:
        change = ChangeType.LEVEL_BREAK
    if measured.range_state.state is RangeState.FAILED_EXPANSION:
        change = ChangeType.REGIME_SHIFT
    if spiked:
        change = ChangeType.VOLUME_SPIKE
    return MaterialChange(
        detected=change is not None,
        change_type=change,
        magnitude=relative_volume if spiked else 0.0,
        bars_since_change=measured.failures.most_recent_failure_bars_ago or 0,
    )


def _density_penalties(measured: MeasuredTruth, cooldown: Cooldown, budget: SignalBudget) -> Iterator[tuple[int, str]]:
    """Points and reason of each penalty that applies, in the order of rpe.md 4."""
    signals = cooldown.signals_in_window
    if signals > BURST:
        yield BURST_POINTS, f"{signals} signals came within ten minutes"
    if cooldown.active:
        yield COOLDOWN_POINTS, f"Cooling down for {cooldown.remaining_bars} bars"
    if not budget.remaining:
        yield SPENT_POINTS, f"The day's {budget.daily_budget} signals are spent"
    if measured.range_state.state is RangeState.BALANCE and signals > CHURN:
        yield CHURN_POINTS, f"{signals} signals while the range holds its balance"


def posture_of(measured: MeasuredTruth, health: SignalHealth, density: SignalDensity) -> Posture:
    """Phase 4 (rpe.md 5). CONTEXT_ONLY does not stand down: it gives a full posture that is not allowed."""
    reasons = tuple(_stand_down_reasons(measured, health, density))
    if reasons:
        return Posture(StandDown(True, reasons, STAND_DOWN_BARS))
    tier = measured.aggregation.confidence_tier
    risk = _confidence_risk(measured, health, density)
    return Posture(
        stand_down_logic=StandDown(),
        bias=_bias(measured),
        play_type=_play(measured.range_state.state, health.tier),
        confidence_risk=risk,
        invalidation=_invalidation(measured),
        allowed=tier is ConfidenceBand.STRUCTURAL_EDGE and density.allow_signal and risk.confidence >= LEAST_CONFIDENCE,
    )


def _stand_down_reasons(measured: MeasuredTruth, health: SignalHealth, density: SignalDensity) -> Iterator[str]:
    """rpe.md 5.1, in its order."""
    if measured.aggregation.confidence_tier is ConfidenceBand.NO_TRADE:
        yield f"A truth score of {measured.aggregation.truth_score} carries no trade"
    if health.stand_down:
        yield f"Signal health of {health.health_score} is unstable"
    if density.budget.throttle is Throttle.BLOCKED:
        yield f"No signal is left of the day's {density.budget.daily_budget}"
    if health.risk_state.volatility_regime is VolatilityRegime.EXTREME:
        yield f"Bars of {measured.core12.atr_14:.2f} USD are over twice the hour's mean range"


def _bias(measured: MeasuredTruth) -> PostureBias:
    direction, aligned = measured.aggregation.direction, measured.mtf_continuity.aligned
    reasons = [f"By the VWAP of ${measured.core12.vwap:.2f} the session goes {MOVES[direction]}"]
    if aligned:
        reasons.append("Nothing in the daily bars contradicts the session")
    return PostureBias(BIAS[direction], _strength(direction, aligned), tuple(reasons))


def _strength(direction: Direction, aligned: bool) -> float:
    if direction is Direction.BALANCED:
        return NEUTRAL_STRENGTH
    return ALIGNED_STRENGTH if aligned else ALONE_STRENGTH


def _play(state: RangeState, tier: HealthTier) -> Play:
    if state is RangeState.TREND:
        return PLAYS[state, tier is HealthTier.HEALTHY]
    return PLAYS[state, state is RangeState.FAILED_EXPANSION or tier is not HealthTier.UNSTABLE]


def _confidence_risk(measured: MeasuredTruth, health: SignalHealth, density: SignalDensity) -> ConfidenceRisk:
    confidence = (measured.aggregation.truth_score + health.health_score + density.density_score) // 3
    return ConfidenceRisk(
        confidence=confidence,
        risk_reward_ratio=measured.range_state.range_width_atr / 2,
        position_size_modifier=_size(health.tier, health.risk_state.state),
        max_loss_atr=WIDE_LOSS_ATR if confidence >= WIDE_FROM else NARROW_LOSS_ATR,
    )


def _size(tier: HealthTier, risk: RiskLevel) -> float:
    if tier is HealthTier.HEALTHY and risk is RiskLevel.NORMAL:
        return FULL_SIZE
    return HALF_SIZE if tier is HealthTier.DEGRADED or risk is RiskLevel.REDUCED else QUARTER_SIZE


def _invalidation(measured: MeasuredTruth) -> Invalidation:
    state, broken = measured.range_state, measured.failures.failed_breakout_level
    levels = [level for level in (state.range_high, state.range_low) if level > 0]
    return Invalidation(
        price_levels=tuple(levels if broken is None else [*levels, broken]),
        time_limit_bars=POSTURE_BARS,
        conditions=_invalidating(measured.core12, state.range_low, state.range_high),
    )


def _invalidating(core12: Core12, low: float, high: float) -> tuple[str, ...]:
    """rpe.md 5.6: acceptance, timeframes, failures, volume."""
    return (
        f"Closes change sides inside ${low:.2f} to ${high:.2f}",
        "The daily bars turn against the session",
        f"A breakout past ${low:.2f} or ${high:.2f} is taken back",
        f"Relative volume falls well below {core12.relative_volume:.2f}",
    )
