"""The running day in a Redis, for all processes that share it.

Keys, all in one slot of a cluster, because the prefix has a hash tag:

    <prefix>:series           hash    SPY 1min 2025-03-11 -> the series, JSON with its bars deflated, in base64
    <prefix>:series-order     sorted  2025-03-11 SPY 1min 2025-03-11, by the moment for which it was asked
    <prefix>:failures         hash    SPY 1min 2025-03-11 -> the failure, JSON
    <prefix>:failures-order   sorted  the same names, by Redis' own time of the failure
    <prefix>:interest         sorted  SPY, by the moment at which it was asked for last

Each holds the newest of `BOUNDS` and is gone KEPT_S after its last change. Past days that are asked for are among the series,
so that a replica with an empty disk does not ask the provider for them again. A series is compressed. A value that cannot be
read, which another version wrote, is as one that is not there.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Final

from app.clock import Timer
from app.market.lease import Lease
from app.market.redis_leases import HELD, RedisLeases
from app.market.shared_day import DayBounds, FailureRow, SeriesRow
from app.redis_database import RedisDatabase

KEPT_S: Final = 86_400
BOUNDS: Final = DayBounds(series=512)

PUT: Final = """
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
local name, day, fetched, text = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local most, kept_s = tonumber(ARGV[7]), ARGV[8]
redis.call('HSET', KEYS[2], name, text)
redis.call('ZADD', KEYS[3], fetched, day .. ' ' .. name)
for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1 - most)) do
  redis.call('HDEL', KEYS[2], string.sub(old, #day + 2))
  redis.call('ZREM', KEYS[3], old)
end
redis.call('EXPIRE', KEYS[2], kept_s)
redis.call('EXPIRE', KEYS[3], kept_s)
return 1
"""
FETCHED: Final = """
local found, all = {}, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for n = 1, #all, 2 do
  if string.sub(all[n], 1, #ARGV[1]) >= ARGV[1] then
    found[#found + 1] = all[n]
    found[#found + 1] = all[n + 1]
  end
end
return found
"""
FORGET: Final = """
local start = ARGV[1] .. ' '
for _, entry in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local name = string.match(entry, ' (.*)')
  if string.sub(name, 1, #start) == start then
    redis.call('HDEL', KEYS[1], name)
    redis.call('ZREM', KEYS[2], entry)
  end
end
"""
FAIL: Final = """
local name, text, most, kept_s = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]
redis.call('HSET', KEYS[1], name, text)
redis.call('ZADD', KEYS[2], string.format('%.6f', now - ARGV[3]), name)
for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - most)) do
  redis.call('HDEL', KEYS[1], old)
  redis.call('ZREM', KEYS[2], old)
end
redis.call('EXPIRE', KEYS[1], kept_s)
redis.call('EXPIRE', KEYS[2], kept_s)
"""
FAILURE: Final = """
local text, at = redis.call('HGET', KEYS[1], ARGV[1]), redis.call('ZSCORE', KEYS[2], ARGV[1])
return text and at and {text, string.format('%.6f', now - at)}
"""
FORGET_FAILURES: Final = "redis.call('DEL', KEYS[1], KEYS[2])"
ASK_FOR: Final = """
local most, kept_s = tonumber(ARGV[1]), ARGV[2]
for n = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[n + 1], ARGV[n]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - most)
redis.call('EXPIRE', KEYS[1], kept_s)
"""


class RedisSharedDay:
    """A `SharedDay` below `prefix`, fenced by leases below `lease_prefix`; both have the same hash tag."""

    def __init__(
        self,
        db: RedisDatabase,
        prefix: str,
        lease_prefix: str,
        timer: Timer,
        bounds: DayBounds | None = None,
    ) -> None:
        self.leases = RedisLeases(db, lease_prefix, timer)
        self._db, self._prefix = db, prefix
        self._bounds = bounds or BOUNDS
        self._put, self._fetched, self._forget = db.script(HELD + PUT), db.script(FETCHED), db.script(FORGET)
        self._fail, self._failure = db.timed_script(FAIL), db.timed_script(FAILURE)
        self._forget_failures, self._ask_for = db.script(FORGET_FAILURES), db.script(ASK_FOR)

    def series(self, name: str) -> SeriesRow | None:
        return _series_of(self._db.read("HGET", f"{self._prefix}:series", name))

    def put(self, name: str, row: SeriesRow, lease: Lease) -> bool:
        keys = [self.leases.key(lease.name), *self._keys("series")]
        described = (name, row.day.isoformat(), row.fetched, _text_of(row))
        return bool(self._put(keys, [lease.holder, lease.token, *described, self._bounds.series, KEPT_S]))

    def forget(self, ticker: str) -> None:
        self._forget(self._keys("series"), [ticker])

    def fetched(self, since: date) -> dict[str, int]:
        found = self._fetched([f"{self._prefix}:series-order"], [since.isoformat()])
        entries = zip(found[::2], found[1::2], strict=True)
        return {entry.split(" ", 1)[1]: int(float(fetched)) for entry, fetched in entries}

    def failure(self, name: str) -> FailureRow | None:
        found = self._failure(self._keys("failures"), [name])
        return None if found is None else _failure_of(found[0], float(found[1]))

    def fail(self, name: str, row: FailureRow) -> None:
        text = json.dumps({"at": row.at, "lasts_s": row.lasts_s, "error": row.error})
        self._fail(self._keys("failures"), [name, text, row.age_s, self._bounds.failures, KEPT_S])

    def forget_failures(self) -> None:
        self._forget_failures(self._keys("failures"), [])

    def ask_for(self, used: Mapping[str, int]) -> None:
        asked = [value for pair in used.items() for value in pair]
        self._ask_for([f"{self._prefix}:interest"], [self._bounds.tickers, KEPT_S, *asked])

    def asked_for(self, since: int, until: int) -> Sequence[str]:
        return sorted(self._db.read("ZRANGEBYSCORE", f"{self._prefix}:interest", f"({since}", until))

    def close(self) -> None:
        """Whoever opened the Redis closes it."""

    def _keys(self, kind: str) -> list[str]:
        return [f"{self._prefix}:{kind}", f"{self._prefix}:{kind}-order"]


def _text_of(row: SeriesRow) -> str:
    values = {**row._asdict(), "day": row.day.isoformat()}
    bars = base64.b64encode(zlib.compress(values.pop("bars"), 1)).decode()
    return json.dumps({**values, "deflated_bars": bars})


def _series_of(text: str | None) -> SeriesRow | None:
    if text is None:
        return None
    with suppress(ValueError, TypeError, KeyError, zlib.error):
        values = json.loads(text)
        day, packed = (
            date.fromisoformat(values.pop("day")),
            base64.b64decode(values.pop("deflated_bars"), validate=True),
        )
        bars = zlib.decompress(packed)
        return SeriesRow(day=day, bars=bars, **values)
    return None


def _failure_of(text: str, age_s: float) -> FailureRow | None:
    with suppress(ValueError, TypeError):
        return FailureRow(age_s=age_s, **json.loads(text))
    return None
