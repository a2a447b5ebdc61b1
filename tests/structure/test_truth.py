"""The base truth, rule by rule of northstar.md 3: one test per edge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.market.bars import Bars
from app.structure.terms import (
    AcceptanceStrength,
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
from app.structure.truth import (
    UNRESOLVED,
    Participation,
    RangeOutcome,
    SideOfMiddle,
    confidence_band,
    direction_of,
    evidence,
)
from tests.structure.making import days, minutes, truth_of

STEPS_UP = [100.0 + i for i in range(40)]
STEPS_DOWN = [200.0 - i for i in range(40)]
FLAT = [100.0] * 30


# direction (northstar.md 2, DIR)


@pytest.mark.parametrize(
    ("closes", "direction"),
    [
        (STEPS_UP, Direction.UP),
        (STEPS_DOWN, Direction.DOWN),
        (STEPS_UP[:39], Direction.BALANCED),
        ([100.0] * 40, Direction.BALANCED),
        ([*STEPS_UP[:39], 121.0], Direction.BALANCED),  # higher halves, but the close is under its mean
        ([*STEPS_DOWN[:39], 179.0], Direction.BALANCED),
    ],
)
def test_direction_needs_both_halves_and_the_mean(closes: list[float], direction: Direction) -> None:
    assert direction_of(minutes(closes)) is direction


RANGES = {"up": ([1.0, 2.0], [1.5, 2.5]), "down": ([1.5, 2.5], [1.0, 2.0])}


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("same", ["high", "low", "close"])
def test_direction_needs_all_three_strictly(way: str, same: str) -> None:
    (low, high), (low_now, high_now) = RANGES[way]
    low_now = low if same == "low" else low_now
    high_now = high if same == "high" else high_now
    middle = (low_now + high_now) / 2
    last = middle if same == "close" else middle + (0.1 if way == "up" else -0.1)
    bars = minutes(
        [(low + high) / 2] * 20 + [middle] * 19 + [last],
        h=[high] * 20 + [high_now] * 20,
        low=[low] * 20 + [low_now] * 20,
    )
    assert direction_of(bars) is Direction.BALANCED


def test_direction_reads_forty_bars_only() -> None:
    assert direction_of(minutes([500.0] * 20 + STEPS_UP)) is Direction.UP


# acceptance (northstar.md 3.3)


def closes_around(above: int, below: int) -> Bars:
    """Thirty bars between 99 and 101 whose last ten closes stand so; the rest exactly in the middle."""
    last = [100.5] * above + [99.5] * below + [100.0] * (10 - above - below)
    closes = [99.0, 101.0] + [100.0] * 18 + last
    return minutes(closes)


@pytest.mark.parametrize(
    ("above", "below", "strength", "side", "closes"),
    [
        (7, 3, AcceptanceStrength.STRONG, SideOfMiddle.ABOVE, 7),
        (6, 4, AcceptanceStrength.MODERATE, SideOfMiddle.ABOVE, 6),
        (5, 5, AcceptanceStrength.MODERATE, SideOfMiddle.ABOVE, 5),
        (4, 5, AcceptanceStrength.MODERATE, SideOfMiddle.BELOW, 5),
        (3, 6, AcceptanceStrength.MODERATE, SideOfMiddle.BELOW, 6),
        (3, 7, AcceptanceStrength.STRONG, SideOfMiddle.BELOW, 7),
        (4, 4, AcceptanceStrength.WEAK, None, 4),
        (2, 3, AcceptanceStrength.WEAK, None, 3),
    ],
)
def test_acceptance_is_the_majority_of_the_last_ten_closes(
    above: int, below: int, strength: AcceptanceStrength, side: SideOfMiddle | None, closes: int
) -> None:
    held = truth_of(closes_around(above, below)).acceptance
    assert (held.strength, held.side, held.closes) == (strength, side, closes)
    assert held.accepted is (side is not None)
    assert held.mid == 100.0


@pytest.mark.parametrize(
    ("touch", "price", "failed"), [(99.8, 99.4, True), (99.7, 99.4, False), (99.9, 99.5, False), (99.9, 99.49, True)]
)
def test_a_high_is_failed_if_it_was_touched_lately_and_lost(touch: float, price: float, failed: bool) -> None:
    bars = minutes([99.4] * 25 + [touch] + [price] * 4, h=[100.0] * 30)
    found = truth_of(bars).failed_levels
    assert [level.rejected for level in found] == ([True] if failed else [])
    if failed:
        assert found[0].level == 100.0
        assert found[0].distance_pct == pytest.approx((100.0 - price) / price * 100)


@pytest.mark.parametrize(
    ("touch", "price", "failed"),
    [(100.2, 100.6, True), (100.21, 100.6, False), (100.1, 100.49, False), (100.1, 100.51, True)],
)
def test_a_low_is_failed_if_it_was_touched_lately_and_left(touch: float, price: float, failed: bool) -> None:
    bars = minutes([100.6] * 25 + [touch] + [price] * 4, low=[100.0] * 30)
    found = truth_of(bars).failed_levels
    assert [level.rejected for level in found] == ([False] if failed else [])
    if failed:
        assert found[0].distance_pct == pytest.approx((price - 100.0) / 100.0 * 100)


def test_a_touch_six_bars_ago_is_forgotten() -> None:
    assert not truth_of(minutes([99.4] * 24 + [99.9] + [99.4] * 5, h=[100.0] * 30)).failed_levels


def test_both_extremes_can_fail_and_the_high_comes_first() -> None:
    bars = minutes([100.0] * 26 + [101.0, 99.0, 100.0, 100.0])
    assert [level.rejected for level in truth_of(bars).failed_levels] == [True, False]


# range (northstar.md 3.4)


def moved(last: float, *, width_10: float, width_30: float = 10.0) -> Bars:
    """From 100 to `last`, inside ranges of the given widths."""
    low = 96.0
    return minutes(
        [100.0] * 29 + [last],
        low=[low] * 30,
        h=[low + width_30] + [100.0] * 19 + [low + width_10] * 10,
    )


@pytest.mark.parametrize(
    ("last", "width_10", "state", "quality"),
    [
        (100.6, 5.1, RangeState.TREND, ExpansionQuality.CLEAN),
        (100.505, 5.1, RangeState.TREND, ExpansionQuality.CLEAN),
        (100.495, 5.1, RangeState.BALANCE, ExpansionQuality.NONE),
        (100.6, 5.0, RangeState.TREND, ExpansionQuality.DIRTY),
        (99.4, 5.1, RangeState.TREND, ExpansionQuality.CLEAN),
        (100.5, 9.0, RangeState.BALANCE, ExpansionQuality.NONE),
        (100.1, 7.1, RangeState.FAILED_EXPANSION, ExpansionQuality.DIRTY),
        (99.9, 7.1, RangeState.FAILED_EXPANSION, ExpansionQuality.DIRTY),
        (100.1, 7.0, RangeState.BALANCE, ExpansionQuality.NONE),
        (100.2, 9.0, RangeState.BALANCE, ExpansionQuality.NONE),
    ],
)
def test_range_state_follows_move_and_width(
    last: float, width_10: float, state: RangeState, quality: ExpansionQuality
) -> None:
    found = truth_of(moved(last, width_10=width_10)).range
    assert (found.state, found.expansion_quality) == (state, quality)


@pytest.mark.parametrize(
    ("tail", "complete"),
    [
        ([102.0, 98.0, *[100.0] * 8], True),
        ([98.0, *[100.0] * 8, 102.0], False),
        ([102.0, *[100.0] * 8, 98.0], False),
        ([102.0, 98.0, *[100.0] * 6, 98.0, 102.0], True),  # the first extreme decides, later equals do not
        ([98.0, *[100.0] * 7, 102.0, 100.0], True),
        ([102.0, *[100.0] * 7, 98.0, 100.0], True),
        ([100.0] * 10, True),
    ],
)
def test_rotation_is_complete_unless_the_last_bar_makes_an_extreme(tail: list[float], complete: bool) -> None:
    assert truth_of(minutes([100.0] * 20 + tail)).range.rotation_complete is complete


# timeframes (northstar.md 3.2, 3.5; N5, N6)


def test_forty_days_are_compared() -> None:
    found = truth_of(minutes(STEPS_UP), days(STEPS_DOWN)).continuity
    assert not found.aligned
    assert (found.intraday, found.daily) == (Direction.UP, Direction.DOWN)
    assert truth_of(minutes(STEPS_UP), days(STEPS_UP)).continuity.aligned


def test_thirty_nine_days_say_nothing() -> None:
    found = truth_of(minutes(STEPS_UP), days(STEPS_DOWN[:39])).continuity
    assert found.aligned
    assert found.daily is None


def test_today_so_far_is_a_day() -> None:
    found = truth_of(minutes(STEPS_UP), days(STEPS_UP[:39]), opened=150.0)
    assert found.continuity.daily is not None


def ranging(step: float, count: int, base: float = 1000.0) -> list[float]:
    """Closes whose true ranges are all `step`."""
    return [base + step * (i % 2) for i in range(count)]


@pytest.mark.parametrize(
    ("daily_step", "timeframe", "dominant_tf"),
    [
        (1.4999 * 19.7484, Timeframe.INTRADAY, Timeframe.INTRADAY),
        (1.5001 * 19.7484, Timeframe.INTRADAY, Timeframe.DAILY),
        (1.9999 * 19.7484, Timeframe.INTRADAY, Timeframe.DAILY),
        (2.0001 * 19.7484, Timeframe.DAILY, Timeframe.DAILY),
    ],
)
def test_minute_ranges_are_scaled_to_a_day_before_they_are_compared(
    daily_step: float, timeframe: Timeframe, dominant_tf: Timeframe
) -> None:
    found = truth_of(minutes(ranging(1.0, 60)), days(ranging(daily_step, 5)))
    assert (found.dominant_timeframe, found.continuity.dominant_tf) == (timeframe, dominant_tf)


def test_the_hour_is_fifty_nine_true_ranges() -> None:
    first_wide = [941.0, *ranging(1.0, 59)]  # their mean is (60 + 57 + 1) / 59 = 2
    found = truth_of(minutes(first_wide), days(ranging(1.6 * 19.7484, 5))).continuity
    assert found.dominant_tf is Timeframe.INTRADAY


@pytest.mark.parametrize(("bars", "daily"), [(59, 5), (60, 4)])
def test_without_an_hour_or_five_days_the_session_dominates(bars: int, daily: int) -> None:
    found = truth_of(minutes(ranging(1.0, bars)), days(ranging(500.0, daily)))
    assert found.dominant_timeframe is found.continuity.dominant_tf is Timeframe.INTRADAY


def test_a_still_hour_is_dominated_by_days_that_move() -> None:
    assert truth_of(minutes([1000.0] * 60), days(ranging(1.0, 5))).dominant_timeframe is Timeframe.DAILY


# participation (northstar.md 3.6)


@pytest.mark.parametrize(
    ("recent", "conviction"),
    [(1000.0, Conviction.LOW), (1001.0, Conviction.MEDIUM), (1800.0, Conviction.MEDIUM), (1801.0, Conviction.HIGH)],
)
def test_conviction_compares_five_bars_with_twenty(recent: float, conviction: Conviction) -> None:
    # the mean of 20 is (15000 + 5 r) / 20, so r is 1.5 times it at r = 1800
    assert truth_of(minutes(FLAT, v=[1000.0] * 25 + [recent] * 5)).participation.conviction is conviction


@pytest.mark.parametrize(
    ("recent", "last", "match"),
    [
        (1500.0, 100.0, False),
        (1440.0, 100.0, True),
        (1445.0, 100.0, False),
        (1500.0, 100.101, True),
        (1500.0, 100.099, False),
    ],
)
def test_effort_without_result_is_much_volume_and_no_move(recent: float, last: float, match: bool) -> None:
    bars = minutes([*FLAT[:29], last], v=[1000.0] * 25 + [recent] * 5)
    assert truth_of(bars).participation.effort_result_match is match


def test_without_any_volume_nothing_is_wrong_with_the_effort() -> None:
    found = truth_of(minutes(FLAT, v=[0.0] * 30)).participation
    assert (found.conviction, found.effort_result_match) == (Conviction.LOW, True)


# memory (northstar.md 3.7)


@pytest.mark.parametrize(
    ("opened", "price", "behavior"),
    [
        (100.1, 100.0, None),
        (99.9, 100.0, None),
        (100.199, 100.0, None),
        (99.801, 100.0, None),
        (100.201, 100.0, GapBehavior.FILL),
        (99.799, 100.0, GapBehavior.FILL),
        (101.0, 100.9, GapBehavior.FILL),
        (101.0, 101.0, GapBehavior.HOLD),
        (101.0, 101.2, GapBehavior.HOLD),
        (101.0, 101.21, GapBehavior.EXPAND),
        (99.0, 99.1, GapBehavior.FILL),
        (99.0, 99.0, GapBehavior.HOLD),
        (99.0, 98.81, GapBehavior.HOLD),
        (99.0, 98.8, GapBehavior.EXPAND),
    ],
)
def test_a_gap_fills_holds_or_expands(opened: float, price: float, behavior: GapBehavior | None) -> None:
    found = truth_of(minutes([*FLAT[:29], price]), days([90.0, 100.0]), opened=opened).memory
    assert found.gap_behavior is behavior
    assert found.gap == pytest.approx((opened - 100.0) / 100.0)


def test_without_a_bar_of_today_there_is_no_gap() -> None:
    found = truth_of(minutes(FLAT), days([90.0, 95.0])).memory
    assert found.gap_behavior is None
    assert found.gap is None


@pytest.mark.parametrize(
    ("opens", "memory"),
    [
        ([99.0, 99.0, 99.0], Memory.PERSISTENT),
        ([101.0, 101.0, 100.0], Memory.PERSISTENT),  # unchanged counts as down
        ([99.0, 99.0, 100.0], Memory.RESET),
        ([99.0, 101.0, 99.0], Memory.RESET),
    ],
)
def test_three_days_one_way_persist(opens: list[float], memory: Memory) -> None:
    assert truth_of(minutes(FLAT), days([100.0] * 3, o=opens)).memory.memory is memory


def test_two_days_are_no_streak_and_one_is_nothing() -> None:
    assert truth_of(minutes(FLAT), days([100.0] * 2, o=[99.0] * 2)).memory.memory is Memory.RESET
    assert truth_of(minutes(FLAT), opened=90.0).memory.gap is None


# failures (northstar.md 3.8, R2)


def broken(tail: list[float], *, h: list[float] | None = None, low: list[float] | None = None) -> Bars:
    body = [100.0] * 20
    return minutes(body + tail, h=None if h is None else body + h, low=None if low is None else body + low)


def test_a_high_that_is_not_held_fails() -> None:
    found = truth_of(broken([100.0, 101.0, *[99.5] * 8])).failures
    assert [(failure.type, failure.extreme) for failure in found.found] == [(FailureType.FAILED_HIGH_BREAKOUT, 101.0)]
    assert (found.breakout_level, found.bars_ago) == (100.0, 8)


def test_a_low_that_is_bought_back_fails() -> None:
    found = truth_of(broken([100.0, 99.0, *[100.5] * 8])).failures
    assert [(failure.type, failure.extreme) for failure in found.found] == [(FailureType.FAILED_LOW_BREAKOUT, 99.0)]
    assert (found.breakout_level, found.bars_ago) == (100.0, 8)


@pytest.mark.parametrize("tail", [[100.0, 101.0, *[100.0] * 8], [100.0, 99.0, *[100.0] * 8], [100.0] * 10])
def test_a_close_at_the_broken_level_is_no_failure(tail: list[float]) -> None:
    found = truth_of(broken(tail)).failures
    assert not found.present
    assert (found.breakout_level, found.bars_ago) == (None, None)


def test_a_level_that_was_only_touched_is_not_broken() -> None:
    touched_high = minutes([100.0] * 10 + [98.0] * 10 + [100.0] + [99.0] * 9)
    assert not truth_of(touched_high).failures.present
    touched_low = minutes([100.0] * 10 + [102.0] * 10 + [100.0] + [101.0] * 9)
    assert not truth_of(touched_low).failures.present


def test_age_counts_from_the_last_extreme_and_may_be_zero() -> None:
    twice = truth_of(broken([100.0, 101.0, 100.0, 101.0, *[99.5] * 6])).failures
    assert twice.bars_ago == 6
    now = truth_of(broken([100.0] * 9 + [99.5], h=[100.0] * 9 + [101.0])).failures
    assert now.bars_ago == 0


def test_of_two_failed_breakouts_the_low_gives_level_and_age() -> None:
    tail = [101.0, 101.0, 98.0, *[99.5] * 7]
    bars = minutes([100.0, 99.0] * 10 + tail)
    found = truth_of(bars).failures
    assert [failure.type for failure in found.found] == [
        FailureType.FAILED_HIGH_BREAKOUT,
        FailureType.FAILED_LOW_BREAKOUT,
    ]
    assert (found.breakout_level, found.bars_ago) == (99.0, 7)


def test_a_new_high_sold_below_its_bar_is_a_bearish_reversal() -> None:
    tail = [100.0] * 8 + [100.0, 99.0]
    found = truth_of(broken(tail, h=[100.0] * 8 + [100.5, 100.0], low=[99.0] * 8 + [99.5, 99.0])).failures
    assert FailureType.BEARISH_REVERSAL in [failure.type for failure in found.found]
    assert found.found[-1].extreme == 100.5


def test_a_new_low_bought_above_its_bar_is_a_bullish_reversal() -> None:
    tail = [100.0] * 8 + [100.0, 101.0]
    found = truth_of(broken(tail, low=[100.0] * 8 + [99.5, 100.0], h=[101.0] * 8 + [100.5, 101.0])).failures
    assert found.found[-1].type is FailureType.BULLISH_REVERSAL
    assert found.found[-1].extreme == 99.5


def test_a_reversal_compares_with_the_bar_before_alone() -> None:
    sold = minutes([100.0] * 29 + [99.0], h=[102.0] * 27 + [100.5, 101.0, 101.0], low=[98.0] * 27 + [99.5, 99.5, 99.0])
    assert [failure.type for failure in truth_of(sold).failures.found] == [FailureType.BEARISH_REVERSAL]
    bought = minutes(
        [100.0] * 29 + [101.0], h=[102.0] * 27 + [100.5, 100.5, 101.0], low=[98.0] * 27 + [99.5, 99.0, 99.0]
    )
    assert [failure.type for failure in truth_of(bought).failures.found] == [FailureType.BULLISH_REVERSAL]


@pytest.mark.parametrize(
    ("h", "low", "closes"),
    [
        ([101.0, 101.0, 101.0], [99.0, 99.5, 99.0], [100.0, 100.0, 99.1]),  # no higher high
        ([100.5, 101.0, 101.0], [99.0, 99.5, 99.0], [100.0, 100.0, 99.5]),  # closes at the low, not below it
        ([101.0, 100.5, 101.0], [99.0, 99.0, 99.0], [100.0, 100.0, 100.9]),  # no lower low
        ([101.0, 100.5, 101.0], [99.5, 99.0, 99.0], [100.0, 100.0, 100.5]),  # closes at the high, not above it
    ],
)
def test_a_reversal_needs_a_new_extreme_and_a_close_beyond_the_bar(
    h: list[float], low: list[float], closes: list[float]
) -> None:
    bars = minutes([100.0] * 27 + closes, h=[102.0] * 27 + h, low=[98.0] * 27 + low)
    assert not truth_of(bars).failures.present


# evidence (northstar.md 3.11)


def test_evidence_adds_up_every_part() -> None:
    best = truth_of(minutes(STEPS_UP, v=[1000.0] * 35 + [2000.0] * 5), days(STEPS_UP))
    assert best.range.state is RangeState.TREND
    assert best.participation.conviction is Conviction.HIGH
    assert evidence(best, 30) == 30 + 25 + 20 + 15 + 10
    assert evidence(UNRESOLVED, 0) == 10


def test_a_failure_costs_thirty() -> None:
    failed = truth_of(broken([100.0, 101.0, *[99.5] * 8]))
    assert evidence(failed, 0) == 25 + 0 + 0 + 10 - 30 + (10 if failed.range.state is RangeState.BALANCE else 0)


@pytest.mark.parametrize(
    ("conviction", "points"), [(Conviction.HIGH, 15), (Conviction.MEDIUM, 10), (Conviction.LOW, 0)]
)
def test_conviction_has_its_points(conviction: Conviction, points: int) -> None:
    calm = replace(UNRESOLVED, range=RangeOutcome(RangeState.FAILED_EXPANSION), participation=Participation(conviction))
    assert evidence(calm, 0) == points


@pytest.mark.parametrize(
    ("score", "band"),
    [
        (60, ConfidenceBand.STRUCTURAL_EDGE),
        (59, ConfidenceBand.CONTEXT_ONLY),
        (30, ConfidenceBand.CONTEXT_ONLY),
        (29, ConfidenceBand.NO_TRADE),
        (-30, ConfidenceBand.NO_TRADE),
    ],
)
def test_the_bands_begin_at_thirty_and_sixty(score: int, band: ConfidenceBand) -> None:
    assert confidence_band(score) is band
