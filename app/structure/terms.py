"""Every enumerated value that may leave this package, by the name the field gives it.

For readers and for whoever documents an answer: what is not listed here is never sent. Holds no rule and no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

REDUNDANT: Mapping[str, bool] = {"exclude": True}
"""The metadata of a field that says nothing of the market: it is the same whatever the bars are, or it repeats what was asked
for. v1's contract has such fields; pydantic, and so v2, leaves them out."""


class Direction(StrEnum):
    """Where price is going (northstar.md 3.1, rpe.md 2.8)."""

    UP = "UP"
    DOWN = "DOWN"
    BALANCED = "BALANCED"


class Timeframe(StrEnum):
    """Which span of bars leads. Intraday answers use the first two, swing answers the last two."""

    INTRADAY = "INTRADAY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"


class ConfidenceBand(StrEnum):
    """How much of the evidence agrees (northstar.md 3.11, rpe.md 2.8)."""

    STRUCTURAL_EDGE = "STRUCTURAL_EDGE"
    CONTEXT_ONLY = "CONTEXT_ONLY"
    NO_TRADE = "NO_TRADE"


class AcceptanceStrength(StrEnum):
    """How one-sided the last closes are (northstar.md 3.3)."""

    STRONG = "STRONG"
    MODERATE = "MODERATE"
    WEAK = "WEAK"


class RangeState(StrEnum):
    """What the last 30 bars did with their range (northstar.md 3.4)."""

    TREND = "TREND"
    BALANCE = "BALANCE"
    FAILED_EXPANSION = "FAILED_EXPANSION"


class ExpansionQuality(StrEnum):
    """How cleanly the range grew (northstar.md 3.4)."""

    CLEAN = "CLEAN"
    DIRTY = "DIRTY"
    NONE = "NONE"


class Conviction(StrEnum):
    """Recent volume against its own mean (northstar.md 3.6)."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Memory(StrEnum):
    """Whether the last sessions ran one way (northstar.md 3.7)."""

    PERSISTENT = "PERSISTENT"
    RESET = "RESET"


class GapBehavior(StrEnum):
    """What became of the overnight gap (northstar.md 3.7)."""

    FILL = "FILL"
    HOLD = "HOLD"
    EXPAND = "EXPAND"


class FailureType(StrEnum):
    """A move that did not hold (northstar.md 3.8)."""

    FAILED_HIGH_BREAKOUT = "FAILED_HIGH_BREAKOUT"
    FAILED_LOW_BREAKOUT = "FAILED_LOW_BREAKOUT"
    BEARISH_REVERSAL = "BEARISH_REVERSAL"
    BULLISH_REVERSAL = "BULLISH_REVERSAL"


class ExpansionSignal(StrEnum):
    """How likely a volatility expansion is (northstar.md 7)."""

    NONE = "NONE"
    WEAK = "WEAK"
    MODERATE = "MODERATE"
    STRONG = "STRONG"


class HealthTier(StrEnum):
    """How far the intraday reading can be trusted (northstar.md 4)."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNSTABLE = "UNSTABLE"


class Throttle(StrEnum):
    """How many more signals are let through (northstar.md 5, rpe.md 4)."""

    OPEN = "OPEN"
    LIMITED = "LIMITED"
    BLOCKED = "BLOCKED"


class Bias(StrEnum):
    """The side a position may take."""

    LONG = "LONG"
    SHORT = "SHORT"
    NEUTRAL = "NEUTRAL"


class ExecutionMode(StrEnum):
    """How Northstar permits to trade (northstar.md 6)."""

    TREND_CONTINUATION = "TREND_CONTINUATION"
    MEAN_REVERSION = "MEAN_REVERSION"
    SCALP = "SCALP"
    NO_TRADE = "NO_TRADE"


class RiskLevel(StrEnum):
    """How much risk the state of the market leaves room for (northstar.md 6, rpe.md 3)."""

    NORMAL = "NORMAL"
    REDUCED = "REDUCED"
    DEFENSIVE = "DEFENSIVE"


