"""What `evaluate --live` prints: the stored record of signals beside what came true."""

from __future__ import annotations

from collections.abc import Mapping

import click

from app.config.settings import Settings
from app.core import Core
from app.errors import Unavailable
from app.factory import build
from app.market.polygon import Reply
from app.pipeline import promise_report
from app.signals.policy import SUPPORTED

DEMO = (
    "This is the demo market: its days are made up, so that its record shows what this report looks like, and says nothing of"
    " the models."
)
RECORDED = "This is the recorded market: its signals were made on imported bars, while a clock ran through past days."


def print_live_promise(settings: Settings) -> None:
    """Print the report on the record that the settings name. The provider is not called. Raises Unavailable while the record
    cannot be read."""
    core = build(settings, transport=_no_calls if settings.market == "polygon" else None)
    try:
        for line in _report(core):
            click.echo(line)
    finally:
        core.close()


def _report(core: Core) -> list[str]:
    at, market = core.market.clock(), core.pipeline.plan.market
    about = {"demo": [DEMO], "recorded": [RECORDED]}.get(market.value, [])
    records = {ticker: core.live_promise.read(ticker, at) for ticker in SUPPORTED}
    where = "Redis" if core.redis is not None else "a file of DATA_DIR"
    head = f"the record {core.market.namespace} in {where}: what its signals stated beside what came true, by kept bars"
    return [*about, head, *promise_report.lines(records)]


def _no_calls(path: str, params: Mapping[str, str]) -> Reply:
    raise Unavailable("this command calls no provider", part="data")
