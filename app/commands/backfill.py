"""The command that fetches past days from the provider."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import click

from app.commands.shared import TICKER, events_printing_waits, usable_settings
from app.core import Core
from app.factory import build
from app.market.backfill import Brought, plan_of
from app.market.backfill import backfill as backfilled
from app.market.bars import Span
from app.market.budget import SMALL_PLAN, Limit
from app.market.calendar import ny_day
from app.signals.policy import SUPPORTED

PROBE_CALLS: Final = 4
"""Calls that find the plan, at most (polygon.md 8)."""


@click.command()
@click.option("--days", type=click.IntRange(1, 5000), required=True, help="how many past trading days")
@click.option("--ticker", type=TICKER, default="all", help="one symbol; all supported ones otherwise")
@click.option("--dry-run", is_flag=True, help="call nothing; say how many calls it would take, and how long")
def backfill(days: int, ticker: str, dry_run: bool) -> None:
    """Fetch past days from the provider, within the plan's budget. Run it again to continue after an interruption."""
    core = build(usable_settings(), events=events_printing_waits())
    tickers = SUPPORTED if ticker == "all" else (ticker,)
    past = core.calendar.days_before(ny_day(core.market.clock()), days)
    if dry_run:
        _print_estimate(core, tickers, past)
        return
    core.follower.probe_now()
    for brought in backfilled(core.source, tickers, past):
        left = _minutes_left(core, brought.calls - brought.done)
        click.echo(f"{_described(brought)}: {brought.bars} bars ({brought.done} of {brought.calls} calls, {left})")
    entitlement = core.source.observed_plan.entitlement
    first = entitlement.history_from if entitlement else past[0]
    if first > past[0]:
        click.echo(f"The plan's history begins on {first}: the days before it are not available.")


def _print_estimate(core: Core, tickers: Sequence[str], past: Sequence[date]) -> None:
    """Print the calls that are needed for what is not there yet, and how long the plan's budget takes for them."""
    windows = plan_of(core.source, tickers, past)
    for ticker in tickers:
        own = [(first, last) for of, first, last in windows if of == ticker]
        days = f" of {own[0][0]} to {own[-1][1]}" if own else ""
        click.echo(f"{ticker}: {_calls(len(own))} for one-minute bars{days}, 1 call at most for daily bars")
    calls, limit = len(windows) + len(tickers), _limit(core)
    pace = f"about {_minutes(calls, limit)} min at {_calls(limit.calls)} in {limit.window_s:g} s"
    click.echo(f"In all {_calls(calls)}: {pace}. {PROBE_CALLS} calls at most go before them, to find the plan.")
    entitlement = core.source.observed_plan.entitlement
    if entitlement is None:
        click.echo("The plan is not known yet. Days before its history cost no call.")
    elif entitlement.history_from > past[0]:
        click.echo(f"The plan's history begins on {entitlement.history_from}: the days before it are not available.")


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"


def _limit(core: Core) -> Limit:
    """The budget of the key; without one that of the smallest plan."""
    return SMALL_PLAN if core.market.budget is None else core.market.budget.limit


def _minutes(calls: int, limit: Limit) -> int:
    return max(1, round(calls * limit.window_s / limit.calls / 60))


def _described(brought: Brought) -> str:
    """Returns which bars were fetched."""
    if brought.span is Span.DAY:
        return f"{brought.ticker}, daily bars that replays from {brought.first} on need"
    return f"{brought.ticker}, one-minute bars of {brought.first} to {brought.last}"


def _minutes_left(core: Core, calls: int) -> str:
    if not calls:
        return "done"
    return f"about {_minutes(calls, _limit(core))} min left"
