"""Bars: frozen columns of one price series, and the only way to look at them: `until(at)`.

A bar counts once it has ended. Pure: no clock, no files, no network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from app.errors import BrokenData

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
PRICES = ("o", "h", "l", "c")
COLUMNS = ("t", "end", "o", "h", "l", "c", "v")
ROUNDING = 1e-6
"""By what share of the price a low or high may miss open or close and still be taken for rounded: more than single precision
and adjustment factors cost, and less than a cent of any price below 10,000 USD, so that a bar wrong by a tick is refused."""


class Span(StrEnum):
    """How long one bar lasts; the values are the spans of imported file names (ruling M5)."""

    MINUTE = "1min"
    FIVE_MINUTES = "5min"
    HALF_HOUR = "30min"
    HOUR = "1hour"
    DAY = "1day"

    @property
    def ms(self) -> int:
        """Length in milliseconds; of a day, the calendar day's (a session's end comes from the calendar)."""
        return _SPAN_MS[self]


_SPAN_MS = {
    Span.MINUTE: 60_000,
    Span.FIVE_MINUTES: 300_000,
    Span.HALF_HOUR: 1_800_000,
    Span.HOUR: 3_600_000,
    Span.DAY: 86_400_000,
}


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch, rounded down, of an aware moment."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """The UTC moment of `ms` milliseconds since the epoch, exactly."""
    return EPOCH + timedelta(milliseconds=int(ms))


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """One series, ascending in time. All columns have the same length n (0 is allowed).

    t    int64    start of the bar, ms since the epoch, strictly ascending
    end  int64    first moment after the bar, ms; a daily bar ends at its session's close
    o h l c       float64, USD, > 0, l <= o, c <= h
    v    float64  shares, >= 0 (may be fractional)

    Raises BrokenData naming the first bad bar. The arrays are read-only.
    """

    t: Ints
    end: Ints
    o: Floats
    h: Floats
    l: Floats  # noqa: E741 - the field's own name
    c: Floats
    v: Floats

    def __post_init__(self) -> None:
        for name in COLUMNS:
            dtype = np.int64 if name in ("t", "end") else np.float64
            column = np.array(getattr(self, name), dtype=dtype)
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        _refuse_broken(self)

    def __len__(self) -> int:
        return len(self.t)

    def until(self, at: datetime) -> Bars:
        """The bars that had ended at `at`: end <= at."""
        return self[: int(np.searchsorted(self.end, to_ms(at), side="right"))]

    def since(self, at: datetime) -> Bars:
        """The bars that start at or after `at`."""
        return self[int(np.searchsorted(self.t, to_ms(at), side="left")) :]

    def where(self, kept: Bools) -> Bars:
        """The bars for which `kept` holds."""
        return _sound({name: getattr(self, name)[kept] for name in COLUMNS})

    def has(self, starts: Ints) -> Bools:
        """For each of these moments, ms, whether a bar starts then."""
        return are_among(starts, self.t)

    def __getitem__(self, part: slice) -> Bars:
        return _sound({name: getattr(self, name)[part] for name in COLUMNS})

    def resample(self, edges: Ints) -> Bars:
        """One bar per window [edges[i], edges[i+1]) that holds at least one bar starting in it.

        edges: ascending ms, length k+1 for k windows. Bars outside all windows are left out; empty windows give no bar.
        """
        first = np.searchsorted(self.t, edges, side="left")
        full = np.flatnonzero(first[1:] > first[:-1])
        lo, hi = first[full], first[full + 1]
        inside = self[: int(hi[-1])] if len(full) else self[:0]
        return Bars(
            t=edges[full],
            end=edges[full + 1],
            o=inside.o[lo],
            h=_by_window(np.maximum, inside.h, lo),
            l=_by_window(np.minimum, inside.l, lo),
            c=inside.c[hi - 1],
            v=_by_window(np.add, inside.v, lo),
        )

    def equals(self, other: Bars) -> bool:
        """Same bars, bit for bit."""
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in COLUMNS)


def _by_window(how: np.ufunc, column: Floats, starts: Ints) -> Floats:
    """Reduce `column` over the adjacent windows that begin at `starts`; the last one runs to the end."""
    return how.reduceat(column, starts) if len(starts) else column[:0]


def united(before: Bars, after: Bars) -> Bars:
    """All bars of two series; of equal starts, those of `after`."""
    kept = before.where(~after.has(before.t))
    order = np.argsort(np.concatenate([kept.t, after.t]), kind="stable")
    return _sound({name: np.concatenate([getattr(kept, name), getattr(after, name)])[order] for name in COLUMNS})


def _sound(columns: Mapping[str, npt.NDArray[Any]]) -> Bars:
    """Bars whose rows are those of other Bars, in ascending order: nothing is left to be refused."""
    bars = object.__new__(Bars)
    for name, column in columns.items():
        column.flags.writeable = False
        object.__setattr__(bars, name, column)
    return bars


def are_among(moments: Ints, ascending: Ints) -> Bools:
    """For each of the moments, whether it is one of the ascending ones."""
    if not len(ascending):
        return np.zeros(len(moments), dtype=np.bool_)
    return np.asarray(ascending.take(np.searchsorted(ascending, moments), mode="clip") == moments)


def no_bars() -> Bars:
    """A series without bars."""
    times, values = np.empty(0, dtype=np.int64), np.empty(0)
    return Bars(times, times, values, values, values, values, values)


def _refuse_broken(bars: Bars) -> None:
    if len({len(getattr(bars, name)) for name in COLUMNS}) != 1:
        raise BrokenData("bar columns differ in length")
    if _are_sound(bars):
        return
    for i, why in _faults(bars):
        raise BrokenData(f"bar {i} ({describe_moment(bars.t, i)}): {why}")


def _are_sound(bars: Bars) -> bool:
    """Whether no bar is broken: what `_faults` looks for, in fewer steps. NaN fails every comparison; as a low that is positive
    and a high that is finite enclose open and close, these are positive numbers too."""
    with np.errstate(invalid="ignore"):
        is_sound = (
            (bars.t > 0) & (bars.end > bars.t) & (bars.l > 0) & (bars.h < np.inf) & (bars.v >= 0) & (bars.v < np.inf)
        )
        for inner in (bars.o, bars.c):
            is_sound &= (bars.l <= inner) & (bars.h >= inner)
    return bool(is_sound.all() and (bars.t[1:] > bars.t[:-1]).all())


def describe_moment(t: Ints, i: int) -> str:
    """The start of bar i as text, for messages."""
    try:
        return from_ms(int(t[i])).isoformat()
    except OverflowError:
        return f"t={t[i]}"


def _faults(bars: Bars) -> Sequence[tuple[int, str]]:
    """The first bad bar and why, or nothing."""
    tests = _row_faults(bars.t, bars.end, _columns(bars))
    tests["not later than the bar before it"] = np.diff(bars.t, prepend=bars.t[:1] - 1) <= 0
    return [(int(np.argmax(bad)), why) for why, bad in tests.items() if bad.any()][:1]


def _columns(bars: Bars) -> dict[str, Floats]:
    return {name: getattr(bars, name) for name in (*PRICES, "v")}


def _row_faults(t: Ints, end: Ints, x: Mapping[str, Floats]) -> dict[str, Bools]:
    """Per reason, which rows are broken on their own (order and duplicates aside). NaN fails every comparison."""
    prices = np.stack([x[name] for name in PRICES])
    with np.errstate(invalid="ignore"):
        return {
            "time missing or not before its end": np.logical_or(t <= 0, end <= t),
            "price not a positive number": np.asarray(~(np.isfinite(prices) & (prices > 0)).all(axis=0)),
            "volume not a number >= 0": ~(np.isfinite(x["v"]) & (x["v"] >= 0)),
            "low or high does not enclose open and close": ~(
                (x["l"] <= np.minimum(x["o"], x["c"])) & (x["h"] >= np.maximum(x["o"], x["c"]))
            ),
        }


class Repaired(NamedTuple):
    """Bars out of delivered rows. rejected: how many rows were dropped, by reason; widened: how many were kept with a low or
    high that was widened by a rounding."""

    bars: Bars
    rejected: Counter[str]
    widened: int


def repaired(t: Ints, x: Mapping[str, Floats], end_of: Callable[[Ints], Ints]) -> Repaired:
    """Bars out of delivered rows: sorted, broken rows dropped, of equal times the last delivered kept (ruling M5). A low or
    high that misses open or close by no more than ROUNDING is widened to it.

    t: starts, ms; x: columns o h l c v; end_of: starts -> ends.
    """
    x, widened = _widened(x)
    rejected: Counter[str] = Counter()
    end = end_of(t)
    good = np.ones(len(t), dtype=bool)
    for why, bad in _row_faults(t, end, x).items():
        rejected[why] += int((bad & good).sum())
        good &= ~bad
    rows = np.flatnonzero(good)
    rows = rows[np.argsort(t[rows], kind="stable")]
    last = np.append(np.diff(t[rows]) > 0, True)[: len(rows)]
    rejected["same time as a later row"] += int((~last).sum())
    rows = rows[last]
    bars = Bars(t=t[rows], end=end[rows], **{name: x[name][rows] for name in (*PRICES, "v")})
    return Repaired(bars, +rejected, int(widened[rows].sum()))


def _widened(x: Mapping[str, Floats]) -> tuple[Mapping[str, Floats], Bools]:
    """The columns with each low and high that misses open or close by a rounding alone set to it, and which rows these are."""
    low, high = np.minimum(x["o"], x["c"]), np.maximum(x["o"], x["c"])
    with np.errstate(invalid="ignore"):
        near_low = (x["l"] > low) & (x["l"] <= low * (1 + ROUNDING))
        near_high = (x["h"] < high) & (x["h"] >= high * (1 - ROUNDING))
    columns = {**x, "l": np.where(near_low, low, x["l"]), "h": np.where(near_high, high, x["h"])}
    return columns, near_low | near_high
