"""Fetches that serve all who ask at the same time, in this process and in those with which it shares the running day; one that
failed is tried again once a minute at most (policy.md 10, "not locked")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from app.clock import Clock, Timer
from app.errors import BudgetSpent, NotEntitled, PredictError, TryLater, Upstream
from app.market.bars import Span
from app.market.budget import Priority, call_context
from app.market.cache import BarCache
from app.market.calendar import ONE_DAY, ny_day
from app.market.expectations import BarsAsOf
from app.market.fetching import HISTORY, RETRY_AFTER, Fetcher
from app.market.lease import Lease
from app.market.loading import Loader
from app.market.observed_plan import ObservedPlan
from app.market.running_day import FetchFailure, RunningDay, SharedSeries
from app.market.series_memory import OPEN, Key, SeriesMemory, key_of, name_of, ticker_of
from app.market.single_flight import SingleFlight, without_traceback
from app.telemetry.stages import Stage, Stages

REFUSED_FOR = timedelta(minutes=15)
"""How long a refusal for the plan's sake is taken for an answer: it is permanent, but for a plan that is changed."""

DEADLINE_S = 10.0
"""Real seconds that anyone waits for one fetch; requests have their own limits for all of theirs (ruling A2)."""

PATIENCE_S = 5.0
"""Real seconds that a fetch may wait for its turn and retry (polygon.md 5)."""

TODAY_WORKERS, HISTORY_WORKERS = 7, 3
"""Fetches at a time: of the running day, and of all others, so that replays never starve it; ten in all (polygon.md 5)."""

FETCH, AWAIT = "fetch-data", "await-data"
"""Stages: bars are brought; another's fetch is waited for."""


