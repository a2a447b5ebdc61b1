"""The swing analysis, rule by rule of swing.md."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from app.structure import Swing, analyse_swing
from app.structure.swing import (
    Momentum,
    SwingLevels,
    SwingReality,
    TrendAlignment,
    Volume,
    Weeks,
    _confidence,
    _density,
    _direction,
    _dominant_timeframe,
    _exponential_mean,
    _health,
    _macd_signal,
    _mode,
    _momentum,
    _notes,
    _permission,
    _rsi,
    _tier,
    _trend,
    _trend_alignment,
    _volume,
    swing,
    weeks_of,
)
from app.structure.terms import (
    Bias,
    HoldingPeriod,
    SwingConfidence,
    SwingDirection,
    SwingMode,
    Timeframe,
    Trend,
    VolumeTrend,
)
from tests.structure.making import DAY, days, minutes, night, view
from tests.structure.plain import plain

UP, DOWN, SIDEWAYS = Trend.UPTREND, Trend.DOWNTREND, Trend.SIDEWAYS
RISING = [100.0 + i for i in range(60)]
AFTER = DAY + timedelta(days=1)


def analysed(closes: list[float], **made: list[float]) -> Swing:
    return swing("SPY", night(days(closes, before=AFTER, **made)))


# rule 0 and levels (swing.md 2.1)


def test_below_thirty_days_nothing_is_resolved() -> None:
    found = analysed(RISING[:29])
    assert found.phase1 == SwingReality()
    assert found.phase1.momentum.rsi_14 == found.phase1.momentum.weekly_rsi == 50.0
    assert (found.phase4.allowed, found.phase4.holding_period) == (False, HoldingPeriod.NONE)
    assert analysed(RISING[:30]).phase1.resolved


def test_levels_are_means_and_extremes_of_the_last_days() -> None:
    found = analysed(RISING, h=[c + 0.5 for c in RISING], low=[c - 0.25 for c in RISING]).phase1.levels
    assert (found.current_price, found.daily_high_5d, found.daily_low_5d) == (159.0, 159.5, 154.75)
    assert (found.sma_20, found.sma_50) == (149.5, 134.5)
    assert (found.weekly_high, found.weekly_low) == (159.5, 154.75)  # the last day is a Friday
    assert found.weekly_mid == round((159.5 + 154.75) / 2, 2)


def test_levels_have_two_decimals() -> None:
    closes = [c + 0.12345 for c in RISING]
    found = plain(analysed(closes, h=[c + 0.5111 for c in closes], low=[c - 0.2555 for c in closes]).phase1.levels)
    assert found == {name: round(value, 2) for name, value in found.items()}
    assert (found["current_price"], found["sma_20"], found["weekly_high"]) == (159.12, 149.62, 159.63)


def test_the_weekly_trend_is_two_weeks_against_four() -> None:
    # of two weeks the mean is above the last close, of three it would be below
    weeks = Weeks(1.0, 1.0, np.array([100.0, 100.0, 112.0, 110.0]))
    assert _trend_alignment(days(RISING), weeks).weekly_trend is SIDEWAYS


def test_the_long_mean_is_unknown_below_fifty_days() -> None:
    assert analysed(RISING[:49]).phase1.levels.sma_50 == 0.0
    assert analysed(RISING[:50]).phase1.levels.sma_50 == 124.5


def test_the_oldest_true_range_uses_the_close_before_it() -> None:
    closes = [100.0] * 46 + [114.0] * 14
    assert analysed(closes, o=closes).phase1.levels.atr_14 == 1.0


def test_weeks_run_from_monday_to_friday() -> None:
    daily = days([float(i) for i in range(1, 12)], before=date(2025, 12, 3))  # ends on a Tuesday, over Thanksgiving
    weeks = weeks_of(daily)
    assert weeks.closes.tolist() == [5.0, 9.0, 11.0]
    assert (weeks.high, weeks.low) == (11.0, 10.0)


def test_one_day_is_a_week() -> None:
    weeks = weeks_of(days([5.0]))
    assert weeks.closes.tolist() == [5.0]


# trends (swing.md 2.2)


def test_two_rising_timeframes_are_aligned() -> None:
    found = analysed(RISING).phase1.trend_alignment
    assert found == TrendAlignment(UP, UP, True, "")


def test_two_sideways_timeframes_are_aligned_too() -> None:
    assert analysed([100.0] * 60).phase1.trend_alignment == TrendAlignment(SIDEWAYS, SIDEWAYS, True, "")


@pytest.mark.parametrize(
    ("weekly", "words"),
    [
        ([100.0, 100.0, 100.0, 100.0], ["weeks", "sideways", "days", "an uptrend"]),
        ([9.0, 8.0, 7.0, 6.0], ["weeks", "a downtrend", "days", "an uptrend"]),
    ],
)
def test_a_conflict_has_a_reason(weekly: list[float], words: list[str]) -> None:
    found = _trend_alignment(days(RISING), Weeks(1.0, 1.0, np.array(weekly)))
    assert not found.aligned
    assert all(word in found.conflict_reason for word in words)


@pytest.mark.parametrize(
    ("closes", "trend"),
    [
        ([1.0, 2.0, 3.0, 4.0], UP),
        ([4.0, 3.0, 2.0, 1.0], DOWN),
        ([1.0, 1.0, 4.0, 3.0], SIDEWAYS),  # the short mean is above, the close is not above the short mean
        ([4.0, 4.0, 1.0, 2.0], SIDEWAYS),
        ([2.0, 2.0, 2.0, 2.0], SIDEWAYS),
        ([1.0, 1.0, 3.0, 3.0], SIDEWAYS),  # the close is at the short mean
        ([3.0, 3.0, 1.0, 1.0], SIDEWAYS),
        ([3.0, 3.0, 2.0, 4.0], SIDEWAYS),  # the means are equal
        ([1.0, 1.0, 2.0, 0.0], SIDEWAYS),
    ],
)
def test_a_trend_needs_two_means_and_the_close(closes: list[float], trend: Trend) -> None:
    assert _trend(np.array(closes), 2, 4) is trend


# momentum (swing.md 2.3)


@pytest.mark.parametrize(
    ("closes", "rsi"),
    [
        ([1.0, 2.0, 3.0], 100.0),
        ([3.0, 2.0, 1.0], 0.0),
        ([2.0, 2.0, 2.0], 50.0),
        ([1.0, 4.0, 3.0], 75.0),
        ([100.0, 102.0, 99.0], 40.0),
        ([1.0, 1.5, 1.0], 50.0),
        ([1.0, 2.0, 2.0, 0.0], 33.3),
    ],
)
def test_rsi_compares_plain_sums(closes: list[float], rsi: float) -> None:
    assert _rsi(closes) == rsi


def test_rsi_looks_back_fourteen_changes() -> None:
    rising = [100.0 + i for i in range(15)]
    assert analysed([500.0] * 45 + rising).phase1.momentum.rsi_14 == 100.0
    assert analysed([500.0] * 46 + rising[1:]).phase1.momentum.rsi_14 < 100.0


def test_weekly_rsi_looks_back_four_changes() -> None:
    weeks = Weeks(1.0, 1.0, np.array([500.0, 100.0, 101.0, 102.0, 103.0, 104.0]))
    assert _momentum(days(RISING), weeks).weekly_rsi == 100.0
    weeks = Weeks(1.0, 1.0, np.array([100.0, 101.0, 101.0, 101.0, 100.0]))
    assert _momentum(days(RISING), weeks).weekly_rsi == 50.0


def test_momenta_have_two_decimals() -> None:
    momentum = analysed([300.0] * 59 + [301.0]).phase1.momentum
    assert (momentum.momentum_5d, momentum.momentum_10d) == (0.33, 0.33)


def test_macd_turns_where_the_means_of_twelve_and_twenty_six_days_cross() -> None:
    closes = [100.0 + 5 * math.sin(i / 3) for i in range(59)]

    def weighted(span: int, last: float) -> float:
        weights = (1 - 2 / (span + 1)) ** np.arange(59, -1, -1)
        return float(weights @ np.array([*closes, last]) / weights.sum())

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if weighted(12, middle) < weighted(26, middle) else (low, middle)
    assert _macd_signal([*closes, low - 1e-6]) is SwingDirection.BEARISH
    assert _macd_signal([*closes, high + 1e-6]) is SwingDirection.BULLISH


def test_momentum_spans_four_and_nine_sessions() -> None:
    closes = [100.0] * 50 + [110.0] * 5 + [120.0, 121.0, 121.0, 121.0, 132.0]
    momentum = analysed(closes).phase1.momentum
    assert (momentum.momentum_5d, momentum.momentum_10d) == (10.0, 20.0)


def test_macd_of_flat_prices_is_neutral() -> None:
    assert _macd_signal([100.1] * 60) is SwingDirection.NEUTRAL
    assert _macd_signal(RISING) is SwingDirection.BULLISH
    assert _macd_signal(RISING[::-1]) is SwingDirection.BEARISH


def test_the_exponential_mean_weighs_by_age_from_the_first_close() -> None:
    decay = 1 - 2 / 13
    expected = (1.0 * decay**2 + 2.0 * decay + 4.0) / (decay**2 + decay + 1)
    assert _exponential_mean([1.0, 2.0, 4.0], 12) == pytest.approx(expected, rel=1e-15)


# volume (swing.md 2.4, S1)


@pytest.mark.parametrize(
    ("recent", "trend"),
    [
        (1200.0, VolumeTrend.NORMAL),
        (1201.0, VolumeTrend.INCREASING),
        (800.0, VolumeTrend.NORMAL),
        (799.0, VolumeTrend.DECREASING),
    ],
)
def test_volume_compares_two_weeks(recent: float, trend: VolumeTrend) -> None:
    found = analysed([100.0] * 60, v=[9.0] * 50 + [1000.0] * 5 + [recent] * 5).phase1.volume
    assert found.volume_trend is trend
    assert found.volume_confirmation is (trend is VolumeTrend.INCREASING)
    assert found.avg_volume_20d == (9.0 * 10 + 5000.0 + 5 * recent) / 20


def test_a_running_day_moves_prices_but_not_volume() -> None:
    daily = days(RISING, v=[1000.0] * 60)
    seen = view(minutes([200.0] * 60, v=[1.0] * 60), daily, opened=170.0)
    found = analyse_swing("SPY", seen).phase1
    assert found.levels.current_price == 200.0
    assert found.volume == Volume(VolumeTrend.NORMAL, False, 1000.0)


def test_volume_of_few_days_is_unknown() -> None:
    assert _volume(np.full(19, 5.0)) == Volume()
    assert _volume(np.full(20, 5.0)).avg_volume_20d == 5.0


# direction, confidence, dominance, notes (swing.md 2.5-2.8)

LEVELS = SwingLevels(current_price=100.0, sma_20=100.0, sma_50=90.0, daily_low_5d=97.4, daily_high_5d=103.0)


@pytest.mark.parametrize(
    ("weekly", "daily", "momentum_5d", "price", "direction"),
    [
        (UP, SIDEWAYS, 0.0, 100.0, SwingDirection.BULLISH),
        (SIDEWAYS, UP, 1.0, 100.0, SwingDirection.NEUTRAL),
        (SIDEWAYS, UP, 1.01, 100.0, SwingDirection.BULLISH),
        (SIDEWAYS, UP, 0.0, 100.01, SwingDirection.BULLISH),
        (UP, DOWN, 0.0, 100.0, SwingDirection.NEUTRAL),
        (DOWN, SIDEWAYS, 0.0, 100.0, SwingDirection.BEARISH),
        (SIDEWAYS, DOWN, -1.0, 100.0, SwingDirection.NEUTRAL),
        (SIDEWAYS, DOWN, -1.01, 100.0, SwingDirection.BEARISH),
        (SIDEWAYS, DOWN, 0.0, 99.99, SwingDirection.BEARISH),
    ],
)
def test_direction_is_a_vote(
    weekly: Trend, daily: Trend, momentum_5d: float, price: float, direction: SwingDirection
) -> None:
    levels = replace(LEVELS, current_price=price)
    assert _direction(levels, TrendAlignment(weekly, daily), Momentum(momentum_5d=momentum_5d)) is direction


@pytest.mark.parametrize(
    ("aligned", "confirmed", "rsi", "direction", "confidence"),
    [
        (True, False, 50.0, "BULLISH", SwingConfidence.HIGH),  # 65
        (True, False, 70.0, "BULLISH", SwingConfidence.MEDIUM),  # 50
        (True, False, 30.0, "BULLISH", SwingConfidence.MEDIUM),
        (True, False, 50.0, "NEUTRAL", SwingConfidence.MEDIUM),  # 45
        (False, True, 70.0, "BEARISH", SwingConfidence.LOW),  # 40
        (True, False, 70.0, "NEUTRAL", SwingConfidence.LOW),  # 30
        (False, True, 70.0, "NEUTRAL", SwingConfidence.NO_TRADE),  # 20
        (False, False, 50.0, "BULLISH", SwingConfidence.LOW),  # 35
    ],
)
def test_confidence_adds_up(
    aligned: bool, confirmed: bool, rsi: float, direction: str, confidence: SwingConfidence
) -> None:
    found = _confidence(
        TrendAlignment(aligned=aligned),
        Momentum(rsi_14=rsi),
        Volume(volume_confirmation=confirmed),
        SwingDirection(direction),
    )
    assert found is confidence


@pytest.mark.parametrize(("week_move", "timeframe"), [(1.49, Timeframe.DAILY), (1.51, Timeframe.WEEKLY)])
def test_weeks_dominate_by_half_as_much_again(week_move: float, timeframe: Timeframe) -> None:
    daily = days([100.0] * 19 + [101.0])
    weeks = Weeks(1.0, 1.0, np.array([500.0, 100.0, 0.5, 0.5, 100.0 + week_move]))
    assert _dominant_timeframe(daily, weeks) is timeframe


@pytest.mark.parametrize(
    ("rsi", "confirmed", "notes"),
    [(50.0, False, 1), (70.1, False, 2), (30.0, False, 1), (29.9, False, 2), (70.0, True, 2), (80.0, True, 3)],
)
def test_notes_say_alignment_extremes_and_volume(rsi: float, confirmed: bool, notes: int) -> None:
    found = list(_notes(TrendAlignment(aligned=True), Momentum(rsi_14=rsi), Volume(volume_confirmation=confirmed)))
    assert len(found) == notes


def test_a_conflict_is_noted_with_its_reason() -> None:
    (note,) = _notes(TrendAlignment(UP, DOWN, False, "they differ"), Momentum(), Volume())
    assert "they differ" in note


# health (swing.md 3)


def reality(
    *,
    weekly: Trend = UP,
    daily: Trend = UP,
    rsi: float = 50.0,
    macd: str = "NEUTRAL",
    direction: str = "BULLISH",
    volume: Volume | None = None,
    confidence: SwingConfidence = SwingConfidence.HIGH,
    levels: SwingLevels = LEVELS,
) -> SwingReality:
    return SwingReality(
        resolved=True,
        direction=SwingDirection(direction),
        confidence=confidence,
        levels=levels,
        trend_alignment=TrendAlignment(weekly, daily, weekly is daily),
        momentum=Momentum(rsi_14=rsi, macd_signal=SwingDirection(macd)),
        volume=volume or Volume(),
    )


@pytest.mark.parametrize(
    ("seen", "dimensions", "score", "tier", "reasons"),
    [
        (reality(), (80, 70, 50, 70), 69, "HEALTHY", 0),
        (reality(weekly=SIDEWAYS), (40, 70, 50, 50), 51, "MIXED", 1),
        (reality(weekly=DOWN), (30, 70, 50, 50), 48, "MIXED", 1),
        (reality(rsi=40.0), (80, 70, 50, 70), 69, "HEALTHY", 0),
        (reality(rsi=60.0), (80, 70, 50, 70), 69, "HEALTHY", 0),
        (reality(rsi=60.1), (80, 50, 50, 70), 64, "MIXED", 0),
        (reality(rsi=70.0), (80, 50, 50, 70), 64, "MIXED", 0),
        (reality(rsi=30.0), (80, 50, 50, 70), 64, "MIXED", 0),
        (reality(rsi=70.1), (80, 30, 50, 70), 59, "MIXED", 1),
        (reality(rsi=29.9), (80, 30, 50, 70), 59, "MIXED", 1),
        (reality(rsi=75.0), (80, 30, 50, 70), 59, "MIXED", 1),
        (reality(rsi=25.0), (80, 30, 50, 70), 59, "MIXED", 1),
        (reality(rsi=75.1), (80, 30, 50, 55), 56, "MIXED", 1),
        (reality(rsi=24.9), (80, 30, 50, 55), 56, "MIXED", 1),
        (reality(macd="BULLISH"), (80, 90, 50, 70), 74, "HEALTHY", 0),
        (reality(macd="BEARISH"), (80, 70, 50, 70), 69, "HEALTHY", 0),
        (reality(macd="BEARISH", direction="BEARISH"), (80, 90, 50, 70), 74, "HEALTHY", 0),
        (reality(direction="NEUTRAL"), (80, 70, 50, 70), 69, "HEALTHY", 0),
        (reality(volume=Volume(VolumeTrend.INCREASING, True)), (80, 70, 80, 70), 75, "HEALTHY", 0),
        (reality(volume=Volume(VolumeTrend.DECREASING)), (80, 70, 30, 70), 65, "HEALTHY", 1),
        (reality(weekly=DOWN, rsi=80.0, volume=Volume(VolumeTrend.DECREASING)), (30, 30, 30, 35), 31, "WEAK", 3),
    ],
)
def test_health_weighs_four_dimensions(
    seen: SwingReality, dimensions: tuple[int, int, int, int], score: int, tier: str, reasons: int
) -> None:
    found = _health(seen)
    of = found.dimensions
    assert (of.trend_strength, of.momentum_quality, of.volume_support, of.failure_risk) == dimensions
    assert (found.health_score, found.health_tier, len(found.reasons)) == (score, tier, reasons)
    assert found.stand_down is (tier == "WEAK")


@pytest.mark.parametrize(("score", "tier"), [(65, "HEALTHY"), (64, "MIXED"), (45, "MIXED"), (44, "WEAK")])
def test_the_tiers_begin_at_forty_five_and_sixty_five(score: int, tier: str) -> None:
    assert _tier(score) == tier


# density (swing.md 4)


@pytest.mark.parametrize(
    ("seen", "score", "clean", "waits", "reasons"),
    [
        (reality(), 100, True, False, 0),
        (reality(weekly=SIDEWAYS), 70, True, False, 1),
        (reality(daily=SIDEWAYS), 80, True, False, 1),
        (reality(weekly=SIDEWAYS, daily=SIDEWAYS), 50, False, False, 2),
        (reality(rsi=80.0), 100, True, False, 0),
        (reality(rsi=80.1), 75, False, True, 1),
        (reality(rsi=20.0), 100, True, False, 0),
        (reality(rsi=19.9), 75, False, True, 1),
        (reality(weekly=SIDEWAYS, daily=SIDEWAYS, rsi=90.0), 25, False, True, 3),
    ],
)
def test_density_falls_with_sideways_trends_and_extremes(
    seen: SwingReality, score: int, clean: bool, waits: bool, reasons: int
) -> None:
    found = _density(seen)
    assert (found.density_score, found.is_clean_setup, len(found.reasons)) == (score, clean, reasons)
    assert (found.wait_for != "") is waits


def test_what_to_wait_for_names_the_level() -> None:
    assert "70" in _density(reality(rsi=90.0)).wait_for
    assert "30" in _density(reality(rsi=10.0)).wait_for


# permission (swing.md 5)


def permission(seen: SwingReality) -> tuple[Bias, SwingMode, HoldingPeriod, tuple[str, ...]]:
    found = _permission(seen, _health(seen), _density(seen))
    assert found.allowed is (found.mode is not SwingMode.NO_TRADE)
    return found.bias, found.mode, found.holding_period, found.invalidation_levels


@pytest.mark.parametrize(
    ("seen", "mode", "period"),
    [
        (reality(), SwingMode.TREND_FOLLOW, HoldingPeriod.WEEK_OR_TWO),
        (reality(rsi=75.0), SwingMode.TREND_FOLLOW, HoldingPeriod.WEEK_OR_TWO),
        (reality(weekly=SIDEWAYS, daily=SIDEWAYS), SwingMode.BREAKOUT, HoldingPeriod.WEEK),
        (reality(daily=SIDEWAYS, rsi=65.1), SwingMode.MEAN_REVERSION, HoldingPeriod.DAYS),
        (reality(daily=SIDEWAYS, rsi=34.9), SwingMode.MEAN_REVERSION, HoldingPeriod.DAYS),
        (reality(daily=SIDEWAYS, rsi=65.0), SwingMode.BREAKOUT, HoldingPeriod.WEEK),
        (reality(daily=SIDEWAYS, rsi=35.0), SwingMode.BREAKOUT, HoldingPeriod.WEEK),
    ],
)
def test_the_mode_takes_the_first_match(seen: SwingReality, mode: SwingMode, period: HoldingPeriod) -> None:
    assert _mode(seen) == (mode, period)


def test_a_long_position_stops_below_the_week_and_the_long_mean() -> None:
    bias, _, _, levels = permission(reality())
    assert bias is Bias.LONG
    assert levels[0] == "Stop below 97.4"
    assert "90.0" in levels[1]


def test_a_short_position_stops_above() -> None:
    bias, _, _, levels = permission(reality(direction="BEARISH"))
    assert bias is Bias.SHORT
    assert levels[0] == "Stop above 103.0"
    assert len(levels) == 2


def test_an_unknown_long_mean_invalidates_nothing() -> None:
    assert len(permission(reality(levels=replace(LEVELS, sma_50=0.0)))[3]) == 1


def test_without_a_side_there_is_no_level() -> None:
    bias, mode, _, levels = permission(reality(direction="NEUTRAL"))
    assert (bias, mode, levels) == (Bias.NEUTRAL, SwingMode.TREND_FOLLOW, ())


@pytest.mark.parametrize(
    ("seen", "denials"),
    [
        (reality(confidence=SwingConfidence.NO_TRADE), 1),
        (reality(weekly=DOWN, rsi=80.0, volume=Volume(VolumeTrend.DECREASING)), 1),
        (reality(weekly=SIDEWAYS, daily=SIDEWAYS), 1),
        (reality(weekly=SIDEWAYS, daily=DOWN, rsi=90.0, confidence=SwingConfidence.NO_TRADE), 3),
    ],
)
def test_each_denial_has_a_sentence(seen: SwingReality, denials: int) -> None:
    bias, mode, period, levels = permission(seen)
    assert (bias, mode, period) == (Bias.NEUTRAL, SwingMode.NO_TRADE, HoldingPeriod.NONE)
    assert len(levels) == denials


def test_an_unclean_set_up_says_choppy_or_what_to_wait_for() -> None:
    assert "choppy" in permission(reality(weekly=SIDEWAYS, daily=SIDEWAYS))[3][-1]
    assert "70" in permission(reality(rsi=90.0))[3][-1]


def test_model_probabilities_are_not_this_packages() -> None:
    found = analysed(RISING)
    assert found.v6_swing is None
    assert found.timeframe == "SWING"
    assert found.timestamp.isoformat() == f"{DAY}T17:00:00-05:00"
