"""The signal of the hour: out of the record, else computed and locked, else the gate that stands before it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import datetime

from app.clock import Clock
from app.errors import PredictError, TryLater
from app.market.calendar import NY, Calendar, Session, ny_day
from app.market.inception import first_day_of, has_begun
from app.market.market_data import MarketData
from app.market.opens import MissingOpen
from app.model.features import decision_moment
from app.pipeline.agreement import Agreement
from app.pipeline.decisions import Decisions
from app.pipeline.gates import NotYet, gate_of
from app.pipeline.quotes import Quotes
from app.pipeline.shown_price_11am import ShownPrice11am
from app.pipeline.states import Quote, TickerSignal
from app.signals.lock import decision_hour, previous_hour, still_stands
from app.signals.policy import SUPPORTED, Decision, Gate, session_of_hour
from app.signals.store import SignalStore


class HourlySignals:
    """Signals by the hour, locked in the record."""

    def __init__(
        self,
        source: MarketData,
        decisions: Decisions,
        quotes: Quotes,
        prices_11am: ShownPrice11am,
        store: SignalStore,
        calendar: Calendar,
        clock: Clock,
        emit: Callable[..., None],
    ) -> None:
        self._reads_record = True
        self._source = source
        self._decisions = decisions
        self._agreement = Agreement(source, decisions, calendar)
        self._quotes = quotes
        self._prices_11am = prices_11am
        self._store = store
        self._calendar = calendar
        self._clock = clock
        self._emit = emit

    def without_record(self) -> HourlySignals:
        """The same, which compute every decision anew, also one that stands in the record. Ask it with `keep=False` alone."""
        signals = copy(self)
        signals._reads_record = False
        return signals

    def signal(self, ticker: str, at: datetime, *, keep: bool = True, fetch: bool = False) -> TickerSignal:
        """The signal of one ticker with its quote. Never raises for a fault of market or model.

        keep: enter a decision made now into the record (live); replay does not (ruling S7). fetch: call the provider for what
        is shown while the market is closed.
        """
        fetch = fetch or not keep
        signal = self.hourly(ticker, at, keep=keep)
        known = ticker in SUPPORTED and has_begun(ticker, ny_day(at))
        quote, fault = self._quotes.at(ticker, at, fetch=fetch) if known else (Quote(), None)
        return self.quoted(signal, at, quote, fault, keep=keep, fetch=fetch)

    def hourly(self, ticker: str, at: datetime, *, keep: bool) -> TickerSignal:
        """The signal of the hour alone, without what floats. Gates in the order of ruling T6. keep: as for `signal`."""
        if ticker not in SUPPORTED:
            return _gated(ticker, at, Gate.UNSUPPORTED_TICKER, f"{ticker} is not supported", None)
        session = self._calendar.session_at(at)
        if session is None or not session.is_open(at):
            return _gated(ticker, at, Gate.MARKET_CLOSED, "", None)
        if not has_begun(ticker, session.day):
            before = f"{ticker} began to trade on {first_day_of(ticker)}"
            return _gated(ticker, at, Gate.NO_MARKET_DATA, before, None)
        return self._open_signal(ticker, session, at, keep)

    def quoted(
        self,
        signal: TickerSignal,
        at: datetime,
        quote: Quote,
        fault: PredictError | None,
        *,
        keep: bool,
        fetch: bool = False,
    ) -> TickerSignal:
        """The signal of the hour with its quote, and, where there is a decision, with whether the bars known now give it. Where
        there is none, with the 11:00 price and with `fault`, which hides the quote, as what may be its cause. keep, fetch: as
        for `signal`."""
        if signal.decision is not None:
            return replace(signal, quote=quote, bars_agree=self._agrees(signal, signal.decision, quote))
        price = self._price_11am(signal, at, keep=keep, fetch=fetch)
        return replace(signal, quote=quote, cause=signal.cause or fault, gated_price_11am=price)

    def _agrees(self, signal: TickerSignal, decision: Decision, quote: Quote) -> bool | None:
        """Whether the bars known now give the decision. None as long as the newest bar of the answer ended before its hour, so
        that answers that rest on the same bars say the same."""
        if quote.as_of is None or quote.as_of < decision.locked_at:
            return None
        return self._agreement.of(decision) if signal.recorded else True

    def _price_11am(self, signal: TickerSignal, at: datetime, *, keep: bool, fetch: bool) -> float | None:
        ticker, session = signal.ticker, self._calendar.session_at(at)
        if session is None or ticker not in SUPPORTED or not has_begun(ticker, session.day):
            return None
        fetch = session.is_open(at) or self._quotes.may_fetch(ticker, at, fetch)
        return self._prices_11am.at(ticker, session, at, fetch=fetch, keep=keep)

    def _open_signal(self, ticker: str, session: Session, at: datetime, keep: bool) -> TickerSignal:
        """In an open market: the hour's locked signal, that of the hour before while its time runs, or a gate."""
        hour = decision_hour(session, at)
        if hour is None:
            return _gated(ticker, at, Gate.INSUFFICIENT_DATA, "the first signal comes at 10:00", None)
        try:
            return self._locked(ticker, session, hour, keep=keep, live=keep)
        except PredictError as exc:
            return self._without(ticker, session, hour, at, exc, keep)

    def _locked(self, ticker: str, session: Session, hour: int, *, keep: bool, live: bool) -> TickerSignal:
        """The hour's signal from the record, or computed now, and then locked if it is to be kept. `live`: it is shown live."""
        kept = self._recorded(ticker, session, hour)
        if kept is not None:
            return TickerSignal(ticker, kept.session, Quote(), kept, recorded=True)
        decision = self._about_first_11am(ticker, session, hour, live)
        if keep:
            decision = self._store.put(decision)
            self._emit("signal_locked", ticker=ticker, day=str(session.day), hour=hour, action=decision.action)
        return TickerSignal(ticker, decision.session, Quote(), decision, recorded=keep)

    def _recorded(self, ticker: str, session: Session, hour: int) -> Decision | None:
        if not self._reads_record:
            return None
        kept = self._store.get(ticker, session.day, hour)
        self._emit("looked_up", cache="record", outcome="miss" if kept is None else "hit")
        return kept

    def _about_first_11am(self, ticker: str, session: Session, hour: int, live: bool) -> Decision:
        """The decision of an hour, computed about the 11:00 price that was shown first on its day. If none was shown before,
        the price is that of its own bars, which then enters the record (live)."""
        first = self._prices_11am.recorded(ticker, session, decision_moment(session, hour))
        decision = self._decisions.compute(ticker, session, hour, first)
        if decision.price_11am is None or not live:
            return decision
        kept = self._store.put_eleven(ticker, session.day, decision.price_11am)
        if kept == decision.price_11am:
            return decision
        return self._decisions.compute(ticker, session, hour, kept)  # another process has shown another price meanwhile

    def _without(
        self, ticker: str, session: Session, hour: int, at: datetime, why: PredictError, live: bool
    ) -> TickerSignal:
        """What is said when the hour's signal cannot be had: live for a while the hour before (ruling S3), then the gate."""
        waiting = (
            live
            and isinstance(why, NotYet | TryLater)
            and still_stands(session, hour, at, self._source.plan.delay + self._source.observed_plan.clock_lead())
        )
        before = previous_hour(session, hour) if waiting else None
        kept = None if before is None else self._earlier(ticker, session, before)
        if kept is not None:
            return replace(kept, waiting=True)
        if waiting and before is None and isinstance(why, NotYet):
            return _gated(ticker, at, Gate.INSUFFICIENT_DATA, "the bars up to 10:00 are still coming in", None)
        gate = self._gate_of(why, ticker, session, at)
        self._emit("gated", ticker=ticker, gate=gate.value, detail=why.message)
        return _gated(ticker, at, gate, why.message, why)

    def _earlier(self, ticker: str, session: Session, hour: int) -> TickerSignal | None:
        try:
            return self._locked(ticker, session, hour, keep=False, live=True)
        except PredictError:
            return None

    def _gate_of(self, why: PredictError, ticker: str, session: Session, at: datetime) -> Gate:
        if (
            isinstance(why, MissingOpen)
            and why.code == Gate.MISSING_DAILY_BAR
            and self._has_no_bars(ticker, session, at)
        ):
            return Gate.NO_MARKET_DATA
        return gate_of(why)

    def _has_no_bars(self, ticker: str, session: Session, at: datetime) -> bool:
        """A trading day of which no bar exists (ruling M7): a past one, or one of a market that is not live."""
        if self._source.plan.market.is_live and session.day == ny_day(self._clock()):
            return False
        try:
            return not len(self._source.intraday(ticker, at).bars)
        except PredictError:
            return False


def _gated(ticker: str, at: datetime, gate: Gate, detail: str, cause: PredictError | None) -> TickerSignal:
    name = session_of_hour(at.astimezone(NY).hour)
    return TickerSignal(ticker, name, Quote(), gate=gate, detail=detail, cause=cause)
