"""Levels both engines read: windows, rounding order, the previous day."""

from __future__ import annotations

from datetime import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.structure.levels import UNKNOWN_LEVELS, key_levels, mean, measure, previous_day, true_ranges
from tests.structure.making import days, minutes, read, view
from tests.structure.plain import plain

RISING = [100.0 + i / 10 for i in range(30)]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=400))
def test_mean_is_numpys_to_the_bit(values: list[float]) -> None:
    assert mean(np.array(values)) == np.mean(np.array(values))


def test_the_true_range_reaches_to_the_close_before() -> None:
    bars = minutes([100.0, 105.0, 99.0], o=[100.0, 104.0, 99.5], h=[101.0, 106.0, 100.0], low=[99.0, 103.0, 98.0])
    assert true_ranges(bars).tolist() == [6.0, 7.0]


def test_atr_is_the_mean_of_the_last_fourteen_true_ranges() -> None:
    closes = [100.0] * 16 + [100.0 + 2 * (i % 2) for i in range(1, 15)]
    assert measure(view(minutes(closes))).atr == 2.0


def test_recent_levels_are_of_fifteen_bars_and_retest_levels_of_the_fifteen_before() -> None:
    found = key_levels(measure(view(minutes(RISING))))
    assert (found.recent_low, found.recent_high) == (101.5, 102.9)
    assert (found.retest_low, found.retest_high) == (100.0, 101.4)
    assert found.current_price == 102.9


def test_the_thirtieth_last_bar_is_the_first_of_the_range() -> None:
    levels = measure(view(minutes([500.0, *RISING])))
    assert (levels.low_30, levels.high_30) == (100.0, 102.9)
    assert levels.mid_30 == (100.0 + 102.9) / 2


def test_the_middle_comes_from_the_rounded_extremes() -> None:
    closes = [100.006] * 15 + [100.006, *[100.014] * 14]
    found = key_levels(measure(view(minutes(closes))))
    assert found.mid_point == round((100.01 + 100.01) / 2, 2)
    low, high = 10.004, 10.025
    found = key_levels(measure(view(minutes([low] * 29 + [high]))))
    assert found.mid_point == round((round(low, 2) + round(high, 2)) / 2, 2) != round((low + high) / 2, 2)


def test_pivots_come_from_the_previous_day_and_the_rounded_pivot() -> None:
    daily = days([95.0, 96.13], h=[99.0, 97.22], low=[90.0, 95.01])
    found = key_levels(measure(view(minutes(RISING), daily, opened=100.5)))
    assert found.pivot == round((97.22 + 95.01 + 96.13) / 3, 2)
    assert found.pivot_r1 == round(2 * found.pivot - 95.01, 2)
    assert found.pivot_s1 == round(2 * found.pivot - 97.22, 2)
    assert (found.today_open, found.prev_close) == (100.5, 96.13)


def test_before_the_open_the_previous_day_is_the_last_one_and_today_has_no_open() -> None:
    daily = days([95.0, 96.0], h=[99.0, 97.0], low=[90.0, 95.0])
    seen = view(minutes(RISING, start=time(8, 0)), daily)
    previous = previous_day(seen)
    assert previous is not None
    assert previous.close == 96.0
    found = key_levels(measure(seen))
    assert found.today_open == 0.0
    assert found.prev_close == 96.0
    assert found.pivot == 96.0


@pytest.mark.parametrize("opened", [None, 100.5])
def test_with_fewer_than_two_days_nothing_is_known_of_them(opened: float | None) -> None:
    daily = days([95.0]) if opened is None else None
    found = key_levels(measure(view(minutes(RISING), daily, opened=opened)))
    assert (found.pivot, found.pivot_r1, found.pivot_s1, found.today_open, found.prev_close) == (0.0,) * 5
    assert found.current_price == 102.9


def test_unknown_levels_are_zero() -> None:
    assert UNKNOWN_LEVELS.current_price == UNKNOWN_LEVELS.pivot == 0.0


def test_the_broken_range_is_the_ten_bars_before_the_last_ten() -> None:
    _, levels, _ = read(minutes(RISING))
    assert (levels.broken_low, levels.broken_high) == pytest.approx((101.0, 101.9))
    assert (levels.low_10, levels.high_10) == pytest.approx((102.0, 102.9))


def test_the_broken_range_leaves_older_bars_out() -> None:
    _, levels, _ = read(minutes([90.0, 110.0] * 5 + [100.0] * 20))
    assert (levels.broken_low, levels.broken_high) == (100.0, 100.0)


def test_key_levels_have_two_decimals() -> None:
    daily = days([95.0, 96.1234], h=[99.0, 97.2347], low=[90.0, 95.0129])
    closes = [100.1234 + i / 10 for i in range(30)]
    found = plain(key_levels(measure(view(minutes(closes), daily, opened=100.5678))))
    assert found == {name: round(value, 2) for name, value in found.items()}
    assert found["prev_close"] == 96.12
    assert found["today_open"] == 100.57
    assert found["retest_low"] == 100.12


def test_true_ranges_reach_back_sixty_bars() -> None:
    assert len(measure(view(minutes([100.0] * 200))).true_ranges) == 60
    assert len(measure(view(minutes([100.0] * 60))).true_ranges) == 59
