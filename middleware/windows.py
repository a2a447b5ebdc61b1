"""Counts requests in a sliding window: at most `limit` in any `window_s` seconds, exactly. In this process, or in Redis for
all processes together; while Redis does not answer, in this process.

A request at t counts in the half-open window (t - window_s, t]: what is a whole window old has left it. Moments are whole
microseconds since 1970.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import redis
from limits.storage import MovingWindowSupport, Storage
from redis.backoff import NoBackoff
from redis.retry import Retry

MAX_CLIENTS = 20_000
"""So many windows are kept in a process; beyond, the one used longest ago is dropped."""

FREED_AT_ONCE = 4
REDIS_PATIENCE_S = 0.25
REDIS_CONNECTIONS = 8
RETRY_S = 1.0
MOST_PROBES = 1_000_000
PREFIX = "predict:window:"
"""Names the way of counting: another way must not read these keys."""

TAKE = """
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


class Taken(NamedTuple):
    """A request counted or refused. used: requests in the window, this one included if it is allowed; first: when the
    oldest of them came; at: when it was counted, both microseconds since 1970."""

    allowed: bool
    used: int
    first: int
    at: int


class Windows(Protocol):
    """Something that counts."""

    def take(self, key: str, limit: int, window_s: int, amount: int = 1) -> Taken:
        """Count `amount` requests (0: look only) if they fit."""
        ...

    def forget(self, key: str) -> None: ...


