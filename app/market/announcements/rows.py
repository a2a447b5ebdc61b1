"""Reads the rows of announced holidays and early closes (polygon.md 2, call 10). A row that cannot be right is refused and
counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from app.market.calendar import CLOSE, NY, OPEN, Overrides, is_usable_override

EXCHANGES = frozenset({"NYSE", "NASDAQ"})
FARTHEST = timedelta(days=730)
REASONS = ("shape", "date", "past", "far", "weekend", "status", "hours")
"""Why a row is refused."""


class RefusedRow(ValueError):
    """A row that cannot be right; the message is one of REASONS."""


@dataclass(frozen=True, slots=True)
class AnnouncedDays:
    """The usable rows of an answer. `days`: the close by day, None for a day without trading; `refused`: how many rows were
    refused, by reason."""

    days: Overrides
    refused: Counter[str]


def read_announcements(rows: Iterable[Any], today: date) -> AnnouncedDays:
    """Returns the days that the rows of NYSE and NASDAQ announce from `today` on. Where two differ about a day, the shorter day
    counts."""
    days: dict[date, time | None] = {}
    refused: Counter[str] = Counter()
    for row in rows:
        try:
            if _is_of_an_exchange(row):
                day, close = _read_row(row, today)
                days[day] = _shorter(days[day], close) if day in days else close
        except RefusedRow as exc:
            refused[str(exc)] += 1
    return AnnouncedDays(days, refused)


def _is_of_an_exchange(row: Any) -> bool:
    if not isinstance(row, dict):
        raise RefusedRow("shape")
    return row.get("exchange") in EXCHANGES if isinstance(row.get("exchange"), str) else False


def _read_row(row: Mapping[str, Any], today: date) -> tuple[date, time | None]:
    try:
        day = date.fromisoformat(str(row.get("date")))
    except ValueError:
        raise RefusedRow("date") from None
    if day < today:
        raise RefusedRow("past")
    if day > today + FARTHEST:
        raise RefusedRow("far")
    if day.weekday() >= 5:
        raise RefusedRow("weekend")
    if row.get("status") not in ("closed", "early-close"):
        raise RefusedRow("status")
    return day, None if row["status"] == "closed" else _early_close(row, day)


def _early_close(row: Mapping[str, Any], day: date) -> time:
    """Returns the New York time of an early close of a session that opens as usual. Raises RefusedRow."""
    opens, closes = (_moment(row.get(name)) for name in ("open", "close"))
    if closes is None or closes.date() != day or closes.time() >= CLOSE or not is_usable_override(day, closes.time()):
        raise RefusedRow("hours")
    if opens is not None and (opens.date(), opens.time()) != (day, OPEN):
        raise RefusedRow("hours")
    return closes.time()


def _moment(value: Any) -> datetime | None:
    """Returns a UTC moment as New York time; None if there is none. Raises RefusedRow for one that cannot be read."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise RefusedRow("hours")
        return moment.astimezone(NY)
    except (ValueError, OverflowError):
        raise RefusedRow("hours") from None


def _shorter(one: time | None, other: time | None) -> time | None:
    return None if one is None or other is None else min(one, other)
