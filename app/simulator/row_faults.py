"""Faults of the bars in the body of an aggregates response."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.market.bars import Span, from_ms
from app.market.calendar import NY
from app.simulator.messages import Options, ReceivedCall, Row

EVERY = 5
"""One row in so many is broken."""

MISSING_EVERY = 7
DAY_MS = Span.DAY.ms

EditBody = Callable[[Row, Options, ReceivedCall], Row]


def of_rows(change: Callable[[list[Row], Options], list[Row]]) -> EditBody:
    """Returns an edit of the body that changes its rows; a body without rows stays as it is."""

    def edit(body: Row, options: Options, call: ReceivedCall) -> Row:
        rows = change(body.get("results") or [], options)
        return _with_rows(body, rows) if rows else body

    return edit


def of_minutes(change: Callable[[list[Row], Options], list[Row]]) -> EditBody:
    """Returns an edit of the body that changes one-minute bars alone, where there are any."""

    def edit(body: Row, options: Options, call: ReceivedCall) -> Row:
        rows = body.get("results") or []
        return _with_rows(body, change(rows, options)) if "/range/1/minute/" in call.path and rows else body

    return edit


def _with_rows(body: Row, rows: list[Row]) -> Row:
    return {**body, "results": rows, "resultsCount": len(rows)}


def with_nan(rows: list[Row], options: Options) -> list[Row]:
    """One row in five closes at NaN."""
    return [row if i % EVERY else {**row, "c": math.nan} for i, row in enumerate(rows)]


def with_negative(rows: list[Row], options: Options) -> list[Row]:
    """One row in five has negative prices."""
    return [row if i % EVERY else {**row, **{name: -row[name] for name in "ohlc"}} for i, row in enumerate(rows)]


def unsorted(rows: list[Row], options: Options) -> list[Row]:
    """The rows are out of order."""
    return rows[1::2] + rows[::2]


def with_duplicates(rows: list[Row], options: Options) -> list[Row]:
    """One row in five comes twice."""
    return [copy for i, row in enumerate(rows) for copy in [row] * (1 if i % EVERY else 2)]


def of_yesterday(rows: list[Row], options: Options) -> list[Row]:
    """The rows are stamped 24 hours early."""
    return [{**row, "t": row["t"] - DAY_MS} for row in rows]


def frozen(rows: list[Row], options: Options) -> list[Row]:
    """No row starts at the moment `since` (ms) or later."""
    return [row for row in rows if row["t"] < options["since"]]


def with_future_minutes(rows: list[Row], options: Options) -> list[Row]:
    """Two more rows are stamped one and two hours after the newest one."""
    return rows + [{**rows[-1], "t": rows[-1]["t"] + hours * Span.HOUR.ms} for hours in (1, 2)]


def with_holes(rows: list[Row], options: Options) -> list[Row]:
    """One minute in seven is missing, never the newest. The minute's own number decides, so that every response lacks the same
    ones."""
    return [row for row in rows[:-1] if row["t"] // Span.MINUTE.ms % MISSING_EVERY] + rows[-1:]


def split(rows: list[Row], options: Options) -> list[Row]:
    """Prices before the moment `before` (ms) are divided by `factor`, and their volumes multiplied by it."""
    factor, before = options["factor"], options["before"]
    return [_rebased(row, factor) if row["t"] < before else row for row in rows]


def _rebased(row: Row, factor: float) -> Row:
    return {**row, **{name: row[name] / factor for name in "ohlc"}, "v": row["v"] * factor}


def cut_day(rows: list[Row], options: Options) -> list[Row]:
    """No row starts at `hour` (New York) or later on its day."""
    return [row for row in rows if _hour(row) < options["hour"]]


def with_midday_hole(rows: list[Row], options: Options) -> list[Row]:
    """No row starts between the hours `first` and `last` (New York)."""
    return [row for row in rows if not options["first"] <= _hour(row) < options["last"]]


def _hour(row: Row) -> float:
    """Returns the New York hour at which a bar starts, with its minutes as a fraction."""
    at = from_ms(row["t"]).astimezone(NY)
    return at.hour + at.minute / 60


def without_row(rows: list[Row], options: Options) -> list[Row]:
    """The row that starts at `start` (ms), or the middle one if that is 0, is missing."""
    middle = rows[len(rows) // 2]["t"] if rows else 0.0
    return [row for row in rows if row["t"] != (options["start"] or middle)]


def without_rows(body: Row, options: Options, call: ReceivedCall) -> Row:
    """The body has no rows, as the provider answers for days without trades."""
    rest = {name: value for name, value in body.items() if name not in ("results", "next_url")}
    return {**rest, "resultsCount": 0}


def next_page_is_this_one(body: Row, options: Options, call: ReceivedCall) -> Row:
    """The next page is the one that was asked for."""
    return {**body, "next_url": f"https://api.polygon.io{call.path}?{call.query}"}


def next_page_is_elsewhere(body: Row, options: Options, call: ReceivedCall) -> Row:
    """The next page is on another host."""
    return {**body, "next_url": f"https://evil.example{call.path}?cursor=1"}
