"""gunicorn's settings: gevent workers, bounded requests, a clean stop. Settings come from app/config.py alone."""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import secrets  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from contextlib import suppress  # noqa: E402
from http import HTTPStatus  # noqa: E402

import gevent  # noqa: E402
from gunicorn.glogging import Logger  # noqa: E402
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine  # noqa: E402
from gunicorn.workers.ggevent import GeventWorker  # noqa: E402

from app import logs  # noqa: E402
from app.config import VERSION, load  # noqa: E402
from app.errors import SettingsError  # noqa: E402

try:
    settings = load()
except SettingsError as exc:
    sys.exit(f"Error: {exc.message}")

ARRIVAL_S = 10.0
"""In so many seconds a request's body must be here; the bound of line and headers is `keepalive`."""

LAST_WORDS_S = 6
"""Of graceful_timeout: for what a worker has to send when its requests are over. Then the master kills it."""

UNREADABLE = {
    LimitRequestLine: (414, "the address is too long"),
    LimitRequestHeaders: (431, "the headers are too large"),
}


class Log(Logger):
    """gunicorn's own news; the access log is the server's (middleware/access.py)."""

    def access(self, resp, req, environ, request_time):
        return

    def exception(self, msg, *args, **kwargs):
        """What broke an answer on its way was told with the request's id already."""
        if not getattr(sys.exc_info()[1], "is_told", False):
            super().exception(msg, *args, **kwargs)


class Together:
    """A connection for one answer: its head waits for its first bytes, so that both go out in one packet. A stream should
    begin with something."""

    def __init__(self, sock):
        self.sock, self.head, self.begun = sock, b"", False

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def sendall(self, data):
        if not self.begun:
            self.begun, self.head = True, data
            return
        self.sock.sendall(self.head + data if self.head else data)
        self.head = b""

    def flush(self):
        if self.head:
            self.sock.sendall(self.head)
            self.head = b""


class Worker(GeventWorker):
    """gevent's worker with a prompt stop: from SIGTERM on /readyz says so, idle keep-alive connections are closed, and
    requests under way are finished with `Connection: close`. gunicorn alone waits for idle ones until graceful_timeout.

    A body that does not arrive in time ends early, for whoever reads it; what cannot be read as a request at all is
    refused in JSON, and its address is not logged.
    """

    def init_process(self):
        self.idle, self.busy = set(), set()
        self.cfg.set("graceful_timeout", graceful_timeout - LAST_WORDS_S)
        super().init_process()

    def handle(self, listener, client, addr):
        self.idle.add(client)
        try:
            super().handle(listener, client, addr)
        finally:
            self.idle.discard(client)

    def handle_request(self, listener_name, req, sock, addr):
        self.idle.discard(sock)
        self.busy.add(req)
        if not self.alive:
            req.force_close()
        one = Together(sock)
        waiting = gevent.spawn_later(ARRIVAL_S, self.stop_reading, req, sock) if brings_body(req) else None
        try:
            super().handle_request(listener_name, req, one, addr)
        finally:
            with suppress(OSError):  # closed, and not by us
                one.flush()
            if waiting is not None:
                waiting.kill(block=False)
            self.busy.discard(req)
            self.idle.add(sock)

    def stop_reading(self, req, sock):
        req.force_close()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RD)

    def handle_error(self, req, client, addr, exc):
        known = type(exc).__module__ == "gunicorn.http.errors"
        status, said = UNREADABLE.get(type(exc), (400, "this is not a request")) if known else (500, "it broke")
        if known:
            self.log.info("unreadable request: %s", type(exc).__name__)
        elif not getattr(exc, "is_told", False):
            self.log.error("a connection broke", exc_info=exc)
        with suppress(OSError):
            client.sendall(refusal(status, said))

    def handle_exit(self, sig, frame):
        super().handle_exit(sig, frame)
        if not self.booted:
            return
        self.wsgi.extensions["predict-server"].stop()
        for req in self.busy:
            req.force_close()
        gevent.spawn(self.close_idle)

    def close_idle(self):
        for client in list(self.idle):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RD)


def brings_body(req):
    return any(name in ("CONTENT-LENGTH", "TRANSFER-ENCODING") and value != "0" for name, value in req.headers)


