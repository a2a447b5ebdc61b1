"""Who may connect over Socket.IO: whose a connection is, how many there may be, and with what a client that returns goes on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from pydantic import ValidationError

from app.errors import RateLimited, Unauthorized, sentence
from app.live.live_event import Position
from app.market.plan import Market
from blueprints.services import Owner
from blueprints.socket_io.client import ClientParts, SocketClient
from blueprints.socket_io.sessions import Sessions, later, number_of, positions
from blueprints.socket_io.socket_types import ByeReason, ConnectAuth, ConnectRefusal, ErrorCode, Limits, what_is_wrong

PID_BYTES: Final = 16
"""A session's id is as good as a key to it."""

GROUP: Final = "sockets"
"""The name under which connections are counted."""


class ConnectionLimit(Protocol):
    """How many connections a client and all clients may have (`middleware.rate_limiting.ConcurrencyLimit`)."""

    def acquire(self, client: Owner, group: str) -> None:
        """Raises RateLimited."""
        ...

    def release(self, client_id: str) -> None: ...


class Refused(Exception):
    """A client may not connect."""

    def __init__(self, code: ErrorCode, detail: str, retry_after_ms: int | None = None) -> None:
        super().__init__(detail)
        self.refusal = ConnectRefusal(code=code, detail=sentence(detail), retry_after_ms=retry_after_ms)


@dataclass(frozen=True, slots=True)
class ServerParts:
    """What the server works with.

    clients        what all clients share
    limit          bounds the connections
    limits         what a client is told of the limits
    source         the market
    market_time    the market's clock
    clock_speed    market seconds per real second
    owner_of_key   whose an API key is, raises Unauthorized; None where the deployment has no keys
    """

    clients: ClientParts
    limit: ConnectionLimit
    limits: Limits
    source: Callable[[], Market]
    market_time: Callable[[], datetime]
    clock_speed: float
    owner_of_key: Callable[[str], Owner] | None

    def limits_of(self, owner: Owner) -> Limits:
        """What a client of this owner is told of the limits: its key may have more connections."""
        connections = max(1, int(self.limits.connections_per_client * owner.factor))
        return self.limits.model_copy(update={"connections_per_client": connections})


class Arrival(NamedTuple):
    """A client on its way in: what it asked for, where its subscriptions go on if it comes back, and what lets go of what was
    kept for it."""

    client: SocketClient
    auth: ConnectAuth
    recovered: Mapping[str, Position | None] | None
    release: Callable[[], None]


class Admission:
    """Lets clients in. sessions: those of clients that are gone; find(pid): the connected client of a session."""

    def __init__(self, parts: ServerParts, find: Callable[[str], SocketClient | None]) -> None:
        self.sessions = Sessions(parts.clients.timer.now)
        self._parts = parts
        self._find = find

    def admit(self, eio_sid: str, owner: Owner, payload: object) -> Arrival:
        """A client that may connect, with its place among the connections. Raises Refused."""
        with self._parts.clients.stages.root("socket-connect") as stage:
            auth = self._auth_of(payload)
            owner = self._owner(auth, owner)
            before = self._replaced(auth, owner)
            if before is None:
                self._count(owner)
            try:
                arrival = self._arrival(eio_sid, auth, owner, before)
            except BaseException:
                self._parts.limit.release(owner.id)
                raise
            stage.set(recovered=arrival.recovered is not None)
        self._parts.clients.emit("socket_connected", recovered=arrival.recovered is not None)
        return arrival

    def dismiss(self, client: SocketClient) -> None:
        """The client's connection is gone."""
        if client.has_place:
            self._parts.limit.release(client.owner.id)

    def _auth_of(self, payload: object) -> ConnectAuth:
        try:
            return ConnectAuth.model_validate({} if payload is None else payload)
        except ValidationError as exc:
            raise self.refused(ErrorCode.INVALID_PAYLOAD, f"auth: {what_is_wrong(exc)}") from None

    def refused(self, code: ErrorCode, detail: str, retry_after_ms: int | None = None) -> Refused:
        self._parts.clients.emit("socket_refused", code=code.value)
        return Refused(code, detail, retry_after_ms)

    def _owner(self, auth: ConnectAuth, owner: Owner) -> Owner:
        if auth.key is None or self._parts.owner_of_key is None:
            return owner
        try:
            return self._parts.owner_of_key(auth.key)
        except Unauthorized as exc:
            raise self.refused(ErrorCode.UNAUTHORIZED, exc.message) from None

    def _count(self, owner: Owner) -> None:
        try:
            self._parts.limit.acquire(owner, GROUP)
        except RateLimited as exc:
            raise self.refused(ErrorCode.TOO_MANY_CONNECTIONS, exc.message, round(exc.retry_after * 1000)) from None

    def _replaced(self, auth: ConnectAuth, owner: Owner) -> SocketClient | None:
        """The connection that the client had before, if it is not known yet that this is gone: its place is the new one's."""
        before = None if auth.pid is None else self._find(auth.pid)
        if before is None or before.owner.id != owner.id or not before.has_place:
            return None
        before.has_place = False
        return before

    def _arrival(self, eio_sid: str, auth: ConnectAuth, owner: Owner, before: SocketClient | None) -> Arrival:
        if before is not None:
            self.keep(before)
            before.bye(ByeReason.REPLACED)
        positions_and_release = self._recover(auth, owner)
        recovered, release = positions_and_release or (None, _nothing)
        pid = auth.pid if recovered is not None else None
        client = SocketClient(eio_sid, pid or secrets.token_urlsafe(PID_BYTES), owner, self._parts.clients)
        return Arrival(client, auth, recovered, release)

    def _recover(
        self, auth: ConnectAuth, owner: Owner
    ) -> tuple[Mapping[str, Position | None], Callable[[], None]] | None:
        """How the subscriptions of a client that comes back go on, and what releases its session."""
        if auth.pid is None:
            return None
        session = self.sessions.take(auth.pid, owner.id)
        if session is None:
            return None
        live = self._parts.clients.live
        number = number_of(auth.offset, live.numbers.name)
        found = None if number is None else positions(session.places, number, live.position_at)
        if found is None:
            session.release()
            return None
        return {ticker: later(position, auth.position(ticker)) for ticker, position in found.items()}, session.release

    def keep(self, client: SocketClient) -> None:
        """Keep the session of a client, and the events of its tickers, until it comes back."""
        places = client.places()
        holds = [self._parts.clients.live.hold(ticker) for ticker in places]
        self.sessions.keep(client.pid, client.owner.id, places, lambda: _call_all(holds))


def _nothing() -> None:
    pass


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()