class SharedFetches:
    """Runs fetches on bounded pools of threads. `emit(event, **fields)` hears of those that fail."""

    def __init__(
        self,
        loader: Loader,
        memory: SeriesMemory,
        fetcher: Fetcher,
        cache: BarCache,
        plan: ObservedPlan,
        clock: Clock,
        timer: Timer,
        emit: Callable[..., None],
        stages: Stages,
        running_day: RunningDay | None,
    ) -> None:
        self._loader = loader
        self._memory = memory
        self._fetcher = fetcher
        self._cache = cache
        self._plan = plan
        self._clock = clock
        self._timer = timer
        self._emit = emit
        self._stages = stages
        self._running_day = running_day
        self._flight: SingleFlight[Any] = SingleFlight(TODAY_WORKERS, stages)
        self._history: SingleFlight[Any] = SingleFlight(HISTORY_WORKERS, stages)

    def waiting(self) -> int:
        """How many fetches are under way or queued."""
        return self._flight.waiting() + self._history.waiting()

    def close(self) -> None:
        self._flight.close()
        self._history.close()

    def start(self, ticker: str, spans: Sequence[Span], day: date) -> None:
        """Begin the fetches of these series that are not here, as one stage that lasts until they are done; waits for none."""
        with self._stages(FETCH, ticker=ticker, day=str(day), cache="miss") as stage:
            under_way = [self._start(ticker, span, day, stage) for span in spans]
            if not any(under_way):
                stage.set(cache="hit")
                stage.skip()

    def _start(self, ticker: str, span: Span, day: date, stage: Stage) -> bool:
        """Begin a fetch, as a part of `stage`, unless it is not needed or failed lately. Returns whether it is under way."""
        key, kept = (ticker, span, day), self._memory.get(ticker, span, day)
        fresh = kept is not None and self._fetcher.expected.is_fresh(kept, span, day)
        if fresh or self._recent_failure(key) is not None:
            return False
        end = stage.part()
        fetch = lambda: self._coordinated(key, lambda: self._loader.load(ticker, span, day))  # noqa: E731
        under_way = self._flight_of(key).start(key, fetch, end, self._awaited(key))
        if not under_way:
            end()
        return under_way

    def series(self, ticker: str, span: Span, day: date) -> BarsAsOf:
        """The series that a fetch brings, this one's or one under way. Raises its failure, for a while without trying again."""
        bars: BarsAsOf = self.attempt((ticker, span, day), lambda: self._loader.load(ticker, span, day))
        return bars

    def attempt(self, key: Key, fetch: Callable[[], Any]) -> Any:
        """`fetch`, shared with its twins; for a while after a failure that failure again."""
        failed = self._recent_failure(key)
        if failed is not None:
            raise without_traceback(failed)
        flight = self._flight_of(key)
        with self._stages(AWAIT if flight.runs(key) else FETCH, series=name_of(key)):
            return flight.run(key, lambda: self._coordinated(key, fetch), DEADLINE_S, self._awaited(key))

    def _awaited(self, key: Key) -> Callable[[], bool]:
        """Tells of a fetch that begins now whether memory has got neither bars nor a failure of it."""
        kept, failed = self._memory.get(*key), self._memory.failure(key)
        return lambda: self._memory.get(*key) is kept and self._memory.failure(key) is failed

    def adopt(self, at: datetime) -> None:
        """Take over what other processes brought of the running day. Never calls the provider."""
        shared = self._running_day
        for name, fetched in shared.fetched(ny_day(at)).items() if shared is not None else ():
            key = key_of(name)
            kept = self._memory.get(*key)
            if kept is None or kept.fetched < fetched:
                self._adopted(key)

    def _recent_failure(self, key: Key) -> PredictError | None:
        failed = self._memory.failure(key)
        return failed.error if failed is not None and self._holds(failed) else None

    def _holds(self, failed: FetchFailure) -> bool:
        return failed.holds(self._clock(), self._timer.epoch())

    def _flight_of(self, key: Key) -> SingleFlight[Any]:
        return self._flight if key[-1] >= ny_day(self._clock()) else self._history

    def _coordinated(self, key: Key, fetch: Callable[[], Any]) -> Any:
        """`fetch` in one process at a time; what another process brought, or met, is the answer of this one too."""
        failed = self._recent_failure(key)
        if failed is not None:  # a twin's, just before
            raise without_traceback(failed)
        shared = self._running_day
        if shared is None or not self._is_shared(key):
            return self._remembering(key, fetch)

        def telling() -> Any:
            try:
                return self._remembering(key, fetch)
            except BudgetSpent:  # the others ask the budget themselves; one of them may know a larger plan by then
                raise
            except PredictError:
                failed = self._memory.failure(key)
                if failed is not None:
                    shared.fail(name_of(key), failed)
                raise

        def share(value: Any, lease: Lease) -> None:
            if isinstance(value, BarsAsOf):
                series = SharedSeries(value.bars, value.fetched, value.delayed, value.missing, value.again)
                if not shared.put(name_of(key), key[-1], series, lease):
                    self._adopted(key)

        return shared.once(name_of(key), lambda: self._from_others(shared, key), telling, share)

    def _is_shared(self, key: Key) -> bool:
        """Whether other processes may need a fetch of the same: past days that are whole in the cache on disk need none."""
        ticker, span, day = key
        if ticker == OPEN or day >= ny_day(self._clock()):
            return True
        first, last = (self._plan.earliest(ticker, day - HISTORY), day - ONE_DAY) if span is Span.DAY else (day, day)
        return not self._cache.covers(ticker, span, first, last) or self._cache.lacks(ticker, span, first, last)

    def _from_others(self, shared: RunningDay, key: Key) -> Any:
        """What another process brought, if that will do; None if it does not. Raises the failure that it met lately."""
        value = self._fetcher.opens.known(*key[1:]) if key[0] == OPEN else self._adopted(key)
        failed = shared.failure(name_of(key)) if value is None else None
        if failed is not None and self._holds(failed):
            self._memory.fail(key, failed)
            raise without_traceback(failed.error)
        return value

    def _adopted(self, key: Key) -> BarsAsOf | None:
        """What another process brought, now in memory too; None if that is not fresh."""
        assert self._running_day is not None
        ticker, span, day = key
        return self._loader.adopt(ticker, span, day, self._running_day.get(name_of(key)))

    def _remembering(self, key: Key, fetch: Callable[[], Any]) -> Any:
        entitlement = self._plan.entitlement
        try:
            with (
                self._stages.root("fetch", series=str(key)),
                call_context(self._priority(key), PATIENCE_S, self._timer),
            ):
                return fetch()
        except PredictError as exc:
            if self._plan.entitlement == entitlement or not isinstance(
                exc, BudgetSpent
            ):  # else the plan has changed since
                self._remember(key, _lasting(exc), without_traceback(exc))
            self._emit(
                self._fetcher.event_of(key[-1], "fetch_failed"),
                ticker=ticker_of(key),
                key=str(key),
                code=exc.code,
                error=exc.detail,
            )
            raise
        except Exception as exc:  # whatever a provider's answer broke stays its own ticker's failure
            self._emit("fetch_broke", ticker=ticker_of(key), key=str(key), error=type(exc).__name__)
            broken = Upstream(f"the provider's answer could not be read ({type(exc).__name__})")
            self._remember(key, RETRY_AFTER, broken)
            raise without_traceback(broken) from None

    def _remember(self, key: Key, lasts: timedelta, error: PredictError) -> None:
        self._memory.fail(key, FetchFailure(self._clock(), self._timer.epoch(), lasts, error))

    def _priority(self, key: Key) -> Priority:
        if key[-1] < ny_day(self._clock()):
            return Priority.REPLAY
        return Priority.OPEN if Span.DAY in key or OPEN in key else Priority.MINUTES


def _lasting(exc: PredictError) -> timedelta:
    """For how long a failure is the answer: the plan's refusal long, our own or the provider's pause as long as it says."""
    if isinstance(exc, NotEntitled):
        return REFUSED_FOR
    if isinstance(exc, TryLater):
        return min(RETRY_AFTER, timedelta(seconds=max(1.0, exc.retry_after)))
    return RETRY_AFTER
