"""gunicorn's settings: gevent workers, bounded requests, a clean stop. Settings come from app/config.py alone."""

from gevent import monkey

monkey.patch_all()

import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from contextlib import suppress  # noqa: E402

import gevent  # noqa: E402
from gunicorn.workers.ggevent import GeventWorker  # noqa: E402

from app.config import VERSION, load  # noqa: E402
from app.errors import SettingsError  # noqa: E402

try:
    settings = load()
except SettingsError as exc:
    sys.exit(f"Error: {exc.message}")

logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")


class Worker(GeventWorker):
    """gevent's worker with a prompt stop: from SIGTERM on /readyz says so, idle keep-alive connections are closed, and
    requests under way are finished with `Connection: close`. gunicorn alone waits for idle ones until graceful_timeout.
    """

    def init_process(self):
        self.idle, self.busy = set(), set()
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
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            self.busy.discard(req)
            self.idle.add(sock)

    def handle_exit(self, sig, frame):
        super().handle_exit(sig, frame)
        self.wsgi.extensions["predict-server"].stop()
        for req in self.busy:
            req.force_close()
        gevent.spawn(self.close_idle)

    def close_idle(self):
        for client in list(self.idle):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RD)


bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
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
raw_env = [f"CLOCK_ANCHOR={settings.clock_anchor or time.time()}"]

WHAT = {
    "demo": "DEMO market: synthetic bars and a fast clock, nothing here is real",
    "recorded": "RECORDED market: imported bars, replayed by their own clock",
    "polygon": "live market data"
    if settings.has_key
    else "live market data, but no POLYGON_API_KEY is set: 503 in an open market",
}


def when_ready(server):
    """Three lines: what this is, where it is, what to open next."""
    shown = settings.host if settings.host not in ("::", "0.0.0.0", "") else "127.0.0.1"
    address = f"http://{shown}:{settings.port}"
    print(f"predict server {VERSION}: {WHAT[settings.market]}", file=sys.stderr)
    print(f"listening on {address}", file=sys.stderr)
    print(f"open next: {address}/trading-directions?ticker=SPY", file=sys.stderr, flush=True)


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
