"""Live events over Socket.IO (namespace `/`): a client that connects is greeted, subscribes to tickers, and is sent the events
of version 2.

`bind` joins the pieces: python-socketio, which Flask-SocketIO set up, calls the handlers, `SocketServer` decides, and the links
below send.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, cast

import socketio
from flask_socketio import SocketIO
from socketio.exceptions import ConnectionRefusedError
from socketio.packet import CONNECT, CONNECT_ERROR, Packet

from blueprints.services import ENVIRON_KEY, RequestContext
from blueprints.socket_io.admission import Refused
from blueprints.socket_io.client import FAULT_RETRY_MS
from blueprints.socket_io.server import FAULT, NAMESPACE, SocketServer
from blueprints.socket_io.socket_types import ErrorCode

__all__ = ["PATH", "SocketServer", "bind", "connection_manager", "packets_with_session"]

log = logging.getLogger(__name__)

PATH: Final = "/socket.io/"
LEFT: Final = "client disconnect"
"""python-socketio's reason where the client itself ends the connection."""


def connection_manager(on_connected: Callable[[str], None]) -> socketio.Manager:
    """python-socketio's table of clients; it calls `on_connected(sid)` once a client knows that it is connected."""

    class ConnectionManager(socketio.Manager):  # type: ignore[misc]
        def connect(self, sid: str, namespace: str) -> None:
            super().connect(sid, namespace)
            on_connected(sid)

        def basic_disconnect(self, sid: str, namespace: str, **kwargs: object) -> None:
            """As python-socketio's, but without a look into the rooms of all clients: each is in its own and in that of all."""
            for room in (sid, None):
                if sid in self.rooms.get(namespace, {}).get(room, ()):
                    self.basic_leave_room(sid, namespace, room)
            self.callbacks.pop(sid, None)
            for pending in (self.pending_connect, self.pending_disconnect):
                if sid in pending.get(namespace, ()):
                    pending[namespace].remove(sid)

    return ConnectionManager()


def packets_with_session(pid_of: Callable[[str], str | None], refuse_connect: Callable[[str], Refused]) -> type[Packet]:
    """The class of packets whose CONNECT tells a client its session (Socket.IO's connection state recovery), and whose
    CONNECT_ERROR always says why.

    pid_of(sid)                the session of a client that is about to know that it is connected
    refuse_connect(namespace)  why a CONNECT is refused for which python-socketio asks no handler
    """

    class SessionPacket(Packet):  # type: ignore[misc]
        data: Any

        def encode(self) -> Any:
            if self.packet_type == CONNECT and isinstance(self.data, dict) and "sid" in self.data:
                self.data["pid"] = pid_of(self.data["sid"])
            elif self.packet_type == CONNECT_ERROR and not isinstance(self.data, dict):
                self.data = refusal_of(refuse_connect(self.namespace or NAMESPACE)).error_args
            return super().encode()

    return SessionPacket


def refusal_of(refused: Refused) -> ConnectionRefusedError:
    """What tells a client that it may not connect."""
    refusal = refused.refusal
    return ConnectionRefusedError(refusal.detail, refusal.model_dump(mode="json"))


def refuse(refused: Refused) -> NoReturn:
    """Tell a client that it may not connect."""
    raise refusal_of(refused) from None


def bind(io: SocketIO, server: SocketServer) -> None:
    """Let the server handle what clients do. The handlers are python-socketio's own, because Flask-SocketIO makes a request of
    Flask for each call, which takes a fifth of the time of a client that leaves. They are one namespace, since a client may
    name its event `*`, which python-socketio would take for the handler of all other events."""

    def connect(sid: str, environ: Mapping[str, Any], auth: object = None) -> None:
        context = cast(RequestContext, environ[ENVIRON_KEY])
        try:
            server.connect(sid, io.server.manager.eio_sid_from_sid(sid, NAMESPACE), context.client, auth)
        except Refused as refused:
            refuse(refused)
        except Exception:  # a client that is connected without being known would hear nothing
            log.exception("a client of Socket.IO could not be let in")
            refuse(Refused(ErrorCode.INTERNAL, FAULT, FAULT_RETRY_MS))

    def disconnect(sid: str, reason: str) -> None:
        server.disconnected(sid, is_wanted=reason == LEFT)

    def receive(name: str, sid: str, *payload: object) -> Any:
        try:
            answer = server.receive(sid, name, payload)
        except Exception:
            log.exception("a message of Socket.IO could not be handled")
            answer = server.broke(sid)
        return None if answer is None else answer.model_dump(mode="json")

    class LiveEvents(socketio.Namespace):  # type: ignore[misc]
        def trigger_event(self, event: str, *args: Any) -> Any:
            if event == "connect":
                return connect(*args)
            return disconnect(*args) if event == "disconnect" else receive(event, *args)

    io.server.register_namespace(LiveEvents(NAMESPACE))
