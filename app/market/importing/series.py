"""The stored series: the tables of the SQLite file of recorded bars, their days, ends and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import date, timedelta

import numpy as np

from app.market.bars import EPOCH, Floats, Ints, Span
from app.market.calendar import Calendar
from app.market.importing.names import span_ms
from app.market.importing.times import END_MS, FIRST_MS
from app.sqlite import Database

NONE = float("nan")
COLUMNS = ("t", "o", "h", "l", "c", "v")
SCHEMA = """
CREATE TABLE IF NOT EXISTS bars (
    ticker TEXT, span TEXT, t INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, PRIMARY KEY (ticker, span, t)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opens (ticker TEXT, day TEXT, price REAL, PRIMARY KEY (ticker, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (
    ticker TEXT, span TEXT, rows INTEGER, first_t INTEGER, last_t INTEGER, sha256 TEXT, PRIMARY KEY (ticker, span)
);
CREATE TABLE IF NOT EXISTS latest (ticker TEXT, span TEXT, file TEXT, rows INTEGER, PRIMARY KEY (ticker, span))
"""


def bar_ends(calendar: Calendar, span: str) -> Callable[[Ints], Ints]:
    """Returns the function that gives the ends of bars, ms, by their starts."""
    return calendar.day_ends if span.startswith("1day") else lambda t: t + span_ms(span)


def days_with_bars(db: Database, calendar: Calendar, ticker: str, span: Span | str) -> Iterable[date]:
    """Returns the trading days on which a stored series has a bar. Five hours back, every bar from 04:00 to 20:00 lies on its
    New York date in UTC."""
    sql = "SELECT DISTINCT (t - 18000000) / 86400000 FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ?"
    numbers = db.rows(sql, (ticker, str(span), FIRST_MS, END_MS))
    days = (EPOCH.date() + timedelta(days=number) for (number,) in numbers)
    return (day for day in days if calendar.session(day))


def stored_hash(db: Database, ticker: str, span: str) -> str:
    """Returns the SHA-256 of the content of a stored series, which it reads by columns and chunks."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        sql = f"SELECT {name} FROM bars WHERE ticker = ? AND span = ? ORDER BY t"
        for chunk in db.chunks(sql, (ticker, span)):
            digest.update(_column_bytes(name, np.array([value for (value,) in chunk])))
    return digest.hexdigest()


def _column_bytes(name: str, column: Floats | Ints) -> bytes:
    return np.ascontiguousarray(column).astype("<f8" if name != "t" else "<i8").tobytes()
