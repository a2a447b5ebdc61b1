"""The log of live events in Redis, for all processes that share it, on any machine.

Keys, by ticker, all of a ticker in one slot of a cluster:

    <prefix>:{SPY}:head    hash    where the sequence has come to, and what a snapshot says then
    <prefix>:{SPY}:events  stream  its newest events; the id of the event `seq` is `seq-0`
    <prefix>:{SPY}:lead    hash    the lease of the process that extends the sequence (RedisLeases)

A sequence never outlives the run of the Redis that took it (`run_id`): a Redis that was started again or that has taken the
place of another one may have lost events that were told, and would give their numbers to other ones. A head of another run is
not known, so that the next process that leads begins a new sequence. Where scripts may not read INFO, this is not seen.

What was appended is announced on the channel `<prefix>:appended`. An announcement that is lost costs time only: the head says
what there is. Keys expire after KEPT_S without an append.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from app.clock import Timer
from app.errors import Unavailable
from app.live.event_log import MAX_BYTES, MAX_EVENTS, Head
from app.live.live_event import Kind, LiveEvent, Position, noticed_of_json
from app.market.lease import Lease
from app.market.redis_leases import HELD, RedisLeases
from app.redis_database import RedisDatabase

T = TypeVar("T")

KEPT_S: Final = 7 * 24 * 3600
"""Seconds after which a sequence that nobody extends is forgotten: longer than any pause of the market."""

RUN: Final = """
local function run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'
end
"""
READ_HEAD: Final = f"""{RUN}
local row = redis.call('HMGET', KEYS[1], 'version', 'run')
if row[1] == ARGV[1] then return row[1] end
if not row[1] or row[2] ~= run() then return false end
return redis.call('HMGET', KEYS[1], 'version', 'epoch', 'seq', 'noticed', 'snapshot')
"""
"""The head, or its version alone if that is known already."""

APPEND: Final = f"""{RUN}{HELD}
local head, events, lead = unpack(KEYS)
local holder, token, before, unreadable, version, epoch, seq, noticed, snapshot, channel, message = unpack(ARGV, 1, 11)
local this_run = run()
local known = redis.call('HMGET', head, 'run', 'version', 'epoch', 'seq', 'bytes')
if known[1] == this_run and known[2] == version then return 1 end
if not held(lead, holder, token) then return 0 end
local is_known = known[1] == this_run and known[2] ~= unreadable
if before ~= (is_known and known[3] .. '-' .. known[4] or '') then return 0 end
local bytes = is_known and known[3] == epoch and tonumber(known[5]) or 0
if not is_known or known[3] ~= epoch then redis.call('DEL', events) end
for n = 12, #ARGV, 3 do
  bytes = bytes + #ARGV[n + 2]
  redis.call('XADD', events, ARGV[n] .. '-0', 'epoch', epoch, 'kind', ARGV[n + 1], 'bytes', bytes, 'body', ARGV[n + 2])
end
redis.call('HSET', head, 'run', this_run, 'version', version, 'epoch', epoch, 'seq', seq, 'bytes', bytes,
  'noticed', noticed, 'snapshot', snapshot)
