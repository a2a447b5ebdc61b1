"""One import: files of bars become stored series, ticker by ticker, each ticker in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from app.errors import BrokenData
from app.market.calendar import Calendar
from app.market.importing import checks
from app.market.importing.files import BarFile, digest_of
from app.market.importing.merging import ContradictingFiles, Merging, Progress
from app.market.importing.names import SeriesFile, series_file
from app.market.importing.staging import INCOMING, ReadOptions, RowCounts, Staging
from app.sqlite import Database

IMPORTER = 3
"""This number grows when the import reads files differently, so that stored files are read again."""


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What one file brought: bars kept, rows rejected by reason, whether its series was last made from this very file (then it
    is not read again), how many of the bars were repaired (a low or high was widened by a rounding), and what was recognised,
    in words."""

    ticker: str
    span: str
    kept: int
    rejected: Counter[str]
    is_unchanged: bool
    repaired: int = 0
    recognised: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of one file: what it brought, or why nothing of it was imported."""

    file: Path
    imported: ImportedFile | None = None
    refused: str = ""


def import_files(
    db: Database, calendar: Calendar, files: Sequence[Path], options: ReadOptions, progress: Progress
) -> list[ImportOutcome]:
    """Imports files and returns their outcomes in the order of the files.

    A file that cannot be right on its own is refused, and the others are imported. Of a ticker whose series would be in
    different prices nothing is imported, and what was stored stays. Raises Unavailable (disk).
    """
    outcomes: dict[Path, ImportOutcome] = {}
    named: list[SeriesFile] = []
    for path in dict.fromkeys(files):
        try:
            named.append(series_file(path))
        except BrokenData as exc:
            missing = f"{path.name}: cannot be read: No such file or directory"
            outcomes[path] = ImportOutcome(path, refused=exc.message if path.exists() else missing)
    named.sort(key=lambda file: (file.ticker, file.span, str(file.path)))
    for _, group in groupby(named, key=lambda file: file.ticker):
        of_ticker = _TickerImport(db, calendar, options, progress).run(list(group))
        outcomes |= {outcome.file: outcome for outcome in of_ticker}
    return [outcomes[path] for path in dict.fromkeys(files)]


class _TickerImport:
    """The import of the files of one ticker, in one transaction."""

    def __init__(self, db: Database, calendar: Calendar, options: ReadOptions, progress: Progress) -> None:
        self._db, self._options = db, options
        self._staging = Staging(db, calendar, options)
        self._merging = Merging(db, calendar, progress)

    def run(self, files: Sequence[SeriesFile]) -> list[ImportOutcome]:
        """Imports the files; if their series disagree, none of them."""
        outcomes: list[ImportOutcome] = []
        try:
            with self._db.transaction():
                self._db.write(INCOMING)
                outcomes += [self._outcome(file) for file in files]
                bases = self._merging.compare_bases(files[0].ticker)
        except (BrokenData, ContradictingFiles) as exc:
            return [
                outcome if outcome.refused else ImportOutcome(outcome.file, refused=exc.message) for outcome in outcomes
            ] or [ImportOutcome(file.path, refused=exc.message) for file in files]
        return [_with_base(outcome, bases) for outcome in outcomes]

    def _outcome(self, file: SeriesFile) -> ImportOutcome:
        self._db.write("SAVEPOINT file")
        try:
            outcome = ImportOutcome(file.path, self._import(file))
        except BrokenData as exc:
            self._db.write("ROLLBACK TO file")
            outcome = ImportOutcome(file.path, refused=exc.message)
        self._db.write("RELEASE file")
        return outcome

    def _import(self, file: SeriesFile) -> ImportedFile:
        digest = f"{digest_of(file)} {IMPORTER} {self._options.zone.key} {self._options.stamped_at_end}"
        unchanged = self._db.rows(
            "SELECT rows FROM latest WHERE ticker = ? AND span = ? AND file = ?", (file.ticker, file.span, digest)
        )
        if unchanged:
            return ImportedFile(file.ticker, file.span, unchanged[0][0], Counter(), is_unchanged=True)
        source = BarFile(file, self._options.zone)
        counts, replaced = self._staged(source)
        kept = self._merging.merge(file)
        self._db.write("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", (file.ticker, file.span, digest, kept))
        recognised = (*source.recognised, *_stamps_in_words(counts.stamped), *replaced)
        return ImportedFile(file.ticker, file.span, kept, +counts.rejected, False, counts.repaired, recognised)

    def _staged(self, source: BarFile) -> tuple[RowCounts, tuple[str, ...]]:
        """Stages a file and makes room for it. The message of BrokenData names the file, the remedy for times of another
        zone, and a time that cannot be read."""
        name = source.file.name
        try:
            return self._staging.stage(source), self._merging.make_room(source.file)
        except BrokenData as exc:
            message = exc.message if exc.message.startswith(name) else f"{name}: {exc.message}"
            advice = f". {source.zone_advice}" if isinstance(exc, checks.OtherZone) else source.unread_advice
            raise BrokenData(message + advice) from None


def _with_base(outcome: ImportOutcome, bases: Mapping[str, str]) -> ImportOutcome:
    """Returns the outcome of a file that was read, with the price base of its series among what was recognised."""
    imported = outcome.imported
    if imported is None or imported.is_unchanged:
        return outcome
    recognised = (*imported.recognised, bases[imported.span])
    return replace(outcome, imported=replace(imported, recognised=recognised))


def _stamps_in_words(stamped: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{count} days stamped {how}, taken as that day" for how, count in sorted(stamped.items()))
