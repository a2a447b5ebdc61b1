"""Commands that move the record of signals between stores, and check that nothing in it was rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from app.commands.shared import usable_settings
from app.config.settings import Settings
from app.errors import BadRequest, BrokenData
from app.factory import POLICY
from app.factory.markets import market_namespace
from app.factory.record import record_of, sqlite_path
from app.factory.redis import redis_database_of
from app.market.calendar import ny_day
from app.model.served import load_models
from app.signals.policy import SUPPORTED
from app.signals.record import Record
from app.signals.record_entries import entries
from app.signals.record_entry import Entry, SignalEntry
from app.signals.record_file import Footer, Header, RecordFile, write
from app.signals.record_transfer import add_all, paired

REDIS_TIMEOUT_S: Final = 5.0
"""Seconds for each answer of a Redis, which may be far from where a command is typed."""

FILE = click.Path(path_type=Path, dir_okay=False)
Options = Callable[[Callable[..., None]], Callable[..., None]]
sqlite_option: Options = click.option(
    "--sqlite", is_flag=True, help="the record is the file below DATA_DIR, also where REDIS_URL is set"
)
namespace_option: Options = click.option(
    "--other-namespace", is_flag=True, help="take a file of another market, provider or data all the same"
)


@dataclass(frozen=True, slots=True)
class Store:
    """The record that the settings name."""

    settings: Settings
    namespace: str

    @property
    def path(self) -> Path | None:
        return sqlite_path(self.settings, self.namespace) if self.settings.redis_url is None else None

    @contextmanager
    def opened(self) -> Iterator[Record]:
        with ExitStack() as stack:
            redis = redis_database_of(self.settings, timeout_s=REDIS_TIMEOUT_S)
            if redis is not None:
                stack.callback(redis.close)
            yield stack.enter_context(closing(record_of(self.settings, self.namespace, redis)()))

    @contextmanager
    def opened_existing(self) -> Iterator[Record]:
        if self.path is not None and not self.path.exists():
            raise BrokenData(f"there is no record: {self.path} does not exist")
        with self.opened() as record:
            yield record

    def __str__(self) -> str:
        return f"the record {self.namespace} in {self.path or 'Redis'}"


@click.group("record", short_help="Move the record of signals, and check it.")
def record_group() -> None:
    """The record of signals: move it between SQLite and Redis, and check it."""


@record_group.command("export", short_help="Write the whole record to FILE.")
@click.argument("file", type=FILE)
@sqlite_option
def export(file: Path, sqlite: bool) -> None:
    """Write the whole record to FILE, as lines of JSON that form a hash chain. An existing file is not replaced."""
    store = _store(sqlite)
    header = Header(namespace=store.namespace, exported_at=datetime.now(UTC))
    with store.opened_existing() as record, _new_file(file) as out:
        footer = write(out, header, entries(record))
    click.echo(f"{file.name}: {_described(footer)}, of {store}\nlast hash: {footer.signals_sha256}")
    if not store.settings.has_home_record:
        click.echo(f"not to be published: {_why_not_home(store.settings)}", err=True)


@record_group.command("import")
@click.argument("file", type=FILE)
@sqlite_option
@namespace_option
@click.option("--old-prices", is_flag=True, help="take opens and 11:00 prices also if the file is not of today")
def import_record(file: Path, sqlite: bool, other_namespace: bool, old_prices: bool) -> None:
    """Add what FILE holds to the record. What the record has stays; what differs from it is listed, and ends the command with
    status 1.

    Opens and 11:00 prices are taken from a file of the same day only: a split may have re-based them since. The server learns
    them again.
    """
    store = _store(sqlite)
    with _exported(file) as exported:
        exported.verify()
        _refuse_other_namespace(exported, store, other_namespace)
        takes_prices = old_prices or ny_day(exported.header.exported_at) == ny_day(datetime.now(UTC))
        with store.opened() as record:
            counts = add_all(record, _wanted(exported, takes_prices), _print_difference)
    added = _counted(counts["added"], "entry", "entries")
    click.echo(f"{file.name}: {added} added to {store}; there already: {counts['there']}")
    if not takes_prices:
        click.echo("opens and 11:00 prices were left out, because the file is not of today (--old-prices takes them)")
    if counts["different"]:
        different = _counted(counts["different"], "entry", "entries")
        raise BrokenData(f"the record has something else in the place of {different}, and stays as it is")


@record_group.command("verify", short_help="Check FILE, or the record against it.")
@click.argument("file", type=FILE, required=False)
@click.option("--against", type=FILE, help="compare the record with this file")
@click.option("--published", metavar="HASH", help="a hash that was once published, which the file must hold")
@sqlite_option
@namespace_option
def verify(file: Path | None, against: Path | None, published: str | None, sqlite: bool, other_namespace: bool) -> None:
    """Check the hash chain of FILE; or, with --against FILE, check that the record still has the signals of that file, and list
    those that were rewritten or are missing."""
    path = file or against
    if path is None or (file is not None and against is not None):
        raise click.UsageError("Name the FILE to check, or the one to compare the record with (--against FILE).")
    with _exported(path) as exported:
        _print_verified(exported, path, published)
        if against is not None:
            store = _store(sqlite)
            _refuse_other_namespace(exported, store, other_namespace)
            with store.opened_existing() as record:
                _compare(exported, record, store)


def _store(sqlite: bool) -> Store:
    overrides: dict[str, Any] = {"redis_url": None, "redis_urls": ()} if sqlite else {}
    settings = usable_settings(web_concurrency=1, **overrides)
    return Store(settings, market_namespace(settings, load_models(settings.models_dir, SUPPORTED, POLICY)))


def _why_not_home(settings: Settings) -> str:
    """Why the record is not the one that is published (ruling L2)."""
    own = settings.replica.region or "an unnamed region (RAILWAY_REPLICA_REGION)"
    return f"this is the record of {own}, and the one that counts is that of the home region, {settings.home_region}"


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is there as a whole, or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        if path.exists():
            raise BadRequest(f"{path.name} exists already, and an export replaces no file")
        with partial.open("wb") as out:
            yield out
        partial.rename(path)
    except OSError as exc:
        raise BrokenData(f"{path.name}: cannot be written: {exc.strerror or exc}") from exc
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _exported(path: Path) -> Iterator[RecordFile]:
    try:
        file = path.open("rb")
    except OSError as exc:
        raise BrokenData(f"{path.name}: cannot be read: {exc.strerror or exc}") from exc
    with file:
        yield RecordFile(file, path.name)


def _refuse_other_namespace(exported: RecordFile, store: Store, is_allowed: bool) -> None:
    namespace = exported.header.namespace
    if namespace != store.namespace and not is_allowed:
        raise BrokenData(
            f"the file is of the record {namespace}, and the settings name {store.namespace}; "
            "--other-namespace takes it all the same"
        )


def _wanted(exported: RecordFile, takes_prices: bool) -> Iterator[Entry]:
    return (entry for entry, _ in exported.entries() if takes_prices or isinstance(entry, SignalEntry))


def _print_difference(entry: Entry) -> None:
    click.echo(f"different: {entry}", err=True)


def _print_verified(exported: RecordFile, path: Path, published: str | None) -> None:
    """Print what a file holds. Raises BrokenData if its chain breaks, or if it lacks the published hash."""
    last = _verified(exported, published)
    footer, header = exported.footer, exported.header
    click.echo(f"{path.name}: the chain is whole. {_described(footer)}, of the record {header.namespace}")
    click.echo(
        f"exported at {header.exported_at.isoformat(timespec='seconds')}, models: {', '.join(footer.models) or '-'}"
    )
    click.echo(f"last hash: {footer.signals_sha256}")
    if last is not None:
        click.echo(f"all up to the {last} is as it was when that hash was published")
    elif published is not None:
        raise BrokenData(f"{path.name} does not hold the published hash: something up to that signal has changed")


def _verified(exported: RecordFile, published: str | None) -> Entry | None:
    """Reads the whole file. Returns the entry whose hash was published."""
    found = None
    for entry, sha256 in exported.entries():
        found = entry if sha256 == published else found
    return found


def _compare(exported: RecordFile, record: Record, store: Store) -> None:
    """Print the signals that a record does not hold as they were exported. Raises BrokenData if there are any."""
    changed = prices = newer = 0
    for before, now in paired((entry for entry, _ in exported.entries()), entries(record)):
        if before is None:
            newer += isinstance(now, SignalEntry)
        elif before != now and isinstance(before, SignalEntry):
            changed += 1
            click.echo(
                f"missing: {before}" if now is None else f"rewritten: {before}, {_inputs(before, now)}", err=True
            )
        else:
            prices += before != now
    click.echo(f"{store}: {_counted(newer, 'signal')} beyond the file")
    if prices:
        click.echo(f"opens and 11:00 prices that differ or are gone, as after a split: {prices}")
    if changed:
        raise BrokenData(f"the record does not hold {_counted(changed, 'signal')} as exported")
    click.echo("all signals of the file are in the record as they were exported")


def _inputs(before: SignalEntry, now: Entry | None) -> str:
    """Whether the signals of the file and of the record were made from the same bars."""
    assert isinstance(now, SignalEntry)
    in_file, in_record = before.signal.features_sha256, now.signal.features_sha256
    if in_file == in_record:
        return f"though made from the same inputs ({in_file})"
    return f"made from other bars (inputs {in_file} in the file, {in_record} in the record)"


def _described(footer: Footer) -> str:
    days = f" of {footer.first_day} to {footer.last_day}" if footer.signals else ""
    opens, prices = _counted(footer.opens, "open"), _counted(footer.prices_11am, "11:00 price")
    return f"{_counted(footer.signals, 'signal')}{days}, {opens}, {prices}"


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
