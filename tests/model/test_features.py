"""The 29 features by hand, and the proof that they cannot look ahead (v6.md 4, rulings T3, T4)."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from flask import Flask

from app.errors import Unavailable
from app.market.bars import Bars, Span, to_ms
from app.market.calendar import Calendar, Session, day_of_ms, midnight_ms, ny_day
from app.market.recorded import RecordedBars
from app.model.features import FEATURES, INPUTS, MIN_DAYS, Features, decision_hours, decision_moment, v6_features
from tests.support import CALENDAR, FakeClock, new_york

DAY = date(2025, 3, 11)
HOUR_MS = 3_600_000


def session(day: date = DAY) -> Session:
    found = CALENDAR.session(day)
    assert found is not None
    return found


def daily_bars(n: int = 30, day: date = DAY) -> Bars:
    """n days before `day`, closing 1, 2, 3 ... above 100, every third one down."""
    days: list[date] = []
    while len(days) < n:
        day = CALENDAR.previous_trading_day(day)
        days.insert(0, day)
    t = np.array([midnight_ms(d) for d in days])
    c = 100.0 + np.arange(n)
    o = np.where(np.arange(n) % 3 == 2, c + 0.5, c - 0.5)
    return Bars(t, CALENDAR.day_ends(t), o, np.maximum(o, c) + 1, np.minimum(o, c) - 1, c, np.ones(n))


def five_minutes(day: date = DAY, start: float = 130.0, step: float = 0.1) -> Bars:
    """A whole session rising by `step` every five minutes."""
    s = session(day)
    n = (to_ms(s.close) - to_ms(s.open)) // 300_000
    t = to_ms(s.open) + 300_000 * np.arange(n)
    o = start + step * np.arange(n)
    c = o + step
    return Bars(t, t + 300_000, o, np.maximum(o, c), np.minimum(o, c), c, np.ones(n))


def features(hour: int = 12, bars: Bars | None = None, daily: Bars | None = None, o0: float = 130.0) -> Features:
    bars = five_minutes() if bars is None else bars
    daily = daily_bars() if daily is None else daily
    return v6_features(session(), hour, bars, daily, o0, CALENDAR.days_before(DAY, MIN_DAYS))


def named(found: Features) -> dict[str, float]:
    return dict(zip(INPUTS, found.inputs.tolist(), strict=True))


def without(bars: Bars, first: str, last: str) -> Bars:
    keep = (bars.t < to_ms(new_york(f"{DAY} {first}"))) | (bars.t >= to_ms(new_york(f"{DAY} {last}")))
    return Bars(*(getattr(bars, n)[keep] for n in ("t", "end", "o", "h", "l", "c", "v")))


def test_the_29_of_the_specification_come_first_in_the_agreed_order() -> None:
    assert len(FEATURES) == 37
    assert FEATURES[:4] == ("time_pct", "gap", "gap_size", "gap_direction")
    assert FEATURES[25:29] == ("current_vs_11am", "above_11am", "is_monday", "is_friday")


def test_each_feature_by_hand_at_noon() -> None:
    """Day before: o 129.5 (index 29: down day, o = c + 0.5), c 129; open 130; noon is 30 bars in: P 133."""
    got = named(features(12))
    c = 100.0 + np.arange(30)
    expected = {
        "time_pct": 150 / 390,
        "gap": 130 / 129 - 1,
        "gap_size": 130 / 129 - 1,
        "gap_direction": 1,
        "prev_return": 129 / 128 - 1,
        "prev_range": (130.5 - 128) / 129,
        "prev_body": (129 - 129.5) / 129.5,
        "prev_bullish": 0,
        "current_vs_open": 133 / 130 - 1,
        "current_vs_open_direction": 1,
        "position_in_range": 1,
        "range_so_far_pct": 3 / 130,
        "above_open": 1,
        "near_high": 1,
        "gap_filled": 0,
        "morning_reversal": 0,
        "last_hour_return": 133 / 131.8 - 1,
        "bullish_bar_ratio": 1,
        "first_hour_return": 130.6 / 130 - 1,
        "return_3d": 129 / 126 - 1,
        "return_5d": 129 / 124 - 1,
        "volatility_5d": float(np.std(c[-5:] / c[-6:-1] - 1)),
        "mean_reversion_signal": 0.5 / 129.5,
        "consecutive_up": 0,
        "consecutive_down": 1,
        "current_vs_11am": 133 / 131.8 - 1,
        "above_11am": 1,
        "is_monday": 0,
        "is_friday": 0,
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-12), name


def test_standardised_inputs_are_moves_in_units_of_sigma() -> None:
    found = features(12)
    x = daily_bars()[10:]
    sigma = float(np.std(np.log(x.c / x.o), ddof=1))
    got = named(found)
    assert found.sigma == pytest.approx(sigma)
    assert got["open_move_sigma"] == pytest.approx(np.log(133 / 130) / sigma)
    assert got["p11_move_sigma"] == pytest.approx(np.log(133 / 131.8) / sigma)
    assert got["gap_sigma"] == pytest.approx((130 / 129 - 1) / sigma)


def test_at_ten_there_is_one_bucket_and_no_eleven_oclock_price() -> None:
    found = features(10)
    got = named(found)
    assert found.price_11am is None
    assert (got["last_hour_return"], got["current_vs_11am"], got["above_11am"]) == (0, 0, 0)
    assert found.bars == 6


def test_at_eleven_the_price_is_the_eleven_oclock_price() -> None:
    found = features(11)
    assert found.price == found.price_11am == pytest.approx(131.8)
    assert named(found)["current_vs_11am"] == 0


def test_a_doji_breaks_a_streak() -> None:
    daily = daily_bars()
    o = daily.c - 0.5
    o[-3] = daily.c[-3]
    flat = Bars(daily.t, daily.end, o, np.maximum(o, daily.c) + 1, o - 1, daily.c, daily.v)
    got = named(features(daily=flat))
    assert (got["consecutive_up"], got["consecutive_down"]) == (2, 0)


def test_streaks_stop_at_five() -> None:
    daily = daily_bars()
    o = daily.c - 0.5
    got = named(features(daily=Bars(daily.t, daily.end, o, daily.c + 1, o - 1, daily.c, daily.v)))
    assert got["consecutive_up"] == 5


@pytest.mark.parametrize(("o0", "filled", "reversal"), [(128.0, 1, 1), (130.0, 0, 0), (129.0, 1, 0)])
def test_gap_filled_and_reversed(o0: float, filled: float, reversal: float) -> None:
    got = named(features(o0=o0))
    assert (got["gap_filled"], got["morning_reversal"]) == (filled, reversal)


def test_mondays_and_fridays() -> None:
    for day, expected in ((date(2025, 3, 10), (1, 0)), (date(2025, 3, 7), (0, 1))):
        found = v6_features(
            session(day), 10, five_minutes(day), daily_bars(day=day), 130.0, CALENDAR.days_before(day, MIN_DAYS)
        )
        assert (named(found)["is_monday"], named(found)["is_friday"]) == expected


def test_extended_hours_are_not_looked_at() -> None:
    bars, opened = five_minutes(), to_ms(session().open)
    pre = Bars(
        *(np.array([x]) for x in (opened - 300_000, opened, 1.0, 999.0, 1.0, 1.0, 1.0)),
    )
    both = Bars(*(np.concatenate([getattr(pre, n), getattr(bars, n)]) for n in ("t", "end", "o", "h", "l", "c", "v")))
    assert features(bars=both).values.tolist() == features().values.tolist()


@pytest.mark.parametrize(
    ("hour", "first", "last", "why"),
    [
        (12, "11:45", "12:00", "the last bar before the decision hour"),
        (12, "10:45", "11:00", "the last bar before 11:00"),
        (12, "09:30", "10:00", "the first half hour has no bars"),
        (10, "09:30", "10:00", "no regular-session bar has ended yet"),
    ],
)
def test_a_hole_where_it_matters_is_insufficient_data(hour: int, first: str, last: str, why: str) -> None:
    with pytest.raises(Unavailable, match=why) as caught:
        features(hour, bars=without(five_minutes(), first, last))
    assert caught.value.code == "INSUFFICIENT_DATA"


def test_a_price_exactly_ten_minutes_old_is_still_a_price() -> None:
    assert features(12, bars=without(five_minutes(), "11:50", "12:00")).price == pytest.approx(132.8)


def test_a_hole_elsewhere_is_only_a_hole() -> None:
    assert features(12, bars=without(five_minutes(), "10:10", "10:40")).bars == 24


@pytest.mark.parametrize(("days", "enough"), [(20, False), (21, True)])
def test_twenty_one_completed_days_are_needed(days: int, enough: bool) -> None:
    if enough:
        assert features(daily=daily_bars(days)).values.shape == (len(FEATURES),)
    else:
        with pytest.raises(Unavailable, match="20 completed daily bars are known; 21 are needed"):
            features(daily=daily_bars(days))


def test_yesterdays_daily_bar_must_be_yesterdays() -> None:
    daily = daily_bars()
    with pytest.raises(Unavailable, match="the daily bar of 2025-03-10 is missing"):
        features(daily=daily[: len(daily) - 1])


def test_a_hole_in_the_last_twenty_one_days_is_insufficient_data() -> None:
    daily = daily_bars(30)
    holed = Bars(*(np.delete(getattr(daily, n), 20) for n in ("t", "end", "o", "h", "l", "c", "v")))
    with pytest.raises(Unavailable, match="is missing") as caught:
        features(daily=holed)
    assert caught.value.code == "INSUFFICIENT_DATA"


def test_the_days_own_daily_bar_is_never_used() -> None:
    daily = daily_bars()
    t = midnight_ms(DAY)
    own = (t, to_ms(session().close), 130.0, 999.0, 1.0, 5.0, 1.0)
    more = Bars(
        *(np.append(getattr(daily, n), x) for n, x in zip(("t", "end", "o", "h", "l", "c", "v"), own, strict=True))
    )
    assert features(daily=more).values.tolist() == features().values.tolist()


def test_a_market_that_never_moves_has_no_sigma_and_no_signal() -> None:
    daily = daily_bars()
    flat = Bars(daily.t, daily.end, daily.c, daily.c, daily.c, daily.c, daily.v)
    with pytest.raises(Unavailable, match="features without a value") as caught:
        features(daily=flat)
    assert caught.value.code == "MODEL_UNAVAILABLE"


@pytest.fixture(scope="module")
def real_days(recorded_file: Path) -> list[date]:
    """The days with real bars of five minutes."""
    recorded = RecordedBars(recorded_file, Calendar())
    starts = recorded.all_bars("SPY", Span.FIVE_MINUTES).t
    recorded.close()
    return sorted({day_of_ms(ms) for ms in np.unique(starts // HOUR_MS * HOUR_MS).tolist()})


def triples(days: list[date], n: int) -> list[tuple[str, date, int]]:
    """n random (ticker, day, hour) with real bars."""
    dice = random.Random(5)
    found: list[tuple[str, date, int]] = []
    while len(found) < n:
        day = dice.choice(days)
        own = CALENDAR.session(day)
        if own is not None and day != date(2024, 12, 23):
            found.append((dice.choice(("SPY", "QQQ", "IWM")), day, dice.choice(decision_hours(own))))
    return found


def features_of(recorded: RecordedBars, triple: tuple[str, date, int]) -> Features:
    ticker, day, hour = triple
    own = CALENDAR.session(day)
    assert own is not None
    o0 = recorded.official_open(ticker, day)
    assert o0 is not None
    today = recorded.bars(ticker, Span.FIVE_MINUTES, midnight_ms(day), midnight_ms(day + timedelta(days=30)))
    days = recorded.bars(ticker, Span.DAY, midnight_ms(day - timedelta(days=90)), 2**62)
    return v6_features(own, hour, today[:1000], days, o0, CALENDAR.days_before(day, MIN_DAYS))


def forget_after(path: Path, at_ms: int, day: date) -> None:
    """Delete every bar that had not ended at `at_ms` and every open of later days, from the file itself."""
    lengths = {"5min": 300_000, "1day": 57_600_000}
    with sqlite3.connect(path) as db:
        for ticker, span in itertools.product(("SPY", "QQQ", "IWM"), lengths):
            ended = at_ms - lengths[span]
            db.execute("DELETE FROM bars WHERE ticker = ? AND span = ? AND t > ?", (ticker, span, ended))
        db.execute("DELETE FROM opens WHERE day > ?", (day.isoformat(),))


@pytest.mark.parametrize("n", [12, pytest.param(400, marks=pytest.mark.soak)])
def test_features_of_real_days_are_the_same_bit_for_bit_when_the_future_is_deleted(
    recorded: RecordedBars, recorded_dir: Path, real_days: list[date], n: int
) -> None:
    asked = sorted(triples(real_days, n), key=lambda triple: (triple[1], triple[2]), reverse=True)
    file = recorded_dir / "recorded.sqlite3"
    for ticker, day, hour in asked:
        own = session(day)
        forget_after(file, to_ms(decision_moment(own, hour)), day)
        cut = RecordedBars(file, Calendar())
        assert cut.bars(ticker, Span.FIVE_MINUTES, midnight_ms(day), 2**62).end[-1] <= to_ms(decision_moment(own, hour))
        a, b = features_of(recorded, (ticker, day, hour)), features_of(cut, (ticker, day, hour))
        cut.close()
        assert a.inputs.tobytes() == b.inputs.tobytes(), (ticker, day, hour)
        assert (a.price, a.price_11am, a.sha256) == (b.price, b.price_11am, b.sha256)


def test_training_and_serving_build_the_same_features(
    recorded: RecordedBars, serve_recorded: Callable[..., Flask], clock: FakeClock, real_days: list[date]
) -> None:
    """What the server locked, through client, cache and clock, is what training saw of that day."""
    app = serve_recorded()
    for ticker, day, hour in triples(real_days, 12):
        clock.at = decision_moment(session(day), hour)
        locked = app.extensions["predict-server"].pipeline.signal(ticker, clock()).decision
        assert locked is not None, (ticker, day, hour)
        assert locked.features_sha256 == features_of(recorded, (ticker, day, hour)).sha256
        assert locked.day == ny_day(clock())
