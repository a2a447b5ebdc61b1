"""gunicorn's gevent worker with bounded connections and a prompt stop.

What cannot be read as a request at all is refused in JSON, and its address is not logged. On SIGUSR2, which the master sends
before SIGTERM where it drains (gunicorn.conf.py), `/readyz` says that the process is stopping, and connections end with their
next answer. On SIGTERM idle connections are closed, requests under way are finished with `Connection: close`, streams see the
stopping event and end; what is then still open is dropped.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import (
    NoMoreData,
)
from gunicorn.workers.ggevent import GeventWorker

from serving.bounds import Bounds
from serving.busy import Busy
from serving.connection import Connection
from serving.connections import Connections, State
from serving.garbage import Garbage
from serving.lines import Lines
from serving.parking import Parked, ParkedAnswer, Pieces, in_pieces
from serving.reading import BoundedRequest, HeadTimeout, IdleTimeout, RequestParser, RequestReader
from serving.refusals import NoRoom, answer_to, refusal

EXTENSION: Final = "predict-server"
HEADROOM: Final = 64
"""Connections beyond the bound that take the place of an evicted one, or end."""

RESERVE: Final = 32
"""Connections of the operations port, and as many that found no room: their first request is read, so that probes are answered
and the others refused."""

PROBES: Final = frozenset({"/livez", "/readyz"})

STOP_PACE_S: Final = 0.05
"""Between two looks at whether the last connection is over."""

ACCEPTED_A_TURN: Final = 4
"""New connections between two turns of the open ones: a flood of new ones does not hold up requests, and a few clients that
come together do not wait for many turns."""

OTHER_FILES: Final = 256
"""Open files that are no connections: databases, calls to the provider, collectors."""

LAST_SENDS_S: Final = 6
"""Of gunicorn's graceful_timeout: time for what a worker sends after its last request. Then the master kills it."""

GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF, None})
"""A client that left, or was dropped."""


class Listener(NamedTuple):
    """What the connections of a port share. name: its address; lines: of those that wait for a place in `room`."""

    name: Any
    room: Connections
    lines: Lines
    pool: Pool


class Server(StreamServer):  # type: ignore[misc]
    """Leaves it to the worker to close a connection, which may outlive the greenlet that began it."""

    def do_close(self, *args: Any) -> None:
        pass


Serve = Callable[[Listener, Connection, RequestParser], None]


