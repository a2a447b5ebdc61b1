"""Socket.IO in the app: Flask-SocketIO, the links below it, and the server of live events above it."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from flask import Flask
from flask_socketio import SocketIO

from app.config.settings import Settings
from app.core import Core
from app.live.broadcaster import Broadcasters
from app.signals.policy import SUPPORTED
from blueprints.services import Owner
from blueprints.shared.reconnecting import Spread
from blueprints.socket_io import bind, connection_manager, packets_with_session
from blueprints.socket_io.admission import GROUP, ServerParts
from blueprints.socket_io.client import BURST, MESSAGES_PER_S, ClientParts
from blueprints.socket_io.server import SocketServer
from blueprints.socket_io.socket_types import Limits
from middleware import Dependencies
from middleware.identity import client_of_key
from serving.link_bounds import Allowance, LinkBounds
from serving.websocket_link import Links, Message, message_of

log = logging.getLogger("predict.sockets")
log.setLevel(logging.ERROR)  # the libraries log what clients send wrong, and below that whole packets with their keys

PING_INTERVAL_S, PING_TIMEOUT_S = 25, 20
SWEEP_S: Final = 5.0
MESSAGES: Final = LinkBounds(messages_s=MESSAGES_PER_S, messages_burst=BURST)
"""What a client is told of; the links end one that goes on."""


class Sockets:
    """Socket.IO of one app. links: the open connections; server: what happens to them."""

    def __init__(self, core: Core, live: Broadcasters, deps: Dependencies) -> None:
        bounds = LinkBounds(sessions=core.settings.sockets_in_all)
        self.links = Links(self._last_words, self._drained, bounds)
        self.server: SocketServer = SocketServer(_parts(core, live, deps, self.links))
        self._settings = core.settings

    def start(self, stopping: threading.Event) -> None:
        """Let go of ended sessions until the process stops."""

        def sweep() -> None:
            while not stopping.wait(SWEEP_S):
                self.server.sweep()

        threading.Thread(target=sweep, name="socket sessions", daemon=True).start()

    def _last_words(self, eio_sid: str, reason: str) -> Message | None:
        return self.server.last_words(eio_sid, reason)

    def _drained(self, eio_sid: str) -> None:
        self.server.drained(eio_sid)

    def attach(self, app: Flask) -> None:
        """Add `/socket.io/` to the app, below all layers."""
        io = SocketIO()
        io.init_app(app, **_options(self._settings, self.server))
        bind(io, self.server)
        self.links.install(io)


def _parts(core: Core, live: Broadcasters, deps: Dependencies, links: Links) -> ServerParts:
    settings = core.settings
    limits = Limits(
        subscriptions=len(SUPPORTED),
        connections_per_client=settings.sockets_per_client,
        messages_per_second=MESSAGES_PER_S,
        message_bytes=links.bounds.message_bytes,
    )
    find_key = deps.find_key

    def owner_of_key(secret: str) -> Owner:
        assert find_key is not None
        return client_of_key(find_key(secret), deps.tier_factors)

    return ServerParts(
        clients=ClientParts(
            live,
            links,
            message_of,
            core.timer,
            lambda: Allowance(MESSAGES, core.timer.now),
            Spread(links.__len__),
            core.events,
            deps.telemetry.stages,
        ),
        limit=deps.concurrency_limits[GROUP],
        limits=limits,
        source=lambda: core.pipeline.plan.market,
        market_time=core.market.clock,
        clock_speed=core.market.speed,
        owner_of_key=None if find_key is None else owner_of_key,
    )


def _options(settings: Settings, server: SocketServer) -> dict[str, Any]:
    """Origins are checked by the layer in front of Socket.IO (ruling A8). A process that is alone takes long polling (A9)."""
    return {
        "async_mode": "gevent",
        "async_handlers": False,
        "logger": log,
        "engineio_logger": log,
        "manage_session": False,
        "serializer": packets_with_session(server.pid_of, server.refuse_connect),
        "client_manager": connection_manager(server.connected),
        "cors_allowed_origins": "*",
        "cors_credentials": False,
        "transports": ["polling", "websocket"] if settings.is_alone else ["websocket"],
        "ping_interval": PING_INTERVAL_S,
        "ping_timeout": PING_TIMEOUT_S,
    }
