"""The inputs of the swing models: what they may know, and that training and serving see the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from app.errors import Unavailable
from app.market.bars import Bars
from app.market.calendar import day_of_ms, midnight_ms
from app.model.swing_features import FEATURES, MIN_DAYS, SwingFeatures, swing_features
from tests.support import CALENDAR

WEDNESDAY, FRIDAY = date(2024, 3, 13), date(2024, 3, 15)


def days_to(day: date, n: int = MIN_DAYS) -> list[date]:
    return [*CALENDAR.days_before(day, n - 1), day]


def walk(first: date = date(2022, 1, 3), last: date = date(2024, 6, 28), seed: int = 1) -> Bars:
    """Daily bars of a random walk, one per trading day."""
    days = CALENDAR.trading_days(first, last)
    steps = np.random.default_rng(seed).normal(0.0003, 0.01, (3, len(days)))
    close = 100 * np.exp(np.cumsum(steps[0]))
    opened = close * np.exp(-steps[0] + steps[1] / 3)
    t = np.array([midnight_ms(day) for day in days])
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
    return Bars(t, CALENDAR.day_ends(t), opened, high, low, close, np.full(len(days), 1e6))


def features(bars: Bars, day: date = WEDNESDAY) -> SwingFeatures:
    return swing_features(bars, days_to(day))


def value(bars: Bars, name: str, day: date = WEDNESDAY) -> float:
    return float(features(bars, day).values[FEATURES.index(name)])


def upto(bars: Bars, day: date) -> Bars:
    return bars[: int(np.searchsorted(bars.t, midnight_ms(day), side="right"))]


def changed(bars: Bars, first: date, last: date, factor: float) -> Bars:
    """The same bars with all prices of these days at another level."""
    days = np.array([day_of_ms(int(ms)).toordinal() for ms in bars.t])
    scale = np.where((days >= first.toordinal()) & (days <= last.toordinal()), factor, 1.0)
    return replace(bars, **{name: getattr(bars, name) * scale for name in "ohlc"})


def test_the_future_deleted_changes_nothing() -> None:
    bars = walk()
    for day in (WEDNESDAY, FRIDAY, date(2024, 3, 28), date(2024, 4, 1)):
        assert features(bars, day).values.tobytes() == features(upto(bars, day), day).values.tobytes()


def test_the_rest_of_the_week_is_never_read() -> None:
    """What voided the models of the existing app: a week's bar knew the week's last close (v6.md 9)."""
    bars = walk()
    other = changed(bars, WEDNESDAY + timedelta(days=1), FRIDAY, 1.5)
    assert features(other).values.tobytes() == features(bars).values.tobytes()


def test_the_week_so_far_moves_no_weekly_feature_before_its_friday() -> None:
    bars = walk()
    other = changed(bars, date(2024, 3, 11), WEDNESDAY, 1.02)
    for name in ("week_return", "week_return_4"):
        assert value(other, name) == value(bars, name)
    assert value(other, "return_1d") == pytest.approx(value(bars, "return_1d"))
    assert value(other, "return_5d") != value(bars, "return_5d"), "the days themselves are read"


def test_a_week_counts_from_the_close_of_its_friday_on() -> None:
    bars = walk()
    close = {day_of_ms(ms): c for ms, c in zip(bars.t.tolist(), bars.c.tolist(), strict=True)}
    last_week = close[date(2024, 3, 8)] / close[date(2024, 3, 1)] - 1
    this_week = close[FRIDAY] / close[date(2024, 3, 8)] - 1
    assert value(bars, "week_return", date(2024, 3, 14)) == pytest.approx(last_week)
    assert value(bars, "week_return", FRIDAY) == pytest.approx(this_week)


def test_a_week_that_ends_on_a_thursday_counts_from_the_next_monday_on() -> None:
    bars = walk()
    close = {day_of_ms(ms): c for ms, c in zip(bars.t.tolist(), bars.c.tolist(), strict=True)}
    thursday = date(2024, 3, 28)  # before Good Friday
    assert value(bars, "week_return", thursday) == pytest.approx(close[date(2024, 3, 22)] / close[FRIDAY] - 1)
    after = close[thursday] / close[date(2024, 3, 22)] - 1
    assert value(bars, "week_return", date(2024, 4, 1)) == pytest.approx(after)


def test_returns_and_averages_end_with_the_day() -> None:
    bars = upto(walk(), WEDNESDAY)
    assert value(bars, "return_1d") == pytest.approx(bars.c[-1] / bars.c[-2] - 1)
    assert value(bars, "return_252d") == pytest.approx(bars.c[-1] / bars.c[-253] - 1)
    assert value(bars, "dist_from_sma_20") == pytest.approx(bars.c[-1] / bars.c[-21:-1].mean() - 1)
    assert value(bars, "drawdown_252d") <= 0


@pytest.mark.parametrize(
    ("moves", "streak"), [([1, 1, 1], 3.0), ([1, -1, -1], -2.0), ([1, 1, 0], 0.0), ([-1] * 9, -5.0)]
)
def test_streaks_have_the_sign_of_their_days(moves: list[int], streak: float) -> None:
    bars = upto(walk(), WEDNESDAY)
    close = bars.c.copy()
    close[-len(moves) :] = close[-len(moves) - 1] * np.cumprod(1 + 0.001 * np.array(moves))
    if len(moves) < 5:
        close[-len(moves) - 1] = close[-len(moves) - 2] * (1 - 0.001 * moves[0])
        close[-len(moves) :] = close[-len(moves) - 1] * np.cumprod(1 + 0.001 * np.array(moves))
    level = np.maximum.reduce([bars.h, close, bars.o]), np.minimum.reduce([bars.l, close, bars.o])
    assert value(replace(bars, c=close, h=level[0], l=level[1]), "streak") == streak


def test_scale_and_volume_say_nothing() -> None:
    """A split, or the volume that a day still gathers in the evening, changes no feature."""
    bars = walk()
    other = replace(changed(bars, date(2022, 1, 1), date(2024, 12, 31), 0.5), v=bars.v * 3)
    assert features(other).values == pytest.approx(features(bars).values, rel=1e-9)


def test_a_missing_day_is_named_and_nothing_is_filled() -> None:
    bars = walk()
    for gap in (WEDNESDAY, date(2024, 3, 12), date(2023, 8, 1)):
        holed = bars.where(bars.t != midnight_ms(gap))
        with pytest.raises(Unavailable, match=str(gap)) as refused:
            features(holed)
        assert refused.value.code == "INSUFFICIENT_DATA"


def test_too_few_days_are_said() -> None:
    bars = upto(walk(), WEDNESDAY)
    with pytest.raises(Unavailable, match=f"252 completed daily bars are known; {MIN_DAYS} are needed"):
        features(bars[len(bars) - 252 :])


def test_prices_that_never_move_give_no_feature_and_no_guess() -> None:
    bars = walk()
    flat = np.full(len(bars), 100.0)
    with pytest.raises(Unavailable, match="volatility_ratio") as refused:
        features(replace(bars, o=flat, h=flat, l=flat, c=flat))
    assert refused.value.code == "MODEL_UNAVAILABLE"
