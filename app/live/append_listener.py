"""Hears from Redis what other processes append to the log of live events, so that those who follow here are told at once. What
is not heard is found by reading the log, a little later.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Final

from app.errors import Unavailable
from app.redis_database import Refused

PAUSE_S: Final = (1.0, 5.0)
"""Real seconds, chosen at random between these, before Redis is asked again after a failure: processes do not come at once."""

REFUSED_PAUSE_S: Final = (30.0, 60.0)
"""The same where Redis refuses: somebody must change the rights of its user first."""


class AppendListener:
    """Emits `live_log_grew` for each append of another process; `live_log_unheard` once where Redis refuses to tell of them,
    and `live_log_heard` when it tells of them again.

    appended(): first an empty text, once it listens, then tickers, for ever
    tickers     the known ones
    pause       waits so many seconds at most, and returns whether it was closed meanwhile
    is_refused  whether Redis refuses; reading the log alone tells then what others append
    """

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
        self.is_refused = False

    def start(self) -> None:
        threading.Thread(target=self.run, name="live log", daemon=True).start()

    def close(self) -> None:
        self._is_closed.set()

    def run(self) -> None:
        """Listen until it is closed."""
        while not self._is_closed.is_set():
            self._listen()
            if self._pause(random.uniform(*(REFUSED_PAUSE_S if self.is_refused else PAUSE_S))):
                return

    def _listen(self) -> None:
        """Listen until Redis fails, or the log is closed."""
        try:
            for ticker in self._appended():
                if ticker in self._tickers:
                    self._emit("live_log_grew", ticker=ticker)
                elif not ticker:
                    self._listens()
        except Refused as exc:
            self._is_refused_by(exc)
        except Unavailable:
            return

    def _listens(self) -> None:
        if self.is_refused:
            self.is_refused = False
            self._emit("live_log_heard")

    def _is_refused_by(self, exc: Refused) -> None:
        if not self.is_refused:
            self.is_refused = True
            self._emit("live_log_unheard", error=exc.detail)
