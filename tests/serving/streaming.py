"""The server with routes that stream, whole and broken, for gunicorn; see test_streams.py."""

from gevent import monkey

monkey.patch_all()

from collections.abc import Iterator  # noqa: E402

import gevent  # noqa: E402
from flask import Response  # noqa: E402

from app.factory import create_app  # noqa: E402


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


def timing_out() -> Response:
    raise gevent.Timeout(1)


app = create_app()
for rule, view in {"/whole": whole, "/endless": endless, "/timing-out": timing_out}.items():
    app.add_url_rule(rule, view.__name__, view)
app.add_url_rule("/breaking/<int:first>", "breaking", breaking)
app.extensions["predict-server"].start()
