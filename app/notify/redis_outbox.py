"""The outbox in a Redis, for all processes that share it. Its clock is that of Redis.

Keys, all in one slot of a cluster, because the prefix has a hash tag:

    <prefix>:messages  hash    signal-polygon-SPY-2025-03-11T13 -> the message, JSON
    <prefix>:rows      hash    <id> <target> -> {s: state, n: failed tries, t: token of the claim, r: reason}, JSON
    <prefix>:due       sorted  <id> <target>, by when it is to be sent, or when its claim ends
    <prefix>:dead      sorted  <id> <target>, by when it was given up
    <prefix>:added     sorted  <id> <target>, by when it was added
    <prefix>:told      hash    topic -> the state that was told last
    <prefix>:disabled  hash    target -> since when and why it wants nothing more

Rows and what is disabled are kept for a week, MOST rows; all keys expire a week after the last message. A row with its message
takes about 3 KB.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from app.notify.message import Message
from app.notify.outbox import CLAIM_S, KEPT_S, MOST, Claim, Counts, DeadLetter, message_of, text_of
from app.redis_database import RedisDatabase

NAMES: Final = ("messages", "rows", "due", "dead", "added", "told", "disabled")

COMMON: Final = f"""
local messages, rows, due, dead, added, told, disabled = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local CLAIM_S, KEPT_S = {CLAIM_S}, {KEPT_S:.0f}
local function seconds(value) return string.format('%.6f', value) end
local function remove(row)
  redis.call('HDEL', rows, row)
  redis.call('HDEL', messages, string.match(row, '^%S+'))
  for _, key in ipairs({{due, dead, added}}) do redis.call('ZREM', key, row) end
end
local function write(row, state, tries, token, reason)
  redis.call('HSET', rows, row, cjson.encode({{s = state, n = tries, t = token, r = reason}}))
end
local function read(row)
  local text = redis.call('HGET', rows, row)
  return text and cjson.decode(text)
end
"""
ADD: Final = """
local id, message, topic, condition, is_good, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if condition ~= '' then
  local before = redis.call('HGET', told, topic)
  if before == condition or (not before and is_good == '1') then return 0 end
  redis.call('HSET', told, topic, condition)
end
local count = 0
for n = 7, #ARGV do
  local row = id .. ' ' .. ARGV[n]
  if redis.call('HEXISTS', rows, row) == 0 then
    write(row, 'waiting', 0, '', '')
    redis.call('ZADD', due, seconds(now), row)
    redis.call('ZADD', added, seconds(now), row)
    count = count + 1
  end
end
if count > 0 then redis.call('HSET', messages, id, message) end
for _, row in ipairs(redis.call('ZRANGEBYSCORE', added, '-inf', seconds(now - KEPT_S))) do remove(row) end
local over = redis.call('ZCARD', added) - most
if over > 0 then
  for _, row in ipairs(redis.call('ZRANGE', added, 0, over - 1)) do remove(row) end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, KEPT_S) end
return count
"""
CLAIM: Final = """
local limit, token, wanted, claims = tonumber(ARGV[1]), ARGV[2], {}, {}
for n = 3, #ARGV do wanted[ARGV[n]] = true end
for _, row in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', seconds(now))) do
  local id, target = string.match(row, '^(%S+) (%S+)$')
  if #claims < limit and wanted[target] then
    local found, message = read(row), redis.call('HGET', messages, id)
    if found and message then
      wanted[target] = nil
      write(row, 'claimed', found.n, token, '')
      redis.call('ZADD', due, seconds(now + CLAIM_S), row)
      table.insert(claims, {target, message, found.n, found.s == 'claimed' and 1 or 0})
    else
      remove(row)
    end
  end
end
return claims
"""
END: Final = """
local row, token, state, tries, after_s, reason = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local found = read(row)
if not found or found.s ~= 'claimed' or found.t ~= token then return 0 end
write(row, state, tries, '', reason)
if state == 'waiting' then
  redis.call('ZADD', due, seconds(now + after_s), row)
else
  redis.call('ZREM', due, row)
end
if state == 'dead' then redis.call('ZADD', dead, seconds(now), row) end
return 1
"""
REVIVE: Final = """
if redis.call('ZREM', dead, ARGV[1]) == 1 then
  write(ARGV[1], 'waiting', 0, '', '')
  redis.call('ZADD', due, seconds(now), ARGV[1])
end
"""
DEAD: Final = """
local found = {}
for _, row in ipairs(redis.call('ZREVRANGE', dead, 0, -1)) do
  local text = redis.call('HGET', messages, string.match(row, '^%S+'))
  table.insert(found, {row, text, redis.call('HGET', rows, row), redis.call('ZSCORE', dead, row)})
