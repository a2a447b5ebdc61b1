"""Checks whether bars can be what their file's name says: times against the calendar, spacing against the span. Pure.

Rows that cannot be right are named one by one. What is wrong with a whole file raises BrokenData, which says what was found and
what was expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import NamedTuple

import numpy as np

from app.errors import BrokenData
from app.market.bars import EPOCH, Bools, Floats, Ints, from_ms, to_ms
from app.market.calendar import NY, Calendar, midnight_ms, ny
from app.market.importing.names import in_words, span_ms
from app.market.importing.times import DAY_MS, END_MS, FIRST_MS

FIVE_HOURS_MS = 18_000_000
TRADING = (4 * 3_600_000, 20 * 3_600_000)
"""Trading around a session lies between 04:00 and 20:00 New York (polygon.md 3.1)."""

HALF_HOUR_MS = 1_800_000
FEW_ROWS = 3
REJECTED_SHARE = 0.1
FEW_GAPS = 4
"""From so many gaps of a day on, bars that all lie on a coarser grid are bars of a coarser span."""

FEW_DAYS = 2
LOUDER = 2.0
LULL = 0.95


OUTSIDE_HOURS = "outside 04:00 to 20:00 New York"


class OtherZone(BrokenData):
    """The times of a file are those of another time zone than the one in which it was read."""


class Days(NamedTuple):
    """The New York day of each row: index into `midnight`, `open`, `close` (ms; 0 where the calendar does not trade)."""

    row: Ints
    midnight: Ints
    open: Ints
    close: Ints


def days_of(t: Ints, calendar: Calendar) -> Days:
    """Returns the days on which rows lie. Five hours back, every bar from 04:00 to 20:00 lies on its New York date in UTC."""
    numbers, row = np.unique((t - FIVE_HOURS_MS) // DAY_MS, return_inverse=True)
    days = np.array([_day(int(number), calendar) for number in numbers], dtype=np.int64).reshape(-1, 3)
    return Days(row, days[:, 0], days[:, 1], days[:, 2])


def _day(number: int, calendar: Calendar) -> tuple[int, int, int]:
    day = EPOCH.date() + timedelta(days=number)
    session = calendar.session(day)
    return (midnight_ms(day), to_ms(session.open), to_ms(session.close)) if session else (midnight_ms(day), 0, 0)


def row_faults(t: Ints, span: str, calendar: Calendar) -> dict[str, Bools]:
    """Returns by reason the rows whose start no bar of this span can have. Daily starts are midnights already
    (`day_starts`)."""
    sane = (t >= FIRST_MS) & (t < END_MS)
    days = days_of(np.where(sane, t, FIRST_MS), calendar)
    midnight, opening = days.midnight[days.row], days.open[days.row]
    faults = {"time missing, or outside 1973 to 2096": ~sane}
    if span.startswith("1day"):
        return {
            **faults,
            "not at the start of a New York day": sane & ~_is_midnight(t),
            "not a trading day": sane & _is_midnight(t) & ~_trades(t, calendar),
        }
    length, into_day = span_ms(span), t - midnight
    off_grid = (into_day % length != 0) & ((t - opening) % length != 0)
    return {
        **faults,
        "not a trading day": sane & (opening == 0),
        OUTSIDE_HOURS: sane & ((into_day < TRADING[0]) | (into_day >= TRADING[1])),
        f"start not on the grid of {span} bars": sane & off_grid,
    }


def day_starts(t: Ints, calendar: Calendar) -> tuple[Ints, Counter[str]]:
    """Returns daily starts moved to midnight New York, and how many were stamped differently. A day may be stamped at midnight
    New York or UTC, or at its session's open or close; other times stay as they are, for `row_faults` to name."""
    moved, stamped = t.copy(), Counter[str]()
    for i in np.flatnonzero((t >= FIRST_MS) & (t < END_MS) & ~_is_midnight(t)):
        day, how = _stamp(int(t[i]), calendar)
        if how:
            moved[i] = midnight_ms(day)
            stamped[how] += 1
    return moved, stamped


def _stamp(ms: int, calendar: Calendar) -> tuple[date, str]:
    moment = from_ms(ms).astimezone(NY)
    session = calendar.session(moment.date())
    if ms % DAY_MS == 0:
        return from_ms(ms).date(), "00:00 UTC"
    if session is not None and moment in (session.open, session.close):
        return moment.date(), f"{moment:%H:%M} New York"
    return moment.date(), ""


def _is_midnight(t: Ints) -> Bools:
    """Whether moments are 00:00 New York: 04:00 or 05:00 UTC, as the season has it."""
    into = t % DAY_MS
    maybe = (into == 4 * 3_600_000) | (into == 5 * 3_600_000)
    is_midnight = np.zeros(len(t), dtype=bool)
    for i in np.flatnonzero(maybe & (t >= 0) & (t < END_MS)):
        is_midnight[i] = from_ms(int(t[i])).astimezone(NY).time() == time(0)
    return is_midnight


def _trades(t: Ints, calendar: Calendar) -> Bools:
    """Whether midnights are those of trading days."""
    days = (from_ms(int(ms) + 12 * 3_600_000).date() if 0 <= ms < END_MS else None for ms in t)
    return np.array([day is not None and calendar.session(day) is not None for day in days], dtype=bool)


