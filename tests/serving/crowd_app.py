"""The server with events of the bench (bench/peers/fan_out_here.py), and what is kept of its clients; see test_crowds.py."""

from bench.peers.fan_out_here import app, broadcaster, services  # isort: skip, it patches first

import json
from typing import Any

from flask import Response


def kept() -> Response:
    """How many of everything there are that belong to clients of Socket.IO."""
    server: Any = app.extensions["socketio"].server
    rooms = sum(len(room) for rooms in server.manager.rooms.values() for room in rooms.values())
    counts = {
        "members": len(broadcaster.fan_out),
        "engine": len(server.eio.sockets),
        "environ": len(server.environ),
        "rooms": rooms,
        "pending": sum(map(len, server.manager.pending_disconnect.values())),
        "switched": sum(connection.is_switched for connection in services.connections),
    }
    return Response(json.dumps(counts), mimetype="application/json")


app.add_url_rule("/kept", "kept", kept)