class LocalWindows:
    """In this process; safe between threads. Counts by `now`, seconds that never run backwards: a clock that is set back
    locks nobody out; `epoch` only tells when."""

    def __init__(self, now: Callable[[], float], epoch: Callable[[], float], max_clients: int = MAX_CLIENTS) -> None:
        self._now = now
        self._epoch = epoch
        self._max = max_clients
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, deque[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, key: str, limit: int, window_s: int, amount: int = 1) -> Taken:
        with self._lock:
            now, at = int(self._now() * 1e6), int(self._epoch() * 1e6)
            over = now - window_s * 1_000_000
            self._free(over)
            window = self._window(key)
            while window and window[0] <= over:
                window.popleft()
            allowed = len(window) + amount <= limit
            if allowed:
                window.extend([now] * amount)
            return Taken(allowed, len(window), at - (now - window[0]) if window else at, at)

    def forget(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def _free(self, over: int) -> None:
        """Drop windows in which nothing counts any more, a few at a time; they are in the order of their use."""
        for _ in range(min(FREED_AT_ONCE, len(self._windows))):
            key, window = next(iter(self._windows.items()))
            if window and window[-1] > over:
                return
            del self._windows[key]

    def _window(self, key: str) -> deque[int]:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = deque()
            if len(self._windows) > self._max:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        return window


class _Ask:
    """A request that waits for Redis to count it."""

    __slots__ = ("answer", "args", "error")

    def __init__(self, *args: str | int) -> None:
        self.args = args
        self.answer: tuple[int, int, int, int] | None = None
        self.error: Exception | None = None

    def settle(self, found: Any) -> None:
        if isinstance(found, Exception):
            self.error = found
        else:
            self.answer = found

    @property
    def is_waiting(self) -> bool:
        return self.answer is None and self.error is None


class RedisWindows:
    """In Redis. What is asked while a round trip is under way goes out together with the next: under load many requests
    share one. Time is Redis's own, the same for all hosts, unless `epoch` is handed in. Methods raise redis.RedisError when
    Redis does not answer within `patience_s`, or does not know the script: then `connect` again."""

    def __init__(
        self,
        url: str,
        epoch: Callable[[], float] | None = None,
        patience_s: float = REDIS_PATIENCE_S,
        stages: Callable[..., AbstractContextManager[Any]] = lambda name: nullcontext(),
    ) -> None:
        self._stages = stages
        self._redis = redis.Redis.from_url(
            url,
            max_connections=REDIS_CONNECTIONS,
            socket_timeout=patience_s,
            socket_connect_timeout=patience_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()
        self._epoch = epoch
        self._patience_s = patience_s
        self._waiting: deque[_Ask] = deque()
        self._turn = threading.Lock()

    def connect(self) -> None:
        """See whether Redis is there and may be written, and teach it the script."""
        self._redis.script_load(TAKE)
        self._redis.evalsha(self._script, 1, f"{PREFIX}probe", self._time(), 1_000_000, MOST_PROBES, 1)

    def take(self, key: str, limit: int, window_s: int, amount: int = 1) -> Taken:
        ask = _Ask(PREFIX + key, self._time(), window_s * 1_000_000, limit, amount)
        self._waiting.append(ask)
        with self._stages("redis"):
            self._settled(ask)
        if ask.answer is None:
            raise redis.ConnectionError("the request was not counted") from ask.error
        allowed, used, first, at = ask.answer
        return Taken(bool(allowed), used, first, at)

    def _settled(self, ask: _Ask) -> None:
        if not self._turn.acquire(timeout=2 * self._patience_s):
            raise redis.TimeoutError("the round trip before this one does not end")
        try:
            if ask.is_waiting:
                self._round_trip()
        finally:
            self._turn.release()

    def forget(self, key: str) -> None:
        self._redis.delete(PREFIX + key)

    def close(self) -> None:
        self._redis.close()

    def _time(self) -> int:
        return -1 if self._epoch is None else int(self._epoch() * 1e6)

    def _round_trip(self) -> None:
        """Settle whoever waits, in one exchange."""
        asks = self._drained()
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for ask in asks:
                    pipe.evalsha(self._script, 1, *ask.args)
                answers = pipe.execute(raise_on_error=False)
        except BaseException as exc:
            lost = exc if isinstance(exc, redis.RedisError) else redis.ConnectionError("broken off")
            for ask in asks + self._drained():
                ask.settle(lost)
            if lost is not exc:
                raise
            return
        for ask, answer in zip(asks, answers, strict=True):
            ask.settle(answer)

    def _drained(self) -> list[_Ask]:
        drained = []
        while self._waiting:
            drained.append(self._waiting.popleft())
        return drained


class SharedWindows:
    """In Redis, and here while it is lost: then a thread knocks once a second, and no request waits for it.

    `emit("limits_local" | "limits_shared", ...)` hears of each change, once.
    """

    def __init__(
        self,
        shared: RedisWindows,
        local: LocalWindows,
        emit: Callable[..., None],
        sleep: Callable[[float], None],
    ) -> None:
        self._shared = shared
        self.local = local
        self._emit = emit
        self._sleep = sleep
        self._lock = threading.Lock()
        self._lost = False
        self._closed = False
        self.losses = 0
        try:
            shared.connect()
        except redis.RedisError as exc:
            self._lose(exc)

    @property
    def lost(self) -> bool:
        """Whether this process counts for itself."""
        return self._lost

    def take(self, key: str, limit: int, window_s: int, amount: int = 1) -> Taken:
        if not self._lost:
            try:
                return self._shared.take(key, limit, window_s, amount)
            except redis.RedisError as exc:
                self._lose(exc)
        return self.local.take(key, limit, window_s, amount)

    def forget(self, key: str) -> None:
        self.local.forget(key)
        if not self._lost:
            try:
                self._shared.forget(key)
            except redis.RedisError as exc:
                self._lose(exc)

    def close(self) -> None:
        self._closed = True
        self._shared.close()

    def _lose(self, exc: redis.RedisError) -> None:
        with self._lock:
            if self._lost:
                return
            self._lost = True
            self.losses += 1
        self._emit("limits_local", error=type(exc.__cause__ or exc).__name__)
        threading.Thread(target=self._knock, name="limits", daemon=True).start()

    def _knock(self) -> None:
        while not self._closed:
            self._sleep(RETRY_S)
            if self._closed:
                return
            try:
                self._shared.connect()
            except redis.RedisError:
                continue
            self._lost = False
            self._emit("limits_shared")
            return


last_taken: ContextVar[Taken | None] = ContextVar("last_taken", default=None)
"""What the storage below counted last for the request that is being served."""


class WindowStorage(Storage, MovingWindowSupport):
    """Lends `Windows` to the limits package, whose moving-window strategy reads nothing else."""

    STORAGE_SCHEME = ["predict"]  # noqa: RUF012  the base class declares it for instances

    def __init__(self, uri: str | None = None, *, windows: Windows, wrap_exceptions: bool = False) -> None:
        super().__init__(uri, wrap_exceptions)
        self.windows = windows

    @property
    def base_exceptions(self) -> type[Exception]:
        return redis.RedisError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        taken = self.windows.take(key, limit, expiry, amount)
        last_taken.set(taken)
        return taken.allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        seen = self.windows.take(key, limit, expiry, 0)
        return seen.first / 1e6, seen.used

    def clear(self, key: str) -> None:
        self.windows.forget(key)

    def check(self) -> bool:
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("only the moving window is counted")

    def get(self, key: str) -> int:
        raise NotImplementedError("only the moving window is counted")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("only the moving window is counted")

    def reset(self) -> int | None:
        raise NotImplementedError("windows are forgotten one by one")
