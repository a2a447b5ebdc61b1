"""A relay before a Redis, which loses answers of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

from tests.redis_server import RedisServer

CHUNK = 1 << 20


class Relay:
    """Passes on what clients and a Redis say; a context manager. lost: answers that nobody got."""

    def __init__(self, server: RedisServer) -> None:
        self._target = "127.0.0.1", server.port
        self._to_lose = 0
        self.lost = 0

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # not everywhere
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listening.close()

    def lose_answers(self, count: int = 1) -> None:
        """Redis does what it is told next, so many times, and its connection breaks before the answer comes."""
        self._to_lose = count

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                for way in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(CHUNK):
                if is_answer and self._to_lose:
                    self._to_lose, self.lost = self._to_lose - 1, self.lost + 1
                    break
                target.sendall(data)
            for one in (source, target):
                one.shutdown(socket.SHUT_RDWR)
