"""(b) Flask-SocketIO as its documentation shows it: `socketio.emit` to a room, simple-websocket, gunicorn's gevent worker."""

from __future__ import annotations

from flask import Flask
from flask_socketio import SocketIO, join_room

from bench.events import NAME, ROOM, event
from bench.peers.trigger import on_trigger

app = Flask(__name__)
sockets = SocketIO(app, cors_allowed_origins="*", ping_interval=3600)


@sockets.on("connect")
def connect() -> None:
    """Every client is told of the one room."""
    join_room(ROOM)


on_trigger(lambda number: sockets.emit(NAME, event(number), to=ROOM))
