"""Full collections of garbage, at moments in which few clients come and go.

With a thousand clients a full collection takes about a tenth of a second, in which no request is answered. gunicorn.conf.py
lets the interpreter begin one ten times less often than by default, so that hardly any falls on a moment in which many clients
come at once.
"""

from __future__ import annotations

import gc
from typing import Final

DUE: Final = 10
"""Collections of the younger generations after which a full one is due: the interpreter's own default."""

FEW: Final = 16
"""Clients that may come or leave between two looks of a quiet moment."""


class Garbage:
    """Collects what is due at the first quiet look."""

    def __init__(self) -> None:
        self._clients = 0

    def look(self, clients: int) -> bool:
        """Once a second. clients: how many are connected. Returns whether garbage was collected."""
        is_quiet, self._clients = abs(clients - self._clients) <= FEW, clients
        if not is_quiet or gc.get_count()[2] < DUE:
            return False
        gc.collect()
        return True
