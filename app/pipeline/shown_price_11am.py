"""The 11:00 price that is shown first on a day, which does not move from then on (ruling T2)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from app.errors import PredictError
from app.market.calendar import Session
from app.market.market_data import MarketData
from app.model.features import LATE_FROM, decision_moment, price_11am_of
from app.signals.store import SignalStore


class ShownPrice11am:
    """P11, USD, as it is shown: out of the record, else of the bars."""

    def __init__(self, source: MarketData, store: SignalStore) -> None:
        self._source = source
        self._store = store

    def at(self, ticker: str, session: Session, at: datetime, *, fetch: bool, keep: bool) -> float | None:
        """P11 as the day's record has it, else of the bars that signals read; None until all of these up to 11:00 are here
        (ruling T2): once shown it does not move, whatever bars come late. `keep`: enter it into the record (live)."""
        eleven = decision_moment(session, LATE_FROM)
        if at < eleven:
            return None
        recorded = self.recorded(ticker, session, at)
        if recorded is not None:
            return recorded
        with suppress(PredictError):
            if fetch:
                self._source.is_complete(ticker, eleven)
            known = self._source.peek(ticker, eleven) if self._source.is_ready(ticker, eleven) else None
            price = None if known is None else price_11am_of(known.bars.since(session.open), session)
            return self._store.put_eleven(ticker, session.day, price) if keep and price is not None else price
        return None

    def recorded(self, ticker: str, session: Session, at: datetime) -> float | None:
        """P11 as the day's record has it by `at`: the first one shown."""
        if at < decision_moment(session, LATE_FROM):
            return None
        return self._store.get_eleven(ticker, session.day)
