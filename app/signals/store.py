"""What was said, kept for ever: locked signals, official opens and 11:00 prices. The first writer wins, whoever it is.

The store is a track record and a cache, never a lock service: a signal is a pure function of bars, so losing the store
loses no answer (architecture, idea 3). It can fail while the server runs: answers go on, `degraded` says so, and what
could not be written is written later (ruling S9).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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
        """The locked signal, or None."""
        ...

    def put(self, decision: Decision) -> Decision:
        """Lock a signal unless one is locked already; returns the one that holds."""
        ...

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None: ...

    def put_open(self, ticker: str, day: date, found: OfficialOpen) -> OfficialOpen:
        """Keep an open unless one is kept already; returns the one that holds."""
        ...

    def forget_prices(self, ticker: str, before: date) -> None:
        """Drop the opens and 11:00 prices of the days before: a split re-based their prices. Signals stay as they were said."""
        ...

    def read_prices_again(self, ticker: str, before: date) -> None:
        """Hold no prices of the days before in memory: another process may have dropped them."""
        ...

    def get_eleven(self, ticker: str, day: date) -> float | None: ...

    def put_eleven(self, ticker: str, day: date, price: float) -> float:
        """Keep the 11:00 price that is shown unless one is kept already; returns the one that holds."""
        ...

    def verify(self, day: date) -> None:
        """Compare what was said of `day` with the record, and tell of each signal that is not what was said."""
        ...

    def degraded(self) -> str | None:
        """Why the store fails, for the log, or None. While it fails, asking tries it again now and then."""
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

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None:
        kept = self._opens.get((ticker, day))
        if kept is None:
            kept = self._read(lambda db: _read_open(db, ticker, day))
            if kept is not None:
                self._opens.put((ticker, day), kept)
        return kept

    def put_open(self, ticker: str, day: date, found: OfficialOpen) -> OfficialOpen:
        winner = self._try(lambda db: _write_open(db, ticker, day, found))
        if winner is None:
            kept = self._unwritten_opens.get((ticker, day))
            winner = kept[2] if kept else self._read(lambda db: _read_open(db, ticker, day)) or found
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
        said = [(key, decision) for key, decision in self._signals.items() if key[1] == day]
        for key, decision in said:
            if self._changed.get(key) or self._unwritten_signals.get(key) is not None:
                continue
            found = self._read(lambda db, key=key: _read_signal(db, *key))  # type: ignore[misc]
            if self._failure is None and found not in (decision, self._signals.get(key)):  # which may have caught up
                self._changed.put(key, True)
                self._emit("record_changed", ticker=key[0], day=str(day), hour=key[2])

    def changes(self) -> int:
        """How many signals were found to be not what was said."""
        return len(self._changed)

    def degraded(self) -> str | None:
        self._try(lambda db: None)
        return self._failure

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def _read(self, work: Callable[[Database], T]) -> T | None:
        """A read, whatever is the matter with writing: what is in the record stands."""
        self._try(lambda db: None)
        try:
            return work(self._db) if self._db is not None else None
        except Unavailable as exc:
            self._fail(exc.detail)
            return None

    def _try(self, work: Callable[[Database], T]) -> T | None:
        """`work` on the database; None while it cannot be used. Tries again at a pace (`app.sqlite.Retries`), whoever asks,
        and then catches up."""
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
        """Prove that the file can be read and written, then write what could not be written; what another process wrote
        meanwhile stays."""
        db.rows("SELECT 1 FROM signals LIMIT 1")
        db.write("PRAGMA user_version = 1")
        for (ticker,), before in self._unforgotten.items():
            self.read_prices_again(ticker, before)
            _forget_prices(db, ticker, before)
        for decision in self._unwritten_signals.values():
            self._signals.put((decision.ticker, decision.day, decision.hour), _write_signal(db, decision))
        for ticker, day, found in self._unwritten_opens.values():
            self._opens.put((ticker, day), _write_open(db, ticker, day, found))
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
    found = db.rows(sql, (ticker, day.isoformat(), hour))
    try:
        return _decision.validate_json(found[0][0]) if found else None
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
    found = db.rows("SELECT price, source FROM opens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
    return OfficialOpen(*found[0]) if found else None


def _write_open(db: Database, ticker: str, day: date, found: OfficialOpen) -> OfficialOpen:
    row = (ticker, day.isoformat(), found.price, found.source)
    if db.write("INSERT OR IGNORE INTO opens VALUES (?, ?, ?, ?)", row):
        return found
    return _read_open(db, ticker, day) or found


def _read_eleven(db: Database, ticker: str, day: date) -> float | None:
    found = db.rows("SELECT price FROM elevens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
    return float(found[0][0]) if found else None


def _write_eleven(db: Database, ticker: str, day: date, price: float) -> float:
    if db.write("INSERT OR IGNORE INTO elevens VALUES (?, ?, ?)", (ticker, day.isoformat(), price)):
        return price
    return _read_eleven(db, ticker, day) or price


def _forget_prices(db: Database, ticker: str, before: date) -> bool:
    for table in ("opens", "elevens"):
        db.write(f"DELETE FROM {table} WHERE ticker = ? AND day < ?", (ticker, before.isoformat()))
    return True
