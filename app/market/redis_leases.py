"""Leases in a Redis, for all processes that share it, on any machine.

Each lease is a hash `<prefix>:<name>` with its holder, its fencing token and the moment when it ends. The moments are those of
Redis' own clock, so that no machine's clock matters; one that is set back cannot make a lease last, because one that seems to
end later than LEASE_S from now is free. A token is never smaller than the milliseconds since 1970 at which its holder changed:
it grows also after Redis has lost or forgotten the one before.

Keys that are renewed together must lie in one slot of a cluster: the prefix, or the name, has a hash tag.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from app.clock import Timer
from app.market.lease import FORGET_AFTER_S, LEASE_S, RENEW_AFTER_S, HeldLeases, Lease
from app.redis_database import RedisDatabase

BOUNDS: Final = f"""
local LEASE_S, RENEW_AFTER_S, FORGET_AFTER_S = {LEASE_S}, {RENEW_AFTER_S}, {FORGET_AFTER_S:.0f}
"""

HELD: Final = """
local function held(key, holder, token)
  local row = redis.call('HMGET', key, 'holder', 'token')
  return row[1] == holder and row[2] == token
end
"""
"""A function of Lua: whether nobody else has had the lease at `key` since `holder` was given it with `token`."""

READ: Final = """
local row = redis.call('HMGET', KEYS[1], 'holder', 'token', 'expires')
local holder, token, expires = row[1], row[2], tonumber(row[3])
local runs = expires and now < expires and expires <= now + LEASE_S + RENEW_AFTER_S
"""
ACQUIRE: Final = """
if runs and holder ~= ARGV[1] then return false end
if runs and expires - LEASE_S <= now and now < expires - LEASE_S + RENEW_AFTER_S then return {token, row[3]} end
if holder ~= ARGV[1] then
  token = string.format('%.0f', math.max((tonumber(token) or 0) + 1, math.floor(now * 1000)))
end
expires = string.format('%.6f', now + LEASE_S)
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', token, 'expires', expires)
redis.call('EXPIRE', KEYS[1], FORGET_AFTER_S)
return {token, expires}
"""
CURRENT: Final = """
return runs and row
"""
SET_END: Final = """
local expires, are_held = string.format('%.6f', now + ARGV[1]), {}
for n, key in ipairs(KEYS) do
  local is_held = held(key, ARGV[2], ARGV[n + 2])
  if is_held then
    redis.call('HSET', key, 'expires', expires)
    redis.call('EXPIRE', key, FORGET_AFTER_S)
  end
  are_held[n] = is_held and 1 or 0
end
return are_held
"""


class RedisLeases:
    """`Leases` below `prefix`. `timer` says when what is held is due for renewal."""

    def __init__(self, db: RedisDatabase, prefix: str, timer: Timer) -> None:
        self.holder = secrets.token_hex(8)
        self._db, self._prefix, self._timer = db, prefix, timer
        self._acquire = db.timed_script(BOUNDS + READ + ACQUIRE)
        self._current = db.timed_script(BOUNDS + READ + CURRENT)
        self._set_end = db.timed_script(BOUNDS + HELD + SET_END)
        self._held: HeldLeases[tuple[Lease, float]] = HeldLeases()

    def acquire(self, name: str) -> Lease | None:
        found = self._acquire([self.key(name)], [self.holder])
        if found is None:
            self._held.discard(name)
            return None
        lease = Lease(name, self.holder, int(found[0]), float(found[1]))
        self._held.add(name, (lease, self._timer.now()))
        return lease

    def renew_held(self) -> None:
        now = self._timer.now()
        due = [held for held in self._held.all() if now - held[1] >= RENEW_AFTER_S]
        for held, is_held in zip(due, self._end_after(LEASE_S, [lease for lease, _ in due]), strict=True):
            self._held.end_renewal(held[0].name, held, (held[0], now) if is_held else None)

    def drop_held(self) -> None:
        self._held.clear()

    def release(self, lease: Lease) -> None:
        self._held.discard(lease.name)
        self._end_after(0, [lease])

    def current(self, name: str) -> Lease | None:
        found = self._current([self.key(name)], [])
        return None if found is None else Lease(name, found[0], int(found[1]), float(found[2]))

    def is_current(self, lease: Lease) -> bool:
        found = self._db.read("HMGET", self.key(lease.name), "holder", "token")
        return bool(found == [lease.holder, str(lease.token)])

    def key(self, name: str) -> str:
        """The key of a lease, for a script that writes what the lease guards (HELD)."""
        return f"{self._prefix}:{name}"

    def _end_after(self, seconds: float, leases: Sequence[Lease]) -> Sequence[bool]:
        """Makes the leases end so many seconds from now. Returns which of them were still held."""
        if not leases:
            return []
        keys, tokens = [self.key(lease.name) for lease in leases], [lease.token for lease in leases]
        return [bool(n) for n in self._set_end(keys, [seconds, self.holder, *tokens])]
