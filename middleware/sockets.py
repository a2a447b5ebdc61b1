"""Socket.IO's place below the layers. Its requests (handshakes, long polling, the WebSocket itself) never reach Flask's
hooks; this layer, the innermost, counts each against a limit and measures it as a stream, for it lasts as long as its
client likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from middleware.exchange import KEY, Exchange
from middleware.streaming import Unending

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE: Final = "/socket.io/"
GROUP: Final = "other"
CONNECTION: Final = "gunicorn.socket"
"""In the environment: the client's connection (`serving.connection.Connection`)."""

SWITCHING: Final = 101


def without_upgrade(app: WSGIApplication) -> WSGIApplication:
    """Ignores a wish for another protocol, as a server may (RFC 9110, 7.8); werkzeug refuses it."""

    def served(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("HTTP_UPGRADE", None)
        return app(environ, start_response)

    return served


class Sockets:
    """The layer. `count(exchange, group)` raises when there were too many requests; `opened(exchange)` hears of the others."""

    def __init__(
        self, app: WSGIApplication, count: Callable[[Exchange, str], None], opened: Callable[[Exchange], None]
    ) -> None:
        self._app = app
        self._others = without_upgrade(app)
        self._count = count
        self._opened = opened

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != ROUTE:
            return self._others(environ, start_response)
        exchange: Exchange = environ[KEY]
        exchange.route, exchange.group = ROUTE, GROUP
        self._count(exchange, GROUP)
        exchange.stream = Unending()
        if CONNECTION in environ:
            environ[CONNECTION].is_streaming = True
        self._opened(exchange)
        try:
            return self._app(environ, start_response)
        except StopIteration:  # python-engineio's word under gunicorn for a WebSocket that is over
            exchange.status = SWITCHING
            raise
