"""The moments that a sequence of live events has not told of: while the server was down, while nobody followed, or while a step
took longer than a minute of the market's clock.

Their states are those of a replay, so that what is told of them afterwards is what would have been told (ruling L1). A replay
sees a bar from its end on, whenever it came in: of a moment for which something else was told, only the bar is told afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from app.live.live_event import CHANGES, Kind
from app.market.bars import Span
from app.market.calendar import Calendar, Session, ny_day
from app.market.plan import Plan

MAX_MISSED_MINUTES: Final = 120
"""Minutes of sessions that are told of afterwards. A longer gap ends the sequence."""

MINUTE: Final = timedelta(milliseconds=Span.MINUTE.ms)

BarEnds = Callable[[Session, datetime], Sequence[datetime]]
"""The ends of a session's bars that are known at a moment. May raise PredictError."""


class CannotContinue(Exception):
    """More was missed than is told of afterwards, or the market's clock began anew."""


class MissedMoment(NamedTuple):
    """A moment that is told of afterwards. known_at: when it would have been told of; at: the moment of its state, earlier by
    the plan's delay; kinds: what of its state is told."""

    known_at: datetime
    at: datetime
    kinds: frozenset[Kind] = CHANGES


TURN: Final = CHANGES - {Kind.PRICE}
BAR_ONLY: Final = frozenset({Kind.PRICE})


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

    def moments(self, calendar: Calendar, bar_ends: BarEnds, plan: Plan) -> Sequence[MissedMoment]:
        """The moments in between, as they would have been told of: when each bar became known, and the opens and closes before
        the last one. Asks for bars only where one may have been missed. Raises CannotContinue, and PredictError if the bars
        cannot be had."""
        if self._at < self._since:
            raise CannotContinue("the market's clock has gone back")
        sessions = self._sessions(calendar)
        if sum((self._overlap(session) for session in sessions), timedelta(0)) > MAX_MISSED_MINUTES * MINUTE:
            raise CannotContinue(f"more than {MAX_MISSED_MINUTES} minutes were missed")
        bars = [self._bar(session, end, plan) for session in sessions for end in self._ends(session, bar_ends)]
        turns = [MissedMoment(turn, turn, TURN) for session in sessions for turn in self._turns(session)]
        moments = sorted([*bars, *turns], key=lambda moment: (moment.known_at, moment.at))
        if moments and moments[-1].kinds is TURN:  # the state at `at` tells of it
            del moments[-1]
        return moments

    def _bar(self, session: Session, end: datetime, plan: Plan) -> MissedMoment:
        """When a bar would have been told of. For a moment that is told of already, and for one at which the market was closed,
        a replay of the bar's end is not what was told."""
        known_at = min(end + plan.lateness, self._at)
        is_told = known_at <= self._since or known_at >= session.close
        return MissedMoment(known_at, min(end + plan.settle, self._at), BAR_ONLY if is_told else CHANGES)

    def _turns(self, session: Session) -> Sequence[datetime]:
        return [turn for turn in (session.open, session.close) if self._since < turn <= self._at]

    def _sessions(self, calendar: Calendar) -> Sequence[Session]:
        days = calendar.trading_days(ny_day(self._since), ny_day(self._at))
        return [session for day in days if (session := calendar.session(day)) is not None]

    def _overlap(self, session: Session) -> timedelta:
        return max(timedelta(0), min(self._at, session.close) - max(self._since, session.open))

    def _ends(self, session: Session, bar_ends: BarEnds) -> Sequence[datetime]:
        if not self._may_lack_bars or self._at <= session.open or self._first >= session.close:
            return ()
        return [end for end in bar_ends(session, min(self._at, session.close)) if self._first < end < self._last]
