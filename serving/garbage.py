"""Full collections of garbage, at moments in which few clients come and go.

With a thousand clients a full collection takes about a tenth of a second, in which no request is answered. gunicorn.conf.py
lets the interpreter begin one ten times less often than by default, so that hardly any falls on a moment in which many clients
come at once; still more rarely, and what clients leave behind would take megabytes.
"""

from __future__ import annotations

import gc
from typing import Final

DUE: Final = 10
"""Collections of the younger generations after which a full one is due: the interpreter's own default."""

FEW: Final = 16
"""Clients that may come or leave between two looks of a quiet moment."""

QUIET_LOOKS: Final = 6
"""Quiet looks in a row before garbage is collected: a crowd that has come is served for some seconds."""


class Garbage:
    """Collects what is due after some quiet looks."""

    def __init__(self) -> None:
        self._clients = 0
        self._quiet_looks = 0

    def look(self, clients: int) -> bool:
        """Once a second. clients: how many are connected. Returns whether garbage was collected."""
        is_quiet, self._clients = abs(clients - self._clients) <= FEW, clients
        self._quiet_looks = self._quiet_looks + 1 if is_quiet else 0
        if self._quiet_looks < QUIET_LOOKS or gc.get_count()[2] < DUE:
            return False
        gc.collect()
        return True
