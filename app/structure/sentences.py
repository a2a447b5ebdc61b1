"""The sentences both intraday engines say about the base truth, with the prices in them.

Clients show them joined and parse none. No rule lives here, and nothing here may be read back by one.
"""

from __future__ import annotations

from app.structure.terms import Direction, FailureType
from app.structure.truth import Acceptance, Continuity, FailedLevel, Failure

MOVES = {Direction.UP: "up", Direction.DOWN: "down", Direction.BALANCED: "sideways"}
FAILURES = {
    FailureType.FAILED_HIGH_BREAKOUT: "a failed breakout at the high",
    FailureType.FAILED_LOW_BREAKOUT: "a failed breakout at the low",
    FailureType.BEARISH_REVERSAL: "a reversal downwards",
    FailureType.BULLISH_REVERSAL: "a reversal upwards",
}


def acceptance(held: Acceptance) -> str:
    """The winning count, the middle of the range, and the side (northstar.md 3.3)."""
    if held.side is None:
        return f"At most {held.closes} of the last 10 closes agree about ${held.mid:.2f}: no clear side"
    return f"{held.closes} of the last 10 closes hold {held.side} ${held.mid:.2f}, the middle of the range"


def failed_level(failed: FailedLevel) -> str:
    """The touched extreme, the price now and the distance in percent (northstar.md 3.3 a, b)."""
    now = f"now ${failed.price:.2f}, {failed.distance_pct:.2f}%"
    if failed.rejected:
        return f"Turned away at the high of ${failed.level:.2f}: {now} below it"
    return f"Came off the low of ${failed.level:.2f}: {now} above it"


def conflict(continuity: Continuity) -> str | None:
    """The disagreeing timeframes, None if they agree; in words, and by their names as northstar.md 3.5 asks."""
    if continuity.aligned or continuity.daily is None:
        return None
    days, session = MOVES[continuity.daily], MOVES[continuity.intraday]
    names = f"DAILY={continuity.daily}, INTRADAY={continuity.intraday}"
    return f"The days go {days}, the session goes {session} ({names})"


def failure(failed: Failure, price: float) -> str:
    """The token of the failure, then its story (northstar.md 3.8)."""
    match failed.type:
        case FailureType.FAILED_HIGH_BREAKOUT:
            story = f"the push to ${failed.extreme:.2f} was given back, now ${price:.2f}"
        case FailureType.FAILED_LOW_BREAKOUT:
            story = f"the drop to ${failed.extreme:.2f} was bought back, now ${price:.2f}"
        case FailureType.BEARISH_REVERSAL:
            story = f"the new high of ${failed.extreme:.2f} was sold at once"
        case FailureType.BULLISH_REVERSAL:
            story = f"the new low of ${failed.extreme:.2f} was bought at once"
    return f"{failed.type}: {story}"
