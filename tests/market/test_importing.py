"""Bringing in what people have: the shapes of libraries and vendors, what cannot be right, one base, the last import holds.

Made by the library itself: everything of pandas (yfinance's and Alpaca's tables are pandas tables with their columns) and of
pyarrow. Written by hand as their makers write them: Alpaca's CSV (alpaca-py 0.44.0's `BarSet.df.to_csv()`), Stooq, Polygon's
flat files, QuantConnect Lean, Alpha Vantage, Kibot, Dukascopy, Nasdaq, Interactive Brokers, spreadsheets.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import BrokenData
from app.factory import create_app
from app.market.bars import Bars, Span, from_ms, to_ms
from app.market.calendar import NY, Calendar, midnight_ms, ny
from app.market.importing import importer
from app.market.importing.bases import SessionPrices, disagreement
from app.market.importing.staging import ReadOptions
from app.market.recorded import RecordedBars
from tests.support import new_york, session_bars
from tests.support import settings as server_settings

DAY = datetime(2025, 3, 11).date()
FIVE = session_bars(100, span=Span.FIVE_MINUTES)
MINUTES = session_bars(500)
DAYS = session_bars(30, span=Span.DAY)
Write = Callable[[Path, Bars], None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordedBars]:
    found = RecordedBars(tmp_path / "recorded.sqlite3", Calendar())
    yield found
    found.close()


def moments(bars: Bars, *, zone: Any = NY, form: str = "%Y-%m-%d %H:%M:%S") -> list[str]:
    return [from_ms(ms).astimezone(zone).strftime(form) for ms in bars.t.tolist()]


def prices(bars: Bars) -> Iterator[tuple[float, ...]]:
    return zip(*(getattr(bars, name).tolist() for name in "ohlcv"), strict=True)


def text(
    bars: Bars,
    header: str = "t,o,h,l,c,v",
    *,
    times: Sequence[object] | None = None,
    row: Callable[[str, tuple[float, ...]], str] | None = None,
) -> str:
    """A CSV file's text: one line a bar, by default `time,o,h,l,c,v`."""
    row = row or (lambda at, x: ",".join([at, *map(repr, x)]))
    lines = [row(str(at), x) for at, x in zip(bars.t.tolist() if times is None else times, prices(bars), strict=True)]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def frame(bars: Bars, *, zone: str | None = "America/New_York") -> pd.DataFrame:
    """The table that yfinance makes of bars (`Ticker.history`): its own names, index and zone."""
    index = pd.to_datetime(bars.t, unit="ms", utc=True).tz_convert("America/New_York")
    index = index.tz_localize(None) if zone is None else index.tz_convert(zone)
    names = {"Open": bars.o, "High": bars.h, "Low": bars.l, "Close": bars.c, "Volume": bars.v}
    made = pd.DataFrame(names, index=index)
    made.index.name = "Datetime"
    return made


def pairs(table: pd.DataFrame, *, by_ticker: bool = False) -> pd.DataFrame:
    """As `yfinance.download(["SPY", "QQQ"])` has it: columns (price, ticker), the other ticker at other prices."""
    other = table * [2, 2, 2, 2, 1]
    both = pd.concat({"QQQ": other, "SPY": table}, axis=1, names=["Ticker", "Price"])
    return both if by_ticker else both.swaplevel(axis=1).sort_index(axis=1)


def alpaca(table: pd.DataFrame) -> pd.DataFrame:
    """As alpaca-py's `BarSet.df` has it: an index of symbol and UTC timestamp, two symbols."""
    own = table.tz_convert("UTC").rename(columns=str.lower).assign(trade_count=3.0, vwap=1.0)
    own.index.name = "timestamp"
    return pd.concat({"QQQ": own * 3, "SPY": own}, names=["symbol"])


