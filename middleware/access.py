"""The access log: one line for each answered request. Lines are gathered and written together by a thread of its own, so
that a request pays for a tuple and not for a write; what does not fit in the queue is counted, not waited for.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from middleware.exchange import Line

MAX_LINES = 10_000
EVERY_S = 0.25
LONGEST_PATH = 200


class AccessLog:
    """Tell it each line. Until `start` it writes at once."""

    def __init__(self, write: Callable[[str], object], *, as_json: bool, max_lines: int = MAX_LINES) -> None:
        self._write = write
        self._text = as_json_line if as_json else as_text_line
        self._max = max_lines
        self._lines: deque[Line] = deque()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = 0

    def __len__(self) -> int:
        return len(self._lines)

    def __call__(self, line: Line) -> None:
        if len(self._lines) >= self._max:
            self.lost += 1
            return
        self._lines.append(line)
        if self._thread is None:
            self.flush()

    def start(self) -> None:
        """Write in the background from now on; after any fork."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left; later lines are written at once."""
        self._stopped.set()
        self._thread = None
        self.flush()

    def flush(self) -> None:
        lines = []
        while self._lines:
            lines.append(self._text(self._lines.popleft()))
        if lines:
            try:
                self._write("".join(lines))
            except OSError:  # nowhere to say it
                self.lost += len(lines)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self.flush()


def as_json_line(line: Line) -> str:
    """Joined by hand from parts that repeat; ids need no escaping, they are checked where they come in."""
    whole, part = divmod(int(line.at * 1000), 1000)
    return (
        f'{{"time": "{_second(whole)}.{part:03d}+00:00", "level": "INFO", "logger": "predict.access", '
        f'{_what(line.method, line.route, line.path[:LONGEST_PATH], line.status)}, "request_id": "{line.request_id}", '
        f'"trace_id": "{line.trace_id}", "duration_ms": {line.seconds * 1000:.3f}}}\n'
    )


@lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _what(method: str, route: str | None, path: str, status: int) -> str:
    """The part of a line that says what was asked and answered, as JSON members."""
    fields = {"message": f"{method} {path} {status}", "method": method, "route": route, "path": path, "status": status}
    return json.dumps(fields)[1:-1]


def as_text_line(line: Line) -> str:
    at = datetime.fromtimestamp(line.at).strftime("%H:%M:%S")
    path = line.path[:LONGEST_PATH].encode("unicode_escape").decode()
    return f"{at} {line.status} {line.method} {path} {line.seconds * 1000:.1f} ms {line.request_id}\n"
