"""What the running day is kept in, for the processes that share it: series, failures, which tickers are asked for, and leases.

Moments are the provider's, in ms since 1970, because the clocks of processes differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from app.market.lease import Lease, Leases


@dataclass(frozen=True, slots=True)
class DayBounds:
    """How many are kept of each kind, the newest."""

    series: int = 64
    failures: int = 256
    tickers: int = 64


class SeriesRow(NamedTuple):
    """A series of `day`, that was asked for at `fetched`. bars: their columns, one after the other."""

    day: date
    fetched: int
    delayed: bool
    bars: bytes
    missing: int
    again: int | None


class FailureRow(NamedTuple):
    """A fetch that failed at `at`, `age_s` real seconds ago. error: JSON."""

    at: int
    age_s: float
    lasts_s: float
    error: str


class SharedDay(Protocol):
    """Every method raises Unavailable(part="store") where it cannot be used."""

    @property
    def leases(self) -> Leases: ...

    def series(self, name: str) -> SeriesRow | None: ...

    def put(self, name: str, row: SeriesRow, lease: Lease) -> bool:
        """Keeps the series unless the lease has passed to another process. Returns whether it was kept."""
        ...

    def forget(self, ticker: str) -> None:
        """Deletes the series whose names begin with the ticker."""
        ...

    def fetched(self, since: date) -> dict[str, int]:
        """When the series of the days from `since` on were asked for, by name."""
        ...

    def failure(self, name: str) -> FailureRow | None: ...

    def fail(self, name: str, row: FailureRow) -> None: ...

    def forget_failures(self) -> None: ...

    def ask_for(self, used: Mapping[str, int]) -> None:
        """Registers when tickers were asked for last."""
        ...

    def asked_for(self, since: int, until: int) -> Sequence[str]:
        """The tickers that were asked for after `since`, up to `until`, by their letters."""
        ...

    def close(self) -> None: ...
