"""The volatility expansion rule (northstar.md 7) with the New York clock of N3."""

from __future__ import annotations

from datetime import time

import pytest

from app.market.bars import Bars
from app.structure.expansion import (
    NOTHING_SET_UP,
    SetUp,
    VolatilityExpansion,
    _probability,
    _reasons,
    _signal,
    estimate,
    expansion_of,
    set_up_of,
)
from app.structure.terms import ExpansionSignal
from tests.structure.making import days, minutes, read

NOON = time(11, 30)
WIDE = 0.5
FAR = days([50.0, 50.0])


def seen(bars: Bars, daily: Bars = FAR) -> VolatilityExpansion:
    view, levels, _ = read(bars, daily, opened=100.0)
    return expansion_of(view, levels)


def even(
    count: int = 60, *, start: time = NOON, tail: float = WIDE, tail_bars: int = 5, tail_volume: float = 1e3
) -> Bars:
    """Bars that close at 100; the last ones may be narrower or thinner."""
    wide = [100 + WIDE] * (count - tail_bars) + [100 + tail] * tail_bars
    volumes = [1000.0] * (count - 15) + [tail_volume] * 15
    return minutes([100.0] * count, h=wide, v=volumes, start=start)


def test_nothing_set_up_is_a_tenth() -> None:
    assert seen(even()) == VolatilityExpansion(0.1, ExpansionSignal.NONE, False, (NOTHING_SET_UP,))


def test_a_single_small_flag_adds_a_step_but_no_reason() -> None:
    assert seen(even(tail_volume=100.0)) == VolatilityExpansion(0.15, reasons=(NOTHING_SET_UP,))


@pytest.mark.parametrize(
    ("start", "count", "probability"),
    [
        (time(9, 30), 30, 0.3),  # last bar 09:59
        (time(9, 31), 30, 0.1),  # last bar 10:00
        (time(14, 1), 59, 0.1),  # last bar 14:59
        (time(14, 1), 60, 0.15),  # last bar 15:00
    ],
)
def test_the_clock_is_new_yorks_at_the_last_bars_start(start: time, count: int, probability: float) -> None:
    assert seen(even(count, start=start)).probability == probability


def test_after_the_close_there_is_no_power_hour() -> None:
    assert seen(even(start=time(16, 0))).probability == 0.1


def test_compression_and_squeeze_alone_make_a_weak_set_up() -> None:
    found = seen(even(tail=0.05, tail_bars=10))
    assert (found.probability, found.signal, found.expansion_likely) == (0.15, ExpansionSignal.NONE, False)
    assert len(found.reasons) == 2
    assert "0.14" in found.reasons[0]


def test_near_yesterdays_extremes_counts_once_and_says_both() -> None:
    daily = days([100.0, 100.0], h=[100.0, 100.1], low=[100.0, 99.9])
    found = seen(even(), daily)
    assert found.probability == 0.15
    assert len(found.reasons) == 2
    assert "$100.10" in found.reasons[0]
    assert "$99.90" in found.reasons[1]


@pytest.mark.parametrize(("high", "near"), [(100.19, True), (100.2, False)])
def test_near_is_under_twenty_basis_points(high: float, near: bool) -> None:
    daily = days([50.0, 50.0], h=[50.0, high])
    assert (seen(even(), daily).reasons != (NOTHING_SET_UP,)) is near


def set_up(**flags: object) -> SetUp:
    calm: dict[str, object] = {
        "power_hour": False,
        "first_30min": False,
        "compression": 1.0,
        "atr_squeeze": False,
        "vol_dryup": False,
        "near_high": None,
        "near_low": None,
    }
    return SetUp(**{**calm, **flags})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "score", "probability"),
    [
        ({"power_hour": True}, 2, 0.15),
        ({"near_high": 1.0, "vol_dryup": True}, 3, 0.22),
        ({"power_hour": True, "compression": 0.59}, 3, 0.22 + 0.20),
        ({"power_hour": True, "compression": 0.6}, 2, 0.15),
        ({"first_30min": True}, 2, 0.15 + 0.15),
        ({"near_low": 1.0, "atr_squeeze": True}, 3, 0.22 + 0.15),
        ({"power_hour": True, "near_low": 1.0}, 4, 0.28),
        ({"first_30min": True, "near_low": 1.0, "compression": 0.1}, 5, 0.35 + 0.15 + 0.15),
        ({"power_hour": True, "near_low": 1.0, "compression": 0.1, "atr_squeeze": True}, 6, 0.35 + 0.20 + 0.15),
    ],
)
def test_the_score_and_the_pairs_make_the_probability(flags: dict[str, object], score: int, probability: float) -> None:
    found = set_up(**flags)
    assert found.score == score
    assert _probability(found, score) == pytest.approx(probability)


