"""One connected client: its subscriptions, how far it got, and what it is sent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from app.clock import Timer
from app.errors import PredictError, TryLater, sentence
from app.live.broadcaster import Broadcasters
from app.live.fan_out import Membership
from app.live.live_event import LiveEvent, Position
from app.telemetry.stages import Stages
from blueprints.services import Owner
from blueprints.shared.reconnecting import Spread
from blueprints.socket_io.links import Links, Message
from blueprints.socket_io.messages import ENCODING, answer_text, greeting_text, live_text
from blueprints.socket_io.sessions import Place
from blueprints.socket_io.socket_types import ByeEvent, ByeReason, ErrorCode, ErrorEvent
from blueprints.v2.types import Answer

TRY_AGAIN_LATER: Final = 1013
"""The WebSocket close code after which a client library connects again (IANA registry of RFC 6455)."""

MESSAGES_PER_S: Final = 10.0
BURST: Final = 20
"""Messages that a client may send at once. Those beyond are refused; the links disconnect one that goes on."""

FAULT_RETRY_MS: Final = 30_000
"""When to ask again for what the server cannot give now: the state of a ticker, or a connection."""

NO_STATE: Final = "the state of this ticker cannot be computed"


def error_of(code: ErrorCode, detail: str, ticker: str | None = None, retry_after_ms: int | None = None) -> ErrorEvent:
    """An error in words that begin and end as a sentence does."""
    return ErrorEvent(code=code, detail=sentence(detail), ticker=ticker, retry_after_ms=retry_after_ms)


class Allowance(Protocol):
    """How many messages a client may still send (`serving.link_bounds.Allowance`)."""

    def spend(self) -> bool:
        """Whether one more message is allowed."""
        ...


@dataclass(frozen=True, slots=True)
class ClientParts:
    """What all clients share. message_of: a message from the text of a packet; new_allowance: bounds the messages of a client;
    spread: when those come back that are sent away; emit: tells what happened; stages: measures what clients ask for, and
    records why they are ended."""

    live: Broadcasters
    links: Links
    message_of: Callable[[str], Message]
    timer: Timer
    new_allowance: Callable[[], Allowance]
    spread: Spread
    emit: Callable[..., None]
    stages: Stages

    def bye(self, reason: ByeReason) -> Message:
        """The message with which a connection ends."""
        bye = ByeEvent(reason=reason, detail=reason.meaning, retry_after_ms=self.spread.next_ms())
        return self.message_of(answer_text("bye", bye))

    def message_of_event(self, event: LiveEvent) -> Message:
        """The message of a live event, which is made once for all clients."""
        return event.encoded(ENCODING, self._make)

    def _make(self, event: LiveEvent) -> Message:
        return self.message_of(live_text(event, self.live.numbers.name))


class SocketClient:
    """One connected client. It is the recipient of its subscriptions.

    eio_sid  its Engine.IO session
    pid      the id of its session, known to the client alone
    allowance  of its messages
    is_warned  whether its last message was one too many
    is_gone  whether it is sent nothing more
    has_place  whether it is counted among the connections; who replaces it takes its place over
    """

    __slots__ = (
        "_members",
        "_parts",
        "_send_frame",
        "allowance",
        "eio_sid",
        "has_place",
        "is_gone",
        "is_warned",
        "owner",
        "pid",
    )

    def __init__(self, eio_sid: str, pid: str, owner: Owner, parts: ClientParts) -> None:
        self.eio_sid = eio_sid
        self.pid = pid
        self.owner = owner
        self.allowance = parts.new_allowance()
        self.is_warned = self.is_gone = False
        self.has_place = True
        self._parts = parts
        self._members: dict[str, Membership] = {}
        self._send_frame: Callable[[bytes, Hashable | None], bool] | None = None

    @property
    def tickers(self) -> Sequence[str]:
        """What it is subscribed to."""
        return tuple(self._members)

    def places(self) -> Mapping[str, Place]:
        """Where each subscription began."""
        return {ticker: Place(one.after, one.began_at, one.position) for ticker, one in self._members.items()}

    def subscribe(self, ticker: str, after: Position | None) -> None:
        """Send what comes behind a position, or a snapshot, and every event since."""
        self.unsubscribe(ticker)
        if not self.is_gone:
            member = self._members[ticker] = self._parts.live.join(ticker, self, after)
            if self.is_gone:  # another thread has ended the connection meanwhile
                member.close()

    def unsubscribe(self, ticker: str) -> None:
        member = self._members.pop(ticker, None)
        if member is not None:
            member.close()

    def leave(self) -> None:
        """The connection is gone, or about to."""
        self.is_gone = True
        for ticker in self.tickers:
            self.unsubscribe(ticker)

    def greet(self, hello: Answer, offset: str | None) -> None:
        """Send the first event."""
        self._parts.links.post(self.eio_sid, self._parts.message_of(greeting_text(hello, offset)))

    def send(self, name: str, payload: Answer) -> None:
        """Send an event of its own, which is never dropped."""
        self._parts.links.post(self.eio_sid, self._parts.message_of(answer_text(name, payload)))

    def error(self, error: ErrorEvent) -> None:
        """Send the event `error`."""
        self.send("error", error)

    def bye(self, reason: ByeReason) -> None:
        """Say why, and end the connection. The client library connects again."""
        if not self.is_gone:
            self._parts.links.finish(self.eio_sid, self.last_words(reason), TRY_AGAIN_LATER, reason.value)

    def last_words(self, reason: ByeReason) -> Message:
        """The message with which the connection ends; nothing is sent behind it."""
        self.is_gone = True
        self._parts.emit("socket_ended", reason=reason.value)
        with self._parts.stages.root("socket-end", reason=reason.value):
            return self._parts.bye(reason)

    # --- as a recipient of live events ---

    def post(self, event: LiveEvent) -> bool:
        """Few calls and look-ups: every event passes here for every client."""
        parts, key = self._parts, (event.ticker, event.kind)
        message = parts.message_of_event(event)
        if self._send_frame is None:
            self._send_frame = parts.links.sender(self.eio_sid)
            is_kept = parts.links.post(self.eio_sid, message, key)
        else:
            is_kept = self._send_frame(message.frame, key)
        return is_kept or not parts.links.accepts(self.eio_sid)  # a client that is gone says itself what it has

    def catch_up(self) -> None:
        """The client has taken all that waited: send snapshots of what it did not get (ruling L1)."""
        for member in list(self._members.values()):
            member.catch_up()

    def fail(self, ticker: str, error: Exception) -> None:
        detail = error.message if isinstance(error, PredictError) else NO_STATE
        retry_s = error.retry_after if isinstance(error, TryLater) else FAULT_RETRY_MS / 1000
        self.error(error_of(ErrorCode.UNAVAILABLE, detail, ticker, round(retry_s * 1000)))

    def end(self) -> None:
        """The server stops, which `SocketServer.stop` tells all clients."""
