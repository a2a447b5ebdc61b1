"""The access log: one line for each answered request. A thread of its own collects the records and writes them together, so
that a request pays for a tuple and not for a write. A record that does not fit in the queue is counted and dropped.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

MAX_RECORDS = 10_000
EVERY_S = 0.25
LONGEST_PATH = 200


class AccessRecord(NamedTuple):
    """One answered request. at: seconds since 1970; seconds: duration until the last byte."""

    at: float
    request_id: str
    trace_id: str
    method: str
    route: str | None
    path: str
    status: int
    seconds: float


class AccessLog:
    """Called with each record. Until `start` it writes every record at once."""

    def __init__(self, write: Callable[[str], object], *, as_json: bool, max_records: int = MAX_RECORDS) -> None:
        self._write = write
        self._format = as_json_line if as_json else as_text_line
        self._max = max_records
        self._records: deque[AccessRecord] = deque()
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = 0

    def __len__(self) -> int:
        return len(self._records)

    def __call__(self, record: AccessRecord) -> None:
        if len(self._records) >= self._max:
            self.lost += 1
            return
        self._records.append(record)
        if self._thread is None:
            self.flush()

    def start(self) -> None:
        """Write in the background from now on. To be called after any fork."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left; later records are written at once."""
        self._stopped.set()
        self._thread = None
        self.flush()

    def flush(self) -> None:
        """Write what waits, behind what another thread is writing."""
        with self._writing:
            lines = []
            while self._records:
                lines.append(self._format(self._records.popleft()))
            if lines:
                try:
                    self._write("".join(lines))
                except OSError:  # there is nowhere to report it
                    self.lost += len(lines)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self.flush()


def as_json_line(record: AccessRecord) -> str:
    """A record as a line of JSON, joined from parts that are cached. The ids need no escaping: they are checked when a
    request comes in."""
    whole, part = divmod(int(record.at * 1000), 1000)
    request = _request_members(record.method, record.route, record.path[:LONGEST_PATH], record.status)
    return (
        f'{{"time": "{_timestamp(whole)}.{part:03d}+00:00", "level": "INFO", "logger": "predict.access", '
        f'{request}, "request_id": "{record.request_id}", '
        f'"trace_id": "{record.trace_id}", "duration_ms": {record.seconds * 1000:.3f}}}\n'
    )


@lru_cache(maxsize=4)
def _timestamp(since_1970: int) -> str:
    """A moment in UTC to the second."""
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _request_members(method: str, route: str | None, path: str, status: int) -> str:
    """A request and its status as the members of a JSON object, without its braces."""
    fields = {"message": f"{method} {path} {status}", "method": method, "route": route, "path": path, "status": status}
    return json.dumps(fields)[1:-1]


def as_text_line(record: AccessRecord) -> str:
    at = datetime.fromtimestamp(record.at).strftime("%H:%M:%S")
    path = record.path[:LONGEST_PATH].encode("unicode_escape").decode()
    return f"{at} {record.status} {record.method} {path} {record.seconds * 1000:.1f} ms {record.request_id}\n"
