"""The notifier: one process of those that share an outbox looks at the market, and sends what is due.

The lease says which one. A process that dies is replaced once its lease ends; what it was sending is claimed until its claim
ends. The claims alone keep two processes from sending one message, also where both believe to have the lease.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from app.clock import Clock, Timer
from app.errors import Unavailable
from app.market.lease import Lease, Leases
from app.market.single_flight import LruCache
from app.notify.delivery import Delivery
from app.notify.message import Message
from app.notify.outbox import Claim, Counts, Outbox
from app.notify.sending import Send
from app.notify.target import Target
from app.sqlite import Retries

TICK_S: Final = 1.0
LOOKS_EVERY_S: Final = 2.0
COUNTS_EVERY_S: Final = 10.0
ENDS_WITHIN_S: Final = 3.0
"""Real seconds for the attempts that are under way when the process stops."""

AT_ONCE: Final = 2
"""Attempts under way at a time, one for each target. A process with Apprise takes 60 MB."""

MOST_ADDED: Final = 256
"""Messages of which this process knows that they are in the outbox."""

LEASE: Final = "notifier"


class Looks(Protocol):
    """What is to be told (`app.notify.watch.Watch`)."""

    def look(self) -> Iterator[Message]: ...

    def is_stale(self, ticker: str) -> bool: ...

    def wants(self, message: Message) -> bool: ...

    def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Store:
    """What the processes share: the outbox, and the lease of the notifier."""

    outbox: Outbox
    leases: Leases


@dataclass(frozen=True, slots=True)
class Status:
    """What the notifier does. leads: whether it is this process that sends; failure: why the outbox cannot be used; waiting,
    dead: messages by the name of their target, as they were counted last; disabled: the targets that want nothing more, as they
    were known then."""

    leads: bool
    failure: str | None
    waiting: Mapping[str, int]
    dead: Mapping[str, int]
    disabled: Sequence[str]


class Pace:
    """Whether something is due that is done once in `every_s` seconds."""

    def __init__(self, now: Callable[[], float], every_s: float) -> None:
        self._now, self._every_s = now, every_s
        self._next = 0.0

    def take(self) -> bool:
        """Whether it is due. If so, it is due again later."""
        if self._now() < self._next:
            return False
        self._next = self._now() + self._every_s
        return True

    def hasten(self) -> None:
        """It is due now."""
        self._next = 0.0


class Notifier:
    """Looks and sends in the background. `step` does what is due; attempts run on a small pool of threads.

    open_store  opens the outbox, or raises Unavailable; it is called again, at a pace, until it succeeds
    speed       market seconds per real second
    """

    def __init__(
        self,
        targets: Sequence[Target],
        watch: Looks,
        open_store: Callable[[], Store],
        send: Send,
        clock: Clock,
        timer: Timer,
        emit: Callable[..., None],
        speed: float = 1.0,
    ) -> None:
        self._targets = {target.key: target for target in targets}
        self._watch = watch
        self._open_store = open_store
        self._emit = emit
        self._delivery = Delivery(self._targets, watch.is_stale, watch.wants, send, clock, emit, speed)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notify")
        self._store: Store | None = None
        self._retries = Retries(timer.now)
        self._failure: str | None = None
        self._lease: Lease | None = None
        self._looks, self._countings = Pace(timer.now, LOOKS_EVERY_S), Pace(timer.now, COUNTS_EVERY_S)
        self._added: LruCache[str] = LruCache(MOST_ADDED)
        self._running: dict[str, Future[None]] = {}
        self._counts = Counts({}, {})
        self._disabled: Collection[str] = ()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()

    @property
    def targets(self) -> Sequence[Target]:
        return list(self._targets.values())

    def start(self, stopped: threading.Event) -> None:
        """Work in a thread of its own until `stopped` is set. To be called after any fork."""
        self._thread = threading.Thread(target=self.run, args=(stopped,), name="notifier", daemon=True)
        self._thread.start()

    def run(self, stopped: threading.Event) -> None:
        """Step until `stopped` is set, and then let another process lead at once."""
        while not stopped.is_set():
            try:
                self.step()
            except Exception as exc:  # if this ended the thread, nothing would be sent any more
                self._emit("notifier_broke", error=type(exc).__name__)
            self._woken.wait(TICK_S)
            self._woken.clear()
        self._resign()

    def wake(self) -> None:
        """Something happened, or the process stops: step now."""
        self._looks.hasten()
        self._woken.set()

    def step(self) -> None:
        """Take the lease, look at the market, and start the attempts that are due."""
        try:
            store = self._usable()
            if store is None:
                return
            if self._leads(store.leases):
                self._delivery.write_late(store.outbox)
                self._look(store.outbox)
                self._start_due(store.outbox)
                self._count(store.outbox)
            self._succeed()
        except Unavailable as exc:
            self._fail(exc)

    def status(self) -> Status:
        waiting, dead = (self._by_name(counts) for counts in (self._counts.waiting, self._counts.dead))
        disabled = [target.name for key, target in self._targets.items() if key in self._disabled]
        return Status(self._lease is not None, self._failure, waiting, dead, disabled)

    def close(self) -> None:
        """Start nothing more; wait for the thread and for the attempts under way, for ENDS_WITHIN_S at most."""
        self.wake()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(ENDS_WITHIN_S)
        wait(list(self._running.values()), ENDS_WITHIN_S)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._store is not None:
            self._store.outbox.close()

    def _leads(self, leases: Leases) -> bool:
        """Whether this process is the notifier. Takes or renews the lease."""
        before, self._lease = self._lease, leases.acquire(LEASE)
        if self._lease is not None and (before is None or before.token != self._lease.token):
            self._added.forget(lambda key: True)  # others may have told of newer states meanwhile
            self._watch.forget()
            self._looks.hasten()
            self._emit("notifier_leads", token=self._lease.token)
        return self._lease is not None

    def _usable(self) -> Store | None:
        """The opened store; None while it is too early to try one again that could not be used."""
        if self._failure is not None and not self._retries.take():
            return None
        if self._store is None:
            self._store = self._open_store()
        if self._failure is not None:
            self._store.outbox.check()
        return self._store

    def _fail(self, exc: Unavailable) -> None:
        if self._failure is None:
            self._emit("notifications_unavailable", error=exc.detail)
        self._failure, self._lease = exc.message, None
        self._retries.postpone()

    def _succeed(self) -> None:
        if self._failure is not None:
            self._failure = None
            self._emit("notifications_recovered")

    def _resign(self) -> None:
        store, lease = self._store, self._lease
        if store is not None and lease is not None:
            with suppress(Unavailable):  # it ends by itself
                store.leases.release(lease)
        self._lease = None

    def _look(self, outbox: Outbox) -> None:
        if not self._looks.take():
            return
        for message in self._watch.look():
            key, what = (message.id, message.id) if message.condition is None else (message.topic, message.condition)
            if self._added.get(key) != what:
                outbox.add(message, list(self._targets))
                self._added.put(key, what)

    def _start_due(self, outbox: Outbox) -> None:
        self._running = {key: future for key, future in self._running.items() if not future.done()}
        free = [key for key in self._targets if key not in self._running]
        room = AT_ONCE - len(self._running)
        for claim in outbox.claim(free, room) if room > 0 and free else ():
            self._running[claim.target] = self._pool.submit(self._attempt, outbox, claim)

    def _attempt(self, outbox: Outbox, claim: Claim) -> None:
        try:
            self._delivery.deliver(outbox, claim)
        except Unavailable as exc:
            self._emit("notifications_unavailable", error=exc.detail)
        except Exception as exc:  # the claim ends by itself, and the message is tried again
            self._emit("notifier_broke", error=type(exc).__name__)
        self._countings.hasten()
        self._woken.set()

    def _count(self, outbox: Outbox) -> None:
        if self._countings.take():
            self._counts, self._disabled = outbox.counts(), outbox.disabled()

    def _by_name(self, counts: Mapping[str, int]) -> dict[str, int]:
        return {target.name: counts.get(key, 0) for key, target in self._targets.items()}
