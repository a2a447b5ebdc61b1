"""Swing: from daily bars, whether a position over days is permitted, which way, how, and where it is invalid.

Four phases over some 60 days and the weeks they make up (swing.md 2-6). Reads no minute bars, and no model
probability: those stand beside it in an answer and never enter it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import numpy as np

from app.market.bars import Bars, Floats
from app.market.calendar import NY
from app.structure.levels import ATR_RANGES, mean, true_ranges
from app.structure.terms import (
    REDUNDANT,
    Bias,
    HoldingPeriod,
    SwingConfidence,
    SwingDirection,
    SwingMode,
    SwingTier,
    Timeframe,
    Trend,
    VolumeTrend,
)
from app.structure.view import View

ENOUGH_DAYS = 30  # swing.md 2, rule 0
DAY_MS = 86_400_000
MONDAY = 3  # days from the epoch's Thursday back to its Monday
EXTREME_DAYS, SHORT_DAYS, LONG_DAYS = 5, 20, 50  # swing.md 2.1, 2.2
SHORT_WEEKS, LONG_WEEKS = 2, 4  # swing.md 2.2
RSI_CHANGES, WEEKLY_RSI_CHANGES = 14, 4  # swing.md 2.3
MOMENTUM_DAYS = (5, 10)  # bars back including the last one (swing.md 2.3, S2)
MACD_FAST, MACD_SLOW = 12, 26  # swing.md 2.3
VOLUME_DAYS, VOLUME_WEEK = 20, 5  # swing.md 2.4
VOLUME_GROWS, VOLUME_FALLS = 1.2, 0.8  # swing.md 2.4
WEEKLY_VOTE, DAILY_VOTE, MOMENTUM_PCT, DIRECTION_VOTES = 2, 1, 1.0, 2  # swing.md 2.5
ALIGNED_POINTS, VOLUME_POINTS, RSI_POINTS, DIRECTION_POINTS = 30, 20, 15, 20  # swing.md 2.6
HIGH_SCORE, MEDIUM_SCORE, LOW_SCORE = 65, 45, 25  # swing.md 2.6
WEEKLY_DOMINATES = 1.5  # swing.md 2.7
OVERBOUGHT, OVERSOLD = 70, 30  # swing.md 2.6, 2.8, 3
TREND_WEIGHT, MOMENTUM_WEIGHT, VOLUME_WEIGHT, RISK_WEIGHT = 35, 25, 20, 20  # swing.md 3, percent
HEALTHY_SCORE, MIXED_SCORE = 65, 45  # swing.md 3
CLEAN_DENSITY = 60  # swing.md 4
RSI_LOW, RSI_HIGH = 20, 80  # swing.md 4
REVERSION_LOW, REVERSION_HIGH = 35, 65  # swing.md 5.3
IN_WORDS = {Trend.UPTREND: "in an uptrend", Trend.DOWNTREND: "in a downtrend", Trend.SIDEWAYS: "going sideways"}
BIAS = {SwingDirection.BULLISH: Bias.LONG, SwingDirection.BEARISH: Bias.SHORT, SwingDirection.NEUTRAL: Bias.NEUTRAL}


@dataclass(frozen=True, slots=True)
class SwingLevels:
    """phase1.levels, USD, 2 decimals; 0.0 is unknown (swing.md 2.1)."""

    weekly_high: float = 0.0
    weekly_low: float = 0.0
    weekly_mid: float = 0.0
    daily_high_5d: float = 0.0
    daily_low_5d: float = 0.0
    sma_20: float = 0.0
    sma_50: float = 0.0
    current_price: float = 0.0
    atr_14: float = 0.0


@dataclass(frozen=True, slots=True)
class TrendAlignment:
    """phase1.trend_alignment; two sideways trends count as aligned (swing.md 2.2, S5)."""

    weekly_trend: Trend = Trend.SIDEWAYS
    daily_trend: Trend = Trend.SIDEWAYS
    aligned: bool = False
    conflict_reason: str = ""


@dataclass(frozen=True, slots=True)
class Momentum:
    """phase1.momentum: RSI 0-100, 1 decimal; momenta in percent, 2 decimals (swing.md 2.3)."""

    rsi_14: float = 50.0
    weekly_rsi: float = 50.0
    macd_signal: SwingDirection = SwingDirection.NEUTRAL
    momentum_5d: float = 0.0
    momentum_10d: float = 0.0


@dataclass(frozen=True, slots=True)
class Volume:
    """phase1.volume, of completed days; avg_volume_20d in shares (swing.md 2.4, S1)."""

    volume_trend: VolumeTrend = VolumeTrend.NORMAL
    volume_confirmation: bool = False
    avg_volume_20d: float = 0.0


@dataclass(frozen=True, slots=True)
class SwingReality:
    """Phase 1. The defaults are an unresolved reading (swing.md 2, rule 0)."""

    resolved: bool = False
    direction: SwingDirection = SwingDirection.NEUTRAL
    dominant_timeframe: Timeframe = Timeframe.DAILY
    confidence: SwingConfidence = SwingConfidence.NO_TRADE
    levels: SwingLevels = SwingLevels()
    trend_alignment: TrendAlignment = TrendAlignment()
    momentum: Momentum = Momentum()
    volume: Volume = Volume()
    structure_notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SwingDimensions:
    """phase2.dimensions, 0-100; a higher failure_risk is safer (swing.md 3)."""

    trend_strength: int
    momentum_quality: int
    volume_support: int
    failure_risk: int


@dataclass(frozen=True, slots=True)
class SwingHealth:
    """Phase 2 (swing.md 3)."""

    health_score: int
    health_tier: SwingTier
    stand_down: bool
    reasons: tuple[str, ...]
    dimensions: SwingDimensions


@dataclass(frozen=True, slots=True)
class SwingDensity:
    """Phase 3 (swing.md 4); wait_for is "" where there is nothing to wait for."""

    density_score: int
    is_clean_setup: bool
    wait_for: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SwingPermission:
    """Phase 4 (swing.md 5)."""

    allowed: bool
    bias: Bias
    mode: SwingMode
    holding_period: HoldingPeriod
    invalidation_levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Swing:
    """The whole analysis (swing.md 6); timestamp in New York time (S10). v6_swing is joined where models are known."""

    timestamp: datetime = field(metadata=REDUNDANT)
    symbol: str = field(metadata=REDUNDANT)
    phase1: SwingReality
    phase2: SwingHealth
    phase3: SwingDensity
    phase4: SwingPermission
    timeframe: str = field(default="SWING", metadata=REDUNDANT)
    v6_swing: None = field(default=None, metadata=REDUNDANT)


def swing(symbol: str, view: View) -> Swing:
    """The four phases; with fewer than 30 daily bars phase 1 keeps its defaults (swing.md 2, rule 0)."""
    reality = _reality(view) if len(view.days) >= ENOUGH_DAYS else SwingReality()
    health, density = _health(reality), _density(reality)
    return Swing(
        timestamp=view.at.astimezone(NY),
        symbol=symbol,
        phase1=reality,
        phase2=health,
        phase3=density,
        phase4=_permission(reality, health, density),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Weeks:
    """Calendar weeks, Monday to Friday, made of the days; the last one may be unfinished (S7)."""

    high: float
    low: float
    closes: Floats


def weeks_of(days: Bars) -> Weeks:
    """The weeks of at least one day: the last week's extremes and every week's close, USD."""
    week = (days.t // DAY_MS + MONDAY) // 7
    turns = np.flatnonzero(week[1:] != week[:-1])
    last = int(turns[-1]) + 1 if len(turns) else 0
    return Weeks(
        high=float(days.h[last:].max()),
        low=float(days.l[last:].min()),
        closes=np.append(days.c[turns], days.c[-1]),
    )


def _reality(view: View) -> SwingReality:
    days = view.days
    weeks = weeks_of(days)
    levels = _levels(days, weeks)
    trends = _trend_alignment(days, weeks)
    momentum = _momentum(days, weeks)
    volume = _volume(view.completed.v)
    direction = _direction(levels, trends, momentum)
    return SwingReality(
        resolved=True,
        direction=direction,
        dominant_timeframe=_dominant_timeframe(days, weeks),
        confidence=_confidence(trends, momentum, volume, direction),
        levels=levels,
        trend_alignment=trends,
        momentum=momentum,
        volume=volume,
        structure_notes=tuple(_notes(trends, momentum, volume)),
    )


def _levels(days: Bars, weeks: Weeks) -> SwingLevels:
    """swing.md 2.1; the weekly middle is that of the rounded extremes."""
    weekly_high, weekly_low = round(weeks.high, 2), round(weeks.low, 2)
    return SwingLevels(
        weekly_high=weekly_high,
        weekly_low=weekly_low,
        weekly_mid=round((weekly_high + weekly_low) / 2, 2),
        daily_high_5d=round(float(days.h[-EXTREME_DAYS:].max()), 2),
        daily_low_5d=round(float(days.l[-EXTREME_DAYS:].min()), 2),
        sma_20=round(mean(days.c[-SHORT_DAYS:]), 2),
        sma_50=round(mean(days.c[-LONG_DAYS:]), 2) if len(days) >= LONG_DAYS else 0.0,
        current_price=round(float(days.c[-1]), 2),
        atr_14=round(mean(true_ranges(days[-ATR_RANGES - 1 :])), 2),
    )


def _trend_alignment(days: Bars, weeks: Weeks) -> TrendAlignment:
    """swing.md 2.2."""
    daily = _trend(days.c, EXTREME_DAYS, SHORT_DAYS)
    weekly = _trend(weeks.closes, SHORT_WEEKS, LONG_WEEKS)
    if weekly is daily:
        return TrendAlignment(weekly, daily, aligned=True)
    reason = f"the weeks are {IN_WORDS[weekly]} while the days are {IN_WORDS[daily]}"
    return TrendAlignment(weekly, daily, aligned=False, conflict_reason=reason)


def _trend(closes: Floats, few: int, many: int) -> Trend:
    short, long, last = mean(closes[-few:]), mean(closes[-many:]), closes[-1]
    if short > long and last > short:
        return Trend.UPTREND
    return Trend.DOWNTREND if short < long and last < short else Trend.SIDEWAYS


def _momentum(days: Bars, weeks: Weeks) -> Momentum:
    """swing.md 2.3."""
    closes = days.c.tolist()
    momentum_5d, momentum_10d = (_momentum_pct(closes, back) for back in MOMENTUM_DAYS)
    return Momentum(
        rsi_14=_rsi(closes[-RSI_CHANGES - 1 :]),
        weekly_rsi=_rsi(weeks.closes[-WEEKLY_RSI_CHANGES - 1 :].tolist()),
        macd_signal=_macd_signal(closes),
        momentum_5d=momentum_5d,
        momentum_10d=momentum_10d,
    )


def _rsi(closes: list[float]) -> float:
    """Plain sums over the given closes, no smoothing; 50.0 if nothing moved (swing.md 2.3, S3)."""
    changes = [after - before for before, after in pairwise(closes)]
    gains = sum(change for change in changes if change > 0)
    losses = -sum(change for change in changes if change < 0)
    if losses:
        return _half_even(100 - 100 / (1 + gains / losses), 10)
    return 100.0 if gains else 50.0


def _half_even(value: float, scale: int) -> float:
    """Rounded on the scaled value, halves to even, as numpy.round does it (swing.md, N1 and N2)."""
    return round(value * scale) / scale


def _momentum_pct(closes: list[float], back: int) -> float:
    return _half_even((closes[-1] - closes[-back]) / closes[-back] * 100, 100)


def _macd_signal(closes: list[float]) -> SwingDirection:
    fast, slow = _exponential_mean(closes, MACD_FAST), _exponential_mean(closes, MACD_SLOW)
    if fast == slow:
        return SwingDirection.NEUTRAL
    return SwingDirection.BULLISH if fast > slow else SwingDirection.BEARISH


def _exponential_mean(closes: list[float], span: int) -> float:
    """Bias-corrected exponential mean of all closes, USD (swing.md 2.3, E)."""
    decay = 1 - 2 / (span + 1)
    average, weight = closes[0], 1.0
    for close in closes[1:]:
        weight *= decay
        if average != close:
            average = (weight * average + close) / (weight + 1)
        weight += 1
    return average


def _volume(shares: Floats) -> Volume:
    """swing.md 2.4 on completed days (S1)."""
    if len(shares) < VOLUME_DAYS:
        return Volume()
    this_week, week_before = mean(shares[-VOLUME_WEEK:]), mean(shares[-2 * VOLUME_WEEK : -VOLUME_WEEK])
    if this_week > VOLUME_GROWS * week_before:
        trend = VolumeTrend.INCREASING
    else:
        trend = VolumeTrend.DECREASING if this_week < VOLUME_FALLS * week_before else VolumeTrend.NORMAL
    return Volume(trend, trend is VolumeTrend.INCREASING, mean(shares[-VOLUME_DAYS:]))


def _direction(levels: SwingLevels, trends: TrendAlignment, momentum: Momentum) -> SwingDirection:
    """A vote (swing.md 2.5)."""
    votes = (
        WEEKLY_VOTE * _lean(trends.weekly_trend)
        + DAILY_VOTE * _lean(trends.daily_trend)
        + _sign(momentum.momentum_5d, MOMENTUM_PCT, -MOMENTUM_PCT)
        + _sign(levels.current_price, levels.sma_20, levels.sma_20)
    )
    if votes >= DIRECTION_VOTES:
        return SwingDirection.BULLISH
    return SwingDirection.BEARISH if votes <= -DIRECTION_VOTES else SwingDirection.NEUTRAL


def _lean(trend: Trend) -> int:
    return (trend is Trend.UPTREND) - (trend is Trend.DOWNTREND)


def _sign(value: float, above: float, below: float) -> int:
    return (value > above) - (value < below)


def _confidence(
    trends: TrendAlignment, momentum: Momentum, volume: Volume, direction: SwingDirection
) -> SwingConfidence:
    """swing.md 2.6."""
    score = (
        ALIGNED_POINTS * trends.aligned
        + VOLUME_POINTS * volume.volume_confirmation
        + RSI_POINTS * (OVERSOLD < momentum.rsi_14 < OVERBOUGHT)
        + DIRECTION_POINTS * (direction is not SwingDirection.NEUTRAL)
    )
    if score >= HIGH_SCORE:
        return SwingConfidence.HIGH
    if score >= MEDIUM_SCORE:
        return SwingConfidence.MEDIUM
    return SwingConfidence.LOW if score >= LOW_SCORE else SwingConfidence.NO_TRADE


def _dominant_timeframe(days: Bars, weeks: Weeks) -> Timeframe:
    """swing.md 2.7."""
    weekly, daily = _moved(weeks.closes[-LONG_WEEKS:]), _moved(days.c[-SHORT_DAYS:])
    return Timeframe.WEEKLY if weekly > WEEKLY_DOMINATES * daily else Timeframe.DAILY


def _moved(closes: Floats) -> float:
    return abs(float(closes[-1] - closes[0])) / float(closes[0])


def _notes(trends: TrendAlignment, momentum: Momentum, volume: Volume) -> Iterator[str]:
    """swing.md 2.8."""
    if trends.aligned:
        yield f"Days and weeks agree: both are {IN_WORDS[trends.daily_trend]}"
    else:
        yield f"Days and weeks disagree: {trends.conflict_reason}"
    if momentum.rsi_14 > OVERBOUGHT:
        yield f"RSI of {momentum.rsi_14} is overbought"
    elif momentum.rsi_14 < OVERSOLD:
        yield f"RSI of {momentum.rsi_14} is oversold"
    if volume.volume_confirmation:
        yield "Growing volume supports the move"


def _health(reality: SwingReality) -> SwingHealth:
    """Phase 2 (swing.md 3)."""
    parts = (
        _trend_strength(reality.trend_alignment),
        _momentum_quality(reality),
        _volume_support(reality.volume),
        (_failure_risk(reality), ""),
    )
    trend, momentum, volume, risk = (value for value, _ in parts)
    weighted = TREND_WEIGHT * trend + MOMENTUM_WEIGHT * momentum + VOLUME_WEIGHT * volume + RISK_WEIGHT * risk
    score = weighted // 100
    tier = _tier(score)
    return SwingHealth(
        health_score=score,
        health_tier=tier,
        stand_down=tier is SwingTier.WEAK,
        reasons=tuple(reason for _, reason in parts if reason),
        dimensions=SwingDimensions(trend, momentum, volume, risk),
    )


def _tier(score: int) -> SwingTier:
    if score >= HEALTHY_SCORE:
        return SwingTier.HEALTHY
    return SwingTier.MIXED if score >= MIXED_SCORE else SwingTier.WEAK


def _trend_strength(trends: TrendAlignment) -> tuple[int, str]:
    """Value and reason, if there is one (swing.md 3)."""
    if trends.aligned:
        return 80, ""
    if trends.weekly_trend is Trend.SIDEWAYS:
        return 40, "The weeks give no clear trend"
    days, weeks = IN_WORDS[trends.daily_trend], IN_WORDS[trends.weekly_trend]
    return 30, f"The days, {days}, do not follow the weeks, {weeks}"


def _momentum_quality(reality: SwingReality) -> tuple[int, str]:
    """swing.md 3: how far RSI is from its extremes, and whether MACD agrees with the direction."""
    rsi, macd = reality.momentum.rsi_14, reality.momentum.macd_signal
    quality, reason = _rsi_quality(rsi)
    confirmed = macd is reality.direction and macd is not SwingDirection.NEUTRAL
    return min(100, quality + 20 * confirmed), reason


def _rsi_quality(rsi: float) -> tuple[int, str]:
    if 40 <= rsi <= 60:
        return 70, ""
    if rsi > OVERBOUGHT:
        return 30, f"An RSI of {rsi} leaves little room above: overbought"
    if rsi < OVERSOLD:
        return 30, f"An RSI of {rsi} leaves little room below: oversold"
    return 50, ""


def _volume_support(volume: Volume) -> tuple[int, str]:
    """swing.md 3."""
    if volume.volume_confirmation:
        return 80, ""
    if volume.volume_trend is VolumeTrend.DECREASING:
        return 30, "Volume is falling from week to week"
    return 50, ""


def _failure_risk(reality: SwingReality) -> int:
    """swing.md 3: 70 at best, less for a conflict and for an RSI beyond 25 and 75."""
    stretched = not 25 <= reality.momentum.rsi_14 <= 75
    return max(0, 70 - 20 * (not reality.trend_alignment.aligned) - 15 * stretched)


def _density(reality: SwingReality) -> SwingDensity:
    """Phase 3 (swing.md 4)."""
    penalties = list(_density_penalties(reality))
    wait_for = _wait_for(reality.momentum.rsi_14)
    score = max(0, 100 - sum(points for points, _ in penalties))
    reasons = tuple(reason for _, reason in penalties)
    return SwingDensity(score, score >= CLEAN_DENSITY and not wait_for, wait_for, reasons)


def _density_penalties(reality: SwingReality) -> Iterator[tuple[int, str]]:
    """Points and reason of each penalty that applies (swing.md 4)."""
    rsi = reality.momentum.rsi_14
    if reality.trend_alignment.weekly_trend is Trend.SIDEWAYS:
        yield 30, "The weekly closes go sideways"
    if reality.trend_alignment.daily_trend is Trend.SIDEWAYS:
        yield 20, "The daily closes go sideways"
    if not RSI_LOW <= rsi <= RSI_HIGH:
        yield 25, f"RSI of {rsi} is at an extreme"


def _wait_for(rsi: float) -> str:
    if rsi > RSI_HIGH:
        return f"Let RSI come back under {OVERBOUGHT}"
    return f"Let RSI recover to over {OVERSOLD}" if rsi < RSI_LOW else ""


def _permission(reality: SwingReality, health: SwingHealth, density: SwingDensity) -> SwingPermission:
    """Phase 4 (swing.md 5)."""
    denials = tuple(_denials(reality, health, density))
    if denials:
        return SwingPermission(False, Bias.NEUTRAL, SwingMode.NO_TRADE, HoldingPeriod.NONE, denials)
    bias = BIAS[reality.direction]
    mode, holding_period = _mode(reality)
    return SwingPermission(True, bias, mode, holding_period, tuple(_invalidation(bias, reality.levels)))


def _denials(reality: SwingReality, health: SwingHealth, density: SwingDensity) -> Iterator[str]:
    """Why no position is permitted, in the order of swing.md 5.1."""
    if reality.confidence is SwingConfidence.NO_TRADE:
        yield "Too little of the evidence agrees for a swing trade"
    if health.stand_down:
        yield f"Swing health of {health.health_score} calls for standing down"
    if not density.is_clean_setup:
        yield f"No clean set-up at ${reality.levels.current_price:.2f}: {density.wait_for or 'choppy'}"


def _mode(reality: SwingReality) -> tuple[SwingMode, HoldingPeriod]:
    """swing.md 5.3, first match."""
    trends = reality.trend_alignment
    if trends.aligned and trends.weekly_trend is not Trend.SIDEWAYS:
        return SwingMode.TREND_FOLLOW, HoldingPeriod.WEEK_OR_TWO
    if not REVERSION_LOW <= reality.momentum.rsi_14 <= REVERSION_HIGH:
        return SwingMode.MEAN_REVERSION, HoldingPeriod.DAYS
    return SwingMode.BREAKOUT, HoldingPeriod.WEEK


def _invalidation(bias: Bias, levels: SwingLevels) -> Iterator[str]:
    """swing.md 5.4: the swing card shows the first three words of the first entry; no side, no entry (S12)."""
    if bias is Bias.NEUTRAL:
        return
    side, stop = ("below", levels.daily_low_5d) if bias is Bias.LONG else ("above", levels.daily_high_5d)
    yield f"Stop {side} {stop}"
    if levels.sma_50 > 0:
        yield f"The idea is off {side} the 50-day mean of {levels.sma_50}"