end
return found
"""
DISABLE: Final = """
redis.call('HSET', disabled, ARGV[1], seconds(now) .. ' ' .. ARGV[2])
redis.call('EXPIRE', disabled, KEPT_S)
"""
ENABLE: Final = "redis.call('HDEL', disabled, ARGV[1])"
DISABLED: Final = """
local found, known = {}, redis.call('HGETALL', disabled)
for n = 1, #known, 2 do
  local since, reason = string.match(known[n + 1], '^(%S+) (.*)$')
  if tonumber(since) > now - KEPT_S then
    table.insert(found, {known[n], reason})
  else
    redis.call('HDEL', disabled, known[n])
  end
end
return found
"""
CHECK: Final = """
redis.call('HSET', told, 'checked', '1')
local lost = {}
for _, token in ipairs(ARGV) do lost[token] = true end
for _, row in ipairs(#ARGV > 0 and redis.call('ZRANGE', due, 0, -1) or {}) do
  local found = read(row)
  if found and found.s == 'claimed' and lost[found.t] then
    write(row, 'waiting', found.n, '', '')
    redis.call('ZADD', due, seconds(now), row)
  end
end
"""
"""Tokens of claims of which nobody heard, because the answer was lost: they are free again."""


class RedisOutbox:
    """An `Outbox` below `prefix`. most: messages that are kept."""

    def __init__(self, db: RedisDatabase, prefix: str, most: int = MOST) -> None:
        self._db, self._prefix, self._most = db, prefix, most
        scripts = (db.timed_script(f"{COMMON}{text}") for text in (ADD, CLAIM, END, REVIVE, DEAD, CHECK))
        self._add, self._claim, self._end, self._revive, self._dead, self._check = scripts
        scripts = (db.timed_script(f"{COMMON}{text}") for text in (DISABLE, ENABLE, DISABLED))
        self._disable, self._enable, self._disabled = scripts
        self._keys = [f"{prefix}:{name}" for name in NAMES]
        self._unheard: set[str] = set()

    def check(self) -> None:
        lost = list(self._unheard)
        self._check(self._keys, lost)
        self._unheard.difference_update(lost)

    def add(self, message: Message, targets: Sequence[str]) -> bool:
        condition = message.condition
        is_good = int(condition is not None and condition.is_good)
        about = [message.id, text_of(message), message.topic, condition or "", is_good, self._most]
        return bool(self._add(self._keys, [*about, *targets]))

    def told(self, topic: str) -> str | None:
        found: str | None = self._db.read("HGET", f"{self._prefix}:told", topic)
        return found

    def claim(self, targets: Collection[str], limit: int) -> Sequence[Claim]:
        token = secrets.token_hex(8)
        self._unheard.add(token)
        found = self._claim(self._keys, [limit, token, *targets])
        self._unheard.discard(token)
        read = [(message_of(text), target, tries, was) for target, text, tries, was in found]
        return [
            Claim(message, target, token, int(tries), bool(was))
            for message, target, tries, was in read
            if message is not None
        ]

    def finish(self, claim: Claim, given_up: str | None = None) -> bool:
        state, reason = ("sent", "") if given_up is None else ("dead", given_up)
        return self._ended(claim, state, claim.tries, 0, reason)

    def postpone(self, claim: Claim, seconds: float, tries: int) -> bool:
        return self._ended(claim, "waiting", tries, seconds, "")

    def counts(self) -> Counts:
        waiting, dead = self._db.together([("ZRANGE", f"{self._prefix}:{name}", 0, -1) for name in ("due", "dead")])
        return Counts(_by_target(waiting), _by_target(dead))

    def dead(self) -> Sequence[DeadLetter]:
        letters = [_letter(*found) for found in self._dead(self._keys, [])]
        return [letter for letter in letters if letter is not None]

    def revive(self, letter: DeadLetter) -> None:
        self._revive(self._keys, [_row(letter.message, letter.target)])

    def disable(self, target: str, reason: str) -> None:
        self._disable(self._keys, [target, reason])

    def enable(self, target: str) -> None:
        self._enable(self._keys, [target])

    def disabled(self) -> Mapping[str, str]:
        return dict(self._disabled(self._keys, []))

    def close(self) -> None:
        """Whoever opened the Redis closes it."""

    def _ended(self, claim: Claim, state: str, tries: int, after_s: float, reason: str) -> bool:
        row = _row(claim.message, claim.target)
        return bool(self._end(self._keys, [row, claim.token, state, tries, after_s, reason]))


def _row(message: Message, target: str) -> str:
    return f"{message.id} {target}"


def _by_target(rows: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        target = row.rpartition(" ")[2]
        counts[target] = counts.get(target, 0) + 1
    return counts


def _letter(row: str, text: str | None, found: str | None, since: Any) -> DeadLetter | None:
    """What was given up; None for what another version wrote and cannot be read."""
    message = message_of(text or "")
    with suppress(ValueError, KeyError, TypeError):
        about = json.loads(found or "")
        if message is not None:
            return DeadLetter(message, row.rpartition(" ")[2], str(about["r"]), int(about["n"]), float(since))
    return None
