"""When a message that was not taken is tried again. Pure."""

from __future__ import annotations

from typing import Final

DELAYS_S: Final = (5.0, 30.0, 120.0, 600.0)
"""Real seconds before the second, third, fourth and every later try."""

JITTER: Final = 0.2
"""Up to such a share of a delay is added, so that several receivers behind one address are not all tried at once."""

LONGEST_S: Final = 900.0
"""The longest delay that a receiver may ask for (Retry-After)."""


def delay_s(tries: int, asked_s: float | None, luck: float) -> float:
    """Real seconds until the next try. tries: how many have failed, at least 1; asked_s: what the receiver asked for; luck: a
    random number from 0 to 1."""
    own = DELAYS_S[min(tries, len(DELAYS_S)) - 1] * (1 + JITTER * luck)
    return max(own, min(asked_s or 0.0, LONGEST_S))
