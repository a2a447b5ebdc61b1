"""Fetch > predict > decide > lock: the one path from bars to a signal that every door stands on.

Everything takes `at`; live is the same call as replay with `at` = now. Failures become gates per ticker, so that one
bad ticker never takes the others down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TypeVar

from app.clock import Clock
from app.errors import BadRequest, BudgetSpent, NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.live.interest import Interest
from app.market.bars import Bars, Span, no_bars
from app.market.calendar import NY, ONE_DAY, Calendar, Session, TradingHours, ny_day
from app.market.completeness import missing_days, resumes_after
from app.market.expectations import Known
from app.market.freshness import is_behind, newest_end
from app.market.inception import first_day_of, has_begun
from app.market.opens import MissingOpen
from app.market.plan import Plan
from app.market.single_flight import deadline
from app.market.source import FETCH, Source
from app.model.artefact import ModelSet
from app.model.features import (
    LATE_FROM,
    MIN_DAYS,
    Features,
    decision_moment,
    price_11am_of,
    v6_features,
)
from app.model.price_11am import with_price_11am
from app.model.v6 import V6Model
from app.signals.daily_signal import DailySignal, Vix, daily_signal, vix
from app.signals.lock import decision_hour, previous_hour, still_stands, validity
from app.signals.policy import (
    SUPPORTED,
    Basis,
    Decision,
    Gate,
    SessionName,
    atr,
    best,
    decide,
    session_of_hour,
    shown_active,
    time_multiplier_of,
)
from app.signals.store import SignalStore
from app.structure import (
    ENOUGH_DAYS,
    Intraday,
    Probabilities,
    Swing,
    View,
    analyse,
    analyse_swing,
    view_at,
)
from app.structure.indicators import Breakdown, breakdown
from app.structure.ranges import Ranges, price_ranges
from app.structure.volatility import Volatility, volatility
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")
Series = tuple[str, Sequence[Span], date]
"""What an answer reads: a ticker, spans and the day that they are known by."""

READ_S, COLD_S = 5.0, 10.0
"""How long a request may wait for bars, all in all, real seconds (ruling A2): where memory holds the series that it reads, of
whatever age, and where it does not, or a past moment is replayed."""

FEAR_TICKER = "VIXY"
DAILY_BAR_AFTER = timedelta(minutes=15)
"""How long after the close the day's own daily bar is asked for (polygon.md 5)."""

EXTENDED_HOURS = timedelta(hours=4)
FIRST_HOUR = 4
"""New York hour at which a day's first bars may trade."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price and what belongs to it, which change while a signal is locked. Prices are in USD, `high` and `low` are those of
    the session so far, `as_of` is the end of the newest bar known, and `missing` is how many bars the session of a day that
    is over lacks."""

    price: float | None = None
    today_open: float | None = None
    bars: int = 0
    as_of: datetime | None = None
    stale: bool = False
    high: float | None = None
    low: float | None = None
    price_11am: float | None = None
    missing: int = 0


@dataclass(frozen=True, slots=True)
class TickerSignal:
    """The answer for one ticker at one moment: a locked decision, or the gate that stands before it.

    detail: why, in words; cause: the fault behind the gate, if there is one; recorded: the decision comes out of the
    record (else it was computed for this answer); waiting: it is the hour before's, this hour's bars are not here yet.
    """

    ticker: str
    session: SessionName
    market: Quote
    decision: Decision | None = None
    gate: Gate | None = None
    detail: str = ""
    cause: PredictError | None = None
    recorded: bool = False
    waiting: bool = False

    @property
    def bars(self) -> int:
        """How many regular-session bars it rests on."""
        return self.market.bars if self.decision is None else self.decision.bars_analyzed


