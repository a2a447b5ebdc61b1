"""What keeps fetches few: single flight (all who ask for the same thing share one fetch, each within its own deadline)
and a bounded memory of recent results."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from app.errors import Upstream

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs fetches on a bounded pool. A fetch that misses a caller's deadline goes on for the others."""

    def __init__(self, workers: int = 10) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
        self._lock = threading.Lock()
        self._running: dict[Hashable, Future[T]] = {}

    def run(self, key: Hashable, fetch: Callable[[], T], timeout_s: float) -> T:
        """The result of `fetch`, its own or a running twin's.

        Raises what `fetch` raises, and Upstream when `timeout_s` real seconds are over first.
        """
        with self._lock:
            future = self._running.get(key)
            if future is None:
                future = self._running[key] = self._pool.submit(self._fetch, key, fetch)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if future.done():
                raise
            raise Upstream("the market data did not arrive within the request's time", retry_after=5) from None

    def waiting(self) -> int:
        """How many fetches are under way or queued."""
        return len(self._running)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, key: Hashable, fetch: Callable[[], T]) -> T:
        try:
            return fetch()
        finally:
            with self._lock:
                self._running.pop(key, None)


class Recent(Generic[T]):
    """The `limit` most recently used values by key; safe between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._limit:
                self._values.popitem(last=False)

    def values(self) -> list[T]:
        """All values, the least recently used first."""
        with self._lock:
            return list(self._values.values())

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
