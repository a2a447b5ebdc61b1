"""The command that fetches past days from the provider."""

from __future__ import annotations

import click

from app.commands.shared import TICKER, events_printing_waits, usable_settings
from app.core import Core
from app.factory import build
from app.market.backfill import Brought
from app.market.backfill import backfill as backfilled
from app.market.bars import Span
from app.market.calendar import ny_day
from app.signals.policy import SUPPORTED


@click.command()
@click.option("--days", type=click.IntRange(1, 5000), required=True, help="how many past trading days")
@click.option("--ticker", type=TICKER, default="all", help="one symbol; all supported ones otherwise")
def backfill(days: int, ticker: str) -> None:
    """Fetch past days from the provider, within the plan's budget. Run it again to continue after an interruption."""
    core = build(usable_settings(), events=events_printing_waits())
    core.follower.probe_now()
    tickers = SUPPORTED if ticker == "all" else (ticker,)
    past = core.calendar.days_before(ny_day(core.market.clock()), days)
    for brought in backfilled(core.source, tickers, past):
        left = _minutes_left(core, brought.calls - brought.done)
        click.echo(f"{_described(brought)}: {brought.bars} bars ({brought.done} of {brought.calls} calls, {left})")
    entitlement = core.source.observed_plan.entitlement
    first = entitlement.history_from if entitlement else past[0]
    if first > past[0]:
        click.echo(f"The plan's history begins on {first}: the days before it are not available.")


def _described(brought: Brought) -> str:
    """Returns which bars were fetched."""
    if brought.span is Span.DAY:
        return f"{brought.ticker}, daily bars that replays from {brought.first} on need"
    return f"{brought.ticker}, one-minute bars of {brought.first} to {brought.last}"


def _minutes_left(core: Core, calls: int) -> str:
    if not calls:
        return "done"
    budget = core.market.budget
    seconds = calls * budget.limit.window_s / budget.limit.calls if budget is not None else 0.0
    return f"about {max(1, round(seconds / 60))} min left"
