"""The twelve indicators: each row of the table at its edges, by hand; flat, silent and wild markets."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Unavailable
from app.market.bars import Bars
from app.structure import indicators
from app.structure.indicators import ENOUGH_DAYS, Breakdown, Indicator, Signal, breakdown
from app.structure.view import LEAST_USD, MOST_SHARES, MOST_USD
from tests.structure.making import days

BULLISH, BEARISH, NEUTRAL = Signal.BULLISH, Signal.BEARISH, Signal.NEUTRAL
NAMES = [
    "RSI (14)",
    "MACD Histogram (12,26,9)",
    "Price vs SMA20",
    "Price vs SMA50",
    "5-Day Momentum",
    "Consecutive Days",
    "Stochastic %K (14)",
    "Williams %R (14)",
    "BB Position (20, 2σ)",  # noqa: RUF001
    "ADX Trend (14)",
    "Volume (vs 20-day mean)",
    "Prev Day Return",
]
FORMATS = [
    r"\d+\.\d",
    r"-?\d+\.\d{3}",
    *[r"[+-]\d+\.\d\d%"] * 3,
    r"\d+ (up|down)|Mixed",
    r"\d+\.\d",
    r"-?\d+\.\d",
    r"-?\d+%",
    r"\d+\.\d",
    r"\d+\.\d\dx avg",
    r"[+-]\d+\.\d\d%",
]


def ending(*closes: float, before: float = 100.0, count: int = 60) -> Bars:
    """Quiet days and then these closes."""
    return days([before] * (count - len(closes)) + list(closes))


def row(daily: Bars, name: str) -> Indicator:
    return next(i for i in breakdown(daily).indicators if i.name.startswith(name))


def read(daily: Bars, name: str) -> tuple[str, Signal]:
    found = row(daily, name)
    return found.value, found.signal


def away_from_mean(pct: float, count: int) -> Bars:
    """The last close lies `pct` above the mean of the last `count` closes, of which the others are 100."""
    share = pct / 100
    return ending(100 * (count - 1) * (1 + share) / (count - 1 - share))


def test_all_twelve_are_there_in_the_tables_order_and_counted() -> None:
    found = breakdown(days([100 + 3 * math.sin(i) for i in range(60)]))
    assert [i.name for i in found.indicators] == NAMES
    assert found.total == 12 == found.bullish + found.bearish + found.neutral
    assert found.bullish == sum(i.signal is BULLISH for i in found.indicators)
    assert found.bearish == sum(i.signal is BEARISH for i in found.indicators)
    assert found.price == 100 + 3 * math.sin(59)


@pytest.mark.parametrize("count", [0, 1, 49])
def test_too_few_days_are_refused(count: int) -> None:
    with pytest.raises(Unavailable) as caught:
        breakdown(days([100.0] * count))
    assert (caught.value.part, caught.value.code) == ("data", "INSUFFICIENT_DATA")


def test_fifty_days_are_enough() -> None:
    assert breakdown(days([100.0] * ENOUGH_DAYS)).total == 12


@pytest.mark.parametrize("price", [100.0, 0.1, 612.37])
def test_a_market_that_never_moves_and_never_trades_is_neutral_throughout(price: float) -> None:
    found = breakdown(days([price] * 60, v=[0.0] * 60))
    assert (found.bullish, found.bearish, found.neutral) == (0, 0, 12)
    assert [i.value for i in found.indicators] == [
        *("50.0", "0.000", "+0.00%", "+0.00%", "+0.00%", "Mixed"),
        *("50.0", "-50.0", "50%", "0.0", "0.00x avg", "+0.00%"),
    ]


@pytest.mark.parametrize(
    ("gain", "loss", "value", "signal", "word"),
    [
        (29, 71, "29.0", BULLISH, "Oversold"),
        (30, 70, "30.0", BULLISH, "Sellers"),
        (39, 61, "39.0", BULLISH, "Sellers"),
        (40, 60, "40.0", NEUTRAL, "balance"),
        (60, 40, "60.0", NEUTRAL, "balance"),
        (61, 39, "61.0", BEARISH, "Buyers"),
        (70, 30, "70.0", BEARISH, "Buyers"),
        (71, 29, "71.0", BEARISH, "Overbought"),
        (0, 5, "0.0", BULLISH, "Oversold"),
        (5, 0, "100.0", BEARISH, "Overbought"),
    ],
)
def test_rsi(gain: float, loss: float, value: str, signal: Signal, word: str) -> None:
    found = row(ending(1000 + gain, 1000 + gain - loss, before=1000.0), "RSI")
    assert (found.value, found.signal) == (value, signal)
    assert word in found.reason


def test_rsi_looks_back_fourteen_changes_and_no_further() -> None:
    after_crash = [1000.0, 500.0] + [500.0] * 13
    assert read(ending(*after_crash, 501.0, before=1000.0), "RSI") == ("100.0", BEARISH)
    assert read(ending(*after_crash[:-1], 501.0, before=1000.0), "RSI")[1] is BULLISH


def test_macd_of_one_jump() -> None:
    """(2/13 - 2/27) less a fifth of it is 0.0638."""
    assert read(ending(101.0), "MACD") == ("0.064", BULLISH)
    assert read(ending(99.0), "MACD") == ("-0.064", BEARISH)


def test_macd_of_a_wandering_market_is_that_of_the_written_out_weights() -> None:
    closes = (100 + np.random.default_rng(5).normal(0, 1, 70).cumsum()).tolist()

    def ema(values: list[float], span: int) -> list[float]:
        a = 2 / (span + 1)
        return [
            (1 - a) ** n * values[0] + sum(a * (1 - a) ** (n - k) * values[k] for k in range(1, n + 1))
            for n in range(len(values))
        ]

    macd = [fast - slow for fast, slow in zip(ema(closes, 12), ema(closes, 26), strict=True)]
    before, now = (line - smooth for line, smooth in zip(macd[-2:], ema(macd, 9)[-2:], strict=True))
    assert read(days(closes), "MACD") == (f"{now:.3f}", BULLISH if now > before else BEARISH)


def test_macd_follows_the_change_of_the_histogram_not_its_sign() -> None:
    value, signal = read(ending(*[101.0] * 8), "MACD")
    assert float(value) > 0
    assert signal is BEARISH


PULLBACK = [
    (-2.001, BULLISH),
    (-2.0, BEARISH),
    (-0.5, BEARISH),
    (-0.499, NEUTRAL),
    (0.0, NEUTRAL),
    (0.499, NEUTRAL),
    (0.5, BULLISH),
    (2.0, BULLISH),
    (2.001, BEARISH),
]


@pytest.mark.parametrize(("pct", "signal"), PULLBACK)
def test_price_against_the_20_day_mean(pct: float, signal: Signal) -> None:
    assert read(away_from_mean(pct, 20), "Price vs SMA20") == (f"{pct:+.2f}%", signal)


@pytest.mark.parametrize(
    ("pct", "signal"),
    [
        (-4.001, BULLISH),
        (-4.0, BEARISH),
        (-0.001, BEARISH),
        (0.0, NEUTRAL),
        (0.001, BULLISH),
        (4.0, BULLISH),
        (4.001, BEARISH),
    ],
)
def test_price_against_the_50_day_mean(pct: float, signal: Signal) -> None:
    value, found = read(away_from_mean(pct, 50), "Price vs SMA50")
    assert found is signal
    assert float(value[:-1]) == round(pct, 2)


def test_a_percentage_that_rounds_to_nothing_has_no_minus_sign() -> None:
    assert read(away_from_mean(-0.001, 50), "Price vs SMA50")[0] == "+0.00%"


@pytest.mark.parametrize(
    ("pct", "signal"),
    [
        (-3.001, BULLISH),
        (-3.0, BEARISH),
        (-1.0, BEARISH),
        (-0.999, NEUTRAL),
        (0.999, NEUTRAL),
        (1.0, BULLISH),
        (3.0, BULLISH),
        (3.001, BEARISH),
    ],
)
def test_five_day_momentum(pct: float, signal: Signal) -> None:
    daily = ending(130.0, 100.0, 90.0, 120.0, 90.0, 80.0, 100 + pct)
    assert read(daily, "5-Day") == (f"{pct:+.2f}%", signal)


@pytest.mark.parametrize(
    ("pct", "signal"),
    [
        (-1.501, BULLISH),
        (-1.5, BEARISH),
        (-0.5, BEARISH),
        (-0.499, NEUTRAL),
        (0.499, NEUTRAL),
        (0.5, BULLISH),
        (1.5, BULLISH),
        (1.501, BEARISH),
    ],
)
def test_previous_day_return(pct: float, signal: Signal) -> None:
    assert read(ending(100 + pct), "Prev Day") == (f"{pct:+.2f}%", signal)


@pytest.mark.parametrize(
    ("closes", "value", "signal"),
    [
        ((101.0,), "Mixed", NEUTRAL),
        ((101.0, 102.0), "2 up", BEARISH),
        ((101.0, 102.0, 103.0), "3 up", BEARISH),
        ((99.0,), "Mixed", NEUTRAL),
        ((99.0, 98.0), "2 down", BULLISH),
        ((101.0, 102.0, 102.0), "Mixed", NEUTRAL),
        ((101.0, 102.0, 102.0, 103.0), "Mixed", NEUTRAL),
        ((101.0, 102.0, 101.0), "Mixed", NEUTRAL),
    ],
)
def test_consecutive_days(closes: tuple[float, ...], value: str, signal: Signal) -> None:
    assert read(ending(*closes), "Consecutive") == (value, signal)


def test_a_streak_may_fill_the_history() -> None:
    assert read(days([100.0 + i for i in range(60)]), "Consecutive") == ("59 up", BEARISH)


@pytest.mark.parametrize(
    ("close", "stochastic", "williams", "signal"),
    [
        (100.0, "0.0", "-100.0", BULLISH),
        (101.9, "19.0", "-81.0", BULLISH),
        (102.0, "20.0", "-80.0", NEUTRAL),
        (108.0, "80.0", "-20.0", NEUTRAL),
        (108.1, "81.0", "-19.0", BEARISH),
        (110.0, "100.0", "0.0", BEARISH),
    ],
)
def test_stochastic_and_williams(close: float, stochastic: str, williams: str, signal: Signal) -> None:
    daily = days([105.0] * 59 + [close], o=[105.0] * 60, h=[110.0] * 60, low=[100.0] * 60)
    assert read(daily, "Stochastic") == (stochastic, signal)
    assert read(daily, "Williams") == (williams, signal)


def test_the_oscillators_look_back_fourteen_days() -> None:
    far_high = [110.0] * 60
    far_high[-15] = 200.0
    daily = days([105.0] * 60, h=far_high, low=[100.0] * 60)
    assert read(daily, "Stochastic") == ("50.0", NEUTRAL)
    far_high[-14] = 200.0
    assert read(days([105.0] * 60, h=far_high, low=[100.0] * 60), "Stochastic") == ("5.0", BULLISH)


def test_bollinger_position_of_one_to_twenty() -> None:
    """Mean 10.5, sample sigma sqrt(35): the last lies at 0.5 + 9.5 / (4 * 5.916) = 0.901."""
    climb = [float(i) for i in range(1, 21)]
    assert read(days([10.0] * 40 + climb), "BB") == ("90%", BEARISH)
    assert read(days([10.0] * 40 + climb[::-1]), "BB") == ("10%", BULLISH)


def test_bollinger_edges_are_neutral() -> None:
    """Eighteen closes a dollar off, one even: the last lies 0.8 sigma from the mean at exactly this distance."""
    edge = math.sqrt(0.64 * 18 / 19 / (0.9025 - 0.64 * 0.95 / 19))
    around = [101.0, 99.0] * 9 + [100.0]
    assert read(ending(*around, 100 + edge), "BB") == ("70%", NEUTRAL)
    assert read(ending(*around, 100 - edge), "BB") == ("30%", NEUTRAL)
    assert read(ending(*around, 100 + edge + 0.001), "BB") == ("70%", BEARISH)
    assert read(ending(*around, 100 - edge - 0.001), "BB") == ("30%", BULLISH)


def test_a_close_beyond_the_bands_is_shown_beyond_them() -> None:
    """One jump after 19 equal closes lies 19 / sqrt(20) = 4.249 sigma off: 0.5 + 4.249 / 4 = 1.562."""
    assert read(ending(110.0), "BB") == ("156%", BEARISH)
    assert read(ending(90.0), "BB") == ("-56%", BULLISH)


def test_adx_of_a_steady_climb_and_fall() -> None:
    climb = [100.0 + i for i in range(60)]
    assert read(days(climb), "ADX") == ("100.0", BULLISH)
    assert read(days(climb[::-1]), "ADX") == ("100.0", BEARISH)


@pytest.mark.parametrize(
    ("found", "signal"),
    [
        ((25.0, 2.0, 1.0), NEUTRAL),
        ((25.001, 2.0, 1.0), BULLISH),
        ((25.001, 1.0, 1.0), BEARISH),
        ((25.001, 1.0, 2.0), BEARISH),
        ((0.0, 2.0, 1.0), NEUTRAL),
    ],
)
def test_adx_edges(found: tuple[float, float, float], signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indicators, "_directional", lambda daily: found)
    assert read(ending(101.0), "ADX")[1] is signal


def test_a_range_that_widens_evenly_both_ways_has_no_direction() -> None:
    widths = [1.0 + i for i in range(60)]
    daily = days([100.0] * 60, h=[100 + w for w in widths], low=[100 - w for w in widths])
    assert indicators._directional(daily) == (0.0, 0.0, 0.0)
    assert read(daily, "ADX") == ("0.0", NEUTRAL)


def wilder_adx(daily: Bars) -> float:
    """ADX as Wilder wrote it, on running sums."""
    plus, minus, spread, dx = [], [], [], []
    for i in range(1, len(daily)):
        up, down = daily.h[i] - daily.h[i - 1], daily.l[i - 1] - daily.l[i]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
        before = daily.c[i - 1]
        spread.append(max(daily.h[i] - daily.l[i], abs(daily.h[i] - before), abs(daily.l[i] - before)))
    p, m, s = sum(plus[:14]), sum(minus[:14]), sum(spread[:14])
    for i in range(13, len(plus)):
        if i > 13:
            p, m, s = p - p / 14 + plus[i], m - m / 14 + minus[i], s - s / 14 + spread[i]
        dx.append(100 * abs(p / s - m / s) / (p / s + m / s))
    adx = sum(dx[:14]) / 14
    for value in dx[14:]:
        adx = (13 * adx + value) / 14
    return float(adx)


def test_adx_is_wilders() -> None:
    closes = (100 + np.random.default_rng(7).normal(0.2, 2, 90).cumsum()).tolist()
    daily = days(closes, h=[c + 1.3 for c in closes], low=[c - 0.9 for c in closes])
    assert read(daily, "ADX")[0] == f"{wilder_adx(daily):.1f}"


@pytest.mark.parametrize(
    ("ratio", "close", "signal"),
    [
        (1.501, 101.0, BULLISH),
        (1.501, 99.0, BEARISH),
        (1.501, 100.0, NEUTRAL),
        (1.5, 101.0, NEUTRAL),
        (1.5, 99.0, NEUTRAL),
        (0.2, 99.0, NEUTRAL),
        (0.0, 101.0, NEUTRAL),
    ],
)
def test_volume(ratio: float, close: float, signal: Signal) -> None:
    last = 19 * 1000 * ratio / (20 - ratio)
    daily = days([100.0] * 59 + [close], v=[1000.0] * 59 + [last])
    assert read(daily, "Volume") == (f"{ratio:.2f}x avg", signal)


def test_no_reason_is_empty_and_sides_differ_in_their_reasons() -> None:
    up, down = breakdown(days([100.0 + i for i in range(60)])), breakdown(days([160.0 - i for i in range(60)]))
    for one, other in zip(up.indicators, down.indicators, strict=True):
        assert one.reason
        assert other.reason
        assert one.signal is other.signal or one.reason != other.reason


def assert_sound(found: Breakdown) -> None:
    assert [i.name for i in found.indicators] == NAMES
    assert math.isfinite(found.price)
    for indicator, pattern in zip(found.indicators, FORMATS, strict=True):
        assert re.fullmatch(pattern, indicator.value), indicator
        assert not re.fullmatch(r"-0(\.0+)?%?", indicator.value), indicator
        assert indicator.signal in Signal
    assert found.total == 12 == found.bullish + found.bearish + found.neutral


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(50, 80),
    scale=st.sampled_from([0.0, 1e-9, 1e-4, 0.02, 0.5]),
    base=st.sampled_from([LEAST_USD * 1e4, 0.5, 100.0, MOST_USD / 1e3]),
    shares=st.sampled_from([0.0, 5e-324, 1e5, MOST_SHARES["daily"]]),
)
def test_every_market_gets_finite_values_in_the_tables_formats(
    seed: int, count: int, scale: float, base: float, shares: float
) -> None:
    rng = np.random.default_rng(seed)
    c = base * np.exp(np.clip(rng.normal(0, scale, count).cumsum(), -5, 5))
    h, low = c * (1 + scale * rng.random(count)), c * (1 - scale * rng.random(count))
    v = np.where(rng.random(count) < 0.3, 0.0, shares * rng.random(count))
    assert_sound(breakdown(days(c.tolist(), h=h.tolist(), low=low.tolist(), v=v.tolist())))


@settings(max_examples=80)
@given(st.lists(st.sampled_from([LEAST_USD, 1.0, 100.0, 100.01, MOST_USD]), min_size=50, max_size=60))
def test_jumps_between_the_extremes_are_survived(closes: list[float]) -> None:
    assert_sound(breakdown(days(closes)))