@pytest.mark.parametrize(
    ("probability", "signal"),
    [(0.8, "STRONG"), (0.79, "MODERATE"), (0.6, "MODERATE"), (0.59, "WEAK"), (0.4, "WEAK"), (0.399, "NONE")],
)
def test_the_signals_begin_at_forty_sixty_and_eighty(probability: float, signal: str) -> None:
    assert _signal(probability) == signal


def test_a_likely_expansion_says_how_likely() -> None:
    daily = days([100.0, 100.0], h=[100.0, 100.1])
    found = seen(even(30, start=time(9, 30), tail=0.05), daily)
    assert (found.probability, found.signal, found.expansion_likely) == (0.65, ExpansionSignal.MODERATE, True)
    assert "65%" in found.reasons[0]


def test_without_any_range_or_volume_nothing_is_divided() -> None:
    assert seen(minutes([100.0] * 60, v=[0.0] * 60, start=NOON)).probability == 0.1


def narrowed(bars: int, share: float, *, volume: bool = False) -> SetUp:
    """60 bars of which the last `bars` have this share of the range, or of the volume, of the others."""
    column = [1.0] * (60 - bars) + [share] * bars
    if volume:
        made = minutes([100.0] * 60, v=column, start=NOON)
    else:
        made = minutes([100.0] * 60, h=[100.0 + x for x in column], start=NOON)
    _, levels, _ = read(made, FAR, opened=100.0)
    return set_up_of(made, levels)


@pytest.mark.parametrize(("share", "compressed"), [(0.555, True), (0.557, False)])
def test_compression_is_five_bars_against_thirty(share: float, compressed: bool) -> None:
    # 5 bars of x after 25 of 1: x / ((25 + 5 x) / 30) is 0.6 at x = 0.5556
    found = narrowed(5, share)
    assert found.compressed is compressed
    assert found.compression == pytest.approx(30 * share / (25 + 5 * share), rel=1e-9)


@pytest.mark.parametrize(("share", "squeezed"), [(0.608, True), (0.609, False)])
def test_the_squeeze_is_ten_true_ranges_against_thirty(share: float, squeezed: bool) -> None:
    # 30 x / (20 + 10 x) is 0.7 at x = 0.6087
    assert narrowed(10, share).atr_squeeze is squeezed


@pytest.mark.parametrize(("share", "dry"), [(0.636, True), (0.637, False)])
def test_dry_volume_is_fifteen_bars_against_sixty(share: float, dry: bool) -> None:
    # 60 x / (45 + 15 x) is 0.7 at x = 0.6364
    assert narrowed(15, share, volume=True).vol_dryup is dry


def test_half_a_chance_is_likely() -> None:
    found = estimate(set_up(first_30min=True, near_low=1.0, vol_dryup=True))
    assert (found.probability, found.expansion_likely) == (0.5, True)
    assert not estimate(set_up(power_hour=True, compression=0.5, near_low=1.0)).probability < 0.5
    assert not estimate(set_up(power_hour=True, compression=0.5)).expansion_likely


@pytest.mark.parametrize(("probability", "sentences"), [(0.8, 2), (0.79, 2), (0.6, 2), (0.59, 1)])
def test_a_high_chance_is_said_first(probability: float, sentences: int) -> None:
    found = list(_reasons(set_up(power_hour=True), probability))
    assert len(found) == sentences
    assert ("very" in found[0]) is (probability >= 0.8)


def test_an_hour_is_needed_to_call_volume_dry() -> None:
    thin = minutes([100.0] * 59, v=[1000.0] * 44 + [1.0] * 15, start=NOON)
    _, levels, _ = read(thin, FAR, opened=100.0)
    assert not set_up_of(thin, levels).vol_dryup
