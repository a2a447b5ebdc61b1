"""A server that follows a provider on loopback, on a market clock of its own: for the test of a slow provider."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from datetime import UTC, datetime  # noqa: E402

from app.clock import running_clock  # noqa: E402
from app.factory import create_app  # noqa: E402
from tests.support import new_york, settings  # noqa: E402

began = datetime.fromtimestamp(float(os.environ["BEGAN"]), UTC)
app = create_app(
    settings(
        market="polygon",
        polygon_api_key="k",
        polygon_base_url=os.environ["POLYGON_BASE_URL"],
        data_dir=os.environ["DATA_DIR"],
    ),
    clock=running_clock(new_york("2025-03-11 11:30:40"), float(os.environ.get("SPEED", "1")), began),
)
app.extensions["predict-server"].start()
