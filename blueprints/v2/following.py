"""Following a ticker: the stages of its state, and then every change, until the client leaves, the server stops, or the stream
has lasted for LASTS_S."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Final

from app.clock import REAL_TIME
from app.live.broadcaster import HEARTBEAT_S
from app.live.live_event import LiveEvent, Position, position_of
from blueprints.services import Services
from blueprints.v2 import live_types, streaming
from blueprints.v2.line_formats import Line

LASTS_S: Final = 14 * 60.0
"""Real seconds: the platform cuts a request off after 15 minutes, without a word."""

RETRY_MS, SPREAD_MS, SPREAD_STEP_MS = 500, 2500, 211
"""When a client comes back at the earliest, over what time they are spread, and between one and the next."""

NOWHERE: Final = Position("", 0)
"""The place that an id names which is none of ours."""

_number = count()


class Followed:
    """The lines of one client. lines: what is sent; farewell: the last line, which says how to go on."""

    def __init__(self, ticker: str, after: str | None, server: Services) -> None:
        self._ticker = ticker
        self._after = None if after is None else position_of(after) or NOWHERE
        self._sent = self._after
        self._server = server
        self._ends = REAL_TIME.now() + LASTS_S
        self._retry_ms = RETRY_MS + next(_number) * SPREAD_STEP_MS % SPREAD_MS

    def lines(self) -> Iterator[Line | LiveEvent]:
        if self._after is None:
            for line in streaming.stages(self._ticker, self._server):
                yield replace(line, id=None)
        yield self._beginning()
        with self._server.live.listen(self._ticker, self._after) as listener:
            while not listener.is_over:
                for event in listener.take(max(0.0, self._ends - REAL_TIME.now())):
                    self._sent = event.position
                    yield event
                if REAL_TIME.now() >= self._ends:
                    break
        yield self.farewell()

    def _beginning(self) -> Line:
        left_s = max(0.0, self._ends - REAL_TIME.now())
        return Line(
            live_types.Following(
                ticker=self._ticker,
                after=_shown(self._after),
                heartbeat_seconds=HEARTBEAT_S,
                ends_in_seconds=round(left_s, 3),
            )
        )

    def farewell(self) -> Line:
        resume = live_types.Resume(after=_shown(self._sent), retry_after_ms=self._retry_ms)
        return Line(resume, resume.after, retry_after_ms=self._retry_ms)


def _shown(position: Position | None) -> str | None:
    return None if position is None or position == NOWHERE else str(position)
