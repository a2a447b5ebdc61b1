"""The server with routes that stream, declared and not, whole and broken, and Socket.IO; see test_streams.py."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import threading  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, Response  # noqa: E402
from flask_socketio import SocketIO  # noqa: E402

from app.factory import create_app  # noqa: E402
from blueprints.services import services  # noqa: E402
from blueprints.streams import stream  # noqa: E402
from serving.parking import CONNECTION, GUNICORNS_KEY  # noqa: E402


def whole() -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"{}\n"
        gevent.sleep(1.0)
        yield b"{}\n"

    return Response(pieces())


def breaking(first: int) -> Response:
    def pieces() -> Iterator[bytes]:
        for _ in range(first):
            yield b"{}\n"
        raise RuntimeError("put here")

    return Response(pieces())


def endless() -> Response:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"{}\n" * 1000
            gevent.sleep(0.01)

    return Response(pieces())


LAST = b'{"end": "stopping"}\n'


def silent() -> Response:
    """Waits for the stopping event, and says nothing before."""
    stopping = services().stopping

    def pieces() -> Iterator[bytes]:
        while not stopping.wait(30):
            yield b"{}\n"

    return stream(pieces(), content_type="application/x-ndjson", last=lambda: LAST)


def parked() -> Response:
    """Waits for something else, which never comes."""

    def pieces() -> Iterator[bytes]:
        yield b"{}\n"
        threading.Event().wait()

    return stream(pieces(), content_type="application/x-ndjson", last=lambda: LAST)


def ticking() -> Response:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"{}\n"
            gevent.sleep(0.05)

    return stream(pieces(), content_type="application/x-ndjson", last=lambda: LAST)


def counted(pieces: int) -> Response:
    return stream((b"{}\n" for _ in range(pieces)), content_type="application/x-ndjson", last=lambda: LAST)


def failing() -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"{}\n"
        raise RuntimeError("put here")

    return stream(pieces(), content_type="application/x-ndjson", last=lambda: LAST)


def flooding() -> Response:
    """More than any socket holds: for clients that do not read."""

    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000_000

    return stream(pieces(), content_type="application/octet-stream", last=lambda: LAST)


def timing_out() -> Response:
    raise gevent.Timeout(1)


def attach(app: Flask) -> None:
    """Socket.IO with a trivial namespace, and the library's own WebSockets, with the connection where gunicorn has it."""
    sockets = SocketIO(app, async_mode="threading")
    sockets.on("ask")(lambda text: {"answer": text})
    sockets_app = app.wsgi_app

    def with_gunicorns_key(environ: dict[str, Any], start_response: Any) -> Any:
        return sockets_app({**environ, GUNICORNS_KEY: environ[CONNECTION]}, start_response)

    app.wsgi_app = with_gunicorns_key  # type: ignore[method-assign]


app = create_app(attach_sockets=attach if "WITH_SOCKETS" in os.environ else None)
for rule, view in {
    "/whole": whole,
    "/endless": endless,
    "/timing-out": timing_out,
    "/silent": silent,
    "/parked": parked,
    "/ticking": ticking,
    "/failing": failing,
    "/flooding": flooding,
}.items():
    app.add_url_rule(rule, view.__name__, view)
app.add_url_rule("/counted/<int:pieces>", "counted", counted)
app.add_url_rule("/breaking/<int:first>", "breaking", breaking)
app.extensions["predict-server"].start()
