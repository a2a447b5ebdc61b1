"""Twelve indicators of the daily bars, each with a value, a side and a reason (v1-contract.md 5.1).

For readers who want to see the day behind a ticker at a glance. The sides are a fixed reading of each number: nothing
here is fitted, weighed against anything else, or worth a probability. Every window ends with the last completed bar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

import numpy as np

from app.errors import Unavailable
from app.market.bars import Bars, Floats
from app.structure.levels import mean, true_ranges

ENOUGH_DAYS = 50  # v1-contract.md 5.1, this and every number below

RSI_CHANGES = 14
OVERSOLD, RSI_LOW, RSI_HIGH, OVERBOUGHT = 30, 40, 60, 70
MACD_FAST, MACD_SLOW, MACD_SIGNAL = 12, 26, 9
SHORT_DAYS, SHORT_NEAR, SHORT_FAR = 20, 0.5, 2.0
LONG_DAYS, LONG_NEAR, LONG_FAR = 50, 0.0, 4.0
MOMENTUM_DAYS, MOMENTUM_NEAR, MOMENTUM_FAR = 5, 1.0, 3.0
STREAK_DAYS = 2
OSCILLATOR_DAYS, STOCHASTIC_LOW, STOCHASTIC_HIGH = 14, 20, 80
WILLIAMS_LOW, WILLIAMS_HIGH = -80, -20
BAND_DAYS, BAND_SIGMAS, BAND_LOW, BAND_HIGH = 20, 2, 0.3, 0.7
ADX_DAYS, TRENDING = 14, 25
VOLUME_DAYS, HEAVY = 20, 1.5
DAY_NEAR, DAY_FAR = 0.5, 1.5

NOISE_DIGITS = 9
"""Decimals on which a value meets an edge: 2 % is 2 % however the division rounds."""


class Signal(StrEnum):
    """The side an indicator is read as."""

    BULLISH = "BULLISH"
    BEARISH = "BEARISH"
    NEUTRAL = "NEUTRAL"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One row of the table; `value` is text in the row's own format."""

    name: str
    value: str
    signal: Signal
    reason: str


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All twelve in the table's order, how many are on which side, and the last completed close, USD."""

    price: float
    indicators: tuple[Indicator, ...]
    bullish: int
    bearish: int
    neutral: int
    total: int


def breakdown(daily: Bars) -> Breakdown:
    """The twelve indicators of completed daily bars, oldest first.

    MACD and ADX are smoothed from the first bar given, so they depend slightly on how many there are. Raises
    Unavailable (part `data`, INSUFFICIENT_DATA) below 50 bars.
    """
    if len(daily) < ENOUGH_DAYS:
        message = f"the indicators need {ENOUGH_DAYS} completed daily bars, {len(daily)} are known"
        raise Unavailable(message, part="data", code="INSUFFICIENT_DATA")
    found = tuple(read(daily) for read in READINGS)
    sides = Counter(indicator.signal for indicator in found)
    return Breakdown(
        price=float(daily.c[-1]),
        indicators=found,
        bullish=sides[Signal.BULLISH],
        bearish=sides[Signal.BEARISH],
        neutral=sides[Signal.NEUTRAL],
        total=len(found),
    )


def _rsi(daily: Bars) -> Indicator:
    """Plain sums of the last 14 close-to-close changes, no smoothing; 50 if nothing moved, 100 without a loss."""
    changes = np.diff(daily.c[-RSI_CHANGES - 1 :])
    gains, losses = float(changes[changes > 0].sum()), -float(changes[changes < 0].sum())
    rsi = _clean(100 * _ratio(gains, gains + losses, 0.5))
    signal = _faded(rsi, RSI_LOW, RSI_HIGH)
    reasons = {
        Signal.BULLISH: "Oversold after two weeks of selling" if rsi < OVERSOLD else "Sellers had the better of it",
        Signal.BEARISH: "Overbought after two weeks of buying" if rsi > OVERBOUGHT else "Buyers had the better of it",
        Signal.NEUTRAL: "Gains and losses roughly balance",
    }
    return Indicator("RSI (14)", f"{rsi:.1f}", signal, reasons[signal])


