"""gunicorn's gevent worker with bounded connections and a prompt stop.

What cannot be read as a request at all is refused in JSON, and its address is not logged. On SIGTERM `/readyz` says that the
process is stopping, idle connections are closed, requests under way are finished with `Connection: close`, streams see the
stopping event and end; what is then still open is dropped.
"""

from __future__ import annotations

import errno
import json
import resource
import secrets
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import gevent
from gevent.server import StreamServer
from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from serving.bounds import Bounds
from serving.connection import Connection
from serving.connections import Connections
from serving.reading import BoundedRequest, HeadTimeout, IdleTimeout, RequestParser, RequestReader

EXTENSION: Final = "predict-server"
HEADROOM: Final = 64
"""Connections beyond the bound that are accepted to be refused, or take the place of an evicted one."""

ACCEPTED_A_TURN: Final = 8
"""New connections between two turns of the open ones: a flood of new ones does not hold up requests, and a few clients that
come together do not wait for many turns."""

OTHER_FILES: Final = 256
"""Open files that are no connections: databases, calls to the provider, collectors."""

LAST_SENDS_S: Final = 6
"""Of gunicorn's graceful_timeout: time for what a worker sends after its last request. Then the master kills it."""

GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF, None})
"""A client that left, or was dropped."""

GONE_WRONG = "something went wrong on this server"
UNREADABLE: Final = {
    LimitRequestLine: (414, "the request line is too long"),
    LimitRequestHeaders: (431, "the headers are too large"),
    HeadTimeout: (408, "the request did not arrive in time"),
}
CODES: Final = {408: "REQUEST_TIMEOUT", 500: "INTERNAL", 503: "PIPELINE_UNAVAILABLE"}


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own log; the access log is the server's (middleware/access.py)."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        return

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """What broke an answer on its way is logged already, with the request's id."""
        if not getattr(sys.exc_info()[1], "is_told", False):
            super().exception(msg, *args, **kwargs)


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves the app of the factory; its `connections` decide who is let in."""

    bounds = Bounds()
    connections: Connections

    def init_process(self) -> None:
        self.busy: dict[Connection, tuple[BoundedRequest, gevent.Greenlet]] = {}
        self.cfg.set("graceful_timeout", max(1, self.cfg.graceful_timeout - LAST_SENDS_S))
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.connections = self.wsgi.extensions[EXTENSION].connections
        extra = HEADROOM + OTHER_FILES + self.connections.most_delayed
        self.connections.limit(open_files(self.connections.most + extra) - extra)
        self.worker_connections = self.connections.most + self.connections.most_delayed + HEADROOM
        StreamServer.max_accept = ACCEPTED_A_TURN

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its first byte to its last."""
        closed = self.connections.closed
        connection = Connection(client, addr[0] if isinstance(addr, tuple) else "", self.bounds, closed)
        if not self.admit(connection):
            self.refuse(connection)
            return
        reader = RequestReader(client, self.bounds, closed)
        parser = RequestParser(self.cfg, reader, addr)
        lingers = False
        try:
            self.serve(listener.getsockname(), connection, parser, addr)
        except (StopIteration, NoMoreData, IdleTimeout):
            lingers = self.is_unread(parser)
        except OSError as exc:
            if exc.errno not in GONE:
                self.log.exception("Socket error processing request.")
        except (Exception, gevent.Timeout) as exc:
            self.handle_error(parser.mesg, connection, addr, exc)
            lingers = True
        finally:
            self.end(connection, lingers=lingers)

    def admit(self, connection: Connection) -> bool:
        """Let a connection in, after a moment if it takes the place of another; False: there is no room for it."""
        delay_s = self.connections.delay(connection, self.bounds.place_s)
        if not delay_s:
            return self.connections.enter(connection)
        with self.connections.delayed() as there_is_room:
            if there_is_room:
                gevent.sleep(delay_s)
        return self.connections.enter(connection) if there_is_room else self.connections.refuse()

    def serve(self, listener_name: Any, connection: Connection, parser: RequestParser, addr: Any) -> None:
        """Requests one after the other. Raises StopIteration after the last one."""
        while True:
            req = next(parser)
            self.connections.serve(connection)
            self.handle_request(listener_name, req, connection, addr)
            if not req.is_read():
                raise StopIteration
            parser.unreader.expect_head()
            if not self.alive:
                raise StopIteration
            self.connections.wait(connection)

    def handle_request(self, listener_name: Any, req: BoundedRequest, sock: Connection, addr: Any) -> None:
        """One request. Afterwards the other connections have a turn: a busy one would starve them."""
        self.busy[sock] = req, gevent.getcurrent()
        sock.begin(streaming=has_upgrade(req))
        if not self.alive:
            req.force_close()
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            with suppress(OSError):  # the client left
                sock.flush()
            del self.busy[sock]
        gevent.sleep(0)

    def is_unread(self, parser: RequestParser) -> bool:
        """Whether the last answer left a part of its request unread, which closes the connection."""
        if parser.mesg is None or parser.mesg.is_read():
            return False
        self.connections.closed["body_unread",] += 1
        return True

    def end(self, connection: Connection, *, lingers: bool) -> None:
        try:
            if lingers:
                connection.linger()
        finally:
            self.connections.leave(connection)
            connection.close()

    def refuse(self, connection: Connection) -> None:
        """There is no room: 503, whatever is asked."""
        with suppress(OSError):
            connection.sock.settimeout(1.0)
            connection.sock.send(refusal(503, "this server holds as many connections as it can"))
        connection.close()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        known = type(exc) in UNREADABLE or type(exc).__module__ == "gunicorn.http.errors"
        if isinstance(exc, HeadTimeout) and not exc.has_begun:
            return
        status, reason = UNREADABLE.get(type(exc), (400, "this is not an HTTP request")) if known else (500, GONE_WRONG)
        if known:
            self.log.info("unreadable request: %s", type(exc).__name__)
        elif not getattr(exc, "is_told", False):
            self.log.error("a connection broke", exc_info=exc)
        with suppress(OSError):
            client.begin()
            client.sendall(refusal(status, reason))
            client.flush()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        if self.booted:
            gevent.spawn(self.stop)

    def stop(self) -> None:
        """Ends all connections in seconds: idle ones now, answers when they are out, streams in `drop_s` at most."""
        self.wsgi.extensions[EXTENSION].stop()
        for connection in self.connections.waiting():
            if isinstance(connection, Connection):
                connection.stop_reading()
        for req, _ in self.busy.values():
            req.force_close()
        gevent.sleep(self.bounds.stream_stop_s)
        self.interrupt_streams()
        gevent.sleep(self.bounds.drop_s - self.bounds.stream_stop_s)
        for connection in self.busy:
            if connection.is_streaming or connection.is_writing:
                connection.drop()

    def interrupt_streams(self) -> None:
        """Streams that wait for something else than the stopping event are interrupted where they wait; what waits for its
        client cannot be: bytes are half out."""
        for connection, (req, greenlet) in list(self.busy.items()):
            if not connection.is_streaming or connection.is_writing:
                continue
            if has_upgrade(req):
                connection.stop_reading()
            else:
                greenlet.kill(block=False)


def has_upgrade(req: BoundedRequest) -> bool:
    """Whether the client may go on in another protocol (a WebSocket)."""
    return any(name == "UPGRADE" for name, _ in req.headers)


def open_files(wanted: int) -> int:
    """How many files this process may have open: raised to `wanted` where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def refusal(status: int, reason: str) -> bytes:
    """An answer to what never became a request, in v1's shape."""
    code = CODES.get(status, "BAD_REQUEST")
    body = json.dumps({"error": f"{reason[0].upper()}{reason[1:]}.", "error_code": code}).encode() + b"\n"
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"X-Request-Id: {secrets.token_hex(16)}\r\n"
    if status == 503:
        head += "Retry-After: 1\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
