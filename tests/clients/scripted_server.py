"""A server on loopback that does with each connection what a test tells it to, down to the byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.waiting import PATIENCE_S


@dataclass
class Connection:
    """One request, and the socket on which it is answered."""

    socket: socket.socket
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    def answer(self, status: str, body: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer."""
        said = {"Content-Length": str(len(body)), "Connection": "close", **headers}
        self.send(_head(status, said) + body)

    def begin(self, content_type: str = "application/jsonl") -> None:
        """The head of a stream."""
        self.send(_head("200 OK", {"Content-Type": content_type, "Transfer-Encoding": "chunked"}))

    def line(self, body: Mapping[str, Any]) -> None:
        self.piece(json.dumps(body).encode() + b"\n")

    def piece(self, data: bytes) -> None:
        """Some bytes of a stream."""
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end(self) -> None:
        """The end of a stream as it should be."""
        self.send(b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait_until_closed(self) -> bool:
        """Whether the client closes the connection in time."""
        self.socket.settimeout(PATIENCE_S)
        with suppress(ConnectionError):
            return self.socket.recv(1) == b""
        return True


Script = Callable[[Connection], None]


@dataclass
class ScriptedServer:
    """asked: the requests so far."""

    base: str
    asked: list[Connection] = field(default_factory=list)


@contextmanager
def scripted_server(*scripts: Script) -> Iterator[ScriptedServer]:
    """A server whose first connection follows the first script, and so on; a connection ends with its script. Where there is no
    script left it is closed at once."""
    left = iter(scripts)
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = ScriptedServer(f"http://127.0.0.1:{listening.getsockname()[1]}")

        def serve(accepted: socket.socket, script: Script) -> None:
            with accepted, suppress(OSError):  # the client may be gone
                connection = _read(accepted)
                server.asked.append(connection)
                script(connection)

        def accept() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    accepted, _ = listening.accept()
                    script = next(left, lambda connection: None)
                    threads.append(threading.Thread(target=serve, args=(accepted, script), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join(PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)


def _read(accepted: socket.socket) -> Connection:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = accepted.recv(65_536)
        if not piece:
            raise ConnectionError("the client sent no request")
        received += piece
    first, *lines = received.decode().split("\r\n\r\n")[0].split("\r\n")
    address = urlsplit(first.split(" ")[1])
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Connection(accepted, address.path, parse_qs(address.query), headers)


def _head(status: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
