"""Brings past days in, a page of bars at a time, through the same client and budget as everything else, so that replays of
these days never call the provider. What is there already costs nothing, so a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from app.market.bars import Span
from app.market.market_data import MarketData
from app.market.polygon import SESSIONS_PER_PAGE


@dataclass(frozen=True, slots=True)
class Brought:
    """One call's worth: how many bars of a span there are of a ticker for the days first .. last; `done` of `calls` calls. The
    daily bars reach further back: they are those that replays of these days need."""

    ticker: str
    span: Span
    first: date
    last: date
    bars: int
    done: int
    calls: int


def plan_of(source: MarketData, tickers: Sequence[str], days: Sequence[date]) -> list[tuple[str, date, date]]:
    """The windows of `days` that are still missing, one call each: (ticker, first day, last day), oldest first."""
    return [
        (ticker, first, last)
        for ticker in tickers
        for first, last in _pages(source.fetcher.missing(ticker, days[0], days[-1]), days)
    ]


def _pages(missing: Sequence[date], days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last of the missing days of each page, whose sessions are at most those of one answer of the provider."""
    number = {day: i for i, day in enumerate(days)}
    pages: list[tuple[date, date]] = []
    for day in missing:
        if pages and number[day] - number[pages[-1][0]] < SESSIONS_PER_PAGE:
            pages[-1] = pages[-1][0], day
        else:
            pages.append((day, day))
    return pages


def backfill(source: MarketData, tickers: Sequence[str], days: Sequence[date]) -> Iterator[Brought]:
    """Bring `days` (trading days that are over, ascending) of `tickers` in, and the daily bars that their replays need.

    Raises what the source raises; what came before stays.
    """
    windows = plan_of(source, tickers, days)
    calls = len(windows) + len(tickers)
    for done, ticker in enumerate(tickers, start=1):
        yield Brought(ticker, Span.DAY, days[0], days[-1], source.fetcher.bring_days(ticker, days[0]), done, calls)
    for done, (ticker, first, last) in enumerate(windows, start=len(tickers) + 1):
        yield Brought(ticker, Span.MINUTE, first, last, source.fetcher.bring(ticker, first, last), done, calls)
