"""The ledger of a key in a Redis, for all processes that share it. Its clock is that of Redis.

Keys, all in one slot of a cluster, because the prefix has a hash tag; of the provider's key they have a hash alone:

    <prefix>:<key>:calls      sorted  2 91c3f0a25b7de846 (priority, ticket), by the moment when the call ends
    <prefix>:<key>:pauses     hash    limit -> when the pause is over
    <prefix>:<key>:plan       JSON of what the last probe found
    <prefix>:<key>:processes  sorted  the processes that use the ledger, by when they did so last

Calls are there for a minute or the budget's window, whichever is longer; a process counts for PROCESS_S. All keys expire.
The calls of a paid plan that spends all of its 50 a second take 300 KB.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from app.market.ledger import (
    LONGEST_CALL_S,
    LONGEST_PAUSE_S,
    REMEMBERED_S,
    Call,
    KeptPlan,
    LedgerState,
    Room,
    entitlement_of,
    name_of_key,
)
from app.redis_database import RedisDatabase

PROCESS_S: Final = 600.0
"""Seconds for which a process counts after it used the ledger."""

PLAN_S: Final = 30 * 86_400

BOUNDS: Final = f"""
local LONGEST_CALL_S, REMEMBERED_S, PROCESS_S = {LONGEST_CALL_S}, {REMEMBERED_S}, {PROCESS_S}
local LONGEST_PAUSE_S = {LONGEST_PAUSE_S:.0f}
local function seconds(value) return string.format('%.6f', value) end
local function in_window(key, window_s)
  return redis.call('ZRANGEBYSCORE', key, '(' .. seconds(now - window_s), '+inf', 'WITHSCORES')
end
local function expire(key, window_s)
  redis.call('EXPIRE', key, math.ceil(math.max(REMEMBERED_S, window_s) + 2 * LONGEST_CALL_S))
end
"""
STATE: Final = """
redis.call('ZADD', KEYS[4], seconds(now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', seconds(now - PROCESS_S))
redis.call('EXPIRE', KEYS[4], PROCESS_S)
return {
  seconds(now), in_window(KEYS[1], ARGV[1]), redis.call('HGETALL', KEYS[2]), redis.call('GET', KEYS[3]) or '',
  redis.call('ZCARD', KEYS[4])
}
"""
TAKE: Final = """
local ticket, window_s = ARGV[1], tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', seconds(now - math.max(REMEMBERED_S, window_s)))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. seconds(now + 2 * LONGEST_CALL_S), '+inf')
local calls = in_window(KEYS[1], window_s)
for room = 3, #ARGV, 2 do
  local taken = 0
  for n = 1, #calls, 2 do
    if tonumber(string.match(calls[n], '^%d+')) >= tonumber(ARGV[room]) then taken = taken + 1 end
  end
  if taken >= tonumber(ARGV[room + 1]) then return 0 end
end
redis.call('ZADD', KEYS[1], seconds(now + LONGEST_CALL_S), ticket)
expire(KEYS[1], window_s)
return 1
"""
RELEASE: Final = "redis.call('ZADD', KEYS[1], 'XX', seconds(now), ARGV[1])"
KEEP_PLAN: Final = "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])"
PAUSE: Final = """
redis.call('HSET', KEYS[1], ARGV[1], seconds(now + ARGV[2]))
redis.call('EXPIRE', KEYS[1], LONGEST_PAUSE_S)
"""
ADD: Final = """
for n = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], seconds(now + ARGV[n]), ARGV[n + 1])
end
expire(KEYS[1], REMEMBERED_S)
"""


class RedisLedger:
    """A `SharedLedger` below `prefix`."""

    def __init__(self, db: RedisDatabase, prefix: str, key: str) -> None:
        self._db, self._process = db, secrets.token_hex(8)
        name = f"{prefix}:{name_of_key(key)}"
        self._calls, self._pauses, self._plan = f"{name}:calls", f"{name}:pauses", f"{name}:plan"
        self._processes = f"{name}:processes"
        scripts = (db.timed_script(f"{BOUNDS}{text}") for text in (STATE, TAKE, RELEASE, PAUSE, ADD))
        self._state, self._take, self._release, self._pause, self._add = scripts
        self._keep_plan = db.script(KEEP_PLAN)

    def state(self, window_s: float) -> LedgerState:
        keys = [self._calls, self._pauses, self._plan, self._processes]
        now, calls, pauses, plan, processes = self._state(keys, [window_s, self._process])
        ends = zip(calls[::2], calls[1::2], strict=True)
        known = [Call(float(end) - float(now), int(member.split(" ")[0])) for member, end in ends]
        left = {why: float(until) - float(now) for why, until in zip(pauses[::2], pauses[1::2], strict=True)}
        running = {why: seconds for why, seconds in left.items() if 0 < seconds <= LONGEST_PAUSE_S}
        return LedgerState(known, running, _plan_of(plan), processes)

    def take(self, priority: int, window_s: float, rooms: Sequence[Room]) -> str | None:
        ticket, bounds = _ticket(priority), [int(number) for room in rooms for number in room]
        return ticket if self._take([self._calls], [ticket, window_s, *bounds]) else None

    def release(self, ticket: str) -> None:
        self._release([self._calls], [ticket])

    def pause(self, why: str, seconds: float) -> None:
        self._pause([self._pauses], [why, seconds])

    def keep_plan(self, plan: KeptPlan) -> None:
        found = plan.entitlement
        record = {"today": found.has_intraday, "since": found.history_from.isoformat(), "found_at": plan.found_at}
        self._keep_plan([self._plan], [json.dumps(record), PLAN_S])

    def add(self, calls: Sequence[Call], pauses: Mapping[str, float]) -> None:
        entries: list[Any] = []
        for call in calls:
            entries += [call.ends_in_s, _ticket(call.priority)]
        self._add([self._calls], entries)
        for why, left in pauses.items():
            self.pause(why, left)

    def close(self) -> None:
        """Whoever opened the Redis closes it."""


def _ticket(priority: int) -> str:
    return f"{int(priority)} {secrets.token_hex(8)}"


def _plan_of(text: str) -> KeptPlan | None:
    with suppress(ValueError, KeyError, TypeError):
        record = json.loads(text)
        return KeptPlan(entitlement_of(record["today"], record["since"]), float(record["found_at"]))
    return None
