"""A server whose stages wait for gates that a test opens: files in the folder GATES. The provider does not answer before the
gate of the first stage, `data`, is open."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402
from datetime import datetime  # noqa: E402
from pathlib import Path  # noqa: E402

from app.factory import create_app  # noqa: E402
from app.market.polygon import Reply  # noqa: E402
from app.pipeline import Step  # noqa: E402
from tests.support import NO_LIMITS, FakeClock, ScriptedMarket, new_york, settings_of_environment  # noqa: E402

GATES = Path(os.environ["GATES"])
STAGES = ("data", "rpe", "v6", "signal", "complete")


def wait_for(stage: str) -> None:
    while not (GATES / stage).exists():
        time.sleep(0.01)


clock = FakeClock(new_york("2025-03-11 11:30"))
market = ScriptedMarket(clock)


def held_back(path: str, params: Mapping[str, str]) -> Reply:
    wait_for("data")
    return market(path, params)


app = create_app(
    settings_of_environment(market="polygon", polygon_api_key="k", data_dir=GATES / "data-dir", **NO_LIMITS),
    clock=clock,
    transport=held_back,
)
pipeline = app.extensions["predict-server"].pipeline
compute = pipeline.current_steps


def gated(ticker: str, at: datetime) -> Iterator[Step]:
    """The steps, each computed once its gate is open."""
    steps = compute(ticker, at)
    for stage in STAGES:
        wait_for(stage)
        yield from [part for part in [next(steps, None)] if part is not None]


pipeline.current_steps = gated