def _macd(daily: Bars) -> Indicator:
    """MACD less its signal line, USD. Exponential means with weight 2/(span+1), seeded with the first value."""
    closes = daily.c.tolist()
    macd = [fast - slow for fast, slow in zip(_ema(closes, MACD_FAST), _ema(closes, MACD_SLOW), strict=True)]
    before, now = (line - smooth for line, smooth in zip(macd[-2:], _ema(macd, MACD_SIGNAL)[-2:], strict=True))
    if now == before:
        signal, reason = Signal.NEUTRAL, "Momentum is unchanged from the day before"
    elif now > before:
        signal, reason = Signal.BULLISH, "Momentum gained on the day before"
    else:
        signal, reason = Signal.BEARISH, "Momentum lost ground on the day before"
    return Indicator("MACD Histogram (12,26,9)", f"{_clean(now, 3):.3f}", signal, reason)


def _sma_20(daily: Bars) -> Indicator:
    """The close against the mean of the last 20 closes, itself included."""
    return _from_mean("Price vs SMA20", daily, SHORT_DAYS, SHORT_NEAR, SHORT_FAR)


def _sma_50(daily: Bars) -> Indicator:
    """The close against the mean of the last 50. The table gives 0 % to both sides: it is NEUTRAL here."""
    return _from_mean("Price vs SMA50", daily, LONG_DAYS, LONG_NEAR, LONG_FAR)


def _from_mean(name: str, daily: Bars, days: int, near: float, far: float) -> Indicator:
    distance = _change_pct(mean(daily.c[-days:]), float(daily.c[-1]))
    return Indicator(name, _signed_pct(distance), *_moderate(distance, near, far, f"its {days}-day mean"))


def _momentum(daily: Bars) -> Indicator:
    """The close against the close five days before."""
    move = _change_pct(float(daily.c[-MOMENTUM_DAYS - 1]), float(daily.c[-1]))
    side = _moderate(move, MOMENTUM_NEAR, MOMENTUM_FAR, "its close of five days before")
    return Indicator("5-Day Momentum", _signed_pct(move), *side)


def _streak(daily: Bars) -> Indicator:
    """Closes in a row above, or below, the one before; an unchanged close ends a streak."""
    signs = np.sign(np.diff(daily.c)).tolist()[::-1]
    length = sum(1 for _ in takewhile(lambda sign: sign == signs[0], signs))
    name = "Consecutive Days"
    if length < STREAK_DAYS or not signs[0]:
        return Indicator(name, "Mixed", Signal.NEUTRAL, "The last closes do not run one way")
    if signs[0] > 0:
        return Indicator(name, f"{length} up", Signal.BEARISH, f"{length} higher closes in a row, read as overdone")
    return Indicator(name, f"{length} down", Signal.BULLISH, f"{length} lower closes in a row, read as overdone")


def _stochastic(daily: Bars) -> Indicator:
    """Raw %K: where the close lies between the 14-day low (0) and high (100); 50 if they are equal."""
    value = _clean(100 * _position(daily))
    signal = _faded(value, STOCHASTIC_LOW, STOCHASTIC_HIGH)
    return Indicator("Stochastic %K (14)", f"{value:.1f}", signal, _place(signal, "14-day range"))


def _williams(daily: Bars) -> Indicator:
    """The same place counted down from the 14-day high: 0 at the high, -100 at the low; -50 if they are equal."""
    value = _clean(100 * _position(daily) - 100)
    signal = _faded(value, WILLIAMS_LOW, WILLIAMS_HIGH)
    return Indicator("Williams %R (14)", f"{_clean(value, 1):.1f}", signal, _place(signal, "14-day high and low"))


def _bands(daily: Bars) -> Indicator:
    """Where the close lies between the Bollinger bands, 0 to 1 and beyond; sample sigma (ddof 1); 0.5 if flat."""
    closes = daily.c[-BAND_DAYS:]
    sigma = 0.0 if closes.min() == closes.max() else float(closes.std(ddof=1))
    share = _clean(0.5 + _ratio(float(closes[-1]) - mean(closes), 2 * BAND_SIGMAS * sigma, 0.0))
    signal = _faded(share, BAND_LOW, BAND_HIGH)
    name = "BB Position (20, 2σ)"  # noqa: RUF001 - the contract's own name
    return Indicator(name, f"{_clean(100 * share, 0):.0f}%", signal, _place(signal, "Bollinger bands"))


def _adx(daily: Bars) -> Indicator:
    """Wilder's ADX: true range and both movements smoothed from the mean of the first 14, then the index likewise."""
    adx, plus, minus = _directional(daily)
    if adx <= TRENDING:
        signal, reason = Signal.NEUTRAL, "No clear trend"
    elif plus > minus:
        signal, reason = Signal.BULLISH, "A clear trend, upwards"
    else:
        signal, reason = Signal.BEARISH, "A clear trend, downwards"
    return Indicator("ADX Trend (14)", f"{adx:.1f}", signal, reason)


