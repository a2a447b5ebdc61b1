"""A server on the demo market that tells of signals. Its clock showed AT at BEGAN and runs like the wall's. A claim and a
lease end sooner than in a deployment, so that a test need not wait until they are taken over."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from importlib import reload  # noqa: E402

from app.notify import outbox, redis_outbox  # noqa: E402
from tests.short_leases import shorten_leases  # noqa: E402

vars(outbox)["CLAIM_S"] = 5.0
reload(redis_outbox)  # whose script of Redis has it in it
shorten_leases()

from app.clock import running_clock  # noqa: E402
from app.factory import create_app  # noqa: E402
from tests.support import new_york, settings_of_environment  # noqa: E402

began = datetime.fromtimestamp(float(os.environ["BEGAN"]), UTC)
server = create_app(
    settings_of_environment(market="demo", data_dir=os.environ["DATA_DIR"], redis_url=os.environ["REDIS_URL"]),
    clock=running_clock(new_york(os.environ["AT"]), 1.0, began),
)
server.extensions["predict-server"].start()
