"""Which tickers are in use: those of recent requests, and those of open subscriptions."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

IN_USE_FOR: Final = timedelta(minutes=5)
"""How long after a request its tickers are in use (market time)."""


class Interest:
    """The register of tickers in use, which the follower reads. Safe between threads; bounded by the supported tickers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested: dict[str, datetime] = {}
        self._subscribed: Counter[str] = Counter()

    def request(self, tickers: Collection[str], at: datetime) -> None:
        """Register these supported tickers for a request at `at`."""
        with self._lock:
            self._requested.update(dict.fromkeys(tickers, at))

    @contextmanager
    def subscription(self, tickers: Collection[str]) -> Iterator[None]:
        """Register these supported tickers for the duration of the block."""
        with self._lock:
            self._subscribed.update(dict.fromkeys(tickers, 1))
        try:
            yield
        finally:
            with self._lock:
                self._subscribed.subtract(dict.fromkeys(tickers, 1))

    def last_uses(self, at: datetime) -> Mapping[str, datetime]:
        """The tickers in use at `at`, each with the moment of its last request, or `at` if it is subscribed to."""
        with self._lock:
            requested = {t: used for t, used in self._requested.items() if timedelta(0) <= at - used < IN_USE_FOR}
            return requested | {ticker: at for ticker, count in self._subscribed.items() if count > 0}
