"""What the handlers need of the connections below them; `serving/websocket_link.py` has the real ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

Message = Any
"""One message to clients, framed once for all of them."""


class Links(Protocol):
    """The connections of this process, each known by its Engine.IO session."""

    def post(self, eio_sid: str, message: Message, key: Hashable | None = None) -> bool:
        """Send a message, or keep it until the client takes it. Returns False where a message is lost: the one that waited
        under the same key, or this one."""
        ...

    def sender(self, eio_sid: str) -> Callable[[bytes, Hashable | None], bool] | None:
        """Posts the frame of a message and its key without a look at the session; None while a client polls."""
        ...

    def accepts(self, eio_sid: str) -> bool:
        """Whether a client can be sent anything: it is there, and does not end."""
        ...

    def finish(self, eio_sid: str, last: Message | None = None, code: int = 1013, reason: str = "") -> None:
        """Send what waits and a last message, and end the connection with a WebSocket close code."""
        ...
