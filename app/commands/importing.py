"""The command that imports bars from files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import click

from app.commands.shared import recorded_bars, usable_settings
from app.config.settings import Settings
from app.errors import BadRequest, BrokenData, sentence
from app.market.bars import Span
from app.market.calendar import NY, Calendar
from app.market.importing.importer import ImportOutcome
from app.market.importing.names import series_file
from app.market.importing.staging import ReadOptions, describe
from app.market.pinned import SPANS
from app.signals.policy import FEAR_TICKER, SUPPORTED

MAX_NAMED = 20


@click.command("import", short_help="Import recorded bars from files.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--kept", is_flag=True, help="import the bars that were kept of the provider's, in place of files")
@click.option("--zone", default=NY.key, show_default=True, help="time zone of times that name none, like UTC")
@click.option(
    "--stamped",
    type=click.Choice(["start", "end"]),
    default="start",
    show_default=True,
    help="which moment of its bar a time is",
)
def import_bars(files: Sequence[Path], kept: bool, zone: str, stamped: str) -> None:
    """Import recorded bars from files named {TICKER}_{span}.parquet, .csv, .csv.gz or .zip, or from folders of them.

    The command prints what it recognises. If the series of a ticker are not in the same prices, it imports none of them.

    With --kept it imports what `backfill` and the server have kept of the provider's bars, as five-minute and daily bars for
    training.
    """
    if kept == bool(files):
        raise click.UsageError("Name FILES to import, or --kept for the bars that were kept of the provider's.")
    options = ReadOptions(datetime.now(UTC), _zone(zone), stamped_at_end=stamped == "end")
    settings = usable_settings()
    if kept:
        _import_kept(settings, ReadOptions(options.at))
    else:
        _import_files(settings, _expanded(files), options)


def _import_kept(settings: Settings, options: ReadOptions) -> None:
    """Raises BrokenData if nothing is kept."""
    from app.commands.kept_bars import kept_cache, write_series

    calendar, series = Calendar(dict(settings.market_closures)), []
    with closing(kept_cache(settings)) as cache, TemporaryDirectory() as folder:
        for ticker in SUPPORTED:
            files, days = write_series(cache, ticker, calendar, Path(folder))
            series += files
            click.echo(days.in_words(ticker))
        if not series:
            raise BrokenData("no whole day of one-minute bars is kept; nothing was imported")
        _import_files(settings, series, options)


def _import_files(settings: Settings, files: Sequence[Path], options: ReadOptions) -> None:
    outcomes = recorded_bars(settings).import_files(files, options, _progress)
    for outcome in outcomes:
        _print_outcome(outcome)
    failed = sum(not outcome.imported for outcome in outcomes)
    if failed:
        raise BrokenData(f"{failed} file{'s' if failed > 1 else ''} not imported; nothing of them was written")


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
        more = f" and {len(left_out) - MAX_NAMED} more" if len(left_out) > MAX_NAMED else ""
        click.echo(f"{folder}: left out, not named like SPY_5min.parquet: {', '.join(left_out[:MAX_NAMED])}{more}")
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
