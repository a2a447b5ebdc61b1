"""Polygon's side of the wire for markets that are not Polygon: answers its paths from a feed of bars.

The recorded and the demo market are this transport over their feeds, so that all modes run the same client. What the
market's clock has not reached is never shown: no bar that has not ended, and of the running day's daily bar only the
official open and the range so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, Protocol

import numpy as np

from app.clock import Clock
from app.market.bars import Bars, Span, no_bars, to_ms
from app.market.calendar import Calendar, midnight_ms
from app.market.polygon import PAGE_LIMIT, PATH_SPAN, Reply

AGGREGATES = re.compile(r"/v2/aggs/ticker/([^/]+)/range/(\d+/[a-z]+)/([^/]+)/([^/]+)")
SNAPSHOT = re.compile(r"/v2/snapshot/locale/us/markets/stocks/tickers/([^/]+)")
SPAN_OF_PATH = {path: span for span, path in PATH_SPAN.items()}
FINEST_FIRST = (Span.MINUTE, Span.FIVE_MINUTES)


class Feed(Protocol):
    """Where a simulated market's bars come from. It may know the future; the wire does not pass it on."""

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        """Bars that start in [first_ms, end_ms); none for what it does not have."""
        ...

    def official_open(self, ticker: str, day: date) -> float | None:
        """The official opening price of a day, if known."""
        ...


class NoFeed:
    """A feed without bars: what is left of a recorded market whose file cannot be opened."""

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        return no_bars()

    def official_open(self, ticker: str, day: date) -> float | None:
        return None


class Wire:
    """A transport that answers like Polygon at the moment `clock()`."""

    def __init__(self, feed: Feed, calendar: Calendar, clock: Clock) -> None:
        self._feed = feed
        self._calendar = calendar
        self._clock = clock

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        now = self._clock()
        if match := AGGREGATES.fullmatch(path):
            return self._aggregates(*match.groups(), limit=int(params.get("limit", 5000)), now=now)
        if match := SNAPSHOT.fullmatch(path):
            return self._snapshot(match[1], now)
        return Reply(404, {"status": "NOT_FOUND", "error": "no such path"})

    def _aggregates(self, ticker: str, path_span: str, first: str, last: str, *, limit: int, now: datetime) -> Reply:
        span = SPAN_OF_PATH.get(path_span)
        if span is None:
            return Reply(400, {"status": "ERROR", "error": "this span is not served"})
        try:
            window = _start_ms(first), _end_ms(last)
        except ValueError:
            return Reply(400, {"status": "ERROR", "error": "bad date"})
        rows = list(self._rows(ticker, span, window, now))
        body: dict[str, Any] = {
            "ticker": ticker,
            "status": "OK",
            "adjusted": True,
            "resultsCount": min(len(rows), limit),
        }
        if rows:
            body["results"] = rows[:limit]
        if len(rows) > limit:
            rest = f"/v2/aggs/ticker/{ticker}/range/{path_span}/{rows[limit]['t']}/{last}"
            body["next_url"] = f"https://api.polygon.io{rest}?limit={min(limit, PAGE_LIMIT)}"
        return Reply(200, body)

    def _snapshot(self, ticker: str, now: datetime) -> Reply:
        bar = next(self._running_day(ticker, now), None)
        if bar is None:
            return Reply(404, {"status": "NOT_FOUND", "error": "ticker not found"})
        return Reply(200, {"status": "OK", "ticker": {"ticker": ticker, "day": bar}})

    def _rows(self, ticker: str, span: Span, window: tuple[int, int], now: datetime) -> Iterator[dict[str, Any]]:
        yield from _as_rows(self._feed.bars(ticker, span, *window).until(now))
        if span is Span.DAY and window[0] <= to_ms(now) < window[1]:
            yield from self._running_day(ticker, now)

    def _running_day(self, ticker: str, now: datetime) -> Iterator[dict[str, Any]]:
        """The daily bar of a session that is open: its official open and the range so far."""
        session = self._calendar.session_at(now)
        if session is None or not session.is_open(now):
            return
        price = self._feed.official_open(ticker, session.day)
        if price is None:
            return
        bars = self._finest(ticker, to_ms(session.open), to_ms(session.close)).until(now)
        yield {
            "t": midnight_ms(session.day),
            "o": price,
            "h": float(np.max(bars.h, initial=price)),
            "l": float(np.min(bars.l, initial=price)),
            "c": float(bars.c[-1]) if len(bars) else price,
            "v": float(bars.v.sum()),
        }

    def _finest(self, ticker: str, first_ms: int, end_ms: int) -> Bars:
        found = (self._feed.bars(ticker, span, first_ms, end_ms) for span in FINEST_FIRST)
        return next((bars for bars in found if len(bars)), no_bars())


def _as_rows(bars: Bars) -> Iterator[dict[str, Any]]:
    columns = (getattr(bars, name).tolist() for name in ("t", "o", "h", "l", "c", "v"))
    for t, o, h, low, c, v in zip(*columns, strict=True):
        yield {"t": t, "o": o, "h": h, "l": low, "c": c, "v": v}


def _start_ms(text: str) -> int:
    return int(text) if text.isdigit() else midnight_ms(date.fromisoformat(text))


def _end_ms(text: str) -> int:
    """First moment after the inclusive `to` of a request: a day or a moment."""
    if text.isdigit():
        return int(text) + 1
    return midnight_ms(date.fromordinal(date.fromisoformat(text).toordinal() + 1))
