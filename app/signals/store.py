"""The record: locked signals, official opens and 11:00 prices, kept for ever. The first writer wins, whichever process it is.

The store is a track record and a cache, never a lock service: a signal is a pure function of bars, so that losing the store
loses no answer (architecture, idea 3). It can fail while the server runs: answers go on, `degraded` says so, and what
could not be written is written later (ruling S9).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from app.clock import REAL_TIME, Timer
from app.errors import Unavailable
from app.market.opens import OfficialOpen
from app.market.single_flight import LruCache
from app.signals.policy import Decision
from app.sqlite import Database, Retries
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
T = TypeVar("T")
log = logging.getLogger("predict")
KEPT = 4096
WRITE_PATIENCE_S = 1.0

_decision: TypeAdapter[Decision] = TypeAdapter(Decision)


class SignalStore(Protocol):
    """Locked signals by (ticker, New York day, decision hour); official opens, and 11:00 prices in USD, by (ticker, day)."""

    def get(self, ticker: str, day: date, hour: int) -> Decision | None:
        """Returns the locked signal, or None."""
        ...

    def put(self, decision: Decision) -> Decision:
        """Locks a signal unless one is locked already, and returns the locked one."""
        ...

    def listing(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        """Returns the first `limit` locked signals after a (day, hour) and up to the day `last`, in their order. Raises
        Unavailable while the record cannot be read, because a record that is not seen is no gap."""
        ...

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None: ...

    def put_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        """Keeps an open unless one is kept already, and returns the kept one."""
        ...

    def forget_prices(self, ticker: str, before: date) -> None:
        """Deletes the opens and 11:00 prices of the days before, whose prices a split re-based. Signals stay as they were
        locked."""
        ...

    def read_prices_again(self, ticker: str, before: date) -> None:
        """Drops the prices of the days before from memory, because another process may have deleted them."""
        ...

    def get_eleven(self, ticker: str, day: date) -> float | None: ...

    def put_eleven(self, ticker: str, day: date, price: float) -> float:
        """Keeps the 11:00 price that is shown unless one is kept already, and returns the kept one."""
        ...

    def verify(self, day: date) -> None:
        """Compares the signals shown for `day` with the record, and emits `record_changed` for each that differs."""
        ...

    def degraded(self) -> str | None:
        """Returns why the store fails, for the log, or None. While it fails, each call may try it again, at a pace."""
        ...

    def close(self) -> None: ...


class SqliteStore:
    """The store of one machine: a SQLite file that several processes may share."""

    def __init__(
        self, path: Path, emit: Callable[..., None], stages: Stages = NULL_STAGES, timer: Timer = REAL_TIME
    ) -> None:
        self._stages = stages
        self._path = path
        self._emit = emit
        self._db: Database | None = None
        self._failure: str | None = None
        self._retries = Retries(timer.now)
        self._signals: LruCache[Decision] = LruCache(KEPT)
        self._opens: LruCache[OfficialOpen] = LruCache(KEPT)
        self._unwritten_signals: LruCache[Decision] = LruCache(KEPT)
        self._unwritten_opens: LruCache[tuple[str, date, OfficialOpen]] = LruCache(KEPT)
        self._elevens: LruCache[float] = LruCache(KEPT)
        self._unwritten_elevens: LruCache[float] = LruCache(KEPT)
        self._unforgotten: LruCache[date] = LruCache(KEPT)
        self._changed: LruCache[bool] = LruCache(KEPT)
        self._try(lambda db: None)

    def get(self, ticker: str, day: date, hour: int) -> Decision | None:
        kept = self._signals.get((ticker, day, hour))
        if kept is None:
            kept = self._read(lambda db: _read_signal(db, ticker, day, hour))
            if kept is not None:
                self._signals.put((ticker, day, hour), kept)
        return kept

    def put(self, decision: Decision) -> Decision:
        key = (decision.ticker, decision.day, decision.hour)
        winner = self._try(lambda db: _write_signal(db, decision))
        if winner is None:
            winner = self._unwritten_signals.get(key) or self._read(lambda db: _read_signal(db, *key)) or decision
            self._unwritten_signals.put(key, winner)
        self._signals.put(key, winner)
        return winner

    def listing(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        written = self._read(lambda db: _read_signals(db, ticker, after, last, limit))
        if written is None:
            raise Unavailable("the record of signals cannot be read now", part="store")
        waiting = (signal for signal in self._unwritten_signals.values() if signal.ticker == ticker)
        found = {(signal.day, signal.hour): signal for signal in (*waiting, *written)}
        return [found[key] for key in sorted(found) if after < key and key[0] <= last][:limit]

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None:
        kept = self._opens.get((ticker, day))
        if kept is None:
            kept = self._read(lambda db: _read_open(db, ticker, day))
            if kept is not None:
                self._opens.put((ticker, day), kept)
        return kept

    def put_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        winner = self._try(lambda db: _write_open(db, ticker, day, official_open))
        if winner is None:
            kept = self._unwritten_opens.get((ticker, day))
            winner = kept[2] if kept else self._read(lambda db: _read_open(db, ticker, day)) or official_open
            self._unwritten_opens.put((ticker, day), (ticker, day, winner))
        self._opens.put((ticker, day), winner)
        return winner

    def forget_prices(self, ticker: str, before: date) -> None:
        self.read_prices_again(ticker, before)
        for unwritten in (self._unwritten_opens, self._unwritten_elevens):
            unwritten.forget(lambda key: key[0] == ticker and key[1] < before)
        if self._try(lambda db: _forget_prices(db, ticker, before)) is None:
            self._unforgotten.put((ticker,), before)

    def read_prices_again(self, ticker: str, before: date) -> None:
        for kept in (self._opens, self._elevens):
            kept.forget(lambda key: key[0] == ticker and key[1] < before)

    def get_eleven(self, ticker: str, day: date) -> float | None:
        kept = self._elevens.get((ticker, day))
        if kept is None:
            kept = self._read(lambda db: _read_eleven(db, ticker, day))
            if kept is not None:
                self._elevens.put((ticker, day), kept)
        return kept

    def put_eleven(self, ticker: str, day: date, price: float) -> float:
        key = ticker, day
        winner = self._try(lambda db: _write_eleven(db, ticker, day, price))
        if winner is None:
            winner = self._unwritten_elevens.get(key) or self._read(lambda db: _read_eleven(db, ticker, day)) or price
            self._unwritten_elevens.put(key, winner)
        self._elevens.put(key, winner)
        return winner

    def verify(self, day: date) -> None:
        locked = [(key, decision) for key, decision in self._signals.items() if key[1] == day]
        for key, decision in locked:
            if self._changed.get(key) or self._unwritten_signals.get(key) is not None:
                continue
            recorded = self._read(lambda db, key=key: _read_signal(db, *key))  # type: ignore[misc]
            if self._failure is None and recorded not in (decision, self._signals.get(key)):  # which may have caught up
                self._changed.put(key, True)
                self._emit("record_changed", ticker=key[0], day=str(day), hour=key[2])

    def changes(self) -> int:
        """Returns how many signals of the record differ from what was shown."""
        return len(self._changed)

    def degraded(self) -> str | None:
        self._try(lambda db: None)
        return self._failure

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def _read(self, work: Callable[[Database], T]) -> T | None:
        """Runs a read even while writing fails, because what is in the record stays valid."""
        self._try(lambda db: None)
        try:
            return work(self._db) if self._db is not None else None
        except Unavailable as exc:
            self._fail(exc.detail)
            return None

    def _try(self, work: Callable[[Database], T]) -> T | None:
        """Runs `work` on the database; None while it cannot be used. Any caller may try it again at a pace
        (`app.sqlite.Retries`); once it works, what could not be written is written."""
        if self._failure is not None and not self._retries.take():
            return None
        try:
            if self._db is None:
                self._db = Database(self._path, SCHEMA, WRITE_PATIENCE_S, self._stages)
            if self._failure is not None:
                self._catch_up(self._db)
            return work(self._db)
        except Unavailable as exc:
            self._fail(exc.detail)
            return None

    def _fail(self, why: str) -> None:
        if self._failure is None:
            self._emit("store_degraded", error=why)
        self._failure = why
        self._retries.postpone()

    def _catch_up(self, db: Database) -> None:
        """Checks that the file can be read and written, then writes what could not be written; what another process wrote
        meanwhile stays."""
        db.rows("SELECT 1 FROM signals LIMIT 1")
        db.write("PRAGMA user_version = 1")
        for (ticker,), before in self._unforgotten.items():
            self.read_prices_again(ticker, before)
            _forget_prices(db, ticker, before)
        for decision in self._unwritten_signals.values():
            self._signals.put((decision.ticker, decision.day, decision.hour), _write_signal(db, decision))
        for ticker, day, official_open in self._unwritten_opens.values():
            self._opens.put((ticker, day), _write_open(db, ticker, day, official_open))
        for (ticker, day), price in self._unwritten_elevens.items():
            self._elevens.put((ticker, day), _write_eleven(db, ticker, day, price))
        self._unwritten_elevens.clear()
        self._unwritten_signals.clear()
        self._unwritten_opens.clear()
        self._unforgotten.clear()
        self._failure = None
        self._emit("store_recovered")


def _read_signal(db: Database, ticker: str, day: date, hour: int) -> Decision | None:
    sql = "SELECT record FROM signals WHERE ticker = ? AND day = ? AND hour = ?"
    rows = db.rows(sql, (ticker, day.isoformat(), hour))
    return _parsed(ticker, day.isoformat(), hour, rows[0][0]) if rows else None


def _read_signals(db: Database, ticker: str, after: tuple[date, int], last: date, limit: int) -> list[Decision]:
    sql = """SELECT day, hour, record FROM signals WHERE ticker = ? AND (day, hour) > (?, ?) AND day <= ?
        ORDER BY day, hour LIMIT ?"""
    found: list[Decision] = []
    day, hour = after[0].isoformat(), after[1]
    while len(found) < limit:
        wanted = limit - len(found)
        rows = db.rows(sql, (ticker, day, hour, last.isoformat(), wanted))
        for day, hour, record in rows:
            decision = _parsed(ticker, day, hour, record)
            found += [] if decision is None else [decision]
        if len(rows) < wanted:
            break
    return found


def _parsed(ticker: str, day: str, hour: int, record: str) -> Decision | None:
    """A record; None for one that cannot be read, which is a gap."""
    try:
        return _decision.validate_json(record)
    except ValidationError:
        log.warning("the record of %s %s %s:00 cannot be read: it is a gap", ticker, day, hour)
        return None


def _write_signal(db: Database, decision: Decision) -> Decision:
    record = _decision.dump_json(decision).decode()
    key = (decision.ticker, decision.day.isoformat(), decision.hour)
    if db.write("INSERT OR IGNORE INTO signals VALUES (?, ?, ?, ?)", (*key, record)):
        return decision
    return _read_signal(db, decision.ticker, decision.day, decision.hour) or decision


def _read_open(db: Database, ticker: str, day: date) -> OfficialOpen | None:
    rows = db.rows("SELECT price, source FROM opens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
    return OfficialOpen(*rows[0]) if rows else None


def _write_open(db: Database, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
    row = (ticker, day.isoformat(), official_open.price, official_open.source)
    if db.write("INSERT OR IGNORE INTO opens VALUES (?, ?, ?, ?)", row):
        return official_open
    return _read_open(db, ticker, day) or official_open


def _read_eleven(db: Database, ticker: str, day: date) -> float | None:
    rows = db.rows("SELECT price FROM elevens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
    return float(rows[0][0]) if rows else None


def _write_eleven(db: Database, ticker: str, day: date, price: float) -> float:
    if db.write("INSERT OR IGNORE INTO elevens VALUES (?, ?, ?)", (ticker, day.isoformat(), price)):
        return price
    return _read_eleven(db, ticker, day) or price


def _forget_prices(db: Database, ticker: str, before: date) -> bool:
    for table in ("opens", "elevens"):
        db.write(f"DELETE FROM {table} WHERE ticker = ? AND day < ?", (ticker, before.isoformat()))
    return True
