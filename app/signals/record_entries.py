"""What a record holds as a stream of entries, in an order that is the same for every store: signals by day, hour and ticker,
then opens, then 11:00 prices, each by day and ticker. Signals come first, so that a longer record begins like a shorter one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import BrokenData
from app.market.opens import OfficialOpen
from app.signals.policy import Decision
from app.signals.record import Record

PAGE: Final = 500
"""Signals that are read from the store at a time."""

Place = tuple[int, date, int, str]
"""Where an entry stands in the order."""

Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SignalEntry(_Entry):
    """A locked signal."""

    kind: Literal["signal"] = "signal"
    signal: Decision

    @property
    def place(self) -> Place:
        return 0, self.signal.day, self.signal.hour, self.signal.ticker

    def __str__(self) -> str:
        return f"signal of {self.signal.ticker} {self.signal.day} {self.signal.hour}:00"


class OpenEntry(_Entry):
    """The official open of a day, USD, and where it was learned."""

    kind: Literal["open"] = "open"
    ticker: str
    day: date
    price: Price
    source: str

    @property
    def place(self) -> Place:
        return 1, self.day, 0, self.ticker

    def __str__(self) -> str:
        return f"official open of {self.ticker} {self.day}"


class ElevenEntry(_Entry):
    """The 11:00 price of a day, USD."""

    kind: Literal["price_11am"] = "price_11am"
    ticker: str
    day: date
    price: Price

    @property
    def place(self) -> Place:
        return 2, self.day, 0, self.ticker

    def __str__(self) -> str:
        return f"11:00 price of {self.ticker} {self.day}"


Entry = SignalEntry | OpenEntry | ElevenEntry


def entries(record: Record) -> Iterator[Entry]:
    """All that a record holds, in order. Raises Unavailable, and BrokenData for a signal that is in another one's place."""
    tickers = record.tickers()
    for kind in (_signals, _opens, _elevens):
        yield from heapq.merge(*(kind(record, ticker) for ticker in tickers), key=lambda entry: entry.place)


def held(record: Record, entry: Entry) -> Entry | None:
    """What a record holds in the place of an entry."""
    if isinstance(entry, SignalEntry):
        signal = record.signal(entry.signal.ticker, entry.signal.day, entry.signal.hour)
        return None if signal is None else SignalEntry(signal=signal)
    if isinstance(entry, OpenEntry):
        found = record.official_open(entry.ticker, entry.day)
        return None if found is None else _open(entry.ticker, entry.day, found)
    price = record.eleven(entry.ticker, entry.day)
    return None if price is None else _eleven(entry.ticker, entry.day, price)


def add(record: Record, entry: Entry) -> None:
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
        yield _open(ticker, day, found)


def _elevens(record: Record, ticker: str) -> Iterator[Entry]:
    for day, price in record.elevens(ticker):
        yield _eleven(ticker, day, price)


def _open(ticker: str, day: date, found: OfficialOpen) -> OpenEntry:
    try:
        return OpenEntry(ticker=ticker, day=day, price=found.price, source=found.source)
    except ValidationError:
        raise BrokenData(f"the official open of {ticker} {day} in the record is no price") from None


def _eleven(ticker: str, day: date, price: float) -> ElevenEntry:
    try:
        return ElevenEntry(ticker=ticker, day=day, price=price)
    except ValidationError:
        raise BrokenData(f"the 11:00 price of {ticker} {day} in the record is no price") from None
