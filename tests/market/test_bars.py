from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BrokenData
from app.market.bars import Bars, Span, are_among, from_ms, no_bars, repaired, to_ms, united
from tests.support import new_york, some_bars


def changed(bars: Bars, i: int, **values: float) -> dict[str, np.ndarray]:
    columns = {name: getattr(bars, name).copy() for name in ("t", "end", "o", "h", "l", "c", "v")}
    for name, value in values.items():
        columns[name][i] = value
    return columns


def test_a_bar_counts_from_the_moment_it_ends() -> None:
    bars = some_bars(3)
    end = from_ms(int(bars.end[1]))
    assert len(bars.until(end)) == 2
    assert len(bars.until(from_ms(int(bars.end[1]) - 1))) == 1


@pytest.mark.parametrize(
    "bars",
    [some_bars(), some_bars()[1:], some_bars().where(np.arange(5) != 2), united(some_bars(3), some_bars()[2:])],
    ids=["new", "a part", "some", "united"],
)
def test_columns_cannot_be_written(bars: Bars) -> None:
    with pytest.raises(ValueError, match="read-only"):
        bars.c[0] = 1.0


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(-2, 32)))
def test_which_moments_are_among_others(known: set[int], moments: list[int]) -> None:
    found = are_among(np.array(moments, dtype=np.int64), np.array(sorted(known), dtype=np.int64))
    assert found.tolist() == [moment in known for moment in moments]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"h": 1.0}, "does not enclose"),
        ({"l": 1000.0}, "does not enclose"),
        ({"c": float("nan")}, "not a positive number"),
        ({"o": -1.0}, "not a positive number"),
        ({"o": 0.0}, "not a positive number"),
        ({"l": -1.0}, "not a positive number"),
        ({"h": float("inf")}, "not a positive number"),
        *(({name: float("nan")}, "not a positive number") for name in ("o", "h", "l")),
        ({"c": float("inf")}, "not a positive number"),
        ({"v": -1.0}, "volume"),
        ({"v": float("nan")}, "volume"),
        ({"v": float("inf")}, "volume"),
        ({"t": 0}, "time missing"),
        ({"t": 1_700_000_000_000}, "not later than"),
        ({"end": 0}, "not before its end"),
    ],
)
def test_the_constructor_refuses_and_names_the_bad_bar(values: dict[str, float], words: str) -> None:
    with pytest.raises(BrokenData, match=f"bar 2 .*{words}"):
        Bars(**changed(some_bars(), 2, **values))


def test_columns_of_different_length_are_refused() -> None:
    x = some_bars(3)
    with pytest.raises(BrokenData, match="differ in length"):
        Bars(x.t, x.end, x.o, x.h, x.l, x.c, x.v[:2])


def test_repair_sorts_drops_and_counts() -> None:
    bars = some_bars(6)
    columns = changed(bars, 3, c=float("nan"))
    order = np.array([5, 0, 2, 1, 3, 4, 0])
    columns = {name: column[order] for name, column in columns.items()}
    columns["v"][-1] = 77.0
    good, rejected, widened = repaired(columns["t"], columns, lambda t: t + Span.MINUTE.ms)
    assert widened == 0
    assert good.t.tolist() == [bars.t[i] for i in (0, 1, 2, 4, 5)]
    assert good.v[0] == 77.0, "of two rows of the same time the later delivered one is kept"
    assert rejected == {"price not a positive number": 1, "same time as a later row": 1}


def test_a_low_or_high_that_misses_by_a_rounding_is_widened_and_counted_apart() -> None:
    bars = some_bars(6)
    columns = changed(bars, 1, h=np.nextafter(max(bars.o[1], bars.c[1]), 0))
    columns = {**columns, "l": columns["l"].copy(), "h": columns["h"].copy()}
    columns["l"][2] = np.float32(min(bars.o[2], bars.c[2])) * (1 + 5e-7)
    columns["h"][3] = max(bars.o[3], bars.c[3]) - 0.01
    good, rejected, widened = repaired(columns["t"], columns, lambda t: t + Span.MINUTE.ms)
    assert good.t.tolist() == [bars.t[i] for i in (0, 1, 2, 4, 5)]
    assert (good.h[1], good.l[2]) == (max(bars.o[1], bars.c[1]), min(bars.o[2], bars.c[2]))
    assert rejected == {"low or high does not enclose open and close": 1}, "a tick is no rounding"
    assert widened == 2


def test_resample_leaves_no_bar_for_an_empty_window() -> None:
    bars = some_bars(10)
    t0 = int(bars.t[0])
    edges = np.array([t0, t0 + 3 * 60_000, t0 + 10 * 60_000, t0 + 20 * 60_000])
    found = bars.resample(edges)
    assert found.t.tolist() == edges[:2].tolist()
    assert found.o.tolist() == [bars.o[0], bars.o[3]]
    assert found.c.tolist() == [bars.c[2], bars.c[9]]
    assert found.h.tolist() == [bars.h[:3].max(), bars.h[3:].max()]
    assert found.v.tolist() == [30.0, 70.0]


def test_resample_of_nothing_is_nothing() -> None:
    assert len(no_bars().resample(np.array([0, 60_000]))) == 0


def test_five_minutes_are_the_same_from_minutes_as_from_their_own_resample() -> None:
    bars = some_bars(60)
    t0 = int(bars.t[0])
    halves = np.array([t0, t0 + 30 * 60_000, t0 + 60 * 60_000])
    fives = bars.resample(t0 + 300_000 * np.arange(13))
    assert fives.resample(halves).equals(bars.resample(halves))


@given(st.datetimes(min_value=new_york("1993-01-01 00:00").replace(tzinfo=None)))
def test_milliseconds_come_back(moment: object) -> None:
    at = moment.replace(tzinfo=new_york("2025-01-01 00:00").tzinfo)  # type: ignore[attr-defined]
    ms = to_ms(at)
    assert 0 <= (at - from_ms(ms)).total_seconds() < 0.001


def test_two_series_join_and_the_later_ones_word_holds_where_they_overlap() -> None:
    before, after = some_bars(5), some_bars(4, start_ms=1_700_000_000_000 + 3 * 60_000, price=200.0)
    whole = united(before, after)
    assert whole.t.tolist() == some_bars(7).t.tolist()
    assert whole[:3].equals(before[:3])
    assert whole[3:].equals(after)
    assert united(before, no_bars()).equals(before)
    assert united(no_bars(), after).equals(after)
