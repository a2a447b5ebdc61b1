"""A transport that answers Polygon's paths from a feed of bars, for markets that are not Polygon.

The recorded and the demo market are this transport over their feeds, so that all modes run the same client. What the
market's clock has not reached is never shown: no bar that has not ended, and of the running day's daily bar only the
official open and the range so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol

import numpy as np

from app.clock import Clock
from app.market.bars import Bars, Span, from_ms, no_bars, to_ms
from app.market.calendar import ONE_DAY, Calendar, Session, midnight_ms, ny, ny_day
from app.market.polygon import NANOSECONDS_IN_MS, PAGE_LIMIT, PATH_SPAN, Reply

AGGREGATES = re.compile(r"/v2/aggs/ticker/([^/]+)/range/(\d+/[a-z]+)/([^/]+)/([^/]+)")
SNAPSHOT = re.compile(r"/v2/snapshot/locale/us/markets/stocks/tickers/([^/]+)")
MARKET_STATUS = "/v1/marketstatus/now"
UPCOMING = "/v1/marketstatus/upcoming"
SPAN_OF_PATH = {path: span for span, path in PATH_SPAN.items()}
FINEST_FIRST = (Span.MINUTE, Span.FIVE_MINUTES)
EXCHANGES = ("NYSE", "NASDAQ")
EXTENDED_HOURS = (time(4), time(20))
"""First and last moment of trading around a session (polygon.md 3.1)."""

ANNOUNCED_DAYS = 365


class BarFeed(Protocol):
    """The bars of a simulated market. A feed may know the future; the transport does not pass it on."""

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        """Returns the bars that start in [first_ms, end_ms); none where it has none."""
        ...

    def official_open(self, ticker: str, day: date) -> float | None:
        """Returns the official opening price of a day; None if it is not known."""
        ...


class EmptyFeed:
    """A feed without bars, for a recorded market whose file cannot be opened."""

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        return no_bars()

    def official_open(self, ticker: str, day: date) -> float | None:
        return None


class FeedTransport:
    """A transport that answers like Polygon at the moment `clock()`. `delay`: how late its bars are, as those of some plans
    are."""

    def __init__(self, feed: BarFeed, calendar: Calendar, clock: Clock, delay: timedelta = timedelta(0)) -> None:
        self._feed = feed
        self._calendar = calendar
        self._clock = clock
        self._delay = delay

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        clock = self._clock()
        now = clock - self._delay
        if match := AGGREGATES.fullmatch(path):
            return self._aggregates(*match.groups(), limit=params.get("limit", "5000"), now=now)
        if match := SNAPSHOT.fullmatch(path):
            return self._snapshot(match[1], now)
        if path == MARKET_STATUS:
            return Reply(200, self._market_status(clock))
        if path == UPCOMING:
            return Reply(200, list(self._announced(ny_day(clock))))
        return Reply(404, {"status": "NOT_FOUND", "error": "no such path"})

    def _aggregates(self, ticker: str, path_span: str, first: str, last: str, *, limit: str, now: datetime) -> Reply:
        span = SPAN_OF_PATH.get(path_span)
        if span is None:
            return Reply(400, {"status": "ERROR", "error": "this span is not served"})
        try:
            window, most = (_start_ms(first), _end_ms(last)), int(limit)
        except (ValueError, OverflowError):
            return Reply(400, {"status": "ERROR", "error": "bad date or limit"})
        rows = list(self._rows(ticker, span, window, now))
        body: dict[str, Any] = {
            "ticker": ticker,
            "status": "OK",
            "adjusted": True,
            "resultsCount": min(len(rows), most),
        }
        if rows:
            body["results"] = rows[:most]
        if len(rows) > most:
            rest = f"/v2/aggs/ticker/{ticker}/range/{path_span}/{rows[most]['t']}/{last}"
            body["next_url"] = f"https://api.polygon.io{rest}?limit={min(most, PAGE_LIMIT)}"
        return Reply(200, body)

    def _snapshot(self, ticker: str, now: datetime) -> Reply:
        bar = next(self._running_day(ticker, now), None)
        if bar is None:
            return Reply(404, {"status": "NOT_FOUND", "error": "ticker not found"})
        updated_ns = to_ms(now) * NANOSECONDS_IN_MS
        minute = {"t": to_ms(now) // Span.MINUTE.ms * Span.MINUTE.ms}
        return Reply(
            200, {"status": "OK", "ticker": {"ticker": ticker, "day": bar, "min": minute, "updated": updated_ns}}
        )

    def _market_status(self, now: datetime) -> dict[str, Any]:
        early, late = self._extended(now)
        market = "extended-hours" if early or late else "open" if self._calendar.is_open(now) else "closed"
        return {
            "market": market,
            "exchanges": {name.lower(): market for name in EXCHANGES},
            "serverTime": now.isoformat(timespec="seconds"),
            "earlyHours": early,
            "afterHours": late,
        }

    def _extended(self, now: datetime) -> tuple[bool, bool]:
        """Whether the market trades before its session, and whether after it."""
        session = self._calendar.session_at(now)
        if session is None:
            return False, False
        first, end = (ny(session.day, at) for at in EXTENDED_HOURS)
        return first <= now < session.open, session.close <= now < end

    def _announced(self, first: date) -> Iterator[dict[str, str]]:
        """The holidays and early closes of a year from `first` on, one row per exchange (polygon.md 2, call 10)."""
        for number in range(ANNOUNCED_DAYS):
            row = _announcement(first + number * ONE_DAY, self._calendar)
            if row is not None:
                yield from ({**row, "exchange": name} for name in EXCHANGES)

    def _rows(self, ticker: str, span: Span, window: tuple[int, int], now: datetime) -> Iterator[dict[str, Any]]:
        end_ms = min(window[1], to_ms(now) + 1)
        yield from _as_rows(self._feed.bars(ticker, span, window[0], end_ms).until(now))
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
        """Returns the finest series that has bars in [first_ms, end_ms)."""
        series = (self._feed.bars(ticker, span, first_ms, end_ms) for span in FINEST_FIRST)
        return next((bars for bars in series if len(bars)), no_bars())


def _announcement(day: date, calendar: Calendar) -> dict[str, str] | None:
    """Returns the announcement of a weekday that is closed or closes early; None for any other day."""
    session = calendar.session(day)
    if session is None:
        return None if day.weekday() >= 5 else {"date": day.isoformat(), "name": "Holiday", "status": "closed"}
    return _early_close(session) if session.is_short else None


def _early_close(session: Session) -> dict[str, str]:
    hours = {"open": _utc(session.open), "close": _utc(session.close)}
    return {"date": session.day.isoformat(), "name": "Early close", "status": "early-close", **hours}


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _as_rows(bars: Bars) -> Iterator[dict[str, Any]]:
    columns = (getattr(bars, name).tolist() for name in ("t", "o", "h", "l", "c", "v"))
    for t, o, h, low, c, v in zip(*columns, strict=True):
        yield {"t": t, "o": o, "h": h, "l": low, "c": c, "v": v}


def _start_ms(text: str) -> int:
    return _moment_ms(text) if text.isdigit() else midnight_ms(date.fromisoformat(text))


def _end_ms(text: str) -> int:
    """Returns the first moment, ms, after the inclusive `to` of a request, which is a day or a moment."""
    if text.isdigit():
        return _moment_ms(text) + 1
    return midnight_ms(date.fromordinal(date.fromisoformat(text).toordinal() + 1))


def _moment_ms(text: str) -> int:
    """Returns a moment, ms. Raises OverflowError for one that no calendar reaches."""
    return to_ms(from_ms(int(text)))
