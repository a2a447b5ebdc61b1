"""When clients come back that the server sends away: not all at once."""

from __future__ import annotations

from itertools import count
from typing import Final

RETRY_MS: Final = 500
"""When a client comes back at the earliest, real milliseconds."""

SPREAD_MS, STEP_MS = 2500, 211
"""Over what time clients are spread, and between one and the next."""


class Spread:
    """Gives each client a moment of its own."""

    def __init__(self) -> None:
        self._number = count()

    def next_ms(self) -> int:
        """Real milliseconds after which the next client comes back."""
        return RETRY_MS + next(self._number) * STEP_MS % SPREAD_MS