def refusal(status, said):
    """An answer to what never became a request, in v1's shape."""
    code = "INTERNAL" if status == 500 else "BAD_REQUEST"
    body = json.dumps({"error": f"{said[0].upper()}{said[1:]}.", "error_code": code}).encode() + b"\n"
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"X-Request-Id: {secrets.token_hex(16)}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def address(port):
    return f"[{settings.host}]:{port}" if ":" in settings.host else f"{settings.host}:{port}"


bind = [address(port) for port in (settings.port, settings.operations_port) if port is not None]
workers = settings.web_concurrency
worker_class = Worker
worker_connections = 1000
loglevel = settings.log_level.lower()
timeout = 30
graceful_timeout = 20
keepalive = 75
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
control_socket_disable = True
forwarded_allow_ips = "*"  # anyone may set what follows, which is nothing: a proxy's word is TRUST_PROXY's to decide
secure_scheme_headers = {}
forwarder_headers = ""
logger_class = Log
logconfig_dict = logs.config(settings.log_level, as_json=logs.is_json(settings.log_format))
raw_env = [f"CLOCK_ANCHOR={settings.clock_anchor or time.time()}"]

OURS = f"predict-{os.getpid()}-"
"""Begins the name of a folder that this process made; the file is read anew at a reload."""

WHAT = {
    "demo": "DEMO market: synthetic bars and a fast clock, nothing here is real",
    "recorded": "RECORDED market: imported bars, replayed by their own clock",
    "polygon": "live market data"
    if settings.has_key
    else "live market data, but no POLYGON_API_KEY is set: 503 in an open market",
}


def when_ready(server):
    """Three lines: what this is, where it is, what to open next; for machines one record."""
    shown = settings.host if settings.host not in ("::", "0.0.0.0", "") else "127.0.0.1"
    address = f"http://{shown}:{settings.port}"
    lines = [f"predict server {VERSION}: {WHAT[settings.market]}", f"listening on {address}"]
    if logs.is_json(settings.log_format):
        logging.getLogger("predict").info("%s, %s", *lines)
    else:
        lines.append(f"open next: {address}/trading-directions?ticker=SPY")
        print(*lines, sep="\n", file=sys.stderr, flush=True)


def on_starting(server):
    """Checks the address and makes the folder in which several workers find each other; a reload keeps it."""
    if "GUNICORN_FD" not in os.environ:
        check_host()
    if server.num_workers > 1 and settings.workers_dir is None:
        os.environ["WORKERS_DIR"] = tempfile.mkdtemp(prefix=OURS)


def check_host():
    """Stop the start where HOST is not an address of this machine. gevent's own resolver must not run before the fork."""
    look_up, new_socket = (monkey.get_original("socket", name) for name in ("getaddrinfo", "socket"))
    try:
        family, kind, protocol, _, where = look_up(settings.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with new_socket(family, kind, protocol) as probe:
            probe.bind(where)
    except (OSError, UnicodeError):
        sys.exit(f"Error: HOST: is not a name or address of this machine (it is {settings.host!r})")


def nworkers_changed(server, new_value, old_value):
    """Hold the number of workers to one without Redis (ruling A9), whatever sets it: gunicorn's own options are refused at
    the start, and SIGTTIN changes nothing."""
    if new_value <= 1 or settings.redis_url is not None:
        return
    if old_value is None:
        sys.exit("Error: --workers: more than one worker needs REDIS_URL")
    server.log.warning("More than one worker needs REDIS_URL. The number of workers stays %s.", old_value)
    server.num_workers = old_value


def pre_exec(server):
    """SIGUSR2 starts the new server by the command that started this one, and its recorded market keeps the clock."""
    server.START_CTX["args"] = list(sys.orig_argv)
    server.cfg.env_orig["CLOCK_ANCHOR"] = os.environ["CLOCK_ANCHOR"]


def on_exit(server):
    folder = os.environ.get("WORKERS_DIR", "")
    if os.path.basename(folder).startswith(OURS):
        shutil.rmtree(folder, ignore_errors=True)


def post_worker_init(worker):
    """What is here now stays: collecting garbage need not look at it again, which would stop all requests for a while."""
    gc.collect()
    gc.freeze()


def worker_exit(server, worker):
    """A worker that was told to stop has answered its last request: end now. A call that hangs at the provider would hold
    the interpreter's own end until its time-out."""
    if worker.booted and not worker.alive:
        worker.wsgi.extensions["predict-server"].close()
        logging.shutdown()
        os._exit(0)


def post_request(worker, req, environ, resp):
    """Let the other connections have a turn: a busy keep-alive connection would starve them."""
    gevent.sleep(0)
