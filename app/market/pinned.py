"""A feed that does not change while a server runs: an import under a running server must not mix two sets of bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

from app.errors import Unavailable
from app.market.bars import Bars, Span
from app.market.recorded import RecordedBars

CHANGED = "other bars were imported after the server started: restart it to serve them"
SPANS = (Span.MINUTE, Span.FIVE_MINUTES, Span.DAY)
"""The spans that answers read."""

Series = Mapping[str, tuple[str, ...]]


class PinnedBars:
    """The recorded bars as they were at the start. A read raises Unavailable (part `data`) once its ticker's bars are others;
    what was read before stays in memory and ages. `on_change` is called the first time that happens."""

    def __init__(self, recorded: RecordedBars, on_change: Callable[[], None]) -> None:
        self._recorded = recorded
        self._on_change = on_change
        self._pinned = self._series()
        self._changed: set[str] = set()

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        bars = self._recorded.bars(ticker, span, first_ms, end_ms)
        self._refuse_changed(ticker)
        return bars

    def official_open(self, ticker: str, day: date) -> float | None:
        price = self._recorded.official_open(ticker, day)
        self._refuse_changed(ticker)
        return price

    def _refuse_changed(self, ticker: str) -> None:
        """Raises Unavailable if an import has changed the bars of a ticker. It is called after each read: what was read before
        an import was committed is of the old bars."""
        if ticker not in self._changed and self._series().get(ticker) != self._pinned.get(ticker):
            if not self._changed:
                self._on_change()
            self._changed.add(ticker)
        if ticker in self._changed:
            raise Unavailable(CHANGED, part="data", code="INSUFFICIENT_DATA")

    def _series(self) -> Series:
        """Returns by ticker the hashes of the series that answers read."""
        hashes: dict[str, tuple[str, ...]] = {}
        for ticker, span, *_, sha256 in self._recorded.series():
            if span in SPANS:
                hashes[ticker] = (*hashes.get(ticker, ()), f"{span} {sha256}")
        return hashes
