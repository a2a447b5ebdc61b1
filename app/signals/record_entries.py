"""What a record holds as a stream of entries, in an order that is the same for every store: signals by day, hour and ticker,
then opens, then 11:00 prices, each by day and ticker. Signals come first, so that a longer record begins like a shorter one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from app.errors import BrokenData
from app.market.opens import OfficialOpen
from app.signals.record import Record
from app.signals.record_entry import Entry, OpenEntry, SignalEntry, eleven_entry, open_entry

PAGE: Final = 500
"""Signals that are read from the store at a time."""


def entries(record: Record) -> Iterator[Entry]:
    """All that a record holds, in order. Raises Unavailable, and BrokenData for a signal that is in another one's place."""
    tickers = record.tickers()
    for kind in (_signals, _opens, _elevens):
        yield from heapq.merge(*(kind(record, ticker) for ticker in tickers), key=lambda entry: entry.place)


def _held(record: Record, entry: Entry) -> Entry | None:
    """What a record holds in the place of an entry."""
    if isinstance(entry, SignalEntry):
        signal = record.signal(entry.signal.ticker, entry.signal.day, entry.signal.hour)
        return None if signal is None else SignalEntry(signal=signal)
    if isinstance(entry, OpenEntry):
        found = record.official_open(entry.ticker, entry.day)
        return None if found is None else open_entry(entry.ticker, entry.day, found)
    price = record.eleven(entry.ticker, entry.day)
    return None if price is None else eleven_entry(entry.ticker, entry.day, price)


def _add(record: Record, entry: Entry) -> None:
    """Adds an entry unless something is in its place."""
    if isinstance(entry, SignalEntry):
        record.lock(entry.signal)
    elif isinstance(entry, OpenEntry):
        record.add_open(entry.ticker, entry.day, OfficialOpen(entry.price, entry.source))
    else:
        record.add_eleven(entry.ticker, entry.day, entry.price)


def _signals(record: Record, ticker: str) -> Iterator[Entry]:
    after = (date.min, 0)
    while signals := record.signals(ticker, after, date.max, PAGE):
        for signal in signals:
            entry = SignalEntry(signal=signal)
            if signal.ticker != ticker or (signal.day, signal.hour) <= after:
                raise BrokenData(f"the record of {ticker} has the {entry} in the place of another one")
            yield entry
            after = (signal.day, signal.hour)


def _opens(record: Record, ticker: str) -> Iterator[Entry]:
    for day, found in record.opens(ticker):
        yield open_entry(ticker, day, found)


def _elevens(record: Record, ticker: str) -> Iterator[Entry]:
    for day, price in record.elevens(ticker):
        yield eleven_entry(ticker, day, price)


def add_each(record: Record, entries: Sequence[Entry]) -> Sequence[tuple[Entry | None, Entry | None]]:
    """`Record.add_many`, one entry after the other."""
    return [_added(record, entry) for entry in entries]


def _added(record: Record, entry: Entry) -> tuple[Entry | None, Entry | None]:
    before = _held(record, entry)
    if before is not None:
        return before, before
    _add(record, entry)
    return None, _held(record, entry)
