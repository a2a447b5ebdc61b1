"""Recognises columns by the names that libraries and vendors give them, and files without a header. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.errors import BrokenData
from app.market.importing.names import same_ticker

BAR = ("o", "h", "l", "c", "v")
NEEDED = ("t", *BAR)
NAMES = {
    "o": {"o", "open"},
    "h": {"h", "high"},
    "l": {"l", "low"},
    "c": {"c", "close", "close/last"},
    "v": {"v", "volume", "vol"},
    "ticker": {"ticker", "symbol", "act_symbol", "sym"},
    "end": {"end", "end_time", "close_time", "window_end", "bar_end", "time_close"},
}
TIMES = {
    *("t", "ts", "timestamp", "datetime", "date_time", "window_start", "start", "start_time", "open_time", "begins_at"),
    *("date", "time", "gmt_time", "time_utc", "utc_time", "datetime_utc", "timestamp_utc", "date_utc", "utc"),
}
UNNAMED = {"", "index", "unnamed:_0", "__index_level_0__", "level_0"}
"""What pandas calls an index without a name; it is the time where no other column is."""

PANDAS_PAIR = re.compile(r"\('([^']*)', '([^']*)'\)")


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the columns are. at: position by role (`t`, or `date` and `time`; o h l c v; perhaps `ticker`); names: the
    file's own words for them, by role; left_out: columns that are not read; utc: the time column's name says UTC."""

    at: Mapping[str, int]
    names: Mapping[str, str]
    left_out: tuple[str, ...] = ()
    utc: bool = False
    lean: bool = False

    def describe(self) -> str:
        """Returns what was recognised, in words."""
        roles = ("t", "date", "time", *BAR, "ticker")
        used = ", ".join(f"{role} = {self.names[role]!r}" for role in roles if role in self.at)
        return f"columns {used}" + (f"; left out {', '.join(map(repr, self.left_out))}" if self.left_out else "")


def recognise(header: Sequence[str], ticker: str) -> Shape:
    """Returns the shape of a header. Raises BrokenData: a column is missing, or two could be the same one."""
    picked = _of_ticker(header, ticker)
    roles: dict[str, list[int]] = {}
    for position, name in picked.items():
        roles.setdefault(_role(name), []).append(position)
    at = {role: _only(role, roles, header) for role in BAR}
    if "ticker" in roles:
        at["ticker"] = _only("ticker", roles, header)
    at |= _time_columns(roles, picked, header)
    names = {role: header[i] for role, i in at.items()}
    left_out = tuple(header[i] or "(unnamed)" for i in picked if i not in at.values())
    return Shape(
        at, names, left_out, utc=any("utc" in plain(header[at[r]]) or "gmt" in plain(header[at[r]]) for r in at)
    )


def without_header(row: Sequence[str]) -> Shape | None:
    """Returns the shape of a first row that already holds a bar: time o h l c v, or date time o h l c v; None if it is a
    header."""
    if any(re.search(r"[A-Za-z]{3}", cell) and not _is_moment(cell) for cell in row) or len(row) not in (6, 7):
        return None
    if not all(re.fullmatch(r"[\d.,]+(e[+-]?\d+)?", cell.strip()) for cell in row[-5:]):
        return None
    times = ("t",) if len(row) == 6 else ("date", "time")
    at = {role: i for i, role in enumerate((*times, *BAR))}
    lean = bool(re.fullmatch(r"\d{8} \d\d:\d\d", row[0])) and all(cell.isdigit() for cell in row[1:])
    return Shape(at, {role: f"column {i + 1}, no header" for role, i in at.items()}, lean=lean)


def two_level_header(rows: Sequence[Sequence[str]]) -> tuple[list[str], int] | None:
    """Returns the names and the number of header rows of a pandas table with (price, ticker) columns, as yfinance's download
    writes it."""
    if len(rows) < 3 or len(rows[0]) != len(rows[1]) or len(rows[0]) < 3:
        return None
    upper, lower = rows[0], rows[1]
    if not _all_prices(upper[1:]):
        upper, lower = lower, upper
    if not _all_prices(upper[1:]) or _all_prices(lower[1:]) or any(_is_moment(cell) for cell in lower):
        return None
    named = not any(cell.strip() for cell in rows[2][1:])
    index = rows[2][0] if named else ""
    return [index, *(str((p, t)) for p, t in zip(upper[1:], lower[1:], strict=True))], 3 if named else 2


def plain(name: str) -> str:
    """Returns a column's name without what differs from vendor to vendor: case, spaces, brackets, Alpha Vantage's numbers."""
    name = name.strip().strip("\ufeff").strip("<>\"' ").lower()
    return re.sub(r"[ \-]+", "_", re.sub(r"^\d+\.\s*", "", name)).rstrip(".")


def _of_ticker(header: Sequence[str], ticker: str) -> dict[int, str]:
    """Returns names by position; of columns named (price, ticker) only those of our ticker. Raises BrokenData if it is not
    there."""
    pairs = {i: match for i, name in enumerate(header) if (match := PANDAS_PAIR.fullmatch(name.strip()))}
    priced = {i: _price_first(m) for i, m in pairs.items()}
    tickers = sorted({t for _, t in priced.values() if t})
    if tickers and not any(same_ticker(t, ticker) for t in tickers):
        raise BrokenData(f"the file is of {', '.join(tickers[:10])}, its name says {ticker}")
    own = {i: price for i, (price, t) in priced.items() if not t or same_ticker(t, ticker)}
    return {i: name for i, name in {**dict(enumerate(header)), **own}.items() if i in own or i not in pairs}


def _price_first(match: re.Match[str]) -> tuple[str, str]:
    one, two = match.groups()
    return (two, one) if _role(two) in BAR and _role(one) not in BAR else (one, two)


def _role(name: str) -> str:
    word = plain(name)
    if word in UNNAMED:
        return "unnamed"
    if word in TIMES:
        return word if word in ("date", "time") else "t"
    return next((role for role, names in NAMES.items() if word in names), "left out")


def _only(role: str, roles: Mapping[str, list[int]], header: Sequence[str]) -> int:
    positions = roles.get(role, [])
    if not positions:
        seen = ", ".join(repr(name) for name in header[:12])
        raise BrokenData(
            f"column {role!r} is missing; needed are {', '.join(NEEDED)} under a usual name; seen were {seen}"
        )
    if len(positions) > 1:
        raise BrokenData(
            f"columns {' and '.join(repr(header[i]) for i in positions)} could both be {role!r}; leave one out"
        )
    return positions[0]


def _time_columns(roles: Mapping[str, list[int]], picked: Mapping[int, str], header: Sequence[str]) -> dict[str, int]:
    stamps = roles.get("t", [])
    if not stamps and len(roles.get("date", [])) == len(roles.get("time", [])) == 1:
        return {"date": roles["date"][0], "time": roles["time"][0]}
    positions = [*stamps, *roles.get("date", []), *roles.get("time", [])] or roles.get("unnamed", [])
    if not positions and "end" in roles:
        raise BrokenData(f"column {header[roles['end'][0]]!r} is the end of a bar; its start is needed")
    return {"t": _only("t", {"t": positions}, [picked.get(i, "") for i in range(len(header))])}


def _all_prices(cells: Sequence[str]) -> bool:
    known = set().union(*(NAMES[role] for role in BAR)) | {"adj_close", "dividends", "stock_splits", "capital_gains"}
    return bool(cells) and all(plain(cell) in known for cell in cells)


def _is_moment(cell: str) -> bool:
    return bool(re.match(r"\s*\d", cell))
