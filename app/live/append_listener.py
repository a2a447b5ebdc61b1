"""Hears from Redis what other processes append to the log of live events, so that those who follow here are told at once. What
is not heard is found by reading the log, a little later.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Final

from app.errors import Unavailable

PAUSE_S: Final = (1.0, 5.0)
"""Real seconds, chosen at random between these, before Redis is asked again after a failure: processes do not come at once."""


class AppendListener:
    """Emits `live_log_grew` for each append of another process. appended(): their tickers, for ever; tickers: the known ones;
    pause: waits so many seconds at most, and returns whether it was closed meanwhile."""

    def __init__(
        self,
        appended: Callable[[], Iterator[str]],
        tickers: Collection[str],
        emit: Callable[..., None],
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self._appended = appended
        self._tickers = frozenset(tickers)
        self._emit = emit
        self._is_closed = threading.Event()
        self._pause = pause or self._is_closed.wait

    def start(self) -> None:
        threading.Thread(target=self.run, name="live log", daemon=True).start()

    def close(self) -> None:
        self._is_closed.set()

    def run(self) -> None:
        """Listen until it is closed."""
        while not self._is_closed.is_set():
            self._listen()
            if self._pause(random.uniform(*PAUSE_S)):
                return

    def _listen(self) -> None:
        """Listen until Redis fails, or the log is closed."""
        try:
            for ticker in self._appended():
                if ticker in self._tickers:
                    self._emit("live_log_grew", ticker=ticker)
        except Unavailable:
            return