redis.call('XTRIM', events, 'MAXLEN', {MAX_EVENTS})
local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
while first and bytes - (first[2][6] - #first[2][8]) > {MAX_BYTES} do
  redis.call('XDEL', events, first[1])
  first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
end
redis.call('EXPIRE', head, {KEPT_S})
redis.call('EXPIRE', events, {KEPT_S})
redis.pcall('PUBLISH', channel, message)
return 1
"""
"""`bytes` of an event: the bytes of the sequence's bodies up to its own. A version is that of one append: where the head has it
already, the append was done, and its answer was lost."""

ANNOUNCE: Final = "redis.pcall('PUBLISH', ARGV[1], ARGV[2])"


class RedisEventLog:
    """An `EventLog` below `prefix`, which has no hash tag. It reads a head whole only after that has changed."""

    def __init__(self, db: RedisDatabase, prefix: str, timer: Timer) -> None:
        self._db, self._prefix = db, prefix
        self._read_head = db.script(READ_HEAD, "read")
        self._append, self._announce = db.script(APPEND), db.script(ANNOUNCE)
        self._leases = RedisLeases(db, prefix, timer)
        self._leads: dict[str, Lease] = {}
        self._known: dict[str, tuple[str, Head | None]] = {}  # versions and heads by ticker; None: not understood
        self._is_well = True

    def leads(self, ticker: str) -> bool:
        lease = self._patiently(lambda: self._leases.acquire(_lead(ticker)))
        if lease is None:
            self._leads.pop(ticker, None)
            return False
        self._leads[ticker] = lease
        return True

    def resign(self, ticker: str) -> None:
        lease = self._leads.pop(ticker, None)
        if lease is not None:
            self._patiently(lambda: self._leases.release(lease))
            self._announce([], [self._channel, self._message(ticker)])

    def head(self, ticker: str) -> Head | None:
        version, head = self._known.get(ticker, ("", None))
        row = self._patiently(lambda: self._read_head([self._key(ticker, "head")], [version]))
        if row is None:
            self._known.pop(ticker, None)
            return None
        if row != version:
            head = _head_of(*row[1:])
            self._known[ticker] = row[0], head
        return head

    def between(self, ticker: str, after: Position, last: Position) -> Sequence[LiveEvent]:
        span = f"{after.forward(1).seq}-0", f"{last.seq}-0"
        rows = self._patiently(lambda: self._db.read("XRANGE", self._key(ticker, "events"), *span))
        found = [_event_of(ticker, id_, fields) for id_, fields in rows]
        return [event for event in found if event.position.epoch == after.epoch]

    def append(self, ticker: str, before: Position | None, events: Sequence[LiveEvent], head: Head) -> bool:
        lease = self._leads.get(ticker)
        if lease is None:
            return False
        version, known = secrets.token_hex(8), self._known.pop(ticker, None)
        unreadable = known[0] if known is not None and known[1] is None else ""
        keys = [self._key(ticker, "head"), self._key(ticker, "events"), self._leases.key(lease.name)]
        args = [
            *(lease.holder, lease.token, "" if before is None else str(before), unreadable),
            *(version, *head.position, head.noticed.as_json(), head.snapshot, self._channel, self._message(ticker)),
            *(part for event in events for part in (event.position.seq, event.kind.value, event.body)),
        ]
        if not self._patiently(lambda: self._append(keys, args)):
            return False
        self._known[ticker] = version, head
        return True

    def appended_elsewhere(self) -> Iterator[str]:
        """The tickers to which other processes append, or which they resign, from now on, until the Redis is closed; first an
        empty text, once it listens. Raises Unavailable, and Refused where it may not listen."""
        for message in self._db.messages(self._channel):
            holder, _, ticker = message.partition(" ")
            if holder != self._leases.holder:
                yield ticker

    def close(self) -> None:
        """Whoever opened the Redis closes it."""

    def _patiently(self, work: Callable[[], T]) -> T:
        """Does it once more, at once, if it fails: one answer that is slow or lost is no reason to leave Redis. A Redis that
        failed before is given one chance alone; what began before that has its second one, since one moment in which Redis
        stands still meets all tickers. Work that was done although its answer was lost may be done again."""
        was_well = self._is_well
        try:
            result = work()
        except Unavailable:
            if not was_well:
                raise
            self._is_well = False
            result = work()
        self._is_well = True
        return result

    @property
    def _channel(self) -> str:
        return f"{self._prefix}:appended"

    def _message(self, ticker: str) -> str:
        return f"{self._leases.holder} {ticker}"

    def _key(self, ticker: str, what: str) -> str:
        return f"{self._prefix}:{{{ticker}}}:{what}"


def _lead(ticker: str) -> str:
    """The name of a ticker's lease, whose key lies beside the ticker's others."""
    return f"{{{ticker}}}:lead"


def _head_of(epoch: str, seq: str, noticed: str, snapshot: str) -> Head | None:
    """None for what another version has written."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        return Head(Position(epoch, int(seq)), noticed_of_json(noticed), snapshot.encode())
    return None


def _event_of(ticker: str, id_: str, fields: Any) -> LiveEvent:
    seq, _, _ = id_.partition("-")
    return LiveEvent(ticker, Kind(fields["kind"]), Position(fields["epoch"], int(seq)), fields["body"].encode())
