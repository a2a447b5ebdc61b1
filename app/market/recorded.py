"""Recorded bars: files brought in once (`.venv/bin/predict import`), then read as a market whose clock can be set.

Series are kept apart by ticker and span as the file name gives them (ruling M5) and never resampled or merged. The
official open of a day is a fact of its own beside the bars (ruling T1): it is known at 09:30, its daily bar only at
the close. One import, one base: the series of a ticker are in the same prices, or what would part them is refused.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from app.errors import BrokenData, PredictError
from app.market.bars import EPOCH, Bars, Floats, Ints, Span, no_bars, repaired, to_ms
from app.market.calendar import NY, Calendar, day_of_ms, ny
from app.market.importing import checks
from app.market.importing.bases import SessionPrices, disagreement
from app.market.importing.files import BarFile, Piece, apart, digest_of
from app.market.importing.names import SeriesFile, series_file, span_ms
from app.market.importing.times import END_MS, FIRST_MS
from app.sqlite import Database

NONE = float("nan")
COLUMNS = ("t", "o", "h", "l", "c", "v")
CHUNK = 10_000
IMPORTER = 2
"""Moves when the import reads files otherwise, so that files that are in already are read again."""

FEW_BARS = 2
DUPLICATE = "same time as a later row"
NOT_ENDED = "not ended yet"
SAME_PRICE = 0.0005
OTHER_SHARE = 0.1
"""A file is on another base than the stored bars if more than this share of their closes differs by more than SAME_PRICE."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS bars (
    ticker TEXT, span TEXT, t INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, PRIMARY KEY (ticker, span, t)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opens (ticker TEXT, day TEXT, price REAL, PRIMARY KEY (ticker, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (
    ticker TEXT, span TEXT, rows INTEGER, first_t INTEGER, last_t INTEGER, sha256 TEXT, PRIMARY KEY (ticker, span)
);
CREATE TABLE IF NOT EXISTS latest (ticker TEXT, span TEXT, file TEXT, rows INTEGER, PRIMARY KEY (ticker, span))
"""
INCOMING = "CREATE TEMP TABLE IF NOT EXISTS incoming (t INTEGER PRIMARY KEY, o REAL, h REAL, l REAL, c REAL, v REAL)"
Progress = Callable[[int, int], None]
"""Told after each chunk: rows written now, rows in all."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What one file brought: bars kept, rows rejected by reason, whether it is the one that its series was last made from,
    how many of the bars were repaired (a low or high was widened by a rounding), and what was recognised, in words."""

    ticker: str
    span: str
    kept: int
    rejected: Counter[str]
    known: bool
    repaired: int = 0
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: what it brought, or why nothing of it came in."""

    file: Path
    imported: Imported | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read. at: bars that end later are left out; zone: of times that name none; stamped_at_end: the
    files give the ends of intraday bars."""

    at: datetime | None = None
    zone: ZoneInfo = NY
    stamped_at_end: bool = False


@dataclass(slots=True)
class _Count:
    """What was counted while one file was read."""

    rows: int = 0
    good: int = 0
    repaired: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    gaps: Counter[int] = field(default_factory=Counter)
    stamped: Counter[str] = field(default_factory=Counter)


class _Written(NamedTuple):
    """What this import has written of a series: its latest file, and from and to which start."""

    file: Path
    first: int
    last: int


class RecordedBars:
    """The imported series in one SQLite file. It is the Feed of the recorded market, and what training reads."""

    def __init__(self, path: Path, calendar: Calendar) -> None:
        self._db = Database(path, SCHEMA)
        self._calendar = calendar

    def import_file(self, file: Path, progress: Progress = lambda done, total: None) -> Imported:
        """Bring one file in: all of it or nothing. Raises BrokenData (it cannot be right) and Unavailable (disk)."""
        found = self.import_files([file], progress=lambda _, done, total: progress(done, total))[0]
        if found.imported is None:
            raise BrokenData(found.refused)
        return found.imported

    def import_files(
        self,
        files: Sequence[Path],
        reading: Reading = Reading(),
        progress: Callable[[Path, int, int], None] = lambda file, done, total: None,
    ) -> list[Outcome]:
        """One import: files named `{TICKER}_{span}` with the endings of names.KINDS, whatever their order.

        A file that cannot be right on its own is refused, the others come in. Of a ticker whose series would be in different
        prices nothing comes in, and what was stored stays. Outcomes in the order of the files. Raises Unavailable (disk).
        """
        outcomes: dict[Path, Outcome] = {}
        named: list[SeriesFile] = []
        for path in dict.fromkeys(files):
            try:
                named.append(series_file(path))
            except BrokenData as exc:
                missing = f"{path.name}: cannot be read: No such file or directory"
                outcomes[path] = Outcome(path, refused=exc.message if path.exists() else missing)
        named.sort(key=lambda file: (file.ticker, file.span, str(file.path)))
        for _, group in groupby(named, key=lambda file: file.ticker):
            found = _TickerImport(self._db, self._calendar, reading, progress).run(list(group))
            outcomes |= {outcome.file: outcome for outcome in found}
        return [outcomes[path] for path in dict.fromkeys(files)]

    def bars(self, ticker: str, span: Span | str, first_ms: int, end_ms: int) -> Bars:
        """The stored bars that start in [first_ms, end_ms)."""
        rows = self._db.rows(
            "SELECT t, o, h, l, c, v FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ? ORDER BY t",
            (ticker, str(span), max(first_ms, FIRST_MS), min(end_ms, END_MS)),
        )
        if not rows:
            return no_bars()
        t, o, h, low, c, v = (np.array(column) for column in zip(*rows, strict=True))
        return Bars(t, _ends(self._calendar, str(span))(t), o, h, low, c, v)

    def all_bars(self, ticker: str, span: Span | str) -> Bars:
        """The whole series."""
        return self.bars(ticker, span, FIRST_MS, END_MS)

    def official_open(self, ticker: str, day: date) -> float | None:
        found = self._db.rows("SELECT price FROM opens WHERE ticker = ? AND day = ?", (ticker, day.isoformat()))
        return found[0][0] if found else None

    def series(self) -> list[tuple[str, str, int, int, int, str]]:
        """(ticker, span, rows, first start ms, last start ms, sha256) of every series, ordered."""
        return self._db.rows("SELECT ticker, span, rows, first_t, last_t, sha256 FROM series ORDER BY ticker, span")

    def data_hash(self) -> str:
        """SHA-256 over every series: names the data, whatever order it was brought in."""
        return hashlib.sha256(repr(self.series()).encode()).hexdigest()

    def days(self, tickers: Sequence[str]) -> tuple[date, date] | None:
        """The first and the last New York day of the stored bars of these tickers; None without any."""
        spans = [(first, last) for ticker, _, _, first, last, _ in self.series() if ticker in tickers]
        if not spans:
            return None
        return day_of_ms(min(first for first, _ in spans)), day_of_ms(max(last for _, last in spans))

    def default_start(self, tickers: Sequence[str]) -> datetime | None:
        """09:25 of the last session with one-minute bars for all tickers (ruling M2), or of the last with any."""
        for span in (Span.MINUTE, Span.FIVE_MINUTES):
            common = set.intersection(*({*_days(self._db, self._calendar, ticker, span)} for ticker in tickers))
            if common:
                return ny(max(common), time(9, 25))
        return None

    def close(self) -> None:
        self._db.close()


class _TickerImport:
    """The files of one ticker, in one transaction."""

    def __init__(
        self, db: Database, calendar: Calendar, reading: Reading, progress: Callable[[Path, int, int], None]
    ) -> None:
        self._db = db
        self._calendar = calendar
        self._reading = reading
        self._progress = progress
        self._written: dict[str, _Written] = {}

    def run(self, files: Sequence[SeriesFile]) -> list[Outcome]:
        """Bring the files in; if their series disagree, none of them."""
        outcomes: list[Outcome] = []
        try:
            with self._db.transaction():
                self._db.write(INCOMING)
                outcomes += [self._outcome(file) for file in files]
                bases = self._compare_bases(files[0].ticker)
        except (BrokenData, _Parted) as exc:
            return [found if found.refused else Outcome(found.file, refused=exc.message) for found in outcomes] or [
                Outcome(file.path, refused=exc.message) for file in files
            ]
        return [_with_base(outcome, bases) for outcome in outcomes]

    def _outcome(self, file: SeriesFile) -> Outcome:
        self._db.write("SAVEPOINT file")
        try:
            found = Outcome(file.path, self._one(file))
        except BrokenData as exc:
            self._db.write("ROLLBACK TO file")
            found = Outcome(file.path, refused=exc.message)
        self._db.write("RELEASE file")
        return found

    def _one(self, file: SeriesFile) -> Imported:
        digest = f"{digest_of(file)} {IMPORTER} {self._reading.zone.key} {self._reading.stamped_at_end}"
        known = self._db.rows(
            "SELECT rows FROM latest WHERE ticker = ? AND span = ? AND file = ?", (file.ticker, file.span, digest)
        )
        if known:
            return Imported(file.ticker, file.span, known[0][0], Counter(), known=True)
        source = BarFile(file, self._reading.zone)
        try:
            count = self._stage(source)
            self._check(file, count)
            kept, first, last = self._rows("SELECT COUNT(*), MIN(t), MAX(t) FROM incoming")[0]
            replaced = self._join(file)
        except BrokenData as exc:
            message = exc.message if exc.message.startswith(file.name) else f"{file.name}: {exc.message}"
            advice = f". {source.zone_advice}" if isinstance(exc, checks.OtherZone) else ""
            raise BrokenData(message + advice) from None
        self._copy(file, kept)
        self._derive(file.ticker, file.span)
        self._db.write("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", (file.ticker, file.span, digest, kept))
        before = self._written.get(file.span, _Written(file.path, first, last))
        self._written[file.span] = _Written(file.path, min(before.first, first), max(before.last, last))
        seen = (*source.seen, *_stamps_in_words(count.stamped), *replaced)
        return Imported(file.ticker, file.span, kept, +count.rejected, False, count.repaired, seen)

    def _stage(self, source: BarFile) -> _Count:
        """Read a file into the table of incoming bars, piece by piece; of rows of the same time the last holds."""
        self._db.write("DELETE FROM incoming")
        count = _Count()
        with closing(source.pieces()) as pieces:
            for piece in pieces:
                bars = self._usable(piece, source.file, count)
                rows = zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True)
                self._db.write_many("INSERT OR REPLACE INTO incoming VALUES (?, ?, ?, ?, ?, ?)", rows)
                count.good += len(bars)
        doubled = count.good - self._rows("SELECT COUNT(*) FROM incoming")[0][0]
        count.rejected[DUPLICATE] += doubled
        return count

    def _usable(self, piece: Piece, file: SeriesFile, count: _Count) -> Bars:
        """The rows of a piece that can be bars of this series."""
        t = piece.t
        if file.is_daily:
            t, stamped = checks.day_starts(t, self._calendar)
            count.stamped += stamped
        elif self._reading.stamped_at_end:
            t = np.where(t > 0, t - span_ms(file.span), t)
        count.rows += len(t)
        count.gaps += apart(t, file.span)
        good = np.ones(len(t), dtype=bool)
        for why, bad in self._faults(t, file.span).items():
            count.rejected[why] += int((bad & good).sum())
            good &= ~bad
        x = {name: column[good] for name, column in piece.x.items()}
        bars, rejected, widened = repaired(t[good], x, _ends(self._calendar, file.span))
        count.rejected += rejected
        count.repaired += widened
        return bars

    def _faults(self, t: Ints, span: str) -> dict[str, Any]:
        faults = checks.row_faults(t, span, self._calendar)
        if self._reading.at is not None:
            sane = np.clip(t, FIRST_MS, END_MS)
            faults[NOT_ENDED] = (t >= FIRST_MS) & (_ends(self._calendar, span)(sane) > to_ms(self._reading.at))
        return faults

    def _check(self, file: SeriesFile, count: _Count) -> None:
        """Raises BrokenData if the staged bars cannot be what the file's name says."""
        lost = Counter({why: n for why, n in count.rejected.items() if why != NOT_ENDED and n})
        checks.refuse_too_many_rejected(lost, count.rows, count.gaps, file.span)
        t = self._starts("SELECT t FROM incoming ORDER BY t")
        if not len(t):
            raise BrokenData(f"no usable bar in {count.rows} rows ({describe(+count.rejected)})")
        coarse = checks.coarser_days(t, file.span, self._calendar)
        count.rejected["on a day whose bars are of a coarser span"] += int(coarse.sum())
        self._db.write_many("DELETE FROM incoming WHERE t = ?", ((int(ms),) for ms in t[coarse]))
        checks.refuse_too_many_rejected(
            lost + Counter({"coarser": int(coarse.sum())}), count.rows, count.gaps, file.span
        )
        if not file.is_daily and not self._continues(file):
            checks.refuse_wrong_times([*self._around_opens(t[~coarse], span_ms(file.span))], file.span)

    def _continues(self, file: SeriesFile) -> bool:
        """Whether the file repeats stored bars of its series exactly: then its times are read right."""
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

    def _join(self, file: SeriesFile) -> tuple[str, ...]:
        """Make room for the staged bars: forget stored bars that cannot be right, and a whole series on another base.

        Raises BrokenData if the file is on another base and does not cover the stored series.
        """
        self._forget_nonsense(file.ticker, file.span)
        other = self._other_price(file)
        if other is None:
            return ()
        day, mine, stored = other
        both = f"on {day} the file has {mine:g} where {stored:g} "
        if file.span in self._written:
            sibling = self._written[file.span].file
            raise _Parted(f"{file.path}: {both}is in {sibling} of the same import; leave one of them out")
        series, args = "FROM bars WHERE ticker = ? AND span = ?", (file.ticker, file.span)
        outside = self._rows(
            f"SELECT COUNT(*) {series} AND (t < (SELECT MIN(t) FROM incoming) OR t > (SELECT MAX(t) FROM incoming))",
            args,
        )[0][0]
        if outside:
            raise BrokenData(
                f"its prices are on another base than the stored bars: {both}is stored, and {outside} stored bars lie outside "
                "the file; bring in a file that covers them all"
            )
        self._db.write(f"DELETE {series}", args)
        return (f"replaces the stored series, which was on another base: {both}was stored",)

    def _other_price(self, file: SeriesFile) -> tuple[date, float, float] | None:
        """The newest bar at which file and stored series differ, if they do in more than single bars."""
        overlap = "FROM incoming AS i JOIN bars AS b ON b.ticker = ? AND b.span = ? AND b.t = i.t"
        differs = f"ABS(i.c / b.c - 1) > {SAME_PRICE}"
        args = (file.ticker, file.span)
        if written := self._written.get(file.span):
            overlap += f" AND i.t BETWEEN {written.first} AND {written.last}"
        both, different = self._rows(f"SELECT COUNT(*), COALESCE(SUM({differs}), 0) {overlap}", args)[0]
        if different <= both * (0 if written else OTHER_SHARE):
            return None
        t, mine, stored = self._rows(f"SELECT i.t, i.c, b.c {overlap} WHERE {differs} ORDER BY i.t DESC LIMIT 1", args)[
            0
        ]
        return day_of_ms(t), mine, stored

    def _forget_nonsense(self, ticker: str, span: str) -> None:
        """Delete stored bars of the series that an earlier version took and that cannot be right."""
        t = self._starts("SELECT t FROM bars WHERE ticker = ? AND span = ? ORDER BY t", (ticker, span))
        bad = np.zeros(len(t), dtype=bool)
        for fault in checks.row_faults(t, span, self._calendar).values():
            bad |= fault
        try:
            bad[~bad] = checks.coarser_days(t[~bad], span, self._calendar)
        except BrokenData:
            bad[:] = True
        rows = ((ticker, span, int(ms)) for ms in t[bad])
        self._db.write_many("DELETE FROM bars WHERE ticker = ? AND span = ? AND t = ?", rows)

    def _copy(self, file: SeriesFile, total: int) -> None:
        """The staged bars into the store, a chunk at a time."""
        last = -1
        chunk = "FROM incoming WHERE t > ? ORDER BY t LIMIT ?"
        while (end := self._rows(f"SELECT MAX(t), COUNT(*) FROM (SELECT t {chunk})", (last, CHUNK))[0])[1]:
            sql = f"INSERT OR REPLACE INTO bars SELECT ?, ?, t, o, h, l, c, v {chunk}"
            self._db.write(sql, (file.ticker, file.span, last, CHUNK))
            last = end[0]
            self._progress(file.path, end[1], total)

    def _derive(self, ticker: str, span: str) -> None:
        """Everything that follows from a series' bars, made anew: its row in `series`, and the opens of its days."""
        args = (ticker, span)
        rows, first, last = self._rows("SELECT COUNT(*), MIN(t), MAX(t) FROM bars WHERE ticker = ? AND span = ?", args)[
            0
        ]
        digest = _stored_hash(self._db, ticker, span)
        self._db.write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)", (*args, rows, first, last, digest))
        if span == Span.DAY:
            self._db.write("DELETE FROM opens WHERE ticker = ?", (ticker,))
            for chunk in self._db.chunks("SELECT t, o FROM bars WHERE ticker = ? AND span = ? ORDER BY t", args):
                opens = ((ticker, day_of_ms(t).isoformat(), price) for t, price in chunk)
                self._db.write_many("INSERT INTO opens VALUES (?, ?, ?)", opens)

    def _compare_bases(self, ticker: str) -> dict[str, str]:
        """Per series just written, which others of its ticker are in the same prices, in words. Raises BrokenData if one is in
        other prices. Series of other vendors (`5min_consolidated`) are nobody's base: nothing reads them beside the others."""
        stored = self._rows("SELECT span FROM series WHERE ticker = ? ORDER BY span", (ticker,))
        spans = [span for (span,) in stored if "_" not in span]
        quotes = {span: self._session_prices(ticker, span) for span in spans} if self._written else {}
        same: dict[str, list[str]] = {span: [] for span in self._written}
        for i, one in enumerate(spans):
            for other in spans[i + 1 :]:
                common = len(quotes[one].keys() & quotes[other].keys()) if quotes else 0
                for span, its in ((one, other), (other, one)):
                    if span in same and common:
                        same[span].append(f"{its} ({common} {'day' if common == 1 else 'days'} compared)")
                found = disagreement(quotes[one], quotes[other]) if {one, other} & self._written.keys() else None
                if found:
                    raise BrokenData(
                        f"{ticker}: the series are on different bases: on {found.day} the {found.what} is {found.one:g} in "
                        f"{one} and {found.other:g} in {other}. Nothing of {ticker} was written. Bring all its series in with "
                        "one import, adjusted alike (yfinance: auto_adjust=False for daily bars beside intraday ones)"
                    )
        return {span: _base_in_words(span, found) for span, found in same.items()}

    def _session_prices(self, ticker: str, span: str) -> dict[date, SessionPrices]:
        """First and last regular price of each session of a stored series."""
        if span.startswith("1day"):
            sql = "SELECT t, o, c FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ?"
            return {day_of_ms(t): SessionPrices(o, c) for t, o, c in self._rows(sql, (ticker, span, FIRST_MS, END_MS))}
        days = _days(self._db, self._calendar, ticker, span)
        return {day: self._prices_of_session(ticker, span, day) for day in days}

    def _prices_of_session(self, ticker: str, span: str, day: date) -> SessionPrices:
        session = self._calendar.session(day)
        assert session is not None, "only trading days are asked for"
        opening, close, args = to_ms(session.open), to_ms(session.close), (ticker, span)
        series = "FROM bars WHERE ticker = ? AND span = ?"
        first = self._rows(f"SELECT o {series} AND t = ?", (*args, opening))
        last = self._rows(f"SELECT c {series} AND t >= ? AND t < ?", (*args, close - span_ms(span), close))
        return SessionPrices(first[0][0] if first else NONE, last[-1][0] if last else NONE)

    def _rows(self, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        return self._db.rows(sql, args)

    def _starts(self, sql: str, args: Sequence[Any] = ()) -> Ints:
        found = array("q")
        for chunk in self._db.chunks(sql, args):
            found.extend(t for (t,) in chunk)
        return np.array(found, dtype=np.int64)


class _Parted(PredictError):
    """Two files of one import contradict each other: neither may come in, nor anything else of their ticker."""


def bars_hash(bars: Bars) -> str:
    """SHA-256 of a series' content."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(_hashed(name, getattr(bars, name)))
    return digest.hexdigest()


def describe(rejected: Counter[str]) -> str:
    """Rejected rows by reason, as words."""
    return "; ".join(f"{count} x {why}" for why, count in sorted(rejected.items())) or "nothing rejected"


def _stored_hash(db: Database, ticker: str, span: str) -> str:
    """`bars_hash` of a stored series, a column and a chunk at a time."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        sql = f"SELECT {name} FROM bars WHERE ticker = ? AND span = ? ORDER BY t"
        for chunk in db.chunks(sql, (ticker, span)):
            digest.update(_hashed(name, np.array(chunk)[:, 0]))
    return digest.hexdigest()


def _hashed(name: str, column: Floats | Ints) -> bytes:
    return np.ascontiguousarray(column).astype("<f8" if name != "t" else "<i8").tobytes()


def _days(db: Database, calendar: Calendar, ticker: str, span: Span | str) -> Iterable[date]:
    """Trading days with a bar. Five hours back, every bar from 04:00 to 20:00 lies on its New York date in UTC."""
    sql = "SELECT DISTINCT (t - 18000000) / 86400000 FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ?"
    numbers = db.rows(sql, (ticker, str(span), FIRST_MS, END_MS))
    days = (EPOCH.date() + timedelta(days=number) for (number,) in numbers)
    return (day for day in days if calendar.session(day))


def _ends(calendar: Calendar, span: str) -> Callable[[Ints], Ints]:
    return calendar.day_ends if span.startswith("1day") else lambda t: t + span_ms(span)


def _sum(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) if found else NONE


def _with_base(outcome: Outcome, bases: Mapping[str, str]) -> Outcome:
    """The outcome of a file that was read, with the base of its series among what was recognised."""
    brought = outcome.imported
    if brought is None or brought.known:
        return outcome
    return replace(outcome, imported=replace(brought, seen=(*brought.seen, bases[brought.span])))


def _base_in_words(span: str, same: Sequence[str]) -> str:
    if "_" in span:
        return "price base: not compared, this is another vendor's series"
    if not same:
        return "price base: not known, no other series of this ticker has a day in common with it"
    return f"price base: the same as {', '.join(same)}"


def _stamps_in_words(stamped: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{count} days stamped {how}, taken as that day" for how, count in sorted(stamped.items()))
