"""gunicorn's settings: gevent workers, bounded requests, a clean stop. Settings come from app/config/settings.py alone."""

import gc

gc.disable()  # what is imported stays: looking for garbage among it would take a sixth of the start

import gevent  # noqa: E402
from gevent import events, monkey  # noqa: E402

events.notify_and_call_entry_points = events.notify  # no package has plugins for it: to look for them takes 0.3 s
monkey.patch_all()

import errno  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from functools import partial  # noqa: E402

from app.config.folders import check_data_dir, check_models_dir  # noqa: E402
from app.config.settings import load  # noqa: E402
from app.errors import SettingsError  # noqa: E402
from app.telemetry import logs  # noqa: E402
from app.version import VERSION  # noqa: E402
from serving.worker import Log, Worker  # noqa: E402

gc.enable()

try:
    settings = load()
except SettingsError as exc:
    sys.exit(f"Error: {exc.message}")


def address(port):
    return f"[{settings.host}]:{port}" if ":" in settings.host else f"{settings.host}:{port}"


bind = [address(port) for port in (settings.port, settings.operations_port) if port is not None]
workers = settings.web_concurrency
worker_class = Worker
worker_connections = settings.max_connections
loglevel = settings.log_level.lower()
timeout = 30
graceful_timeout = 20
keepalive = 75
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
control_socket_disable = True
logger_class = Log
logconfig_dict = logs.config(settings.log_level, as_json=logs.is_json(settings.log_format))
raw_env = [f"CLOCK_ANCHOR={settings.clock_anchor or time.time()}"]

ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
OURS = f"predict-{os.getpid()}-"
"""Begins the name of a folder that this process made; the file is read anew at a reload."""

PROVIDER = (
    "live market data"
    if settings.polygon_base_url == type(settings).model_fields["polygon_base_url"].default
    else f"market data of {settings.polygon_base_url}"
)
WHAT = {
    "demo": "DEMO market: synthetic bars and a fast clock, nothing here is real",
    "recorded": "RECORDED market: imported bars, replayed by their own clock",
    "polygon": PROVIDER
    if settings.has_key
    else f"{PROVIDER}, but no POLYGON_API_KEY is set: 503 where data are needed",
}


def when_ready(server):
    """Three lines: what this is, where it is, what to open next; for machines one record. From now on SIGTERM drains first."""
    if settings.drain_seconds:
        server.handle_term = partial(drain, server, server.handle_term)
    shown = settings.host if settings.host not in ("::", "0.0.0.0", "") else "127.0.0.1"
    address = f"http://{shown}:{settings.port}"
    lines = [f"predict server {VERSION}: {WHAT[settings.market]}", f"listening on {address}"]
    if logs.is_json(settings.log_format):
        logging.getLogger("predict").info("%s, %s", *lines)
    else:
        lines.append(f"open next: {address}/trading-directions?ticker=SPY")
        print(*lines, sep="\n", file=sys.stderr, flush=True)


def drain(server, stop):
    """On SIGTERM: serve on for DRAIN_SECONDS while `/readyz` is 503, so that balancers send nothing more, and then stop; a
    second signal stops it at once."""
    server.log.info("Draining for %s s", settings.drain_seconds)
    server.kill_workers(signal.SIGUSR2)
    ends = time.monotonic() + settings.drain_seconds
    while (left_s := ends - time.monotonic()) > 0 and not ENDING & {*server.wait_for_signals(timeout=left_s)}:
        pass
    stop()


def on_starting(server):
    """Checks options, folders and address, and makes the folder in which several workers find each other; a reload keeps it."""
    check_options(server.cfg)
    check_folders()
    if "GUNICORN_FD" not in os.environ:
        family, address = check_host()
        if server.cfg.bind == bind and not server.cfg.reuse_port:
            check_ports(family, address)
    if server.num_workers > 1:
        make_meeting_place()


def make_meeting_place():
    """Make the folder in which workers find each other, unless there is one. Whether it was made."""
    if os.environ.get("WORKERS_DIR"):
        return False
    os.environ["WORKERS_DIR"] = tempfile.mkdtemp(prefix=OURS)
    return True


def check_options(options):
    """Stop the start where gunicorn is given an option that would take the bounds of connections away, or change nothing in
    silence."""
    wrong = {
        "--worker-class": (not issubclass(options.worker_class, Worker), "no other worker can serve this server"),
        "--preload": (options.preload_app, "each worker imports this server by itself"),
        "--certfile": (options.is_ssl, "this server speaks no TLS; a proxy in front of it can"),
    }
    for name, (is_given, why) in wrong.items():
        if is_given:
            sys.exit(f"Error: {name}: {why}")


def check_folders():
    """Stop the start where DATA_DIR or MODELS_DIR cannot be what they must be."""
    try:
        check_data_dir(settings)
        check_models_dir(settings)
    except SettingsError as exc:
        sys.exit(f"Error: {exc.message}")


def check_ports(family, address):
    """Stop the start where a port cannot be listened on, rather than try again for seconds."""
    for name, port in (("PORT", settings.port), ("OPERATIONS_PORT", settings.operations_port)):
        if port is None:
            continue
        with monkey.get_original("socket", "socket")(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], port, *address[2:]))
            except OSError as exc:
                why = "another program listens on it" if exc.errno == errno.EADDRINUSE else exc.strerror.lower()
                sys.exit(f"Error: {name}: cannot listen on {port}: {why}")


def check_host():
    """The address behind HOST. Stops the start where it is none of this machine's. gevent's own resolver must not run before
    the fork."""
    look_up, new_socket = (monkey.get_original("socket", name) for name in ("getaddrinfo", "socket"))
    try:
        family, kind, protocol, _, where = look_up(settings.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with new_socket(family, kind, protocol) as probe:
            probe.bind(where)
        return family, where
    except (OSError, UnicodeError):
        sys.exit(f"Error: HOST: is not a name or address of this machine (it is {settings.host!r})")


def nworkers_changed(server, new_value, old_value):
    """Hold the number of workers to one without Redis (ruling A9), whatever sets it: gunicorn's own options are refused at
    the start, and SIGTTIN changes nothing. With Redis, a worker that was alone is replaced by one that finds the others."""
    if new_value <= 1:
        return
    if settings.redis_url is not None:
        if old_value is not None and make_meeting_place():
            server.kill_workers(signal.SIGTERM)
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


def post_fork(server, worker):
    """The worker imports the app now, all of which stays as well."""
    gc.disable()


def leave(worker, sig, frame):
    """The master drains: balancers are to send nothing new."""
    worker.is_leaving = True
    gevent.spawn(worker.server.leave)


def post_worker_init(worker):
    """What is here now stays: collecting garbage need not look at it again, which would stop all requests for a while. Full
    collections of the rest come ten times less often than by default, and at quiet moments (serving/garbage.py)."""
    signal.signal(signal.SIGUSR2, partial(leave, worker))
    signal.siginterrupt(signal.SIGUSR2, False)
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)


def worker_exit(server, worker):
    """A worker that was told to stop has answered its last request: end now. A call that hangs at the provider would hold
    the interpreter's own end until its time-out."""
    if worker.booted and not worker.alive:
        worker.server.close()
        logging.shutdown()
        os._exit(0)
