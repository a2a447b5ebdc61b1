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
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHTTPVersion,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    UnsupportedTransferCoding,
)
from gunicorn.workers.ggevent import GeventWorker

from serving.bounds import Bounds
from serving.connection import Connection
from serving.connections import Connections, State
from serving.lines import Lines
from serving.reading import BoundedRequest, HeadTimeout, IdleTimeout, RequestParser, RequestReader, UnknownMethod

EXTENSION: Final = "predict-server"
HEADROOM: Final = 64
"""Connections beyond the bound that take the place of an evicted one, or end."""

RESERVE: Final = 32
"""Connections of the operations port, and as many that found no room: their first request is read, so that probes are answered
and the others refused."""

PROBES: Final = frozenset({"/livez", "/readyz"})

STOP_PACE_S: Final = 0.05
"""Between two looks at whether the last connection is over."""

ACCEPTED_A_TURN: Final = 8
"""New connections between two turns of the open ones: a flood of new ones does not hold up requests, and a few clients that
come together do not wait for many turns."""

OTHER_FILES: Final = 256
"""Open files that are no connections: databases, calls to the provider, collectors."""

WATCH_S: Final = 0.5
"""How often it is seen whether the client of a stream has left."""

LAST_SENDS_S: Final = 6
"""Of gunicorn's graceful_timeout: time for what a worker sends after its last request. Then the master kills it."""

GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF, None})
"""A client that left, or was dropped."""


OWN_FAULT: Final = (InvalidResponseHeader, InvalidResponseHeaderName)


class NoRoom(Exception):
    """This server holds as many connections as it can."""


UNREADABLE: Final[Mapping[type[BaseException], tuple[int, str]]] = {
    LimitRequestLine: (414, "the request line is too long: it may have 4,094 bytes. A shorter one is read"),
    LimitRequestHeaders: (
        431,
        "the headers are too large: there may be 64 of them, with 8,190 bytes in each, and 65,536 bytes with the request line "
        "together. Fewer or shorter ones are read",
    ),
    HeadTimeout: (408, "the request did not arrive in time: its headers have 5 s. Send it again, whole"),
    ExpectationFailed: (417, "this server knows no other expectation than 100-continue"),
    UnsupportedTransferCoding: (501, "this server knows no other transfer coding than chunked"),
    UnknownMethod: (501, "this server knows no such method"),
    NoRoom: (503, "this server holds as many connections as it can, and all are in use. One that ends frees a place"),
}
CODES: Final = {408: "REQUEST_TIMEOUT", 500: "INTERNAL", 503: "PIPELINE_UNAVAILABLE"}


class Log(Logger):  # type: ignore[misc]
    """gunicorn's own log; the access log is the server's (app/telemetry/access_log.py)."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        return

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """What broke an answer on its way is logged already, with the request's id."""
        if not getattr(sys.exc_info()[1], "is_logged", False):
            super().exception(msg, *args, **kwargs)


class PlainSettings:
    """gunicorn's settings as plain attributes: two dozen are read for every request, and gunicorn looks each up by its name."""

    def __init__(self, settings: Config) -> None:
        self._settings = settings
        self.__dict__.update({name: setting.get() for name, setting in settings.settings.items()})
        self.is_ssl = settings.is_ssl

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)


