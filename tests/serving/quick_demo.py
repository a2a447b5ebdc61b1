"""The server, in which a minute of the demo market lasts a third of a second, and a lease, after which another process takes
over from one that was killed, two seconds. For tests that wait for events."""

from gevent import monkey

monkey.patch_all()

from importlib import reload  # noqa: E402

from app.factory import markets  # noqa: E402
from app.market import demo, lease, redis_leases  # noqa: E402

FASTER = 2.5
vars(markets)["SPEED"] = demo.SPEED * FASTER
vars(demo)["SLOT_S"] = demo.SLOT_S / FASTER
vars(lease).update(LEASE_S=2.0, RENEW_AFTER_S=0.4)
reload(redis_leases)  # whose script of Redis has both in it

from wsgi import app  # noqa: E402

__all__ = ["app"]
