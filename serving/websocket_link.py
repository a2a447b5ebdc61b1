"""What the handlers of Socket.IO may do with the connected clients, beside what Flask-SocketIO offers.

    links = Links(last_words=..., on_drained=...)
    socketio = SocketIO(async_mode="gevent", async_handlers=False, logger=log, engineio_logger=log, ...)
    socketio.init_app(app)
    links.install(socketio)

    message = message_of('42["price",{"ticker":"SPY"},"ab12cd34-17"]')     # encoded once, for all clients
    links.post(eio_sid, message, key=("SPY", "price"))                     # never waits
    links.finish(eio_sid, message_of('42["bye",{...}]'), code=1013)        # last words, close frame, end

`eio_sid` is the id of the Engine.IO session: `socketio.server.manager.eio_sid_from_sid(request.sid, "/")`. What `emit`,
acknowledgements and answers to CONNECT send goes the same way as `post`, so that one order holds for all. A client may be
connected by long polling or by a WebSocket, and may change from the first to the second: nothing is lost, doubled or reordered
by it.

`async_handlers` must be False: the messages of a client are then handled one after the other, in the greenlet that reads them,
so that a client which sends fast waits for its own handlers. A handler gets whatever arguments the client sends
(`def subscribe(*args)`). The loggers must be given, or engineio adds a handler that writes plain lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from serving.engine_server import EngineServer, check_versions
from serving.link_bounds import CODES, LinkBounds
from serving.messages import Message, message_of
from serving.outbox import OutboxCounters
from serving.strict_packets import strict

__all__ = ["LinkBounds", "Links", "Message", "message_of"]


def _no_words(eio_sid: str, reason: str) -> None:
    return None


def _nothing(eio_sid: str) -> None:
    pass


class Links:
    """The Socket.IO clients of this process.

    last_words(eio_sid, reason)  the last message to a client that the server ends for what it does, None for none; it must not
                                 wait. Reasons: `slow` (it does not take what is sent, or a polling client does not poll),
                                 `message_too_large`, `too_many_messages`, `invalid_message` (no packet, a binary one, an
                                 acknowledgement), `idle` (not in the namespace for `connect_s`)
    on_drained(eio_sid)          a client for which messages waited, or gave way to newer ones, has been sent everything; it
                                 must not wait

    counters  what was sent, replaced, and waits now (`serving.outbox.OutboxCounters`)
    """

    def __init__(
        self,
        last_words: Callable[[str, str], Message | None] = _no_words,
        on_drained: Callable[[str], None] = _nothing,
        bounds: LinkBounds | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bounds = bounds or LinkBounds()
        self.counters = OutboxCounters()
        self._last_words = last_words
        self._on_drained = on_drained
        self._now = now
        self._engine: EngineServer | None = None

    def install(self, socketio: Any) -> None:
        """Take over the sockets of a Flask-SocketIO object, after its `init_app`. Raises RuntimeError for other versions than
        the pinned ones, and ValueError where the object is not set up for this."""
        check_versions()
        server = socketio.server
        if server.eio.async_mode != "gevent" or server.async_handlers:
            raise ValueError("Socket.IO needs async_mode='gevent' and async_handlers=False")
        server.packet_class = strict(server.packet_class)
        engine = server.eio
        engine.__class__ = EngineServer
        engine.adopt(
            self.bounds,
            self.counters,
            end=self.end,
            on_drained=self._on_drained,
            has_joined=lambda sid: server.manager.sid_from_eio_sid(sid, "/") is not None,
            now=self._now,
        )
        self._engine = engine

    @property
    def refused(self) -> Mapping[tuple[str, ...], int]:
        """Requests that were refused, by reason (`serving.engine_refusals.REASONS`)."""
        return {} if self._engine is None else dict(self._engine.refused)

    def __len__(self) -> int:
        """How many Engine.IO sessions are open."""
        return 0 if self._engine is None else len(self._engine.sockets)

    def __iter__(self) -> Iterator[str]:
        """The ids of the open Engine.IO sessions."""
        return iter([] if self._engine is None else list(self._engine.sockets))

    def is_open(self, eio_sid: str) -> bool:
        """Whether there is such a session."""
        return self._engine is not None and eio_sid in self._engine.sockets

    def accepts(self, eio_sid: str) -> bool:
        """Whether a client can be sent anything: it is there, and does not end."""
        sock = None if self._engine is None else self._engine.sockets.get(eio_sid)
        if sock is None or sock.closed or sock.is_finishing:
            return False
        return sock.websocket is None or sock.websocket.outbox.is_open

    def post(self, eio_sid: str, message: Message, key: Hashable | None = None) -> bool:
        """Send a message behind those before it, without waiting. key: a message that waits gives way to a newer one of its
        key; one without a key never does. Returns False where a message is lost to this client: the one that gave way, or this
        one, as the client is unknown or ends."""
        sock = None if self._engine is None else self._engine.sockets.get(eio_sid)
        return sock is not None and sock.post(message.frame, message.packet, key)

    def sender(self, eio_sid: str) -> Callable[[bytes, Hashable | None], bool] | None:
        """Posts a frame and its key to a client as `post` does, without a look at its session: for what all clients are sent.
        None for a client that is not connected by a WebSocket yet. Once that ends, nothing is posted and False returned."""
        sock = None if self._engine is None else self._engine.sockets.get(eio_sid)
        return None if sock is None or sock.websocket is None else sock.websocket.outbox.post

    def finish(self, eio_sid: str, last: Message | None = None, code: int = 1013, reason: str = "") -> None:
        """Send the last message and end the connection in seconds: a WebSocket with a close frame of this code, a polling
        client with the answer to its poll. The disconnect handler is called when it has ended. Unknown clients are ignored."""
        sock = None if self._engine is None else self._engine.sockets.get(eio_sid)
        if sock is not None:
            sock.finish(last, code, reason)

    def end(self, eio_sid: str, reason: str) -> None:
        """End a client for what it does, with the last words for one of the reasons above. Does nothing for one that ends
        already."""
        sock = None if self._engine is None else self._engine.sockets.get(eio_sid)
        if sock is not None and not sock.is_finishing:
            sock.finish(self._last_words(eio_sid, reason), CODES[reason], reason)

    def open_by_transport(self) -> dict[str, int]:
        """How many sessions there are of each transport."""
        sockets = [] if self._engine is None else list(self._engine.sockets.values())
        websockets = sum(sock.websocket is not None for sock in sockets)
        return {"websocket": websockets, "polling": len(sockets) - websockets}
