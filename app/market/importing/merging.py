"""The second half of an import: the staged bars of one file are merged into the stored series of its ticker, whose series must
all be in the same prices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.errors import BrokenData, PredictError
from app.market.bars import Span, to_ms
from app.market.calendar import Calendar, day_of_ms
from app.market.importing import checks
from app.market.importing.bases import Leap, SessionPrices, disagreement, leap
from app.market.importing.names import SeriesFile, span_ms
from app.market.importing.series import NONE, days_with_bars, stored_hash
from app.market.importing.staging import starts_of
from app.market.importing.times import END_MS, FIRST_MS
from app.sqlite import Database

CHUNK = 10_000
SAME_PRICE = 0.0005
OTHER_SHARE = 0.1
"""A file is on another base than the stored bars if more than this share of their closes differs by more than SAME_PRICE."""

Progress = Callable[[Path, int, int], None]
"""Is called after each chunk with the file, how many bars were written now, and how many there are in all."""


class WrittenSeries(NamedTuple):
    """What this import has written of a series: its latest file, and the first and last start, ms."""

    file: Path
    first: int
    last: int


class ContradictingFiles(PredictError):
    """Two files of one import contradict each other: neither may come in, nor anything else of their ticker."""


class Merging:
    """Merges the staged bars of the files of one ticker, in an open transaction. `written`: what it has written so far, by
    span."""

    def __init__(self, db: Database, calendar: Calendar, progress: Progress) -> None:
        self._db, self._calendar, self._progress = db, calendar, progress
        self.written: dict[str, WrittenSeries] = {}

    def make_room(self, file: SeriesFile) -> tuple[str, ...]:
        """Deletes stored bars that cannot be right, and a whole series on another price base. Returns what was replaced, in
        words. Raises BrokenData if the file is on another base and does not cover the stored series, or if the price leaps
        where it meets stored bars, and ContradictingFiles if the stored bars are of another file of this import."""
        self._delete_impossible(file.ticker, file.span)
        difference = self._price_difference(file)
        if difference is None:
            self._refuse_leap(file)
            return ()
        day, incoming, stored = difference
        both = f"on {day} the file has {incoming:g} where {stored:g} "
        if file.span in self.written:
            sibling = self.written[file.span].file
            raise ContradictingFiles(f"{file.path}: {both}is in {sibling} of the same import; leave one of them out")
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

    def merge(self, file: SeriesFile) -> int:
        """Copies the staged bars into their series, derives anew what follows from it, and returns how many were staged."""
        count, first, last = self._rows("SELECT COUNT(*), MIN(t), MAX(t) FROM incoming")[0]
        self._copy(file, count)
        self._derive(file.ticker, file.span)
        before = self.written.get(file.span, WrittenSeries(file.path, first, last))
        self.written[file.span] = WrittenSeries(file.path, min(before.first, first), max(before.last, last))
        return int(count)

    def _price_difference(self, file: SeriesFile) -> tuple[date, float, float] | None:
        """Returns the newest bar at which file and stored series differ, if they do in more than single bars: its day, the
        close in the file, and the stored close."""
        overlap = "FROM incoming AS i JOIN bars AS b ON b.ticker = ? AND b.span = ? AND b.t = i.t"
        differs = f"ABS(i.c / b.c - 1) > {SAME_PRICE}"
        args = (file.ticker, file.span)
        if written := self.written.get(file.span):
            overlap += f" AND i.t BETWEEN {written.first} AND {written.last}"
        both, different = self._rows(f"SELECT COUNT(*), COALESCE(SUM({differs}), 0) {overlap}", args)[0]
        if different <= both * (0 if written else OTHER_SHARE):
            return None
        newest = f"SELECT i.t, i.c, b.c {overlap} WHERE {differs} ORDER BY i.t DESC LIMIT 1"
        t, incoming, stored = self._rows(newest, args)[0]
        return day_of_ms(t), incoming, stored

    def _refuse_leap(self, file: SeriesFile) -> None:
        """Raises BrokenData, or ContradictingFiles, if the price leaps where the file meets stored bars beside it."""
        written = self.written.get(file.span)
        for found, beside in self._leaps(file):
            if written is not None and written.first <= beside <= written.last:
                pair = f"{file.path} and {written.file} of the same import"
                raise ContradictingFiles(f"{pair} are on different bases: {found}")
            base = "its prices are on another base than the stored bars beside it"
            raise BrokenData(f"{base}: {found}; bring in a file that covers them all")

    def _leaps(self, file: SeriesFile) -> Iterator[tuple[Leap, int]]:
        """Yields the leaps, if there are any, from the stored bar before the file to its first one, and from its last one to
        the stored bar after it; with each the start of the stored bar, ms."""
        both = "FROM bars AS b JOIN incoming AS i ON b.ticker = ? AND b.span = ?"
        first, last = ("(SELECT MIN(t) FROM incoming)", "(SELECT MAX(t) FROM incoming)")
        for sql in (
            f"SELECT b.t, b.c, i.t, i.o, b.t {both} WHERE i.t = {first} AND b.t < i.t ORDER BY b.t DESC LIMIT 1",
            f"SELECT i.t, i.c, b.t, b.o, b.t {both} WHERE i.t = {last} AND b.t > i.t ORDER BY b.t LIMIT 1",
        ):
            for t, close, next_t, opening, beside in self._rows(sql, (file.ticker, file.span)):
                found = Leap.between(day_of_ms(t), close, day_of_ms(next_t), opening)
                if found is not None:
                    yield found, beside

    def _delete_impossible(self, ticker: str, span: str) -> None:
        """Deletes stored bars of the series that an earlier version took and that cannot be right."""
        t = starts_of(self._db, "SELECT t FROM bars WHERE ticker = ? AND span = ? ORDER BY t", (ticker, span))
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
        """Copies the staged bars into the store, a chunk at a time."""
        last = -1
        chunk = "FROM incoming WHERE t > ? ORDER BY t LIMIT ?"
        while (end := self._rows(f"SELECT MAX(t), COUNT(*) FROM (SELECT t {chunk})", (last, CHUNK))[0])[1]:
            sql = f"INSERT OR REPLACE INTO bars SELECT ?, ?, t, o, h, l, c, v {chunk}"
            self._db.write(sql, (file.ticker, file.span, last, CHUNK))
            last = end[0]
            self._progress(file.path, end[1], total)

    def _derive(self, ticker: str, span: str) -> None:
        """Makes anew what follows from a series' bars: its row in `series`, and the opens of its days."""
        args = (ticker, span)
        summary = "SELECT COUNT(*), MIN(t), MAX(t) FROM bars WHERE ticker = ? AND span = ?"
        rows, first, last = self._rows(summary, args)[0]
        digest = stored_hash(self._db, ticker, span)
        self._db.write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?)", (*args, rows, first, last, digest))
        if span == Span.DAY:
            self._db.write("DELETE FROM opens WHERE ticker = ?", (ticker,))
            for chunk in self._db.chunks("SELECT t, o FROM bars WHERE ticker = ? AND span = ? ORDER BY t", args):
                opens = ((ticker, day_of_ms(t).isoformat(), price) for t, price in chunk)
                self._db.write_many("INSERT INTO opens VALUES (?, ?, ?)", opens)

    def compare_bases(self, ticker: str) -> dict[str, str]:
        """Returns for each series just written which others of its ticker are in the same prices, in words.

        Series of other vendors (`5min_consolidated`) are not compared: nothing reads them beside the others. Raises
        BrokenData if one is in other prices.
        """
        stored = self._rows("SELECT span FROM series WHERE ticker = ? ORDER BY span", (ticker,))
        spans = [span for (span,) in stored if "_" not in span]
        prices = {span: self._session_prices(ticker, span) for span in spans} if self.written else {}
        same: dict[str, list[str]] = {span: [] for span in self.written}
        for i, one in enumerate(spans):
            for other in spans[i + 1 :]:
                common = len(prices[one].keys() & prices[other].keys()) if prices else 0
                for span, compared in ((one, other), (other, one)):
                    if span in same and common:
                        same[span].append(f"{compared} ({common} {'day' if common == 1 else 'days'} compared)")
                if {one, other} & self.written.keys():
                    _refuse_other_base(ticker, (one, prices[one]), (other, prices[other]))
        return {span: _base_in_words(span, others) for span, others in same.items()}

    def _session_prices(self, ticker: str, span: str) -> dict[date, SessionPrices]:
        """Returns the first and last regular price of each session of a stored series."""
        if span.startswith("1day"):
            sql = "SELECT t, o, c FROM bars WHERE ticker = ? AND span = ? AND t >= ? AND t < ?"
            return {day_of_ms(t): SessionPrices(o, c) for t, o, c in self._rows(sql, (ticker, span, FIRST_MS, END_MS))}
        days = days_with_bars(self._db, self._calendar, ticker, span)
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


