"""RPE phase 1: the base truth in measures - volume-weighted prices, range in ATRs, prior day, failures, truth score.

Adds to the shared base truth only what it does not have (rpe.md 2). Predicts nothing and permits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.market.bars import Bars, Floats
from app.structure import sentences
from app.structure.levels import Levels, mean
from app.structure.terms import (
    REDUNDANT,
    AcceptanceStrength,
    ConfidenceBand,
    Conviction,
    Direction,
    ExpansionQuality,
    FailureType,
    GapBehavior,
    Memory,
    RangeState,
    Timeframe,
    VolumeProfileShape,
)
from app.structure.truth import Continuity, Participation, Truth, confidence_band, evidence

SLOPE_BARS = 20  # rpe.md 2.1, vwap_slope
VALUE_AREA_LOW, VALUE_AREA_HIGH = 0.16, 0.84  # rpe.md 2.1, val and vah: shares of the volume
DELTA_BARS = 5  # rpe.md 2.1
ALIGNED_SCORE, CONFLICT_SCORE, UNKNOWN_SCORE = 80, 30, 50  # rpe.md 2.4
SKEWED_HIGH, SKEWED_LOW = 1.3, 0.7  # rpe.md 2.5
PROFILE_FROM, PROFILE_TO = -20, -10  # rpe.md 2.5, Q
FOOTPRINT = 2.0  # rpe.md 2.5
STRONG_POINTS, OTHER_POINTS = 20, 15  # rpe.md 2.8, acceptance


@dataclass(frozen=True, slots=True)
class Core12:
    """Twelve measures of the session, unrounded (rpe.md 2.1).

    Prices and atr_14 in USD (atr_14 per one-minute bar), vwap_slope a fraction over 20 bars, the deltas in USD times
    shares. poc, val and vah are closes of single bars, not price bins (R4).
    """

    vwap: float = 0.0
    vwap_slope: float = 0.0
    poc: float = 0.0
    val: float = 0.0
    vah: float = 0.0
    atr_14: float = 0.0
    relative_volume: float = 1.0
    delta: float = 0.0
    cumulative_delta: float = 0.0
    vpoc_developing: bool = field(default=False, metadata=REDUNDANT)
    internals_advance_decline: float = field(default=0.0, metadata=REDUNDANT)
    internals_tick: float = field(default=0.0, metadata=REDUNDANT)


@dataclass(frozen=True, slots=True)
class HeldAcceptance:
    """phase1_truth.acceptance (rpe.md 2.2); at_level is None if nothing is accepted."""

    accepted: bool = False
    strength: AcceptanceStrength = AcceptanceStrength.WEAK
    at_level: str | None = None
    time_held_bars: int = 0
    failed_levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasuredRange:
    """phase1_truth.range_state (rpe.md 2.3); the range in USD, its width in ATRs."""

    state: RangeState = RangeState.BALANCE
    rotation_complete: bool = False
    expansion_quality: ExpansionQuality = ExpansionQuality.NONE
    range_high: float = 0.0
    range_low: float = 0.0
    range_width_atr: float = 0.0


@dataclass(frozen=True, slots=True)
class MtfContinuity:
    """phase1_truth.mtf_continuity (rpe.md 2.4)."""

    aligned: bool = False
    dominant_tf: Timeframe = Timeframe.INTRADAY
    conflict_tf: str | None = None
    alignment_score: int = 0


@dataclass(frozen=True, slots=True)
class VolumeParticipation:
    """phase1_truth.participation (rpe.md 2.5)."""

    conviction: Conviction = Conviction.LOW
    effort_result_match: bool = False
    volume_profile_shape: VolumeProfileShape = VolumeProfileShape.NORMAL
    institutional_footprint: bool = False


@dataclass(frozen=True, slots=True)
class PriorSession:
    """phase1_truth.session_memory (rpe.md 2.6); prior day in USD, 0.0 is unknown; gap in one-minute ATRs (R9)."""

    memory: Memory = Memory.RESET
    gap_behavior: GapBehavior | None = None
    gap_size_atr: float = 0.0
    overnight_range_atr: float = field(default=0.0, metadata=REDUNDANT)
    prior_day_close: float = 0.0
    prior_day_high: float = 0.0
    prior_day_low: float = 0.0


@dataclass(frozen=True, slots=True)
class FailureTokens:
    """phase1_truth.failures (rpe.md 2.7, R2); None where no breakout failed."""

    present: bool = False
    failure_types: tuple[FailureType, ...] = ()
    most_recent_failure_bars_ago: int | None = None
    failed_breakout_level: float | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """phase1_truth.aggregation (rpe.md 2.8); truth_score 0-100."""

    resolved: bool = False
    direction: Direction = Direction.BALANCED
    dominant_timeframe: Timeframe = Timeframe.INTRADAY
    truth_score: int = 0
    confidence_tier: ConfidenceBand = ConfidenceBand.NO_TRADE


@dataclass(frozen=True, slots=True)
class MeasuredTruth:
    """phase1_truth. The defaults are an unresolved reading (rpe.md 2, rule 0)."""

    core12: Core12 = Core12()
    acceptance: HeldAcceptance = HeldAcceptance()
    range_state: MeasuredRange = MeasuredRange()
    mtf_continuity: MtfContinuity = MtfContinuity()
    participation: VolumeParticipation = VolumeParticipation()
    session_memory: PriorSession = PriorSession()
    failures: FailureTokens = FailureTokens()
    aggregation: Aggregation = Aggregation()


def measured_truth(minutes: Bars, levels: Levels, truth: Truth) -> MeasuredTruth:
    """Phase 1 of a resolved reading (rpe.md 2)."""
    core12 = _core12(minutes, levels, truth.participation)
    return MeasuredTruth(
        core12=core12,
        acceptance=_acceptance(truth),
        range_state=_range_state(levels, truth),
        mtf_continuity=_mtf_continuity(truth.continuity),
        participation=_participation(minutes, truth.participation),
        session_memory=_session_memory(levels, truth),
        failures=_failures(truth),
        aggregation=_aggregation(core12.vwap_slope, truth),
    )


def _core12(minutes: Bars, levels: Levels, volume: Participation) -> Core12:
    value = (minutes.h + minutes.l + minutes.c) / 3 * minutes.v
    flow = (minutes.c - minutes.o) * minutes.v
    shares = float(minutes.v.sum())
    low, high = _value_area(minutes, shares)
    return Core12(
        vwap=float(value.sum()) / shares if shares else levels.price,
        vwap_slope=_vwap_slope(value, minutes.v),
        poc=float(minutes.c[np.argmax(minutes.v)]),
        val=low,
        vah=high,
        atr_14=levels.atr,
        relative_volume=volume.mean_5 / volume.mean_20 if volume.mean_20 else 1.0,
        delta=float(flow[-DELTA_BARS:].sum()),
        cumulative_delta=float(flow.sum()),
    )


def _vwap_slope(value: Floats, volume: Floats) -> float:
    """Drift of the running VWAP over the last 20 bars, a fraction; 0.0 if it began on no volume (R3)."""
    first, last = -SLOPE_BARS, -1
    values, volumes = value.cumsum(), volume.cumsum()
    if not volumes[first]:
        return 0.0
    before, now = float(values[first] / volumes[first]), float(values[last] / volumes[last])
    return (now - before) / before if before else 0.0


def _value_area(minutes: Bars, shares: float) -> tuple[float, float]:
    """The closes below which 16 % and 84 % of the volume lie, USD."""
    by_close = minutes.c.argsort(kind="stable")
    running = minutes.v[by_close].cumsum()
    low, high = running.searchsorted((VALUE_AREA_LOW * shares, VALUE_AREA_HIGH * shares))
    return float(minutes.c[by_close[low]]), float(minutes.c[by_close[high]])


def _acceptance(truth: Truth) -> HeldAcceptance:
    held = truth.acceptance
    return HeldAcceptance(
        accepted=held.accepted,
        strength=held.strength,
        at_level=sentences.acceptance(held) if held.accepted else None,
        time_held_bars=held.closes if held.accepted else 0,
        failed_levels=tuple(map(sentences.failed_level, truth.failed_levels)),
    )


def _range_state(levels: Levels, truth: Truth) -> MeasuredRange:
    return MeasuredRange(
        state=truth.range.state,
        rotation_complete=truth.range.rotation_complete,
        expansion_quality=truth.range.expansion_quality,
        range_high=levels.high_30,
        range_low=levels.low_30,
        range_width_atr=_in_atrs(levels.high_30 - levels.low_30, levels.atr),
    )


def _in_atrs(width: float, atr: float) -> float:
    return width / atr if atr else 0.0


def _mtf_continuity(continuity: Continuity) -> MtfContinuity:
    return MtfContinuity(
        aligned=continuity.aligned,
        dominant_tf=continuity.dominant_tf,
        conflict_tf=sentences.conflict(continuity),
        alignment_score=_alignment_score(continuity),
    )


def _alignment_score(continuity: Continuity) -> int:
    if continuity.daily is None:
        return UNKNOWN_SCORE
    return ALIGNED_SCORE if continuity.aligned else CONFLICT_SCORE


def _participation(minutes: Bars, volume: Participation) -> VolumeParticipation:
    before = mean(minutes.v[PROFILE_FROM:PROFILE_TO])
    if volume.mean_5 > SKEWED_HIGH * before:
        shape = VolumeProfileShape.SKEWED_HIGH
    elif volume.mean_5 < SKEWED_LOW * before:
        shape = VolumeProfileShape.SKEWED_LOW
    else:
        shape = VolumeProfileShape.NORMAL
    footprint = volume.mean_5 > FOOTPRINT * volume.mean_20
    return VolumeParticipation(volume.conviction, volume.effort_result_match, shape, footprint)


def _session_memory(levels: Levels, truth: Truth) -> PriorSession:
    previous, gap = levels.previous, truth.memory.gap
    if previous is None:
        return PriorSession()
    return PriorSession(
        memory=truth.memory.memory,
        gap_behavior=truth.memory.gap_behavior,
        gap_size_atr=0.0 if gap is None else _in_atrs(abs(gap * previous.close), levels.atr),
        prior_day_close=previous.close,
        prior_day_high=previous.high,
        prior_day_low=previous.low,
    )


def _failures(truth: Truth) -> FailureTokens:
    failures = truth.failures
    tokens = tuple(failure.type for failure in failures.found)
    return FailureTokens(failures.present, tokens, failures.bars_ago, failures.breakout_level)


def _aggregation(vwap_slope: float, truth: Truth) -> Aggregation:
    held = truth.acceptance
    points = STRONG_POINTS if held.strength is AcceptanceStrength.STRONG else OTHER_POINTS
    score = max(0, min(100, evidence(truth, points if held.accepted else 0)))
    return Aggregation(
        resolved=True,
        direction=_direction(vwap_slope, truth.range.state),
        dominant_timeframe=truth.continuity.dominant_tf,
        truth_score=score,
        confidence_tier=confidence_band(score),
    )


def _direction(vwap_slope: float, state: RangeState) -> Direction:
    """The drift of VWAP, and only in a trend (rpe.md 2.8, R5)."""
    if state is not RangeState.TREND or not vwap_slope:
        return Direction.BALANCED
    return Direction.UP if vwap_slope > 0 else Direction.DOWN
