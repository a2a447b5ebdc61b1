"""The moments that a sequence of live events has not told of: while the server was down, while nobody followed, or while a step
took longer than a minute of the market's clock.

Their states are those of a replay, so that what is told of them afterwards is what would have been told (ruling L1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from app.market.bars import Span
from app.market.calendar import Calendar, Session, ny_day

MAX_MISSED_MINUTES: Final = 120
"""Minutes of sessions that are told of afterwards. A longer gap ends the sequence."""

MINUTE: Final = timedelta(milliseconds=Span.MINUTE.ms)

BarEnds = Callable[[Session, datetime], Sequence[datetime]]
"""The ends of a session's bars that are known at a moment. May raise PredictError."""


class CannotContinue(Exception):
    """More was missed than is told of afterwards, or the market's clock began anew."""


class Gap:
    """What lies between two states of a ticker.

    since, at      the moments of the states; nothing is missing up to `since`
    told, newest   the ends of the newest bar of each, None where it knows none
    is_open        whether the market is open at `at`; in a closed one the newest bar may be in no memory
    """

    def __init__(
        self, since: datetime, at: datetime, told: datetime | None, newest: datetime | None, *, is_open: bool
    ) -> None:
        self._since, self._at = since, at
        self._first, self._last = told or since, newest if newest is not None and is_open else at + MINUTE
        self._may_lack_bars = at - since > MINUTE or (newest is not None and newest - self._first > MINUTE)

    def moments(self, calendar: Calendar, bar_ends: BarEnds, lateness: timedelta) -> Sequence[datetime]:
        """The moments in between: when each bar became known, `lateness` after its end, and the opens and closes before the
        last one. Asks for bars only where one may have been missed. Raises CannotContinue, and PredictError if they cannot be
        had."""
        if self._at < self._since - MINUTE:
            raise CannotContinue("the market's clock has gone back")
        sessions = self._sessions(calendar)
        if sum((self._overlap(session) for session in sessions), timedelta(0)) > MAX_MISSED_MINUTES * MINUTE:
            raise CannotContinue(f"more than {MAX_MISSED_MINUTES} minutes were missed")
        bars = {min(end + lateness, self._at) for session in sessions for end in self._ends(session, bar_ends)}
        turns = {
            turn for session in sessions for turn in (session.open, session.close) if self._since < turn <= self._at
        }
        moments = sorted(bars | turns)
        return (
            moments[:-1] if moments and moments[-1] not in bars else moments
        )  # the state at `at` tells of the last turn

    def _sessions(self, calendar: Calendar) -> Sequence[Session]:
        days = calendar.trading_days(ny_day(self._since), ny_day(self._at))
        return [session for day in days if (session := calendar.session(day)) is not None]

    def _overlap(self, session: Session) -> timedelta:
        return max(timedelta(0), min(self._at, session.close) - max(self._since, session.open))

    def _ends(self, session: Session, bar_ends: BarEnds) -> Sequence[datetime]:
        if not self._may_lack_bars or self._at <= session.open or self._first >= session.close:
            return ()
        return [end for end in bar_ends(session, min(self._at, session.close)) if self._first < end < self._last]
