"""gunicorn's settings: gevent workers, bounded requests, a clean stop. Settings come from app/config.py alone."""

from gevent import monkey

monkey.patch_all()

import logging  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from app.config import VERSION, load  # noqa: E402
from app.errors import SettingsError  # noqa: E402

try:
    settings = load()
except SettingsError as exc:
    sys.exit(f"Error: {exc.message}")

logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.web_concurrency
worker_class = "gevent"
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


def post_request(worker, req, environ, resp):
    """Let the other connections have a turn: a busy keep-alive connection would starve them."""
    gevent.sleep(0)


def post_worker_init(worker):
    """From SIGTERM on /readyz says so, while requests under way are finished."""
    services = worker.wsgi.extensions["predict-server"]
    stop = worker.handle_exit

    def handle_exit(sig, frame):
        services.stop()
        stop(sig, frame)

    import signal

    signal.signal(signal.SIGTERM, handle_exit)
