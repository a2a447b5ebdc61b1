"""The price and what belongs to it, as far as it is known at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from app.errors import PredictError, Upstream
from app.market.bars import Bars, Span, from_ms
from app.market.calendar import Calendar, Session
from app.market.expectations import BarsAsOf
from app.market.freshness import newest_end
from app.market.inception import has_begun
from app.market.market_data import MarketData
from app.pipeline.gates import hides_newer
from app.pipeline.states import Quote


class Quotes:
    """Reads quotes from the bars of the day."""

    def __init__(self, source: MarketData, calendar: Calendar) -> None:
        self._source = source
        self._calendar = calendar

    def at(self, ticker: str, at: datetime, *, fetch: bool) -> tuple[Quote, PredictError | None]:
        """What floats at `at`, as far as it is known, and the fault that hides the rest in an open market. `fetch`: call the
        provider for it while the market is closed too."""
        session = self._calendar.session_at(at)
        if session is not None and session.is_open(at):
            return self._when_open(ticker, session, at)
        return self._when_closed(ticker, at, fetch=fetch), None

    def _when_open(self, ticker: str, session: Session, at: datetime) -> tuple[Quote, PredictError | None]:
        """What floats in an open market, as far as it is known, and the fault that hides the rest."""
        official: float | None = None
        with suppress(PredictError):
            official = self._source.open_of(ticker, at).price
        try:
            bars = self._newest(ticker, session, at)
            _refuse_expired(bars, session, at)
        except PredictError as exc:
            last = self._source.peek(ticker, at)
            as_of = None if last is None else newest_end(last.bars)
            return Quote(today_open=official, as_of=as_of, stale=True), exc
        return _quote_of(bars, session, official), None

    def _newest(self, ticker: str, session: Session, at: datetime) -> BarsAsOf:
        """The finest bars of the day that there are."""
        if self._source.plan.signal_span is not Span.MINUTE:
            with suppress(PredictError):
                minutes = self._source.minutes(ticker, at)
                if _has_price(minutes, session):
                    return minutes
        return self._source.intraday(ticker, at)

    def _newest_in_memory(self, ticker: str, session: Session, at: datetime) -> BarsAsOf | None:
        """The same without a call; None unless all series of the day are in memory, so that what is shown does not depend on
        which one came first."""
        known, minutes = self._source.peek(ticker, at), self._source.peek(ticker, at, Span.MINUTE)
        if known is None or minutes is None:
            return None
        return minutes if _has_price(minutes, session) else known

    def _when_closed(self, ticker: str, at: datetime, *, fetch: bool) -> Quote:
        """Closed: what the day came to. Without `fetch` only what is known, without a call (v1-contract.md 4.1)."""
        session = self._calendar.session_at(at)
        if session is None or at < session.open or not has_begun(ticker, session.day):
            return Quote()
        fetch = self.may_fetch(ticker, at, fetch)
        known, as_of, stale = None, None, False
        with suppress(PredictError):
            if fetch:
                self._source.open_of(ticker, at)
        try:
            newest = self._newest if fetch else self._newest_in_memory
            known = newest(ticker, session, at)
            if known is not None:
                _refuse_expired(known, session, at)
        except PredictError as exc:
            as_of, stale = None if known is None else newest_end(known.bars), hides_newer(exc)
            known = None
        official = self.known_open(ticker, at)
        unknown = Quote(today_open=official, as_of=as_of, stale=stale)
        return unknown if known is None else _quote_of(known, session, official)

    def may_fetch(self, ticker: str, at: datetime, fetch: bool) -> bool:
        """Whether what is shown while the market is closed may be fetched: if `fetch` says so, and on a local market, where a
        fetch calls no provider, once the ticker's bars have been asked for."""
        return fetch or (self._source.plan.is_local and self._source.peek(ticker, at) is not None)

    def minutes(self, ticker: str, session: Session, at: datetime) -> BarsAsOf:
        """The day's one-minute bars. Raises Upstream once the session has begun if they are too old to tell its price."""
        minutes = self._source.minutes(ticker, at)
        _refuse_expired(minutes, session, at)
        return minutes

    def bar_ends(self, ticker: str, session: Session, at: datetime) -> Sequence[datetime]:
        """When the regular bars of a session ended, up to `at`. Raises PredictError."""
        regular = self._newest(ticker, session, at).bars.until(session.close).since(session.open)
        return [from_ms(end) for end in regular.end.tolist()]

    def known_open(self, ticker: str, at: datetime) -> float | None:
        """The official open if it is known and, at `at`, was there to be known."""
        session = self._calendar.session_at(at)
        official_open = (
            self._source.opens.known(ticker, session.day) if session is not None and at >= session.open else None
        )
        return None if official_open is None else official_open.price


def _has_price(known: BarsAsOf, session: Session) -> bool:
    return len(known.bars.since(session.open)) > 0 and not known.expired


def _refuse_expired(known: BarsAsOf, session: Session, at: datetime) -> None:
    """Raises Upstream for bars of a session, open or over, that have stood still for too long to say what its price is."""
    if known.expired and len(known.bars) and at >= session.open:
        raise Upstream(f"the newest bar ended at {newest_end(known.bars):%H:%M}")


def _quote_of(known: BarsAsOf, session: Session, official: float | None) -> Quote:
    regular: Bars = known.bars.until(session.close).since(session.open)
    if not len(regular):
        return Quote(today_open=official, stale=known.stale, missing=known.missing)
    high, low = float(regular.h.max()), float(regular.l.min())
    newest, price = newest_end(regular), float(regular.c[-1])
    return Quote(price, official, len(regular), newest, known.stale, high, low, missing=known.missing)
