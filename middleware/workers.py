"""Several workers, one `/metrics`: whichever worker is asked gathers the series of all, each with its label `worker`.

Each listens on a socket of its own in a folder that they share. Nothing is kept on disk: a worker that dies takes its series
with it, exemplars and figures that are read on demand stay what they are, and its successor takes its number. Texts are put
together line by line, never parsed, and in between others have their turn: a scrape must not hold up the requests.
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

from middleware.metrics import Turns, formats_of

log = logging.getLogger("predict")

MOST: Final = 64
PATIENCE_S: Final = 2.0
MOST_BYTES: Final = 8 << 20
LONGEST_ASK: Final = 16_384
"""Bytes; above all that a request line can name, escaped as JSON, and the formats that are accepted."""

LINES_AT_ONCE: Final = 200
DIGEST_BYTES: Final = 32
END: Final = "# EOF\n"
Show = Callable[[str | None, Sequence[str]], tuple[str, str]]
"""Text and content type for an Accept header and the metrics named (`Exposition`)."""


class Workers:
    """This process's place among the workers of its server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock_file: Any = None
        self._listening: socket.socket | None = None
        self.number: int | None = None

    def join(self, show: Show) -> None:
        """Take the first free number and answer whoever gathers; after any fork. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.number, self._lock_file = self._first_free()
        address = self._address(self.number)
        address.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        with _Short(address) as name:
            self._listening.bind(name)
        self._listening.listen(MOST)
        threading.Thread(target=self._answer, args=(self._listening, show), name="metrics", daemon=True).start()

    def others(self, accept: str | None, names: Sequence[str]) -> Iterable[tuple[int, str]]:
        """The texts of the other workers that answer in time."""
        ask = json.dumps([accept, list(names)]).encode() + b"\n"
        for number in range(MOST):
            if number != self.number and self._address(number).exists():
                with suppress(OSError):
                    yield number, opened(self._asked(self._address(number), ask))

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._address(self.number or 0).unlink(missing_ok=True)
            self._lock_file.close()
            self._listening = None

    def _address(self, number: int) -> Path:
        return self._folder / str(number)

    def _first_free(self) -> tuple[int, Any]:
        for number in range(MOST):
            file = (self._folder / f"{number}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, file
            except OSError:
                file.close()
        raise OSError("there are too many workers")

    def _answer(self, listening: socket.socket, show: Show) -> None:
        with suppress(OSError):  # closed
            while True:
                asking, _ = listening.accept()
                with suppress(OSError), closing(asking):
                    asking.settimeout(PATIENCE_S)
                    asking.sendall(_told(show, _line(asking)))

    def _asked(self, address: Path, ask: bytes) -> bytes:
        ends = time.monotonic() + PATIENCE_S
        with closing(socket.socket(socket.AF_UNIX)) as asking, _Short(address) as name:
            asking.settimeout(PATIENCE_S)
            asking.connect(name)
            asking.sendall(ask)
            text = bytearray()
            while piece := asking.recv(65_536):
                text += piece
                left = ends - time.monotonic()
                if len(text) > MOST_BYTES or left <= 0:
                    raise OSError("too much, or too slow")
                asking.settimeout(left)
        return bytes(text)


class _Short:
    """A path to a socket that is short enough for its address, through the folder's descriptor where there is such a thing."""

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


class Gathered:
    """Shows the series of all workers, as `show` does those of this one."""

    def __init__(self, show: Show, workers: Workers) -> None:
        self._show = show
        self._workers = workers

    def __call__(self, accept: str | None, names: Sequence[str]) -> tuple[str, str]:
        accept = formats_of(accept)
        text, content_type = self._show(accept, names)
        families: dict[str, tuple[list[str], list[str]]] = {}
        _add(families, self._workers.number or 0, text)
        for number, theirs in self._workers.others(accept, names):
            _add(families, number, theirs)
        end = END if content_type.startswith("application/openmetrics-text") else ""
        return "".join(
            f"{line}\n" for lines in families.values() for part in lines for line in part
        ) + end, content_type


def _add(families: dict[str, tuple[list[str], list[str]]], number: int, text: str) -> None:
    """Sort a worker's lines into families of (comments, samples); comments are kept of the first that has them."""
    comments: list[str] = []
    samples: list[str] = []
    name = ""
    for line in _in_turns(text.splitlines()):
        if not line.startswith("#"):
            samples.append(labelled(line, number))
        elif line != END.strip():
            name, is_new = line.split(" ")[2], name != line.split(" ")[2]
            if is_new:
                comments, samples = families.setdefault(name, ([], []))
            if line not in comments:
                comments.append(line)


def _in_turns(lines: Sequence[str]) -> Iterator[str]:
    """The lines; now and then others have a turn."""
    turns = Turns()
    for n, line in enumerate(lines):
        if n % LINES_AT_ONCE == 0:
            turns.take()
        yield line


def labelled(line: str, number: int) -> str:
    """A sample with the label of its worker."""
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{number}",{rest}'
    name, _, rest = line.partition(" ")
    return f'{name}{{worker="{number}"}} {rest}'


def sealed(text: str) -> bytes:
    """A worker's text as it tells it to another: a digest goes ahead."""
    body = text.encode()
    return hashlib.blake2s(body).digest() + body


def opened(told: bytes) -> str:
    """The text. Raises OSError if it did not arrive as it was told."""
    digest, body = told[:DIGEST_BYTES], told[DIGEST_BYTES:]
    if digest != hashlib.blake2s(body).digest():
        raise OSError("cut off, or broken")
    return body.decode()


def _line(asking: socket.socket) -> bytes:
    """What is asked, up to the end of the line."""
    asked = b""
    while not asked.endswith(b"\n") and len(asked) < LONGEST_ASK:
        piece = asking.recv(LONGEST_ASK)
        if not piece:
            break
        asked += piece
    return asked


def _told(show: Show, asked: bytes) -> bytes:
    """A figure that cannot be read costs one scrape, not the worker's series for good."""
    try:
        accept, names = json.loads(asked)
        return sealed(show(accept, names)[0])
    except Exception as exc:
        log.error("metrics could not be shown to another worker", exc_info=exc)
        return b""
