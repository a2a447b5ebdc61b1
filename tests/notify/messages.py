"""Messages and targets for tests."""

from __future__ import annotations

from pydantic import SecretStr

from app.notify.message import Condition, Kind, Message
from app.notify.target import Target, targets_of
from tests.support import new_york

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDS = new_york("2025-03-11 12:00")


def message(name: str = "signal-demo-SPY-2025-03-11T11", kind: Kind = Kind.SIGNAL) -> Message:
    return Message(name, kind, "SPY", "SPY LONG", "SPY goes up.", '{"type": "signal.locked"}', ENDS)


def state(condition: Condition, name: str = "") -> Message:
    about = name or f"state-{condition}"
    return Message(about, Kind.STATE, "SPY", "SPY", "SPY", "{}", ENDS, condition)


def webhook(address: str) -> Target:
    return targets_of([], [SecretStr(address)])[0]


def by_apprise(address: str) -> Target:
    return targets_of([SecretStr(address)], [])[0]
