"""(c) python-socketio's asynchronous server, under uvicorn."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import socketio

from bench.events import NAME, ROOM, event, numbers

sockets = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*", ping_interval=3600)


@sockets.event
async def connect(sid: str, environ: dict[str, Any], auth: object = None) -> None:
    """Every client is told of the one room."""
    await sockets.enter_room(sid, ROOM)


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Each byte that arrives is one event."""
    while data := await reader.read(64):
        for _ in data:
            await sockets.emit(NAME, event(next(numbers)), to=ROOM)
            await asyncio.sleep(0)


async def _start() -> None:
    await asyncio.start_server(handle, "127.0.0.1", int(os.environ["TRIGGER_PORT"]))


app = socketio.ASGIApp(sockets, on_startup=_start)
