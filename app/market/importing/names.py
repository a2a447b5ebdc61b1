"""Reads ticker and span out of a file's name (ruling M5), and the length of a span."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.errors import BrokenData
from app.market.inception import INCEPTION

KINDS = (".parquet", ".csv", ".csv.gz", ".zip")
NAME = re.compile(r"(?P<ticker>[A-Z][A-Z.]{0,9})_(?P<span>\d+(?:min|hour|day)(?:_[a-z0-9]+)?)", re.IGNORECASE)
SPAN = re.compile(r"(\d+)(min|hour|day)")
UNIT_MS = {"min": 60_000, "hour": 3_600_000, "day": 86_400_000}
TICKER_ALONE = re.compile(r"[A-Z]{1,5}")
MAX_NAMED = 3
LONGEST_INTRADAY_MS = 4 * UNIT_MS["hour"]


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """A file and what its name says. kind: one of KINDS, in lower case."""

    path: Path
    ticker: str
    span: str
    kind: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def is_daily(self) -> bool:
        return self.span.startswith("1day")


def series_file(path: Path) -> SeriesFile:
    """Returns what a file's name says, in whatever case. Raises BrokenData if it is no `{TICKER}_{span}` with a known ending,
    or if its span is impossible."""
    kind = next((kind for kind in sorted(KINDS, key=len, reverse=True) if path.name.lower().endswith(kind)), None)
    match = NAME.fullmatch(path.name[: -len(kind)]) if kind else None
    if not kind or not match:
        raise BrokenData(
            f"{path.name}: the name must be TICKER_SPAN.parquet, .csv, .csv.gz or .zip, like SPY_5min.parquet or IWM_1day.csv"
        )
    ticker, span = match["ticker"].upper(), match["span"].lower()
    _refuse_odd_span(path.name, span)
    return SeriesFile(path, ticker, span, kind)


def same_ticker(text: str, ticker: str) -> bool:
    """Whether a vendor's word means our ticker: SPY.US, ^VIX, spy."""
    bare = text.strip().upper().lstrip("^").removesuffix(".US")
    return bare in (ticker, ticker.replace(".", "-"), ticker.replace(".", "/"))


def entries_of(archive: Sequence[str], file: SeriesFile) -> list[str]:
    """Returns which files of a ZIP hold the series, by their names: what an operating system adds is left out, and so is what
    is named after another ticker or span, or is not named after the ticker where others are. Raises BrokenData if none is
    left of several."""
    seen = [name for name in archive if not name.endswith("/") and not _is_hidden(name)]
    seen = seen if len(seen) == 1 else sorted(name for name in seen if name.lower().endswith(".csv"))
    own = [name for name in seen if not _names_another(name, file)]
    if seen and not own:
        raise BrokenData(f"the ZIP holds {some(seen)}; expected {file.ticker}_{file.span}.csv")
    return [name for name in own if _names(_stem(name), file.ticker)] or own


def some(names: Sequence[str]) -> str:
    """Returns a few names and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _stem(name: str) -> str:
    """Returns the name of a file of a ZIP, without folder and ending."""
    return re.sub(r"\.(csv|txt|zip)$", "", PurePosixPath(name).name, flags=re.IGNORECASE)


def _names(text: str, ticker: str) -> bool:
    """Whether a name has a ticker among its words."""
    return any(same_ticker(word, ticker) for word in re.split(r"[^A-Za-z.]+", text))


def _names_another(name: str, file: SeriesFile) -> bool:
    """Whether a file of a ZIP says another ticker, or another span of this one; or whether its folders or itself name another
    supported fund, and not this ticker."""
    stem = _stem(name)
    match = NAME.fullmatch(stem)
    if match is not None:
        return not same_ticker(match["ticker"], file.ticker) or span_ms(match["span"].lower()) != span_ms(file.span)
    if TICKER_ALONE.fullmatch(stem):
        return not same_ticker(stem, file.ticker)
    words = f"{PurePosixPath(name).parent} {stem}"
    return not _names(words, file.ticker) and any(_names(words, fund) for fund in INCEPTION)


def series_of(file: Path) -> tuple[str, str]:
    """Returns ticker and span out of a file's name. Raises BrokenData."""
    named = series_file(file)
    return named.ticker, named.span


def span_ms(span: str) -> int:
    """Length of a bar in ms by its span's name (`5min`, `1hour`, `5min_consolidated`)."""
    number, unit = SPAN.match(span).groups()  # type: ignore[union-attr]
    return int(number) * UNIT_MS[unit]


def in_words(ms: int) -> str:
    """Returns a length of time in words: `5 min`, `1 day`."""
    for unit in ("day", "hour", "min"):
        if ms >= UNIT_MS[unit] and ms % UNIT_MS[unit] == 0:
            return f"{ms // UNIT_MS[unit]} {unit}"
    return f"{ms / 1000:g} s"


def _refuse_odd_span(name: str, span: str) -> None:
    number, unit = SPAN.match(span).groups()  # type: ignore[union-attr]
    length = int(number) * UNIT_MS[unit]
    if length == 0 or (unit == "day" and int(number) != 1) or (unit != "day" and length > LONGEST_INTRADAY_MS):
        raise BrokenData(f"{name}: bars of {span} are not taken; a bar lasts from 1min to 4hour, or 1day")
