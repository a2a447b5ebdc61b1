"""A TCP relay between a browser and a server, which a test cuts, or makes swallow whatever comes."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tests.waiting import PATIENCE_S

RESET: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection (RST in place of FIN)."""

CHUNK_BYTES: Final = 65_536


class Relay:
    """Relays from a port of its own to `port`. As a context manager it does so from enter to exit, on threads."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._is_refusing = False
        self._open: set[socket.socket] = set()
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()
        self._goes_on.set()
        self.cut()

    def cut(self) -> None:
        """Reset all connections. New ones are relayed."""
        for sock in list(self._open):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Reset all connections, new ones too, until `mend`."""
        self._is_refusing = True
        self.cut()

    def stall(self) -> None:
        """Keep all connections open, and send nothing on, until `mend`."""
        self._goes_on.clear()

    def mend(self) -> None:
        """Relay again, also what came while nothing was sent on."""
        self._is_refusing = False
        self._goes_on.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._is_refusing:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            with socket.create_connection(self._target, timeout=PATIENCE_S) as server:
                server.settimeout(None)
                self._open |= {client, server}
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                self._pump(client, server)
                back.join(PATIENCE_S)
                self._open -= {client, server}

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        """Send on what comes, until one of the two ends."""
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._goes_on.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
