"""The daily signal: a probability and the day's usual range as side, levels and room left (v1-contract.md 4.7).

A coarser ladder than the policy's, for the morning overview: it locks nothing, sizes nothing, and its BUY is not the
policy's LONG. Pure: where the probability and the range come from is the caller's matter. Prices in USD, unrounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.market.bars import Bars

Signal = Literal["BUY", "SELL", "HOLD"]
Strength = Literal["STRONG", "MODERATE", "WEAK", "NEUTRAL"]
MarketSignal = Literal["BULLISH", "BEARISH", "MIXED"]
VixRegime = Literal["HIGH", "ELEVATED", "NORMAL", "LOW"]

LADDER: tuple[tuple[float, Strength], ...] = ((0.70, "STRONG"), (0.60, "MODERATE"), (0.55, "WEAK"))
"""Probability of the favoured side from, strength (v1-contract.md 4.7, as every number below)."""

ENOUGH_VOTES = 2
PAST_TARGET_ATRS, LEAST_EXTENSION_ATRS = 0.3, 0.5
VIX_HIGH_PCT, VIX_ELEVATED_PCT, VIX_NORMAL_PCT = 10.0, 5.0, -2.0
NOISE_DIGITS = 9
"""Decimals on which confidences and changes are compared: 0.7 up and 0.3 down are equally sure."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The side of a probability and how far it is from even."""

    signal: Signal
    strength: Strength


@dataclass(frozen=True, slots=True)
class PredictedRange:
    """What the day is expected to stay in, USD."""

    high: float
    low: float


@dataclass(frozen=True, slots=True)
class DailyLevels:
    """Where to get in, where the move is done, where it was wrong; all equal with HOLD. USD."""

    entry_price: float
    target_price: float
    stop_loss: float


@dataclass(frozen=True, slots=True)
class RemainingPotential:
    """What is left between the price and the two targets, USD and per cent of the price, never below 0.

    target_extended  whether the price had passed a target, which was then moved on; the originals are kept
    """

    upside_pct: float
    downside_pct: float
    upside_dollars: float
    downside_dollars: float
    target_extended: bool
    original_target_low: float
    original_target_high: float


@dataclass(frozen=True, slots=True)
class Trade:
    """A ticker's signal as a candidate for the best trade."""

    ticker: str
    signal: Signal
    strength: Strength
    confidence: float
    risk_reward: float


@dataclass(frozen=True, slots=True)
class Vix:
    """The volatility ETF: its last daily close, USD, the change on the day before in per cent, and what that means."""

    current: float
    change_pct: float
    regime: VixRegime


@dataclass(frozen=True, slots=True)
class DailySignal:
    """All of it for one ticker: the probability shown, its side, levels, and the room left. Prices in USD."""

    probability: float
    grade: Grade
    confidence: float
    levels: DailyLevels
    risk_reward: float
    expected: PredictedRange
    potential: RemainingPotential


def daily_signal(p: float, price: float, atr: float, forecast: PredictedRange | None = None) -> DailySignal:
    """The daily signal of a ticker at `price` with a 14-day ATR of `atr` USD, which is the range where none was forecast."""
    grade, expected = grade_of(p), forecast or predicted_range(price, atr)
    at = levels(grade.signal, price, expected)
    return DailySignal(
        probability=p,
        grade=grade,
        confidence=confidence(p),
        levels=at,
        risk_reward=risk_reward(grade.signal, at),
        expected=expected,
        potential=remaining_potential(price, expected, atr),
    )


def grade_of(p: float) -> Grade:
    """The ladder; every edge belongs to the stronger side."""
    for edge, strength in LADDER:
        if p >= edge:
            return Grade("BUY", strength)
        if p <= round(1 - edge, 2):
            return Grade("SELL", strength)
    return Grade("HOLD", "NEUTRAL")


def confidence(p: float) -> float:
    """Twice the distance from even, 0 to 1."""
    return round(abs(p - 0.5) * 2, NOISE_DIGITS)


def side_probability(signal: Signal, p: float) -> float:
    """The probability of what the signal says: of the fall for SELL, else of the rise."""
    return 1 - p if signal == "SELL" else p


def predicted_range(price: float, atr: float) -> PredictedRange:
    """One ATR (14 days, USD) either side of the price, where no range was forecast."""
    return PredictedRange(high=price + atr, low=price - atr)


def levels(signal: Signal, price: float, expected: PredictedRange) -> DailyLevels:
    """BUY aims at the high and stops at the low, SELL the other way round."""
    if signal == "BUY":
        return DailyLevels(price, expected.high, expected.low)
    if signal == "SELL":
        return DailyLevels(price, expected.low, expected.high)
    return DailyLevels(price, price, price)


def risk_reward(signal: Signal, at: DailyLevels) -> float:
    """Reward per unit of risk; 0 with HOLD, with the price beyond its stop, and with no reward left."""
    sign = -1 if signal == "SELL" else 1
    reward, risk = sign * (at.target_price - at.entry_price), sign * (at.entry_price - at.stop_loss)
    return max(0.0, reward / risk) if risk > 0 else 0.0


def remaining_potential(price: float, expected: PredictedRange, atr: float) -> RemainingPotential:
    """What is left of the predicted range; a target that the price has passed is moved beyond it first."""
    high = expected.high + _extension(price - expected.high, atr)
    low = expected.low - _extension(expected.low - price, atr)
    upside, downside = max(0.0, high - price), max(0.0, price - low)
    return RemainingPotential(
        upside_pct=upside / price * 100,
        downside_pct=downside / price * 100,
        upside_dollars=upside,
        downside_dollars=downside,
        target_extended=price > expected.high or price < expected.low,
        original_target_low=expected.low,
        original_target_high=expected.high,
    )


def _extension(overshoot: float, atr: float) -> float:
    """How far a target is moved, USD; 0 for one that is reached but not passed."""
    return max(overshoot + PAST_TARGET_ATRS * atr, LEAST_EXTENSION_ATRS * atr) if overshoot > 0 else 0.0


def market_signal(buys: int, sells: int) -> MarketSignal:
    """The side with at least two tickers and more than the other."""
    if buys >= ENOUGH_VOTES and buys > sells:
        return "BULLISH"
    return "BEARISH" if sells >= ENOUGH_VOTES and sells > buys else "MIXED"


def best_trade(trades: Sequence[Trade]) -> Trade | None:
    """The surest trade that is not HOLD, then the one with the better risk_reward, then the first given."""
    candidates = (trade for trade in trades if trade.signal != "HOLD")
    return max(candidates, key=lambda trade: (trade.confidence, trade.risk_reward), default=None)


def vix(daily: Bars) -> Vix | None:
    """The state of fear by the last two daily closes of the ETF; None if there are not two."""
    if len(daily) < 2:
        return None
    before, current = daily.c[-2:].tolist()
    change_pct = round((current - before) / before * 100, NOISE_DIGITS)
    return Vix(current, change_pct, vix_regime(change_pct))


def vix_regime(change_pct: float) -> VixRegime:
    if change_pct >= VIX_HIGH_PCT:
        return "HIGH"
    if change_pct >= VIX_ELEVATED_PCT:
        return "ELEVATED"
    return "NORMAL" if change_pct >= VIX_NORMAL_PCT else "LOW"