def refuse_too_many_rejected(rejected: Counter[str], rows: int, gaps: Counter[int], span: str) -> None:
    """Raises BrokenData for a file that loses more than a tenth of its rows: it is not what its name says. Raises OtherZone if
    most of the lost rows lie outside trading hours."""
    if rejected.total() <= max(min(FEW_ROWS, rows / 2), REJECTED_SHARE * rows):
        return
    why = "; ".join(f"{count} x {reason}" for reason, count in sorted(rejected.items()))
    seen = f"; rows are mostly {in_words(gaps.most_common(1)[0][0])} apart, expected {span}" if gaps else ""
    what = f"{rejected.total()} of {rows} rows rejected" if rejected.total() < rows else f"no usable bar in {rows} rows"
    kind = OtherZone if 2 * rejected[OUTSIDE_HOURS] > rejected.total() else BrokenData
    raise kind(f"{what} ({why}){seen}")


def coarser_days(t: Ints, span: str, calendar: Calendar) -> Bools:
    """Returns which bars (ascending) are of days whose spacing is that of a coarser span. Raises BrokenData if that is the
    spacing of the whole file."""
    return _daily_spacing(t, calendar) if span.startswith("1day") else _intraday_spacing(t, span)


def _daily_spacing(t: Ints, calendar: Calendar) -> Bools:
    """Refuses bars of weeks and months: of daily bars, most neighbours are one trading day apart."""
    apart = Counter(
        len(calendar.trading_days(from_ms(a + DAY_MS // 2).date(), from_ms(b + DAY_MS // 2).date())) - 1
        for a, b in zip(t[:-1].tolist()[-400:], t[1:].tolist()[-400:], strict=True)
    )
    if apart and apart.most_common(1)[0][0] != 1:
        raise BrokenData(f"bars are mostly {apart.most_common(1)[0][0]} trading days apart, expected 1 (span 1day)")
    return np.zeros(len(t), dtype=bool)


def _intraday_spacing(t: Ints, span: str) -> Bools:
    length = span_ms(span)
    day = (t - FIVE_HOURS_MS) // DAY_MS
    first = np.flatnonzero(np.diff(day, prepend=day[:1] - 1))
    gaps = np.diff(t)[np.diff(day) == 0]
    seen = Counter(gaps.tolist()).most_common(1)
    if not seen:
        raise BrokenData(f"no day has two bars, expected bars {in_words(length)} apart (span {span})")
    if seen[0][0] != length:
        raise BrokenData(f"bars are mostly {in_words(seen[0][0])} apart, expected {in_words(length)} (span {span})")
    coarse = np.zeros(len(t), dtype=bool)
    for a, b in zip(first, np.append(first[1:], len(t)), strict=True):
        if b - a > FEW_GAPS and np.gcd.reduce(np.diff(t[a:b])) > length:
            coarse[a:b] = True
    return coarse


@dataclass(frozen=True, slots=True)
class AroundOpen:
    """What one session holds, of bars of one span: volume of the bar that holds 09:30 and of the bars before and after it, NaN
    where there is none; volume of the half hours before and after 09:30; whether the session's end has a bar."""

    before: float
    at: float
    after: float
    half_before: float
    half_after: float
    has_last: bool


def refuse_wrong_times(days: Sequence[AroundOpen], span: str) -> None:
    """Refuses bars that are stamped at their end (BrokenData), or whose zone is another one (OtherZone)."""
    half = len(days) / 2
    late = [day for day in days if np.isnan(day.at)]
    if len(late) > half:
        if sum(not np.isnan(day.after) for day in late) > len(late) / 2:
            raise BrokenData(_stamped_at_end(span))
        raise OtherZone("most days have no bar at 09:30 New York, expected one: the time zone is another one")
    if _later_is_louder(days):
        raise BrokenData(_stamped_at_end(span))
    if len(days) >= FEW_DAYS and sum(not day.has_last for day in days) > half:
        raise OtherZone("most days have no bar at the session's end, expected one: the time zone is another one")
    _refuse_quiet_open(days)


def _stamped_at_end(span: str) -> str:
    return (
        f"bars are stamped at their end: sessions begin at {_hhmm(span_ms(span))}, expected 09:30. Bring the file in with "
        "--stamped end if that is so"
    )


def _later_is_louder(days: Sequence[AroundOpen]) -> bool:
    """Whether trading jumps one bar after 09:30 rather than at it: files with extended hours, stamped at the end."""
    rows: Floats = np.array([(d.before, d.at, d.after) for d in days], dtype=np.float64)
    rows = rows[~np.isnan(rows).any(axis=1)]
    before, at, after = rows.sum(axis=0)
    return bool(len(rows) and after > LOUDER * at and after * before > at * at)


def _refuse_quiet_open(days: Sequence[AroundOpen]) -> None:
    rows: Floats = np.array([(d.half_before, d.half_after) for d in days], dtype=np.float64)
    rows = rows[~np.isnan(rows).any(axis=1)]
    before, after = rows.sum(axis=0)
    if len(rows) > len(days) / 2 and after < LULL * before:
        raise OtherZone(
            f"volume falls at 09:30 New York ({before:.0f} in the half hour before, {after:.0f} after), expected a rise: "
            "the time zone is another one"
        )


def _hhmm(ms: int) -> str:
    return (ny(date(2024, 1, 2), time(9, 30)) + timedelta(milliseconds=ms)).strftime("%H:%M")
