"""Bars known at a moment. Past days come from the cache, today's bars from the provider, once for all who ask.

Whatever is asked for is cut at `at`: a caller never sees a bar that had not ended. Every request path to market data
goes through here; nothing here knows what the bars are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol

import numpy as np

from app.clock import Clock
from app.errors import NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.market.bars import Bars, Span, to_ms
from app.market.cache import BarCache
from app.market.calendar import ONE_DAY, Calendar, Session, midnight_ms, ny, ny_day
from app.market.flight import Recent, SingleFlight, afresh
from app.market.polygon import Aggregates, NotFound, Polygon

HISTORY = timedelta(days=730)
STALE_AFTER = timedelta(minutes=15)
RETRY_AFTER = timedelta(seconds=60)
DELAYED_BY = timedelta(minutes=15)
"""How late bars are that the provider itself calls delayed (polygon.md 4)."""

REVISED_FOR = timedelta(days=2)
"""How long after a day its daily bar may still be missing or change (polygon.md 3.9, 5)."""

DEADLINE_S = 5.0
KEPT_SERIES = 256
TODAY_WORKERS, HISTORY_WORKERS = 10, 3
"""Fetches at a time: of the running day, and of all others, so that replays never starve it."""

MORNING = time(4)
"""From then on the daily bars of the days before have their last corrections (polygon.md 5)."""

UNBROKEN_DAYS = 21
Key = tuple[Any, ...]
"""What a fetch is known by; its day stands last."""

Notice = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the data of this deployment is: its name in `data_status`, the series that signals read (ruling M6), how late
    its bars are, and how long after its end a bar may still change (ruling T2)."""

    source: str
    signal_span: Span
    delay: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)
    name: str | None = None

    @property
    def lateness(self) -> timedelta:
        return self.delay + self.settle


@dataclass(frozen=True, slots=True)
class Known:
    """Bars as of `fetched` (market time). `stale`: a newer fetch failed and these are served in its stead; `delayed`: the
    provider itself called them late."""

    bars: Bars
    fetched: datetime
    stale: bool = False
    delayed: bool = False

    def until(self, at: datetime) -> Known:
        return replace(self, bars=self.bars.until(at))


@dataclass(frozen=True, slots=True)
class OfficialOpen:
    """The official opening price of a day and where it was learned (`daily`, `snapshot`, `minute`); ruling T1."""

    price: float
    source: str


class OpenStore(Protocol):
    """Keeps official opens; the first writer wins."""

    def get_open(self, ticker: str, day: date) -> OfficialOpen | None: ...

    def put_open(self, ticker: str, day: date, found: OfficialOpen) -> OfficialOpen:
        """Keep `found` unless one is kept already; returns the one that is kept."""
        ...


class MissingOpen(PredictError):
    """The day has no usable official open; `code` tells a missing daily bar from one without an open (policy.md 3)."""


