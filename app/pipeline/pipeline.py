"""The pipeline as a whole: what routes, the follower and the command line ask of it, by ticker and moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from app.clock import REAL_TIME, Clock
from app.errors import BadRequest, PredictError, Unavailable
from app.live.interest import Interest
from app.market.bars import Span
from app.market.calendar import NY, Calendar, Session, ny_day
from app.market.market_data import MarketData
from app.market.plan import Plan
from app.market.single_flight import deadline
from app.model.artefact import ModelSet
from app.model.reloading import ServedModels
from app.pipeline.charts import Charts
from app.pipeline.daily import DailyAnswers
from app.pipeline.decisions import Decisions
from app.pipeline.gates import known_of, refuse_keyless, refuse_without_key, supported
from app.pipeline.outlooks import Outlooks
from app.pipeline.prefetch import COLD_S, Prefetch
from app.pipeline.quotes import Quotes
from app.pipeline.reading import Reader
from app.pipeline.shown_price_11am import ShownPrice11am
from app.pipeline.signals import HourlySignals
from app.pipeline.states import Board, DataPart, Overview, State, Step, TickerSignal
from app.pipeline.steps import Steps, last_of
from app.pipeline.track_record import TrackRecord
from app.signals.daily_signal import Vix
from app.signals.lock import decision_hour
from app.signals.policy import session_of_hour, time_multiplier_of
from app.signals.store import SignalStore
from app.structure.indicators import Breakdown
from app.structure.ranges import Ranges
from app.structure.volatility import Volatility
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")


class Pipeline:
    """Joins market, model and policy. `emit(event, **fields)` hears of locks and gates. charts: the bars of
    charts; outlooks: the swing probabilities; track_record: what was locked, and what became of it."""

    def __init__(
        self,
        source: MarketData,
        models: ServedModels,
        store: SignalStore,
        calendar: Calendar,
        clock: Clock,
        emit: Callable[..., None],
        stages: Stages = NULL_STAGES,
    ) -> None:
        self._stages = stages
        self.interest = Interest()
        self._models = models
        self.store = store
        self.clock = clock
        self._source = source
        self._calendar = calendar
        self._quotes = quotes = Quotes(source, calendar)
        prices_11am = ShownPrice11am(source, store)
        decisions = Decisions(source, models, calendar, emit, stages)
        self._prefetch = Prefetch(source, calendar, clock, stages)
        self._signals = HourlySignals(source, decisions, quotes, prices_11am, store, calendar, clock, emit)
        self._steps = Steps(Reader(source, quotes, calendar), self._signals, stages)
        self.outlooks = Outlooks(source, models, self._prefetch, calendar)
        self._daily = DailyAnswers(source, quotes, self._signals, self.outlooks, self._prefetch, calendar)
        self.charts = Charts(source, self._prefetch, calendar, self.interest)
        self.track_record = TrackRecord(source, store, self.charts, self._prefetch, calendar)

    @property
    def models(self) -> ModelSet:
        """The models that are served now."""
        return self._models.models

    @property
    def plan(self) -> Plan:
        return self._source.plan

    def steady_until(self, at: datetime, ticker: str | None = None) -> datetime:
        """Until when an answer about `at` (and a ticker) stands if nothing comes in and nothing breaks. Turns of the policy
        (open, close, hours, the patience with an hour's bars) lie on full minutes or on a bar's becoming final."""
        return self._source.steady_until(at, ticker)

    def fetches(self) -> int:
        """How many fetches from the provider are under way or queued."""
        return self._source.fetches.waiting()

    def board(self, tickers: Sequence[str], at: datetime) -> Board:
        """Trading directions of `tickers`; those that are not supported get the gate that says so.

        Raises Unavailable if the market is open and no model is loaded at all, or nothing can be known without a key.
        """
        market_open = self._calendar.is_open(at)
        if market_open and not self.models.models:
            raise Unavailable("no model is loaded", part="models", code="MODEL_UNAVAILABLE")
        self.interest.request(known_of(tickers), at)
        with deadline(self._prefetch.start(self._prefetch.current(tickers, at) if market_open else [])):
            signals = {ticker: self.signal(ticker, at) for ticker in tickers}
        refuse_without_key(list(signals.values()))
        session = self._calendar.session_at(at)
        hour = decision_hour(session, at) if session is not None and session.is_open(at) else None
        self._stages.annotate(tickers=",".join(tickers), hour=hour, source=self.plan.market.value)
        clock_hour = at.astimezone(NY).hour
        return Board(
            at=at,
            market_open=market_open,
            session=session_of_hour(clock_hour),
            time_multiplier=time_multiplier_of(clock_hour if hour is None else hour),
            hours=self._calendar.hours_at(at),
            tickers=signals,
        )

    def states(
        self, tickers: Sequence[str], at: datetime, *, keep: bool = True, recompute: bool = False
    ) -> dict[str, State]:
        """The states of `tickers`, in that order. recompute: compute also the decisions that stand in the record; only without
        `keep`. Raises Unavailable as `board` does for a missing key."""
        if keep:
            self.interest.request(known_of(tickers), at)
        limit = self._prefetch.start(self._prefetch.current(tickers, at))
        steps = self._steps.without_record() if recompute else self._steps
        with deadline(limit if keep else COLD_S):
            states = {ticker: steps.state(ticker, at, keep=keep) for ticker in tickers}
        refuse_without_key([replace(state.signal, cause=state.data.fault) for state in states.values()])
        return states

    def current(self, tickers: Sequence[str], at: datetime) -> dict[str, State]:
        """The states of `tickers` now: in an open market those of `states`, in a closed one what is known without a call."""
        if self._calendar.is_open(at):
            return self.states(tickers, at)
        self.interest.request(known_of(tickers), at)
        return {ticker: self._steps.known(ticker, at) for ticker in tickers}

    def live(self, ticker: str, at: datetime) -> State:
        """The state of one ticker now, as `current` has it. Never raises for a fault of market or model."""
        return self.state(ticker, at) if self._calendar.is_open(at) else self._steps.known(ticker, at)

    def outline(self, ticker: str, at: datetime) -> State:
        """The state of `live` without its analyses, which take most of its time."""
        if not self._calendar.is_open(at):
            return self._steps.known(ticker, at)
        self.interest.request(known_of([ticker]), at)
        with deadline(self._prefetch.start(self._prefetch.current([ticker], at))):
            return self._steps.outline(ticker, at)

    def bar_ends(self, ticker: str, session: Session, at: datetime) -> Sequence[datetime]:
        """When the bars of a session ended that quotes rest on, up to `at`. Raises what keeps them from being read."""
        with deadline(COLD_S):
            return self._quotes.bar_ends(ticker, session, at)

    def unread(self, tickers: Sequence[str], at: datetime) -> dict[str, State]:
        """`tickers` on a day that is not traded: nothing is read, nothing is known."""
        return {ticker: self._steps.unread(ticker, at) for ticker in tickers}

    def steps(self, ticker: str, at: datetime, *, keep: bool = True) -> Iterator[Step]:
        """What is said of one ticker, part by part: `data`, `rpe`, `v6`, `signal` (app/pipeline/steps.py says why in this
        order). A part is computed when it is asked for, and no later one contradicts it. The last is the state. All parts
        together wait for bars as long as an answer may (ruling A2); the time that the caller takes between two of them does
        not count. Never raises for a fault of market or model.

        keep: enter a decision made now into the record (live); replay does not (ruling S7).
        """
        if keep:
            self.interest.request(known_of([ticker]), at)
        limit = self._prefetch.start(self._prefetch.current([ticker], at))
        left_s = limit if keep else COLD_S
        parts = self._steps.steps(ticker, at, keep=keep)
        while True:
            began = REAL_TIME.now()
            with deadline(max(0.0, left_s)):
                part = next(parts, None)
            left_s -= REAL_TIME.now() - began
            if part is None:
                return
            yield part

    def current_steps(self, ticker: str, at: datetime) -> Iterator[Step]:
        """The steps of `current`: in a closed market what is known without a call. Raises Unavailable as `states` does for a
        missing key, before any part."""
        if not self._calendar.is_open(at):
            state = self.current([ticker], at)[ticker]
            yield from (state.data, state.rpe, state.v6, state)
            return
        for part in self.steps(ticker, at):
            if isinstance(part, DataPart):
                refuse_keyless([part.fault])
            yield part

    def is_in_memory(self, ticker: str, at: datetime, *, keep: bool = True) -> bool:
        """Whether the answer of `current` waits for no fetch; of a replay (not `keep`), whether that of `states` does."""
        is_read = not keep or self._calendar.is_open(at)
        return not is_read or self._prefetch.is_needless(self._prefetch.current([ticker], at))

    def state(self, ticker: str, at: datetime, *, keep: bool = True) -> State:
        """All that is said of one ticker: the last of `steps`."""
        return last_of(self.steps(ticker, at, keep=keep))

    def overviews(self, tickers: Sequence[str], at: datetime) -> tuple[dict[str, Overview | PredictError], Vix | None]:
        """Daily signals, or per ticker why there is none, and the state of the volatility ETF."""
        self.interest.request(known_of(tickers), at)
        with deadline(self._prefetch.start(self._daily.reads(tickers, at))):
            return _each(tickers, lambda ticker: self._daily.overview(ticker, at)), self._daily.fear(at)

    def breakdowns(self, tickers: Sequence[str], at: datetime) -> dict[str, Breakdown | PredictError]:
        """The twelve daily indicators (v1-contract.md 5.1), or per ticker why not."""
        with deadline(self._prefetch.start(self._prefetch.completed_days(known_of(tickers), at))):
            return _each(tickers, lambda ticker: self._daily.breakdown(ticker, at))

    def volatilities(self, tickers: Sequence[str], at: datetime) -> dict[str, Volatility | PredictError]:
        """The volatility meter (v1-contract.md 5.3), or per ticker why not."""
        with deadline(self._prefetch.start(self._prefetch.completed_days(known_of(tickers), at))):
            return _each(tickers, lambda ticker: self._daily.volatility(ticker, at))

    def ranges(self, tickers: Sequence[str], at: datetime) -> dict[str, Ranges | PredictError]:
        """The day's price ranges (v1-contract.md 5.4), or per ticker why not."""
        self.interest.request(known_of(tickers), at)
        days = [
            self._calendar.previous_trading_day(ny_day(at)),
            *([ny_day(at)] if self._calendar.session_at(at) else []),
        ]
        with deadline(
            self._prefetch.start([(ticker, [Span.MINUTE], day) for ticker in known_of(tickers) for day in days])
        ):
            return _each(tickers, lambda ticker: self._daily.ranges(ticker, at))

    def signal(self, ticker: str, at: datetime, *, keep: bool = True, fetch: bool = False) -> TickerSignal:
        """The signal of one ticker. Gates in the order of ruling T6; never raises for a fault of market or model.

        keep: enter a decision made now into the record (live); replay does not (ruling S7). fetch: call the provider for what
        is shown while the market is closed.
        """
        return self._signals.signal(ticker, at, keep=keep, fetch=fetch)


def _each(tickers: Sequence[str], work: Callable[[str], T]) -> dict[str, T | PredictError]:
    """`work` for every ticker; a failure is its own ticker's. Raises Unavailable if nothing can be had without a key."""
    results: dict[str, T | PredictError] = {}
    for ticker in tickers:
        try:
            results[ticker] = work(supported(ticker))
        except PredictError as exc:
            results[ticker] = exc
    known = [x for x in results.values() if not isinstance(x, BadRequest)]
    refuse_keyless([x if isinstance(x, PredictError) else None for x in known])
    return results
