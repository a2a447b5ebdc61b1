"""A feed that does not change while a server runs: an import under a running server must not mix two sets of bars."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from app.errors import Unavailable
from app.market.bars import Bars, Span
from app.market.recorded import RecordedBars

CHANGED = "other bars were imported after the server started: restart it to serve them"


class PinnedBars:
    """The recorded bars as they were at the start. Every read raises Unavailable (part `data`) once they are others; what was
    read before stays in memory and ages. `on_change` is called the first time that happens."""

    def __init__(self, recorded: RecordedBars, on_change: Callable[[], None]) -> None:
        self._recorded = recorded
        self._on_change = on_change
        self._hash = recorded.data_hash()
        self._is_changed = False

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        found = self._recorded.bars(ticker, span, first_ms, end_ms)
        self._refuse_changed()
        return found

    def official_open(self, ticker: str, day: date) -> float | None:
        found = self._recorded.official_open(ticker, day)
        self._refuse_changed()
        return found

    def _refuse_changed(self) -> None:
        """Asked after each read: what was read before an import was committed is of the old bars."""
        if not self._is_changed and self._recorded.data_hash() != self._hash:
            self._is_changed = True
            self._on_change()
        if self._is_changed:
            raise Unavailable(CHANGED, part="data", code="INSUFFICIENT_DATA")
