"""Phase 1's base truth, computed once and read by both intraday engines.

Direction, acceptance, range, agreement of timeframes, participation, session memory and failures. Facts only: no
sentence, no score of either engine, no permission, and nothing a model said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from app.market.bars import Bars
from app.structure.levels import BREAK_BARS, HOUR_BARS, RANGE_BARS, TURN_BARS, Levels, mean, true_ranges
from app.structure.terms import (
    AcceptanceStrength,
    Bias,
    ConfidenceBand,
    Conviction,
    Direction,
    ExpansionQuality,
    FailureType,
    GapBehavior,
    Memory,
    RangeState,
    Timeframe,
)
from app.structure.view import View

MAJORITY_STRONG, MAJORITY_MODERATE = 7, 5  # of the last 10 closes (northstar.md 3.3)
REJECTED_BELOW, REJECTED_TOUCH = 0.995, 0.998  # of the 30-bar high (northstar.md 3.3 a)
BOUNCED_ABOVE, BOUNCED_TOUCH = 1.005, 1.002  # of the 30-bar low (northstar.md 3.3 b)
TOUCH_BARS = 5  # northstar.md 3.3
TREND_MOVE, STALLED_MOVE = 0.005, 0.002  # share of price over the 30 bars (northstar.md 3.4)
CLEAN_SHARE, FAILED_SHARE = 0.5, 0.7  # of the 30-bar range (northstar.md 3.4)
DAILY_BARS = 5  # daily bars that its volatility needs and uses (northstar.md 3.2)
DAILY_TREND_BARS = 2 * TURN_BARS  # below it a daily direction says nothing (N5)
DOMINANT, DOMINANT_MTF = 2.0, 1.5  # times the intraday volatility (northstar.md 3.2, 3.5)
MINUTES_TO_DAY = sqrt(390)  # a one-minute range scaled to a session's (N6, decision 2)
CONVICTION_HIGH = 1.5  # times the 20-bar mean volume (northstar.md 3.6)
EFFORT_RATIO, EFFORT_MOVE = 1.3, 0.001  # much volume, little result (northstar.md 3.6)
VOLUME_BARS, RECENT_VOLUME_BARS = 20, 5  # northstar.md 3.6
GAP = 0.002  # share of the previous close that makes a gap (northstar.md 3.7)
GAP_EXPANDS_UP, GAP_EXPANDS_DOWN = 1.002, 0.998  # times the open (northstar.md 3.7)
STREAK_DAYS = 3  # northstar.md 3.7
EDGE_SCORE, CONTEXT_SCORE = 60, 30  # northstar.md 3.11, rpe.md 2.8
ALIGNED_POINTS, MATCH_POINTS, FAILURE_POINTS = 25, 10, -30  # northstar.md 3.11, rpe.md 2.8
RANGE_POINTS = {RangeState.TREND: 20, RangeState.BALANCE: 10, RangeState.FAILED_EXPANSION: 0}
BIAS = {Direction.UP: Bias.LONG, Direction.DOWN: Bias.SHORT, Direction.BALANCED: Bias.NEUTRAL}  # northstar.md 6
CONVICTION_POINTS = {Conviction.HIGH: 15, Conviction.MEDIUM: 10, Conviction.LOW: 0}


class SideOfMiddle(StrEnum):
    """Which side of the middle the closes hold, as the sentences say it."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """On which side of the middle of the 30-bar range the last ten closes stand; `closes` is the winning count."""

    accepted: bool = False
    strength: AcceptanceStrength = AcceptanceStrength.WEAK
    side: SideOfMiddle | None = None
    closes: int = 0
    mid: float = 0.0


@dataclass(frozen=True, slots=True)
class FailedLevel:
    """A range extreme that price touched and left: `rejected` from above it, else bounced off it."""

    rejected: bool
    level: float
    price: float
    distance_pct: float


@dataclass(frozen=True, slots=True)
class RangeOutcome:
    """What became of the range (northstar.md 3.4); also Northstar's `range` as it is sent."""

    state: RangeState = RangeState.BALANCE
    rotation_complete: bool = False
    expansion_quality: ExpansionQuality = ExpansionQuality.NONE


@dataclass(frozen=True, slots=True)
class Continuity:
    """Minute direction against daily direction; `daily` is None where it says nothing (N5)."""

    aligned: bool = False
    intraday: Direction = Direction.BALANCED
    daily: Direction | None = None
    dominant_tf: Timeframe = Timeframe.INTRADAY


