"""The command line: one function for each command. Every failure is one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from app.clock import Clock, running_clock, wall_clock
from app.config import api_keys
from app.config.folders import check_data_dir, check_models_dir
from app.config.settings import Settings, load
from app.core import Core
from app.errors import BadRequest, BrokenData, PredictError
from app.factory import POLICY, build, create_app
from app.live.events import Events
from app.market.backfill import Brought
from app.market.backfill import backfill as backfilled
from app.market.bars import Span
from app.market.calendar import NY, Calendar, ny_day
from app.market.demo import HISTORY_FROM, LAP, DemoFeed
from app.market.feed_transport import BarFeed, FeedTransport
from app.market.importing.importer import ImportOutcome
from app.market.importing.names import series_file
from app.market.importing.staging import ReadOptions, describe
from app.market.pinned import SPANS
from app.market.recorded import RecordedBars
from app.model import building, report
from app.model.artefact import load_models, save_models
from app.model.evaluation import Cell, as_record, from_record
from app.model.v6 import V6Model
from app.pipeline import FEAR_TICKER
from app.signals.policy import SUPPORTED
from app.simulator.faults import FAULTS
from app.simulator.plans import PLANS
from app.simulator.repeated_sessions import RepeatedSessions
from app.simulator.server import PolygonSimulator
from blueprints.errors import sentence

LATE = timedelta(minutes=15)
TICKER = click.Choice([*SUPPORTED, "all"], case_sensitive=False)
MOST_NAMED = 20
COMMAND = ".venv/bin/predict"
"""How the command is typed in the checkout; `make setup` puts it there. Help and usage errors show it."""

HOW_TO_GET_DATA = (
    "The report above is the stored one. To make it anew, import five-minute and daily bars of SPY, QQQ and IWM that "
    "reach from before 2022 to 2024-12-31 (files named like SPY_5min.parquet and SPY_1day.parquet, columns t o h l c v): "
    "MARKET_DATA=FOLDER make evaluate"
)


def main() -> None:
    """Run the command line. An expected failure prints one sentence and exits with status 1."""
    try:
        cli(prog_name=COMMAND, standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    except PredictError as exc:
        click.echo(f"Error: {exc.message}", err=True)
        sys.exit(1)


@click.group()
def cli() -> None:
    """The predict server."""


@cli.command()
def serve() -> None:
    """Start the server (gunicorn) with the settings of the environment."""
    _become_gunicorn()


@cli.command()
def demo() -> None:
    """Start the server on the synthetic demo market."""
    os.environ["MARKET"] = "demo"
    _become_gunicorn()


@cli.command("import")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), required=True)
@click.option("--zone", default=NY.key, show_default=True, help="time zone of times that name none, like UTC")
@click.option(
    "--stamped",
    type=click.Choice(["start", "end"]),
    default="start",
    show_default=True,
    help="which moment of its bar a time is",
)
def import_bars(files: Sequence[Path], zone: str, stamped: str) -> None:
    """Import recorded bars from files named {TICKER}_{span}.parquet, .csv, .csv.gz or .zip, or from folders of them.

    The command prints what it recognises. If the series of a ticker are not in the same prices, it imports none of them.
    """
    options = ReadOptions(datetime.now(UTC), _zone(zone), stamped_at_end=stamped == "end")
    recorded = _recorded(_settings())
    outcomes = recorded.import_files(_expanded(files), options, _progress)
    for outcome in outcomes:
        _print_outcome(outcome)
    failed = sum(not outcome.imported for outcome in outcomes)
    if failed:
        raise BrokenData(f"{failed} file{'s' if failed > 1 else ''} not imported; nothing of them was written")


@cli.command()
@click.argument("day")
@click.argument("moment")
@click.option("--ticker", type=TICKER, default="all", help="one symbol; all supported ones otherwise")
def replay(day: str, moment: str, ticker: str) -> None:
    """Print the answer of /replay: what the server showed, or would have shown, on DAY (2025-11-05) at MOMENT (14:35)."""
    query = {"date": day, "time": moment, "ticker": ticker}
    settings = _settings(allowed_hosts=(), redis_url=None, web_concurrency=1, log_level="WARNING")
    check_models_dir(settings)
    response = create_app(settings, events=_events_printing_waits()).test_client().get("/replay", query_string=query)
    body = response.get_json()
    if response.status_code != 200:
        raise BadRequest(body["error"].rstrip("."))
    click.echo(json.dumps(body, indent=2))


@cli.command()
@click.option("--days", type=click.IntRange(1, 5000), required=True, help="how many past trading days")
@click.option("--ticker", type=TICKER, default="all", help="one symbol; all supported ones otherwise")
def backfill(days: int, ticker: str) -> None:
    """Fetch past days from the provider, within the plan's budget. Run it again to continue after an interruption."""
    core = build(_settings(), events=_events_printing_waits())
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


