"""Announced closures in a Redis, for all processes that share it: a hash without an expiry, since history needs what was once
announced. Real time is that of the machines, which are set by the network."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from typing import Any, Final

from app.market.announcements.closures import Closures
from app.market.announcements.store import (
    AGAIN_AFTER_S,
    StoredAnnouncements,
    closures_of,
    day_of,
    rows_of,
    text_of,
)
from app.redis_database import RedisDatabase

CLAIM: Final = """
local found = redis.call('HMGET', KEYS[1], 'tried', 'checked', 'answered')
local tried, checked, answered = tonumber(found[1] or ''), found[2], tonumber(found[3] or '')
local today, since, now, again_s = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if checked == today and answered and since <= answered and answered <= now then return 0 end
if tried and tried <= now and now - tried < again_s then return 0 end
redis.call('HSET', KEYS[1], 'tried', ARGV[3])
return 1
"""
FIELDS: Final = ("closures", "checked", "answered")


class RedisAnnouncements:
    """An `AnnouncementStore` in the hash `key`."""

    def __init__(self, db: RedisDatabase, key: str) -> None:
        self._db, self._key = db, key
        self._claim = db.script(CLAIM)

    def check(self) -> None:
        self._write("format", 1)

    def read(self) -> StoredAnnouncements:
        closures, checked, answered = self._db.read("HMGET", self._key, *FIELDS)
        return StoredAnnouncements(_closures_of(closures), day_of(checked or ""), _number(answered))

    def write(self, announcements: StoredAnnouncements) -> None:
        checked, answered = text_of(announcements.checked), repr(announcements.answered)
        self._write("closures", _text(announcements.closures), "checked", checked, "answered", answered, "tried", 0)

    def write_closures(self, closures: Closures) -> None:
        self._write("closures", _text(closures))

    def claim(self, today: date, since: float, now: float) -> bool:
        return bool(self._claim([self._key], [today.isoformat(), repr(since), repr(now), AGAIN_AFTER_S]))

    def close(self) -> None:
        """The connection is that of all that the process keeps in this Redis."""

    def _write(self, *values: Any) -> None:
        self._db.together([("HSET", self._key, *values)])


def _text(closures: Closures) -> str:
    return json.dumps(rows_of(closures))


def _closures_of(text: str | None) -> Closures:
    """What another version wrote, and cannot be read, is as nothing."""
    with suppress(ValueError, TypeError):
        return closures_of(json.loads(text or "[]"))
    return {}


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
