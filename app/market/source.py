"""Bars known at a moment. Past days come from the cache, today's bars from the provider, once for all who ask.

Whatever is asked for is cut at `at`: a caller never sees a bar that had not ended. Every request path to market data
goes through here; nothing here knows what the bars are for. Tickers that a follower keeps current are answered out of
memory; the others are fetched by who asks first, for all who ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from app.clock import Clock, Timer
from app.errors import NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.market.bars import Bars, Span, from_ms, no_bars, to_ms, united
from app.market.budget import Priority, call_context
from app.market.cache import BarCache
from app.market.calendar import ONE_DAY, Calendar, Overrides, Session, ny, ny_day
from app.market.completeness import missing_days
from app.market.expectations import Known
from app.market.fetching import HISTORY, RETRY_AFTER, SHRUNK, Fetcher, is_due, last_of
from app.market.freshness import LATE_AFTER, MORNING
from app.market.inception import first_day_of
from app.market.lease import Lease
from app.market.observed_plan import DELAYED_BY, ObservedPlan
from app.market.opens import MissingOpen, OfficialOpen, OpenStore
from app.market.plan import Entitlement, Plan
from app.market.polygon import Polygon
from app.market.running_day import FetchFailure, RunningDay, SharedSeries
from app.market.single_flight import LruCache, SingleFlight, without_traceback
from app.telemetry.stages import NULL_STAGES, Stages

REFUSED_FOR = timedelta(minutes=15)
"""How long a refusal for the plan's sake is taken for an answer: it is permanent, but for a plan that is changed."""

MINUTE_MS = Span.MINUTE.ms
DEADLINE_S = 10.0
"""Real seconds that anyone waits for one fetch; requests have their own limits for all of theirs (ruling A2)."""

PATIENCE_S = 5.0
"""Real seconds that a fetch may wait for its turn and retry (polygon.md 5)."""

KEPT_SERIES = 256
TODAY_WORKERS, HISTORY_WORKERS = 7, 3
"""Fetches at a time: of the running day, and of all others, so that replays never starve it; ten in all (polygon.md 5)."""

Key = tuple[Any, ...]
"""What a fetch is known by: its ticker first or second, its day last."""

Notice = Callable[..., None]
OPEN = "open"
"""What the key of an official open begins with."""

FETCH, AWAIT = "fetch-data", "await-data"
"""Stages: bars are brought; another's fetch is waited for."""


