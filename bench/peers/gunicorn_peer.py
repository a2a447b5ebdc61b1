"""gunicorn's settings for the peers: this server's (gunicorn.conf.py), as far as they bear on speed."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import gevent  # noqa: E402
from gunicorn.workers.ggevent import GeventWorker  # noqa: E402

bind = f"127.0.0.1:{os.environ['PORT']}"
workers = 1
worker_class = GeventWorker
worker_connections = int(os.environ.get("PEER_CONNECTIONS", "1000"))
loglevel = "warning"
timeout = 30
graceful_timeout = 2
keepalive = 75
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
control_socket_disable = True
forwarded_allow_ips = "*"
secure_scheme_headers = {}
forwarder_headers = ""


def post_request(worker, req, environ, resp):
    """As in gunicorn.conf.py: the other connections have a turn."""
    gevent.sleep(0)
