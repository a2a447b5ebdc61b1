"""Several workers, one `/metrics`: whichever worker is asked gathers the series of all, each with its label `worker`.

Each listens on a socket of its own in a folder that they share. Nothing is kept on disk: a worker that dies takes its series
with it, exemplars and figures that are read on demand stay what they are, and its successor takes its number.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

MOST: Final = 64
PATIENCE_S: Final = 1.0
MOST_BYTES: Final = 8 << 20

log = logging.getLogger("predict")


class Workers:
    """This process's place among the workers of its server. `folder`: theirs; paths of sockets are short."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock_file: Any = None
        self._listening: socket.socket | None = None
        self.number: int | None = None

    def join(self, text: Callable[[], bytes]) -> None:
        """Take the first free number and answer whoever gathers with `text()`; after any fork."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.number, self._lock_file = self._first_free()
        address = self._address(self.number)
        address.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(address))
        self._listening.listen(MOST)
        threading.Thread(target=self._answer, args=(self._listening, text), name="metrics", daemon=True).start()

    def others(self) -> Iterable[tuple[int, bytes]]:
        """The texts of the other workers that answer in time."""
        for number in range(MOST):
            if number != self.number and self._address(number).exists():
                with suppress(OSError):
                    yield number, self._asked(self._address(number))

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

    def _answer(self, listening: socket.socket, text: Callable[[], bytes]) -> None:
        with suppress(OSError):  # closed
            while True:
                asking, _ = listening.accept()
                with suppress(OSError), closing(asking):
                    asking.settimeout(PATIENCE_S)
                    asking.sendall(_made(text))

    def _asked(self, address: Path) -> bytes:
        ends = time.monotonic() + PATIENCE_S
        with closing(socket.socket(socket.AF_UNIX)) as asking:
            asking.settimeout(PATIENCE_S)
            asking.connect(str(address))
            text = bytearray()
            while piece := asking.recv(65_536):
                text += piece
                left = ends - time.monotonic()
                if len(text) > MOST_BYTES or left <= 0:
                    raise OSError("too much, or too slow")
                asking.settimeout(left)
            return bytes(text)


class Gathered(Collector):
    """The series of all workers. Names are those of its own registry: all workers have the same."""

    def __init__(self, own: CollectorRegistry, workers: Workers) -> None:
        self._own = own
        self._workers = workers

    def describe(self) -> Iterable[Metric]:
        return self._own.collect()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        _add(families, self._workers.number or 0, self._own.collect())
        for number, text in self._workers.others():
            with suppress(ValueError, LookupError):  # cut off while it was written, or no such text at all
                _add(families, number, list(_parsed(text)))
        return families.values()


def as_text(registry: CollectorRegistry) -> bytes:
    """What one worker tells another: OpenMetrics, which has the exemplars."""
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text


def _made(text: Callable[[], bytes]) -> bytes:
    """Nothing where a figure cannot be read: who gathers leaves this worker out, and asks again."""
    try:
        return text()
    except Exception:  # it would end the thread, and with it this worker's series for good
        log.exception("this worker's metrics could not be read")
        return b""


def _parsed(text: bytes) -> Iterable[Metric]:
    yield from text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call]


def _add(families: dict[str, Metric], number: int, found: Iterable[Metric]) -> None:
    for metric in found:
        family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
        family.samples += [
            sample._replace(labels={**sample.labels, "worker": str(number)})
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ]
