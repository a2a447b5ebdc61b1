"""What a view lets through: ended bars of the day, the regular session alone once it is old enough, today so far."""

from __future__ import annotations

from datetime import date, time, timedelta

import numpy as np
import pytest

from app.errors import BrokenData
from app.market.bars import no_bars
from app.market.calendar import midnight_ms, ny
from app.structure import view_at
from tests.structure.making import CALENDAR, DAY, HALF_DAY, after, days, joined, minutes, view

SESSION = CALENDAR.session(DAY)


def test_a_bar_is_seen_once_it_has_ended() -> None:
    bars = minutes([100.0 + i for i in range(40)])
    assert len(view(bars, at=after(bars)).minutes) == 40
    assert len(view(bars, at=after(bars) - timedelta(milliseconds=1)).minutes) == 39


@pytest.mark.parametrize(("regular", "seen"), [(29, 49), (30, 30), (31, 31)])
def test_from_thirty_regular_bars_on_they_stand_alone(regular: int, seen: int) -> None:
    early = minutes([99.0] * 20, start=time(9, 0))
    bars = joined(early, minutes([100.0] * regular))
    assert len(view(bars).minutes) == seen


def test_before_the_open_all_bars_of_the_day_count() -> None:
    bars = minutes([99.0] * 40, start=time(8, 0))
    seen = view(bars)
    assert len(seen.minutes) == 40
    assert seen.resolved


def test_after_the_close_the_regular_bars_stay_alone() -> None:
    bars = joined(minutes([100.0] * 390), minutes([101.0] * 30, start=time(16, 0)))
    assert view(bars).minutes.c[-1] == 100.0


def test_on_a_half_day_the_regular_session_ends_at_one() -> None:
    bars = minutes([100.0] * 240, day=HALF_DAY)
    assert len(view(bars).minutes) == 210


def test_bars_of_another_day_are_left_out() -> None:
    yesterday = minutes([90.0] * 60, day=DAY - timedelta(days=1))
    bars = joined(yesterday, minutes([100.0] * 5))
    assert len(view(bars).minutes) == 5


def test_on_a_day_without_a_session_there_is_no_regular_bar_and_no_today() -> None:
    saturday = DAY + timedelta(days=1)
    bars = minutes([100.0] * 40, day=saturday)
    seen = view_at(bars, days([100.0] * 3), None, after(bars), official_open=100.0)
    assert len(seen.minutes) == 40
    assert not seen.has_today


def test_today_is_the_official_open_and_the_range_so_far() -> None:
    bars = minutes([100.0, 101.0, 99.0], h=[100.5, 102.0, 101.0], low=[99.5, 100.0, 98.0], v=[1, 2, 3])
    today = view(bars, days([95.0] * 3), opened=100.25).days[-1:]
    assert (today.o[0], today.h[0], today.l[0], today.c[0], today.v[0]) == (100.25, 102.0, 98.0, 99.0, 6.0)
    assert today.t[0] == midnight_ms(DAY)
    assert today.end[0] == CALENDAR.day_ends(today.t)[0]


def test_an_official_open_outside_the_minutes_belongs_to_the_range() -> None:
    today = view(minutes([100.0] * 3), opened=103.0).days[-1:]
    assert (today.h[0], today.l[0]) == (103.0, 100.0)


def test_today_is_built_from_regular_minutes_alone() -> None:
    bars = joined(minutes([110.0] * 30, start=time(9, 0)), minutes([100.0] * 3))
    assert view(bars, opened=100.0).days.h[-1] == 100.0


def test_with_the_open_known_and_no_minute_ended_today_is_a_point() -> None:
    seen = view_at(no_bars(), no_bars(), SESSION, ny(DAY, time(9, 30, 30)), official_open=100.0)
    today = seen.days
    assert (today.o[0], today.h[0], today.l[0], today.c[0], today.v[0]) == (100.0, 100.0, 100.0, 100.0, 0.0)


def test_an_open_is_believed_from_the_first_moment_of_the_session() -> None:
    assert view_at(no_bars(), no_bars(), SESSION, ny(DAY, time(9, 30)), official_open=100.0).today_open == 100.0


def test_without_an_official_open_there_is_no_today() -> None:
    seen = view(minutes([100.0] * 40), days([95.0] * 3))
    assert not seen.has_today
    assert seen.today_open is None
    assert len(seen.days) == 3


def test_an_open_given_before_the_session_is_not_believed() -> None:
    bars = minutes([100.0] * 40, start=time(8, 0))
    assert not view(bars, days([95.0] * 3), opened=100.0).has_today


def test_a_delivered_bar_of_a_running_day_is_not_looked_at() -> None:
    daily = days([95.0, 96.0, 500.0], before=DAY + timedelta(days=1))
    seen = view(minutes([100.0] * 40), daily, opened=100.0)
    assert seen.days.c.tolist() == [95.0, 96.0, 100.0]
    assert seen.completed.c.tolist() == [95.0, 96.0]


def test_an_ended_day_is_taken_as_delivered() -> None:
    daily = days([95.0, 96.0, 101.0], before=DAY + timedelta(days=1))
    seen = view(minutes([100.0] * 390), daily, opened=100.0)
    assert seen.has_today
    assert seen.days.c.tolist() == seen.completed.c.tolist() == [95.0, 96.0, 101.0]


def test_the_daily_window_is_ninety_calendar_days() -> None:
    seen = view(minutes([100.0] * 40), days([95.0] * 100))
    assert seen.days.t[0] == midnight_ms(date(2025, 9, 8))  # the 90th day back is a Saturday


def test_the_first_day_of_the_window_is_inside_it() -> None:
    edge = DAY - timedelta(days=88)  # a Monday
    first = days([95.0], before=edge + timedelta(days=1))
    at = ny(edge + timedelta(days=90), time(12))
    assert len(view_at(no_bars(), first, None, at).days) == 1
    assert len(view_at(no_bars(), first, None, at + timedelta(days=1)).days) == 0


def test_a_session_of_another_day_is_refused() -> None:
    bars = minutes([100.0] * 3)
    with pytest.raises(ValueError, match="2025-11-28"):
        view_at(bars, no_bars(), CALENDAR.session(HALF_DAY), after(bars))


def test_a_naive_moment_is_refused() -> None:
    bars = minutes([100.0] * 3)
    with pytest.raises(TypeError):
        view_at(bars, no_bars(), SESSION, after(bars).replace(tzinfo=None))


@pytest.mark.parametrize("broken", [{"closes": [1e10]}, {"closes": [1e-7]}, {"closes": [1.0], "v": [1e19]}])
def test_prices_and_volumes_beyond_reason_are_broken_data(broken: dict[str, list[float]]) -> None:
    with pytest.raises(BrokenData, match="minute bars beyond all reason"):
        view(minutes(**broken))  # type: ignore[arg-type]
    with pytest.raises(BrokenData, match="daily bars beyond all reason"):
        view(minutes([1.0]), days(**broken))  # type: ignore[arg-type]


def test_an_open_that_is_no_price_is_broken_data() -> None:
    with pytest.raises(BrokenData):
        view(minutes([100.0] * 3), opened=float("nan"))


def test_a_view_does_not_copy_the_minutes() -> None:
    bars = minutes([100.0] * 40)
    assert np.shares_memory(view(bars).minutes.c, bars.c)
