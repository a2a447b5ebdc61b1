"""The outbox: each message for each target, from when it is to be sent until after it was sent or given up, and the targets
that want nothing more. In a file for the processes on one DATA_DIR (`sqlite_outbox`), in a Redis for those that share one
(`redis_outbox`).

A message is claimed before it is sent, and the claim is written before anything leaves. A claim ends by itself, so that another
process takes over what a killed one was sending. It cannot know whether the receiver had it already: the claim says so
(`is_uncertain`). HTTP has no way to say it exactly once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import TypeAdapter, ValidationError

from app.notify.message import Message

CLAIM_S: Final = 60.0
"""Real seconds after which a claim has ended: longer than any attempt, so that no two are ever under way at once."""

KEPT_S: Final = 7 * 86_400.0
"""How long a message is remembered, so that it is not sent again, and a target that wants nothing more."""

MOST: Final = 5000
"""Messages for a target that are kept, the newest; a week has some 150 for each target."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that this process may send to one target until the claim ends. token: proves the claim; tries: how many have
    failed; is_uncertain: an earlier claim ended without a word, so that the message may have arrived."""

    message: Message
    target: str
    token: str
    tries: int
    is_uncertain: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. since: seconds since 1970."""

    message: Message
    target: str
    reason: str
    tries: int
    since: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages wait or are being sent, and how many were given up, by the key of their target."""

    waiting: Mapping[str, int]
    dead: Mapping[str, int]


class Outbox(Protocol):
    """Every method raises Unavailable(part="store") where the outbox cannot be used; targets are named by their keys."""

    def check(self) -> None:
        """Raises Unavailable unless the outbox can be written."""
        ...

    def add(self, message: Message, targets: Sequence[str]) -> bool:
        """Adds a message for each of the targets. Returns False and adds nothing if it was added before, or if it tells of the
        state that was told last, or of a good state where no other was told."""
        ...

    def told(self, topic: str) -> str | None:
        """The state that was told last of a topic."""
        ...

    def claim(self, targets: Collection[str], limit: int) -> Sequence[Claim]:
        """Claims the messages of these targets that are due, the oldest first, one for each target."""
        ...

    def finish(self, claim: Claim, given_up: str | None = None) -> bool:
        """The message was sent, or is given up for this reason. Returns False if the claim has ended and another took over."""
        ...

    def postpone(self, claim: Claim, seconds: float, tries: int) -> bool:
        """The message is due again later, after so many failed tries. Returns False as `finish` does."""
        ...

    def counts(self) -> Counts: ...

    def dead(self) -> Sequence[DeadLetter]:
        """What was given up, the latest first."""
        ...

    def revive(self, letter: DeadLetter) -> None:
        """Sends what was given up after all."""
        ...

    def disable(self, target: str, reason: str) -> None:
        """Notes that a target wants nothing more, for KEPT_S."""
        ...

    def enable(self, target: str) -> None:
        """Notes that a target takes messages again."""
        ...

    def disabled(self) -> Mapping[str, str]:
        """Why targets want nothing more, by their keys."""
        ...

    def close(self) -> None: ...


_message: TypeAdapter[Message] = TypeAdapter(Message)


def text_of(message: Message) -> str:
    """A message as an outbox keeps it, JSON."""
    return _message.dump_json(message).decode()


def message_of(text: str) -> Message | None:
    """The message that was kept as `text`; None for what another version wrote and cannot be read."""
    try:
        return _message.validate_json(text)
    except ValidationError:
        return None