class VolumeProfileShape(StrEnum):
    """Volume now against ten bars ago (rpe.md 2.5; defect R4 keeps the name)."""

    NORMAL = "NORMAL"
    SKEWED_HIGH = "SKEWED_HIGH"
    SKEWED_LOW = "SKEWED_LOW"


class VolatilityRegime(StrEnum):
    """The short true range against the hour's (rpe.md 3)."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"
    EXTREME = "EXTREME"


class MarketMode(StrEnum):
    """Who seems to be trading (rpe.md 4)."""

    ACCUMULATION = "ACCUMULATION"
    DISTRIBUTION = "DISTRIBUTION"
    NORMAL = "NORMAL"
    QUIET = "QUIET"


class ChangeType(StrEnum):
    """The kind of a material change (rpe.md 4)."""

    LEVEL_BREAK = "LEVEL_BREAK"
    REGIME_SHIFT = "REGIME_SHIFT"
    VOLUME_SPIKE = "VOLUME_SPIKE"


class PlayType(StrEnum):
    """The play RPE finds suitable; BREAKOUT comes as an alternative only (rpe.md 5)."""

    TREND_CONTINUATION = "TREND_CONTINUATION"
    MEAN_REVERSION = "MEAN_REVERSION"
    SCALP = "SCALP"
    BREAKOUT = "BREAKOUT"
    NO_TRADE = "NO_TRADE"


class HorizonName(StrEnum):
    """The spans of the forecast (rpe.md 6)."""

    QUARTER_HOUR = "15m"
    HOUR = "1h"
    END_OF_DAY = "EOD"


class Move(StrEnum):
    """The sign of a forecast move (rpe.md 6)."""

    UP = "UP"
    DOWN = "DOWN"
    FLAT = "FLAT"


class Regime(StrEnum):
    """The regimes the forecast weighs; EVENT never dominates (rpe.md 6)."""

    TREND = "TREND"
    MR = "MR"
    CHOP = "CHOP"
    EVENT = "EVENT"


class EntryType(StrEnum):
    """The order an entry would use (rpe.md 6)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class BarrierOutcome(StrEnum):
    """How the triple barrier would end (rpe.md 6)."""

    PROFIT_TARGET = "PROFIT_TARGET"
    STOP_LOSS = "STOP_LOSS"
    TIME_EXIT = "TIME_EXIT"
    PENDING = "PENDING"


class SwingDirection(StrEnum):
    """Where the days and weeks point; also the sign of MACD (swing.md 2)."""

    BULLISH = "BULLISH"
    BEARISH = "BEARISH"
    NEUTRAL = "NEUTRAL"


class SwingConfidence(StrEnum):
    """How much of the swing evidence agrees (swing.md 2.6)."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    NO_TRADE = "NO_TRADE"


class Trend(StrEnum):
    """The trend of one timeframe (swing.md 2.2)."""

    UPTREND = "UPTREND"
    DOWNTREND = "DOWNTREND"
    SIDEWAYS = "SIDEWAYS"


class VolumeTrend(StrEnum):
    """This week's volume against last week's (swing.md 2.4)."""

    INCREASING = "INCREASING"
    DECREASING = "DECREASING"
    NORMAL = "NORMAL"


class SwingTier(StrEnum):
    """How far the swing reading can be trusted (swing.md 3)."""

    HEALTHY = "HEALTHY"
    MIXED = "MIXED"
    WEAK = "WEAK"


class SwingMode(StrEnum):
    """How a swing position would be run (swing.md 5)."""

    TREND_FOLLOW = "TREND_FOLLOW"
    MEAN_REVERSION = "MEAN_REVERSION"
    BREAKOUT = "BREAKOUT"
    NO_TRADE = "NO_TRADE"


class HoldingPeriod(StrEnum):
    """How long a swing position would last (swing.md 5)."""

    WEEK_OR_TWO = "5-10 DAYS"
    DAYS = "3-5 DAYS"
    WEEK = "5 DAYS"
    NONE = "N/A"
