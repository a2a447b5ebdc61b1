"""The record of one machine: a SQLite file that several processes may share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from app.market.opens import OfficialOpen
from app.signals.policy import Decision
from app.signals.record import signal_of, text_of
from app.signals.record_entries import add_each
from app.signals.record_entry import Entry
from app.sqlite import Database
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA = """
CREATE TABLE IF NOT EXISTS signals (
    ticker TEXT, day TEXT, hour INTEGER, record TEXT NOT NULL, PRIMARY KEY (ticker, day, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opens (
    ticker TEXT, day TEXT, price REAL NOT NULL, source TEXT NOT NULL, PRIMARY KEY (ticker, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS elevens (
    ticker TEXT, day TEXT, price REAL NOT NULL, PRIMARY KEY (ticker, day)
) WITHOUT ROWID
"""
WRITE_PATIENCE_S = 1.0


class SqliteRecord:
    """A `Record` in the file `path`, which is made if it is missing. Raises Unavailable if it cannot be opened."""

    def __init__(self, path: Path, stages: Stages = NULL_STAGES) -> None:
        self.db = Database(path, SCHEMA, WRITE_PATIENCE_S, stages)

    def check(self) -> None:
        self.db.rows("SELECT 1 FROM signals LIMIT 1")
        self.db.write("PRAGMA user_version = 1")

    def signal(self, ticker: str, day: date, hour: int) -> Decision | None:
        sql = "SELECT record FROM signals WHERE ticker = ? AND day = ? AND hour = ?"
        rows = self.db.rows(sql, (ticker, day.isoformat(), hour))
        return signal_of(ticker, day.isoformat(), hour, rows[0][0]) if rows else None

    def signals(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        sql = """SELECT day, hour, record FROM signals WHERE ticker = ? AND (day, hour) > (?, ?) AND day <= ?
            ORDER BY day, hour LIMIT ?"""
        found: list[Decision] = []
        day, hour = after[0].isoformat(), after[1]
        while len(found) < limit:
            wanted = limit - len(found)
            rows = self.db.rows(sql, (ticker, day, hour, last.isoformat(), wanted))
            for day, hour, text in rows:
                decision = signal_of(ticker, day, hour, text)
                found += [] if decision is None else [decision]
            if len(rows) < wanted:
                break
        return found

    def lock(self, decision: Decision) -> Decision:
        key = (decision.ticker, decision.day.isoformat(), decision.hour)
        if self.db.write("INSERT OR IGNORE INTO signals VALUES (?, ?, ?, ?)", (*key, text_of(decision))):
            return decision
        return self.signal(decision.ticker, decision.day, decision.hour) or decision

    def tickers(self) -> Sequence[str]:
        sql = "SELECT ticker FROM signals UNION SELECT ticker FROM opens UNION SELECT ticker FROM elevens"
        return [ticker for (ticker,) in self.db.rows(sql)]

    def official_open(self, ticker: str, day: date) -> OfficialOpen | None:
        sql = "SELECT price, source FROM opens WHERE ticker = ? AND day = ?"
        rows = self.db.rows(sql, (ticker, day.isoformat()))
        return OfficialOpen(*rows[0]) if rows else None

    def opens(self, ticker: str) -> Sequence[tuple[date, OfficialOpen]]:
        rows = self.db.rows("SELECT day, price, source FROM opens WHERE ticker = ? ORDER BY day", (ticker,))
        return [(date.fromisoformat(day), OfficialOpen(price, source)) for day, price, source in rows]

    def add_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        row = (ticker, day.isoformat(), official_open.price, official_open.source)
        if self.db.write("INSERT OR IGNORE INTO opens VALUES (?, ?, ?, ?)", row):
            return official_open
        return self.official_open(ticker, day) or official_open

    def eleven(self, ticker: str, day: date) -> float | None:
        rows = self.db.rows("SELECT price FROM elevens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
        return float(rows[0][0]) if rows else None

    def elevens(self, ticker: str) -> Sequence[tuple[date, float]]:
        rows = self.db.rows("SELECT day, price FROM elevens WHERE ticker = ? ORDER BY day", (ticker,))
        return [(date.fromisoformat(day), price) for day, price in rows]

    def add_eleven(self, ticker: str, day: date, price: float) -> float:
        if self.db.write("INSERT OR IGNORE INTO elevens VALUES (?, ?, ?)", (ticker, day.isoformat(), price)):
            return price
        return self.eleven(ticker, day) or price

    def add_many(self, entries: Sequence[Entry]) -> Sequence[tuple[Entry | None, Entry | None]]:
        return add_each(self, entries)

    def forget_prices(self, ticker: str, before: date) -> None:
        for table in ("opens", "elevens"):
            self.db.write(f"DELETE FROM {table} WHERE ticker = ? AND day < ?", (ticker, before.isoformat()))

    def durability(self) -> None:
        return None

    def close(self) -> None:
        self.db.close()