def _events_printing_waits() -> Events:
    """Returns an event bus that prints a line when a call starts to wait for the budget or for the end of the provider's
    pause."""

    def print_wait(seconds: int, reason: str, **_: object) -> None:
        cause = (
            "the end of the pause that the provider asked for" if reason == "pause" else "the data plan's call budget"
        )
        click.echo(f"Waiting for {cause}: the next call may go in {seconds} s", err=True)

    events = Events()
    events.subscribe("call_waits", print_wait)
    return events


def _minutes_left(core: Core, calls: int) -> str:
    if not calls:
        return "done"
    budget = core.market.budget
    seconds = calls * budget.limit.window_s / budget.limit.calls if budget is not None else 0.0
    return f"about {max(1, round(seconds / 60))} min left"


@cli.command()
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
    recorded = _recorded(_settings())
    start = recorded.default_start(SUPPORTED)
    if start is None:
        raise click.ClickException("no recorded bars are imported yet: .venv/bin/predict import FILE...")
    return recorded, running_clock(start, 1.0, datetime.now(UTC))


@cli.group("keys")
def keys_group() -> None:
    """API keys."""


@keys_group.command("new")
@click.option("--name", required=True, help="name of the holder: a-z 0-9 _ . -")
@click.option("--tier", type=click.Choice(list(api_keys.TIERS)), default="standard", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="how many days it is valid")
def new_key(name: str, tier: str, days: int) -> None:
    """Make a key, and print its secret for the holder, once, and the entry for API_KEYS. Nothing is stored."""
    try:
        secret, key = api_keys.new_key(name, tier, datetime.now(UTC).date() + timedelta(days=days))
    except ValueError as exc:
        raise click.ClickException(str(exc)) from None
    click.echo(f"The secret of {name}. Give it to its holder only; it cannot be shown again:\n{secret}")
    click.echo(f"The entry for the server. Add it to API_KEYS, with a comma before it if there are others:\n{key}")


@cli.command()
def train() -> None:
    """Evaluate and fit the V6 models on the imported bars, and write the artefacts to MODELS_DIR."""
    settings = _settings()
    recorded, calendar = _recorded(settings), Calendar(dict(settings.market_closures))
    artefacts = {}
    for ticker in SUPPORTED:
        click.echo(f"{ticker}: evaluating and fitting", err=True)
        study = building.study(recorded, ticker, calendar)
        artefacts[ticker] = building.build(study, POLICY, _revision(), datetime.now(UTC))
    save_models(settings.models_dir, artefacts)
    for model in load_models(settings.models_dir, SUPPORTED, POLICY).models.values():
        click.echo(f"{model.ticker}: {model.model_id}, trained on all days to {model.data_end}")


@cli.command()
def evaluate() -> None:
    """Print the evaluation of the models: made from the imported bars if there are any, else the stored report."""
    settings = _settings()
    check_models_dir(settings)
    stored = load_models(settings.models_dir, SUPPORTED, POLICY)
    recorded, calendar = _recorded(settings), Calendar(dict(settings.market_closures))
    try:
        studies = [building.study(recorded, ticker, calendar) for ticker in SUPPORTED]
    except BrokenData as exc:
        _print_report([from_record(r) for m in stored.models.values() for r in m.metadata["evaluation"]["cells"]])
        for ticker, why in stored.missing.items():
            click.echo(f"{ticker}: no stored report. {why}")
        for model in stored.models.values():
            click.echo(f"{model.ticker}: report {model.metadata['evaluation']['report_sha256']}")
        click.echo(f"\n{exc.message}.\n{HOW_TO_GET_DATA}")
        return
    _print_report([cell for study in studies for cell in study.cells])
    for study in studies:
        _compare(study, stored.models.get(study.ticker))


