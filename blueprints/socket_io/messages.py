"""The texts of the server's Socket.IO packets (Socket.IO protocol 5, namespace `/`, inside an Engine.IO message)."""

from __future__ import annotations

from app.live.live_event import LiveEvent, Position
from blueprints.v2.types import Answer

ENCODING = "socket.io"
"""The name of a live event's encoding as a message of Socket.IO."""


def event_text(name: str, body: str, offset: str | None = None) -> str:
    """An event with its payload and an offset, which the client library sends when it comes back; null where it moves none, so
    that handlers have two arguments always."""
    last = "null" if offset is None else f'"{offset}"'
    return f'42["{name}",{body},{last}]'


def greeting_text(payload: Answer, offset: str | None) -> str:
    """The event `hello`."""
    return event_text("hello", payload.model_dump_json(), offset)


def answer_text(name: str, payload: Answer) -> str:
    """An event that has no offset."""
    return f'42["{name}",{payload.model_dump_json()}]'


def live_text(event: LiveEvent, epoch: str) -> str:
    """A live event. epoch: the name of this process's numbers. An event without a number has no offset."""
    offset = str(Position(epoch, event.number)) if event.number else None
    return event_text(event.kind.value, event.body.decode(), offset)
