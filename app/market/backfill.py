"""Brings past days in: month by month through the same client and budget as everything else, so that replays of these days
never call the provider. What is there already costs nothing, so a run that was broken off goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from app.market.bars import Span
from app.market.market_data import MarketData


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
    """The windows that are still missing, one call each: (ticker, first day, last day), oldest first."""
    windows = []
    for ticker in tickers:
        missing = source.fetcher.missing(ticker, days[0], days[-1])
        for _, month in groupby(missing, key=lambda day: (day.year, day.month)):
            in_month = list(month)
            windows.append((ticker, in_month[0], in_month[-1]))
    return windows


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
