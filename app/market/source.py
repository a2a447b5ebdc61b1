"""Bars known at a moment. Past days come from the cache, today's bars from the provider, once for all who ask.

Whatever is asked for is cut at `at`: a caller never sees a bar that had not ended. Every request path to market data
goes through here; nothing here knows what the bars are for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import numpy as np

from app.clock import Clock
from app.errors import NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.market.bars import Bars, Span, to_ms
from app.market.cache import BarCache
from app.market.calendar import ONE_DAY, Calendar, Session, midnight_ms, ny_day
from app.market.flight import Recent, SingleFlight
from app.market.polygon import Aggregates, Polygon

HISTORY = timedelta(days=730)
STALE_AFTER = timedelta(minutes=15)
RETRY_AFTER = timedelta(seconds=60)
DELAYED_BY = timedelta(minutes=15)
"""How late bars are that the provider itself calls delayed (polygon.md 4)."""

REVISED_FOR = timedelta(days=2)
"""How long after a day its daily bar may still be missing or change (polygon.md 3.9, 5)."""

DEADLINE_S = 5.0
KEPT_SERIES = 256

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
    """Bars as of `fetched` (market time). `stale`: a newer fetch failed and these are served in its stead."""

    bars: Bars
    fetched: datetime
    stale: bool = False

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
        self._polygon = polygon
        self._cache = cache
        self._opens = opens
        self._calendar = calendar
        self._clock = clock
        self._notice = notice
        self._flight: SingleFlight[Any] = SingleFlight()
        self._kept: Recent[Known] = Recent(KEPT_SERIES)
        self._failed: Recent[tuple[datetime, PredictError]] = Recent(KEPT_SERIES)

    @property
    def plan(self) -> Plan:
        """The deployment's plan; late if it is set so or if the provider marks its bars as delayed."""
        late = self._provider_delays and not self._plan.delay
        return replace(self._plan, delay=DELAYED_BY) if late else self._plan

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
        return bool(len(known.bars.since(until))) or known.fetched >= until + self.plan.lateness

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
        return self._flight.waiting()

    def close(self) -> None:
        self._flight.close()
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
        except (NotEntitled, Upstream):
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

    def _attempt(self, key: Hashable, fetch: Callable[[], Any]) -> Any:
        """`fetch`, shared with its twins; within a minute of a failure that failure again."""
        failed = self._failed.get(key)
        if failed is not None and timedelta(0) <= self._clock() - failed[0] < RETRY_AFTER:
            raise failed[1]
        return self._flight.run(key, lambda: self._remembering(key, fetch), DEADLINE_S)

    def _remembering(self, key: Hashable, fetch: Callable[[], Any]) -> Any:
        try:
            return fetch()
        except PredictError as exc:
            self._failed.put(key, (self._clock(), exc))
            raise

    def _load(self, ticker: str, span: Span, day: date) -> Known:
        """From the cache if the days are over and covered, else from the provider, and then into the cache."""
        now = self._clock()
        first, last = (day - HISTORY, day - ONE_DAY) if span is Span.DAY else (day, day)
        over = last < ny_day(now)
        bars = self._cache.get(ticker, span, first, last) if over else None
        if bars is None:
            bars = self._fetch(ticker, span, first, day, now)
            if over and (span is not Span.DAY or self._reaches(bars, day) or ny_day(now) - day > REVISED_FOR):
                self._cache.put(ticker, span, first, last, bars, now)
        known = Known(bars, now)
        self._kept.put((ticker, span, day), known)
        return known

    def _fetch(self, ticker: str, span: Span, first: date, day: date, now: datetime) -> Bars:
        """The provider's final bars of first .. day; of daily bars that of `day` is not kept, only its open is learned."""
        bars = self._aggregates(ticker, span, first, day).bars
        if span is not Span.DAY:
            return self._final(bars, now)
        before = int(np.searchsorted(bars.t, midnight_ms(day)))
        session = self._calendar.session(day)
        if before < len(bars) and session is not None and now >= session.open:
            self._opens.put_open(ticker, day, OfficialOpen(float(bars.o[before]), "daily"))
        return bars[:before]

    def _final(self, bars: Bars, now: datetime) -> Bars:
        """Without a last bar that may still change (ruling T2)."""
        running = len(bars) and bars.end[-1] > to_ms(now - self.plan.lateness)
        return bars[: len(bars) - 1] if running else bars

    def _aggregates(self, ticker: str, span: Span, first: date, last: date) -> Aggregates:
        found = self._polygon.aggregates(ticker, span, first, last)
        if span is not Span.DAY:
            self._provider_delays = found.delayed
        if found.rejected:
            self._notice("bars_rejected", ticker=ticker, span=str(span), rows=found.rejected.total())
        return found

    def _is_fresh(self, known: Known, span: Span, day: date) -> bool:
        """Whether no bar can have become final since the fetch. Days that were over then are final; daily bars are
        once they reach the trading day before, until then they are asked for again after a while."""
        if span is Span.DAY:
            return self._reaches(known.bars, day) or abs(self._clock() - known.fetched) < RETRY_AFTER
        if ny_day(known.fetched) > day:
            return True
        return self._last_final(known.fetched, span) == self._last_final(self._clock(), span)

    def _reaches(self, daily: Bars, day: date) -> bool:
        """Whether the newest daily bar is that of the trading day before `day`."""
        return bool(len(daily)) and bool(daily.t[-1] == midnight_ms(self._calendar.previous_trading_day(day)))

    def _last_final(self, at: datetime, span: Span) -> int:
        return to_ms(at - self.plan.lateness) // span.ms
