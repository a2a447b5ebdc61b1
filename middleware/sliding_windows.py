"""Counts requests in a sliding window: at most `limit` in any `window_s` seconds, exactly. The counts are kept in this process,
or in Redis for all processes together; while Redis does not answer, each process counts for itself.

A request at time t counts in the half-open window (t - window_s, t]: one that is a whole window old no longer counts. Times are
whole microseconds since 1970.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, Protocol

import redis
from limits.storage import MovingWindowSupport, Storage

MAX_CLIENTS = 20_000
"""Windows that a process holds at most; beyond it, the least recently used one is evicted."""

EVICTED_AT_ONCE = 4
ROUND_TRIPS: Final = 10
"""Of so many time-outs, a hit waits for the round trip before it, which ends by itself where Redis does not answer. More are
over only where the process stands still."""

RETRY_S = 1.0
PROBE_LIMIT = 1_000_000
PREFIX = "predict:window:"
"""Names the way of counting, since code that counts in another way must not read these keys."""

HIT_SCRIPT = """
local now, window, limit, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local entry = string.format('%.0f', now)
local first = redis.call('LINDEX', KEYS[1], 0)
while first and tonumber(first) <= now - window do
  redis.call('LPOP', KEYS[1])
  first = redis.call('LINDEX', KEYS[1], 0)
end
local count = redis.call('LLEN', KEYS[1])
local allowed = count + amount <= limit
if allowed and amount > 0 then
  for _ = 1, amount do redis.call('RPUSH', KEYS[1], entry) end
  redis.call('PEXPIRE', KEYS[1], window / 1000)
  count = count + amount