PricedSeries = tuple[str, Mapping[date, SessionPrices]]


def _refuse_other_base(ticker: str, one: PricedSeries, other: PricedSeries) -> None:
    """Raises BrokenData if two series, each a span with its prices by day, are in different prices."""
    seen = _difference_in_words(one, other)
    if seen is not None:
        raise BrokenData(
            f"{ticker}: the series are on different bases: {seen}. Nothing of {ticker} was written. Bring all its series in "
            "with one import, adjusted alike (yfinance: auto_adjust=False for daily bars beside intraday ones)"
        )


def _difference_in_words(one: PricedSeries, other: PricedSeries) -> str | None:
    """Returns where two series differ, on a day that both have, or else from a day of one to the next day of the other."""
    (span, prices), (other_span, other_prices) = one, other
    if prices.keys().isdisjoint(other_prices.keys()):
        found = leap(prices, other_prices)
        return None if found is None else f"between {span} and {other_span} the price goes {found}"
    seen = disagreement(prices, other_prices)
    if seen is None:
        return None
    return f"on {seen.day} the {seen.what} is {seen.one:g} in {span} and {seen.other:g} in {other_span}"


def _base_in_words(span: str, same: Sequence[str]) -> str:
    if "_" in span:
        return "price base: not compared, this is another vendor's series"
    if not same:
        return "price base: not known, no other series of this ticker has a day in common with it"
    return f"price base: the same as {', '.join(same)}"
