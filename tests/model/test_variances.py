"""What is read of the variance: by hand, from bars of any length, and never from what comes after the hour."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from app.market.bars import Bars, to_ms
from app.model.features import v6_features
from app.model.variances import VARIANCES, garman_klass, log_time_left
from tests.model.test_features import (
    CALENDAR,
    DAY,
    MIN_DAYS,
    daily_bars,
    features,
    five_minutes,
    named,
    session,
    without,
)
from tests.support import new_york

SHORT_DAY = date(2024, 11, 29)


def test_each_variance_by_hand_at_noon() -> None:
    """Thirty closes from 130.1 to 133.0 after an open at 130."""
    got = named(features(12))
    moves = np.diff(np.log(130 + 0.1 * np.arange(31)))
    days = daily_bars()
    spread, body = np.log(days.h / days.l), np.log(days.c / days.o)
    day_variances = 0.5 * spread**2 - (2 * math.log(2) - 1) * body**2
    assert got["log_variance_so_far"] == pytest.approx(math.log((moves**2).sum()))
    assert got["log_variance_last_hour"] == pytest.approx(math.log((moves[-12:] ** 2).sum()))
    assert got["log_variance_1d"] == pytest.approx(math.log(day_variances[-1]))
    assert got["log_variance_5d"] == pytest.approx(math.log(day_variances[-5:].mean()))
    assert got["log_variance_20d"] == pytest.approx(math.log(day_variances[-20:].mean()))
    assert got["log_sigma_squared"] == pytest.approx(2 * math.log(features(12).sigma))
    assert got["gap_sigmas"] == pytest.approx((130 / 129 - 1) / features(12).sigma)
    assert got["log_time_left"] == 0


def test_one_minute_bars_and_five_minute_bars_of_the_same_prices_say_the_same() -> None:
    five = five_minutes()
    t = np.repeat(five.t, 5) + np.tile(60_000 * np.arange(5), len(five))
    steps = np.tile(np.array([0.7, 0.2, 0.9, 0.4, 1.0]), len(five))
    o, c = np.repeat(five.o, 5), np.repeat(five.o, 5) + np.repeat(five.c - five.o, 5) * steps
    minute = Bars(t, t + 60_000, o, np.maximum(o, c), np.minimum(o, c), c, np.ones(len(t)))
    one, other = (named(features(13, bars)) for bars in (five, minute))
    assert [one[name] for name in VARIANCES] == pytest.approx([other[name] for name in VARIANCES], rel=1e-12)


def test_a_hole_is_one_move_and_no_invented_bar() -> None:
    got = named(features(12, without(five_minutes(), "10:30", "10:45")))
    closes = 130 + 0.1 * np.arange(31)
    moves = np.diff(np.log(np.delete(closes, [13, 14, 15])))
    assert got["log_variance_so_far"] == pytest.approx(math.log((moves**2).sum()))


def test_what_comes_after_the_hour_changes_nothing() -> None:
    whole = five_minutes()
    past = whole.until(new_york(f"{DAY} 12:00"))
    after = whole.since(new_york(f"{DAY} 12:00"))
    wild = Bars(after.t, after.end, after.o * 3, after.h * 3, after.l * 3, after.c * 3, after.v)
    stormy = Bars(
        *(np.concatenate([getattr(past, n), getattr(wild, n)]) for n in ("t", "end", "o", "h", "l", "c", "v"))
    )
    calm, storm, cut = (features(12, bars).inputs for bars in (whole, stormy, past))
    assert calm.tobytes() == storm.tobytes() == cut.tobytes()


def test_a_day_without_any_move_counts_as_the_least_variance_and_not_as_none() -> None:
    five = five_minutes(step=0.0)
    got = named(features(12, five))
    assert got["log_variance_so_far"] == pytest.approx(math.log(1e-9))


def test_garman_and_klass_give_an_ordinary_bar_its_variance() -> None:
    """A bar that closes where it opened, with a range of 2 %: half the squared log range."""
    t = np.array([to_ms(new_york("2024-06-12 00:00"))])
    bar = Bars(t, CALENDAR.day_ends(t), *(np.array([x]) for x in (100.0, 101.0, 99.0, 100.0, 1.0)))
    assert garman_klass(bar).tolist() == pytest.approx([0.5 * math.log(101 / 99) ** 2])


def test_less_time_is_left_on_days_that_close_early() -> None:
    short = CALENDAR.session(SHORT_DAY)
    assert short is not None
    assert log_time_left(short, new_york(f"{SHORT_DAY} 10:00")) == pytest.approx(math.log(3 / 6))
    assert log_time_left(short, new_york(f"{SHORT_DAY} 12:00")) == pytest.approx(math.log(1 / 4))
    assert log_time_left(session(), new_york(f"{DAY} 12:00")) == 0


def test_the_variances_need_no_more_days_than_the_other_features() -> None:
    days = daily_bars()[-MIN_DAYS:]
    found = v6_features(session(), 12, five_minutes(), days, 130.0, CALENDAR.days_before(DAY, MIN_DAYS))
    assert np.isfinite(found.inputs).all()