@dataclass(frozen=True, slots=True)
class Participation:
    """Volume of the last 5 bars against the last 20, and whether price answered it; means in shares a bar."""

    conviction: Conviction = Conviction.LOW
    effort_result_match: bool = False
    mean_5: float = 0.0
    mean_20: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionMemory:
    """Streak of sessions and fate of the gap; `gap` is (open - previous close) / previous close, None if unknown."""

    memory: Memory = Memory.RESET
    gap_behavior: GapBehavior | None = None
    gap: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed move and the extreme it reached, USD."""

    type: FailureType
    extreme: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed moves in the order of northstar.md 3.8; level, USD, and age, bars, of the last failed breakout (R2)."""

    found: tuple[Failure, ...] = ()
    breakout_level: float | None = None
    bars_ago: int | None = None

    @property
    def present(self) -> bool:
        return bool(self.found)


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything of phase 1 that both engines need. The defaults are an unresolved reading (northstar.md 3, rule 0)."""

    resolved: bool = False
    direction: Direction = Direction.BALANCED
    dominant_timeframe: Timeframe = Timeframe.INTRADAY
    acceptance: Acceptance = Acceptance()
    failed_levels: tuple[FailedLevel, ...] = ()
    range: RangeOutcome = RangeOutcome()
    continuity: Continuity = Continuity()
    participation: Participation = Participation()
    memory: SessionMemory = SessionMemory()
    failures: Failures = Failures()


UNRESOLVED = Truth()


def base_truth(view: View, levels: Levels) -> Truth:
    """The truth of a resolved view and its levels (northstar.md 3.1-3.8)."""
    minutes, days = view.minutes, view.days
    intraday = direction_of(minutes)
    hour, day = _volatilities(levels, days)
    return Truth(
        resolved=True,
        direction=intraday,
        dominant_timeframe=_daily_if(day > DOMINANT * hour),
        acceptance=_acceptance(levels),
        failed_levels=_failed_levels(levels),
        range=_range(levels),
        continuity=_continuity(intraday, days, _daily_if(day > DOMINANT_MTF * hour)),
        participation=_participation(minutes, levels),
        memory=_memory(levels, days),
        failures=_failures(levels),
    )


def direction_of(bars: Bars) -> Direction:
    """Two halves of the last 40 bars compared, and the last close against the 20-bar mean (northstar.md 2, DIR)."""
    if len(bars) < 2 * TURN_BARS:
        return Direction.BALANCED
    highs, lows = bars.h[-2 * TURN_BARS :].tolist(), bars.l[-2 * TURN_BARS :].tolist()
    high, high_before = max(highs[TURN_BARS:]), max(highs[:TURN_BARS])
    low, low_before = min(lows[TURN_BARS:]), min(lows[:TURN_BARS])
    if high > high_before and low > low_before and bars.c[-1] > mean(bars.c[-TURN_BARS:]):
        return Direction.UP
    if high < high_before and low < low_before and bars.c[-1] < mean(bars.c[-TURN_BARS:]):
        return Direction.DOWN
    return Direction.BALANCED


def _volatilities(levels: Levels, days: Bars) -> tuple[float, float]:
    """Mean true range of the last hour, scaled to a day (N6), and of the last days, USD; zeros if one is unknown."""
    if len(levels.true_ranges) < HOUR_BARS - 1 or len(days) < DAILY_BARS:
        return 0.0, 0.0
    hour = mean(levels.true_ranges[-(HOUR_BARS - 1) :])
    return hour * MINUTES_TO_DAY, mean(true_ranges(days[-DAILY_BARS:]))


def _daily_if(dominates: bool) -> Timeframe:
    return Timeframe.DAILY if dominates else Timeframe.INTRADAY


def _acceptance(levels: Levels) -> Acceptance:
    """northstar.md 3.3; an even split counts as above (N14)."""
    mid = levels.mid_30
    last = levels.closes[-BREAK_BARS:]
    above = sum(close > mid for close in last)
    below = sum(close < mid for close in last)
    for side, closes in ((SideOfMiddle.ABOVE, above), (SideOfMiddle.BELOW, below)):
        if closes >= MAJORITY_STRONG:
            return Acceptance(True, AcceptanceStrength.STRONG, side, closes, mid)
        if closes >= MAJORITY_MODERATE:
            return Acceptance(True, AcceptanceStrength.MODERATE, side, closes, mid)
    return Acceptance(closes=max(above, below), mid=mid)


def _failed_levels(levels: Levels) -> tuple[FailedLevel, ...]:
    """northstar.md 3.3 (a) and (b), in this order."""
    price, high, low = levels.price, levels.high_30, levels.low_30
    last = levels.closes[-TOUCH_BARS:]
    found = []
    if price < REJECTED_BELOW * high and max(last) >= REJECTED_TOUCH * high:
        found.append(FailedLevel(True, high, price, (high - price) / price * 100))
    if price > BOUNCED_ABOVE * low and min(last) <= BOUNCED_TOUCH * low:
        found.append(FailedLevel(False, low, price, (price - low) / low * 100))
    return tuple(found)


def _range(levels: Levels) -> RangeOutcome:
    """northstar.md 3.4."""
    first = levels.closes[-RANGE_BARS]
    move = abs((levels.price - first) / first)
    width_30, width_10 = levels.high_30 - levels.low_30, levels.high_10 - levels.low_10
    rotated = levels.high_10 in levels.highs[-BREAK_BARS:-1] and levels.low_10 in levels.lows[-BREAK_BARS:-1]
    if move > TREND_MOVE:
        clean = width_10 > CLEAN_SHARE * width_30
        return RangeOutcome(RangeState.TREND, rotated, ExpansionQuality.CLEAN if clean else ExpansionQuality.DIRTY)
    if width_10 > FAILED_SHARE * width_30 and move < STALLED_MOVE:
        return RangeOutcome(RangeState.FAILED_EXPANSION, rotated, ExpansionQuality.DIRTY)
    return RangeOutcome(RangeState.BALANCE, rotated, ExpansionQuality.NONE)


def _continuity(intraday: Direction, days: Bars, dominant: Timeframe) -> Continuity:
    """northstar.md 3.5, with N5: a daily direction of fewer than 40 days is not compared."""
    daily = direction_of(days) if len(days) >= DAILY_TREND_BARS else None
    return Continuity(
        aligned=daily is None or daily is intraday,
        intraday=intraday,
        daily=daily,
        dominant_tf=dominant,
    )


def _participation(minutes: Bars, levels: Levels) -> Participation:
    """northstar.md 3.6."""
    mean_20, mean_5 = mean(minutes.v[-VOLUME_BARS:]), mean(minutes.v[-RECENT_VOLUME_BARS:])
    before = levels.closes[-RECENT_VOLUME_BARS]
    moved = abs(levels.price - before) / before
    ratio = mean_5 / mean_20 if mean_20 else 1.0
    if mean_5 > CONVICTION_HIGH * mean_20:
        conviction = Conviction.HIGH
    else:
        conviction = Conviction.MEDIUM if mean_5 > mean_20 else Conviction.LOW
    return Participation(conviction, not (ratio > EFFORT_RATIO and moved < EFFORT_MOVE), mean_5, mean_20)


def _memory(levels: Levels, days: Bars) -> SessionMemory:
    """northstar.md 3.7. Without a bar of today there is no gap (N1)."""
    if levels.previous is None:
        return SessionMemory()
    memory = Memory.PERSISTENT if _one_way(days) else Memory.RESET
    opened, closed = levels.today_open, levels.previous.close
    if opened is None:
        return SessionMemory(memory)
    gap = (opened - closed) / closed
    return SessionMemory(memory, _gap_behavior(gap, opened, levels.price), gap)


def _one_way(days: Bars) -> bool:
    if len(days) < STREAK_DAYS:
        return False
    rose = (days.c[-STREAK_DAYS:] > days.o[-STREAK_DAYS:]).tolist()
    return all(rose) or not any(rose)


def _gap_behavior(gap: float, opened: float, price: float) -> GapBehavior | None:
    if abs(gap) <= GAP:
        return None
    if gap > 0:
        filled, expanded = price < opened, price > GAP_EXPANDS_UP * opened
    else:
        filled, expanded = price > opened, price < GAP_EXPANDS_DOWN * opened
    if filled:
        return GapBehavior.FILL
    return GapBehavior.EXPAND if expanded else GapBehavior.HOLD


def _failures(levels: Levels) -> Failures:
    """northstar.md 3.8; rpe.md 2.7 with R2: of two failed breakouts the low one gives level and age."""
    highs, lows, price = levels.highs, levels.lows, levels.price
    found: list[Failure] = []
    breakout_level, bars_ago = None, None
    if levels.high_10 > levels.broken_high and price < levels.broken_high:
        found.append(Failure(FailureType.FAILED_HIGH_BREAKOUT, levels.high_10))
        breakout_level, bars_ago = levels.broken_high, _bars_ago(highs, levels.high_10)
    if levels.low_10 < levels.broken_low and price > levels.broken_low:
        found.append(Failure(FailureType.FAILED_LOW_BREAKOUT, levels.low_10))
        breakout_level, bars_ago = levels.broken_low, _bars_ago(lows, levels.low_10)
    if highs[-2] > highs[-3] and price < lows[-2]:
        found.append(Failure(FailureType.BEARISH_REVERSAL, highs[-2]))
    if lows[-2] < lows[-3] and price > highs[-2]:
        found.append(Failure(FailureType.BULLISH_REVERSAL, lows[-2]))
    return Failures(tuple(found), breakout_level, bars_ago)


def _bars_ago(values: list[float], extreme: float) -> int:
    """How many bars since the last one of this value; 0 is the last bar."""
    return values[::-1].index(extreme)


def evidence(truth: Truth, acceptance_points: int) -> int:
    """The sum behind confidence; the engines differ in what acceptance is worth (northstar.md 3.11, rpe.md 2.8)."""
    return (
        acceptance_points
        + ALIGNED_POINTS * truth.continuity.aligned
        + RANGE_POINTS[truth.range.state]
        + CONVICTION_POINTS[truth.participation.conviction]
        + MATCH_POINTS * truth.participation.effort_result_match
        + FAILURE_POINTS * truth.failures.present
    )


def confidence_band(score: int) -> ConfidenceBand:
    """The band of an evidence score (northstar.md 3.11, rpe.md 2.8)."""
    if score >= EDGE_SCORE:
        return ConfidenceBand.STRUCTURAL_EDGE
    return ConfidenceBand.CONTEXT_ONLY if score >= CONTEXT_SCORE else ConfidenceBand.NO_TRADE
