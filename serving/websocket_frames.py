"""WebSocket frames (RFC 6455): those that the server sends, and the messages in those that a client sends. No extension is
ever agreed on, so that one frame serves all clients."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT: Final = 0x81
CLOSE: Final = 0x88
PONG: Final = 0x8A
SHORT, MEDIUM = 125, (1 << 16) - 1
REASON_BYTES: Final = 123
"""The longest reason of a close frame, whose code takes two of its 125 bytes."""

NO_STATUS: Final = 1005
"""What a close frame without a code stands for; no frame may carry it."""

TOO_BIG: Final = 1009


class Pinged(NamedTuple):
    """A ping of the client."""

    payload: bytes


class Binary(NamedTuple):
    """A message that is no text, or a part of one."""


class Closed(NamedTuple):
    """The client closes the connection, or has sent what is no message; `code` is for the answer."""

    code: int
    reason: str


Incoming = str | Binary | Pinged | Closed | None
"""What a client sends; None: something that needs no answer."""


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= SHORT:
        return struct.pack("!BB", first, length) + payload
    if length <= MEDIUM:
        return struct.pack("!BBH", first, SHORT + 1, length) + payload
    return struct.pack("!BBQ", first, SHORT + 2, length) + payload


def frame_of(text: str) -> bytes:
    """A whole text message as a server sends it."""
    return _frame(TEXT, text.encode())


def close_frame(code: int, reason: str = "") -> bytes:
    """The last frame of a connection; a reason that is too long is cut."""
    if code == NO_STATUS:
        return _frame(CLOSE, b"")
    return _frame(CLOSE, struct.pack("!H", code) + reason.encode()[:REASON_BYTES].decode(errors="ignore").encode())


def pong_frame(payload: bytes) -> bytes:
    return _frame(PONG, payload)


def is_key(key: str) -> bool:
    """Whether this is a `Sec-WebSocket-Key`: 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def switching_protocols(key: str) -> bytes:
    """The answer to a handshake. It agrees on no extension and no subprotocol, whatever the client offers."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )


class IncomingMessages:
    """The messages in the bytes that a client sends. One that is longer than `most` bytes, or is no message at all, is the end:
    `Closed` with the code of the answer."""

    __slots__ = ("_most", "_parts", "_protocol", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[str] = []
        self._size = 0
        self._protocol = Connection(ConnectionType.SERVER)

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """Each thing that the bytes complete; None for a frame that completes nothing. Nothing comes after `Closed`."""
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            incoming = self._incoming(event)
            yield incoming
            if isinstance(incoming, Closed):
                return

    def _incoming(self, event: Event) -> Incoming:
        if isinstance(event, TextMessage):
            return self._joined(event)
        if isinstance(event, BytesMessage):
            return Binary()
        if isinstance(event, Ping):
            return Pinged(bytes(event.payload))
        if isinstance(event, CloseConnection):
            return Closed(int(event.code), event.reason or "")
        return None

    def _joined(self, part: TextMessage) -> Incoming:
        self._size += len(part.data)
        if self._size > self._most:
            return Closed(TOO_BIG, f"a message may have {self._most} bytes")
        self._parts.append(part.data)
        if not part.message_finished:
            return None
        text = "".join(self._parts)
        self._parts, self._size = [], 0
        return text