end
return {allowed and 1 or 0, count, tonumber(first or entry), now}
"""


class Hit(NamedTuple):
    """A request that was counted or refused. used: requests in the window, including this one if it is allowed; first: time of
    the oldest of them; at: time of this one, both in microseconds since 1970."""

    allowed: bool
    used: int
    first: int
    at: int


class SlidingWindows(Protocol):
    """Counts requests by key."""

    def hit(self, key: str, limit: int, window_s: int, amount: int = 1) -> Hit:
        """Count `amount` requests if all of them fit into the window; 0 only reads it."""
        ...

    def clear(self, key: str) -> None: ...

    def close(self) -> None:
        """Close the connections to what counts."""
        ...


class InMemoryWindows:
    """Counts in this process; safe between threads. Windows are measured by `now`, seconds that never run backwards, so that a
    clock that is set back locks no client out; `epoch` only dates the hits."""

    def __init__(self, now: Callable[[], float], epoch: Callable[[], float], max_clients: int = MAX_CLIENTS) -> None:
        self._now = now
        self._epoch = epoch
        self._max = max_clients
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, deque[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def hit(self, key: str, limit: int, window_s: int, amount: int = 1) -> Hit:
        with self._lock:
            now, at = int(self._now() * 1e6), int(self._epoch() * 1e6)
            expired = now - window_s * 1_000_000
            self._evict(expired)
            window = self._window_of(key)
            while window and window[0] <= expired:
                window.popleft()
            allowed = len(window) + amount <= limit
            if allowed:
                window.extend([now] * amount)
            return Hit(allowed, len(window), at - (now - window[0]) if window else at, at)

    def clear(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def close(self) -> None:
        """Does nothing: there is no connection."""

    def _evict(self, expired: int) -> None:
        """Evict windows whose requests are all expired, a few at a time; they are in the order of their last use."""
        for _ in range(min(EVICTED_AT_ONCE, len(self._windows))):
            key, window = next(iter(self._windows.items()))
            if window and window[-1] > expired:
                return
            del self._windows[key]

    def _window_of(self, key: str) -> deque[int]:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = deque()
            if len(self._windows) > self._max:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        return window


class _PendingHit:
    """A request that Redis has not counted yet."""

    __slots__ = ("args", "error", "result")

    def __init__(self, *args: str | int) -> None:
        self.args = args
        self.result: tuple[int, int, int, int] | None = None
        self.error: Exception | None = None

    def settle(self, result: Any) -> None:
        if isinstance(result, Exception):
            self.error = result
        else:
            self.result = result

    @property
    def is_pending(self) -> bool:
        return self.result is None and self.error is None


class RedisWindows:
    """Counts in Redis, over the client of the whole process. Hits that arrive during a round trip share the next one, and while
    hits do so, a round trip waits until all other work has had a turn (`give_way`), so that under load many requests need few
    round trips. The time is that of Redis, the same for all hosts, unless `epoch` is given.
    Methods raise redis.RedisError when Redis does not answer within `timeout_s` or does not know the script; `connect` loads it
    again."""

    def __init__(
        self,
        client: redis.Redis,
        timeout_s: float,
        epoch: Callable[[], float] | None = None,
        stages: Callable[..., AbstractContextManager[Any]] = lambda name: nullcontext(),
        give_way: Callable[[], object] = lambda: None,
    ) -> None:
        self._stages = stages
        self._give_way = give_way
        self._shared_by = 1
        self._redis = client
        self._script = hashlib.sha1(HIT_SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self._epoch = epoch
        self._timeout_s = timeout_s
        self._pending: deque[_PendingHit] = deque()
        self._round_trip_lock = threading.Lock()

    def connect(self) -> None:
        """Check that Redis answers and can be written, and load the script into it."""
        self._redis.script_load(HIT_SCRIPT)
        self._redis.evalsha(self._script, 1, f"{PREFIX}probe", self._time(), 1_000_000, PROBE_LIMIT, 1)

    def hit(self, key: str, limit: int, window_s: int, amount: int = 1) -> Hit:
        pending = _PendingHit(PREFIX + key, self._time(), window_s * 1_000_000, limit, amount)
        self._pending.append(pending)
        with self._stages("redis"):
            self._wait_for(pending)
        if pending.result is None:
            raise redis.ConnectionError("the request was not counted") from pending.error
        allowed, used, first, at = pending.result
        return Hit(bool(allowed), used, first, at)

    def _wait_for(self, hit: _PendingHit) -> None:
        if not self._round_trip_lock.acquire(timeout=ROUND_TRIPS * self._timeout_s):
            raise redis.TimeoutError("the round trip before this one does not end")
        try:
            if hit.is_pending:
                if self._shared_by > 1:
                    self._give_way()
                self._round_trip()
        finally:
            self._round_trip_lock.release()

    def clear(self, key: str) -> None:
        self._redis.delete(PREFIX + key)

    def close(self) -> None:
        """Whoever opened the Redis closes it."""

    def _time(self) -> int:
        return -1 if self._epoch is None else int(self._epoch() * 1e6)

    def _round_trip(self) -> None:
        """Settle all pending hits in one round trip."""
        pending = self._take_pending()
        self._shared_by = len(pending)
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for hit in pending:
                    pipe.evalsha(self._script, 1, *hit.args)
                results = pipe.execute(raise_on_error=False)
        except BaseException as exc:
            error = exc if isinstance(exc, redis.RedisError) else redis.ConnectionError("broken off")
            for hit in pending + self._take_pending():
                hit.settle(error)
            if error is not exc:
                raise
            return
        for hit, result in zip(pending, results, strict=True):
            hit.settle(result)

    def _take_pending(self) -> list[_PendingHit]:
        hits = []
        while self._pending:
            hits.append(self._pending.popleft())
        return hits


class WindowsWithFallback:
    """Counts in Redis, and in this process while Redis does not answer. A thread then tries to connect once a second, and no
    request waits for it. `fallbacks`: how often Redis was lost.

    Emits `limits_local` and `limits_shared`, once for each change.
    """

    def __init__(
        self,
        shared: RedisWindows,
        local: InMemoryWindows,
        emit: Callable[..., None],
        sleep: Callable[[float], None],
    ) -> None:
        self._shared = shared
        self.local = local
        self._emit = emit
        self._sleep = sleep
        self._lock = threading.Lock()
        self._is_local = False
        self._closed = False
        self.fallbacks = 0
        try:
            shared.connect()
        except redis.RedisError as exc:
            self._fall_back(exc)

    @property
    def is_local(self) -> bool:
        """Whether this process counts for itself, since Redis does not answer."""
        return self._is_local

    def hit(self, key: str, limit: int, window_s: int, amount: int = 1) -> Hit:
        if not self._is_local:
            try:
                return self._shared.hit(key, limit, window_s, amount)
            except redis.RedisError as exc:
                self._fall_back(exc)
        return self.local.hit(key, limit, window_s, amount)

    def clear(self, key: str) -> None:
        self.local.clear(key)
        if not self._is_local:
            try:
                self._shared.clear(key)
            except redis.RedisError as exc:
                self._fall_back(exc)

    def close(self) -> None:
        self._closed = True
        self._shared.close()

    def _fall_back(self, exc: redis.RedisError) -> None:
        with self._lock:
            if self._is_local:
                return
            self._is_local = True
            self.fallbacks += 1
        self._emit("limits_local", error=type(exc.__cause__ or exc).__name__)
        threading.Thread(target=self._reconnect, name="limits", daemon=True).start()

    def _reconnect(self) -> None:
        while not self._closed:
            self._sleep(RETRY_S)
            if self._closed:
                return
            try:
                self._shared.connect()
            except redis.RedisError:
                continue
            self._is_local = False
            self._emit("limits_shared")
            return


last_hit: ContextVar[Hit | None] = ContextVar("last_taken", default=None)
"""The hit that `WindowStorage` counted last for the request that this thread serves."""


class WindowStorage(Storage, MovingWindowSupport):
    """Makes `SlidingWindows` a storage of the limits package, for its moving-window strategy alone."""

    STORAGE_SCHEME = ["predict"]  # noqa: RUF012  the base class declares it for instances

    def __init__(self, uri: str | None = None, *, windows: SlidingWindows, wrap_exceptions: bool = False) -> None:
        super().__init__(uri, wrap_exceptions)
        self.windows = windows

    @property
    def base_exceptions(self) -> type[Exception]:
        return redis.RedisError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        hit = self.windows.hit(key, limit, expiry, amount)
        last_hit.set(hit)
        return hit.allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        hit = self.windows.hit(key, limit, expiry, 0)
        return hit.first / 1e6, hit.used

    def clear(self, key: str) -> None:
        self.windows.clear(key)

    def check(self) -> bool:
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("only the moving window is counted")

    def get(self, key: str) -> int:
        raise NotImplementedError("only the moving window is counted")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("only the moving window is counted")

    def reset(self) -> int | None:
        raise NotImplementedError("windows are cleared one by one")