class Worker(GeventWorker):  # type: ignore[misc]
    """Serves the app of the factory; its `connections` decide who is let in."""

    bounds = Bounds()
    connections: Connections
    cfg: Any

    def init_process(self) -> None:
        self.busy: dict[Connection, tuple[BoundedRequest, gevent.Greenlet]] = {}
        self.told_to_stop = Event()
        self.cfg.set("graceful_timeout", max(1, self.cfg.graceful_timeout - LAST_SENDS_S))
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.connections = self.wsgi.extensions[EXTENSION].connections
        self.reserve = self.connections.beside(RESERVE, evicted_as="refused")
        self.operations = self.connections.beside(RESERVE)
        beside = HEADROOM + 2 * RESERVE + Lines.most(self.connections)
        extra = beside + OTHER_FILES
        self.connections.limit(open_files(self.connections.most + extra) - extra)
        self.worker_connections = self.connections.most + beside
        self.cfg = PlainSettings(self.cfg)

    def run(self) -> None:
        """Serve until told to stop; then end in seconds what is under way."""
        servers = [self.listen(sock, room) for sock, room in zip(self.sockets, self.rooms(), strict=False)]
        watching = gevent.spawn(self.watch_streams)
        while self.alive:
            self.notify()
            self.told_to_stop.wait(1.0)
        watching.kill()
        for server in servers:
            server.close()
        stopping = gevent.spawn(self.stop)
        ends = time.monotonic() + self.cfg.graceful_timeout
        while any(len(server.pool) for server in servers) and time.monotonic() < ends:
            self.notify()
            gevent.sleep(STOP_PACE_S)
        stopping.kill()
        for server in servers:
            if len(server.pool):
                self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
                server.stop(timeout=1)

    def rooms(self) -> Iterator[Connections]:
        """Whose connections each listener's are: the operations port, where there is one, has room of its own."""
        yield self.connections
        while True:
            yield self.operations

    def listen(self, sock: Any, room: Connections) -> StreamServer:
        sock.setblocking(1)
        handle = partial(self.handle, sock, room=room, lines=Lines(room))
        server = StreamServer(sock, handle=handle, spawn=Pool(self.worker_connections))
        server.max_accept = 1 if self.cfg.workers > 1 else ACCEPTED_A_TURN
        server.start()
        return server

    def handle(self, listener: Any, client: Any, addr: Any, room: Connections, lines: Lines) -> None:
        """One connection, from its first byte to its last."""
        address = addr[0] if isinstance(addr, tuple) else ""
        connection = Connection(client, address, self.bounds, room)
        has_room = self.admit(connection, room, lines)
        parser = RequestParser(self.cfg, RequestReader(connection), addr)
        try:
            if not has_room and not (self.alive and connection.admit_to(self.reserve)):
                raise NoRoom
            self.serve(listener.getsockname(), connection, parser, addr, only_probes=not has_room)
        except (StopIteration, NoMoreData, IdleTimeout):
            pass
        except OSError as exc:
            if exc.errno not in GONE:
                self.log.exception("Socket error processing request.")
        except (Exception, gevent.Timeout) as exc:
            self.handle_error(parser.mesg, connection, addr, exc)
        finally:
            connection.end()

    def admit(self, connection: Connection, room: Connections, lines: Lines) -> bool:
        """Let a connection in, after a moment if it takes the place of another. False: there is no room for it."""
        return lines.wait(connection, self.bounds.place_s) and self.alive and connection.admit_to(room)

    def serve(
        self, listener_name: Any, connection: Connection, parser: RequestParser, addr: Any, *, only_probes: bool
    ) -> None:
        """Requests one after the other. Raises StopIteration after the last one; NoRoom where the connection is here to be
        refused, unless it is a probe's."""
        while True:
            req = next(parser)
            if only_probes:
                if req.path not in PROBES:
                    raise NoRoom
                req.force_close()
            req.read_body_ahead()
            if connection.is_evicted:
                raise StopIteration
            self.handle_request(listener_name, req, connection, addr)
            if not req.is_read() or not self.alive:
                raise StopIteration
            parser.unreader.expect_head()

    def handle_request(self, listener_name: Any, req: BoundedRequest, sock: Connection, addr: Any) -> None:
        """One request. Afterwards the other connections have a turn: a busy one would starve them."""
        self.busy[sock] = req, gevent.getcurrent()
        sock.begin()
        sock.is_in_app = True
        if not self.alive:
            req.force_close()
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            with suppress(OSError):  # the client left
                sock.flush()
            sock.is_in_app = False
            del self.busy[sock]
            if not req.is_read() and not sock.has_left:
                sock.blame("body_unread")
        gevent.sleep(0)

    def handle_error(self, req: Any, client: Connection, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, HeadTimeout) and not exc.has_begun:
            return
        status, reason = answer_to(exc)
        if status == 500:
            if not getattr(exc, "is_logged", False):
                self.log.error("a connection broke", exc_info=exc)
        else:
            self.log.info("unreadable request: %s", type(exc).__name__)
            client.blame("refused" if status == 503 else "unreadable")
        with suppress(OSError):
            client.begin()
            client.sendall(refusal(status, reason))
            client.flush()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self.told_to_stop.set)

    def stop(self) -> None:
        """Ends all connections in seconds: idle ones now, requests that do not arrive, streams and clients that do not read in
        `drop_s`, answers when they are out."""
        self.wsgi.extensions[EXTENSION].stop()
        self.bounds = self.bounds.stopping()
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.hurry(self.bounds)
        for req, _ in self.busy.values():
            req.force_close()
        gevent.sleep(self.bounds.stream_stop_s)
        self.interrupt_streams()
        gevent.sleep(self.bounds.drop_s - self.bounds.stream_stop_s)
        self.drop_busy(lambda connection: connection.is_streaming or connection.state is State.WRITING)
        gevent.sleep(self.bounds.linger_s)
        self.drop_busy(lambda connection: connection.state is State.READING)

    def drop_busy(self, which: Callable[[Connection], bool]) -> None:
        for connection in list(self.busy):
            if which(connection):
                connection.drop()

    def waiting_streams(self) -> Iterator[tuple[Connection, gevent.Greenlet]]:
        """The streams that wait for something to send, and what serves each. What waits for its client is not among them: it
        cannot be interrupted, because bytes are half out."""
        for connection, (_, greenlet) in list(self.busy.items()):
            if connection.is_streaming and connection.state is not State.WRITING:
                yield connection, greenlet

    def watch_streams(self) -> None:
        """Ends the streams whose clients have left. A stream that waits for something to send would notice only then."""
        while True:
            gevent.sleep(WATCH_S)
            for connection, greenlet in self.waiting_streams():
                if not connection.is_switched and has_hung_up(connection.sock):
                    greenlet.kill(block=False)

    def interrupt_streams(self) -> None:
        """Streams that wait for something else than the stopping event are interrupted where they wait."""
        for connection, greenlet in self.waiting_streams():
            if connection.is_switched:
                connection.stop_reading()
            else:
                greenlet.kill(block=False)


def has_hung_up(sock: Any) -> bool:
    """Whether the client has ended the connection. Takes no bytes: what a client sends ahead stays for its next request."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def answer_to(exc: BaseException) -> tuple[int, str]:
    """Status and reason for what never became a request; 500 for a fault of this server."""
    if isinstance(exc, InvalidHTTPVersion) and isinstance(exc.version, tuple):
        return 505, "this server speaks HTTP/1.1"
    if type(exc) in UNREADABLE:
        return UNREADABLE[type(exc)]
    if type(exc).__module__ == "gunicorn.http.errors" and not isinstance(exc, OWN_FAULT):
        return 400, "this is not an HTTP request"
    return 500, "something went wrong on this server"


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
