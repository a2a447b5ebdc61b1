"""The store of signals: the record (app/signals/record.py), remembered and written later where it fails.

The store is a track record and a cache, never a lock service: a signal is a pure function of bars, so that losing the store
loses no answer (architecture, idea 3). It can fail while the server runs: answers go on, `degraded` says so, and what
could not be written is written later (ruling S9).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Generic, Protocol, TypeVar

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


class _Table(Generic[T]):
    """One kind of what the record holds.

    read(record)(*key)        what is recorded, or None
    add(record, key, value)   records a value unless there is one, and returns the recorded one
    kept                      what was said or read
    unwritten                 what was said and could not be written
    """

    def __init__(self, read: Callable[[Record], Callable[..., T | None]], add: Callable[[Record, Any, T], T]) -> None:
        self.read = read
        self.add = add
        self.kept: LruCache[T] = LruCache(KEPT)
        self.unwritten: LruCache[T] = LruCache(KEPT)

    def write(self, record: Record) -> None:
        """Record what waits, and keep what is recorded then."""
        for key, value in self.unwritten.items():
            self.kept.put(key, self.add(record, key, value))
            self.unwritten.discard(key)


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
        self._signals: _Table[Decision] = _Table(
            lambda record: record.signal, lambda record, key, said: record.lock(said)
        )
        self._opens: _Table[OfficialOpen] = _Table(
            lambda record: record.official_open, lambda record, key, found: record.add_open(key[0], key[1], found)
        )
        self._elevens: _Table[float] = _Table(
            lambda record: record.eleven, lambda record, key, price: record.add_eleven(key[0], key[1], price)
        )
        self._unforgotten: LruCache[date] = LruCache(KEPT)
        self._changed: LruCache[bool] = LruCache(KEPT)
        self._try(lambda record: None)

    def get(self, ticker: str, day: date, hour: int) -> Decision | None:
        return self._get(self._signals, (ticker, day, hour))

    def put(self, decision: Decision) -> Decision:
        return self._enter(self._signals, (decision.ticker, decision.day, decision.hour), decision)

    def listing(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        written = self._read(lambda record: record.signals(ticker, after, last, limit))
        if written is None:
            raise Unavailable("the record of signals cannot be read now", part="store")
        waiting = (signal for signal in self._signals.unwritten.values() if signal.ticker == ticker)
        found = {(signal.day, signal.hour): signal for signal in (*waiting, *written)}
        return [found[key] for key in sorted(found) if after < key and key[0] <= last][:limit]

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None:
        return self._get(self._opens, (ticker, day))

    def put_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        return self._enter(self._opens, (ticker, day), official_open)

    def get_eleven(self, ticker: str, day: date) -> float | None:
        return self._get(self._elevens, (ticker, day))

    def put_eleven(self, ticker: str, day: date, price: float) -> float:
        return self._enter(self._elevens, (ticker, day), price)

    def forget_prices(self, ticker: str, before: date) -> None:
        self.read_prices_again(ticker, before)
        for table in (self._opens, self._elevens):
            table.unwritten.forget(lambda key: key[0] == ticker and key[1] < before)
        if not self._forget(ticker, before):
            self._unforgotten.put((ticker,), before)

    def _forget(self, ticker: str, before: date) -> bool:
        def forget(record: Record) -> bool:
            record.forget_prices(ticker, before)
            return True

        return self._try(forget) is True

    def read_prices_again(self, ticker: str, before: date) -> None:
        for table in (self._opens, self._elevens):
            table.kept.forget(lambda key: key[0] == ticker and key[1] < before)

    def verify(self, day: date) -> None:
        locked = [(key, decision) for key, decision in self._signals.kept.items() if key[1] == day]
        for key, decision in locked:
            if self._changed.get(key) or self._signals.unwritten.get(key) is not None:
                continue
            recorded = self._read(lambda record, key=key: record.signal(*key))  # type: ignore[misc]
            shown = (decision, self._signals.kept.get(key))  # which may have caught up
            if self._failure is None and recorded not in shown:
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

    def _get(self, table: _Table[T], key: Any) -> T | None:
        """What is kept, else what the record has, which is then kept."""
        kept = table.kept.get(key)
        if kept is None:
            kept = self._read(lambda record: table.read(record)(*key))
            if kept is not None:
                table.kept.put(key, kept)
        return kept

    def _enter(self, table: _Table[T], key: Any, value: T) -> T:
        """What the record has: the value, unless it had one before."""
        winner = self._try(lambda record: table.add(record, key, value))
        if winner is None:
            return self._let_wait(table, key, value)
        table.kept.put(key, winner)
        return winner

    def _let_wait(self, table: _Table[T], key: Any, value: T) -> T:
        """Keeps what cannot be written, until it can. The first word stays, whichever thread had it, in the record or here."""
        said = table.unwritten.get(key) or table.kept.get(key) or self._read(lambda record: table.read(record)(*key))
        winner = table.unwritten.setdefault(key, said or value)
        if self._failure is None:  # others caught up meanwhile, and may have done so before this waited
            self._try(self._write_unwritten)
            return table.kept.get(key) or winner
        return table.kept.setdefault(key, winner)

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
        is_new, self._failure = self._failure is None, why
        self._retries.postpone()
        if is_new:
            self._emit("store_degraded", error=why)

    def _catch_up(self, record: Record) -> None:
        """Checks that the record can be read and written, then writes what could not be written, also what other threads add
        meanwhile; what another process wrote stays."""
        record.check()
        self._write_unwritten(record)
        self._failure, self._is_unreadable = None, False
        self._emit("store_recovered")
        self._write_unwritten(record)  # of threads that did not know yet

    def _write_unwritten(self, record: Record) -> None:
        tables = (self._signals, self._opens, self._elevens)
        while self._unforgotten or any(len(table.unwritten) for table in tables):
            for (ticker,), before in self._unforgotten.items():
                self.read_prices_again(ticker, before)
                record.forget_prices(ticker, before)
                self._unforgotten.discard((ticker,))
            for table in tables:
                table.write(record)
