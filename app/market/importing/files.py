"""Files of bars, read batch by batch: CSV (plain, gzip, in a ZIP), Parquet, QuantConnect Lean's ZIP files.

A batch is some thousand rows, so that memory does not grow with the file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, islice
from typing import IO, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from app.errors import BrokenData
from app.market.bars import Floats, Ints
from app.market.calendar import midnight_ms
from app.market.importing.names import SeriesFile, entries_of, same_ticker, some, span_ms
from app.market.importing.numbers import POINT, decimal_mark, floats
from app.market.importing.shapes import BAR, Shape, recognise, two_level_header, without_header
from app.market.importing.times import Times

ROWS = 20_000
DELIMITERS = (",", ";", "\t", "|")
EXCELS_HINT = re.compile(r"sep=.?", re.IGNORECASE)
"""The first line of some files for Excel, which names the delimiter."""

LEAN_MINUTES = re.compile(r"(?:.*/)?(\d{4})(\d\d)(\d\d)_([a-z.]+)_(minute|second|tick)_(trade|quote)\.csv")
LEAN_PRICE = 10_000.0
LONGEST_SHOWN = 40
LEAN_SAYS = "QuantConnect Lean's format: prices divided by 10,000"
UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, csv.Error, zlib.error, zipfile.BadZipFile)


class RowBatch(NamedTuple):
    """Some rows of a file: starts (ms; 0 where unreadable) and the columns o h l c v (NaN where unreadable)."""

    t: Ints
    columns: dict[str, Floats]


@dataclass(slots=True)
class BarFile:
    """One file of one series. `recognised` says what was recognised once it has been read.

    zone: of times that name none. Reading raises BrokenData: cannot be read, no rows, a column missing or ambiguous,
    another ticker, times of several kinds.
    """

    file: SeriesFile
    zone: ZoneInfo
    _times: Times = field(init=False)
    _shape: str = ""
    _entries: str = ""
    _mark: str = POINT
    _looked: bool = False
    _others: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._times = Times(
            self.zone, zone_in_words="New York" if self.zone.key == "America/New_York" else self.zone.key
        )

    @property
    def recognised(self) -> tuple[str, ...]:
        """What was recognised, in words: columns, times, decimal mark, other tickers' rows, files of a ZIP."""
        others = f"{self._others.total()} rows of other tickers left out" if self._others else ""
        mark = self._mark if self._mark != POINT else ""
        return tuple(text for text in (self._shape, *sorted(self._times.kinds), mark, others, self._entries) if text)

    @property
    def unread_advice(self) -> str:
        """Which time could not be read, if there is one."""
        text = self._times.unread
        return f". {text[:LONGEST_SHOWN]!r} is no time that can be read; 2025-03-12 09:30 would be one" if text else ""

    @property
    def zone_advice(self) -> str:
        """What the user can do if the times are those of another zone."""
        kinds = " and ".join(sorted(self._times.kinds))
        if "without a zone" in kinds:
            return f"The file has {kinds}: name another zone with --zone, like --zone UTC"
        return f"The file has {kinds}: --zone changes nothing of these, the moments themselves must be other ones"

    def batches(self) -> Generator[RowBatch, None, None]:
        """Yields the file's rows in its own order."""
        read = _READERS[self.file.kind]
        empty = True
        with _naming(self.file.name):
            for batch in read(self):
                empty = empty and not len(batch.t)
                yield batch
            if empty:
                raise BrokenData(self._why_empty())

    def _why_empty(self) -> str:
        if self._others:
            return f"no rows of {self.file.ticker}; seen were {', '.join(sorted(self._others)[:10])}"
        return "no rows"

    def _parquet(self) -> Iterator[RowBatch]:
        import pyarrow  # 45 MiB that only an import needs
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.file.path, memory_map=False, pre_buffer=False) as table:
                header = table.schema_arrow.names
                shape = self._use(recognise(header, self.file.ticker))
                for batch in table.iter_batches(ROWS, columns=[header[i] for i in sorted(set(shape.at.values()))]):
                    yield self._from_batch(batch, shape)
        except pyarrow.ArrowException as exc:
            raise ValueError(str(exc)) from None

    def _from_batch(self, batch: Any, shape: Shape) -> RowBatch:
        columns = {role: batch.column(shape.names[role]) for role in shape.at}
        if "ticker" in columns:
            is_own = self._is_own([str(name) for name in columns["ticker"].to_pylist()])
            columns = {role: column.filter(is_own) for role, column in columns.items()}
        t = self._arrow_times(columns["t"], shape) if "t" in columns else self._date_and_time(columns)
        return RowBatch(t, {role: self._arrow_floats(columns[role]) for role in BAR})

    def _arrow_times(self, column: Any, shape: Shape) -> Ints:
        import pyarrow

        kind = column.type
        if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind):
            ms = column.cast(pyarrow.timestamp("us")).cast(pyarrow.int64()).fill_null(0).to_numpy() // 1000
            return self._times.stamps(ms, zoned=shape.utc or getattr(kind, "tz", None) is not None)
        if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind):
            return self._times.numbers(self._arrow_floats(column))
        return self._text_times([str(text or "") for text in column.to_pylist()])

    def _date_and_time(self, columns: dict[str, Any]) -> Ints:
        dates, times = ([str(cell) for cell in columns[role].to_pylist()] for role in ("date", "time"))
        return self._text_times(_joined(dates, times))

    def _arrow_floats(self, column: Any) -> Floats:
        import pyarrow

        if pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type):
            return np.asarray(column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False))
        if pyarrow.types.is_decimal(column.type):
            return np.asarray(column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
        return floats([str(value) for value in column.to_pylist()], self._mark)

    def _plain(self) -> Iterator[RowBatch]:
        with self.file.path.open("rb") as raw:
            yield from self._csv(raw)

    def _gzip(self) -> Iterator[RowBatch]:
        with gzip.open(self.file.path, "rb") as raw:
            yield from self._csv(raw)  # type: ignore[arg-type]

    def _zip(self) -> Iterator[RowBatch]:
        with zipfile.ZipFile(self.file.path) as archive:
            names = entries_of(archive.namelist(), self.file)
            self._entries = f"read of the ZIP: {some(names)}"
            for name in names:
                with archive.open(name) as raw:
                    match = LEAN_MINUTES.fullmatch(name)
                    yield from self._lean_day(raw, match) if match else self._csv(raw)

    def _lean_day(self, raw: IO[bytes], match: re.Match[str]) -> Iterator[RowBatch]:
        """Yields one day of Lean's minutes: ms since midnight New York, prices x 10,000, no header."""
        year, month, day, ticker, _, kind = match.groups()
        if kind != "trade" or not same_ticker(ticker, self.file.ticker):
            raise BrokenData(f"{match[0]} holds {kind}s of {ticker.upper()}, expected trades of {self.file.ticker}")
        start = midnight_ms(date(int(year), int(month), int(day)))
        self._shape = f"{LEAN_SAYS}; times are ms since midnight New York, the day is the file's name in the ZIP"
        with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
            for rows in _batches(csv.reader(text)):
                columns = [floats(column, POINT) for column in zip(*rows, strict=True)]
                prices = {role: columns[i + 1] / (LEAN_PRICE if role != "v" else 1.0) for i, role in enumerate(BAR)}
                starts = np.where(np.isnan(columns[0]), 0, start + np.nan_to_num(columns[0]))
                yield RowBatch(starts.astype(np.int64), prices)

    def _csv(self, raw: IO[bytes]) -> Iterator[RowBatch]:
        with io.TextIOWrapper(raw, encoding=_encoding(raw), newline="") as text:
            first = text.readline()
            if EXCELS_HINT.fullmatch(first.strip()):
                first = text.readline()
            reader = csv.reader(_with_first(first, text), delimiter=max(DELIMITERS, key=first.count))
            head = list(islice((row for row in reader if row), 3))
            if head:
                shape, rest = self._shape_of(head)
                yield from self._of_rows(chain(rest, reader), self._use(shape))

    def _of_rows(self, rows: Iterator[list[str]], shape: Shape) -> Iterator[RowBatch]:
        width = max(shape.at.values()) + 1
        for batch in _batches(rows):
            full = [row + [""] * (width - len(row)) for row in batch if any(row)]
            if full:
                yield self._from_texts(full, shape)

    def _shape_of(self, head: list[list[str]]) -> tuple[Shape, list[list[str]]]:
        levels = two_level_header(head)
        if levels is not None:
            names, rows = levels
            return recognise(names, self.file.ticker), head[rows:]
        bare = without_header(head[0])
        return (bare, head) if bare is not None else (recognise(head[0], self.file.ticker), head[1:])

    def _use(self, shape: Shape) -> Shape:
        self._shape = shape.describe() + (f"; {LEAN_SAYS}" if shape.lean else "")
        if shape.utc:
            self._times = Times(ZoneInfo("UTC"), zone_in_words="UTC, as the column's name says")
        return shape

    def _from_texts(self, rows: list[list[str]], shape: Shape) -> RowBatch:
        if "ticker" in shape.at:
            is_own = self._is_own([row[shape.at["ticker"]] for row in rows])
            rows = [row for row, keep in zip(rows, is_own, strict=True) if keep]
        cells = {role: [row[i] for row in rows] for role, i in shape.at.items()}
        if not self._looked:
            self._mark = decimal_mark(text for role in BAR[:4] for text in cells[role])
        t = self._text_times(cells["t"] if "t" in cells else _joined(cells["date"], cells["time"]))
        scale = LEAN_PRICE if shape.lean else 1.0
        return RowBatch(t, {role: floats(cells[role], self._mark) / (1.0 if role == "v" else scale) for role in BAR})

    def _text_times(self, texts: list[str]) -> Ints:
        if not self._looked:
            self._times.look_at(texts)
            self._looked = bool(texts)
        return self._times.read(texts)

    def _is_own(self, tickers: Sequence[str]) -> list[bool]:
        """Returns which rows are of the file's own ticker, and counts the others."""
        words = {word: same_ticker(word, self.file.ticker) for word in set(tickers)}
        for word, count in Counter(tickers).items():
            if not words[word] and (word in self._others or len(self._others) < ROWS):
                self._others[word] += count
        return [words[word] for word in tickers]


_READERS: dict[str, Callable[[BarFile], Iterator[RowBatch]]] = {
    ".parquet": BarFile._parquet,
    ".csv": BarFile._plain,
    ".csv.gz": BarFile._gzip,
    ".zip": BarFile._zip,
}


def digest_of(file: SeriesFile) -> str:
    """Returns the SHA-256 of a file's bytes. Raises BrokenData if it cannot be read."""
    with _naming(file.name), file.path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def apart(t: Ints, span: str) -> Counter[int]:
    """Returns how far neighbouring rows of a batch mostly are apart, ms, with their number; nothing if that is the span."""
    gaps, counts = np.unique(np.abs(np.diff(t)), return_counts=True)
    if not len(gaps) or not gaps[np.argmax(counts)] or int(gaps[np.argmax(counts)]) == span_ms(span):
        return Counter()
    return Counter({int(gaps[np.argmax(counts)]): int(counts.max())})


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Raises every failure inside as BrokenData whose message names the file."""
    try:
        yield
    except BrokenData as exc:
        raise BrokenData(exc.message if exc.message.startswith(name) else f"{name}: {exc.message}") from None
    except OSError as exc:
        raise BrokenData(f"{name}: cannot be read: {exc.strerror or exc}") from None
    except UNREADABLE as exc:
        raise BrokenData(f"{name}: cannot be read: {exc}") from None


def _encoding(raw: IO[bytes]) -> str:
    """UTF-8 with or without a byte-order mark, or UTF-16 with one."""
    buffered = raw if hasattr(raw, "peek") else None
    start = buffered.peek(2)[:2] if buffered is not None else b""
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _with_first(first: str, rest: IO[str]) -> Iterator[str]:
    yield first
    yield from rest


def _batches(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while batch := list(islice(rows, ROWS)):
        yield batch


def _joined(dates: Sequence[str], times: Sequence[str]) -> list[str]:
    """Returns one text of a date and a time in two columns; digits alone are HHMM or HHMMSS, their leading zeros perhaps
    lost."""
    return [f"{day.strip()} {_clock(at.strip())}" for day, at in zip(dates, times, strict=True)]


def _clock(text: str) -> str:
    if not text.isdigit():
        return text
    digits = text.zfill(4 if len(text) <= 4 else 6)
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
