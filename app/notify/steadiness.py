"""Whether a condition has lasted, so that one that comes and goes is not told of. Pure."""

from __future__ import annotations

from typing import Final

from app.notify.message import Condition

LASTS_S: Final = 120.0
"""Real seconds for which a condition must be seen without a break."""


class Steadiness:
    """Since when each subject has been seen in its condition."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Condition, float]] = {}

    def observe(self, subject: str, condition: Condition | None, now: float) -> bool:
        """Whether a subject has been in this condition, if it is known, for LASTS_S. now: real seconds."""
        if condition is None:
            self._since.pop(subject, None)
            return False
        seen = self._since.get(subject)
        if seen is None or seen[0] is not condition:
            seen = self._since[subject] = condition, now
        return now - seen[1] >= LASTS_S

    def forget(self) -> None:
        """Nobody looks for a while: what was seen before says nothing of the time between."""
        self._since.clear()
