"""(e) A loop over sockets that sends each client the ready frame: no protocol above the websocket, no slow clients, no answers.
What gevent and the kernel cost by themselves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from bench.events import packet
from bench.peers.trigger import on_trigger

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
clients: set[Any] = set()


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Switches protocols, and reads until the client leaves."""
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Length", "0")])
        return ()
    client = environ["gunicorn.socket"]
    accept = base64.b64encode(hashlib.sha1(environ["HTTP_SEC_WEBSOCKET_KEY"].encode() + GUID).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    clients.add(client)
    try:
        while client.recv(4096):
            pass
    finally:
        clients.discard(client)
    raise StopIteration


def publish(number: int) -> None:
    """The frame to all (RFC 6455, 5.2)."""
    payload = packet(number)
    frame = b"\x81\x7e" + len(payload).to_bytes(2) + payload
    for client in clients:
        client.send(frame)


on_trigger(publish)
