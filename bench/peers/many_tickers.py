"""This server with TICKERS tickers, which follows the simulated provider at POLYGON_BASE_URL on the bench's clock."""

from gevent import monkey

monkey.patch_all()

from bench.peers.more_tickers import models_in, support  # noqa: E402

tickers = support()

import os  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from app.config.settings import ARTEFACTS, load  # noqa: E402
from app.factory import create_app  # noqa: E402
from bench.peers.many_tickers_provider import clock  # noqa: E402

models = Path(tempfile.mkdtemp(dir=os.environ["DATA_DIR"]))
models_in(models, tickers, ARTEFACTS)
app = create_app(load().model_copy(update={"models_dir": models}), clock=clock)
app.extensions["predict-server"].start()
