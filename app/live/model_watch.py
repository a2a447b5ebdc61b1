"""Looks now and then whether another model set was promoted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from app.model.reloading import ServedModels

LOOK_AGAIN_S: Final = 10.0
"""Real seconds between two looks, each of which costs one question to the file system."""

ENDS_WITHIN_S: Final = 1.0


class ModelWatch:
    """A thread that looks for promotions until the process stops. Emits `models_unwatched` where a look fails."""

    def __init__(self, models: ServedModels, emit: Callable[..., None]) -> None:
        self._models = models
        self._emit = emit
        self._thread: threading.Thread | None = None

    def start(self, stopped: threading.Event) -> None:
        """To be called after any fork."""
        self._thread = threading.Thread(target=self.run, args=(stopped,), name="models", daemon=True)
        self._thread.start()

    def run(self, stopped: threading.Event) -> None:
        """Look until `stopped` is set."""
        while not stopped.wait(LOOK_AGAIN_S):
            try:
                self._models.look()
            except Exception as exc:  # if this ended the thread, no promotion would be seen outside the decision hours
                self._emit("models_unwatched", error=f"{type(exc).__name__}: {exc}")

    def close(self) -> None:
        """Wait for the thread to end, for ENDS_WITHIN_S at most. To be called once it was stopped."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(ENDS_WITHIN_S)
