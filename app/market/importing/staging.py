"""The first half of an import: the rows of one file are read into the table `incoming`, and checked there against the calendar
and against what the file's name says."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from app.errors import BrokenData
from app.market.bars import Bars, Ints, repaired, to_ms
from app.market.calendar import NY, Calendar
from app.market.importing import checks
from app.market.importing.files import BarFile, RowBatch, apart
from app.market.importing.names import SeriesFile, span_ms
from app.market.importing.series import COLUMNS, NONE, bar_ends
from app.market.importing.times import END_MS, FIRST_MS
from app.sqlite import Database

FEW_BARS = 2
DUPLICATE = "same time as a later row"
NOT_ENDED = "not ended yet"
INCOMING = "CREATE TEMP TABLE IF NOT EXISTS incoming (t INTEGER PRIMARY KEY, o REAL, h REAL, l REAL, c REAL, v REAL)"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read. at: bars that end later are left out; zone: of times that name none; stamped_at_end: the files give
    the ends of intraday bars."""

    at: datetime | None = None
    zone: ZoneInfo = NY
    stamped_at_end: bool = False


@dataclass(slots=True)
class RowCounts:
    """What was counted while one file was read: rows, usable bars, repaired bars, rejected rows by reason, distances between
    neighbouring rows (ms), and daily bars by how they were stamped."""

    rows: int = 0
    usable: int = 0
    repaired: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    gaps: Counter[int] = field(default_factory=Counter)
    stamped: Counter[str] = field(default_factory=Counter)


class Staging:
    """Reads and checks files in the table `incoming` of an open transaction."""

    def __init__(self, db: Database, calendar: Calendar, options: ReadOptions) -> None:
        self._db, self._calendar, self._options = db, calendar, options

    def stage(self, source: BarFile) -> RowCounts:
        """Reads a file into the table of incoming bars, batch by batch; of rows with the same time the last one counts. Raises
        BrokenData if the bars cannot be what the file's name says."""
        self._db.write("DELETE FROM incoming")
        counts = RowCounts()
        with closing(source.batches()) as batches:
            for batch in batches:
                bars = self._usable(batch, source.file, counts)
                rows = zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True)
                self._db.write_many("INSERT OR REPLACE INTO incoming VALUES (?, ?, ?, ?, ?, ?)", rows)
                counts.usable += len(bars)
        counts.rejected[DUPLICATE] += counts.usable - self._rows("SELECT COUNT(*) FROM incoming")[0][0]
        self._check(source.file, counts)
        return counts

    def _usable(self, batch: RowBatch, file: SeriesFile, counts: RowCounts) -> Bars:
        """Returns the rows of a batch that can be bars of this series."""
        t = batch.t
        if file.is_daily:
            t, stamped = checks.day_starts(t, self._calendar)
            counts.stamped += stamped
        elif self._options.stamped_at_end:
            t = np.where(t > 0, t - span_ms(file.span), t)
        counts.rows += len(t)
        counts.gaps += apart(t, file.span)
        good = np.ones(len(t), dtype=bool)
        for reason, bad in self._row_faults(t, file.span).items():
            counts.rejected[reason] += int((bad & good).sum())
            good &= ~bad
        columns = {name: column[good] for name, column in batch.columns.items()}
        bars, rejected, widened = repaired(t[good], columns, bar_ends(self._calendar, file.span))
        counts.rejected += rejected
        counts.repaired += widened
        return bars

    def _row_faults(self, t: Ints, span: str) -> dict[str, Any]:
        faults = checks.row_faults(t, span, self._calendar)
        if self._options.at is not None:
            sane = np.clip(t, FIRST_MS, END_MS)
            faults[NOT_ENDED] = (t >= FIRST_MS) & (bar_ends(self._calendar, span)(sane) > to_ms(self._options.at))
        return faults

    def _check(self, file: SeriesFile, counts: RowCounts) -> None:
        """Raises BrokenData if the staged bars cannot be what the file's name says."""
        lost = Counter({reason: n for reason, n in counts.rejected.items() if reason != NOT_ENDED and n})
        checks.refuse_too_many_rejected(lost, counts.rows, counts.gaps, file.span)
        t = starts_of(self._db, "SELECT t FROM incoming ORDER BY t")
        if not len(t):
            raise BrokenData(f"no usable bar in {counts.rows} rows ({describe(+counts.rejected)})")
        coarse = checks.coarser_days(t, file.span, self._calendar)
        counts.rejected["on a day whose bars are of a coarser span"] += int(coarse.sum())
        self._db.write_many("DELETE FROM incoming WHERE t = ?", ((int(ms),) for ms in t[coarse]))
        checks.refuse_too_many_rejected(
            lost + Counter({"coarser": int(coarse.sum())}), counts.rows, counts.gaps, file.span
        )
        if not file.is_daily and not self._repeats_stored_bars(file):
            checks.refuse_wrong_times([*self._around_opens(t[~coarse], span_ms(file.span))], file.span)

    def _repeats_stored_bars(self, file: SeriesFile) -> bool:
        """Whether the file repeats stored bars of its series exactly, so that its times are read right."""
        same = "COALESCE(SUM(i.o = b.o AND i.h = b.h AND i.l = b.l AND i.c = b.c), 0)"
        sql = f"SELECT COUNT(*), {same} FROM incoming AS i JOIN bars AS b ON b.ticker = ? AND b.span = ? AND b.t = i.t"
        both, equal = self._rows(sql, (file.ticker, file.span))[0]
        return bool(both >= FEW_BARS and both == equal)

    def _around_opens(self, t: Ints, length: int) -> Iterator[checks.AroundOpen]:
        days, half = checks.days_of(t, self._calendar), checks.HALF_HOUR_MS
        reach = max(half, 2 * length)
        for opening, close in zip(days.open.tolist(), days.close.tolist(), strict=True):
            sql = "SELECT t, v FROM incoming WHERE t >= ? AND t < ?"
            rows = self._rows(sql, (opening - reach, opening + reach))
            windows = ([v for ms, v in rows if k * length < ms - opening <= (k + 1) * length] for k in (-2, -1, 0))
            before, at, after = (volumes[-1] if volumes else NONE for volumes in windows)
            yield checks.AroundOpen(
                before,
                at,
                after,
                half_before=_sum(v for ms, v in rows if -half <= ms - opening < 0),
                half_after=_sum(v for ms, v in rows if 0 <= ms - opening < half),
                has_last=bool(self._rows(f"{sql} LIMIT 1", (close - max(half, length), close + 1))),
            )

    def _rows(self, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        return self._db.rows(sql, args)


def starts_of(db: Database, sql: str, args: Sequence[Any] = ()) -> Ints:
    """Returns the first column, starts in ms, of a query's rows."""
    starts = array("q")
    for chunk in db.chunks(sql, args):
        starts.extend(t for (t,) in chunk)
    return np.array(starts, dtype=np.int64)


def describe(rejected: Counter[str]) -> str:
    """Returns rejected rows by reason, in words."""
    return "; ".join(f"{count} x {reason}" for reason, count in sorted(rejected.items())) or "nothing rejected"


def _sum(values: Iterable[float]) -> float:
    """Returns the sum; NaN without any value."""
    numbers = list(values)
    return sum(numbers) if numbers else NONE
