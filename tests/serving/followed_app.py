"""A server that follows a provider on loopback, on a market clock of its own, which shows AT at BEGAN. READ_S: for how long
it waits for an answer of the provider; as long as every server does if it is not set. No limits but those that are set."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from functools import partial  # noqa: E402

import app.factory  # noqa: E402
from app.clock import running_clock  # noqa: E402
from app.market.polygon import HttpTransport  # noqa: E402
from tests.support import NO_LIMITS, new_york, settings_of_environment  # noqa: E402

address, read_s = os.environ["POLYGON_BASE_URL"], os.environ.get("READ_S")
if read_s:
    app.factory.HttpTransport = partial(HttpTransport, read_s=float(read_s), total_s=float(read_s))  # type: ignore[misc, assignment]
began = datetime.fromtimestamp(float(os.environ["BEGAN"]), UTC)
server = app.factory.create_app(
    settings_of_environment(
        market="polygon",
        polygon_api_key="k",
        polygon_base_url=address,
        data_dir=os.environ["DATA_DIR"],
        redis_url=os.environ.get("REDIS_URL"),
        **{name: int(os.environ.get(name.upper(), most)) for name, most in NO_LIMITS.items()},
    ),
    clock=running_clock(
        new_york(os.environ.get("AT", "2025-03-11 11:30:40")), float(os.environ.get("SPEED", "1")), began
    ),
)
server.extensions["predict-server"].start()
