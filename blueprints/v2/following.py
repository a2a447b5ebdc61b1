"""Following a ticker: the stages of its state, and then every change, until the client leaves, the server stops, or the stream
has lasted for LASTS_S."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

from app.clock import REAL_TIME
from app.live.broadcaster import HEARTBEAT_S
from app.live.live_event import LiveEvent, Position, position_of
from blueprints.services import Services
from blueprints.shared.reconnecting import Spread
from blueprints.streams import Push
from blueprints.v2 import live_types, streaming
from blueprints.v2.line_formats import Line
from blueprints.v2.stream_recipient import StreamRecipient

LASTS_S: Final = 14 * 60.0
"""Real seconds: the platform cuts a request off after 15 minutes, without a word."""

NOWHERE: Final = Position("", 0)
"""The place that an id names which is none of ours."""

SPREAD: Final = Spread()
"""When the clients come back whose streams end."""


class Followed:
    """The lines of one client. lines: what is sent, None where others send it for a while; farewell: the last line, which says
    how to go on. chunk: writes an event as a chunk of the response; push: lets events go straight to the client, None where it
    cannot."""

    def __init__(
        self, ticker: str, after: str | None, server: Services, chunk: Callable[[LiveEvent], bytes], push: Push | None
    ) -> None:
        self._ticker = ticker
        self._after = None if after is None else position_of(after) or NOWHERE
        self._recipient = StreamRecipient(self._after, chunk)
        self._server = server
        self._push = push
        self._ends = REAL_TIME.now() + LASTS_S
        self._retry_ms = SPREAD.next_ms()

    def wait(self) -> None:
        """Wait while the events are pushed to the client."""
        self._recipient.wait_pushed()

    def lines(self) -> Iterator[Line | LiveEvent | None]:
        if self._after is None:
            for line in streaming.stages(self._ticker, self._server):
                yield replace(line, id=None)
        yield self._beginning()
        with closing(self._recipient) as recipient:
            recipient.join(self._server.live, self._ticker)
            yield from self._events(recipient)
        if not recipient.is_ended:  # the server says the last words of all streams when it stops
            yield self.farewell()

    def _events(self, recipient: StreamRecipient) -> Iterator[LiveEvent | None]:
        while True:
            yield from recipient.take()
            left_s = self._ends - REAL_TIME.now()
            if recipient.is_ended or recipient.is_cut or left_s <= 0:
                return
            if self._push is not None:
                recipient.push(self._push, left_s)
                yield None
            else:
                recipient.wait(left_s)

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
        resume = live_types.Resume(after=_shown(self._recipient.position), retry_after_ms=self._retry_ms)
        return Line(resume, resume.after, retry_after_ms=self._retry_ms)


def _shown(position: Position | None) -> str | None:
    return None if position is None or position == NOWHERE else str(position)