def refuse(listener: Listener, connection: Connection, parser: RequestParser) -> None:
    raise NoRoom


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
    is_leaving = False
    connections: Connections
    alive: bool
    cfg: Any
    wsgi: Any

    def init_process(self) -> None:
        self.busy, self.told_to_stop, self.garbage = Busy(), Event(), Garbage()
        self.cfg.set("graceful_timeout", max(1, self.cfg.graceful_timeout - LAST_SENDS_S))
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.server = self.wsgi.extensions[EXTENSION]
        self.connections = self.server.connections
        self.wsgi = in_pieces(self.wsgi)
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
        watching = gevent.spawn(self.busy.watch_streams)
        self.notify()
        while self.alive:
            self.told_to_stop.wait(1.0)
            self.notify()
            self.garbage.look(sum(len(server.pool) for server in servers))
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

    def listen(self, sock: Any, room: Connections) -> Server:
        sock.setblocking(1)
        listener = Listener(sock.getsockname(), room, Lines(room), Pool(self.worker_connections))
        server = Server(sock, handle=partial(self.handle, listener), spawn=listener.pool)
        server.max_accept = 1 if self.cfg.workers > 1 else ACCEPTED_A_TURN
        server.start()
        return server

    def handle(self, listener: Listener, client: Any, addr: Any) -> None:
        """One connection, from its first byte to its last, or until its answer is parked."""
        address = addr[0] if isinstance(addr, tuple) else ""
        connection = Connection(client, address, self.bounds, listener.room)
        has_room = self.admit(connection, listener.room, listener.lines)
        parser = RequestParser(self.cfg, RequestReader(connection), addr)
        is_refused = not has_room and not (self.alive and connection.admit_to(self.reserve))
        serve = refuse if is_refused else partial(self.serve, only_probes=not has_room)
        self.attend(listener, connection, parser, serve)

    def attend(self, listener: Listener, connection: Connection, parser: RequestParser, serve: Serve) -> None:
        """Serve a connection, and then end it, unless its answer is parked."""
        try:
            serve(listener, connection, parser)
        except Parked as parked:
            self.park(listener, connection, parser, parked.pieces)
            return
        except (StopIteration, NoMoreData, IdleTimeout):
            pass
        except OSError as exc:
            if exc.errno not in GONE:
                self.log.exception("Socket error processing request.")
        except (Exception, gevent.Timeout) as exc:
            self.handle_error(parser.mesg, connection, parser.source_addr, exc)
        finally:
            if connection not in self.busy:
                connection.end()

    def admit(self, connection: Connection, room: Connections, lines: Lines) -> bool:
        """Let a connection in, after a moment if it takes the place of another. False: there is no room for it."""
        return lines.wait(connection, self.bounds.place_s) and self.alive and connection.admit_to(room)

    def serve(
        self, listener: Listener, connection: Connection, parser: RequestParser, *, only_probes: bool = False
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
            self.handle_request(listener.name, req, connection, parser.source_addr)
            if not req.is_read() or not self.alive:
                raise StopIteration
            parser.unreader.expect_head()

    def handle_request(self, listener_name: Any, req: BoundedRequest, sock: Connection, addr: Any) -> None:
        """One request. Afterwards the other connections have a turn: a busy one would starve them."""
        sock.begin()
        if self.is_leaving or not self.alive:
            req.force_close()
        self.busy.enter(sock, req)
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            self.busy.leave(sock)
        gevent.sleep(0)

    def park(self, listener: Listener, connection: Connection, parser: RequestParser, pieces: Pieces) -> None:
        """The answer goes on without this greenlet, which ends. Its place in the pool is the answer's."""
        parked = ParkedAnswer(connection, parser, pieces, partial(self.go_on, listener))
        self.busy.park(parked)
        listener.pool.discard(gevent.getcurrent())
        listener.pool.add(parked)

    def go_on(self, listener: Listener, parked: ParkedAnswer) -> None:
        """A parked answer has something to do."""
        listener.pool.discard(parked)
        listener.pool.spawn(parked.context.run, self.serve_on, listener, parked)

    def serve_on(self, listener: Listener, parked: ParkedAnswer) -> None:
        """The rest of a connection whose answer was parked."""
        parser = RequestParser(self.cfg, RequestReader(parked.connection), parked.address)
        parser.unreader.unread(parked.unread)
        self.attend(listener, parked.connection, parser, partial(self.finish, parked))

    def finish(self, parked: ParkedAnswer, listener: Listener, connection: Connection, parser: RequestParser) -> None:
        """The rest of an answer that was parked, and the requests behind it. Raises StopIteration after the last one."""
        self.busy.enter(connection, parked)
        try:
            parked.finish(self.log)
        finally:
            self.busy.leave(connection)
        gevent.sleep(0)
        if parked.is_last or not self.alive:
            raise StopIteration
        parser.unreader.expect_head()
        self.serve(listener, connection, parser)

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

    def notify(self) -> None:
        """Tell the master that this worker lives. One whose master is gone stops as at SIGTERM: gunicorn's own way, SystemExit,
        keeps the interpreter alive for as long as a call to the provider hangs, with nobody who ends it."""
        if self.alive and self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False
        self.tmp.notify()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self.told_to_stop.set)

    def stop(self) -> None:
        """Ends all connections in seconds: idle ones now, requests that do not arrive, streams and clients that do not read in
        `drop_s`, answers when they are out."""
        self.server.stop()
        self.bounds = self.bounds.stopping()
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.hurry(self.bounds)
        self.busy.force_close()
        gevent.sleep(self.bounds.stream_stop_s)
        self.busy.interrupt_streams()
        gevent.sleep(self.bounds.drop_s - self.bounds.stream_stop_s)
        self.busy.drop(lambda connection: connection.is_streaming or connection.state is State.WRITING)
        gevent.sleep(self.bounds.linger_s)
        self.busy.drop(lambda connection: connection.state is State.READING)


def open_files(wanted: int) -> int:
    """How many files this process may have open: raised to `wanted` where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
