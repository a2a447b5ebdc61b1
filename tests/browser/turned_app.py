"""A server with its page and without limits, on the market clock in the file CLOCK_FILE."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from pathlib import Path  # noqa: E402

from app.factory import create_app  # noqa: E402
from tests.browser.turned import TurnedClock  # noqa: E402
from tests.markdown import ROOT  # noqa: E402
from tests.support import settings_of_environment  # noqa: E402

values: dict[str, object] = {"market": os.environ["MARKET"], "data_dir": os.environ["DATA_DIR"]}
if "POLYGON_BASE_URL" in os.environ:
    values |= {"polygon_base_url": os.environ["POLYGON_BASE_URL"], "polygon_api_key": "k"}
server = create_app(
    settings_of_environment(**values, dashboard_dir=ROOT / "dashboard" / "dist"),
    clock=TurnedClock(Path(os.environ["CLOCK_FILE"])),
)
server.extensions["predict-server"].start()
