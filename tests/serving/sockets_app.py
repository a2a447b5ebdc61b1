"""The server with Socket.IO over the links of serving/websocket_link.py, and a trivial protocol; see test_websockets.py.

A client is answered `echo`; `listen` makes it one of those that get what POST /publish sends: so many events of so many bytes,
numbered, each under one of `keys` keys. GET /links says what is kept for all clients, POST /garbage how many objects
only the garbage collector could free.
"""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
from collections import Counter  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO  # noqa: E402

from app.factory import create_app  # noqa: E402
from serving.link_bounds import LinkBounds  # noqa: E402
from serving.outbox import OutboxBounds  # noqa: E402
from serving.websocket_link import Links, Message, message_of  # noqa: E402

QUICK = LinkBounds(
    sessions=100,
    connect_s=4.0,
    upgrade_s=4.0,
    close_s=4.0,
    outbox=OutboxBounds(messages=64, bytes=256 << 10, stalled_s=60.0, finish_s=0.5),
)
"""Tests wait for what is to end by itself; for what is to be done in time there is that of a busy machine."""

log = logging.getLogger("predict.sockets")


def bye(eio_sid: str, reason: str) -> Message:
    return message_of("42" + json.dumps(["bye", {"reason": reason}]))


class Protocol:
    """What the clients of this app are sent."""

    def __init__(self) -> None:
        self.drained = self.replaced = self.number = 0
        self.listeners: set[str] = set()
        bounds = QUICK if "QUICK" in os.environ else LinkBounds()
        self.ended: Counter[str] = Counter()
        self.links = Links(self._last_words, self._drained, bounds)
        loggers = {"logger": log, "engineio_logger": log}
        self.socketio = SocketIO(async_mode="gevent", async_handlers=False, manage_session=False, **loggers)

    def attach(self, app: Flask) -> None:
        self.socketio.init_app(app)
        self.links.install(self.socketio)
        self.socketio.on("connect")(lambda auth=None: None)
        self.socketio.on("disconnect")(self._left)
        self.socketio.on("echo")(lambda *args: args)
        self.socketio.on("listen")(self._listen)
        self.socketio.on("fail")(self._fail)

    def add_routes(self, app: Flask) -> None:
        app.add_url_rule("/publish", "publish", self.publish, methods=["POST"])
        app.add_url_rule("/finish", "finish", self.finish, methods=["POST"])
        app.add_url_rule("/links", "links", self.counts)
        app.add_url_rule("/garbage", "garbage", lambda: str(gc.collect()), methods=["POST"])

    def publish(self) -> str:
        """events, size, keys, pause_s: as the body says."""
        wanted: dict[str, Any] = json.loads(request.get_data())
        for _ in range(wanted["events"]):
            self.number += 1
            body = {"number": self.number, "filler": "x" * wanted["size"]}
            message = message_of("42" + json.dumps(["tick", body]))
            key = self.number % wanted["keys"] if wanted.get("keys") else None
            for eio_sid in list(self.listeners):
                self.replaced += not self.links.post(eio_sid, message, key)
            gevent.sleep(wanted.get("pause_s", 0))
        return str(self.number)

    def finish(self) -> str:
        """All clients, or with `?new` all but the first one."""
        for eio_sid in list(self.links)["new" in request.args :]:
            self.finish_one(eio_sid)
        return ""

    def finish_one(self, eio_sid: str) -> None:
        self.links.finish(eio_sid, bye(eio_sid, "restart"), 1013, "restart")

    def stop(self) -> None:
        """The process stops."""
        for eio_sid in self.links:
            self.finish_one(eio_sid)

    def counts(self) -> str:
        server = self.socketio.server
        manager = server.manager
        rooms = sum(len(room) for rooms in manager.rooms.values() for room in rooms.values())
        kept = {"sockets": len(server.eio.sockets), "environ": len(server.environ), "rooms": rooms}
        kept |= {"pending": len(manager.pending_connect) + len(manager.pending_disconnect)}
        kept |= {"listeners": len(self.listeners), "blocked": self.links.counters.blocked}
        kept |= {"waiting_bytes": self.links.counters.waiting_bytes}
        own = {
            "open": self.links.open_by_transport(),
            "ended": self.ended,
            "drained": self.drained,
            "replaced": self.replaced,
        }
        connections = app.extensions["predict-server"].connections
        return json.dumps({"kept": kept, **own, "connections": len(connections), "switched": connections.switched})

    def _sid(self) -> str:
        eio_sid: str = self.socketio.server.manager.eio_sid_from_sid(request.sid, "/")  # type: ignore[attr-defined]
        return eio_sid

    def _listen(self, *args: object) -> str:
        self.listeners.add(self._sid())
        return "listening"

    def _left(self, reason: str) -> None:
        self.listeners.discard(self._sid())

    def _fail(self, *args: object) -> None:
        raise RuntimeError("put here")

    def _last_words(self, eio_sid: str, reason: str) -> Message:
        self.ended[reason] += 1
        return bye(eio_sid, reason)

    def _drained(self, eio_sid: str) -> None:
        self.drained += 1


protocol = Protocol()
app = create_app(attach_sockets=protocol.attach)
protocol.add_routes(app)
server = app.extensions["predict-server"]


def stop() -> None:
    server.stop()
    protocol.stop()


replace(server, stop=stop).attach(app)
server.start()
