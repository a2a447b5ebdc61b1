"""The command that simulates the provider of market data."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click

from app.clock import Clock, running_clock, wall_clock
from app.commands.shared import imported_bars, usable_settings
from app.market.calendar import Calendar
from app.market.demo import HISTORY_FROM, LAP, DemoFeed
from app.market.feed_transport import BarFeed, FeedTransport
from app.places import COMMAND
from app.signals.policy import SUPPORTED
from app.simulator.faults import FAULTS
from app.simulator.plans import PLANS
from app.simulator.repeated_sessions import RepeatedSessions
from app.simulator.server import PolygonSimulator

LATE = timedelta(minutes=15)


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=9100, show_default=True, help="0: any free one")
@click.option("--market", type=click.Choice(["demo", "recorded"]), default="demo", show_default=True)
@click.option("--plan", type=click.Choice(list(PLANS)), default="advanced", show_default=True)
@click.option("--fault", type=click.Choice(list(FAULTS)), metavar="NAME", help="inject this fault from the start")
def polygon(port: int, market: str, plan: str, fault: str | None) -> None:
    """Simulate the market-data provider on loopback, until Ctrl-C.

    demo: sessions of the synthetic market on the days of the real calendar up to now, so that a live server, whose clock is
    real time, can follow it. recorded: the imported bars on their own days, with a clock that starts there, so that a live
    server finds past days but no bars of today.
    """
    with _blocked({signal.SIGINT, signal.SIGTERM}) as ends, _simulator(port, market, plan) as provider:
        if fault is not None:
            provider.inject_fault(fault)
        click.echo(f"The simulated provider ({market} market, {plan} plan) is at {provider.address}")
        where = f"POLYGON_API_KEY=anything POLYGON_BASE_URL={provider.address}"
        faults = f"{provider.address}/_fault"
        click.echo(f"Start a server that uses it: make serve MARKET=polygon {where}")
        click.echo(f"The faults, and the one that is active: curl {faults}")
        click.echo(f"Inject one: curl -X PUT {faults}/NAME    End it: curl -X DELETE {faults}")
        signal.sigwait(ends)


@contextmanager
def _blocked(signals: set[signal.Signals]) -> Iterator[set[signal.Signals]]:
    """Block these signals for `sigwait`, in every thread that starts meanwhile, and restore them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield signals
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _simulator(port: int, market: str, plan: str) -> PolygonSimulator:
    calendar = Calendar()
    feed, clock = _feed(market, calendar)
    late = LATE if PLANS[plan].is_delayed else timedelta(0)
    try:
        return PolygonSimulator(FeedTransport(feed, calendar, clock, late), port=port, plan=plan, clock=clock)
    except OSError as exc:
        raise click.ClickException(f"cannot listen on port {port}: {exc.strerror}") from None


def _feed(market: str, calendar: Calendar) -> tuple[BarFeed, Clock]:
    if market == "demo":
        return RepeatedSessions(DemoFeed(calendar), calendar, HISTORY_FROM, LAP[1]), wall_clock
    recorded = imported_bars(usable_settings())
    start = recorded.default_start(SUPPORTED)
    if start is None:
        raise click.ClickException(f"no recorded bars are imported yet: {COMMAND} import FILE...")
    return recorded, running_clock(start, 1.0, datetime.now(UTC))