def zipped(path: Path, entries: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def writing(made: Callable[[Bars], str], encoding: str = "utf-8") -> Write:
    return lambda path, bars: path.write_text(made(bars), encoding=encoding)  # type: ignore[return-value]


def parquet(made: Callable[[Bars], pd.DataFrame]) -> Write:
    return lambda path, bars: made(bars).to_parquet(path)


def typed(kind: pa.DataType, scale: int = 1) -> Write:
    def write(path: Path, bars: Bars) -> None:
        columns = {name: pa.array(getattr(bars, name)) for name in "ohlcv"}
        t = pa.array(bars.t * scale, pa.int64()).cast(kind)
        pq.write_table(pa.table({"t": t, **columns}), path, row_group_size=37)

    return write


def flat_file(path: Path, bars: Bars) -> None:
    """Polygon's flat files: all tickers, `window_start` in nanoseconds, gzip."""
    rows = [f"{name},10,{o * k},{c * k},{h * k},{low * k},{ms}000000,3" for name, k in (("QQQ", 2), ("SPY", 1))
            for ms, (o, h, low, c, _) in zip(bars.t.tolist(), prices(bars), strict=True)]  # fmt: skip
    header = "ticker,volume,open,close,high,low,window_start,transactions"
    path.write_bytes(gzip.compress("\n".join([header, *rows]).encode()))


def lean_minutes(path: Path, bars: Bars) -> None:
    """QuantConnect Lean's minute data: a CSV file a day, ms since midnight, prices x 10,000."""
    with zipfile.ZipFile(path, "w") as archive:
        days = sorted({from_ms(ms).astimezone(NY).date() for ms in bars.t.tolist()})
        for day in days:
            start, lines = midnight_ms(day), []
            for ms, x in zip(bars.t.tolist(), prices(bars), strict=True):
                if from_ms(ms).astimezone(NY).date() == day:
                    lines.append(",".join(str(round(n)) for n in (ms - start, *(p * 10_000 for p in x[:4]), x[4])))
            archive.writestr(f"{day:%Y%m%d}_spy_minute_trade.csv", "\n".join(lines) + "\n")


def lean_days(path: Path, bars: Bars) -> None:
    """Lean's daily data: one CSV file, `YYYYMMDD HH:MM`, prices x 10,000."""
    rows = zip(moments(bars, form="%Y%m%d 00:00"), prices(bars), strict=True)
    lines = [",".join([at, *(str(round(p * 10_000)) for p in x[:4]), str(round(x[4]))]) for at, x in rows]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("spy.csv", "\n".join(lines) + "\n")


def european(at: str, x: tuple[float, ...]) -> str:
    return ";".join([at, *(repr(value).replace(".", ",") for value in x)])


def nasdaq(at: str, x: tuple[float, ...]) -> str:
    o, h, low, c, v = x
    return f'{at},${c!r},"{v:,.0f}",${o!r},${h!r},${low!r}'


STOOQ = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
ALPACA = "symbol,timestamp,open,high,low,close,volume,trade_count,vwap"

SHAPES: dict[str, tuple[str, Bars, Write]] = {
    "pandas, index without a name": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: frame(b).rename_axis(None).to_csv()),
    ),
    "pandas, naive index": ("SPY_5min.csv", FIVE, writing(lambda b: frame(b, zone=None).to_csv())),
    "pandas, index as a column": ("SPY_5min.csv", FIVE, writing(lambda b: frame(b).reset_index().to_csv(index=False))),
    "pandas, Parquet, index without a name": ("SPY_5min.parquet", FIVE, parquet(lambda b: frame(b).rename_axis(None))),
    "pandas, Parquet, naive index": ("SPY_5min.parquet", FIVE, parquet(lambda b: frame(b, zone=None))),
    "pandas, gzip": ("SPY_5min.csv.gz", FIVE, lambda path, b: frame(b).to_csv(path)),
    "pandas, zip": ("SPY_5min.zip", FIVE, lambda path, b: frame(b).to_csv(path)),
    "yfinance, history, minutes": ("SPY_1min.csv", MINUTES, writing(lambda b: frame(b).assign(Dividends=0.0).to_csv())),
    "yfinance, history, days": ("SPY_1day.csv", DAYS, writing(lambda b: frame(b).rename_axis("Date").to_csv())),
    "yfinance, download, one ticker": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: pairs(frame(b, zone="UTC"))[[(n, "SPY") for n in frame(b).columns]].to_csv()),
    ),
    "yfinance, download, two tickers": ("SPY_5min.csv", FIVE, writing(lambda b: pairs(frame(b)).to_csv())),
    "yfinance, download, grouped by ticker": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: pairs(frame(b), by_ticker=True).to_csv()),
    ),
    "yfinance, download, Parquet": ("SPY_5min.parquet", FIVE, parquet(lambda b: pairs(frame(b)))),
    "yfinance, days, not adjusted, naive dates": (
        "SPY_1day.csv",
        DAYS,
        writing(lambda b: frame(b, zone=None).assign(**{"Adj Close": 1.0}).rename_axis("Date").to_csv()),
    ),
    "Alpaca, table of two symbols": ("SPY_5min.csv", FIVE, writing(lambda b: alpaca(frame(b)).to_csv())),
    "Alpaca, table as Parquet": ("SPY_5min.parquet", FIVE, parquet(lambda b: alpaca(frame(b)))),
    "Alpaca, CSV by hand": (
        "SPY_5min.csv",
        FIVE,
        writing(
            lambda b: text(
                b,
                ALPACA,
                times=moments(b, zone=UTC, form="%Y-%m-%d %H:%M:%S+00:00"),
                row=lambda at, x: ",".join(["SPY", at, *map(repr, x), "3.0", "1.2"]),
            )
        ),
    ),
    "Stooq, minutes": (
        "SPY_5min.csv",
        FIVE,
        writing(
            lambda b: text(
                b,
                STOOQ,
                times=moments(b, form="%Y%m%d,%H%M%S"),
                row=lambda at, x: ",".join(["SPY.US", "5", at, *map(repr, x), "0"]),
            )
        ),
    ),
    "Stooq, days": (
        "SPY_1day.csv",
        DAYS,
        writing(lambda b: text(b, "Date,Open,High,Low,Close,Volume", times=moments(b, form="%Y-%m-%d"))),
    ),
    "Polygon, flat file": ("SPY_5min.csv.gz", FIVE, flat_file),
    "Polygon, days in ms": ("SPY_1day.csv", DAYS, writing(text)),
    "Lean, minutes": ("SPY_1min.zip", MINUTES, lean_minutes),
    "Lean, days": ("SPY_1day.zip", DAYS, lean_days),
    "Alpha Vantage, newest first": (
        "SPY_5min.csv",
        FIVE,
        writing(
            lambda b: (
                "timestamp,1. open,2. high,3. low,4. close,5. volume\n"
                + "\n".join(reversed(text(b, "", times=moments(b)).splitlines()))
            )
        ),
    ),
    "Kibot, no header, US dates": (
        "SPY_5min.csv",
        session_bars(500, span=Span.FIVE_MINUTES),
        writing(lambda b: text(b, "", times=moments(b, form="%m/%d/%Y,%H:%M"))),
    ),
    "FirstRate, no header": ("SPY_5min.csv", FIVE, writing(lambda b: text(b, "", times=moments(b)))),
    "Dukascopy, UTC by name": (
        "SPY_5min.csv",
        FIVE,
        writing(
            lambda b: text(
                b, "Gmt time,Open,High,Low,Close,Volume", times=moments(b, zone=UTC, form="%d.%m.%Y %H:%M:%S.000")
            )
        ),
    ),
    "Nasdaq, dollars and thousands": (
        "SPY_1day.csv",
        DAYS,
        writing(
            lambda b: text(b, "Date,Close/Last,Volume,Open,High,Low", times=moments(b, form="%m/%d/%Y"), row=nasdaq)
        ),
    ),
    "Interactive Brokers, zone by name": (
        "SPY_5min.csv",
        FIVE,
        writing(
            lambda b: text(
                b, "date,open,high,low,close,volume", times=moments(b, form="%Y%m%d %H:%M:%S America/New_York")
            )
        ),
    ),
    "spreadsheet, byte-order mark and capitals": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: text(b, "T,O,H,L,C,V"), "utf-8-sig"),
    ),
    "spreadsheet, UTF-16 and tabs": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: text(b, "T,O,H,L,C,V").replace(",", "\t"), "utf-16"),
    ),
    "spreadsheet, semicolons and decimal commas": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: text(b, "t;o;h;l;c;v", times=moments(b), row=european)),
    ),
    "spreadsheet, the delimiter in its first line": ("SPY_5min.csv", FIVE, writing(lambda b: "sep=,\n" + text(b))),
    "days with the year first": ("SPY_1day.csv", DAYS, writing(lambda b: text(b, times=moments(b, form="%Y/%m/%d")))),
    "ZIP as macOS makes it": (
        "SPY_5min.zip",
        FIVE,
        lambda path, b: zipped(path, {"SPY.csv": text(b), "__MACOSX/._SPY.csv": "\0\5", ".DS_Store": "\0"}),
    ),
    "ZIP of several tickers, spans and months": (
        "SPY_5min.zip",
        FIVE,
        lambda path, b: zipped(
            path,
            {
                "2025/SPY_5min_1.csv": text(b[:50]),
                "2025/spy-2.csv": text(b[50:]),
                "QQQ_5min.csv": text(session_bars(78, day="2025-03-04", span=Span.FIVE_MINUTES)),
                "qqq.us.csv": text(session_bars(78, day="2025-03-04", span=Span.FIVE_MINUTES)),
                "SPY_1day.csv": text(DAYS),
                "notes.csv": "nothing of the kind",
            },
        ),
    ),
    "upper-case ending": ("SPY_5min.CSV", FIVE, writing(text)),
    "seconds": ("SPY_5min.csv", FIVE, writing(lambda b: text(b, times=(b.t // 1000).tolist()))),
    "microseconds": ("SPY_5min.csv", FIVE, writing(lambda b: text(b, times=(b.t * 1000).tolist()))),
    "nanoseconds": ("SPY_5min.parquet", FIVE, typed(pa.int64(), 10**6)),
    "ISO with offset": (
        "SPY_5min.csv",
        FIVE,
        writing(lambda b: text(b, times=[from_ms(ms).astimezone(NY).isoformat() for ms in b.t.tolist()])),
    ),
    "Parquet, timestamps in UTC": ("SPY_5min.parquet", FIVE, typed(pa.timestamp("ms", "UTC"))),
    "Parquet, nanosecond timestamps": ("SPY_5min.parquet", FIVE, typed(pa.timestamp("ns", "UTC"), 10**6)),
    "days at midnight UTC": (
        "SPY_1day.csv",
        DAYS,
        writing(lambda b: text(b, times=[f"{at}T00:00:00Z" for at in moments(b, form="%Y-%m-%d")])),
    ),
    "days at their open": (
        "SPY_1day.csv",
        DAYS,
        writing(lambda b: text(b, times=moments(b, form="%Y-%m-%d 09:30:00"))),
    ),
    "days as numbers": ("SPY_1day.csv", DAYS, writing(lambda b: text(b, times=moments(b, form="%Y%m%d")))),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_people_have_comes_in_bar_for_bar(store: RecordedBars, tmp_path: Path, name: str) -> None:
    file, bars, write = SHAPES[name]
    write(tmp_path / file, bars)
    brought = store.import_file(tmp_path / file)
    assert (brought.kept, +brought.rejected) == (len(bars), {})
    came = store.all_bars("SPY", brought.span)
    assert came.t.tolist() == bars.t.tolist()
    for column in "ohlc":
        assert np.allclose(getattr(came, column), getattr(bars, column), rtol=0, atol=1e-9)
    assert came.v.tolist() == bars.v.tolist()
    assert any(word in " ".join(brought.recognised) for word in ("columns", "Lean"))


def put(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


def extended(bars: Bars) -> str:
    """Bars from 08:00 on, quiet before the session, stamped at their ends."""
    t = np.arange(to_ms(new_york("2025-03-11 08:00")), to_ms(new_york("2025-03-11 18:00")), 300_000)
    session = (t >= to_ms(new_york("2025-03-11 09:30"))) & (t < to_ms(new_york("2025-03-11 16:00")))
    v = np.where(session, 100_000.0, 100.0)
    made = Bars(t, t + 300_000, *(np.full(len(t), 100.0) for _ in range(4)), v)
    return text(made, times=(t + 300_000).tolist())


IMPOSSIBLE: dict[str, tuple[str, Callable[[], str], str]] = {
    "five-minute bars named 1min": ("SPY_1min.csv", lambda: text(FIVE), "5 min apart, expected 1 min"),
    "one-minute bars named 5min": ("SPY_5min.csv", lambda: text(MINUTES), "not on the grid of 5min bars.*1 min apart"),
    "days named 5min": ("SPY_5min.csv", lambda: text(DAYS), "outside 04:00 to 20:00 New York"),
    "days at their open named 5min": (
        "SPY_5min.csv",
        lambda: text(DAYS, times=moments(DAYS, form="%Y-%m-%d 09:30:00")),
        "no day has two bars, expected bars 5 min apart",
    ),
    "weeks named 1day": (
        "SPY_1day.csv",
        lambda: text(session_bars(60, span=Span.DAY).where(np.arange(60) % 5 == 0)),
        "5 trading days apart, expected 1",
    ),
    "five-minute bars named 1day": ("SPY_1day.csv", lambda: text(FIVE), "not at the start of a New York day"),
    "weekend": (
        "SPY_5min.csv",
        lambda: text(FIVE, times=(FIVE.t + 4 * 86_400_000).tolist()),
        "not a trading day",
    ),
    "days on a weekend": (
        "SPY_1day.csv",
        lambda: text(DAYS[:6], times=[f"2025-03-{n:02}" for n in (8, 9, 15, 16, 22, 23)]),
        "not a trading day",
    ),
    "stamped at the end": (
        "SPY_5min.csv",
        lambda: text(FIVE, times=(FIVE.t + 300_000).tolist()),
        "stamped at their end.*09:35, expected 09:30.*--stamped end",
    ),
    "stamped at the end, with extended hours": ("SPY_5min.csv", lambda: extended(FIVE), "stamped at their end"),
    "UTC without saying so": (
        "SPY_5min.csv",
        lambda: text(FIVE, times=moments(FIVE, zone=UTC)),
        "no bar at 09:30 New York.*--zone",
    ),
    "Chicago without saying so": (
        "SPY_5min.csv",
        lambda: text(
            session_bars(78 * 3, span=Span.FIVE_MINUTES),
            times=(session_bars(78 * 3, span=Span.FIVE_MINUTES).t - 3_600_000).tolist(),
        ),
        "session's end.*--zone",
    ),
    "nine in ten broken": (
        "SPY_5min.csv",
        lambda: text(
            FIVE, row=lambda at, x: ",".join([at, *(map(repr, x) if int(at) % 3_000_000 == 0 else "0000" + "1")])
        ),
        "of 100 rows rejected",
    ),
    "another ticker": (
        "SPY_5min.csv",
        lambda: text(FIVE, "symbol,t,o,h,l,c,v", row=lambda at, x: ",".join(["QQQ", at, *map(repr, x)])),
        "no rows of SPY; seen were QQQ",
    ),
    "only the ends": ("SPY_5min.csv", lambda: text(FIVE, "close_time,o,h,l,c,v"), "is the end of a bar"),
    "two closes": ("SPY_5min.csv", lambda: text(FIVE, "t,o,h,l,c,Close"), "could both be 'c'"),
    "month or day": (
        "SPY_1day.csv",
        lambda: text(DAYS[:2], times=["03/11/2025", "03/12/2025"]),
        "cannot tell the month from the day",
    ),
    "comma or thousands": (
        "SPY_5min.csv",
        lambda: text(FIVE, "t;o;h;l;c;v", row=lambda at, x: ";".join([at, *["123,456"] * 4, "1"])),
        "cannot tell a thousands separator from a decimal comma",
    ),
    "several units": (
        "SPY_5min.csv",
        lambda: text(FIVE, times=[*(FIVE.t[:50] // 1000).tolist(), *FIVE.t[50:].tolist()]),
        "of several kinds: milliseconds.*seconds",
    ),
    "some with a zone": (
        "SPY_5min.csv",
        lambda: text(FIVE, times=[f"{at}Z" if i % 2 else at for i, at in enumerate(moments(FIVE))]),
        "some times name a zone",
    ),
    "open and high exchanged": ("SPY_5min.csv", lambda: text(FIVE, "t,l,o,h,c,v"), "does not enclose"),
    "two-day bars": ("SPY_2day.csv", lambda: text(DAYS), "bars of 2day are not taken"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_right_is_refused_with_what_was_seen_and_expected(
    store: RecordedBars, tmp_path: Path, name: str
) -> None:
    file, made, words = IMPOSSIBLE[name]
    with pytest.raises(BrokenData, match=rf"(?s)^{file.replace('.', '[.]')}: .*{words}"):
        store.import_file(put(tmp_path, file, made()))
    assert store.series() == []
    assert len(store.all_bars("SPY", file[4:8])) == 0


def test_days_of_another_spacing_inside_a_file_are_left_out(store: RecordedBars, tmp_path: Path) -> None:
    """The 10:05 close of a five-minute bar must not be shown at 10:01 (no look-ahead)."""
    fine = session_bars(390 * 3)
    coarse = session_bars(20, day="2025-03-14", span=Span.FIVE_MINUTES)
    brought = store.import_file(put(tmp_path, "SPY_1min.csv", text(fine) + text(coarse, "")))
    assert brought.rejected == {"on a day whose bars are of a coarser span": 20}
    assert store.all_bars("SPY", Span.MINUTE).equals(fine)


def test_bars_that_have_not_ended_are_left_out_and_counted(store: RecordedBars, tmp_path: Path) -> None:
    file = put(tmp_path, "SPY_5min.csv", text(FIVE))
    found = store.import_files([file], ReadOptions(at=new_york("2025-03-11 12:02")))[0].imported
    assert found is not None
    assert found.rejected == {"not ended yet": 70}
    assert store.all_bars("SPY", Span.FIVE_MINUTES).end[-1] == to_ms(new_york("2025-03-11 12:00"))


def test_files_whose_times_are_declared_come_in(store: RecordedBars, tmp_path: Path) -> None:
    utc = put(tmp_path, "SPY_5min.csv", text(FIVE, times=moments(FIVE, zone=UTC)))
    ends = put(tmp_path, "QQQ_5min.csv", text(FIVE, times=(FIVE.t + 300_000).tolist()))
    assert store.import_files([utc], ReadOptions(zone=ZoneInfo("UTC")))[0].imported
    assert store.import_files([ends], ReadOptions(stamped_at_end=True))[0].imported
    for ticker in ("SPY", "QQQ"):
        assert store.all_bars(ticker, Span.FIVE_MINUTES).equals(FIVE)


def test_extended_hours_stay(store: RecordedBars, tmp_path: Path) -> None:
    t = np.arange(to_ms(new_york("2025-03-11 04:00")), to_ms(new_york("2025-03-11 20:00")), 300_000)
    bars = Bars(t, t + 300_000, *(np.full(len(t), 100.0) for _ in range(4)), np.full(len(t), 5.0))
    assert store.import_file(put(tmp_path, "SPY_5min.csv", text(bars))).kept == 192


def test_naive_times_are_said_to_be_read_as_new_york(store: RecordedBars, tmp_path: Path) -> None:
    brought = store.import_file(put(tmp_path, "SPY_5min.csv", text(FIVE, times=moments(FIVE))))
    assert "times without a zone, read as New York" in brought.recognised


# --- one import, one base ---


def scaled(bars: Bars, factor: float) -> Bars:
    return Bars(bars.t, bars.end, *(getattr(bars, n) * factor for n in "ohlc"), bars.v)


def days_and_minutes(folder: Path, *, days: float = 1.0, minutes: float = 1.0) -> list[Path]:
    """A month of daily and five-minute bars that agree, each times its factor."""
    folder.mkdir(exist_ok=True)
    five = session_bars(78 * 25, span=Span.FIVE_MINUTES)
    o, h, low, c, v = (np.array(column).reshape(25, 78) for column in zip(*prices(five), strict=True))
    daily = DAYS[:25]
    made = Bars(daily.t, daily.end, o[:, 0], h.max(axis=1), low.min(axis=1), c[:, -1], v.sum(axis=1))
    return [
        put(folder, "SPY_1day.csv", text(scaled(made, days))),
        put(folder, "SPY_5min.csv", text(scaled(five, minutes))),
    ]


def test_bars_on_another_base_brought_in_again_move_the_opens_with_them(store: RecordedBars, tmp_path: Path) -> None:
    store.import_files(days_and_minutes(tmp_path / "a"))
    before = (store.official_open("SPY", DAY), store.data_hash())
    assert before[0] == 100.0
    outcomes = store.import_files(days_and_minutes(tmp_path / "b", days=0.5, minutes=0.5))
    assert [bool(outcome.imported) for outcome in outcomes] == [True, True]
    assert store.official_open("SPY", DAY) == 50.0
    assert store.data_hash() != before[1]
    assert "on another base" in outcomes[0].imported.recognised[-2]  # type: ignore[union-attr]


def test_the_base_that_series_share_is_among_what_was_recognised(store: RecordedBars, tmp_path: Path) -> None:
    alone = store.import_file(put(tmp_path, "QQQ_5min.csv", text(FIVE)))
    assert "price base: not known, no other series of this ticker" in alone.recognised[-1]
    other = store.import_file(put(tmp_path, "QQQ_5min_other.csv", text(scaled(FIVE, 0.5))))
    assert other.recognised[-1] == "price base: not compared, this is another vendor's series"
    days, minutes = (outcome.imported for outcome in store.import_files(days_and_minutes(tmp_path / "a")))
    assert days is not None
    assert minutes is not None
    assert re.fullmatch(r"price base: the same as 5min \(\d+ days compared\)", days.recognised[-1])
    assert re.fullmatch(r"price base: the same as 1day \(\d+ days compared\)", minutes.recognised[-1])
    later = store.import_file(put(tmp_path, "SPY_1min.csv", text(session_bars(390))))
    assert re.search(r"the same as 1day \(1 day compared\), 5min \(1 day compared\)", later.recognised[-1])


def extended_day(zone: Any) -> str:
    """Bars from 04:00 to 20:00 of three days, their times the wall's in `zone`."""
    starts = [
        ny(day, time(4)) + timedelta(minutes=5 * n)
        for day in (date(2025, 3, 11), date(2025, 3, 12), date(2025, 3, 13))
        for n in range(192)
    ]
    rows = (
        f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S},10,11,9,10,{1000 if at.hour in (9, 10) else 100}" for at in starts
    )
    return "\n".join(["t,o,h,l,c,v", *rows]) + "\n"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Tokyo"])
def test_a_file_of_another_zone_is_refused_with_the_way_to_name_it(
    store: RecordedBars, tmp_path: Path, zone: str
) -> None:
    """Extended hours, of which many lie outside trading hours then."""
    file = put(tmp_path, "SPY_5min.csv", extended_day(ZoneInfo(zone)))
    refused = store.import_files([file])[0].refused
    assert "read as New York: name another zone with --zone, like --zone UTC" in refused
    assert store.import_files([file], ReadOptions(zone=ZoneInfo(zone)))[0].imported


def test_numbers_whose_moments_are_wrong_are_not_told_to_name_a_zone(store: RecordedBars, tmp_path: Path) -> None:
    file = put(tmp_path, "SPY_5min.csv", text(FIVE, times=(FIVE.t - 7 * 3_600_000).tolist()))
    refused = store.import_files([file])[0].refused
    assert "milliseconds since the epoch (UTC): --zone changes nothing of these" in refused


@pytest.mark.parametrize("name", ["spy_5min.csv", "Spy_5MIN.CSV", "SPY_5Min.csv"])
def test_the_case_of_a_files_name_is_nothing(store: RecordedBars, tmp_path: Path, name: str) -> None:
    brought = store.import_file(put(tmp_path, name, text(FIVE)))
    assert (brought.ticker, brought.span) == ("SPY", "5min")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("together", [True, False])
def test_days_and_minutes_on_different_bases_are_refused_with_both_prices(
    store: RecordedBars, tmp_path: Path, turned: bool, together: bool
) -> None:
    """As yfinance gives them: daily bars adjusted for dividends beside intraday bars that are not."""
    files = days_and_minutes(tmp_path / "a", days=0.987)[:: -1 if turned else 1]
    found = store.import_files(files) if together else [store.import_files([file])[0] for file in files]
    assert not found[-1].imported
    assert "different bases: on 2025-0" in found[-1].refused
    assert "in 1day and" in found[-1].refused
    assert "auto_adjust=False" in found[-1].refused
    assert bool(found[0].imported) is not together, "of one import nothing comes in; what was stored before stays"
    assert len(store.series()) == (0 if together else 1)


def test_the_stored_series_stays_when_another_base_is_refused(store: RecordedBars, tmp_path: Path) -> None:
    store.import_files(days_and_minutes(tmp_path / "a"))
    before = store.data_hash()
    refused = store.import_files(days_and_minutes(tmp_path / "b", days=0.99)[:1])[0].refused
    assert "Nothing of SPY was written" in refused
    assert (store.data_hash(), store.official_open("SPY", DAY)) == (before, 100.0)


def test_a_part_of_a_series_on_another_base_is_refused(store: RecordedBars, tmp_path: Path) -> None:
    store.import_file(put(tmp_path, "SPY_1day.csv", text(DAYS)))
    with pytest.raises(BrokenData, match=r"on another base than the stored bars.*20 stored bars lie outside"):
        store.import_file(put(tmp_path, "SPY_1day.csv", text(scaled(DAYS[20:], 0.9))))
    assert store.all_bars("SPY", Span.DAY).equals(DAYS)


@pytest.mark.parametrize("turned", [False, True])
def test_two_files_of_one_import_that_contradict_each_other_are_both_refused(
    store: RecordedBars, tmp_path: Path, turned: bool
) -> None:
    files = []
    for folder, factor in (("a", 1.0), ("b", 1.1)):
        (tmp_path / folder).mkdir()
        files.append(put(tmp_path / folder, "SPY_5min.csv", text(scaled(FIVE, factor))))
    found = store.import_files(files[:: -1 if turned else 1])
    assert all("of the same import" in outcome.refused for outcome in found)
    assert store.series() == []


def test_parts_of_a_series_that_meet_on_different_bases_are_refused(store: RecordedBars, tmp_path: Path) -> None:
    """No bar is in both, but a split moves the price further than any night."""
    store.import_file(put(tmp_path, "SPY_1day.csv", text(DAYS[:20])))
    for factor in (0.5, 2 / 3, 1.5, 2.0):
        with pytest.raises(
            BrokenData, match=r"on another base than the stored bars beside it: from .* at the close of"
        ):
            store.import_file(put(tmp_path, "SPY_1day.csv", text(scaled(DAYS[20:], factor))))
    assert store.import_file(put(tmp_path, "SPY_1day.csv", text(scaled(DAYS[20:], 1.1)))).kept == 10


@pytest.mark.parametrize("turned", [False, True])
def test_two_files_of_one_import_that_meet_on_different_bases_are_both_refused(
    store: RecordedBars, tmp_path: Path, turned: bool
) -> None:
    parts = [("a", DAYS[:20]), ("b", scaled(DAYS[20:], 0.5))]
    for folder, _ in parts:
        (tmp_path / folder).mkdir()
    files = [put(tmp_path / folder, "SPY_1day.csv", text(bars)) for folder, bars in parts]
    found = store.import_files(files[:: -1 if turned else 1])
    assert all("of the same import are on different bases: from" in outcome.refused for outcome in found)
    assert store.series() == []


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_file_that_meets_stored_bars_on_another_base_costs_no_other_file_of_its_import(
    store: RecordedBars, tmp_path: Path, names: tuple[str, str]
) -> None:
    store.import_file(put(tmp_path, "SPY_1day.csv", text(DAYS[20:])))
    for folder in names:
        (tmp_path / folder).mkdir()
    parts = zip(names, (DAYS[:10], scaled(DAYS[15:20], 0.5)), strict=True)
    right, wrong = store.import_files([put(tmp_path / name, "SPY_1day.csv", text(bars)) for name, bars in parts])
    assert right.imported is not None
    assert "on another base than the stored bars beside it: from" in wrong.refused
    assert len(store.all_bars("SPY", Span.DAY)) == 20


@pytest.mark.parametrize("turned", [False, True])
def test_days_and_minutes_without_a_day_in_common_are_refused_where_the_price_leaps(
    store: RecordedBars, tmp_path: Path, turned: bool
) -> None:
    daily, after = DAYS[:20], from_ms(int(DAYS.t[20])).astimezone(NY).date().isoformat()
    minutes = session_bars(78, day=after, span=Span.FIVE_MINUTES)
    files = [
        put(tmp_path, "SPY_1day.csv", text(scaled(daily, 2.0))),
        put(tmp_path, "SPY_5min.csv", text(minutes)),
    ]
    found = store.import_files(files[:: -1 if turned else 1])
    assert all("between 1day and 5min the price goes from" in outcome.refused for outcome in found)
    put(tmp_path, "SPY_1day.csv", text(daily))
    assert all(outcome.imported for outcome in store.import_files(files))


def test_an_auction_is_no_other_base() -> None:
    """One day's close a percent apart, its open not (SPY 2025-04-09)."""
    day = DAY
    assert disagreement({day: SessionPrices(100.0, 101.0)}, {day: SessionPrices(100.01, 100.0)}) is None
    found = disagreement({day: SessionPrices(100.0, 101.0)}, {day: SessionPrices(98.0, 99.0)})
    assert found is not None
    assert (found.one, found.other) == (101.0, 99.0)


def test_real_series_are_on_one_base(recorded: RecordedBars) -> None:
    """The measured noise between vendors passes: the fixture's imports were not refused."""
    assert {ticker for ticker, *_ in recorded.series()} == {"SPY", "QQQ", "IWM"}


# --- the last import holds, memory is bounded, nonsense heals ---


def test_the_last_import_holds(store: RecordedBars, tmp_path: Path) -> None:
    first, second = (put(tmp_path / name, "SPY_5min.csv", text(bars)) for name, bars in made_twice(tmp_path))
    store.import_file(first)
    hash_of_first = store.data_hash()
    store.import_file(second)
    again = store.import_file(first)
    assert not again.is_unchanged
    assert store.data_hash() == hash_of_first
    assert store.import_file(first).is_unchanged


def test_a_file_that_an_earlier_importer_read_is_read_again(
    store: RecordedBars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path, "SPY_5min.csv", text(FIVE))
    with monkeypatch.context() as patched:
        patched.setattr(importer, "IMPORTER", importer.IMPORTER - 1)
        store.import_file(file)
    assert not store.import_file(file).is_unchanged
    assert store.import_file(file).is_unchanged


def made_twice(folder: Path) -> list[tuple[str, Bars]]:
    made = [("a", FIVE), ("b", scaled(FIVE, 1.5))]
    for name, _ in made:
        (folder / name).mkdir()
    return made


def old_database(path: Path, span: str, t: Sequence[int]) -> None:
    """A database as earlier versions left it, with starts that no bar can have."""
    RecordedBars(path, Calendar()).close()
    with sqlite3.connect(path) as db:
        for ticker in ("SPY", "QQQ", "IWM"):
            db.executemany("INSERT INTO bars VALUES (?, ?, ?, 1, 1, 1, 1, 1)", [(ticker, span, ms) for ms in t])
            db.execute("INSERT INTO series VALUES (?, ?, ?, ?, ?, 'x')", (ticker, span, len(t), t[0], t[-1]))
            db.execute("INSERT INTO opens VALUES (?, '2025-03-11', 1)", (ticker,))
    db.close()


@pytest.mark.parametrize("scale", [1_000_000, 1_000, 0.001])
def test_nonsense_of_an_earlier_version_does_not_stop_the_server_and_heals(tmp_path: Path, scale: float) -> None:
    path = tmp_path / "recorded.sqlite3"
    old_database(path, "5min", [int(ms * scale) for ms in FIVE.t])
    app = create_app(server_settings(market="recorded", data_dir=tmp_path))
    assert app.test_client().get("/livez").status_code == 200
    recorded = RecordedBars(path, Calendar())
    recorded.import_file(put(tmp_path, "SPY_5min.csv", text(FIVE)))
    assert recorded.all_bars("SPY", Span.FIVE_MINUTES).equals(FIVE)
    assert next(rows for ticker, _, rows, *_ in recorded.series() if ticker == "SPY") == len(FIVE)
    recorded.close()


def test_bars_of_another_span_from_an_earlier_version_heal(tmp_path: Path) -> None:
    path = tmp_path / "recorded.sqlite3"
    old_database(path, "1min", FIVE.t.tolist())
    recorded = RecordedBars(path, Calendar())
    minutes = session_bars(300, day="2025-03-13")
    recorded.import_file(put(tmp_path, "SPY_1min.csv", text(minutes)))
    assert recorded.all_bars("SPY", Span.MINUTE).equals(minutes)
    recorded.close()


MEASURE = """
import sys
from pathlib import Path
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
def peak():  # KiB; unlike getrusage's, without what the parent had before it became this program
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
store = RecordedBars(Path(sys.argv[1]), Calendar())
before = peak()
kept = store.import_file(Path(sys.argv[2])).kept
print(kept, before, peak())
"""

on_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")


def grown_by(folder: Path, bars: int) -> float:
    """MiB that the import of a CSV file of so many one-minute bars adds to a process."""
    file = put(folder, "SPY_1min.csv", text(session_bars(bars, day="2015-01-05")))
    command = [sys.executable, "-c", MEASURE, str(folder / f"{bars}.sqlite3"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    kept, before, after = map(int, done.stdout.split())
    assert kept == bars
    return (after - before) / 1024


@on_linux
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    assert grown_by(tmp_path, 60_000) < 45


@on_linux
@pytest.mark.soak
def test_memory_of_600_000_rows_is_bounded(tmp_path: Path) -> None:
    assert grown_by(tmp_path, 600_000) < 80


# --- nothing wrong comes in silently ---

TRUTH = {
    Span.MINUTE: session_bars(390 * 2),
    Span.FIVE_MINUTES: session_bars(78 * 4, span=Span.FIVE_MINUTES),
    Span.DAY: DAYS,
}
HEADERS = ["t,o,h,l,c,v", "Date,Open,High,Low,Close,Volume", "timestamp,open,low,high,close,volume", "T;O;H;L;C;V", ""]
TIME_FORMS: dict[str, Callable[[Bars, int], list[str]]] = {
    "seconds": lambda b, shift: [str((ms + shift) // 1000) for ms in b.t.tolist()],
    "milliseconds": lambda b, shift: [str(ms + shift) for ms in b.t.tolist()],
    "microseconds": lambda b, shift: [str((ms + shift) * 1000) for ms in b.t.tolist()],
    "nanoseconds": lambda b, shift: [str((ms + shift) * 10**6) for ms in b.t.tolist()],
    "naive": lambda b, shift: [from_ms(ms + shift).astimezone(NY).strftime("%Y-%m-%d %H:%M:%S") for ms in b.t.tolist()],
    "utc": lambda b, shift: [from_ms(ms + shift).isoformat() for ms in b.t.tolist()],
    "dates": lambda b, shift: [from_ms(ms + shift).astimezone(NY).strftime("%Y-%m-%d") for ms in b.t.tolist()],
    "US": lambda b, shift: [from_ms(ms + shift).astimezone(NY).strftime("%m/%d/%Y %H:%M") for ms in b.t.tolist()],
    "European": lambda b, shift: [from_ms(ms + shift).astimezone(NY).strftime("%d/%m/%Y %H:%M") for ms in b.t.tolist()],
}
MINUTE_MS = 60_000
SHIFTS = [
    0,
    0,
    0,
    MINUTE_MS,
    5 * MINUTE_MS,
    -5 * 60 * MINUTE_MS,
    4 * 60 * MINUTE_MS,
    60 * MINUTE_MS,
    3 * 86_400_000,
    30_000,
]


@settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    span=st.sampled_from(list(TRUTH)),
    named=st.sampled_from(["1min", "5min", "30min", "1hour", "1day"]),
    header=st.sampled_from(HEADERS),
    form=st.sampled_from(list(TIME_FORMS)),
    shift=st.sampled_from(SHIFTS),
    turned=st.booleans(),
)
def test_whatever_a_file_says_either_the_true_bars_come_in_or_none(
    tmp_path_factory: pytest.TempPathFactory, span: Span, named: str, header: str, form: str, shift: int, turned: bool
) -> None:
    truth, folder = TRUTH[span], tmp_path_factory.mktemp("fuzz")
    delimiter = ";" if ";" in header else ","
    order = "olhcv" if "low,high" in header else "ohlcv"
    columns = [getattr(truth, name).tolist() for name in order]
    rows = [
        [at, *map(repr, x)] for at, x in zip(TIME_FORMS[form](truth, shift), zip(*columns, strict=True), strict=True)
    ]
    lines = [delimiter.join(row) for row in (rows[::-1] if turned else rows)]
    file = put(folder, f"SPY_{named}.csv", "\n".join([*([header] if header else []), *lines]))
    store = RecordedBars(folder / "recorded.sqlite3", Calendar())
    outcome = store.import_files([file])[0]
    came = store.all_bars("SPY", named)
    store.close()
    assert (outcome.imported is None) == (len(came) == 0)
    if outcome.imported is None:
        assert outcome.refused.startswith(file.name)
        assert span != named or shift or (form == "dates" and span != Span.DAY), outcome.refused
    else:
        assert named == span
        assert came.equals(truth), json.dumps([form, shift])


@pytest.mark.parametrize("name", ["spy.csv", "SPY_5min.csv", "bars.csv", "SPY_5min", "a/SPY.txt"])
def test_text_of_a_csv_in_a_zip_is_read_like_any_other(store: RecordedBars, tmp_path: Path, name: str) -> None:
    zipped(tmp_path / "SPY_5min.zip", {name: text(FIVE)})
    brought = store.import_file(tmp_path / "SPY_5min.zip")
    assert brought.kept == len(FIVE)
    assert f"read of the ZIP: {name}" in brought.recognised


def test_of_folders_that_are_named_after_tickers_one_is_read(store: RecordedBars, tmp_path: Path) -> None:
    zipped(tmp_path / "SPY_5min.zip", {"all/QQQ/2025.csv": text(scaled(FIVE, 1.5)), "all/SPY/2025.csv": text(FIVE)})
    brought = store.import_file(tmp_path / "SPY_5min.zip")
    assert "read of the ZIP: all/SPY/2025.csv" in brought.recognised
    assert store.all_bars("SPY", Span.FIVE_MINUTES).equals(FIVE)


@pytest.mark.parametrize(
    "names",
    [
        ["QQQ_5min.csv"],
        ["QQQ.csv"],
        ["qqq.csv"],
        ["qqq.us.txt"],
        ["QQQ-2025.csv"],
        ["QQQ/2025.csv"],
        ["SPY_1min.csv"],
        ["QQQ_5min.csv", "IWM_5min.csv"],
    ],
)
def test_a_zip_of_another_series_is_refused(store: RecordedBars, tmp_path: Path, names: list[str]) -> None:
    zipped(tmp_path / "SPY_5min.zip", {name: text(FIVE) for name in names})
    refused = store.import_files([tmp_path / "SPY_5min.zip"])[0].refused
    assert refused == f"SPY_5min.zip: the ZIP holds {', '.join(sorted(names))}; expected SPY_5min.csv"
    assert len(store.all_bars("SPY", Span.FIVE_MINUTES)) == 0


@pytest.mark.parametrize("name", ["SPY_5min.csv", "SPY_1day.csv"])
def test_a_line_that_is_no_bar_costs_no_other_line(store: RecordedBars, tmp_path: Path, name: str) -> None:
    """The header of a second file behind the first one, and a total."""
    made = {"SPY_5min.csv": text(FIVE), "SPY_1day.csv": text(DAYS, times=moments(DAYS, form="%Y%m%d"))}[name]
    brought = store.import_file(put(tmp_path, name, made + "t,o,h,l,c,v\nTotal,,,,,\n"))
    assert (brought.kept, brought.rejected.total()) == (made.count("\n") - 1, 2)


def test_times_that_cannot_be_read_are_shown_with_one_that_can(store: RecordedBars, tmp_path: Path) -> None:
    refused = store.import_files(
        [put(tmp_path, "SPY_1day.csv", text(DAYS, times=moments(DAYS, form="%d-%b-%y")))],
    )[0].refused
    assert refused.endswith("'11-Mar-25' is no time that can be read; 2025-03-12 09:30 would be one")
