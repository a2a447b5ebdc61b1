"""Where messages go: webhooks, and addresses of Apprise. An address is a secret: a target has a name without it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import SecretStr


class Channel(StrEnum):
    """How a target is reached. A webhook drops a second message with the same id; a person behind Apprise would read it."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


@dataclass(frozen=True, slots=True)
class Target:
    """name: for logs and metrics, like `discord #1`; key: in the outbox, the same wherever the address stands in a list."""

    name: str
    channel: Channel
    key: str
    address: SecretStr


def targets_of(apprise: Sequence[SecretStr], webhooks: Sequence[SecretStr]) -> tuple[Target, ...]:
    """The targets of the settings, each address once."""
    found = [
        *(_target(address, Channel.APPRISE, scheme_of(address), n) for n, address in enumerate(_once(apprise), 1)),
        *(_target(address, Channel.WEBHOOK, Channel.WEBHOOK, n) for n, address in enumerate(_once(webhooks), 1)),
    ]
    return tuple(found)


def scheme_of(address: SecretStr) -> str:
    return address.get_secret_value().partition("://")[0].lower()


def _once(addresses: Iterable[SecretStr]) -> list[SecretStr]:
    return list({address.get_secret_value(): address for address in addresses}.values())


def _target(address: SecretStr, channel: Channel, what: str, number: int) -> Target:
    digest = hashlib.sha256(f"{channel} {address.get_secret_value()}".encode()).hexdigest()
    return Target(f"{what} #{number}", channel, digest[:16], address)
