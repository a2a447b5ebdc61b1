"""Single flight, in which all callers that need the same thing share one fetch and each waits until its own deadline, and
a bounded cache of recent results."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from app.clock import REAL_TIME
from app.errors import PredictError, TryLater, Upstream
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")
MAX_WAITING = 64
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Ends all waiting for fetches inside the block `seconds` real seconds after its start, however many fetches there are.
    A block inside another one never outlasts it."""
    outer, inner = _deadline.get(), REAL_TIME.now() + seconds
    token = _deadline.set(inner if outer is None else min(outer, inner))
    try:
        yield
    finally:
        _deadline.reset(token)


def without_traceback(exc: PredictError) -> PredictError:
    """A copy of the error without its traceback. An error that is kept and raised again would otherwise grow a longer
    traceback each time."""
    copy = type(exc).__new__(type(exc), *exc.args)
    copy.__dict__.update(exc.__dict__)
    return copy


def _always() -> bool:
    return True


class _Flight(Generic[T]):
    """A fetch under way or queued. stage: the one that began it; is_awaited(): whether nothing is known of its result yet;
    on_end: who wants to hear that it is over."""

    future: Future[T]

    def __init__(self, stage: object, is_awaited: Callable[[], bool]) -> None:
        self.stage = stage
        self.is_awaited = is_awaited
        self.on_end: list[Callable[[], None]] = []

    def end(self) -> None:
        for hear in self.on_end:
            hear()


class SingleFlight(Generic[T]):
    """Runs fetches on a bounded pool of threads. A fetch that misses a caller's deadline goes on for the others. It belongs
    to the stage that began it, and the stages of callers that join later are linked to that one.

    A fetch may let others see what it brought before it is over. Who comes then has seen that, and needs another one: it
    begins when the first one is over. `is_awaited()` says of a fetch whether it has let nobody see anything yet."""

    def __init__(self, workers: int = 10, stages: Stages = NULL_STAGES) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
        self._lock = threading.Lock()
        self._stages = stages
        self._running: dict[Hashable, _Flight[T]] = {}

    def run(
        self, key: Hashable, fetch: Callable[[], T], timeout_s: float, is_awaited: Callable[[], bool] = _always
    ) -> T:
        """Returns the result of `fetch`, or of the fetch of the same key that is already under way.

        Raises what `fetch` raises, Upstream when `timeout_s` real seconds or the block's deadline pass first, and TryLater
        when MAX_WAITING fetches are under way already.
        """
        with self._lock:
            flight = self._joined(key, fetch, is_awaited)
        try:
            return flight.future.result(_remaining(timeout_s))
        except PredictError as exc:
            raise without_traceback(exc) from None
        except TimeoutError:
            raise Upstream("the market data did not arrive within the request's time", retry_after=5) from None

    def start(
        self,
        key: Hashable,
        fetch: Callable[[], T],
        on_end: Callable[[], None] = lambda: None,
        is_awaited: Callable[[], bool] = _always,
    ) -> bool:
        """Begins `fetch` unless one of the same key is under way, and calls `on_end` when that is over, before anyone who waits
        for it has its result. Returns False, and does nothing, if too many are under way. It waits for nothing and raises
        nothing."""
        with suppress(TryLater), self._lock:
            self._joined(key, fetch, is_awaited).on_end.append(on_end)
            return True
        return False

    def _joined(self, key: Hashable, fetch: Callable[[], T], is_awaited: Callable[[], bool]) -> _Flight[T]:
        """The flight of `key` that is under way, else a new one. The caller holds the lock."""
        running = self._running.get(key)
        if running is not None and running.is_awaited():
            self._stages.link(running.stage)
            return running
        if len(self._running) >= MAX_WAITING:
            raise TryLater("too many fetches of market data are under way", retry_after=5)
        flight = _Flight[T](self._stages.current(), is_awaited)
        work = self._stages.in_current_stage(fetch if running is None else _after(running.future, fetch))
        flight.future = self._pool.submit(self._fetch, key, flight, work)
        self._running[key] = flight
        return flight

    def runs(self, key: Hashable) -> bool:
        """Whether a fetch of `key` is under way or queued that who comes now would share."""
        running = self._running.get(key)
        return running is not None and running.is_awaited()

    def waiting(self) -> int:
        """How many fetches are under way or queued; those that no longer are have been said to be over."""
        with self._lock:
            return len(self._running)

    def close(self) -> None:
        """Lets the fetches that are under way end, and says of those that were queued that they are over."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for key in [key for key, flight in self._running.items() if flight.future.cancelled()]:
                self._running.pop(key).end()

    def _fetch(self, key: Hashable, flight: _Flight[T], fetch: Callable[[], T]) -> T:
        try:
            return fetch()
        finally:
            with self._lock:
                if self._running.get(key) is flight:
                    del self._running[key]
                flight.end()


def _after(before: Future[T], fetch: Callable[[], T]) -> Callable[[], T]:
    """`fetch`, once the one before is over."""

    def waiting() -> T:
        wait([before])
        return fetch()

    return waiting


def _remaining(timeout_s: float) -> float:
    end = _deadline.get()
    return timeout_s if end is None else max(0.0, min(timeout_s, end - REAL_TIME.now()))


class LruCache(Generic[T]):
    """Keeps the `limit` most recently used values by key. It is safe between threads."""

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
            self._trim()

    def setdefault(self, key: Hashable, value: T) -> T:
        """Keeps `value` unless one is kept already, and returns the kept one."""
        with self._lock:
            kept = self._values.setdefault(key, value)
            self._trim()
        return kept

    def values(self) -> list[T]:
        """Returns all values, the least recently used first."""
        with self._lock:
            return list(self._values.values())

    def items(self) -> list[tuple[Any, T]]:
        """Returns all keys with their values, the least recently used first."""
        with self._lock:
            return list(self._values.items())

    def forget(self, which: Callable[[Any], bool]) -> None:
        """Removes the values whose keys satisfy `which`."""
        with self._lock:
            for key in [key for key in self._values if which(key)]:
                del self._values[key]

    def discard(self, key: Hashable) -> None:
        with self._lock:
            self._values.pop(key, None)

    def _trim(self) -> None:
        while len(self._values) > self._limit:
            self._values.popitem(last=False)
