"""A server in an open market whose provider takes two seconds and then fails: for the test of a clean stop."""

from gevent import monkey

monkey.patch_all()

import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Mapping  # noqa: E402

from app.factory import create_app  # noqa: E402
from app.market.polygon import Reply  # noqa: E402
from tests.support import FakeClock, new_york, settings  # noqa: E402


def slow(path: str, params: Mapping[str, str]) -> Reply:
    time.sleep(2)
    return Reply(500, None)


app = create_app(
    settings(market="polygon", polygon_api_key="k", data_dir=tempfile.mkdtemp()),
    clock=FakeClock(new_york("2025-03-11 11:30")),
    transport=slow,
)
