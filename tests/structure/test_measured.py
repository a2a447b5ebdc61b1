"""RPE phase 1: its own measures over the shared truth (rpe.md 2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.market.bars import Bars
from app.structure.measured import MeasuredTruth, _aggregation, measured_truth
from app.structure.terms import AcceptanceStrength, Direction, FailureType, RangeState, VolumeProfileShape
from app.structure.truth import UNRESOLVED, Acceptance, Continuity, Failure, Failures, Participation, RangeOutcome
from tests.structure.making import days, minutes, read

FLAT = [100.0] * 30


def measured(bars: Bars, daily: Bars | None = None, *, opened: float | None = None) -> MeasuredTruth:
    view, levels, truth = read(bars, daily, opened=opened)
    return measured_truth(view.minutes, levels, truth)


# core12 (rpe.md 2.1)


def test_vwap_weighs_the_typical_price_by_volume() -> None:
    bars = minutes([100.0] * 29 + [130.0], o=[100.0] * 30, h=[100.0] * 29 + [160.0], v=[1.0] * 29 + [29.0])
    # the last bar's typical price is (160 + 100 + 130) / 3 = 130
    assert measured(bars).core12.vwap == pytest.approx(115.0)


def test_without_volume_vwap_is_the_price_and_nothing_is_divided() -> None:
    core = measured(minutes([*FLAT[:29], 101.0], v=[0.0] * 30)).core12
    assert (core.vwap, core.vwap_slope, core.relative_volume) == (101.0, 0.0, 1.0)
    assert (core.poc, core.val, core.vah) == (100.0, 100.0, 100.0)


def test_slope_is_zero_if_no_volume_came_before_its_first_bar() -> None:
    bars = minutes([100.0 + i for i in range(30)], v=[0.0] * 11 + [1000.0] * 19)
    assert measured(bars).core12.vwap_slope == 0.0


def test_slope_is_the_drift_of_the_running_vwap_over_twenty_bars() -> None:
    bars = minutes([100.0] * 10 + [111.0] + [110.0] * 19)
    # at the 20th last bar the mean is 1111 / 11 = 101, at the last one (1111 + 19 * 110) / 30
    assert measured(bars).core12.vwap_slope == pytest.approx((1111 + 2090) / 30 / 101 - 1)


def test_poc_is_the_close_of_the_first_of_the_busiest_bars() -> None:
    volumes = [1.0] * 30
    volumes[4] = volumes[9] = 9.0
    assert measured(minutes([float(100 + i) for i in range(30)], v=volumes)).core12.poc == 104.0


def test_the_value_area_holds_sixteen_to_eighty_four_percent_of_the_volume() -> None:
    closes = [float(100 + i) for i in range(50)]
    core = measured(minutes(closes[::-1])).core12
    assert (core.val, core.vah) == (107.0, 141.0)  # the 8th of 50 equal bars reaches 16 %, the 42nd 84 %


def test_deltas_are_moves_times_shares() -> None:
    bars = minutes([101.0] * 30, o=[100.0] * 25 + [99.0] * 5, v=[2.0] * 30)
    core = measured(bars).core12
    assert (core.delta, core.cumulative_delta) == (20.0, 70.0)


def test_relative_volume_is_five_bars_against_twenty() -> None:
    assert measured(minutes(FLAT, v=[1.0] * 25 + [5.0] * 5)).core12.relative_volume == 2.5


# the other parts (rpe.md 2.2-2.7)


def test_nothing_accepted_has_no_level_and_no_time() -> None:
    found = measured(minutes([99.0, 101.0] + [100.0] * 28)).acceptance
    assert (found.accepted, found.at_level, found.time_held_bars) == (False, None, 0)


def test_acceptance_names_its_level_and_how_long() -> None:
    found = measured(minutes([99.0] * 20 + [101.0] * 10)).acceptance
    assert found.time_held_bars == 10
    assert "above $100.00" in (found.at_level or "")


def test_the_range_is_measured_in_atrs() -> None:
    moving = measured(minutes([100.0, 102.0] * 15)).range_state
    assert (moving.range_high, moving.range_low, moving.range_width_atr) == (102.0, 100.0, 1.0)
    assert measured(minutes(FLAT)).range_state.range_width_atr == 0.0


def test_agreement_of_timeframes_has_a_score() -> None:
    up, down = [100.0 + i for i in range(40)], [200.0 - i for i in range(40)]
    assert measured(minutes(up), days(up)).mtf_continuity.alignment_score == 80
    assert measured(minutes(up), days(down)).mtf_continuity.alignment_score == 30
    assert measured(minutes(up), days(down[:39])).mtf_continuity.alignment_score == 50
    assert measured(minutes(up), days(down)).mtf_continuity.conflict_tf is not None


@pytest.mark.parametrize(
    ("recent", "shape"),
    [
        (1300.0, VolumeProfileShape.NORMAL),
        (1301.0, VolumeProfileShape.SKEWED_HIGH),
        (700.0, VolumeProfileShape.NORMAL),
        (699.0, VolumeProfileShape.SKEWED_LOW),
    ],
)
def test_the_volume_shape_compares_with_ten_bars_ago(recent: float, shape: VolumeProfileShape) -> None:
    volumes = [7.0] * 10 + [980.0] * 9 + [1180.0] + [7.0] * 5 + [recent] * 5
    assert measured(minutes(FLAT, v=volumes)).participation.volume_profile_shape is shape


@pytest.mark.parametrize(("recent", "footprint"), [(3000.0, False), (3001.0, True)])
def test_a_footprint_is_over_twice_the_mean(recent: float, footprint: bool) -> None:
    found = measured(minutes(FLAT, v=[1000.0] * 25 + [recent] * 5)).participation
    assert found.institutional_footprint is footprint


def test_the_prior_day_is_unrounded_and_the_gap_in_atrs() -> None:
    daily = days([90.0, 100.005], h=[90.0, 101.001], low=[90.0, 99.0])
    found = measured(minutes([100.0, 102.0] * 15), daily, opened=104.005).session_memory
    assert (found.prior_day_close, found.prior_day_high, found.prior_day_low) == (100.005, 101.001, 99.0)
    assert found.gap_size_atr == pytest.approx(2.0)


def test_the_gap_is_zero_without_atr_or_without_today() -> None:
    daily = days([90.0, 100.0])
    assert measured(minutes(FLAT), daily, opened=104.0).session_memory.gap_size_atr == 0.0
    assert measured(minutes([100.0, 102.0] * 15), daily).session_memory.gap_size_atr == 0.0


def test_failures_are_bare_tokens() -> None:
    found = measured(minutes([100.0] * 30 + [101.0] + [99.5] * 8)).failures
    assert found.failure_types == ("FAILED_HIGH_BREAKOUT",)
    assert (found.failed_breakout_level, found.most_recent_failure_bars_ago) == (100.0, 8)


# aggregation (rpe.md 2.8)

BEST = replace(
    UNRESOLVED,
    acceptance=Acceptance(True, AcceptanceStrength.STRONG),
    range=RangeOutcome(RangeState.TREND),
    continuity=Continuity(aligned=True),
    participation=Participation(effort_result_match=True),
)


@pytest.mark.parametrize(
    ("slope", "state", "direction"),
    [
        (1e-9, RangeState.TREND, Direction.UP),
        (-1e-9, RangeState.TREND, Direction.DOWN),
        (0.0, RangeState.TREND, Direction.BALANCED),
        (1.0, RangeState.BALANCE, Direction.BALANCED),
        (1.0, RangeState.FAILED_EXPANSION, Direction.BALANCED),
    ],
)
def test_direction_is_the_sign_of_the_slope_in_a_trend(slope: float, state: RangeState, direction: Direction) -> None:
    assert _aggregation(slope, replace(BEST, range=RangeOutcome(state))).direction is direction


@pytest.mark.parametrize(
    ("acceptance", "score"),
    [
        (Acceptance(True, AcceptanceStrength.STRONG), 75),
        (Acceptance(True, AcceptanceStrength.MODERATE), 70),
        (Acceptance(), 55),
    ],
)
def test_acceptance_is_worth_twenty_or_fifteen(acceptance: Acceptance, score: int) -> None:
    assert _aggregation(0.0, replace(BEST, acceptance=acceptance)).truth_score == score


def test_the_truth_score_is_never_negative() -> None:
    failed = replace(
        UNRESOLVED,
        failures=Failures((Failure(FailureType.BEARISH_REVERSAL, 1.0),)),
        range=RangeOutcome(RangeState.FAILED_EXPANSION),
    )
    assert _aggregation(0.0, failed).truth_score == 0
