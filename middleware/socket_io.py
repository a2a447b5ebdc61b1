"""The layer through which Socket.IO is reached. Its requests (handshakes, long polling, the WebSocket) never reach Flask's
hooks. This layer, the innermost, refuses pages of origins that are not allowed, and long polling where clients may come to
several processes. It counts each connection against a limit, by its first request, and measures each request as a stream, since
it lasts as long as its client wants.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from app.errors import BadRequest, Forbidden
from middleware.request_context import ENVIRON_KEY, RequestContext
from middleware.streaming import Unending

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE: Final = "/socket.io/"
GROUP: Final = "other"
CONNECTION: Final = "predict.connection"
"""The key of the client's connection (`serving.connection.Connection`) in the environment."""

SWITCHING_PROTOCOLS: Final = 101
SESSION, TRANSPORT, POLLING = "sid", "transport", "polling"
"""Parameters of the query (Engine.IO protocol 4): every request but the first one of a connection names its session."""


OTHER_ORIGIN: Final = "pages of this origin may not connect; the operator names those that may in CORS_ORIGINS"
WEBSOCKET_ALONE: Final = (
    "this server may have several processes, among which long polling does not work; connect with the transport websocket "
    "alone: "
    '`io(url, {transports: ["websocket"]})`, in Python `connect(url, transports=["websocket"])`'
)
"""Ruling A9."""


def without_upgrade(app: WSGIApplication) -> WSGIApplication:
    """Drops the header `Upgrade`, as a server may (RFC 9110 7.8); werkzeug would refuse the request."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("HTTP_UPGRADE", None)
        return app(environ, start_response)

    return call


class SocketIoMiddleware:
    """The layer. `count(context, group)` raises RateLimited when there are too many connections; `opened(context)` is called
    for each request. origins: those that may connect beside the server's own (ruling A8); has_polling: whether long polling
    is allowed; is_open(sid): whether a connection is open, so that its requests are not counted."""

    def __init__(
        self,
        app: WSGIApplication,
        count: Callable[[RequestContext, str], None],
        opened: Callable[[RequestContext], None],
        origins: Collection[str],
        is_open: Callable[[str], bool],
        *,
        has_polling: bool,
    ) -> None:
        self._app = app
        self._app_without_upgrade = without_upgrade(app)
        self._count = count
        self._opened = opened
        self._origins = frozenset(origins)
        self._is_open = is_open
        self._has_polling = has_polling

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != ROUTE:
            return self._app_without_upgrade(environ, start_response)
        context: RequestContext = environ[ENVIRON_KEY]
        context.route, context.group = ROUTE, GROUP
        query = parse_qs(environ.get("QUERY_STRING", ""))
        self._check(environ, context, query)
        if not self._is_open(query.get(SESSION, [""])[0]):
            self._count(context, GROUP)
        context.stream = Unending()
        if CONNECTION in environ and environ["REQUEST_METHOD"] == "GET":
            environ[CONNECTION].is_streaming = True  # it waits, and is interrupted if its client leaves
        self._opened(context)
        try:
            return self._app(environ, start_response)
        except StopIteration:  # python-engineio raises it under gunicorn when a WebSocket has ended
            context.status = SWITCHING_PROTOCOLS
            raise

    def _check(self, environ: WSGIEnvironment, context: RequestContext, query: Mapping[str, Sequence[str]]) -> None:
        """Raises Forbidden and BadRequest."""
        origin = context.origin
        if origin is not None and origin.lower() not in self._origins and not is_own(origin, environ):
            raise Forbidden(OTHER_ORIGIN)
        if not self._has_polling and POLLING in query.get(TRANSPORT, [POLLING]):
            raise BadRequest(WEBSOCKET_ALONE, code="BAD_REQUEST")


def is_own(origin: str, environ: WSGIEnvironment) -> bool:
    """Whether a page is of the host that is asked. A proxy in front may speak HTTPS where this server does not, so that schemes
    are not compared."""
    host: str = environ.get("HTTP_HOST", "")
    return origin.lower().partition("://")[2] == host.lower()
