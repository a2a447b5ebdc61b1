"""The notifier: one process of those that share an outbox looks at the market, and sends what is due.

The lease says which one. A process that dies is replaced once its lease ends; what it was sending is claimed until its claim
ends. The claims alone keep two processes from sending one message, also where both believe to have the lease.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from app.clock import Clock, Timer
from app.errors import Unavailable
from app.market.lease import Lease, Leases
from app.market.single_flight import LruCache
from app.notify.backoff import DELAYS_S, delay_s
from app.notify.message import Kind, Message
from app.notify.outbox import Claim, Counts, Outbox
from app.notify.sending import ATTEMPT_S, Outcome, Result, Send
from app.notify.target import Channel, Target
from app.sqlite import Retries

TICK_S: Final = 1.0
LOOKS_EVERY_S: Final = 2.0
COUNTS_EVERY_S: Final = 10.0
ENDS_WITHIN_S: Final = 3.0
"""Real seconds for the attempts that are under way when the process stops."""

AT_ONCE: Final = 2
"""Attempts under way at a time, one for each target. A process with Apprise takes 60 MB."""

HELD_S: Final = 15.0
"""Real seconds after which a signal is looked at again whose market data are stale."""

MOST_UNWRITTEN: Final = 64
MOST_ADDED: Final = 256
"""Messages of which this process knows that they are in the outbox."""

LEASE: Final = "notifier"

TOO_LATE = "too late"
REPEATED = "it may have arrived: the process that sent it ended before it could say so"
OVERTAKEN = "it is not so any more"
STALE = "the market data are stale"


class Looks(Protocol):
    """What is to be told (`app.notify.watch.Watch`)."""

    def look(self) -> Iterator[Message]: ...

    def is_stale(self, ticker: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Store:
    """What the processes share: the outbox, and the lease of the notifier."""

    outbox: Outbox
    leases: Leases


@dataclass(frozen=True, slots=True)
class Status:
    """What the notifier does. leads: whether it is this process that sends; failure: why the outbox cannot be used; waiting,
    dead: messages by the name of their target, as they were counted last; disabled: the targets that want nothing more."""

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
        self._send = send
        self._clock = clock
        self._timer = timer
        self._emit = emit
        self._speed = speed
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notify")
        self._store: Store | None = None
        self._retries = Retries(timer.now)
        self._failure: str | None = None
        self._lease: Lease | None = None
        self._looks, self._countings = Pace(timer.now, LOOKS_EVERY_S), Pace(timer.now, COUNTS_EVERY_S)
        self._added: LruCache[str] = LruCache(MOST_ADDED)
        self._running: dict[str, Future[None]] = {}
        self._unwritten: deque[tuple[Claim, str | None]] = deque(maxlen=MOST_UNWRITTEN)
        self._disabled: dict[str, str] = {}
        self._counts = Counts({}, {})
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
                self._write_late(store.outbox)
                self._look(store.outbox)
                self._start_due(store.outbox)
                self._count(store.outbox)
            self._succeed()
        except Unavailable as exc:
            self._fail(exc)

    def status(self) -> Status:
        waiting, dead = (self._by_name(counts) for counts in (self._counts.waiting, self._counts.dead))
        disabled = [self._targets[key].name for key in self._disabled]
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
        if self._lease is not None and before is None:
            self._added.forget(lambda key: True)  # others may have told of newer states meanwhile
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
        """Send what is claimed, unless it must not be sent any more. An outcome that cannot be written is written later."""
        try:
            target, why = self._targets[claim.target], self._obstacle(outbox, claim)
            if why is not None:
                self._finish(outbox, claim, why)
            elif claim.message.kind is Kind.SIGNAL and self._watch.is_stale(claim.message.subject):
                self._postpone(outbox, claim, HELD_S, claim.tries, STALE)
            else:
                outcome = self._send(target, claim.message, min(ATTEMPT_S, self._left_s(claim.message)))
                self._conclude(outbox, claim, outcome)
        except Unavailable as exc:
            self._emit("notifications_unavailable", error=exc.detail)
        except Exception as exc:  # the claim ends by itself, and the message is tried again
            self._emit("notifier_broke", error=type(exc).__name__)
        self._woken.set()

    def _obstacle(self, outbox: Outbox, claim: Claim) -> str | None:
        """Why a message must not be sent any more."""
        message, target = claim.message, self._targets[claim.target]
        if self._left_s(message) <= 0:
            return TOO_LATE
        if claim.is_uncertain and target.channel is Channel.APPRISE:
            return REPEATED
        if message.condition is not None and outbox.told(message.topic) != message.condition:
            return OVERTAKEN
        return self._disabled.get(target.key)

    def _conclude(self, outbox: Outbox, claim: Claim, outcome: Outcome) -> None:
        if outcome.result is Result.SENT:
            self._finish(outbox, claim)
        elif outcome.result is Result.FAILED:
            tries = claim.tries + 1
            self._tell("notification_failed", claim, outcome.reason)
            wait_s = self._wait_s(claim.message, tries, outcome.retry_after)
            self._postpone(outbox, claim, wait_s, tries, outcome.reason)
        else:
            if outcome.result is Result.REFUSED:
                self._disabled[claim.target] = outcome.reason
            self._finish(outbox, claim, outcome.reason)

    def _wait_s(self, message: Message, tries: int, asked_s: float | None) -> float:
        """Real seconds until the next try. The last one begins while it can still end in time."""
        wait_s, last_s = delay_s(tries, asked_s, random.random()), self._left_s(message) - ATTEMPT_S
        return last_s if max(DELAYS_S[0], asked_s or 0.0) <= last_s < wait_s else wait_s

    def _postpone(self, outbox: Outbox, claim: Claim, seconds: float, tries: int, why: str) -> None:
        """Try again later; give up now what would be too late then."""
        if self._left_s(claim.message) <= seconds:
            self._finish(outbox, claim, f"{TOO_LATE}: {why}")
        else:
            outbox.postpone(claim, seconds, tries)

    def _finish(self, outbox: Outbox, claim: Claim, given_up: str | None = None) -> None:
        self._tell("notification_sent" if given_up is None else "notification_dead", claim, given_up or "")
        try:
            outbox.finish(claim, given_up)
        except Unavailable:
            self._unwritten.append((claim, given_up))
            raise

    def _write_late(self, outbox: Outbox) -> None:
        """Write the outcomes that could not be written when they came."""
        while self._unwritten:
            outbox.finish(*self._unwritten[0])
            self._unwritten.popleft()

    def _count(self, outbox: Outbox) -> None:
        if self._countings.take():
            self._counts = outbox.counts()

    def _tell(self, event: str, claim: Claim, reason: str) -> None:
        self._countings.hasten()
        message = claim.message
        self._emit(
            event, target=self._targets[claim.target].name, kind=message.kind.value, id=message.id, reason=reason
        )

    def _left_s(self, message: Message) -> float:
        """Real seconds for which a message may still be sent."""
        return (message.expires_at - self._clock()).total_seconds() / self._speed

    def _by_name(self, counts: Mapping[str, int]) -> dict[str, int]:
        return {target.name: counts.get(key, 0) for key, target in self._targets.items()}
