"""The daily signal as numbers: ladder, levels, what is left of the move, the market, the best trade, fear."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.bars import Bars, no_bars
from app.signals import daily_signal
from app.signals.daily_signal import (
    DailyLevels,
    Grade,
    PredictedRange,
    Trade,
    best_trade,
    confidence,
    grade_of,
    levels,
    market_signal,
    predicted_range,
    remaining_potential,
    risk_reward,
    side_probability,
    vix,
    vix_regime,
)

DAY_MS = 86_400_000
EXPECTED = PredictedRange(high=102.0, low=98.0)


def closes(*values: float) -> Bars:
    c = np.array(values)
    t = 1_700_000_000_000 + DAY_MS * np.arange(len(c))
    return Bars(t=t, end=t + DAY_MS // 2, o=c, h=c, l=c, c=c, v=c)


def trade(ticker: str, signal: daily_signal.Signal, sure: float, reward: float = 1.0) -> Trade:
    return Trade(ticker, signal, "WEAK", sure, reward)


@pytest.mark.parametrize(
    ("p", "signal", "strength"),
    [
        (1.0, "BUY", "STRONG"),
        (0.70, "BUY", "STRONG"),
        (math.nextafter(0.70, 0), "BUY", "MODERATE"),
        (0.60, "BUY", "MODERATE"),
        (math.nextafter(0.60, 0), "BUY", "WEAK"),
        (0.55, "BUY", "WEAK"),
        (math.nextafter(0.55, 0), "HOLD", "NEUTRAL"),
        (0.5, "HOLD", "NEUTRAL"),
        (math.nextafter(0.45, 1), "HOLD", "NEUTRAL"),
        (0.45, "SELL", "WEAK"),
        (math.nextafter(0.40, 1), "SELL", "WEAK"),
        (0.40, "SELL", "MODERATE"),
        (math.nextafter(0.30, 1), "SELL", "MODERATE"),
        (0.30, "SELL", "STRONG"),
        (0.0, "SELL", "STRONG"),
    ],
)
def test_strength_ladder(p: float, signal: str, strength: str) -> None:
    assert astuple(grade_of(p)) == (signal, strength)


@pytest.mark.parametrize(("p", "sure"), [(0.5, 0.0), (0.7, 0.4), (0.3, 0.4), (1.0, 1.0), (0.0, 1.0), (0.55, 0.1)])
def test_confidence_is_twice_the_distance_from_even(p: float, sure: float) -> None:
    assert confidence(p) == sure


def test_a_sell_is_listed_with_the_probability_of_the_fall() -> None:
    assert side_probability("SELL", 0.25) == 0.75
    assert side_probability("BUY", 0.75) == 0.75
    assert side_probability("HOLD", 0.5) == 0.5


def test_the_range_is_one_atr_either_side() -> None:
    assert predicted_range(100.0, 2.5) == PredictedRange(high=102.5, low=97.5)


def test_where_a_range_was_forecast_reward_and_risk_are_the_ways_to_its_ends() -> None:
    found = daily_signal.daily_signal(0.8, 100.0, 5.0, PredictedRange(high=103.0, low=98.0))
    assert (found.levels.target_price, found.levels.stop_loss, found.risk_reward) == (103.0, 98.0, 1.5)
    assert daily_signal.daily_signal(0.8, 100.0, 5.0).risk_reward == 1.0, "without one it is the ATR on both sides"


def test_a_buy_aims_at_the_high_and_a_sell_at_the_low() -> None:
    assert levels("BUY", 100.0, EXPECTED) == DailyLevels(entry_price=100.0, target_price=102.0, stop_loss=98.0)
    assert levels("SELL", 100.0, EXPECTED) == DailyLevels(entry_price=100.0, target_price=98.0, stop_loss=102.0)


def test_hold_has_no_levels_but_the_price() -> None:
    assert levels("HOLD", 100.0, EXPECTED) == DailyLevels(100.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("signal", "price", "ratio"),
    [
        ("BUY", 100.0, 1.0),
        ("BUY", 99.0, 3.0),
        ("BUY", 101.0, 1 / 3),
        ("BUY", 98.0, 0.0),
        ("BUY", 97.0, 0.0),
        ("BUY", 102.0, 0.0),
        ("BUY", 103.0, 0.0),
        ("SELL", 100.0, 1.0),
        ("SELL", 101.0, 3.0),
        ("SELL", 102.0, 0.0),
        ("SELL", 103.0, 0.0),
        ("SELL", 97.0, 0.0),
        ("HOLD", 100.0, 0.0),
    ],
)
def test_risk_reward(signal: daily_signal.Signal, price: float, ratio: float) -> None:
    assert risk_reward(signal, levels(signal, price, EXPECTED)) == pytest.approx(ratio)


def test_a_range_without_width_carries_no_risk_and_no_reward() -> None:
    assert risk_reward("BUY", levels("BUY", 100.0, predicted_range(100.0, 0.0))) == 0


def test_inside_the_range_what_is_left_is_the_way_to_its_ends() -> None:
    left = remaining_potential(101.0, EXPECTED, 2.0)
    assert (left.upside_dollars, left.downside_dollars) == (1.0, 3.0)
    assert left.upside_pct == pytest.approx(100 / 101)
    assert left.downside_pct == pytest.approx(300 / 101)
    assert not left.target_extended
    assert (left.original_target_low, left.original_target_high) == (98.0, 102.0)


@pytest.mark.parametrize(
    ("overshoot", "upside"),
    [
        (0.25, 0.75),  # half an ATR beyond the old target is further
        (0.375, 0.625),
        (0.4, 0.6),  # both extensions are equal: 0.4 + 0.3 x 2 = 0.5 x 2
        (1.0, 0.6),  # from here on 0.3 ATR beyond the price
        (10.0, 0.6),
    ],
)
def test_a_passed_target_is_moved_on(overshoot: float, upside: float) -> None:
    above = remaining_potential(102.0 + overshoot, EXPECTED, 2.0)
    below = remaining_potential(98.0 - overshoot, EXPECTED, 2.0)
    assert above.upside_dollars == pytest.approx(upside)
    assert below.downside_dollars == pytest.approx(upside)
    assert above.downside_dollars == pytest.approx(4.0 + overshoot)
    assert below.upside_dollars == pytest.approx(4.0 + overshoot)
    for left in (above, below):
        assert left.target_extended
        assert (left.original_target_low, left.original_target_high) == (98.0, 102.0)


@pytest.mark.parametrize(("price", "up", "down"), [(102.0, 0.0, 4.0), (98.0, 4.0, 0.0)])
def test_a_target_that_is_reached_is_not_moved(price: float, up: float, down: float) -> None:
    left = remaining_potential(price, EXPECTED, 2.0)
    assert (left.upside_dollars, left.downside_dollars, left.target_extended) == (up, down, False)


@pytest.mark.parametrize(
    ("buys", "sells", "signal"),
    [
        (3, 0, "BULLISH"),
        (2, 0, "BULLISH"),
        (2, 1, "BULLISH"),
        (1, 0, "MIXED"),
        (2, 2, "MIXED"),
        (0, 0, "MIXED"),
        (1, 1, "MIXED"),
        (0, 1, "MIXED"),
        (1, 2, "BEARISH"),
        (0, 2, "BEARISH"),
        (0, 3, "BEARISH"),
    ],
)
def test_market_signal(buys: int, sells: int, signal: str) -> None:
    assert market_signal(buys, sells) == signal


def test_the_surest_trade_is_the_best() -> None:
    sure, unsure = trade("QQQ", "SELL", 0.5, 0.1), trade("SPY", "BUY", 0.4, 9.0)
    assert best_trade([unsure, sure]) == sure


def test_of_equally_sure_trades_the_better_ratio_wins_then_the_first() -> None:
    spy, qqq = trade("SPY", "BUY", confidence(0.7), 1.0), trade("QQQ", "SELL", confidence(0.3), 2.0)
    assert best_trade([spy, qqq]) == qqq
    iwm = trade("IWM", "BUY", confidence(0.7), 2.0)
    assert best_trade([qqq, iwm]) == qqq
    assert best_trade([iwm, qqq]) == iwm


def test_hold_is_never_the_best_trade() -> None:
    assert best_trade([trade("SPY", "HOLD", 0.9), trade("QQQ", "BUY", 0.1)]) == trade("QQQ", "BUY", 0.1)
    assert best_trade([trade("SPY", "HOLD", 0.09)]) is None
    assert best_trade([]) is None


@pytest.mark.parametrize(
    ("change", "regime"),
    [
        (25.0, "HIGH"),
        (10.0, "HIGH"),
        (9.999, "ELEVATED"),
        (5.0, "ELEVATED"),
        (4.999, "NORMAL"),
        (0.0, "NORMAL"),
        (-2.0, "NORMAL"),
        (-2.001, "LOW"),
        (-30.0, "LOW"),
    ],
)
def test_fear_by_the_days_change(change: float, regime: str) -> None:
    assert vix_regime(change) == regime
    found = vix(closes(40.0, 50.0, 50.0 * (1 + change / 100)))
    assert found is not None
    assert found.regime == regime
    assert found.change_pct == pytest.approx(change)
    assert found.current == 50.0 * (1 + change / 100)


def test_fear_needs_two_days() -> None:
    assert vix(no_bars()) is None
    assert vix(closes(50.0)) is None


PRICES = st.floats(0.01, 1e6)
SIGNALS = st.sampled_from(get_args(daily_signal.Signal))


@given(st.floats(0, 1))
def test_every_probability_has_a_grade_and_its_mirror_the_opposite_one(p: float) -> None:
    grade = grade_of(p)
    assert grade.signal in get_args(daily_signal.Signal)
    assert grade.strength in get_args(daily_signal.Strength)
    assert (grade == Grade("HOLD", "NEUTRAL")) == (0.45 < p < 0.55)
    assert 0 <= confidence(p) <= 1
    assert 0 <= side_probability(grade.signal, p) <= 1


@given(signal=SIGNALS, price=PRICES, reference=PRICES, atr=st.floats(0, 1e5))
def test_every_price_gets_finite_numbers_and_potentials_of_at_least_nothing(
    signal: daily_signal.Signal, price: float, reference: float, atr: float
) -> None:
    expected = predicted_range(reference, atr)
    at = levels(signal, price, expected)
    ratio = risk_reward(signal, at)
    assert math.isfinite(ratio)
    assert ratio >= 0
    left = remaining_potential(price, expected, atr)
    assert all(math.isfinite(x) for x in (*astuple(at), *astuple(left)))
    assert min(left.upside_pct, left.downside_pct, left.upside_dollars, left.downside_dollars) >= 0
    assert left.target_extended == (not expected.low <= price <= expected.high)


@given(before=PRICES, last=PRICES)
def test_every_change_has_a_regime(before: float, last: float) -> None:
    found = vix(closes(before, last))
    assert found is not None
    assert math.isfinite(found.change_pct)
    assert found.regime in get_args(daily_signal.VixRegime)
