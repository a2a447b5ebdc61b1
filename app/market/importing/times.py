"""Reads moments out of what files write: numbers since the epoch in any unit, ISO texts, dates, US and dotted dates.

A number's unit follows from its size. A text without a zone is wall time of the zone that the caller names. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from app.errors import BrokenData
from app.market.bars import EPOCH, Floats, Ints

FIRST_MS, END_MS = 100_000_000_000, 4_000_000_000_000
"""1973-03-03 and 2096-10-02. What lies outside is no moment of a recorded bar, whatever its unit."""

UNITS = (
    ("seconds", 1e8, 1e11, 1e3),
    ("milliseconds", 1e11, 1e14, 1.0),
    ("microseconds", 1e14, 1e17, 1e-3),
    ("nanoseconds", 1e17, 1e20, 1e-6),
)
"""Name, from and to which size a number is of that unit (each covers 1973 to 5138), and its length in ms."""

NAIVE_EPOCH = datetime(1970, 1, 1)
DAY_MS = 86_400_000
MS = timedelta(milliseconds=1)
MIDDAY = time(12)
DAY_NUMBERS = (19_000_101, 21_001_231)
SLASHED = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?: ?([AaPp][Mm]))?)?"
)
YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?")
DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?")
ZONED = re.compile(r"(.+\d) ?(UTC|GMT|[A-Za-z]+/[A-Za-z_]+)")
MONTH_FIRST, DAY_FIRST = "MONTH/DAY/YEAR", "DAY/MONTH/YEAR"
NO_MOMENT = 0


class Times:
    """Reads the time column of one file, batch by batch. `kinds` says what was recognised; more than one kind is refused.
    `unread` is the first text in which no time was found.

    zone: of texts without one; zone_in_words: its name in messages. Raises BrokenData where a kind cannot be told or kinds are
    mixed.
    """

    def __init__(self, zone: ZoneInfo, *, zone_in_words: str) -> None:
        self._zone = zone
        self._zone_in_words = zone_in_words
        self._slashed: str | None = None
        self.kinds: set[str] = set()
        self.unread = ""

    def read(self, values: Sequence[str]) -> Ints:
        """Returns the moments, ms since the epoch, of texts; 0 where there is none."""
        texts = [text.strip() for text in values]
        other = [text for text in texts if text and not _is_number(text)]
        if len(other) < len(texts) and not any(map(self._moment, other)):
            self._remember_unread(other)
            return self.numbers(np.array([float(text) if _is_number(text) else np.nan for text in texts]))
        moments = [self._moment(text) for text in texts]
        self._remember_unread(text for text, moment in zip(texts, moments, strict=True) if text and moment is None)
        return self._settled(moments)

    def _remember_unread(self, texts: Iterable[str]) -> None:
        self.unread = self.unread or next(iter(texts), "")

    def numbers(self, values: Floats) -> Ints:
        """Returns the moments of numbers: days written as 20240612, or seconds to nanoseconds since the epoch."""
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        known = values[values != 0.0]
        if len(known) and ((known >= DAY_NUMBERS[0]) & (known <= DAY_NUMBERS[1])).all():
            return self._settled([_day_of_number(int(value)) for value in values])
        ms = np.zeros(len(values), dtype=np.int64)
        for name, first, end, length in UNITS:
            of_unit = (values >= first) & (values < end)
            if of_unit.any():
                self._recognise(f"{name} since the epoch (UTC)")
                ms[of_unit] = np.rint(values[of_unit] * length).astype(np.int64)
        return ms

    def stamps(self, local_ms: Ints, *, zoned: bool) -> Ints:
        """Returns the moments of typed timestamps: UTC if the column names a zone, wall time if it does not."""
        if zoned:
            self._recognise("timestamps with a time zone")
            return local_ms
        self._recognise(f"times without a zone, read as {self._zone_in_words}")
        return wall_to_utc(local_ms, self._zone)

    def _settled(self, moments: list[datetime | None]) -> Ints:
        known = [moment for moment in moments if moment is not None]
        zoned = {moment.tzinfo is not None for moment in known}
        if len(zoned) > 1:
            raise BrokenData("some times name a zone and others do not")
        if not known:
            return np.zeros(len(moments), dtype=np.int64)
        if zoned == {True}:
            self._recognise("times with a zone or offset")
            return np.array([NO_MOMENT if m is None else (m - EPOCH) // MS for m in moments], dtype=np.int64)
        local = np.array([NO_MOMENT if m is None else (m - NAIVE_EPOCH) // MS for m in moments], dtype=np.int64)
        whole = not (local % DAY_MS).any()
        self._recognise(f"{'dates' if whole else 'times'} without a zone, read as {self._zone_in_words}")
        return np.where(local == NO_MOMENT, NO_MOMENT, wall_to_utc(local, self._zone))

    def _recognise(self, kind: str) -> None:
        self.kinds.add(kind)
        if len(self.kinds) > 1:
            raise BrokenData(f"the times are of several kinds: {'; '.join(sorted(self.kinds))}")

    def _moment(self, text: str) -> datetime | None:
        if match := SLASHED.fullmatch(text):
            return self._slashed_moment(match)
        if match := DOTTED.fullmatch(text):
            day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
            return _moment_or_none(year, month, day, hour, minute, second)
        if match := YEAR_FIRST.fullmatch(text):
            return _moment_or_none(*(int(part or 0) for part in match.groups()))
        if match := ZONED.fullmatch(text):
            return _in_zone(match[1], match[2])
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None

    def _slashed_moment(self, match: re.Match[str]) -> datetime | None:
        first, second, year, hour, minute, seconds = (int(part or 0) for part in match.groups()[:6])
        if self._slashed is None:
            raise BrokenData(f"{match[0]!r}: cannot tell the month from the day; write dates as YYYY-MM-DD")
        month, day = (first, second) if self._slashed == MONTH_FIRST else (second, first)
        half = (match[7] or "").lower()
        if half and not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
        return _moment_or_none(year, month, day, hour, minute, seconds)

    def look_at(self, values: Iterable[str]) -> None:
        """Finds out from the first batch whether the month or the day comes first in dates with slashes."""
        pairs = [(int(m[1]), int(m[2])) for m in map(SLASHED.fullmatch, values) if m]
        month_first, day_first = any(b > 12 for _, b in pairs), any(a > 12 for a, _ in pairs)
        if month_first != day_first:
            self._slashed = MONTH_FIRST if month_first else DAY_FIRST


def wall_to_utc(local_ms: Ints, zone: ZoneInfo) -> Ints:
    """Returns the UTC moments of wall times (ms since 1970-01-01 00:00 of the wall). The offset is that of the day's noon."""
    days, where = np.unique(local_ms // DAY_MS, return_inverse=True)
    offsets = np.array([_offset_ms(int(day), zone) for day in days], dtype=np.int64)
    return local_ms - offsets[where]


def _offset_ms(day_number: int, zone: ZoneInfo) -> int:
    try:
        noon = datetime.combine(date.fromordinal(NAIVE_EPOCH.toordinal() + day_number), MIDDAY, zone)
        offset = noon.utcoffset()
    except (OverflowError, ValueError):
        return 0
    return 0 if offset is None else offset // MS


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _day_of_number(number: int) -> datetime | None:
    return _moment_or_none(number // 10_000, number // 100 % 100, number % 100, 0, 0, 0)


def _moment_or_none(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def _in_zone(text: str, zone: str) -> datetime | None:
    try:
        wall = datetime.fromisoformat(text.strip())
        named = UTC if zone in ("UTC", "GMT") else ZoneInfo(zone)
    except (ValueError, KeyError, OSError):
        return None
    return wall.replace(tzinfo=named) if wall.tzinfo is None else None
