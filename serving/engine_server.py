"""engineio's server with the sockets of serving/engine_sockets.py: handshakes are checked before it sees them, an error in a
packet ends its client without a trace, and one greenlet sends the pings of all clients."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import engineio
import gevent

from serving.connection import may_switch
from serving.engine_refusals import (
    BAD_METHOD,
    NO_HANDSHAKE,
    NO_JSONP,
    NO_KEY,
    NO_ROOM,
    OTHER_VERSION,
    REASONS,
    Refusal,
    refusal_of,
    response_of,
)
from serving.engine_sockets import EngineSocket, is_upgrade
from serving.link_bounds import LinkBounds
from serving.outbox import OutboxCounters
from serving.packet_queue import PacketQueue
from serving.parking import CONNECTION
from serving.strict_packets import InvalidPacket
from serving.turns import Turns, give_way
from serving.websocket_frames import is_key

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

VERSIONS: Final = {"python-engineio": "4.15.1", "python-socketio": "5.18.1", "Flask-SocketIO": "5.7.0"}
NOT_KEPT: Final = (CONNECTION, "wsgi.input", "wsgi.errors", "wsgi.file_wrapper")
"""What a session does not keep of the environment of its first request."""

TICK_S: Final = 1.0
"""Between two looks at all sessions."""

SESSIONS_A_TURN: Final = 200


@lru_cache
def installed_version(package: str) -> str:
    """Its files are read once in the life of a process."""
    return version(package)


def check_versions() -> None:
    """Raises RuntimeError if other versions are installed than those whose private names are used here."""
    found = {name: (installed_version(name), wanted) for name, wanted in VERSIONS.items()}
    wrong = [f"{name} {has} in place of {wanted}" for name, (has, wanted) in found.items() if has != wanted]
    if wrong:
        raise RuntimeError(f"the websockets of this server need pinned versions (requirements.txt): {', '.join(wrong)}")


def is_kept(name: str) -> bool:
    """Whether a session keeps this entry of the environment of its first request: no headers but `Host`, and no streams."""
    return name not in NOT_KEPT and (name == "HTTP_HOST" or not name.startswith("HTTP_"))


class EngineServer(engineio.Server):  # type: ignore[misc]
    """engineio's server. Flask-SocketIO makes it, and `adopt` turns it into one of this class.

    end(sid, reason)   end a client for what it does
    on_drained(sid)    a client has caught up
    has_joined(sid)    whether a client is in the namespace

    refused  requests that were refused, by reason
    leaving  held while a client is forgotten: one after the other, with turns between, so that many who leave at once hold up
             no request
    """

    _async: dict[str, Any]
    sockets: dict[str, EngineSocket]
    reason: Any

    def adopt(
        self,
        bounds: LinkBounds,
        counters: OutboxCounters,
        end: Callable[[str, str], None],
        on_drained: Callable[[str], None],
        has_joined: Callable[[str], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bounds, self.counters, self.now = bounds, counters, now
        self.end, self.on_drained, self.has_joined = end, on_drained, has_joined
        self._async = {**self._async, "queue": PacketQueue}
        self.max_http_buffer_size = bounds.message_bytes
        self.http_compression = False
        self.start_service_task = False
        self.refused: Counter[tuple[str, ...]] = Counter({(reason,): 0 for reason in REASONS})
        self.turns = Turns(now)
        self._wheel: gevent.Greenlet | None = None

    def end_slow(self, sid: str, reason: object) -> None:
        self.end(sid, "slow")

    def handle_request(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        self._forget_closed(query.get("sid", [""])[0])
        refusal = self._refusal(environ, query)
        if refusal is None:
            self.turns.wait()
            return super().handle_request(environ, start_response)
        response = self._refused(refusal)
        start_response(response["status"], response["headers"])
        return [response["response"]]

    def _refused(self, refusal: Refusal) -> dict[str, Any]:
        self.refused[refusal.reason,] += 1
        return response_of(refusal)

    def _bad_request(self, message: str | None = None) -> dict[str, Any]:
        return self._refused(refusal_of(message))

    def _method_not_found(self) -> dict[str, Any]:
        return self._refused(BAD_METHOD)

    def _log_error_once(self, message: str, message_key: str) -> None:
        """What a client gets wrong is no error of the server; the access log has the request, and the metric its reason."""
        self.logger.info(message)

    def _forget_closed(self, sid: str) -> None:
        """A polling session that is closed is unknown; engineio fails on the requests that its client had under way."""
        sock = self.sockets.get(sid)
        if sock is not None and sock.closed and getattr(sock, "websocket", None) is None:
            self.sockets.pop(sid, None)

    def _refusal(self, environ: WSGIEnvironment, query: Mapping[str, Sequence[str]]) -> Refusal | None:
        """The refusal of what engineio is not asked: there is no room, or the handshake is none."""
        if "sid" not in query and len(self.sockets) >= self.bounds.sessions:
            return NO_ROOM
        if "j" in query:
            return NO_JSONP
        if query.get("transport", ["polling"])[0] != "websocket" and not is_upgrade(environ):
            return None
        if environ["REQUEST_METHOD"] != "GET" or not is_upgrade(environ) or CONNECTION not in environ:
            return NO_HANDSHAKE
        if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
            return OTHER_VERSION
        if not is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
            return NO_KEY
        return None if may_switch(environ[CONNECTION]) else NO_ROOM

    def _trigger_event(self, event: str, *args: Any, run_async: bool = False) -> Any:
        if event == "message":
            return self._receive(*args)
        if event == "connect":
            args = self._adopt_socket(*args)
        return super()._trigger_event(event, *args, run_async=run_async)

    def _receive(self, sid: str, data: object) -> None:
        """Hand a message on, unless its client has gone while it waited for its turn. Raises InvalidPacket; an error of a
        handler is logged, and the client stays."""
        try:
            with self.turns:
                if self._is_open(sid):
                    self.handlers["message"](sid, data)
        except InvalidPacket:
            raise
        except Exception:
            self.logger.exception("a handler of messages failed")

    def _is_open(self, sid: str) -> bool:
        sock = self.sockets.get(sid)
        return sock is not None and not (sock.closed or sock.is_finishing)

    def _adopt_socket(self, sid: str, environ: WSGIEnvironment) -> tuple[str, WSGIEnvironment]:
        sock = self.sockets[sid]
        sock.__class__ = EngineSocket
        sock.adopt()
        if self._wheel is None:
            self._wheel = gevent.spawn(self._look_at_sockets)
        return sid, {name: value for name, value in environ.items() if is_kept(name)}

    def _look_at_sockets(self) -> None:
        """One greenlet for the pings and ends of all clients."""
        while True:
            gevent.sleep(TICK_S)
            for number, sock in enumerate(list(self.sockets.values()), start=1):
                self._look_at(sock)
                if number % SESSIONS_A_TURN == 0:
                    give_way()

    def _look_at(self, sock: EngineSocket) -> None:
        try:
            if isinstance(sock, EngineSocket):  # engineio has made it, and does not call `connect` yet
                sock.look(self.now())
        except Exception:
            self.logger.exception("a look at a client failed")