@dataclass(frozen=True, slots=True)
class Structure:
    """Structure and signal of one ticker at one moment; live and replay give the same.

    price: USD, `today_price`, else the last daily close; None from the open on once a bar of the day is overdue or its fetch
    failed, and while newer bars are known that are too old to tell the price.
    today_price: USD, the day's last regular price, else its last minute's close; None before a bar of the day has ended.
    intraday: None with fewer than 30 minute bars (`minutes` tells how many); swing: None with fewer than 30 daily bars.
    fault: why daily bars that should be there are not; minutes_fault: the same of minute bars, the days are served.
    """

    ticker: str
    signal: TickerSignal
    price: float | None = None
    today_price: float | None = None
    today_open: float | None = None
    intraday: Intraday | None = None
    swing: Swing | None = None
    minutes: int = 0
    days: int = 0
    fault: PredictError | None = None
    minutes_fault: PredictError | None = None

    @property
    def bars(self) -> int:
        """How many bars of the day it rests on: the minutes, else those of the signal (ruling M6)."""
        return self.minutes or self.signal.bars

    @property
    def broken(self) -> PredictError | None:
        """Whatever is missing that should be there, days first."""
        return self.fault or self.minutes_fault


@dataclass(frozen=True, slots=True)
class Board:
    """Trading directions at one moment."""

    at: datetime
    market_open: bool
    session: SessionName
    time_multiplier: float
    hours: TradingHours
    tickers: Mapping[str, TickerSignal]
    best: Decision | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The daily signal of one ticker (v1-contract.md 4.7) and the hourly one that it rests on. progress: share of the
    session gone."""

    signal: TickerSignal
    daily: DailySignal
    progress: float


class MarketClosed(Unavailable):
    """There is no hourly signal because the market is closed."""

    def __init__(self) -> None:
        super().__init__("the market is closed", part="data", code=Gate.INSUFFICIENT_DATA.value)


class _NotYet(PredictError):
    """The feed has not delivered everything up to the decision hour."""

    code = "DATA_FETCH_ERROR"


class Pipeline:
    """Joins market, model and policy. `emit(event, **fields)` hears of locks and gates."""

    def __init__(
        self,
        source: Source,
        models: ModelSet,
        store: SignalStore,
        calendar: Calendar,
        clock: Clock,
        emit: Callable[..., None],
        stages: Stages = NULL_STAGES,
    ) -> None:
        self._stages = stages
        self.interest = Interest()
        self.models = models
        self.store = store
        self.clock = clock
        self._source = source
        self._calendar = calendar
        self._emit = emit

    @property
    def plan(self) -> Plan:
        return self._source.plan

    def steady_until(self, at: datetime) -> datetime:
        """Until when an answer about `at` stands if nothing comes in and nothing breaks. All turns of the policy (open, close,
        hours, the patience with an hour's bars) lie on full minutes or on a bar's becoming final."""
        return self._source.steady_until(at)

    def fetches(self) -> int:
        """How many fetches from the provider are under way or queued."""
        return self._source.fetches()

    def board(self, tickers: Sequence[str], at: datetime) -> Board:
        """Trading directions of `tickers`; those that are not supported get the gate that says so.

        Raises Unavailable if the market is open and no model is loaded at all, or nothing can be known without a key.
        """
        market_open = self._calendar.is_open(at)
        if market_open and not self.models.models:
            raise Unavailable("no model is loaded", part="models", code="MODEL_UNAVAILABLE")
        self.interest.request(_known_of(tickers), at)
        with deadline(self._prepare(self._current(tickers, at) if market_open else [])):
            signals = {ticker: self.signal(ticker, at) for ticker in tickers}
        _refuse_without_key(list(signals.values()))
        session = self._calendar.session_at(at)
        hour = decision_hour(session, at) if session is not None and session.is_open(at) else None
        self._stages.annotate(tickers=",".join(tickers), hour=hour, source=self.plan.source)
        clock_hour = at.astimezone(NY).hour
        return Board(
            at=at,
            market_open=market_open,
            session=session_of_hour(clock_hour),
            time_multiplier=time_multiplier_of(clock_hour if hour is None else hour),
            hours=self._calendar.hours_at(at),
            tickers=signals,
            best=best([s.decision for s in signals.values() if s.decision is not None]),
        )

    def structures(self, tickers: Sequence[str], at: datetime, *, keep: bool = True) -> dict[str, Structure]:
        """Structure and signal of `tickers`, in that order. Raises Unavailable as `board` does for a missing key."""
        if keep:
            self.interest.request(_known_of(tickers), at)
        limit = self._prepare(self._current(tickers, at))
        with deadline(limit if keep else COLD_S):
            found = {ticker: self.structure(ticker, at, keep=keep) for ticker in tickers}
        _refuse_without_key([replace(s.signal, cause=s.fault) for s in found.values()])
        return found

    def unread(self, tickers: Sequence[str], at: datetime) -> dict[str, Structure]:
        """`tickers` on a day that is not traded: nothing is read, nothing is known."""
        return {ticker: Structure(ticker, self.signal(ticker, at)) for ticker in tickers}

    def structure(self, ticker: str, at: datetime, *, keep: bool = True) -> Structure:
        """Northstar, RPE and swing of one ticker with its signal. Never raises for a fault of market or model."""
        signal = self.signal(ticker, at, keep=keep, fetch=True)
        if signal.gate is Gate.UNSUPPORTED_TICKER or not has_begun(ticker, ny_day(at)):
            return Structure(ticker, signal)
        minutes, minutes_fault = self._minutes(ticker, at)
        try:
            view = self._view(ticker, at, minutes.bars)
        except PredictError as exc:
            market = replace(signal.market, stale=signal.market.stale or _hides_newer(exc))
            price, opened = market.price, market.today_open
            return Structure(
                ticker, replace(signal, market=market), price, today_price=price, today_open=opened, fault=exc
            )
        stale = (minutes.stale and len(minutes.bars) > 0) or is_behind(view.completed, ny_day(at), at, self._calendar)
        stale = stale or _hides_newer(minutes_fault)
        signal = replace(signal, market=_aged(signal.market, view, stale))
        with self._stages("compute-structure", ticker=ticker):
            intraday = analyse(ticker, view, v6=_probabilities(signal), stages=self._stages) if view.resolved else None
            swing = analyse_swing(ticker, view) if len(view.days) >= ENOUGH_DAYS else None
        today_price = signal.market.price or _last_close(view.minutes)
        return Structure(
            ticker=ticker,
            signal=signal,
            price=today_price or _price_of_days(signal.market, view, minutes.stale or _hides_newer(minutes_fault)),
            today_price=today_price,
            today_open=self._known_open(ticker, at),
            intraday=intraday,
            swing=swing,
            minutes=len(view.minutes),
            days=len(view.days),
            minutes_fault=minutes_fault,
        )

    def overviews(self, tickers: Sequence[str], at: datetime) -> tuple[dict[str, Overview | PredictError], Vix | None]:
        """Daily signals, or per ticker why there is none, and the state of the volatility ETF."""
        self.interest.request(_known_of(tickers), at)
        signals = self._current(tickers, at) if self._calendar.is_open(at) else []
        with deadline(self._prepare([*signals, *self._days([FEAR_TICKER], at)])):
            return self._each(tickers, lambda ticker: self._overview(ticker, at)), self._fear(at)

    def breakdowns(self, tickers: Sequence[str], at: datetime) -> dict[str, Breakdown | PredictError]:
        """The twelve daily indicators (v1-contract.md 5.1), or per ticker why not."""
        with deadline(self._prepare(self._days(_known_of(tickers), at))):
            return self._each(tickers, lambda ticker: breakdown(self._completed(ticker, at)))

    def volatilities(self, tickers: Sequence[str], at: datetime) -> dict[str, Volatility | PredictError]:
        """The volatility meter (v1-contract.md 5.3), or per ticker why not."""
        with deadline(self._prepare(self._days(_known_of(tickers), at))):
            return self._each(tickers, lambda ticker: volatility(self._completed(ticker, at)))

    def ranges(self, tickers: Sequence[str], at: datetime) -> dict[str, Ranges | PredictError]:
        """The day's price ranges (v1-contract.md 5.4), or per ticker why not."""
        self.interest.request(_known_of(tickers), at)
        days = [
            self._calendar.previous_trading_day(ny_day(at)),
            *([ny_day(at)] if self._calendar.session_at(at) else []),
        ]
        with deadline(self._prepare([(ticker, [Span.MINUTE], day) for ticker in _known_of(tickers) for day in days])):
            return self._each(tickers, lambda ticker: self._ranges(ticker, at))

    def signal(self, ticker: str, at: datetime, *, keep: bool = True, fetch: bool = False) -> TickerSignal:
        """The signal of one ticker. Gates in the order of ruling T6; never raises for a fault of market or model.

        keep: enter a decision made now into the record (live); replay does not (ruling S7). fetch: call the provider for what
        is shown while the market is closed.
        """
        name = session_of_hour(at.astimezone(NY).hour)
        if ticker not in SUPPORTED:
            return TickerSignal(
                ticker, name, Quote(), gate=Gate.UNSUPPORTED_TICKER, detail=f"{ticker} is not supported"
            )
        session = self._calendar.session_at(at)
        if session is None or not session.is_open(at):
            market = self._market_when_closed(ticker, at, fetch=fetch or not keep, keep=keep)
            return TickerSignal(ticker, name, market, gate=Gate.MARKET_CLOSED)
        if not has_begun(ticker, session.day):
            before = f"{ticker} began to trade on {first_day_of(ticker)}"
            return self._gated(ticker, at, Gate.NO_MARKET_DATA, before, None)
        signal = self._open_signal(ticker, session, at, keep)
        market, fault = self._market(ticker, session, at)
        if signal.decision is None:
            market = replace(market, price_11am=self._price_11am(ticker, session, at, fetch=True, keep=keep))
        return replace(signal, market=market, cause=signal.cause or (None if signal.decision else fault))

    def compute(self, ticker: str, session: Session, hour: int, price_11am: float | None = None) -> Decision:
        """The decision of an hour from its bars, neither read from the record nor written to it. `price_11am`: P11, USD, where
        one was shown before; else it is that of the bars.

        Raises MissingOpen, Unavailable, TryLater or NotEntitled: the gates, in the order of policy.md 3.
        """
        at = decision_moment(session, hour)
        official = self._source.open_of(ticker, at).price
        daily = self._source.daily(ticker, session.day)
        if not self._source.has_arrived(ticker, at):  # before the bars are read: they may only grow in between
            raise _NotYet(f"the bars up to {at:%H:%M} are not all here yet")
        intraday = with_price_11am(self._source.intraday(ticker, at).bars, session, price_11am)
        self._refuse_missing_days(daily, session.day)
        before = self._calendar.days_before(session.day, MIN_DAYS)
        with self._stages("compute-v6", ticker=ticker, hour=hour, source=self.plan.source) as stage:
            lack = self._source.lack(intraday, at)
            try:
                found = _features(session, hour, intraday, daily, official, before)
            except Unavailable as exc:
                raise _with_lack(exc, lack) from None
            if lack is not None:  # a provider brings the bars later, or never
                raise _NotYet(lack)
            model = self._model(ticker)
            stage.set(model=model.model_id)
            prediction = model.predict(hour, found)
        self._emit("predicted", ticker=ticker, hour=hour, inputs=found.inputs)
        locked_at, expires_at = validity(session, hour)
        basis = Basis(
            ticker=ticker,
            session=session,
            hour=hour,
            features=found,
            official_open=official,
            atr=atr(daily),
            model_id=model.model_id,
            engine_version=model.engine_version,
            in_sample=self.plan.source != "demo" and session.day <= model.data_end,
            locked_at=locked_at,
            expires_at=expires_at,
        )
        with self._stages("policy", ticker=ticker, hour=hour):
            return decide(basis, prediction)

    def _refuse_missing_days(self, daily: Bars, day: date) -> None:
        """Raises Unavailable naming the daily bars that are missing among the last ones, and until when there is no signal."""
        missing = missing_days(daily, day, self._calendar)
        if missing and len(daily) >= MIN_DAYS:
            bars = f"bar of {missing[0]} is" if len(missing) == 1 else f"bars of {', '.join(map(str, missing))} are"
            resumes = resumes_after(missing, self._calendar)
            raise Unavailable(
                f"the daily {bars} missing: no signal until {resumes}, since every signal reads the last {MIN_DAYS} of them",
                part="data",
                code="INSUFFICIENT_DATA",
            )

    def _model(self, ticker: str) -> V6Model:
        model = self.models.models.get(ticker)
        if model is None:
            raise Unavailable(f"no model for {ticker}", part="models", code="MODEL_UNAVAILABLE")
        return model

    def _open_signal(self, ticker: str, session: Session, at: datetime, keep: bool) -> TickerSignal:
        """In an open market: the hour's locked signal, that of the hour before while its time runs, or a gate."""
        hour = decision_hour(session, at)
        if hour is None:
            return self._gated(ticker, at, Gate.INSUFFICIENT_DATA, "the first signal comes at 10:00", None)
        try:
            return self._locked(ticker, session, hour, keep=keep, live=keep)
        except PredictError as exc:
            return self._without(ticker, session, hour, at, exc, keep)

    def _locked(self, ticker: str, session: Session, hour: int, *, keep: bool, live: bool) -> TickerSignal:
        """The hour's signal from the record, or computed now, and then locked if it is to be kept. `live`: it is shown live."""
        kept = self.store.get(ticker, session.day, hour)
        self._emit("looked_up", cache="record", outcome="miss" if kept is None else "hit")
        if kept is not None:
            return TickerSignal(ticker, kept.session, Quote(), kept, recorded=True)
        decision = self._about_first_11am(ticker, session, hour, live)
        if keep:
            decision = self.store.put(decision)
            self._emit("signal_locked", ticker=ticker, day=str(session.day), hour=hour, action=decision.action)
        return TickerSignal(ticker, decision.session, Quote(), decision, recorded=keep)

    def _about_first_11am(self, ticker: str, session: Session, hour: int, live: bool) -> Decision:
        """The decision of an hour, computed about the 11:00 price that was shown first on its day. If none was shown before,
        the price is that of its own bars, which then enters the record (live)."""
        first = self._recorded_11am(ticker, session, decision_moment(session, hour))
        decision = self.compute(ticker, session, hour, first)
        if decision.price_11am is None or not live:
            return decision
        kept = self.store.put_eleven(ticker, session.day, decision.price_11am)
        if kept == decision.price_11am:
            return decision
        return self.compute(ticker, session, hour, kept)  # another process has shown another price meanwhile

    def _without(
        self, ticker: str, session: Session, hour: int, at: datetime, why: PredictError, live: bool
    ) -> TickerSignal:
        """What is said when the hour's signal cannot be had: live for a while the hour before (ruling S3), then the gate."""
        waiting = (
            live
            and isinstance(why, _NotYet | TryLater)
            and still_stands(session, hour, at, self.plan.delay + self._source.ahead())
        )
        before = previous_hour(session, hour) if waiting else None
        kept = None if before is None else self._earlier(ticker, session, before)
        if kept is not None:
            return replace(kept, waiting=True)
        if waiting and before is None and isinstance(why, _NotYet):
            return self._gated(ticker, at, Gate.INSUFFICIENT_DATA, "the bars up to 10:00 are still coming in", None)
        gate = self._gate_of(why, ticker, session, at)
        self._emit("gated", ticker=ticker, gate=gate.value, detail=why.message)
        return self._gated(ticker, at, gate, why.message, why)

    def _earlier(self, ticker: str, session: Session, hour: int) -> TickerSignal | None:
        try:
            return self._locked(ticker, session, hour, keep=False, live=True)
        except PredictError:
            return None

    def _gated(self, ticker: str, at: datetime, gate: Gate, detail: str, cause: PredictError | None) -> TickerSignal:
        name = session_of_hour(at.astimezone(NY).hour)
        return TickerSignal(ticker, name, Quote(), gate=gate, detail=detail, cause=cause)

    def _gate_of(self, why: PredictError, ticker: str, session: Session, at: datetime) -> Gate:
        if isinstance(why, MissingOpen):
            missing = why.code == Gate.MISSING_DAILY_BAR and self._has_no_bars(ticker, session, at)
            return Gate.NO_MARKET_DATA if missing else Gate(why.code)
        if isinstance(why, NotEntitled):
            return Gate.MISSING_DAILY_BAR
        if isinstance(why, BudgetSpent):
            return Gate.RATE_LIMITED
        if isinstance(why, Unavailable) and why.part in ("data", "models"):
            return Gate.INSUFFICIENT_DATA if why.part == "data" else Gate.MODEL_UNAVAILABLE
        return Gate.DATA_FETCH_ERROR

    def _has_no_bars(self, ticker: str, session: Session, at: datetime) -> bool:
        """A trading day of which no bar exists (ruling M7): a past one, or one of a market that is not live."""
        if self.plan.source == "polygon" and session.day == ny_day(self.clock()):
            return False
        try:
            return not len(self._source.intraday(ticker, at).bars)
        except PredictError:
            return False

    def _market(self, ticker: str, session: Session, at: datetime) -> tuple[Quote, PredictError | None]:
        """What floats in an open market, as far as it is known, and the fault that hides the rest."""
        official: float | None = None
        with suppress(PredictError):
            official = self._source.open_of(ticker, at).price
        try:
            found = self._newest(ticker, session, at)
            _refuse_expired(found, session, at)
        except PredictError as exc:
            last = self._source.peek(ticker, at)
            as_of = None if last is None else newest_end(last.bars)
            return Quote(today_open=official, as_of=as_of, stale=True), exc
        return _market_of(found, session, official), None

    def _newest(self, ticker: str, session: Session, at: datetime) -> Known:
        """The finest bars of the day that there are."""
        if self.plan.signal_span is not Span.MINUTE:
            with suppress(PredictError):
                minutes = self._source.minutes(ticker, at)
                if _has_price(minutes, session):
                    return minutes
        return self._source.intraday(ticker, at)

    def _newest_in_memory(self, ticker: str, session: Session, at: datetime) -> Known | None:
        """The same without a call; None unless all series of the day are in memory, so that what is shown does not depend on
        which one came first."""
        known, minutes = self._source.peek(ticker, at), self._source.peek(ticker, at, Span.MINUTE)
        if known is None or minutes is None:
            return None
        return minutes if _has_price(minutes, session) else known

    def _minutes(self, ticker: str, at: datetime) -> tuple[Known, PredictError | None]:
        """The day's one-minute bars; none at night and on days without trading, and none with the fault that hides them."""
        nothing, session = Known(no_bars(), at), self._calendar.session_at(at)
        if session is None or at.astimezone(NY).hour < FIRST_HOUR:
            return nothing, None
        try:
            return self._current_minutes(ticker, session, at), None
        except PredictError as exc:
            return nothing, exc

    def _current_minutes(self, ticker: str, session: Session, at: datetime) -> Known:
        """The day's one-minute bars. Raises Upstream in an open market of which they say nothing any more."""
        minutes = self._source.minutes(ticker, at)
        _refuse_expired(minutes, session, at)
        return minutes

    def _view(self, ticker: str, at: datetime, minutes: Bars) -> View:
        """What structure may see at `at`. Without one-minute bars (ruling M6) it is the completed days alone."""
        session = self._calendar.session_at(at)
        daily = self._source.daily(ticker, ny_day(at))
        official: float | None = None
        if session is not None and at >= session.open and len(minutes):
            with suppress(MissingOpen):
                official = self._source.open_of(ticker, at).price
        return view_at(minutes, daily, session, at, official_open=official)

    def _known_open(self, ticker: str, at: datetime) -> float | None:
        """The official open if it is known and, at `at`, was there to be known."""
        session = self._calendar.session_at(at)
        found = self._source.known_open(ticker, session.day) if session is not None and at >= session.open else None
        return None if found is None else found.price

    def _current(self, tickers: Sequence[str], at: datetime) -> list[Series]:
        """What signals and structure at `at` read; on a day without bars yet the completed days alone."""
        day = ny_day(at)
        traded = self._calendar.session_at(at) is not None and at.astimezone(NY).hour >= FIRST_HOUR
        spans = list(dict.fromkeys((Span.DAY, self.plan.signal_span, Span.MINUTE))) if traded else [Span.DAY]
        return [(ticker, spans, day) for ticker in _known_of(tickers) if has_begun(ticker, day)]

    def _days(self, tickers: Sequence[str], at: datetime) -> list[Series]:
        """What `_completed` reads."""
        return [(ticker, [Span.DAY], self._day_after_completed(at)) for ticker in tickers]

    def _prepare(self, series: Sequence[Series]) -> float:
        """Start all fetches that an answer needs at once; a request that waits for one then waits for the slowest, not for the
        sum. Of followed tickers all is on its way. Returns for how many seconds the answer may wait for bars."""
        today = ny_day(self.clock())
        held = [self._source.holds(ticker, spans, day) for ticker, spans, day in series]
        for ticker, spans, day in series:
            if day == today and self._source.is_followed(ticker):
                with self._stages(FETCH, ticker=ticker, cache="followed") as stage:
                    stage.skip()
            else:
                self._source.start(ticker, spans, day)
        return READ_S if all(held) else COLD_S

    def _each(self, tickers: Sequence[str], work: Callable[[str], T]) -> dict[str, T | PredictError]:
        """`work` for every ticker; a failure is its own ticker's. Raises Unavailable if nothing can be had without a key."""
        found: dict[str, T | PredictError] = {}
        for ticker in tickers:
            try:
                found[ticker] = work(_supported(ticker))
            except PredictError as exc:
                found[ticker] = exc
        known = [x for x in found.values() if not isinstance(x, BadRequest)]
        _refuse_keyless([x if isinstance(x, PredictError) else None for x in known])
        return found

    def _overview(self, ticker: str, at: datetime) -> Overview:
        signal = self.signal(ticker, at)
        session = self._calendar.session_at(at)
        if signal.decision is None:
            raise _why_undecided(signal)
        if session is None or signal.market.price is None:
            if signal.market.stale:
                raise Upstream("the current price cannot be had")
            raise Unavailable("the current price is not known", part="data", code="INSUFFICIENT_DATA")
        spread = atr(self._source.daily(ticker, session.day))
        if spread is None:
            raise Unavailable("too few daily bars for a range", part="data", code="INSUFFICIENT_DATA")
        daily = daily_signal(shown_active(signal.decision.p_active), signal.market.price, spread)
        return Overview(signal, daily, session.progress(at))

    def _fear(self, at: datetime) -> Vix | None:
        """The state of the volatility ETF by its daily closes; None if they cannot be had."""
        try:
            return vix(self._completed(FEAR_TICKER, at))
        except PredictError:
            return None

    def _completed(self, ticker: str, at: datetime) -> Bars:
        """Daily bars that are complete: today's too, once the provider has had time to make it."""
        return self._source.daily(ticker, self._day_after_completed(at))

    def _day_after_completed(self, at: datetime) -> date:
        """The day whose daily bars are the completed ones at `at`: today, or tomorrow once today's can be had."""
        session = self._calendar.session_at(at)
        over = session is not None and at >= session.close + DAILY_BAR_AFTER
        return ny_day(at) + ONE_DAY if over else ny_day(at)

    def _ranges(self, ticker: str, at: datetime) -> Ranges:
        session = self._calendar.session_at(at)
        previous = self._calendar.session(self._calendar.previous_trading_day(ny_day(at)))
        assert previous is not None
        minutes = no_bars() if session is None else self._current_minutes(ticker, session, at).bars
        before = self._source.minutes(ticker, previous.close + EXTENDED_HOURS).bars
        return price_ranges(at, session, minutes, previous, before)

    def _market_when_closed(self, ticker: str, at: datetime, *, fetch: bool, keep: bool) -> Quote:
        """Closed: what the day came to. Without `fetch` only what is known, without a call (v1-contract.md 4.1)."""
        session = self._calendar.session_at(at)
        if session is None or at < session.open or not has_begun(ticker, session.day):
            return Quote()
        fetch = fetch or (self.plan.is_local and self._source.peek(ticker, at) is not None)
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
            as_of, stale = None if known is None else newest_end(known.bars), _hides_newer(exc)
            known = None
        official = self._known_open(ticker, at)
        unknown = Quote(today_open=official, as_of=as_of, stale=stale)
        market = unknown if known is None else _market_of(known, session, official)
        return replace(market, price_11am=self._price_11am(ticker, session, at, fetch=fetch, keep=keep))

    def _price_11am(self, ticker: str, session: Session, at: datetime, *, fetch: bool, keep: bool) -> float | None:
        """P11 as the day's record has it, else of the bars that signals read; None until all of these up to 11:00 are here
        (ruling T2): once shown it does not move, whatever bars come late. `keep`: enter it into the record (live)."""
        eleven = decision_moment(session, LATE_FROM)
        if at < eleven:
            return None
        recorded = self._recorded_11am(ticker, session, at)
        if recorded is not None:
            return recorded
        with suppress(PredictError):
            if fetch:
                self._source.is_complete(ticker, eleven)
            known = self._source.peek(ticker, eleven) if self._source.is_ready(ticker, eleven) else None
            price = None if known is None else price_11am_of(known.bars.since(session.open), session)
            return self.store.put_eleven(ticker, session.day, price) if keep and price is not None else price
        return None

    def _recorded_11am(self, ticker: str, session: Session, at: datetime) -> float | None:
        """P11 as the day's record has it by `at`: the first one shown."""
        if at < decision_moment(session, LATE_FROM):
            return None
        return self.store.get_eleven(ticker, session.day)


def _features(
    session: Session, hour: int, intraday: Bars, daily: Bars, official: float, days: Sequence[date]
) -> Features:
    """`v6_features`; the names of features without a value are for the log."""
    try:
        return v6_features(session, hour, intraday, daily, official, days)
    except Unavailable as exc:
        if exc.part != "models":
            raise
        said = "the model cannot be computed from these bars"
        raise Unavailable(said, part=exc.part, code=exc.code, detail=f"{said}: {exc.detail}") from None


def _with_lack(why: Unavailable, lack: str | None) -> Unavailable:
    """Bars that do not suffice, with what they lack."""
    if lack is None or why.part != "data":
        return why
    return Unavailable(f"{why.message}: {lack}", part=why.part, code=why.code, detail=why.detail)


def _why_undecided(signal: TickerSignal) -> PredictError:
    """The gate that stands before a decision, as the error of an answer that rests on one."""
    if signal.gate is Gate.MARKET_CLOSED:
        return MarketClosed()
    assert signal.gate is not None
    return signal.cause or Unavailable(signal.detail, part="data", code=signal.gate.value)


def _known_of(tickers: Sequence[str]) -> list[str]:
    return [ticker for ticker in tickers if ticker in SUPPORTED]


def _supported(ticker: str) -> str:
    if ticker not in SUPPORTED:
        raise BadRequest(f"{ticker} is not supported", code=Gate.UNSUPPORTED_TICKER.value)
    return ticker


def _hides_newer(fault: PredictError | None) -> bool:
    """Whether a fault hides bars that there may be: a failed fetch does, a plan that lacks them does not."""
    return fault is not None and not isinstance(fault, NotEntitled)


def _last_close(bars: Bars) -> float | None:
    """USD, unrounded; None without bars."""
    return float(bars.c[-1]) if len(bars) else None


def _probabilities(signal: TickerSignal) -> Probabilities | None:
    """The locked probabilities as RPE's phase 5 reads them."""
    decision = signal.decision
    return None if decision is None else Probabilities(decision.p_a, decision.p_b, decision.session == "early")


def _aged(market: Quote, view: View, stale: bool) -> Quote:
    """The market with the age of what a structure rests on: its last minute, else its last day."""
    bars = view.minutes if len(view.minutes) else view.completed
    return replace(market, as_of=market.as_of or newest_end(bars), stale=market.stale or stale)


def _price_of_days(market: Quote, view: View, is_overdue: bool) -> float | None:
    """The last daily close, which is the price while there is no newer one. It is not once a session has begun whose bars are
    overdue, nor if the market is not as old as the last completed day, since the close has the market's age."""
    has_begun = view.session is not None and view.at >= view.session.open
    if (has_begun and is_overdue) or market.as_of != newest_end(view.completed):
        return None
    return _last_close(view.days)


def _has_price(known: Known, session: Session) -> bool:
    return len(known.bars.since(session.open)) > 0 and not known.expired


def _refuse_expired(known: Known, session: Session, at: datetime) -> None:
    """Raises Upstream for bars of a session, open or over, that have stood still for too long to say what its price is."""
    if known.expired and len(known.bars) and at >= session.open:
        raise Upstream(f"the newest bar ended at {newest_end(known.bars):%H:%M}")


def _market_of(known: Known, session: Session, official: float | None) -> Quote:
    regular: Bars = known.bars.until(session.close).since(session.open)
    if not len(regular):
        return Quote(today_open=official, stale=known.stale, missing=known.missing)
    high, low = float(regular.h.max()), float(regular.l.min())
    newest, price = newest_end(regular), float(regular.c[-1])
    return Quote(price, official, len(regular), newest, known.stale, high, low, missing=known.missing)


def _refuse_without_key(signals: Sequence[TickerSignal]) -> None:
    """Without a key and with nothing kept, an open market has no answer at all (v1-contract.md 3.3)."""
    _refuse_keyless([s.cause for s in signals if s.gate is not Gate.UNSUPPORTED_TICKER])


def _refuse_keyless(causes: Sequence[PredictError | None]) -> None:
    keyless = [c for c in causes if isinstance(c, Unavailable) and c.part == "api_key"]
    if causes and len(keyless) == len(causes):
        raise keyless[0]