class Source:
    """The market as it is known now. Methods raise TryLater, NotEntitled or Unavailable when nothing usable is known.

    Series that were brought stay in memory. One fetch serves all who ask for a series at the same time, in this process and in
    the others on its DATA_DIR; one that failed is tried again once a market minute at most (policy.md 10, "not locked").
    """

    def __init__(
        self,
        polygon: Polygon,
        cache: BarCache,
        opens: OpenStore,
        calendar: Calendar,
        clock: Clock,
        plan: Plan,
        emit: Notice,
        timer: Timer | None = None,
        stages: Stages = NULL_STAGES,
        running_day: RunningDay | None = None,
        clock_ahead: Callable[[], timedelta] = timedelta,
        is_answered: Callable[[], bool] = lambda: True,
        on_answered_elsewhere: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock_ahead()`: how far `clock` runs before the provider's; `is_answered()`: False while the provider was asked and
        has never answered; `on_answered_elsewhere()` hears that another process has fetched since this one began."""
        self._began, self._on_answered_elsewhere = clock(), on_answered_elsewhere
        self._running_day = running_day
        self._stages = stages
        self._followed: Callable[[str], bool] = lambda ticker: False
        self._timer = timer or Timer()
        self._cache = cache
        self._calendar = calendar
        self._clock = clock
        self._emit = emit
        self._plan = ObservedPlan(plan, calendar, clock, emit, clock_ahead, is_answered)
        self._fetcher = Fetcher(
            polygon, cache, opens, self._plan, calendar, clock, emit, self._timer, self._forget_ticker
        )
        self._expected, self._opens = self._fetcher.expected, self._fetcher.opens
        self._flight: SingleFlight[Any] = SingleFlight(TODAY_WORKERS, stages)
        self._history: SingleFlight[Any] = SingleFlight(HISTORY_WORKERS, stages)
        self._kept: LruCache[Known] = LruCache(KEPT_SERIES)
        self._failed: LruCache[FetchFailure] = LruCache(KEPT_SERIES)

    @property
    def plan(self) -> Plan:
        """The deployment's plan as far as the provider has shown it."""
        return self._plan.current

    def ahead(self) -> timedelta:
        """How far this process's clock runs before the provider's; zero if it runs behind."""
        return self._plan.ahead()

    @property
    def entitlement(self) -> Entitlement | None:
        """What the probe found; None before it has."""
        return self._plan.entitlement

    def entitle(self, entitlement: Entitlement) -> None:
        """Take over what a probe found; if that is news, what was refused before may be asked for again."""
        if self._plan.entitle(entitlement):
            self._failed.forget(lambda key: True)
            if self._running_day is not None:
                self._running_day.forget_failures()
        self._emit("entitled", today=entitlement.has_intraday)

    def follow_calendar(self) -> None:
        """The calendar has changed: daily bars are read anew, and what failed for want of a day may be tried again."""
        self._kept.forget(lambda key: Span.DAY in key)
        self._failed.forget(lambda key: True)

    def settle_calendar_by(self, doubtful: Callable[[], Overrides], withdraw: Callable[[Sequence[date]], None]) -> None:
        """`doubtful()`: past days whose announced hours bars have to show. `withdraw(days)` hears of past days that SPY traded
        by its daily bars although the calendar has no session of them, and may change the calendar."""
        self._fetcher.settle_calendar_by(doubtful, withdraw)

    def follow_by(self, follows: Callable[[str], bool]) -> None:
        """`follows(ticker)`: whether a follower keeps the ticker current, so that a request need not."""
        self._followed = follows

    def is_followed(self, ticker: str) -> bool:
        """Whether a follower keeps the ticker current."""
        return self._followed(ticker)

    def adopt(self, at: datetime) -> None:
        """Take over what other processes brought of the running day. Never calls the provider."""
        shared = self._running_day
        for name, fetched in shared.fetched(ny_day(at)).items() if shared is not None else ():
            key = _key_of(name)
            kept = self._kept.get(key)
            if kept is None or kept.fetched < fetched:
                self._adopted(key)

    def refresh(self, ticker: str, at: datetime) -> None:
        """Start what a current answer about `ticker` needs and has not: its days, its bars of the day. Waits for nothing."""
        self.start(ticker, list(dict.fromkeys((Span.DAY, self._plan.signal_span, Span.MINUTE))), ny_day(at))

    def refresh_days(self, ticker: str, day: date) -> None:
        """Start the fetch of the daily bars before `day` unless they are here. Waits for nothing."""
        self.start(ticker, (Span.DAY,), day)

    def start(self, ticker: str, spans: Sequence[Span], day: date) -> None:
        """Begin the fetches of these series that are not here, as one stage that lasts until they are done; waits for none."""
        with self._stages(FETCH, ticker=ticker, day=str(day), cache="miss") as stage:
            started = [self._start(ticker, span, day) for span in spans]
            under_way = [future for future in started if future is not None]
            stage.last_until(under_way)
            if not under_way:
                stage.set(cache="hit")
                stage.skip()

    def holds(self, ticker: str, spans: Sequence[Span], day: date) -> bool:
        """Whether memory holds these series, of whatever age."""
        return all(self._kept.get((ticker, span, day)) is not None for span in spans)

    def is_ready(self, ticker: str, until: datetime) -> bool:
        """Whether memory alone holds the day's signal bars up to `until`."""
        kept = self._kept.get((ticker, self._plan.signal_span, ny_day(until)))
        return kept is not None and self._expected.is_whole(kept, self._plan.signal_span, until)

    def daily(self, ticker: str, day: date) -> Bars:
        """Daily bars of the two years before `day`, all complete. `day` itself is not among them."""
        return self._known(ticker, Span.DAY, day).bars

    def intraday(self, ticker: str, at: datetime) -> Known:
        """The day's bars that signals read, extended hours included, ended by `at`."""
        return self._expected.as_of(self._known(ticker, self._plan.signal_span, ny_day(at)), self._plan.signal_span, at)

    def minutes(self, ticker: str, at: datetime) -> Known:
        """The day's one-minute bars, extended hours included, ended by `at`."""
        return self._expected.as_of(self._known(ticker, Span.MINUTE, ny_day(at)), Span.MINUTE, at)

    def peek(self, ticker: str, at: datetime, span: Span | None = None) -> Known | None:
        """What `intraday` would give out of memory alone, or the day's bars of another `span`; None if that is nothing. Never
        calls the provider."""
        span = span or self._plan.signal_span
        kept = self._kept.get((ticker, span, ny_day(at)))
        return self._expected.as_of(kept, span, at) if kept else None

    def is_complete(self, ticker: str, until: datetime) -> bool:
        """Whether the day's signal bars are final up to `until` (ruling T2) and without a hole: a later bar exists, or they
        were fetched late enough for none to be missing."""
        span = self._plan.signal_span
        return self._expected.is_whole(self._known(ticker, span, ny_day(until)), span, until)

    def has_arrived(self, ticker: str, until: datetime) -> bool:
        """The same, whatever is missing before the last one."""
        return self._expected.has_arrived(self._known(ticker, self._plan.signal_span, ny_day(until)), until)

    def lack(self, bars: Bars, until: datetime) -> str | None:
        """What signal bars of a day lack up to `until`, in words; None if quiet minutes can explain it."""
        return self._expected.lack(bars, until)

    def known_open(self, ticker: str, day: date) -> OfficialOpen | None:
        """The official open if it has been learned; never calls the provider."""
        return self._opens.known(ticker, day)

    def open_of(self, ticker: str, at: datetime) -> OfficialOpen:
        """The official open of the day of `at`, by the chain of policy.md 3; learned once, then kept (ruling T1).

        Raises MissingOpen, and the provider's failures if they are why it is not known.
        """
        session = self._calendar.session_at(at)
        if session is None or at < session.open:
            raise MissingOpen("the session has not opened", code="MISSING_DAILY_BAR")
        if self.known_open(ticker, session.day) is None:
            with suppress(Upstream, NotEntitled):
                self.daily(ticker, session.day)
        kept = self.known_open(ticker, session.day)
        return kept or self._opens.keep(ticker, session.day, self._learn_open(ticker, session, at))

    def bring(self, ticker: str, first: date, last: date) -> int:
        """Past days' one-minute bars into the cache, as few calls as pages; the days that are there cost none. Returns how
        many bars came. Days first .. last must be over. Blocks for as long as the budget takes."""
        return self._fetcher.bring(ticker, first, last)

    def bring_days(self, ticker: str, first: date) -> int:
        """The daily bars that replays from `first` on need, in one call. Returns how many there are."""
        return self._fetcher.bring_days(ticker, first)

    def missing(self, ticker: str, first: date, last: date) -> Sequence[date]:
        """The trading days first .. last of the plan's history whose one-minute bars are to be asked for: they are not in the
        cache, or are incomplete and their next try is due."""
        return self._fetcher.missing(ticker, first, last)

    def missing_days(self, ticker: str, day: date) -> list[date]:
        """Which of the daily bars that signals of `day` read are not in memory though others are, ascending; none before the
        morning of that day, when they may still come."""
        kept = self._kept.get((ticker, Span.DAY, day))
        if kept is None or not len(kept.bars) or kept.fetched < ny(day, MORNING):
            return []
        return missing_days(kept.bars, day, self._calendar)

    def steady_until(self, at: datetime) -> datetime:
        """Until when an answer about `at` stands if nothing comes in: the next minute, the next moment at which a bar becomes
        final or the one before it old, or the end of a failure or of the patience with old bars. Where newer bars are due, it
        is asked anew in a second."""
        late = self._plan.current.lateness
        delayed = self._plan.current.settle + max(self._plan.current.delay, DELAYED_BY)
        turns = [next_minute(at, after) for after in (timedelta(0), late, late + LATE_AFTER, delayed)]
        ends = [failure.at + failure.lasts for failure in self._failed.values()]
        running = [(key[1], kept) for key, kept in self._kept.items() if key[-1] == ny_day(at)]
        ends += [end for span, kept in running for end in self._expected.turns(kept, span, ny_day(at))]
        due = any(not self._expected.is_fresh(kept, span, ny_day(at)) for span, kept in running)
        ends += [at + timedelta(seconds=1)] * due
        return min(turns + [end for end in ends if end > at])

    def age_s(self, ticker: str, at: datetime) -> float | None:
        """Market seconds since the end of the day's newest bar in memory, since the open while there is none; None on a day
        without trading."""
        session = self._calendar.session_at(at)
        if session is None:
            return None
        kept = [self._kept.get((ticker, span, session.day)) for span in (self._plan.signal_span, Span.MINUTE)]
        bars = [known.bars.until(at) for known in kept if known is not None]
        newest = [from_ms(int(found.end[-1])) for found in bars if len(found)]
        return (at - max(newest, default=session.open)).total_seconds()

    def age_allowed_s(self) -> float:
        """How old the newest bar of a ticker that is kept current may be: two bars, and their lateness."""
        return self._expected.age_allowed_s()

    def has_cache(self) -> bool:
        """Whether past days are kept on disk; while they are not, asking tries it again now and then."""
        return self._cache.is_open()

    def kept(self) -> int:
        """How many series are kept in memory."""
        return len(self._kept)

    def fetches(self) -> int:
        """How many fetches are under way or queued."""
        return self._flight.waiting() + self._history.waiting()

    def close(self) -> None:
        self._flight.close()
        self._history.close()
        self._cache.close()

    def _learn_open(self, ticker: str, session: Session, at: datetime) -> OfficialOpen:
        """The official open by the first source that has it. A source that lacks it, fails or is refused passes on to the
        next (policy.md 3); a spent budget and an unknown key are about every source and do not."""
        try:
            found: OfficialOpen = self._attempt(
                ("open", ticker, session.day), lambda: self._opens.of_provider(ticker, session)
            )
        except MissingOpen as exc:
            first = self.intraday(ticker, at).bars.since(session.open)
            if not len(first) or first.t[0] != to_ms(session.open):
                raise without_traceback(exc.fault or exc) from None
            return OfficialOpen(float(first.o[0]), "minute")
        return found

    def _known(self, ticker: str, span: Span, day: date) -> Known:
        """Fresh bars; of a followed ticker those in memory; else a fetch, and while it fails what has not expired."""
        kept = self._kept.get((ticker, span, day))
        fresh = kept is not None and self._expected.is_fresh(kept, span, day)
        meanwhile = kept is not None and not fresh and self._is_served_meanwhile(kept, ticker, span, day)
        self._emit("looked_up", cache="memory", outcome="hit" if fresh or meanwhile else "miss")
        if kept is not None and fresh:
            return kept
        if kept is not None and meanwhile:
            return kept
        try:
            known = self._brought(ticker, span, day)
        except (TryLater, NotEntitled, Unavailable) as exc:
            if kept is None or self._expected.is_expired(kept, span, day):
                raise
            self._emit("stale_bars_served", ticker=ticker, span=str(span), error=exc.detail)
            return replace(kept, stale=True)
        return known

    def _brought(self, ticker: str, span: Span, day: date) -> Known:
        """What a fetch brings. On a local market whose clock is fast the fetch that was joined may have begun minutes ago:
        then a second one, which begins after the caller's moment."""
        key = (ticker, span, day)
        known: Known = self._attempt(key, lambda: self._load(ticker, span, day))
        if self._plan.is_local and not self._expected.is_fresh(known, span, day):
            known = self._attempt(key, lambda: self._load(ticker, span, day))
        return known

    def _is_served_meanwhile(self, kept: Known, ticker: str, span: Span, day: date) -> bool:
        """Whether a follower brings what is newer, and what is kept will do until then. On a local market nothing but the
        newest will do: a fetch costs no call, and between two steps of the follower minutes of a fast clock may pass."""
        if self._plan.is_local or day < ny_day(self._clock()) or not self.is_followed(ticker):
            return False
        return span is Span.DAY or not self._expected.is_expired(kept, span, day)

    def _start(self, ticker: str, span: Span, day: date) -> Future[Any] | None:
        """Begin a fetch unless it is not needed, is under way, or failed lately."""
        key, kept = (ticker, span, day), self._kept.get((ticker, span, day))
        if (kept is not None and self._expected.is_fresh(kept, span, day)) or self._recent_failure(key) is not None:
            return None
        return self._flight_of(key).start(key, lambda: self._coordinated(key, lambda: self._load(ticker, span, day)))

    def _attempt(self, key: Key, fetch: Callable[[], Any]) -> Any:
        """`fetch`, shared with its twins; for a while after a failure that failure again."""
        failed = self._recent_failure(key)
        if failed is not None:
            raise without_traceback(failed)
        flight = self._flight_of(key)
        with self._stages(AWAIT if flight.runs(key) else FETCH, series=" ".join(str(part) for part in key)):
            return flight.run(key, lambda: self._coordinated(key, fetch), DEADLINE_S)

    def _recent_failure(self, key: Key) -> PredictError | None:
        failed = self._failed.get(key)
        return failed.error if failed is not None and failed.holds(self._clock()) else None

    def _flight_of(self, key: Key) -> SingleFlight[Any]:
        return self._flight if key[-1] >= ny_day(self._clock()) else self._history

    def _coordinated(self, key: Key, fetch: Callable[[], Any]) -> Any:
        """`fetch` in one process at a time; what another process brought, or met, is the answer of this one too."""
        shared = self._running_day
        if shared is None or not self._is_shared(key):
            return self._remembering(key, fetch)

        def telling() -> Any:
            try:
                return self._remembering(key, fetch)
            except PredictError:
                failed = self._failed.get(key)
                if failed is not None:
                    shared.fail(_name_of(key), failed)
                raise

        def share(found: Any, lease: Lease) -> None:
            if isinstance(found, Known):
                series = SharedSeries(found.bars, found.fetched, found.delayed, found.missing, found.again)
                if not shared.put(_name_of(key), key[-1], series, lease):
                    self._adopted(key)

        return shared.once(_name_of(key), lambda: self._from_others(shared, key), telling, share)

    def _is_shared(self, key: Key) -> bool:
        """Whether other processes may need a fetch of the same: past days in the cache on disk need none."""
        ticker, span, day = key
        if ticker == OPEN or day >= ny_day(self._clock()):
            return True
        first, last = (self._plan.earliest(ticker, day - HISTORY), day - ONE_DAY) if span is Span.DAY else (day, day)
        return not self._cache.covers(ticker, span, first, last)

    def _from_others(self, shared: RunningDay, key: Key) -> Any:
        """What another process brought, if that will do; None if it does not. Raises the failure that it met lately."""
        found = self.known_open(*key[1:]) if key[0] == OPEN else self._adopted(key)
        failed = shared.failure(_name_of(key)) if found is None else None
        if failed is not None and failed.holds(self._clock()):
            self._failed.put(key, failed)
            raise without_traceback(failed.error)
        return found

    def _adopted(self, key: Key) -> Known | None:
        """Takes over the series of another process if it is newer than what is here; what is here then, if it is fresh."""
        assert self._running_day is not None
        series, kept = self._running_day.get(_name_of(key)), self._kept.get(key)
        newer = series is not None and (kept is None or kept.fetched < series.fetched)
        if series is not None and newer and series.fetched <= self._clock():
            kept = Known(
                series.bars, series.fetched, delayed=series.delayed, missing=series.missing, again=series.again
            )
            if key[1] is Span.DAY:
                kept = self._fetcher.adopted(key[0], key[2], kept)
            self._take_over(key, kept)
        return kept if kept is not None and self._expected.is_fresh(kept, *key[1:]) else None

    def _take_over(self, key: Key, known: Known) -> None:
        """What comes from another process counts like a fetch of this one's."""
        ticker, span, day = key
        if known.fetched >= self._began:
            self._on_answered_elsewhere()
        today = day == ny_day(self._clock())
        if span is Span.DAY and today:
            self._forget_past_days(ticker, day)
        elif today:
            self._plan.observe_today(known.delayed, known.fetched)
        self._kept.put(key, known)
        self._emit(self._fetcher.event_of(day, "bars_known"), ticker=ticker, span=str(span), bars=len(known.bars))

    def _remembering(self, key: Key, fetch: Callable[[], Any]) -> Any:
        try:
            with (
                self._stages.root("fetch", series=str(key)),
                call_context(self._priority(key), PATIENCE_S, self._timer),
            ):
                return fetch()
        except PredictError as exc:
            self._failed.put(key, FetchFailure(self._clock(), _lasting(exc), without_traceback(exc)))
            self._emit(
                self._fetcher.event_of(key[-1], "fetch_failed"),
                ticker=_ticker_of(key),
                key=str(key),
                code=exc.code,
                error=exc.detail,
            )
            raise
        except Exception as exc:  # whatever a provider's answer broke stays its own ticker's failure
            self._emit("fetch_broke", ticker=_ticker_of(key), key=str(key), error=type(exc).__name__)
            broken = Upstream(f"the provider's answer could not be read ({type(exc).__name__})")
            self._failed.put(key, FetchFailure(self._clock(), RETRY_AFTER, broken))
            raise without_traceback(broken) from None

    def _priority(self, key: Key) -> Priority:
        if key[-1] < ny_day(self._clock()):
            return Priority.REPLAY
        return Priority.OPEN if Span.DAY in key or "open" in key else Priority.MINUTES

    def _load(self, ticker: str, span: Span, day: date) -> Known:
        """From the cache if the days are over and covered, else from the provider, and then into the cache."""
        before = self._kept.get((ticker, span, day))
        if before is not None and self._expected.is_fresh(before, span, day):
            return before  # a twin came just before
        now, overrides = self._clock(), self._calendar.overrides
        first = self._plan.earliest(ticker, day - HISTORY) if span is Span.DAY else day
        if last_of(span, day) < first_day_of(ticker):
            return Known(no_bars(), now)
        kept = self._fetcher.on_disk(ticker, span, first, day) if last_of(span, day) < ny_day(now) else None
        known = self._fetcher.ask(ticker, span, first, day, kept, before) if kept is None or is_due(kept, now) else kept
        known = self._with_known(known, before, span, day)
        if span is Span.DAY and before is None and day == ny_day(now):
            self._forget_past_days(ticker, day)
        newest = self._kept.get((ticker, span, day))
        if newest is not None and known.fetched < newest.fetched <= self._clock():
            return newest  # another process's, taken over during this fetch
        self._kept.put((ticker, span, day), known)
        if span is Span.DAY and self._calendar.overrides is not overrides:
            self._kept.put((ticker, span, day), replace(known, again=now))
            return self._load(ticker, span, day)  # these bars were chosen by the calendar of before
        self._emit(self._fetcher.event_of(day, "bars_known"), ticker=ticker, span=str(span), bars=len(known.bars))
        return known

    def _forget_past_days(self, ticker: str, day: date) -> None:
        """A new day's prices may be on another basis; past days come again out of the cache and the record, which know."""
        self._opens.read_again(ticker, day)
        self._kept.forget(lambda key: key[0] == ticker and key[-1] < day)

    def _forget_ticker(self, ticker: str) -> None:
        """The history of the ticker is on another basis."""
        if self._running_day is not None:
            self._running_day.forget(ticker)
        self._kept.forget(lambda key: key[0] == ticker)

    def _with_known(self, known: Known, before: Known | None, span: Span, day: date) -> Known:
        """What an answer brings, and the bars of the running day that an earlier one brought: what a provider says of a bar is
        taken, that it says nothing of it any more is not. Raises Upstream for an answer that ends before the one before."""
        if before is None or not len(before.bars) or known.fetched < before.fetched:
            return known
        if not len(known.bars) or known.bars.t[-1] < before.bars.t[-1]:
            raise Upstream(SHRUNK)
        if span is Span.DAY or day < ny_day(known.fetched):
            return known
        return replace(known, bars=united(before.bars, known.bars))


def next_minute(at: datetime, after: timedelta) -> datetime:
    """The first moment behind `at` that lies `after` past a full minute."""
    now, late = to_ms(at), after // timedelta(milliseconds=1)
    return from_ms(now + MINUTE_MS - (now - late) % MINUTE_MS)


def _ticker_of(key: Key) -> str:
    return str(key[1] if key[0] == OPEN else key[0])


def _name_of(key: Key) -> str:
    """The key as the processes on one DATA_DIR name it."""
    return " ".join(str(part) for part in key)


def _key_of(name: str) -> Key:
    ticker, span, day = name.split(" ")
    return ticker, Span(span), date.fromisoformat(day)


def _lasting(exc: PredictError) -> timedelta:
    """For how long a failure is the answer: the plan's refusal long, our own or the provider's pause as long as it says."""
    if isinstance(exc, NotEntitled):
        return REFUSED_FOR
    if isinstance(exc, TryLater):
        return min(RETRY_AFTER, timedelta(seconds=max(1.0, exc.retry_after)))
    return RETRY_AFTER
