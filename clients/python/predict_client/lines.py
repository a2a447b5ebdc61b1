"""One connection on which the lines of a stream arrive."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from typing import Any

import requests

from predict_client.errors import ProtocolError

MAX_LINE_BYTES = 1_048_576
PIECE_BYTES = 65_536


class Lost(Exception):
    """The connection is over. retry_after_s: when the server wants to be asked again, None where it says nothing;
    what_happened: the same in words for users."""

    def __init__(
        self, why: str, retry_after_s: float | None = None, what_happened: str = "the connection is lost"
    ) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.what_happened = what_happened


class Lines:
    """The JSON objects of a response, line by line. At most a line and a piece of it are in memory."""

    def __init__(self, response: requests.Response) -> None:
        """Raises ProtocolError if the response is no stream of JSON lines."""
        self._response = response
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if content_type not in ("application/jsonl", "application/x-ndjson"):
            response.close()
            raise ProtocolError(f"{response.url} does not answer with JSON lines (it is {content_type!r})")
        self._pieces = response.iter_content(PIECE_BYTES)
        self._buffer = bytearray()
        self._other_end = _duplicate(response)

    def next(self, deadline: float) -> dict[str, Any]:
        """The next object. deadline: until when to wait for it (time.monotonic). Raises Lost if it does not come, and
        ProtocolError if it is too long or no object."""
        line = self._next_line(deadline)
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
        raise ProtocolError(f"a line is no JSON object: {bytes(line[:80])!r}")

    def interrupt(self) -> None:
        """Wakes the thread that waits for a line, which then raises Lost. Any thread may call it."""
        if self._other_end is not None:
            with suppress(OSError):
                self._other_end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the connection back. The thread that reads calls it, or one that knows that none does."""
        self._response.close()
        if self._other_end is not None:
            self._other_end.close()

    def _next_line(self, deadline: float) -> bytearray:
        looked = 0
        while (end := self._buffer.find(b"\n", looked)) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise ProtocolError(f"a line has more than {MAX_LINE_BYTES} bytes")
            looked = len(self._buffer)
            self._buffer += self._next_piece(deadline)
        line = self._buffer[:end]
        del self._buffer[: end + 1]
        return line

    def _next_piece(self, deadline: float) -> bytes:
        self._wait_at_most(deadline - time.monotonic())
        try:
            piece = next(self._pieces, b"")
        except (requests.RequestException, OSError) as exc:
            raise Lost(str(exc)) from exc
        if not piece:
            raise Lost("the stream ended")
        return bytes(piece)

    def _wait_at_most(self, seconds: float) -> None:
        """Sets the time-out of the socket. Where the connection hides it, the time-out of the request goes on to hold."""
        if seconds <= 0:
            raise Lost("no line came in time")
        connection = getattr(self._response.raw, "connection", None)
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(seconds)


def _duplicate(response: requests.Response) -> socket.socket | None:
    """A second handle of the response's socket, through which another thread may shut it down; None where there is none."""
    with suppress(OSError, AttributeError, ValueError):
        return socket.socket(fileno=os.dup(response.raw.fileno()))
    return None