def _volume(daily: Bars) -> Indicator:
    """The day's shares over the mean of the last 20 days, itself included; an up day closes above the close before."""
    shares = _clean(_ratio(float(daily.v[-1]), mean(daily.v[-VOLUME_DAYS:]), 0.0))
    before, last = daily.c[-2:].tolist()
    if shares <= HEAVY:
        signal, reason = Signal.NEUTRAL, "Volume is not out of the ordinary" if shares else "No volume was reported"
    elif last == before:
        signal, reason = Signal.NEUTRAL, "Heavy volume, but the close did not move"
    elif last > before:
        signal, reason = Signal.BULLISH, "Heavy volume on a higher close"
    else:
        signal, reason = Signal.BEARISH, "Heavy volume on a lower close"
    return Indicator("Volume (vs 20-day mean)", f"{shares:.2f}x avg", signal, reason)


def _day_return(daily: Bars) -> Indicator:
    """The close against the close of the day before."""
    before, last = daily.c[-2:].tolist()
    move = _change_pct(before, last)
    side = _moderate(move, DAY_NEAR, DAY_FAR, "the close of the day before")
    return Indicator("Prev Day Return", _signed_pct(move), *side)


READINGS = (
    *(_rsi, _macd, _sma_20, _sma_50, _momentum, _streak),
    *(_stochastic, _williams, _bands, _adx, _volume, _day_return),
)


def _faded(value: float, low: float, high: float) -> Signal:
    """Strictly below `low` a bounce is looked for, strictly above `high` a setback."""
    if value < low:
        return Signal.BULLISH
    return Signal.BEARISH if value > high else Signal.NEUTRAL


def _moderate(pct: float, near: float, far: float, base: str) -> tuple[Signal, str]:
    """A move of `near` to `far` per cent is followed, edges included; a larger one is faded; a smaller says nothing."""
    if not pct or abs(pct) < near:
        return Signal.NEUTRAL, f"Close to {base}"
    followed, where = abs(pct) <= far, f"{'above' if pct > 0 else 'below'} {base}"
    signal = Signal.BULLISH if (pct > 0) == followed else Signal.BEARISH
    return signal, f"{'Moderately' if followed else 'Stretched'} {where}"


def _place(signal: Signal, span: str) -> str:
    words = {Signal.BULLISH: "Near the bottom", Signal.BEARISH: "Near the top", Signal.NEUTRAL: "Around the middle"}
    return f"{words[signal]} of the {span}"


def _position(daily: Bars) -> float:
    """Where the last close lies in the 14-day range, 0 to 1; 0.5 if the range is empty."""
    high, low = float(daily.h[-OSCILLATOR_DAYS:].max()), float(daily.l[-OSCILLATOR_DAYS:].min())
    return _ratio(float(daily.c[-1]) - low, high - low, 0.5)


def _directional(daily: Bars) -> tuple[float, float, float]:
    """(ADX, +DI, -DI) of the last bar, 0 to 100; 0 where nothing moved."""
    up, down = np.diff(daily.h), -np.diff(daily.l)
    spread = _wilder(true_ranges(daily))
    plus = _percent(_wilder(np.where((up > down) & (up > 0), up, 0.0)), spread)
    minus = _percent(_wilder(np.where((down > up) & (down > 0), down, 0.0)), spread)
    index = _wilder(_percent(np.abs(plus - minus), plus + minus))
    return _clean(float(index[-1])), float(plus[-1]), float(minus[-1])


def _wilder(values: Floats) -> Floats:
    """The mean of the first 14 values, then each later value moves it by a fourteenth of the difference."""
    average = mean(values[:ADX_DAYS])
    smooth = [average]
    for value in values[ADX_DAYS:].tolist():
        average += (value - average) / ADX_DAYS
        smooth.append(average)
    return np.array(smooth)


def _percent(part: Floats, whole: Floats) -> Floats:
    share: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return 100 * share


def _ema(values: Sequence[float], span: int) -> list[float]:
    average, means = values[0], []
    for value in values:
        average += 2 / (span + 1) * (value - average)
        means.append(average)
    return means


def _ratio(part: float, whole: float, undefined: float) -> float:
    return part / whole if whole else undefined


def _change_pct(before: float, after: float) -> float:
    return _clean((after - before) / before * 100)


def _signed_pct(value: float) -> str:
    return f"{_clean(value, 2):+.2f}%"


def _clean(value: float, digits: int = NOISE_DIGITS) -> float:
    """Rounded, and never a negative zero."""
    return round(value, digits) + 0.0
