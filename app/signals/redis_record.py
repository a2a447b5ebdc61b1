"""The record in Redis, which any number of servers share.

Keys, by ticker, all of a ticker in one slot of a cluster:

    <prefix>:{SPY}:signals   hash    2025-03-11T13 -> the signal, JSON
    <prefix>:{SPY}:order     sorted  2025-03-11T13, all with score 0, so that Redis sorts them by their letters
    <prefix>:{SPY}:opens     hash    2025-03-11 -> [price, source], JSON
    <prefix>:{SPY}:elevens   hash    2025-03-11 -> price, JSON

No key expires (ruling S7). A year of a ticker is about 1,500 signals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from app.errors import Unavailable
from app.market.opens import OfficialOpen
from app.redis_database import RedisDatabase
from app.signals.durability import Durability, durability_of
from app.signals.policy import Decision
from app.signals.record import signal_of, text_of
from app.signals.record_entry import Entry, OpenEntry, SignalEntry, eleven_entry, open_entry

LOCK: Final = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then redis.call('ZADD', KEYS[2], 0, ARGV[1]) end
return redis.call('HGET', KEYS[1], ARGV[1])
"""
ADD: Final = """
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
"""
FORGET: Final = """
for _, key in ipairs(KEYS) do
  for _, day in ipairs(redis.call('HKEYS', key)) do
    if day < ARGV[1] then redis.call('HDEL', key, day) end
  end
end
"""
CHECK: Final = "redis.call('SET', KEYS[1], ARGV[1])"

SCANNED: Final = 1000
"""Keys that one step of a scan looks at."""
_GLOB: Final = re.compile(r"[\\\[\]*?]")
_ESCAPED: Final = r"\\\g<0>"

Written = tuple[Sequence[str], Sequence[str]]
"""Keys of an entry, and its field and text: the arguments of LOCK or ADD."""


