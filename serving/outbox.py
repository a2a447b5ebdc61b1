"""What one client is sent, in order, without waiting for it.

`Outbox.post` sends at once what the kernel takes. What it does not take waits: the rest of a message that was begun, which is
always sent whole, and the newest message of each key. A greenlet sends it, and exists only while something waits. An outbox
belongs to one thread, that of the worker's greenlets; any greenlet may post.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any, Final

import gevent
from gevent.socket import wait

from serving.sockets import send_now, unsent_by

WRITE: Final = 2
"""The event of libev that a descriptor can be written to."""


class Slow(StrEnum):
    """Why a client is too slow. stalled: it took no byte for too long; full: more waits for it than the bounds allow."""

    STALLED = "stalled"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class OutboxBounds:
    """What one client may leave waiting.

    messages   messages that wait
    bytes      bytes of the messages that wait, the rest of the one that was begun included
    unreplaced bytes that wait before newer messages replace older ones of their keys: with more than 0, a client that reads
               gets every message of a burst
    stalled_s  real seconds in which a client for which something waits takes no byte
    finish_s   real seconds for what waits and the last words, once the outbox finishes or its client is too slow
    look_s     real seconds between two looks at a client for which something waits
    """

    messages: int = 256
    bytes: int = 768 << 10
    unreplaced: int = 0
    stalled_s: float = 10.0
    finish_s: float = 2.0
    look_s: float = 0.25


BOUNDS: Final = OutboxBounds()


@dataclass(slots=True)
class OutboxCounters:
    """What all outboxes of a process did, and what waits in them now.

    sent           messages that the kernel took whole
    replaced       messages that were not sent, because a newer one of their key came
    slow           clients that were too slow, by reason
    blocked        outboxes in which something waits
    waiting_bytes  bytes that wait in them
    """

    sent: int = 0
    replaced: int = 0
    slow: Counter[tuple[str, ...]] = field(default_factory=Counter)
    blocked: int = 0
    waiting_bytes: int = 0


class Elapsed(Exception):
    """A look at a client is due."""


class Waiting:
    """The rest of a message that was begun, and the newest message of each key, in the order of their posting. `counters` hears
    of every change."""

    __slots__ = ("_counters", "_messages", "_rest", "size")

    def __init__(self, counters: OutboxCounters) -> None:
        self.size = 0
        self._rest = memoryview(b"")
        self._messages: dict[Hashable, bytes] = {}
        self._counters = counters

    def __len__(self) -> int:
        """How many messages wait that were not begun."""
        return len(self._messages)

    @property
    def is_begun(self) -> bool:
        """Whether a message was begun and not sent whole."""
        return len(self._rest) > 0

    def begin(self, rest: memoryview) -> None:
        """A message was begun, and this is the rest of it."""
        self._rest = rest
        self._resize(len(rest))

    def add(self, data: bytes, key: Hashable | None) -> bool:
        """Append a message in place of the one of the same key; one without a key is never replaced. Returns whether nothing
        was replaced."""
        replaced = None if key is None else self._messages.pop(key, None)
        self._messages[object() if key is None else key] = data
        self._resize(len(data) - len(replaced or b""))
        self._counters.replaced += replaced is not None
        return replaced is None

    def send_by(self, send: Callable[[bytes | memoryview], int]) -> bool:
        """Send as much as `send` takes. Returns whether that was everything."""
        while self.size:
            data: bytes | memoryview = self._rest or next(iter(self._messages.values()))
            sent = send(data)
            if not sent:
                return False
            if not self._rest:
                del self._messages[next(iter(self._messages))]
            self._rest = memoryview(data)[sent:]
            self._resize(-sent)
            self._counters.sent += not self._rest
        return True

    def discard(self, *, begun: bool) -> None:
        """Forget what was not begun. begun: and the rest of what was."""
        if begun:
            self._rest = memoryview(b"")
        self._messages.clear()
        self._resize(len(self._rest) - self.size)

    def _resize(self, by: int) -> None:
        self.size += by
        self._counters.waiting_bytes += by


class _State(Enum):
    """SLOW: its client is too slow, and its owner is to finish or close it."""

    OPEN = auto()
    SLOW = auto()
    FINISHING = auto()
    OVER = auto()


OPEN: Final = _State.OPEN


def _nothing() -> None:
    pass


class Outbox:
    """The messages to one client over its socket, one of gevent's, whose send buffer (SO_SNDBUF) its owner bounds.

    on_slow(reason)  its client is too slow: what was not begun is discarded, nothing more is accepted, and the owner calls
                     `finish` or `close`
    on_drained()     everything that waited has been sent, and the outbox is open
    on_over()        nothing more is sent: `finish` is through or ran out of time, or the socket failed. Not called for `close`

    The calls come from the greenlet that posts or from the outbox's own; they must not wait. The owner calls `close` before it
    closes the socket: the outbox then holds its descriptor no more.

    written        bytes that the kernel took
    has_discarded  a message that was not replaced was not sent, or not sent whole
    is_truncated   a message was begun and never sent whole, so that nothing else may be sent over the socket
    is_broken      the socket failed: the client has left
    """

    __slots__ = (
        "_bounds",
        "_counters",
        "_ends",
        "_moved_at",
        "_now",
        "_on_drained",
        "_on_over",
        "_on_slow",
        "_send_now",
        "_sock",
        "_state",
        "_taken",
        "_waiting",
        "_watcher",
        "has_discarded",
        "is_broken",
        "is_truncated",
        "written",
    )

    def __init__(
        self,
        sock: Any,
        counters: OutboxCounters,
        *,
        on_slow: Callable[[Slow], None],
        on_drained: Callable[[], None] = _nothing,
        on_over: Callable[[], None] = _nothing,
        bounds: OutboxBounds = BOUNDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.written = 0
        self.has_discarded = self.is_truncated = self.is_broken = False
        self._sock = sock
        self._send_now = send_now(sock)
        self._counters = counters
        self._on_slow = on_slow
        self._on_drained = on_drained
        self._on_over = on_over
        self._bounds = bounds
        self._now = now
        self._state = _State.OPEN
        self._waiting = Waiting(counters)
        self._watcher: Any = None
        self._moved_at = self._ends = 0.0
        self._taken = 0

    @property
    def is_open(self) -> bool:
        """Whether messages are accepted."""
        return self._state is _State.OPEN

    @property
    def is_over(self) -> bool:
        """Whether nothing more is sent."""
        return self._state is _State.OVER

    @property
    def is_blocked(self) -> bool:
        """Whether something waits for the client."""
        return self._watcher is not None

    def post(self, data: bytes, key: Hashable | None = None) -> bool:
        """Send a message behind those before it, or keep it until the client takes it. Returns False where a message is lost to
        the client: the one that waited under this key, or this one if the outbox accepts no more."""
        return self._state is OPEN and (not data or self._put(data, key))

    def finish(self, last: bytes = b"") -> None:
        """Accept nothing more; send what waits and `last`, for `finish_s` at most, and then call `on_over`, which may happen
        before this returns."""
        if self._state in (_State.FINISHING, _State.OVER):
            return
        self._state, self._ends = _State.FINISHING, self._now() + self._bounds.finish_s
        if last:
            self._put(last, None)
        if not self.is_blocked:
            self._end()

    def close(self) -> None:
        """Send nothing more, and hold the descriptor no more. A second call does nothing."""
        self._state = _State.OVER
        self.is_truncated |= self._waiting.is_begun
        self._discard(begun=True)
        self._unblock()

    def _end(self) -> None:
        if not self.is_over:
            self.close()
            self._on_over()

    def _put(self, data: bytes, key: Hashable | None) -> bool:
        """Few calls and look-ups: all that is sent to all clients passes here."""
        if self._watcher is not None:
            return self._keep(data, key)
        try:
            sent = self._send_now(data)
            self.written += sent
        except OSError:
            sent = self._send(data)
        if sent == len(data):
            self._counters.sent += 1
            return True
        if self.is_over:
            return False
        self._block()
        if not sent:
            return self._keep(data, key)
        self._waiting.begin(memoryview(data)[sent:])
        return True

    def _keep(self, data: bytes, key: Hashable | None) -> bool:
        is_kept = self._waiting.add(data, key if self._waiting.size >= self._bounds.unreplaced else None)
        if self._state is _State.OPEN and self._is_full():
            self._give_up(Slow.FULL)
        return is_kept and self._state is _State.OPEN

    def _send(self, data: bytes | memoryview) -> int:
        """How many bytes the kernel takes now. An error of the socket ends the outbox."""
        try:
            sent = self._send_now(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.is_broken = True
            self._end()
            return 0
        self.written += sent
        return sent

    def _is_full(self) -> bool:
        return self._waiting.size > self._bounds.bytes or len(self._waiting) > self._bounds.messages

    def _give_up(self, reason: Slow) -> None:
        self._state, self._ends = _State.SLOW, self._now() + self._bounds.finish_s
        self._discard(begun=False)
        self._counters.slow[reason.value,] += 1
        self._on_slow(reason)

    def _discard(self, *, begun: bool) -> None:
        size = self._waiting.size
        self._waiting.discard(begun=begun)
        self.has_discarded |= self._waiting.size < size

    def _block(self) -> None:
        """Something waits from now on."""
        self._counters.blocked += 1
        self._moved_at, self._taken = self._now(), self.written - unsent_by(self._sock)
        self._watcher = gevent.get_hub().loop.io(self._sock.fileno(), WRITE)
        gevent.spawn(self._flush, self._watcher)

    def _unblock(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            self._counters.blocked -= 1
            watcher.stop()
            watcher.close()

    def _flush(self, watcher: Any) -> None:
        """Send what waits, as the client takes it. Whoever unblocks the outbox ends this greenlet, at its next look."""
        while self._watcher is watcher:
            with suppress(Elapsed):
                wait(watcher, self._bounds.look_s, Elapsed)
            if self._watcher is watcher:
                self._look()

    def _look(self) -> None:
        is_everything = self._waiting.send_by(self._send)
        if self.is_over:
            return
        if is_everything:
            self._unblock()
            self._drained()
        elif self._state is not _State.OPEN:
            if self._now() >= self._ends:
                self._end()
        elif self._is_stalled():
            self._give_up(Slow.STALLED)

    def _drained(self) -> None:
        if self._state is _State.OPEN:
            self._on_drained()
        elif self._state is _State.FINISHING:
            self._end()

    def _is_stalled(self) -> bool:
        now, taken = self._now(), self.written - unsent_by(self._sock)
        if taken > self._taken:
            self._taken, self._moved_at = taken, now
        return now - self._moved_at > self._bounds.stalled_s
