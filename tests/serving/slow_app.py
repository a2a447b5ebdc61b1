"""A server in an open market whose provider fails, and only once the file GATE is there: for tests of a clean stop."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402

from app.factory import create_app  # noqa: E402
from app.market.polygon import Reply  # noqa: E402
from tests.support import FakeClock, new_york, settings_of_environment  # noqa: E402

GATE = Path(os.environ["GATE"])


def slow(path: str, params: Mapping[str, str]) -> Reply:
    while not GATE.exists():
        time.sleep(0.01)
    return Reply(500, None)


app = create_app(
    settings_of_environment(market="polygon", polygon_api_key="k", data_dir=tempfile.mkdtemp()),
    clock=FakeClock(new_york("2025-03-11 11:30")),
    transport=slow,
)
