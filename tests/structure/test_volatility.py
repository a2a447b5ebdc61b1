"""The volatility meter: ranks, regimes and guidance, by hand and on flat and wild markets."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Unavailable
from app.market.bars import Bars
from app.market.calendar import midnight_ms
from app.structure.view import LEAST_USD, MOST_USD
from app.structure.volatility import VolatilityRegime, market_volatility, rank, regime_of, volatility
from tests.structure.making import CALENDAR, columns, days

LAST = date(2025, 12, 4)


def widening(count: int) -> Bars:
    """Each day swings more than the one before."""
    closes = [100 + (0.02 * i if i % 2 else -0.02 * i) for i in range(count)]
    return days(
        closes, h=[c + 0.01 * i for i, c in enumerate(closes)], low=[c - 0.01 * i for i, c in enumerate(closes)]
    )


def on(dates: list[date]) -> Bars:
    t = np.array([midnight_ms(day) for day in dates], dtype=np.int64)
    return Bars(t=t, end=CALENDAR.day_ends(t), **columns([100.0] * len(t), None, None, None, None))


def recent_and(first: date) -> Bars:
    """99 trading days up to the last one, and one more before them."""
    dates = [LAST]
    while len(dates) < 99:
        dates.append(CALENDAR.previous_trading_day(dates[-1]))
    return on([first, *reversed(dates)])


@pytest.mark.parametrize("count", [0, 1, 99])
def test_too_few_days_are_refused(count: int) -> None:
    with pytest.raises(Unavailable) as caught:
        volatility(days([100.0] * count))
    assert (caught.value.part, caught.value.code) == ("data", "INSUFFICIENT_DATA")


def test_a_hundred_days_are_enough_but_rank_nothing() -> None:
    found = volatility(widening(100))
    assert (found.score, found.percentile, found.regime) == (0.5, 50.0, VolatilityRegime.NORMAL)


def test_each_rank_needs_a_hundred_values_of_its_own() -> None:
    """114 bars hold 100 mean ranges but 94 deviations; 120 bars hold 100 of these."""
    assert volatility(widening(113)).score == 0.5
    assert volatility(widening(114)).score == pytest.approx((0.99 + 0.5) / 2)
    assert volatility(widening(119)).score == pytest.approx((104 / 105 + 0.5) / 2)
    assert volatility(widening(120)).score == pytest.approx((105 / 106 + 0.99) / 2)


def test_days_300_days_back_count_and_older_ones_do_not() -> None:
    assert volatility(recent_and(LAST - timedelta(days=300))).score == 0.5
    with pytest.raises(Unavailable):
        volatility(recent_and(LAST - timedelta(days=301)))


def test_what_lies_before_the_window_changes_nothing() -> None:
    closes = (100 + np.random.default_rng(3).normal(0, 1, 300).cumsum() * 0.5).tolist()
    assert volatility(days([50.0, 900.0] * 40 + closes)) == volatility(days(closes))


def test_a_market_that_never_moves_is_low() -> None:
    found = volatility(days([0.1] * 200))
    assert (found.regime, found.score, found.percentile) == (VolatilityRegime.LOW, 0.0, 0.0)
    assert (found.atr_pct, found.daily_vol) == (0.0, 0.0)


def test_the_same_swing_every_day_is_not_above_itself() -> None:
    closes = [100.0 + 0.1 * (i % 7) for i in range(203)]
    assert rank(np.array([0.1 + 0.2, 0.3] * 60)) == 0.0
    assert volatility(days(closes)).score < 1


def test_the_liveliest_day_is_high_and_the_calmest_low() -> None:
    wild, calm = volatility(widening(200)), volatility(days([100 + (200 - i) * (-1) ** i / 50 for i in range(200)]))
    assert (wild.regime, wild.regime_color, wild.expected_range) == (VolatilityRegime.HIGH, "red", "1.0-2.0%+")
    assert (calm.regime, calm.regime_color, calm.expected_range) == (VolatilityRegime.LOW, "green", "0.2-0.5%")
    assert "High" in wild.regime_label
    assert "Low" in calm.regime_label
    assert 0 <= calm.score < 0.01
    assert wild.percentile == wild.score * 100


def test_normal_is_yellow() -> None:
    found = volatility(days([100.0] * 100))
    assert (found.regime_color, found.expected_range) == ("yellow", "0.5-1.0%")
    assert "Normal" in found.regime_label


def test_atr_is_the_simple_mean_of_fourteen_true_ranges_in_per_cent_of_the_close() -> None:
    high = [200.5] * 106 + [201.0] * 14
    daily = days([200.0] * 120, h=high, low=[199.0] * 120)
    assert volatility(daily).atr_pct == pytest.approx(1.0)
    high[-14] = 215.0
    assert volatility(days([200.0] * 120, h=high, low=[199.0] * 120)).atr_pct == pytest.approx(1.5)


def test_a_gap_is_part_of_the_true_range() -> None:
    assert volatility(days([100.0] * 119 + [114.0])).atr_pct == pytest.approx(1 / 1.14)


def test_daily_volatility_is_the_sample_deviation_of_twenty_returns() -> None:
    """Ten times +1 % and ten times -0.990099 %: half their distance times sqrt(20/19)."""
    found = volatility(days([100.0, 101.0] * 60))
    assert found.daily_vol == pytest.approx((1 + 100 / 101) / 2 * math.sqrt(20 / 19))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (list(range(100)), 0.99),
        (list(range(99)), 0.5),
        (list(range(100, 0, -1)), 0.0),
        ([5.0] * 100, 0.0),
        ([1.0] * 50 + [2.0] * 49 + [2.0], 0.5),
        ([1.0] * 30 + [3.0] * 69 + [2.0], 0.3),
    ],
)
def test_rank_counts_what_is_strictly_below(values: list[float], expected: float) -> None:
    assert rank(np.array(values, dtype=np.float64)) == expected


@pytest.mark.parametrize(
    ("score", "regime"),
    [
        (0.0, VolatilityRegime.LOW),
        (0.2999, VolatilityRegime.LOW),
        (0.30, VolatilityRegime.NORMAL),
        (0.5, VolatilityRegime.NORMAL),
        (0.70, VolatilityRegime.NORMAL),
        (0.7001, VolatilityRegime.HIGH),
        (1.0, VolatilityRegime.HIGH),
    ],
)
def test_regime_edges_belong_to_normal(score: float, regime: VolatilityRegime) -> None:
    assert regime_of(score) is regime


@pytest.mark.parametrize(
    ("scores", "mean", "regime"),
    [
        ([0.1, 0.2, 0.3], 0.2, VolatilityRegime.LOW),
        ([0.2], 0.2, VolatilityRegime.LOW),
        ([0.3, 0.3, 0.3], 0.3, VolatilityRegime.NORMAL),
        ([1 / 3, 1 / 3], 0.333, VolatilityRegime.NORMAL),
        ([0.7004], 0.7, VolatilityRegime.NORMAL),
        ([0.7, 0.702], 0.701, VolatilityRegime.HIGH),
        ([1.0, 1.0, 0.9], 0.967, VolatilityRegime.HIGH),
    ],
)
def test_the_market_is_the_mean_of_its_tickers_as_shown(
    scores: list[float], mean: float, regime: VolatilityRegime
) -> None:
    found = market_volatility(scores)
    assert (found.score, found.regime) == (mean, regime)


def test_each_regime_has_its_own_guidance_and_no_score_says_so() -> None:
    said = {market_volatility(scores).guidance for scores in ([0.1], [0.5], [0.9], [])}
    assert len(said) == 4
    nothing = market_volatility([])
    assert (nothing.score, nothing.regime) == (None, None)
    assert nothing.guidance


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(100, 260),
    scale=st.sampled_from([0.0, 1e-9, 1e-4, 0.02, 0.5]),
    base=st.sampled_from([LEAST_USD * 1e4, 0.5, 100.0, MOST_USD / 1e3]),
)
def test_every_market_gets_finite_numbers_within_bounds(seed: int, count: int, scale: float, base: float) -> None:
    rng = np.random.default_rng(seed)
    c = base * np.exp(np.clip(rng.normal(0, scale, count).cumsum(), -5, 5))
    h, low = c * (1 + scale * rng.random(count)), c * (1 - scale * rng.random(count))
    found = volatility(days(c.tolist(), h=h.tolist(), low=low.tolist()))
    assert found.regime in VolatilityRegime
    assert 0 <= found.score <= 1
    assert found.percentile == found.score * 100
    assert all(math.isfinite(x) and x >= 0 for x in (found.atr_pct, found.daily_vol))
