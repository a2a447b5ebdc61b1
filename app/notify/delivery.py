"""What becomes of a claimed message: it is sent, tried again later, or given up with a reason."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from app.clock import Clock
from app.errors import Unavailable
from app.notify.backoff import DELAYS_S, delay_s
from app.notify.message import Kind, Message
from app.notify.outbox import Claim, Outbox
from app.notify.sending import ATTEMPT_S, Outcome, Result, Send
from app.notify.target import Channel, Target

HELD_S: Final = 15.0
"""Real seconds after which a signal is looked at again whose market data are stale."""

MOST_UNWRITTEN: Final = 64

TOO_LATE: Final = "too late"
REPEATED: Final = "it may have arrived: the process that sent it ended before it could say so"
OVERTAKEN: Final = "it is not so any more"
STALE: Final = "the market data are stale"
UNWANTED: Final = "the settings do not want it any more"

Write = Callable[[Outbox], object]
"""Writes the outcome of an attempt."""


class Delivery:
    """Makes attempts. Emits `notification_sent`, `notification_failed` and `notification_dead`. is_stale(ticker): whether its
    market data are; is_wanted(message): whether the settings want it; speed: market seconds per real second."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        is_stale: Callable[[str], bool],
        is_wanted: Callable[[Message], bool],
        send: Send,
        clock: Clock,
        emit: Callable[..., None],
        speed: float,
    ) -> None:
        self._targets = targets
        self._is_stale = is_stale
        self._is_wanted = is_wanted
        self._send = send
        self._clock = clock
        self._emit = emit
        self._speed = speed
        self._unwritten: deque[Write] = deque(maxlen=MOST_UNWRITTEN)

    def deliver(self, outbox: Outbox, claim: Claim) -> None:
        """Send what is claimed, unless it must not be sent any more. Raises Unavailable if the outbox cannot be used."""
        message, why = claim.message, self._obstacle(outbox, claim)
        if why is not None:
            self._finish(outbox, claim, why)
        elif message.kind is Kind.SIGNAL and self._is_stale(message.subject):
            self._postpone(outbox, claim, HELD_S, claim.tries, STALE)
        else:
            timeout_s = min(ATTEMPT_S, self._left_s(message))
            self._conclude(outbox, claim, self._send(self._targets[claim.target], message, timeout_s))

    def write_late(self, outbox: Outbox) -> None:
        """Write the outcomes that could not be written when they came. Raises Unavailable."""
        while self._unwritten:
            self._unwritten[0](outbox)
            self._unwritten.popleft()

    def _obstacle(self, outbox: Outbox, claim: Claim) -> str | None:
        """Why a message must not be sent any more."""
        message, target = claim.message, self._targets[claim.target]
        if self._left_s(message) <= 0:
            return TOO_LATE
        if claim.is_uncertain and target.channel is Channel.APPRISE:
            return REPEATED
        if message.condition is not None and outbox.told(message.topic) != message.condition:
            return OVERTAKEN
        if not self._is_wanted(message):
            return UNWANTED
        return outbox.disabled().get(target.key)

    def _conclude(self, outbox: Outbox, claim: Claim, outcome: Outcome) -> None:
        if outcome.result is Result.SENT:
            self._finish(outbox, claim)
        elif outcome.result is Result.FAILED:
            tries = claim.tries + 1
            about = {"id": claim.message.id, "reason": outcome.reason}
            self._emit("notification_failed", target=self._name(claim), kind=claim.message.kind.value, **about)
            wait_s = self._wait_s(claim.message, tries, outcome.retry_after)
            self._postpone(outbox, claim, wait_s, tries, outcome.reason)
        else:
            self._finish(outbox, claim, outcome.reason, is_refused=outcome.result is Result.REFUSED)

    def _wait_s(self, message: Message, tries: int, asked_s: float | None) -> float:
        """Real seconds until the next try. The last one begins while it can still end in time."""
        wait_s, last_s = delay_s(tries, asked_s, random.random()), self._left_s(message) - ATTEMPT_S
        return last_s if max(DELAYS_S[0], asked_s or 0.0) <= last_s < wait_s else wait_s

    def _postpone(self, outbox: Outbox, claim: Claim, seconds: float, tries: int, why: str) -> None:
        """Try again later; give up now what would be too late then."""
        if self._left_s(claim.message) <= seconds:
            self._finish(outbox, claim, f"{TOO_LATE}: {why}")
        else:
            self._write(outbox, lambda outbox: outbox.postpone(claim, seconds, tries))

    def _finish(self, outbox: Outbox, claim: Claim, given_up: str | None = None, *, is_refused: bool = False) -> None:
        reason = given_up or ""
        self._emit(
            "notification_sent" if given_up is None else "notification_dead",
            target=self._name(claim),
            kind=claim.message.kind.value,
            id=claim.message.id,
            reason=reason,
        )

        def write(outbox: Outbox) -> None:
            if is_refused:
                outbox.disable(claim.target, reason)
            outbox.finish(claim, given_up)

        self._write(outbox, write)

    def _write(self, outbox: Outbox, write: Write) -> None:
        """Write an outcome, now or later: a claim that ends without one is of a message that may have arrived."""
        try:
            write(outbox)
        except Unavailable:
            self._unwritten.append(write)
            raise

    def _name(self, claim: Claim) -> str:
        return self._targets[claim.target].name

    def _left_s(self, message: Message) -> float:
        """Real seconds for which a message may still be sent."""
        return (message.expires_at - self._clock()).total_seconds() / self._speed
