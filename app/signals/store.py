"""The store of signals: the record (app/signals/record.py), remembered and written later where it fails.

The store is a track record and a cache, never a lock service: a signal is a pure function of bars, so that losing the store
loses no answer (architecture, idea 3). It can fail while the server runs: answers go on, `degraded` says so, and what
could not be written is written later (ruling S9).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Protocol, TypeVar

from app.clock import REAL_TIME, Timer
from app.errors import Unavailable
from app.market.opens import OfficialOpen
from app.market.single_flight import LruCache
from app.signals.durability import Durability
from app.signals.policy import Decision
from app.signals.record import Record
from app.sqlite import Retries

T = TypeVar("T")
KEPT = 4096


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


class RecordStore:
    """A `SignalStore` over a record. open_record: opens the record, or raises Unavailable; it is called again, at a pace, until
    it succeeds."""

    def __init__(self, open_record: Callable[[], Record], emit: Callable[..., None], timer: Timer = REAL_TIME) -> None:
        self._open_record = open_record
        self._emit = emit
        self._record: Record | None = None
        self._failure: str | None = None
        self._is_unreadable = False
        self._retries, self._inquiries = Retries(timer.now), Retries(timer.now)
        self._durability: Durability | None = None
        self._signals: LruCache[Decision] = LruCache(KEPT)
        self._opens: LruCache[OfficialOpen] = LruCache(KEPT)
        self._unwritten_signals: LruCache[Decision] = LruCache(KEPT)
        self._unwritten_opens: LruCache[OfficialOpen] = LruCache(KEPT)
        self._elevens: LruCache[float] = LruCache(KEPT)
        self._unwritten_elevens: LruCache[float] = LruCache(KEPT)
        self._unforgotten: LruCache[date] = LruCache(KEPT)
        self._changed: LruCache[bool] = LruCache(KEPT)
        self._try(lambda record: None)

    def get(self, ticker: str, day: date, hour: int) -> Decision | None:
        kept = self._signals.get((ticker, day, hour))
        if kept is None:
            kept = self._read(lambda record: record.signal(ticker, day, hour))
            if kept is not None:
                self._signals.put((ticker, day, hour), kept)
        return kept

    def put(self, decision: Decision) -> Decision:
        key = (decision.ticker, decision.day, decision.hour)
        winner = self._try(lambda record: record.lock(decision))
        if winner is None:
            winner = self._unwritten_signals.get(key) or self._read(lambda record: record.signal(*key)) or decision
            self._unwritten_signals.put(key, winner)
        self._signals.put(key, winner)
        return winner

    def listing(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        written = self._read(lambda record: record.signals(ticker, after, last, limit))
        if written is None:
            raise Unavailable("the record of signals cannot be read now", part="store")
        waiting = (signal for signal in self._unwritten_signals.values() if signal.ticker == ticker)
        found = {(signal.day, signal.hour): signal for signal in (*waiting, *written)}
        return [found[key] for key in sorted(found) if after < key and key[0] <= last][:limit]

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None:
        kept = self._opens.get((ticker, day))
        if kept is None:
            kept = self._read(lambda record: record.official_open(ticker, day))
            if kept is not None:
                self._opens.put((ticker, day), kept)
        return kept

    def put_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        key = ticker, day
        winner = self._try(lambda record: record.add_open(ticker, day, official_open))
        if winner is None:
            kept = self._unwritten_opens.get(key)
            winner = kept or self._read(lambda record: record.official_open(ticker, day)) or official_open
            self._unwritten_opens.put(key, winner)
        self._opens.put(key, winner)
        return winner

    def forget_prices(self, ticker: str, before: date) -> None:
        self.read_prices_again(ticker, before)
        for unwritten in (self._unwritten_opens, self._unwritten_elevens):
            unwritten.forget(lambda key: key[0] == ticker and key[1] < before)
        if not self._forget(ticker, before):
            self._unforgotten.put((ticker,), before)

    def _forget(self, ticker: str, before: date) -> bool:
        def forget(record: Record) -> bool:
            record.forget_prices(ticker, before)
            return True

        return self._try(forget) is True

    def read_prices_again(self, ticker: str, before: date) -> None:
        for kept in (self._opens, self._elevens):
            kept.forget(lambda key: key[0] == ticker and key[1] < before)

    def get_eleven(self, ticker: str, day: date) -> float | None:
        kept = self._elevens.get((ticker, day))
        if kept is None:
            kept = self._read(lambda record: record.eleven(ticker, day))
            if kept is not None:
                self._elevens.put((ticker, day), kept)
        return kept

    def put_eleven(self, ticker: str, day: date, price: float) -> float:
        key = ticker, day
        winner = self._try(lambda record: record.add_eleven(ticker, day, price))
        if winner is None:
            winner = self._unwritten_elevens.get(key) or self._read(lambda record: record.eleven(ticker, day)) or price
            self._unwritten_elevens.put(key, winner)
        self._elevens.put(key, winner)
        return winner

    def verify(self, day: date) -> None:
        locked = [(key, decision) for key, decision in self._signals.items() if key[1] == day]
        for key, decision in locked:
            if self._changed.get(key) or self._unwritten_signals.get(key) is not None:
                continue
            recorded = self._read(lambda record, key=key: record.signal(*key))  # type: ignore[misc]
            if self._failure is None and recorded not in (decision, self._signals.get(key)):  # which may have caught up
                self._changed.put(key, True)
                self._emit("record_changed", ticker=key[0], day=str(day), hour=key[2])

    def changes(self) -> int:
        """Returns how many signals of the record differ from what was shown."""
        return len(self._changed)

    def degraded(self) -> str | None:
        self._try(lambda record: None)
        return self._failure

    def durability(self) -> Durability | None:
        """How the record's Redis keeps it, asked anew at a pace; None for a file, and before a Redis has answered. What may
        lose the record is emitted once."""
        found = self._read(lambda record: record.durability()) if self._inquiries.take() else None
        if found is not None:
            told = () if self._durability is None else self._durability.risks
            self._durability = found
            for risk in found.risks:
                if risk not in told:
                    self._emit("record_can_forget", risk=risk)
        return self._durability

    def close(self) -> None:
        if self._record is not None:
            self._record.close()

    def _read(self, work: Callable[[Record], T]) -> T | None:
        """Runs a read even while writing fails, because what is in the record stays valid; None while reading fails too."""
        self._try(lambda record: None)
        if self._record is None or self._is_unreadable:
            return None
        try:
            return work(self._record)
        except Unavailable as exc:
            self._is_unreadable = True
            self._fail(exc.detail)
            return None

    def _try(self, work: Callable[[Record], T]) -> T | None:
        """Runs `work` on the record; None while it cannot be used. Any caller may try it again at a pace
        (`app.sqlite.Retries`); once it works, what could not be written is written."""
        if self._failure is not None and not self._retries.take():
            return None
        try:
            if self._record is None:
                self._record = self._open_record()
            if self._failure is not None:
                self._catch_up(self._record)
            return work(self._record)
        except Unavailable as exc:
            self._fail(exc.detail)
            return None

    def _fail(self, why: str) -> None:
        if self._failure is None:
            self._emit("store_degraded", error=why)
        self._failure = why
        self._retries.postpone()

    def _catch_up(self, record: Record) -> None:
        """Checks that the record can be read and written, then writes what could not be written, also what other threads add
        meanwhile; what another process wrote stays."""
        record.check()
        while self._unforgotten or self._unwritten_signals or self._unwritten_opens or self._unwritten_elevens:
            for (ticker,), before in self._unforgotten.items():
                self.read_prices_again(ticker, before)
                record.forget_prices(ticker, before)
                self._unforgotten.discard((ticker,))
            _write(self._unwritten_signals, self._signals, lambda key, decision: record.lock(decision))
            _write(self._unwritten_opens, self._opens, lambda key, found: record.add_open(key[0], key[1], found))
            _write(self._unwritten_elevens, self._elevens, lambda key, price: record.add_eleven(key[0], key[1], price))
        self._failure, self._is_unreadable = None, False
        self._emit("store_recovered")


def _write(unwritten: LruCache[T], kept: LruCache[T], add: Callable[[Any, T], T]) -> None:
    """Adds what waits to the record, and keeps what is there then."""
    for key, value in unwritten.items():
        kept.put(key, add(key, value))
        unwritten.discard(key)