class Source:
    """The market as it is known now. Methods raise TryLater, NotEntitled or Unavailable when nothing usable is known.

    A failed fetch is tried again once a market minute at most (policy.md 10, "not locked").
    """

    def __init__(
        self,
        polygon: Polygon,
        cache: BarCache,
        opens: OpenStore,
        calendar: Calendar,
        clock: Clock,
        plan: Plan,
        notice: Notice,
    ) -> None:
        self._plan = plan
        self._provider_delays = False
        self._end_of_day = False
        self._polygon = polygon
        self._cache = cache
        self._opens = opens
        self._calendar = calendar
        self._clock = clock
        self._notice = notice
        self._flight: SingleFlight[Any] = SingleFlight(TODAY_WORKERS)
        self._history: SingleFlight[Any] = SingleFlight(HISTORY_WORKERS)
        self._kept: Recent[Known] = Recent(KEPT_SERIES)
        self._failed: Recent[tuple[datetime, PredictError]] = Recent(KEPT_SERIES)

    @property
    def plan(self) -> Plan:
        """The deployment's plan as far as it has shown itself: late if it is set so or if the provider marks its bars as
        delayed, end of day if it refuses today's."""
        plan = self._plan
        if self._provider_delays and not plan.delay:
            plan = replace(plan, delay=DELAYED_BY)
        if plan.source != "polygon":
            return replace(plan, name=plan.source)
        return replace(plan, name="end_of_day" if self._end_of_day else "delayed" if plan.delay else "real_time")

    def daily(self, ticker: str, day: date) -> Bars:
        """Daily bars of the two years before `day`, all complete. `day` itself is not among them."""
        return self._known(ticker, Span.DAY, day).bars

    def intraday(self, ticker: str, at: datetime) -> Known:
        """The day's bars that signals read, extended hours included, ended by `at`."""
        return self._known(ticker, self.plan.signal_span, ny_day(at)).until(at)

    def minutes(self, ticker: str, at: datetime) -> Known:
        """The day's one-minute bars, extended hours included, ended by `at`."""
        return self._known(ticker, Span.MINUTE, ny_day(at)).until(at)

    def peek(self, ticker: str, at: datetime) -> Known | None:
        """What `intraday` would give out of memory alone; None if that is nothing. Never calls the provider."""
        kept = self._kept.get((ticker, self.plan.signal_span, ny_day(at)))
        return kept.until(at) if kept else None

    def is_complete(self, ticker: str, until: datetime) -> bool:
        """Whether the day's signal bars are final up to `until` (ruling T2): a later bar exists, or they were fetched
        late enough for none to be missing."""
        known = self._known(ticker, self.plan.signal_span, ny_day(until))
        late = self.plan.settle + max(self.plan.delay, DELAYED_BY if known.delayed else timedelta(0))
        return bool(len(known.bars.since(until))) or known.fetched >= until + late

    def known_open(self, ticker: str, day: date) -> OfficialOpen | None:
        """The official open if it has been learned; never calls the provider."""
        return self._opens.get_open(ticker, day)

    def open_of(self, ticker: str, at: datetime) -> OfficialOpen:
        """The official open of the day of `at`, by the chain of policy.md 3; learned once, then kept (ruling T1).

        Raises MissingOpen, and the provider's failures if they are why it is not known.
        """
        session = self._calendar.session_at(at)
        if session is None or at < session.open:
            raise MissingOpen("the session has not opened", code="MISSING_DAILY_BAR")
        if self.known_open(ticker, session.day) is None:
            self.daily(ticker, session.day)
        kept = self.known_open(ticker, session.day)
        return kept or self._opens.put_open(ticker, session.day, self._learn_open(ticker, session, at))

    def fetches(self) -> int:
        """How many fetches are under way or queued."""
        return self._flight.waiting() + self._history.waiting()

    def close(self) -> None:
        self._flight.close()
        self._history.close()
        self._cache.close()

    def _learn_open(self, ticker: str, session: Session, at: datetime) -> OfficialOpen:
        try:
            found: OfficialOpen = self._attempt(
                ("open", ticker, session.day), lambda: self._provider_open(ticker, session.day)
            )
        except MissingOpen:
            first = self.intraday(ticker, at).bars.since(session.open)
            if not len(first) or first.t[0] != to_ms(session.open):
                raise
            return OfficialOpen(float(first.o[0]), "minute")
        return found

    def _provider_open(self, ticker: str, day: date) -> OfficialOpen:
        today = self._aggregates(ticker, Span.DAY, day, day)
        if len(today.bars):
            return OfficialOpen(float(today.bars.o[-1]), "daily")
        price = self._snapshot_open(ticker) if day == ny_day(self._clock()) else None
        if price is not None:
            return OfficialOpen(price, "snapshot")
        if midnight_ms(day) in today.starts:
            raise MissingOpen("the daily bar of today has no opening price", code="MISSING_DAILY_OPEN")
        raise MissingOpen("the daily bar of today is not there", code="MISSING_DAILY_BAR")

    def _snapshot_open(self, ticker: str) -> float | None:
        """Today's open from the snapshot; None where the plan has no snapshots."""
        try:
            return self._polygon.snapshot_open(ticker)
        except (NotEntitled, NotFound):
            return None

    def _known(self, ticker: str, span: Span, day: date) -> Known:
        key = (ticker, span, day)
        kept = self._kept.get(key)
        if kept is not None and self._is_fresh(kept, span, day):
            return kept
        try:
            known: Known = self._attempt(key, lambda: self._load(ticker, span, day))
        except (TryLater, NotEntitled, Unavailable) as exc:
            if kept is None or self._clock() - kept.fetched > STALE_AFTER:
                raise
            self._notice("stale_bars_served", ticker=ticker, span=str(span), error=exc.message)
            return replace(kept, stale=True)
        return known

    def _attempt(self, key: Key, fetch: Callable[[], Any]) -> Any:
        """`fetch`, shared with its twins; within a minute of a failure that failure again."""
        failed = self._failed.get(key)
        if failed is not None and timedelta(0) <= self._clock() - failed[0] < RETRY_AFTER:
            raise afresh(failed[1])
        flight = self._flight if key[-1] == ny_day(self._clock()) else self._history
        return flight.run(key, lambda: self._remembering(key, fetch), DEADLINE_S)

    def _remembering(self, key: Key, fetch: Callable[[], Any]) -> Any:
        try:
            return fetch()
        except PredictError as exc:
            self._failed.put(key, (self._clock(), afresh(exc)))
            raise
        except Exception as exc:  # whatever a provider's answer broke stays its own ticker's failure
            self._notice("fetch_broke", key=str(key), error=type(exc).__name__)
            broken = Upstream(f"the provider's answer could not be read ({type(exc).__name__})")
            self._failed.put(key, (self._clock(), broken))
            raise afresh(broken) from None

    def _load(self, ticker: str, span: Span, day: date) -> Known:
        """From the cache if the days are over and covered, else from the provider, and then into the cache."""
        now = self._clock()
        first, last = (day - HISTORY, day - ONE_DAY) if span is Span.DAY else (day, day)
        over = last < ny_day(now)
        bars, delayed = self._cache.get(ticker, span, first, last) if over else None, False
        if bars is None:
            bars, delayed = self._fetch(ticker, span, first, day, now)
            if over and self._is_settled(bars, span, day, now):
                self._cache.put(ticker, span, first, last, bars, now)
        known = Known(bars, now, delayed=delayed)
        self._refuse_shrunk(known, self._kept.get((ticker, span, day)))
        self._kept.put((ticker, span, day), known)
        return known

    def _refuse_shrunk(self, known: Known, before: Known | None) -> None:
        """An answer that lacks bars which were there a minute ago is a failure, not a quiet market."""
        if before is None or not len(before.bars) or known.fetched < before.fetched:
            return
        if not len(known.bars) or known.bars.t[-1] < before.bars.t[-1]:
            raise Upstream("the provider's answer lacks bars that it gave before")

    def _is_settled(self, bars: Bars, span: Span, day: date, now: datetime) -> bool:
        """Whether bars of days that are over can be kept for ever: they are whole, or old enough to stay as they are."""
        if ny_day(now) - day > REVISED_FOR:
            return True
        if span is Span.DAY:
            return self._reaches(bars, day) and now >= ny(day, MORNING)
        session = self._calendar.session(day)
        return session is None or bool(len(bars) and bars.end[-1] >= to_ms(session.close - STALE_AFTER))

    def _fetch(self, ticker: str, span: Span, first: date, day: date, now: datetime) -> tuple[Bars, bool]:
        """The provider's final bars of first .. day, and whether it calls them delayed; of daily bars that of `day` is not
        kept, only its open is learned."""
        if span is not Span.DAY:
            return self._intraday_bars(ticker, span, day, now)
        bars = self._daily_bars(ticker, first, day)
        before = int(np.searchsorted(bars.t, midnight_ms(day)))
        session = self._calendar.session(day)
        if before < len(bars) and session is not None and now >= session.open:
            self._opens.put_open(ticker, day, OfficialOpen(float(bars.o[before]), "daily"))
        return bars[:before], False

    def _intraday_bars(self, ticker: str, span: Span, day: date, now: datetime) -> tuple[Bars, bool]:
        """What today's bars say of the plan is remembered; a past day's say nothing of it."""
        today = day == ny_day(now)
        try:
            found = self._aggregates(ticker, span, day, day)
        except NotEntitled:
            self._end_of_day = self._end_of_day or today
            raise
        if today:
            self._end_of_day, self._provider_delays = False, found.delayed
        return self._final(found.bars, now), found.delayed

    def _daily_bars(self, ticker: str, first: date, day: date) -> Bars:
        """Up to `day`, or up to the day before on a plan that refuses a range that ends today (polygon.md 6)."""
        try:
            return self._aggregates(ticker, Span.DAY, first, day).bars
        except NotEntitled:
            return self._aggregates(ticker, Span.DAY, first, day - ONE_DAY).bars

    def _final(self, bars: Bars, now: datetime) -> Bars:
        """Without a last bar that may still change (ruling T2)."""
        running = len(bars) and bars.end[-1] > to_ms(now - self.plan.lateness)
        return bars[: len(bars) - 1] if running else bars

    def _aggregates(self, ticker: str, span: Span, first: date, last: date) -> Aggregates:
        found = self._polygon.aggregates(ticker, span, first, last)
        if found.rejected:
            self._notice("bars_rejected", ticker=ticker, span=str(span), rows=found.rejected.total())
        return found

    def _is_fresh(self, known: Known, span: Span, day: date) -> bool:
        """Whether no bar can have become final since the fetch. Days that were over then are final. Daily bars are if they
        reach the day before and came that morning (polygon.md 3.9); else they are asked for again after a while."""
        if span is Span.DAY:
            now, morning = self._clock(), ny(day, MORNING)
            settled = self._reaches(known.bars, day) and (known.fetched >= morning or now < morning)
            return settled or abs(now - known.fetched) < RETRY_AFTER
        if ny_day(known.fetched) > day:
            settled = self._is_settled(known.bars, span, day, known.fetched)
            return settled or abs(self._clock() - known.fetched) < RETRY_AFTER
        return self._last_final(known.fetched, span) == self._last_final(self._clock(), span)

    def _reaches(self, daily: Bars, day: date) -> bool:
        """Whether the newest daily bars are those of the trading days before `day`, without a hole."""
        newest = self._calendar.days_before(day, UNBROKEN_DAYS)
        return bool(daily.t[-UNBROKEN_DAYS:].tolist() == [midnight_ms(before) for before in newest])

    def _last_final(self, at: datetime, span: Span) -> int:
        return to_ms(at - self.plan.lateness) // span.ms
