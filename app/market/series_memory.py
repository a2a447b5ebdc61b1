"""The series that a process holds in memory, and the fetches that failed, by the key of the fetch."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from app.market.bars import Span
from app.market.expectations import BarsAsOf
from app.market.running_day import FetchFailure, RunningDay
from app.market.single_flight import LruCache

KEPT_SERIES = 256

Key = tuple[Any, ...]
"""What a fetch is known by: its ticker first or second, its day last."""

OPEN = "open"
"""What the key of an official open begins with."""


def ticker_of(key: Key) -> str:
    return str(key[1] if key[0] == OPEN else key[0])


def name_of(key: Key) -> str:
    """The key as the processes that share the running day name it."""
    return " ".join(str(part) for part in key)


def key_of(name: str) -> Key:
    """The key of a series by its name."""
    ticker, span, day = name.split(" ")
    return ticker, Span(span), date.fromisoformat(day)


class SeriesMemory:
    """Bounded, and safe between threads. running_day: what processes share, which is forgotten with it."""

    def __init__(self, running_day: RunningDay | None) -> None:
        self._running_day = running_day
        self._kept: LruCache[BarsAsOf] = LruCache(KEPT_SERIES)
        self._failed: LruCache[FetchFailure] = LruCache(KEPT_SERIES)

    def __len__(self) -> int:
        """How many series there are."""
        return len(self._kept)

    def get(self, ticker: str, span: Span, day: date) -> BarsAsOf | None:
        return self._kept.get((ticker, span, day))

    def put(self, ticker: str, span: Span, day: date, known: BarsAsOf) -> None:
        self._kept.put((ticker, span, day), known)

    def of_day(self, day: date, ticker: str | None = None) -> list[tuple[Span, BarsAsOf]]:
        """All series of a day, of one ticker or of whatever ticker."""
        items = self._kept.items()
        return [(key[1], known) for key, known in items if key[-1] == day and ticker in (None, ticker_of(key))]

    def fail(self, key: Key, failure: FetchFailure) -> None:
        self._failed.put(key, failure)

    def failure(self, key: Key) -> FetchFailure | None:
        """How the last fetch of `key` failed, however long ago; None if it did not."""
        return self._failed.get(key)

    def failures_until(self, ticker: str | None = None) -> list[datetime]:
        """When the failures stop being answers, of one ticker or of all."""
        items = self._failed.items()
        return [failure.at + failure.lasts for key, failure in items if ticker in (None, ticker_of(key))]

    def forget_days(self) -> None:
        """Drop all daily bars."""
        self._kept.forget(lambda key: Span.DAY in key)

    def forget_past(self, ticker: str, day: date) -> None:
        """Drop the series of the ticker that are of days before `day`."""
        self._kept.forget(lambda key: key[0] == ticker and key[-1] < day)

    def forget_ticker(self, ticker: str) -> None:
        """Drop all series of the ticker, those that processes share too: its history is on another basis."""
        if self._running_day is not None:
            self._running_day.forget(ticker)
        self._kept.forget(lambda key: key[0] == ticker)

    def forget_failures(self, *, everywhere: bool = False) -> None:
        """Let this process ask again for what failed; `everywhere`: the others too."""
        self._failed.forget(lambda key: True)
        if everywhere and self._running_day is not None:
            self._running_day.forget_failures()