def _compare(study: building.Study, shipped: V6Model | None) -> None:
    """Print whether the new report equals the one in the loaded model."""
    new_cells = [as_record(cell) for cell in study.cells]
    stored_cells = shipped.metadata["evaluation"]["cells"] if shipped else []
    verdict = "the same as" if building.reports_agree(new_cells, stored_cells) else "NOT the same as"
    click.echo(f"{study.ticker}: report {building.report_hash(new_cells)}, {verdict} the loaded model's")
    click.echo(f"{study.ticker}: left out: {_left_out(study)}")
    if shipped is not None:
        click.echo(f"{study.ticker}: days to {shipped.data_end} are in-sample for the shipped {shipped.model_id}")


def _become_gunicorn() -> None:
    """Check the settings, then replace this process with the server."""
    check_models_dir(_settings())
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"])


def _print_report(cells: Sequence[Cell]) -> None:
    for line in (*report.lines(cells), "", *report.quarter_lines(cells)):
        click.echo(line)


def _left_out(study: building.Study) -> str:
    """Returns how many days are excluded, by reason."""
    return "; ".join(f"{len(days)} x {reason}" for reason, days in study.excluded.items()) or "nothing"


def _settings(**overrides: Any) -> Settings:
    """Returns the settings of a command that uses DATA_DIR, which must be usable. Raises SettingsError."""
    settings = load(**overrides)
    check_data_dir(settings)
    return settings


def _recorded(settings: Settings) -> RecordedBars:
    return RecordedBars(settings.data_dir / "recorded.sqlite3", Calendar(dict(settings.market_closures)))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise BadRequest(
            f"--zone {name}: there is no such time zone; names are like America/New_York and UTC"
        ) from None


def _expanded(files: Sequence[Path]) -> list[Path]:
    """Returns the named files, and in place of a folder its files that are named like a series. Raises BrokenData for a folder
    without any."""
    expanded: list[Path] = []
    for file in files:
        expanded += _series_in(file) if file.is_dir() else [file]
    return expanded


def _series_in(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    series = [entry for entry in entries if _is_series(entry)]
    left_out = [entry.name for entry in entries if entry not in series]
    if left_out:
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        click.echo(f"{folder}: left out, not named like SPY_5min.parquet: {', '.join(left_out[:MOST_NAMED])}{more}")
    if not series:
        raise BrokenData(f"{folder}: no file in this folder is named like SPY_5min.parquet, .csv, .csv.gz or .zip")
    return series


def _is_series(file: Path) -> bool:
    try:
        series_file(file)
    except BrokenData:
        return False
    return file.is_file()


def _progress(file: Path, done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{file.name}: writing {total} bars ", err=True, nl=False)


def _print_outcome(outcome: ImportOutcome) -> None:
    """Print what a file holds and how many bars were imported, or why the file was not imported."""
    name, imported = outcome.file.name, outcome.imported
    if imported is None:
        why = outcome.refused.removeprefix(f"{name}: ").removeprefix(f"{outcome.file}: ")
        click.echo(f"{name}: not imported. {sentence(why)}", err=True)
        return
    if imported.is_unchanged:
        click.echo(f"{name}: already imported, {imported.kept} bars")
    else:
        repaired = f"{imported.repaired} repaired (low or high widened by a rounding), " if imported.repaired else ""
        rejected = f"{imported.rejected.total()} rejected ({describe(imported.rejected)})" if imported.rejected else ""
        click.echo(f"{name}: {imported.kept} bars imported, {repaired}{rejected or 'none rejected'}")
        click.echo("".join(f"  {line}\n" for line in imported.recognised), nl=False)
    unread = _unread(imported.ticker, imported.span)
    if unread:
        click.echo(f"  {unread}")


def _unread(ticker: str, span: str) -> str:
    """Returns a sentence if no answer reads the series, else an empty text."""
    if ticker not in (*SUPPORTED, FEAR_TICKER):
        return f"no answer reads these bars: {ticker} is not served, {', '.join(SUPPORTED)} are"
    if ticker == FEAR_TICKER:
        return "" if span == Span.DAY else f"no answer reads these bars: of {ticker} the 1day bars alone are read"
    return "" if span in SPANS else f"no answer reads these bars: {', '.join(SPANS)} bars are read"


def _revision() -> str:
    try:
        process = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return process.stdout.strip()
