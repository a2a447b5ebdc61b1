"""The volatility expansion estimate of phase 1: a rule over six set-up flags (northstar.md 7).

The only part of phase 1 that looks ahead, so nothing may be gated by it. No trained classifier stands behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time

from app.market.bars import Bars, Floats, from_ms
from app.market.calendar import CLOSE, NY, OPEN
from app.structure.levels import RANGE_BARS, Levels, mean
from app.structure.terms import ExpansionSignal
from app.structure.view import View

POWER_HOUR = time(15)  # northstar.md 7, N3
FIRST_HALF_HOUR_END = time(10)  # northstar.md 7, N3
BASIS_POINTS = 10_000
COMPRESSED, SQUEEZED, DRY = 0.6, 0.7, 0.7  # northstar.md 7, u w z
SHORT_BARS, SQUEEZE_BARS, DRY_BARS, HOUR_BARS = 5, 10, 15, 60  # northstar.md 7
NEAR_BP = 20  # northstar.md 7, at_key_level
MAJOR_POINTS, MINOR_POINTS = 2, 1  # northstar.md 7: hours and key level; compression, squeeze and dry-up
SET_UP_SCORE = 2  # northstar.md 7
IDLE_PROBABILITY, IDLE_STEP = 0.1, 0.05  # northstar.md 7, score < 2
BASE_PROBABILITY = ((5, 0.35), (4, 0.28), (3, 0.22), (2, 0.15))  # northstar.md 7, score >= 2
POWER_HOUR_BONUS, FIRST_30MIN_BONUS, KEY_LEVEL_BONUS = 0.20, 0.15, 0.15  # northstar.md 7
MOST_PROBABLE = 0.95  # northstar.md 7
STRONG, MODERATE, WEAK = 0.8, 0.6, 0.4  # northstar.md 7
LIKELY = 0.5  # northstar.md 7, the rule's threshold
NOTHING_SET_UP = "No expansion set-up is in place"


@dataclass(frozen=True, slots=True)
class VolatilityExpansion:
    """The estimate as it is sent: probability 0-1, 3 decimals (northstar.md 7)."""

    probability: float = 0.0
    signal: ExpansionSignal = ExpansionSignal.NONE
    expansion_likely: bool = False
    reasons: tuple[str, ...] = ()


NO_ESTIMATE = VolatilityExpansion()


@dataclass(frozen=True, slots=True)
class SetUp:
    """The six flags, and what their sentences say; near_* are the previous day's extremes, USD, if price is there."""

    power_hour: bool
    first_30min: bool
    compression: float
    atr_squeeze: bool
    vol_dryup: bool
    near_high: float | None
    near_low: float | None

    @property
    def compressed(self) -> bool:
        return self.compression < COMPRESSED

    @property
    def at_key_level(self) -> bool:
        return self.near_high is not None or self.near_low is not None

    @property
    def score(self) -> int:
        major = self.power_hour + self.first_30min + self.at_key_level
        minor = self.compressed + self.atr_squeeze + self.vol_dryup
        return MAJOR_POINTS * major + MINOR_POINTS * minor


def expansion_of(view: View, levels: Levels) -> VolatilityExpansion:
    """The estimate for a resolved view (northstar.md 7)."""
    return estimate(set_up_of(view.minutes, levels))


def estimate(set_up: SetUp) -> VolatilityExpansion:
    """The rule over the flags (northstar.md 7)."""
    score = set_up.score
    if score < SET_UP_SCORE:
        return VolatilityExpansion(round(IDLE_PROBABILITY + IDLE_STEP * score, 3), reasons=(NOTHING_SET_UP,))
    probability = _probability(set_up, score)
    return VolatilityExpansion(
        probability=round(probability, 3),
        signal=_signal(probability),
        expansion_likely=probability >= LIKELY,
        reasons=tuple(_reasons(set_up, probability)) or (NOTHING_SET_UP,),
    )


def set_up_of(minutes: Bars, levels: Levels) -> SetUp:
    """The flags of at least 30 minute bars; the clock is New York's at the last bar's start (N3)."""
    clock = from_ms(int(minutes.t[-1])).astimezone(NY).time()
    last = minutes[-RANGE_BARS:]
    previous = levels.previous
    return SetUp(
        power_hour=POWER_HOUR <= clock < CLOSE,
        first_30min=OPEN <= clock < FIRST_HALF_HOUR_END,
        compression=_tail_ratio((last.h - last.l) / last.c * BASIS_POINTS, SHORT_BARS, RANGE_BARS),
        atr_squeeze=_tail_ratio(levels.true_ranges, SQUEEZE_BARS, RANGE_BARS) < SQUEEZED,
        vol_dryup=_tail_ratio(minutes.v, DRY_BARS, HOUR_BARS) < DRY,
        near_high=_if_near(levels.price, previous.high) if previous else None,
        near_low=_if_near(levels.price, previous.low) if previous else None,
    )


def _tail_ratio(values: Floats, few: int, many: int) -> float:
    """Mean of the last few over mean of the last many; 1.0 with too few values or nothing to divide by."""
    if len(values) < many:
        return 1.0
    whole = mean(values[-many:])
    return mean(values[-few:]) / whole if whole else 1.0


def _if_near(price: float, level: float) -> float | None:
    return level if abs((price - level) / price * BASIS_POINTS) < NEAR_BP else None


def _probability(set_up: SetUp, score: int) -> float:
    probability = next(base for least, base in BASE_PROBABILITY if score >= least)
    if set_up.power_hour and set_up.compressed:
        probability += POWER_HOUR_BONUS
    if set_up.first_30min:
        probability += FIRST_30MIN_BONUS
    if set_up.at_key_level and (set_up.compressed or set_up.atr_squeeze):
        probability += KEY_LEVEL_BONUS
    return min(MOST_PROBABLE, probability)


def _signal(probability: float) -> ExpansionSignal:
    if probability >= STRONG:
        return ExpansionSignal.STRONG
    if probability >= MODERATE:
        return ExpansionSignal.MODERATE
    return ExpansionSignal.WEAK if probability >= WEAK else ExpansionSignal.NONE


def _reasons(set_up: SetUp, probability: float) -> Iterator[str]:
    """One sentence per fact that speaks for an expansion, in the order of northstar.md 7."""
    if probability >= STRONG:
        yield f"Expansion is very likely: {probability:.0%}"
    elif probability >= MODERATE:
        yield f"Expansion is more likely than not: {probability:.0%}"
    if set_up.power_hour:
        yield "The last hour of the session is running"
    if set_up.first_30min:
        yield "The session is in its opening half hour"
    if set_up.compressed:
        yield f"The last bars are narrow: {set_up.compression:.2f} of the 30-bar mean range"
    if set_up.atr_squeeze:
        yield "True range has shrunk against the last 30 bars"
    if set_up.vol_dryup:
        yield "Volume has dried up against the last hour"
    if set_up.near_high is not None:
        yield f"Price is close to yesterday's high of ${set_up.near_high:.2f}"
    if set_up.near_low is not None:
        yield f"Price is close to yesterday's low of ${set_up.near_low:.2f}"
