"""When clients come back that the server sends away: not all at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

EARLIEST_MS: Final = 500
"""When a client comes back at the earliest, real milliseconds."""

SPREAD_MS: Final = 2500
"""Over what time clients are spread at least."""

PACE_MS: Final = 5
"""Over how much more time for each client that is connected: more than it costs the server to let one in."""

GOLDEN: Final = 0.6180339887498949
"""Multiples of the golden ratio, without their whole part, are spread evenly however many there are (Knuth, The Art of
Computer Programming 3, 6.4)."""


def spread_ms(clients: int) -> int:
    """Over what time so many clients come back."""
    return max(SPREAD_MS, PACE_MS * clients)


class Spread:
    """Gives each client a moment of its own. clients: how many are connected now."""

    def __init__(self, clients: Callable[[], int] = lambda: 0) -> None:
        self._clients = clients
        self._number = count()

    def next_ms(self) -> int:
        """Real milliseconds after which the next client comes back."""
        return EARLIEST_MS + int(next(self._number) * GOLDEN % 1 * spread_ms(self._clients()))
