"""How long a test waits for what a busy machine may delay: one bound for clients, threads, processes and conditions."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 180.0
"""No test is about this time. A test that is about a time-out sets one of its own."""


def wait_for(condition: Callable[[], object], words: str = "it did not come to that", *, every_s: float = 0.02) -> None:
    """Return once `condition` holds. Raises AssertionError with `words` if it does not within PATIENCE_S."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, words
        time.sleep(every_s)
