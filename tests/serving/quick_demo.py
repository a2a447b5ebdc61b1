"""The server, in which a minute of the demo market lasts a third of a second, and a lease, after which another process takes
over from one that was killed, two seconds. For tests that wait for events."""

from gevent import monkey

monkey.patch_all()

from app.factory import markets  # noqa: E402
from app.market import demo  # noqa: E402
from tests.short_leases import shorten_leases  # noqa: E402

FASTER = 2.5
vars(markets)["SPEED"] = demo.SPEED * FASTER
vars(demo)["SLOT_S"] = demo.SLOT_S / FASTER
shorten_leases()

from wsgi import app  # noqa: E402

__all__ = ["app"]
