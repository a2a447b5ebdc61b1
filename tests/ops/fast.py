"""The clock of a market that is open and runs fast, the same for a server and its provider."""

from __future__ import annotations

from datetime import UTC, datetime

from app.clock import Clock, running_clock

START, SPEED = datetime.fromisoformat("2025-03-11T11:31:00-04:00"), 10.0


def clock_since(began: float) -> Clock:
    """Reads START at `began`, Unix seconds."""
    return running_clock(START, SPEED, datetime.fromtimestamp(began, UTC))
