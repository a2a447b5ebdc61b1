"""The layer through which Socket.IO is reached. Its requests (handshakes, long polling, the WebSocket) never reach Flask's
hooks. This layer, the innermost, counts each of them against a limit and measures it as a stream, since it lasts as long as
its client wants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from middleware.request_context import ENVIRON_KEY, RequestContext
from middleware.streaming import Unending

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE: Final = "/socket.io/"
GROUP: Final = "other"
CONNECTION: Final = "gunicorn.socket"
"""The key of the client's connection (`serving.connection.Connection`) in the environment."""

SWITCHING_PROTOCOLS: Final = 101


def without_upgrade(app: WSGIApplication) -> WSGIApplication:
    """Drops the header `Upgrade`, as a server may (RFC 9110 7.8); werkzeug would refuse the request."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("HTTP_UPGRADE", None)
        return app(environ, start_response)

    return call


class SocketIoMiddleware:
    """The layer. `count(context, group)` raises RateLimited when there are too many requests; `opened(context)` is called for
    each of the others."""

    def __init__(
        self,
        app: WSGIApplication,
        count: Callable[[RequestContext, str], None],
        opened: Callable[[RequestContext], None],
    ) -> None:
        self._app = app
        self._app_without_upgrade = without_upgrade(app)
        self._count = count
        self._opened = opened

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != ROUTE:
            return self._app_without_upgrade(environ, start_response)
        context: RequestContext = environ[ENVIRON_KEY]
        context.route, context.group = ROUTE, GROUP
        self._count(context, GROUP)
        context.stream = Unending()
        if CONNECTION in environ:
            environ[CONNECTION].is_streaming = True
        self._opened(context)
        try:
            return self._app(environ, start_response)
        except StopIteration:  # python-engineio raises it under gunicorn when a WebSocket has ended
            context.status = SWITCHING_PROTOCOLS
            raise
