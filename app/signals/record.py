"""The record: locked signals, official opens and 11:00 prices, kept for ever (ruling S7). The first writer wins, whichever
process it is. Where it is kept is behind `Record`: in a SQLite file, or in Redis."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from app.market.opens import OfficialOpen
from app.signals.durability import Durability
from app.signals.policy import Decision
from app.signals.record_entry import Entry

log = logging.getLogger("predict")

_decision: TypeAdapter[Decision] = TypeAdapter(Decision)


class Record(Protocol):
    """Locked signals by (ticker, New York day, decision hour); official opens, and 11:00 prices in USD, by (ticker, day). Every
    method raises Unavailable(part="store") while the record cannot be used."""

    def check(self) -> None:
        """Raises Unavailable unless the record can be read and written."""
        ...

    def signal(self, ticker: str, day: date, hour: int) -> Decision | None: ...

    def signals(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        """The first `limit` signals after a (day, hour) and up to the day `last`, in their order."""
        ...

    def lock(self, decision: Decision) -> Decision:
        """Adds a signal unless there is one for its hour, and returns the one that is there."""
        ...

    def tickers(self) -> Sequence[str]:
        """The tickers that the record holds anything of."""
        ...

    def official_open(self, ticker: str, day: date) -> OfficialOpen | None: ...

    def opens(self, ticker: str) -> Sequence[tuple[date, OfficialOpen]]:
        """All opens of a ticker, by day."""
        ...

    def add_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        """Adds an open unless there is one, and returns the one that is there."""
        ...

    def eleven(self, ticker: str, day: date) -> float | None: ...

    def elevens(self, ticker: str) -> Sequence[tuple[date, float]]:
        """All 11:00 prices of a ticker, by day."""
        ...

    def add_eleven(self, ticker: str, day: date, price: float) -> float:
        """Adds an 11:00 price unless there is one, and returns the one that is there."""
        ...

    def add_many(self, entries: Sequence[Entry]) -> Sequence[tuple[Entry | None, Entry | None]]:
        """Adds each entry unless something is in its place, in as few steps as the store can. Returns what was in the place of
        each before, and what is there now."""
        ...

    def forget_prices(self, ticker: str, before: date) -> None:
        """Deletes the opens and 11:00 prices of the days before."""
        ...

    def durability(self) -> Durability | None:
        """How the Redis that keeps the record keeps it; None for a file."""
        ...

    def close(self) -> None: ...


def text_of(decision: Decision) -> str:
    """The signal as the record keeps it, JSON."""
    return _decision.dump_json(decision).decode()


def signal_of(ticker: str, day: str, hour: int, text: str) -> Decision | None:
    """The signal that was kept as `text`; None for a text that cannot be read, which is a gap."""
    try:
        return _decision.validate_json(text)
    except ValidationError:
        log.warning("the record of %s %s %s:00 cannot be read: it is a gap", ticker, day, hour)
        return None