class RedisRecord:
    """A `Record` under keys that begin with `prefix`. Raises Unavailable if Redis cannot be read and written."""

    def __init__(self, db: RedisDatabase, prefix: str) -> None:
        self._db, self._prefix = db, prefix
        self._lock, self._add, self._forget, self._check = (db.script(text) for text in (LOCK, ADD, FORGET, CHECK))
        self.check()

    def check(self) -> None:
        self._check([f"{self._prefix}:checked"], ["1"])

    def signal(self, ticker: str, day: date, hour: int) -> Decision | None:
        text = self._db.read("HGET", self._key(ticker, "signals"), _field(day, hour))
        return None if text is None else signal_of(ticker, day.isoformat(), hour, text)

    def signals(self, ticker: str, after: tuple[date, int], last: date, limit: int) -> Sequence[Decision]:
        found: list[Decision] = []
        begin, end = _field(*after), f"[{last.isoformat()}T~"
        while len(found) < limit:
            wanted = limit - len(found)
            order = self._key(ticker, "order")
            fields = self._db.read("ZRANGE", order, f"({begin}", end, "BYLEX", "LIMIT", 0, wanted)
            found += self._signals(ticker, fields)
            if len(fields) < wanted:
                break
            begin = fields[-1]
        return found

    def lock(self, decision: Decision) -> Decision:
        text = self._lock(*self._of_signal(decision))
        return signal_of(decision.ticker, decision.day.isoformat(), decision.hour, text) or decision

    def tickers(self) -> Sequence[str]:
        found, cursor = set(), "0"
        pattern = f"{_GLOB.sub(_ESCAPED, self._prefix)}:{{*}}:*"
        while True:
            cursor, keys = self._db.read("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)
            found |= {key.removeprefix(f"{self._prefix}:{{").partition("}")[0] for key in keys}
            if str(cursor) == "0":
                return sorted(found)

    def official_open(self, ticker: str, day: date) -> OfficialOpen | None:
        return _open_of(self._db.read("HGET", self._key(ticker, "opens"), day.isoformat()))

    def opens(self, ticker: str) -> Sequence[tuple[date, OfficialOpen]]:
        return [(day, OfficialOpen(*value)) for day, value in self._by_day(ticker, "opens")]

    def add_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        return _open_of(self._add(*self._of_open(ticker, day, official_open))) or official_open

    def eleven(self, ticker: str, day: date) -> float | None:
        text = self._db.read("HGET", self._key(ticker, "elevens"), day.isoformat())
        return None if text is None else float(_loaded(text))

    def elevens(self, ticker: str) -> Sequence[tuple[date, float]]:
        return [(day, float(value)) for day, value in self._by_day(ticker, "elevens")]

    def add_eleven(self, ticker: str, day: date, price: float) -> float:
        return float(_loaded(self._add(*self._of_eleven(ticker, day, price))))

    def add_many(self, entries: Sequence[Entry]) -> Sequence[tuple[Entry | None, Entry | None]]:
        """In one round trip: each place is read, then added to, then read again."""
        answers = self._db.together([command for entry in entries for command in self._addition(entry)])
        places = zip(entries, answers[::3], answers[2::3], strict=True)
        return [(_entry_at(entry, before), _entry_at(entry, after)) for entry, before, after in places]

    def _addition(self, entry: Entry) -> Sequence[Sequence[Any]]:
        if isinstance(entry, SignalEntry):
            script, (keys, args) = LOCK, self._of_signal(entry.signal)
        elif isinstance(entry, OpenEntry):
            script, (keys, args) = ADD, self._of_open(entry.ticker, entry.day, OfficialOpen(entry.price, entry.source))
        else:
            script, (keys, args) = ADD, self._of_eleven(entry.ticker, entry.day, entry.price)
        read = ("HGET", keys[0], args[0])
        return read, ("EVAL", script, len(keys), *keys, *args), read

    def _of_signal(self, decision: Decision) -> Written:
        keys = [self._key(decision.ticker, "signals"), self._key(decision.ticker, "order")]
        return keys, [_field(decision.day, decision.hour), text_of(decision)]

    def _of_open(self, ticker: str, day: date, official_open: OfficialOpen) -> Written:
        text = json.dumps([official_open.price, official_open.source])
        return [self._key(ticker, "opens")], [day.isoformat(), text]

    def _of_eleven(self, ticker: str, day: date, price: float) -> Written:
        return [self._key(ticker, "elevens")], [day.isoformat(), json.dumps(price)]

    def forget_prices(self, ticker: str, before: date) -> None:
        self._forget([self._key(ticker, "opens"), self._key(ticker, "elevens")], [before.isoformat()])

    def durability(self) -> Durability:
        return durability_of(self._db.ask("INFO"), self._db.ask("CONFIG GET", "save"))

    def close(self) -> None:
        """Whoever opened the Redis closes it."""

    def _signals(self, ticker: str, fields: Sequence[str]) -> list[Decision]:
        """The signals of these fields, without those that cannot be read."""
        if not fields:
            return []
        texts = self._db.read("HMGET", self._key(ticker, "signals"), *fields)
        read = [
            None if text is None else signal_of(ticker, *_day_and_hour(field), text)
            for field, text in zip(fields, texts, strict=True)
        ]
        return [decision for decision in read if decision is not None]

    def _by_day(self, ticker: str, what: str) -> list[tuple[date, Any]]:
        """All of a hash by day."""
        texts = self._db.read("HGETALL", self._key(ticker, what))
        return [(date.fromisoformat(day), _loaded(texts[day])) for day in sorted(texts)]

    def _key(self, ticker: str, what: str) -> str:
        return f"{self._prefix}:{{{ticker}}}:{what}"


def _field(day: date, hour: int) -> str:
    return f"{day.isoformat()}T{hour:02}"


def _day_and_hour(field: str) -> tuple[str, int]:
    day, _, hour = field.partition("T")
    return day, int(hour)


def _entry_at(entry: Entry, text: str | None) -> Entry | None:
    """What `text` says in the place of an entry; None for nothing, and for a signal that cannot be read."""
    if text is None:
        return None
    if isinstance(entry, SignalEntry):
        place = entry.signal
        signal = signal_of(place.ticker, place.day.isoformat(), place.hour, text)
        return None if signal is None else SignalEntry(signal=signal)
    if isinstance(entry, OpenEntry):
        return open_entry(entry.ticker, entry.day, OfficialOpen(*_loaded(text)))
    return eleven_entry(entry.ticker, entry.day, float(_loaded(text)))


def _open_of(text: str | None) -> OfficialOpen | None:
    return None if text is None else OfficialOpen(*_loaded(text))


def _loaded(text: str) -> Any:
    """What the record keeps as JSON. Raises Unavailable for what nobody here has written."""
    try:
        return json.loads(text)
    except ValueError as exc:
        raise Unavailable("a price in the record cannot be read", part="store", detail=f"not JSON: {text!r}") from exc
