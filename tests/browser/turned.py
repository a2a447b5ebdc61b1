"""A market clock that a test turns while a server of its own process reads it, and that server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.clock import running_clock, wall_clock
from tests.serving.test_gunicorn import Server, started
from tests.support import new_york

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.browser.turned_app:server"]


class TurnedClock:
    """Market time that is kept in a file. It stands still, or runs at a speed."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self) -> datetime:
        start, speed, began = json.loads(self.file.read_text())
        return running_clock(datetime.fromisoformat(start), speed, datetime.fromtimestamp(began, UTC))()

    def set(self, text: str, speed: float = 0.0) -> None:
        """From now on it is this moment, New York, and `speed` market seconds pass in a real second."""
        self._write(new_york(text), speed)

    def run(self, speed: float) -> None:
        """Go on from the present moment at this speed."""
        self._write(self(), speed)

    def _write(self, at: datetime, speed: float) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps([at.isoformat(), speed, wall_clock().timestamp()]))
        new.replace(self.file)


@contextmanager
def turned(folder: Path, clock: TurnedClock, *, port: int | None = None, **values: object) -> Iterator[Server]:
    """The server as it is deployed, on `clock`. Its data and its log are in `folder`; `values`: settings."""
    settings = {"DATA_DIR": folder / "data", "CLOCK_FILE": clock.file, **values}
    with started(COMMAND, folder / "log", port=port, **settings) as server:
        server.wait_ready()
        yield server
