"""The bounds of one Socket.IO client: times in seconds, sizes in bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from serving.outbox import OutboxBounds

CODES: Final = {
    "slow": 1013,
    "message_too_large": 1009,
    "too_many_messages": 1008,
    "invalid_message": 1008,
    "idle": 1008,
}
"""Why a link is ended by the server itself, and the close code that says so (RFC 6455, 7.4.1; 1013 is registered by IANA)."""


OUTBOX: Final = OutboxBounds(unreplaced=128 << 10)
"""A client that reads gets every message of a burst, for instance what it missed while it was away."""


@dataclass(frozen=True, slots=True)
class LinkBounds:
    """What one client may take.

    message_bytes  a message of the client; also the body of a POST that carries some
    messages_s     messages a second, on average
    messages_burst messages at once
    connect_s      from the handshake to the CONNECT packet, and for a client that has left the namespace
    upgrade_s      from the second handshake of a polling client to the end of its upgrade
    close_s        for the client's answer to a close frame, or for the poll that takes the last message
    send_buffer    what the kernel keeps for a client that does not read; Linux doubles it
    sessions       clients in all, those that poll among them
    outbox         what may wait for a client
    """

    message_bytes: int = 16 << 10
    messages_s: float = 10.0
    messages_burst: int = 40
    connect_s: float = 10.0
    upgrade_s: float = 10.0
    close_s: float = 2.0
    send_buffer: int = 64 << 10
    sessions: int = 8192
    outbox: OutboxBounds = OUTBOX


class Allowance:
    """How many messages a client may still send: `messages_s` more each second, `messages_burst` at most."""

    __slots__ = ("_at", "_bounds", "_left", "_now")

    def __init__(self, bounds: LinkBounds, now: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._now = now
        self._left: float = bounds.messages_burst
        self._at = now()

    def spend(self) -> bool:
        """Whether one more message is allowed."""
        now = self._now()
        self._left = min(self._bounds.messages_burst, self._left + (now - self._at) * self._bounds.messages_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
