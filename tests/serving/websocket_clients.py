"""WebSocket clients for tests: one that reads in a thread of its own, by a strict parser; and bytes of those that misbehave."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from tests.waiting import PATIENCE_S

WAIT_S = PATIENCE_S
"""For what must come."""


def handshake(port: int, sid: str | None = None, **changed: str | None) -> bytes:
    """The request of a browser; `changed` replaces headers, None leaves one out."""
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Origin": f"http://127.0.0.1:{port}",
        **{name.replace("_", "-"): value for name, value in changed.items() if name != "method"},
    }
    path = "/socket.io/?EIO=4&transport=websocket" + ("" if sid is None else f"&sid={sid}")
    lines = [f"{changed.get('method') or 'GET'} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(
    payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = True, length: int | None = None
) -> bytes:
    """A frame of a client. length: what it says of its payload, if that is a lie."""
    length = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | opcode])
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", bit | 126, length)
    else:
        head += struct.pack("!BQ", bit | 127, length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def connection_to(port: int, *, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(WAIT_S)
    sock.connect(("127.0.0.1", port))
    return sock


def head_of(sock: socket.socket) -> bytes:
    """The head of an answer, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, head
        head += byte
    return head


class Client:
    """A client that reads all the time, and answers pings.

    texts   what has come, pings left out
    closed  code and reason of the close frame
    is_over the connection has ended
    """

    def __init__(self, port: int, sid: str | None = None, *, join: bool = True) -> None:
        self.texts: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.is_over = False
        self._protocol = Connection(ConnectionType.CLIENT)
        self._changed = threading.Condition()
        self._part = ""
        self.sock = connection_to(port)
        self.sock.sendall(handshake(port, sid))
        self.head = head_of(self.sock)
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head
        self.sock.settimeout(None)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        if join:
            self.send("40")
            self.text(lambda text: text.startswith("40"))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self._reading.join(WAIT_S)
        self.sock.close()

    def send(self, *texts: str) -> None:
        self.send_bytes(b"".join(frame(text.encode()) for text in texts))

    def send_bytes(self, data: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the server has ended the connection already
            self.sock.sendall(data)

    def wait(self, is_so: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, WAIT_S), (self.texts[-5:], self.closed, self.is_over)

    def text(self, is_it: Callable[[str], object]) -> str:
        """The first text of a kind, once it has come."""
        self.wait(lambda: any(map(is_it, self.texts)))
        return next(filter(is_it, self.texts))

    def echo(self, value: object) -> None:
        """Ask, and wait for the acknowledgement: this client is served."""
        number = len(self.texts)
        self.send(f"42{number}" + json.dumps(["echo", value]))
        self.text(lambda text: text == f"43{number}" + json.dumps([value], separators=(",", ":")))

    def events(self, name: str) -> list[Any]:
        """The bodies of the events of a name."""
        found = [json.loads(text[2:]) for text in list(self.texts) if text.startswith("42")]
        return [event[1] for event in found if event[0] == name]

    def end(self) -> tuple[list[str], int | None]:
        """Wait for the end. Returns the reasons that were said, and the code of the close frame."""
        self.wait(lambda: self.is_over)
        return [body["reason"] for body in self.events("bye")], None if self.closed is None else self.closed[0]

    def _read(self) -> None:
        try:
            while data := self.sock.recv(1 << 16):
                self._protocol.receive_data(data)
                for event in self._protocol.events():
                    self._take(event)
        except OSError:
            pass
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def _take(self, event: Any) -> None:
        with self._changed:
            if isinstance(event, CloseConnection):
                self.closed = int(event.code), event.reason or ""
                self.send_bytes(frame(struct.pack("!H", int(event.code)), 8))
                self.sock.shutdown(socket.SHUT_WR)
            elif isinstance(event, TextMessage):
                self._part += event.data
                if event.message_finished:
                    self._take_text(self._part)
                    self._part = ""
            self._changed.notify_all()

    def _take_text(self, text: str) -> None:
        if text != "2":
            self.texts.append(text)
        else:
            self.send("3")


def until(is_so: Callable[[], object]) -> None:
    ends = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.05)
