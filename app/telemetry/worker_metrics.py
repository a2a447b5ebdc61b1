"""One `/metrics` for several workers: the worker that is scraped collects the series of all, each with its label `worker`.

Each worker listens on a socket of its own in a folder that they share. Nothing is stored on disk: the series of a worker that
dies are gone, and its successor takes its number; exemplars and metrics that are read at a scrape work as with one worker.
Texts are merged line by line without parsing them, and the work yields in between, so that a scrape does not delay requests.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from app.telemetry.exposition import Expose, Sleep, Yielder, formats_of

log = logging.getLogger("predict")

MAX_WORKERS: Final = 64
TIMEOUT_S: Final = 2.0
MAX_BYTES: Final = 8 << 20
MAX_REQUEST_BYTES: Final = 16_384
"""More than a request line can hold, escaped as JSON, together with the formats that are accepted."""

LINES_AT_ONCE: Final = 200
DIGEST_BYTES: Final = 32
END: Final = "# EOF\n"


class WorkerGroup:
    """The workers of one server, of which this process is one. number: this worker's, None before `join`; now: seconds that
    never run backwards; sleep: waits so many seconds, with 0 until all other work has had a turn."""

    def __init__(self, folder: Path, now: Callable[[], float], sleep: Sleep = time.sleep) -> None:
        self.now, self.sleep = now, sleep
        self._folder = folder
        self._lock_file: Any = None
        self._listener: socket.socket | None = None
        self.number: int | None = None

    def join(self, expose: Expose) -> None:
        """Take the first free number, and send this worker's metrics to others that ask for them. To be called after any fork.
        Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.number, self._lock_file = self._first_free()
        address = self._address(self.number)
        address.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        with _ShortPath(address) as name:
            self._listener.bind(name)
        self._listener.listen(MAX_WORKERS)
        threading.Thread(target=self._serve, args=(self._listener, expose), name="metrics", daemon=True).start()

    def others(self, accept: str | None, names: Sequence[str]) -> Iterable[tuple[int, str]]:
        """The texts of the other workers that answer in time."""
        request = json.dumps([accept, list(names)]).encode() + b"\n"
        for number in range(MAX_WORKERS):
            if number != self.number and self._address(number).exists():
                with suppress(OSError):
                    yield number, verified(self._request_text(self._address(number), request))

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._address(self.number or 0).unlink(missing_ok=True)
            self._lock_file.close()
            self._listener = None

    def _address(self, number: int) -> Path:
        return self._folder / str(number)

    def _first_free(self) -> tuple[int, Any]:
        for number in range(MAX_WORKERS):
            file = (self._folder / f"{number}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, file
            except OSError:
                file.close()
        raise OSError("there are too many workers")

    def _serve(self, listener: socket.socket, expose: Expose) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), closing(connection):
                    connection.settimeout(TIMEOUT_S)
                    connection.sendall(_reply(expose, _read_line(connection)))

    def _request_text(self, address: Path, request: bytes) -> bytes:
        deadline = self.now() + TIMEOUT_S
        with closing(socket.socket(socket.AF_UNIX)) as connection, _ShortPath(address) as name:
            connection.settimeout(TIMEOUT_S)
            connection.connect(name)
            connection.sendall(request)
            text = bytearray()
            while piece := connection.recv(65_536):
                text += piece
                left = deadline - self.now()
                if len(text) > MAX_BYTES or left <= 0:
                    raise OSError("too much, or too slow")
                connection.settimeout(left)
        return bytes(text)


class _ShortPath:
    """A path to a socket that is short enough for a socket address. Where /proc exists, a long path is replaced by one through
    the folder's file descriptor."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self._folder: int | None = None

    def __enter__(self) -> str:
        if len(str(self._address)) < 100 or not Path("/proc/self/fd").exists():
            return str(self._address)
        self._folder = os.open(self._address.parent, os.O_RDONLY)
        return f"/proc/self/fd/{self._folder}/{self._address.name}"

    def __exit__(self, *exc: object) -> None:
        if self._folder is not None:
            os.close(self._folder)


class MergedExposition:
    """Exposes the series of all workers, as `expose` does those of this one."""

    def __init__(self, expose: Expose, group: WorkerGroup) -> None:
        self._expose = expose
        self._group = group

    def __call__(self, accept: str | None, names: Sequence[str]) -> tuple[str, str]:
        accept = formats_of(accept)
        text, content_type = self._expose(accept, names)
        families: dict[str, tuple[list[str], list[str]]] = {}
        yielder = Yielder(self._group.now, self._group.sleep)
        _add(families, self._group.number or 0, text, yielder)
        for number, other_text in self._group.others(accept, names):
            _add(families, number, other_text, yielder)
        end = END if content_type.startswith("application/openmetrics-text") else ""
        return "".join(
            f"{line}\n" for lines in families.values() for part in lines for line in part
        ) + end, content_type


def _add(families: dict[str, tuple[list[str], list[str]]], number: int, text: str, yielder: Yielder) -> None:
    """Sort the lines of a worker into families of (comments, samples). The comments are those of the first worker."""
    comments: list[str] = []
    samples: list[str] = []
    name = ""
    for line in _yielding(text.splitlines(), yielder):
        if not line.startswith("#"):
            samples.append(with_worker_label(line, number))
        elif line != END.strip():
            name, is_new = line.split(" ")[2], name != line.split(" ")[2]
            if is_new:
                comments, samples = families.setdefault(name, ([], []))
            if line not in comments:
                comments.append(line)


def _yielding(lines: Sequence[str], yielder: Yielder) -> Iterator[str]:
    """The lines; iterating them yields to other greenlets in between."""
    for n, line in enumerate(lines):
        if n % LINES_AT_ONCE == 0:
            yielder.maybe_yield()
        yield line


def with_worker_label(line: str, number: int) -> str:
    """A sample with the label `worker`."""
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{number}",{rest}'
    name, _, rest = line.partition(" ")
    return f'{name}{{worker="{number}"}} {rest}'


def with_digest(text: str) -> bytes:
    """A text as a worker sends it to another, after its digest."""
    body = text.encode()
    return hashlib.blake2s(body).digest() + body


def verified(data: bytes) -> str:
    """The text in `data`. Raises OSError if it is incomplete or corrupt."""
    digest, body = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    if digest != hashlib.blake2s(body).digest():
        raise OSError("cut off, or broken")
    return body.decode()


def _read_line(connection: socket.socket) -> bytes:
    """A request: the bytes up to the end of the line."""
    request = b""
    while not request.endswith(b"\n") and len(request) < MAX_REQUEST_BYTES:
        piece = connection.recv(MAX_REQUEST_BYTES)
        if not piece:
            break
        request += piece
    return request


def _reply(expose: Expose, request: bytes) -> bytes:
    """The reply to a request. If a metric cannot be read, the reply is empty, so that one scrape lacks this worker's series and
    the next one has them again."""
    try:
        accept, names = json.loads(request)
        return with_digest(expose(accept, names)[0])
    except Exception as exc:
        log.error("metrics could not be shown to another worker", exc_info=exc)
        return b""
