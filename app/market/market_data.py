"""Bars known at a moment. Past days come from the cache, today's bars from the provider, once for all who ask.

Whatever is asked for is cut at `at`: a caller never sees a bar that had not ended. Every request path to market data
goes through here; nothing here knows what the bars are for. Tickers that a follower keeps current are answered out of
memory; the others are fetched by who asks first, for all who ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta

from app.clock import Clock, Timer
from app.errors import NotEntitled, TryLater, Unavailable, Upstream
from app.market.bars import Bars, Span, from_ms, to_ms
from app.market.cache import BarCache
from app.market.calendar import Calendar, Session, ny, ny_day
from app.market.completeness import REFERENCE, missing_days
from app.market.expectations import BarsAsOf
from app.market.fetching import Fetcher
from app.market.freshness import MORNING
from app.market.loading import Loader
from app.market.observed_plan import ObservedPlan
from app.market.opens import MissingOpen, OfficialOpen, OpenStore
from app.market.plan import Entitlement, Plan
from app.market.polygon import Polygon
from app.market.running_day import RunningDay
from app.market.series_memory import OPEN, SeriesMemory
from app.market.shared_fetches import SharedFetches
from app.market.single_flight import without_traceback
from app.telemetry.stages import NULL_STAGES, Stages

Emit = Callable[..., None]


class MarketData:
    """The market as it is known now. Methods raise TryLater, NotEntitled or Unavailable when nothing usable is known.

    Series that were brought stay in memory. Who needs more than bars asks a part:

    observed_plan  the plan as far as the provider has shown it
    fetcher        brings past days into the cache; corrects the calendar
    expectations   which bars should be here by when
    opens          the official opens that have been learned
    memory         the series in memory
    cache          the series of past days on disk
    fetches        the fetches that are under way, shared by all who ask; starts them without waiting
    """

    def __init__(
        self,
        polygon: Polygon,
        cache: BarCache,
        opens: OpenStore,
        calendar: Calendar,
        clock: Clock,
        plan: Plan,
        emit: Emit,
        timer: Timer | None = None,
        stages: Stages = NULL_STAGES,
        running_day: RunningDay | None = None,
        clock_offset: Callable[[], timedelta] = timedelta,
        is_answered: Callable[[], bool] = lambda: True,
        on_answered_elsewhere: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock_offset()`: how far `clock` runs ahead of the provider's; `is_answered()`: False while the provider was asked
        and has never answered; `on_answered_elsewhere()` hears that another process has fetched since this one began."""
        self._followed: Callable[[str], bool] = lambda ticker: False
        timer = timer or Timer()
        self.cache = cache
        self._calendar = calendar
        self._clock = clock
        self._emit = emit
        self.memory = SeriesMemory(running_day)
        self.observed_plan = ObservedPlan(plan, calendar, clock, emit, clock_offset, is_answered)
        self.fetcher = Fetcher(
            polygon, cache, opens, self.observed_plan, calendar, clock, emit, timer, self.memory.forget_ticker
        )
        self.expectations, self.opens = self.fetcher.expected, self.fetcher.opens
        loader = Loader(self.fetcher, self.memory, self.observed_plan, calendar, clock, emit, on_answered_elsewhere)
        self.fetches = SharedFetches(
            loader, self.memory, self.fetcher, cache, self.observed_plan, clock, timer, emit, stages, running_day
        )

    @property
    def plan(self) -> Plan:
        """The deployment's plan as far as the provider has shown it."""
        return self.observed_plan.current

    def apply_entitlement(self, entitlement: Entitlement) -> None:
        """Takes over what a probe found. If that changes the plan, what was refused before may be asked for again."""
        if self.observed_plan.apply_entitlement(entitlement):
            self.memory.forget_failures(everywhere=True)
        self._emit("entitled", today=entitlement.has_intraday)

    def follow_calendar(self) -> None:
        """The calendar has changed: daily bars are read anew, and what failed for want of a day may be tried again."""
        self.memory.forget_days()
        self.memory.forget_failures()

    def set_follower(self, follows: Callable[[str], bool]) -> None:
        """`follows(ticker)`: whether a follower keeps the ticker current, so that a request need not."""
        self._followed = follows

    def is_followed(self, ticker: str) -> bool:
        """Whether a follower keeps the ticker current."""
        return self._followed(ticker)

    def refresh(self, ticker: str, at: datetime) -> None:
        """Start what a current answer about `ticker` needs and has not: its days, its bars of the day. Waits for nothing."""
        spans = dict.fromkeys((Span.DAY, self.observed_plan.signal_span, Span.MINUTE))
        self.fetches.start(ticker, list(spans), ny_day(at))

    def holds(self, ticker: str, spans: Sequence[Span], day: date) -> bool:
        """Whether memory holds these series, of whatever age."""
        return all(self.memory.get(ticker, span, day) is not None for span in spans)

    def is_ready(self, ticker: str, until: datetime) -> bool:
        """Whether memory alone holds the day's signal bars up to `until`."""
        kept = self.memory.get(ticker, self.observed_plan.signal_span, ny_day(until))
        return kept is not None and self.expectations.is_whole(kept, self.observed_plan.signal_span, until)

    def daily(self, ticker: str, day: date) -> Bars:
        """Daily bars of the two years before `day`, all complete. `day` itself is not among them."""
        return self._known(ticker, Span.DAY, day).bars

    def settle_closures(self, day: date) -> None:
        """Reads REFERENCE's daily bars if a closure among the days before `day` is doubtful: they correct the calendar, and the
        daily bars of other tickers that are read from then on are those of the calendar so corrected."""
        if self.expectations.doubtful_closures(day):
            self.daily(REFERENCE, day)

    def intraday(self, ticker: str, at: datetime) -> BarsAsOf:
        """The day's bars that signals read, extended hours included, ended by `at`."""
        span = self.observed_plan.signal_span
        return self.expectations.as_of(self._known(ticker, span, ny_day(at)), span, at)

    def minutes(self, ticker: str, at: datetime) -> BarsAsOf:
        """The day's one-minute bars, extended hours included, ended by `at`."""
        return self.expectations.as_of(self._known(ticker, Span.MINUTE, ny_day(at)), Span.MINUTE, at)

    def peek(self, ticker: str, at: datetime, span: Span | None = None) -> BarsAsOf | None:
        """What `intraday` would give out of memory alone, or the day's bars of another `span`; None if that is nothing. Never
        calls the provider."""
        span = span or self.observed_plan.signal_span
        kept = self.memory.get(ticker, span, ny_day(at))
        return self.expectations.as_of(kept, span, at) if kept else None

    def is_complete(self, ticker: str, until: datetime) -> bool:
        """Whether the day's signal bars are final up to `until` (ruling T2) and without a hole: a later bar exists, or they
        were fetched late enough for none to be missing."""
        span = self.observed_plan.signal_span
        return self.expectations.is_whole(self._known(ticker, span, ny_day(until)), span, until)

    def has_arrived(self, ticker: str, until: datetime) -> bool:
        """The same, whatever is missing before the last one."""
        return self.expectations.has_arrived(self._known(ticker, self.observed_plan.signal_span, ny_day(until)), until)

    def open_of(self, ticker: str, at: datetime) -> OfficialOpen:
        """The official open of the day of `at`, by the chain of policy.md 3; learned once, then kept (ruling T1).

        Raises MissingOpen, and the provider's failures if they are why it is not known.
        """
        session = self._calendar.session_at(at)
        if session is None or at < session.open:
            raise MissingOpen("the session has not opened", code="MISSING_DAILY_BAR")
        if self.opens.known(ticker, session.day) is None:
            with suppress(Upstream, NotEntitled):
                self.daily(ticker, session.day)
        return self.opens.known(ticker, session.day) or self._learn_open(ticker, session, at)

    def missing_days(self, ticker: str, day: date) -> list[date]:
        """Which of the daily bars that signals of `day` read memory lacks though it has others; none before the morning of that
        day, when they may still come."""
        kept = self.memory.get(ticker, Span.DAY, day)
        if kept is None or not len(kept.bars) or kept.fetched < ny(day, MORNING):
            return []
        return missing_days(kept.bars, day, self._calendar)

    def steady_until(self, at: datetime, ticker: str | None = None) -> datetime:
        """Until when an answer about `at` stands if nothing comes in: as long as its bars do, until a failure ends. ticker: the
        only one that it is about."""
        until = self.expectations.steady_until(at, self.memory.of_day(ny_day(at), ticker))
        return min([until, *(end for end in self.memory.failures_until(ticker) if end > at)])

    def age_s(self, ticker: str, at: datetime) -> float | None:
        """Market seconds since the end of the day's newest bar in memory, else since the open; None on a day without one."""
        session = self._calendar.session_at(at)
        if session is None:
            return None
        kept = [self.memory.get(ticker, span, session.day) for span in (self.observed_plan.signal_span, Span.MINUTE)]
        bars = [known.bars.until(at) for known in kept if known is not None]
        newest = [from_ms(int(series.end[-1])) for series in bars if len(series)]
        return (at - max(newest, default=session.open)).total_seconds()

    def close(self) -> None:
        self.fetches.close()
        self.cache.close()

    def _learn_open(self, ticker: str, session: Session, at: datetime) -> OfficialOpen:
        """The official open by the first source that has it, kept. A source that lacks it, fails or is refused passes on to the
        next (policy.md 3); a spent budget and an unknown key are about every source and do not."""
        try:
            key = (OPEN, ticker, session.day)
            official_open: OfficialOpen = self.fetches.attempt(key, lambda: self.opens.learn(ticker, session))
        except MissingOpen as exc:
            first = self.intraday(ticker, at).bars.since(session.open)
            if not len(first) or first.t[0] != to_ms(session.open):
                raise without_traceback(exc.fault or exc) from None
            return self.opens.keep(ticker, session.day, OfficialOpen(float(first.o[0]), "minute"))
        return official_open

    def _known(self, ticker: str, span: Span, day: date) -> BarsAsOf:
        """Fresh bars; of a followed ticker those in memory; else a fetch, and while it fails what has not expired."""
        kept = self.memory.get(ticker, span, day)
        fresh = kept is not None and self.expectations.is_fresh(kept, span, day)
        meanwhile = kept is not None and not fresh and self._is_served_meanwhile(kept, ticker, span, day)
        self._emit("looked_up", cache="memory", outcome="hit" if fresh or meanwhile else "miss")
        if kept is not None and (fresh or meanwhile):
            return kept
        try:
            return self._brought(ticker, span, day)
        except (TryLater, NotEntitled, Unavailable) as exc:
            if kept is None or self.expectations.is_expired(kept, span, day):
                raise
            self._emit("stale_bars_served", ticker=ticker, span=str(span), error=exc.detail)
            return replace(kept, stale=True)

    def _brought(self, ticker: str, span: Span, day: date) -> BarsAsOf:
        """What a fetch brings. On a local market whose clock is fast the fetch that was joined may have begun minutes ago:
        then a second one, which begins after the caller's moment."""
        known = self.fetches.series(ticker, span, day)
        again = self.observed_plan.is_local and not self.expectations.is_fresh(known, span, day)
        return self.fetches.series(ticker, span, day) if again else known

    def _is_served_meanwhile(self, kept: BarsAsOf, ticker: str, span: Span, day: date) -> bool:
        """Whether a follower brings what is newer, and what is kept will do until then. On a local market nothing but the
        newest will do: a fetch costs no call, and between two steps of the follower minutes of a fast clock may pass."""
        if self.observed_plan.is_local or day < ny_day(self._clock()) or not self.is_followed(ticker):
            return False
        return span is Span.DAY or not self.expectations.is_expired(kept, span, day)
