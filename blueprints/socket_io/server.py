"""What the server does when clients connect, subscribe and leave over Socket.IO. The package binds it to Flask-SocketIO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from app.errors import sentence
from app.live.broadcaster import HEARTBEAT_S, NEXT_WITHIN_S
from app.live.live_event import Position
from app.signals.policy import SUPPORTED
from blueprints.services import Owner
from blueprints.socket_io.admission import Admission, Arrival, Refused, ServerParts
from blueprints.socket_io.client import BURST, MESSAGES_PER_S, TRY_AGAIN_LATER, SocketClient, error_of
from blueprints.socket_io.links import Message
from blueprints.socket_io.sessions import offset_of
from blueprints.socket_io.socket_types import (
    Acknowledgement,
    ByeReason,
    ErrorCode,
    ErrorEvent,
    HelloEvent,
    RejectedTicker,
    Subscribe,
    Unsubscribe,
    shown,
    what_is_wrong,
)

NAMESPACE: Final = "/"
FAULT: Final = "something went wrong on this server"
UNKNOWN: Final = "there is no event `{}`: a client sends `subscribe` or `unsubscribe`"
UNSUPPORTED: Final = f"there are no signals of this ticker. The server has {', '.join(SUPPORTED)}"
MESSAGES: Final[Mapping[str, type[Subscribe] | type[Unsubscribe]]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
}
"""The events of clients."""

REASONS: Final[Mapping[str, ByeReason]] = {reason.value: reason for reason in ByeReason}

TOO_MANY: Final = (
    f"this message was not read: a connection may send {MESSAGES_PER_S:.0f} messages a second, and {BURST} at once"
)


class SocketServer:
    """The clients of this process."""

    def __init__(self, parts: ServerParts) -> None:
        self._parts = parts
        self._clients: dict[str, SocketClient] = {}
        self._by_link: dict[str, SocketClient] = {}
        self._by_pid: dict[str, SocketClient] = {}
        self._arrivals: dict[str, Arrival] = {}
        self._is_stopping = False
        self._admission = Admission(parts, self._by_pid.get)

    # --- counts, for metrics ---

    def __len__(self) -> int:
        return len(self._clients)

    def sessions_kept(self) -> int:
        return len(self._admission.sessions)

    def sweep(self) -> None:
        """Let go of the sessions whose time is over."""
        self._admission.sessions.sweep()

    # --- connecting ---

    def pid_of(self, sid: str) -> str | None:
        """The session of a client."""
        client = self._clients.get(sid)
        return None if client is None else client.pid

    def connect(self, sid: str, eio_sid: str, owner: Owner, payload: object) -> None:
        """Let a client in; `connected` follows. Raises Refused."""
        if self._is_stopping:
            self._send_away(eio_sid)
        arrival = self._admission.admit(eio_sid, owner, payload)
        client = arrival.client
        self._clients[sid] = self._by_link[eio_sid] = self._by_pid[client.pid] = client
        self._arrivals[sid] = arrival

    def _send_away(self, eio_sid: str) -> None:
        """End a connection that comes too late, as all others end. A client whose connection is refused would not come back."""
        clients = self._parts.clients
        clients.links.finish(eio_sid, clients.bye(ByeReason.RESTART), TRY_AGAIN_LATER, ByeReason.RESTART.value)
        raise Refused(ErrorCode.UNAVAILABLE, ByeReason.RESTART.meaning)

    def refuse_connect(self, namespace: str) -> Refused:
        """Why a CONNECT packet is refused that asks for another namespace, or that is not the first one of its connection."""
        if namespace == NAMESPACE:
            return self._admission.refused(ErrorCode.ALREADY_CONNECTED, ErrorCode.ALREADY_CONNECTED.meaning)
        detail = f"there is no namespace `{shown(namespace)}`: a client connects to `{NAMESPACE}`"
        return self._admission.refused(ErrorCode.UNKNOWN_NAMESPACE, detail)

    def connected(self, sid: str) -> None:
        """The client knows that it is connected: greet it, and subscribe it to what it asked for."""
        arrival = self._arrivals.pop(sid, None)
        if arrival is None:
            return
        try:
            self._welcome(arrival)
        finally:
            arrival.release()

    def _welcome(self, arrival: Arrival) -> None:
        client, recovered = arrival.client, arrival.recovered
        offset = offset_of(self._parts.clients.live.numbers) if recovered is None else None
        client.greet(self._hello(client, is_recovered=recovered is not None), offset)
        for ticker, after in (recovered or {}).items():
            client.subscribe(ticker, after)
        others = [ticker for ticker in arrival.auth.named() if ticker not in (recovered or {})]
        for rejected in self._subscribe(client, others, arrival.auth.position):
            client.error(error_of(rejected.code, rejected.detail, rejected.ticker))

    def _hello(self, client: SocketClient, *, is_recovered: bool) -> HelloEvent:
        parts = self._parts
        return HelloEvent(
            server_time=self._real_time(),
            market_time=parts.market_time(),
            clock_speed=parts.clock_speed,
            epoch=parts.clients.live.numbers.name,
            heartbeat_seconds=HEARTBEAT_S,
            source=parts.source(),
            recovered=is_recovered,
            limits=parts.limits_of(client.owner),
        )

    # --- messages ---

    def receive(self, sid: str, name: str, payload: Sequence[object]) -> Acknowledgement | None:
        """An event of a client. Returns its acknowledgement, which has the error if there is one; None for a client that is
        gone."""
        client = self._clients.get(sid)
        if client is None or client.is_gone:
            return None
        kind, was_warned = MESSAGES.get(name), client.is_warned
        client.is_warned = not client.allowance.spend()
        if client.is_warned and was_warned:  # one that goes on is disconnected by the links
            return self._acknowledgement(client, error=error_of(ErrorCode.TOO_MANY_MESSAGES, TOO_MANY))
        if client.is_warned:
            return self._refuse(client, "other", ErrorCode.TOO_MANY_MESSAGES, TOO_MANY)
        if kind is None:
            return self._refuse(client, "other", ErrorCode.UNKNOWN_EVENT, UNKNOWN.format(shown(name)))
        with self._parts.clients.stages.root("socket-message", event=name):
            return self._change(client, name, kind, payload)

    def _refuse(self, client: SocketClient, name: str, code: ErrorCode, detail: str) -> Acknowledgement:
        """Tell a client of an error by an event, and by the acknowledgement, which only some ask for."""
        self._parts.clients.emit("socket_message", event=name, outcome=code.value)
        error = error_of(code, detail)
        client.error(error)
        return self._acknowledgement(client, error=error)

    def _change(
        self, client: SocketClient, name: str, kind: type[Subscribe] | type[Unsubscribe], payload: Sequence[object]
    ) -> Acknowledgement:
        try:
            message = kind.model_validate(payload[0] if len(payload) == 1 else None)
        except ValidationError as exc:
            return self._refuse(client, name, ErrorCode.INVALID_PAYLOAD, what_is_wrong(exc))
        self._parts.clients.emit("socket_message", event=name, outcome="ok")
        rejected: Sequence[RejectedTicker] = ()
        if isinstance(message, Subscribe):
            rejected = self._subscribe(client, message.named(), message.position)
        else:
            for ticker in message.named():
                client.unsubscribe(ticker)
        return self._acknowledgement(client, rejected)

    def _subscribe(
        self, client: SocketClient, tickers: Sequence[str], position: Callable[[str], Position | None]
    ) -> Sequence[RejectedTicker]:
        """Subscribe to the supported ones of these tickers, and return the others."""
        supported = [ticker for ticker in tickers if ticker in SUPPORTED]
        for ticker in supported:
            client.subscribe(ticker, position(ticker))
        others = [ticker for ticker in tickers if ticker not in SUPPORTED]
        code, detail = ErrorCode.UNSUPPORTED_TICKER, sentence(UNSUPPORTED)
        return [RejectedTicker(ticker=ticker, code=code, detail=detail) for ticker in others]

    def _acknowledgement(
        self, client: SocketClient, rejected: Sequence[RejectedTicker] = (), error: ErrorEvent | None = None
    ) -> Acknowledgement:
        return Acknowledgement(
            subscribed=client.tickers,
            rejected=rejected,
            next_by=self._real_time(NEXT_WITHIN_S) if client.tickers else None,
            server_time=self._real_time(),
            market_time=self._parts.market_time(),
            error=error,
        )

    def _real_time(self, in_s: float = 0.0) -> datetime:
        return datetime.fromtimestamp(round(self._parts.clients.timer.epoch() + in_s, 3), UTC)

    def broke(self, sid: str) -> Acknowledgement | None:
        """A handler has a fault, which the log has. Returns what acknowledges the event."""
        client = self._clients.get(sid)
        return None if client is None else self._refuse(client, "other", ErrorCode.INTERNAL, FAULT)

    # --- leaving ---

    def last_words(self, eio_sid: str, reason: str) -> Message | None:
        """The message to a client that the links end for what it does, by a reason of `ByeReason`. None for one that is not
        connected to the namespace (`idle`), which no event would reach."""
        client = self._by_link.get(eio_sid)
        if client is None:
            self._parts.clients.emit("socket_ended", reason=reason)
            return None
        return None if client.is_gone else client.last_words(REASONS[reason])

    def drained(self, eio_sid: str) -> None:
        """A client has taken all that waited for it."""
        client = self._by_link.get(eio_sid)
        if client is not None and not client.is_gone:
            client.catch_up()

    def disconnected(self, sid: str, *, is_wanted: bool) -> None:
        """A connection is gone. is_wanted: its client does not mean to go on with it later."""
        client = self._clients.pop(sid, None)
        arrival = self._arrivals.pop(sid, None)
        if arrival is not None:
            arrival.release()
        if client is None:
            return
        self._by_link.pop(client.eio_sid, None)
        self._admission.dismiss(client)
        if self._by_pid.get(client.pid) is client:
            del self._by_pid[client.pid]
            if not is_wanted:
                self._admission.keep(client)
        client.leave()
        self._admission.sessions.sweep()

    def stop(self) -> None:
        """The server stops: send all clients away, each to come back at a moment of its own."""
        self._is_stopping = True
        for client in list(self._clients.values()):
            client.bye(ByeReason.RESTART)

    def close(self) -> None:
        self._admission.sessions.close()
