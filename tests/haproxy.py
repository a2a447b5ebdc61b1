"""A real HAProxy on loopback (ops/regions/balancer.py), with the patience of tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ops.regions.balancer import MISSING, PROGRAM, Balancer, Listener
from tests.waiting import PATIENCE_S

PATIENT_CHECKS = (f"timeout check {PATIENCE_S:.0f}s",)
"""For a listener whose servers are never silent for long, but on a busy machine."""


def skip_without_haproxy() -> None:
    """Skips the test, and says how to get the program, where there is none."""
    if PROGRAM is None:
        pytest.skip(MISSING)


def balancer(folder: Path, listeners: Sequence[Listener]) -> Balancer:
    folder.mkdir(exist_ok=True)
    return Balancer(folder, listeners, patience_s=PATIENCE_S)
