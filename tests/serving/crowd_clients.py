"""Clients of Socket.IO over bare sockets, for tests of crowds: they check each frame, and can stop reading."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from bench.crowd import CLOSE, PING, PONG, TEXT, Protocol, frames, masked
from bench.fan_out_servers import SOCKETS
from tests.waiting import PATIENCE_S


class Message(NamedTuple):
    """What the server sent: the name of an event, its payload, and its offset; `close` with the code of a close frame."""

    name: str
    payload: Any
    offset: str | None = None


class Reader:
    """One client, which reads only when it is told to. receive_bytes: what its own side takes without being read."""

    def __init__(self, port: int, auth: dict[str, Any] | None = None, receive_bytes: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(("127.0.0.1", port))
        self._rest = b""
        self._auth = {"subscribe": "SPY"} if auth is None else auth
        self._handshake(SOCKETS)

    def _handshake(self, protocol: Protocol) -> None:
        self.sock.sendall(protocol.request(0, compression=True))
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._receive()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    def connect(self) -> Reader:
        """Until it is connected to the namespace."""
        assert next(self.messages()).name == "connect"
        return self

    def messages(self) -> Iterator[Message]:
        """What the server sends, until it ends the connection. Raises AssertionError for what is no whole frame."""
        while True:
            found = next(frames(self._rest), None)
            if found is not None:
                _, end, first, header = found
                payload, self._rest = self._rest[header:end], self._rest[end:]
                if message := self._message(first, payload):
                    yield message
            elif data := self._receive():
                self._rest += data
            else:
                return

    def _message(self, first: int, payload: bytes) -> Message | None:
        assert first in (TEXT, CLOSE, PING), (hex(first), payload[:40])
        if first == PING:
            self.sock.sendall(masked(PONG, payload))
        elif first == CLOSE:
            return Message("close", int.from_bytes(payload[:2]))
        elif payload.startswith(b"0{"):
            self.sock.sendall(masked(TEXT, b"40" + json.dumps(self._auth).encode()))
        elif payload == b"2":
            self.sock.sendall(masked(TEXT, b"3"))
        elif payload.startswith(b"40"):
            return Message("connect", json.loads(payload[2:]))
        elif payload.startswith(b"44"):
            return Message("connect_error", json.loads(payload[2:]))
        else:
            assert payload.startswith(b"42["), payload[:80]
            return Message(*json.loads(payload[2:]))
        return None

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(64 << 10)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self.sock.close()
