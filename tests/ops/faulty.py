"""A server for gunicorn whose market is open, on a fast clock, with a route that breaks; for the tests of alerts. BEGAN: Unix
seconds at which its clock began."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

from app.factory import create_app  # noqa: E402
from tests.ops.fast import clock_since  # noqa: E402


def boom() -> str:
    raise RuntimeError("a fault that was put here")


app = create_app(clock=clock_since(float(os.environ["BEGAN"])))
app.add_url_rule("/boom", "boom", boom)
app.extensions["predict-server"].start()
