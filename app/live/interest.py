"""Which tickers are asked for: by requests, for a while after each, and by subscriptions, as long as they are open."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

IN_USE_FOR: Final = timedelta(minutes=5)
"""How long after a request its tickers are kept current (market time)."""


class Interest:
    """The register that the follower reads. Safe between threads; bounded by the tickers that are supported."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested: dict[str, datetime] = {}
        self._subscribed: Counter[str] = Counter()

    def request(self, tickers: Collection[str], at: datetime) -> None:
        """A request at `at` asked for these supported tickers."""
        with self._lock:
            self._requested.update(dict.fromkeys(tickers, at))

    @contextmanager
    def subscription(self, tickers: Collection[str]) -> Iterator[None]:
        """These supported tickers are subscribed to within the block."""
        with self._lock:
            self._subscribed.update(dict.fromkeys(tickers, 1))
        try:
            yield
        finally:
            with self._lock:
                self._subscribed.subtract(dict.fromkeys(tickers, 1))

    def last_uses(self, at: datetime) -> Mapping[str, datetime]:
        """The tickers in use at `at`, with the moment of the last request; of those that are subscribed to, `at`."""
        with self._lock:
            requested = {t: used for t, used in self._requested.items() if timedelta(0) <= at - used < IN_USE_FOR}
            return requested | {ticker: at for ticker, count in self._subscribed.items() if count > 0}
