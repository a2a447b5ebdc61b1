"""Bars known at a moment. Past days come from the cache, today's bars from the provider, once for all who ask.

Whatever is asked for is cut at `at`: a caller never sees a bar that had not ended. Every request path to market data
goes through here; nothing here knows what the bars are for. Tickers that a follower keeps current are answered out of
memory; the others are fetched by who asks first, for all who ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import numpy as np

from app.clock import Clock, Timer
from app.errors import NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.market.bars import Bars, Bools, Floats, Span, from_ms, no_bars, to_ms, united
from app.market.budget import Priority, errand
from app.market.cache import BarCache
from app.market.calendar import NY, ONE_DAY, Calendar, Session, day_of_ms, midnight_ms, ny, ny_day
from app.market.completeness import AGAIN_AFTER, Hole, hole, missing_bars, missing_days
from app.market.flight import Recent, SingleFlight, afresh
from app.market.freshness import LATE_AFTER, MORNING, Freshness, Timetable, is_behind, newest_end
from app.market.inception import first_day_of
from app.market.lease import Lease
from app.market.plan import DELAYED, END_OF_DAY, REAL_TIME, UNKNOWN, Entitlement, Plan
from app.market.polygon import OUTSIDE, Aggregates, NotFound, Polygon
from app.market.running_day import FetchFailure, RunningDay, SharedSeries
from app.telemetry.stages import NULL_STAGES, Stages

HISTORY = timedelta(days=730)
RETRY_AFTER = timedelta(seconds=60)
DAYS_AGAIN_AFTER = timedelta(minutes=5)
"""How long daily bars that lack the days just before are kept before they are asked for again."""

CLOSE_AGAIN_AFTER = timedelta(minutes=5)
"""How long bars of today that do not reach the close are kept after it before they are asked for again."""

REFUSED_FOR = timedelta(minutes=15)
"""How long a refusal for the plan's sake is taken for an answer: it is permanent, but for a plan that is changed."""

DELAYED_BY = timedelta(minutes=15)
"""How late bars are that the provider itself calls delayed (polygon.md 4)."""

PROMPT_FOR = timedelta(minutes=15)
"""How long no answer may be marked as delayed until the plan counts as real time again."""

REVISED_FOR = timedelta(days=2)
"""How long after a day its daily bar may still be missing or change (polygon.md 3.9, 5)."""

REBASED_BY = 1e-3
"""Closes of days that no longer change that differ by more than this share, all by the same, were re-based: a split
(polygon.md 3.13)."""

ONE_FACTOR = 0.9
"""Share of days that must have a split's factor."""

MOST_ODD_DAYS = 0.02
"""Share of daily bars that may lie on days without trading before the answer is taken for another's."""

FUTURE = "in the future"
"""Why bars are rejected that begin after now."""

SHRUNK = "the provider's answer lacks bars that it gave before"
MINUTE_MS = Span.MINUTE.ms
DEADLINE_S = 10.0
"""Real seconds that anyone waits for one fetch; requests have their own limits for all of theirs (ruling A2)."""

PATIENCE_S = 5.0
"""Real seconds that a fetch may wait for its turn and retry (polygon.md 5)."""

BACKFILL_PATIENCE_S = 900.0
KEPT_SERIES = 256
OVERLAP = 5
"""Bars asked for again with the new ones of a minute: late prints are met, and a gap cannot go unseen."""

TODAY_WORKERS, HISTORY_WORKERS = 7, 3
"""Fetches at a time: of the running day, and of all others, so that replays never starve it; ten in all (polygon.md 5)."""

Key = tuple[Any, ...]
"""What a fetch is known by: its ticker first or second, its day last."""

Notice = Callable[..., None]
OPEN = "open"
"""What the key of an official open begins with."""

FETCH, AWAIT = "fetch-data", "await-data"
"""Stages: bars are brought; another's fetch is waited for."""


@dataclass(frozen=True, slots=True)
class Known:
    """Bars that were asked for at `fetched` (market time). `stale`: newer ones should be here, or the fetch that would have
    brought them failed; `expired`: they have been missing for so long that the price is not known any more; `delayed`: the
    provider itself called them late. `missing`: how many bars of its session a day that is over lacks, or how many of the
    last days have no daily bar; `again`: when these are asked for again, None: not any more."""

    bars: Bars
    fetched: datetime
    stale: bool = False
    delayed: bool = False
    expired: bool = False
    missing: int = 0
    again: datetime | None = None


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

    def forget_opens(self, ticker: str, before: date) -> None:
        """Drop the opens of the days before: their prices were re-based by a split."""
        ...


class MissingOpen(PredictError):
    """The day has no usable official open; `code` tells a missing daily bar from one without an open (policy.md 3).
    `fault`: the failure of a source that may have had it."""

    def __init__(self, message: str, *, code: str | None = None, fault: PredictError | None = None) -> None:
        super().__init__(message, code=code)
        self.fault = fault


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
        emit: Notice,
        timer: Timer | None = None,
        stages: Stages = NULL_STAGES,
        running_day: RunningDay | None = None,
        clock_ahead: Callable[[], timedelta] = timedelta,
        is_answered: Callable[[], bool] = lambda: True,
    ) -> None:
        """`clock_ahead()`: how far `clock` runs before the provider's; `is_answered()`: False while the provider was asked and
        has never answered."""
        self._running_day = running_day
        self._clock_ahead = clock_ahead
        self._is_answered = is_answered
        self._plan = plan
        self._stages = stages
        self._provider_delays = False
        self._prompt_since: datetime | None = None
        self._end_of_day = False
        self._has_shown_today = False
        self._entitlement: Entitlement | None = None
        self._has_snapshots = True
        self._followed: Callable[[str], bool] = lambda ticker: False
        self._correct_calendar: Callable[[Sequence[date]], None] = lambda days: None
        self._timer = timer or Timer()
        self._polygon = polygon
        self._cache = cache
        self._opens = opens
        self._calendar = calendar
        self._clock = clock
        self._emit = emit
        self._flight: SingleFlight[Any] = SingleFlight(TODAY_WORKERS, stages)
        self._history: SingleFlight[Any] = SingleFlight(HISTORY_WORKERS, stages)
        self._kept: Recent[Known] = Recent(KEPT_SERIES)
        self._failed: Recent[FetchFailure] = Recent(KEPT_SERIES)

    @property
    def plan(self) -> Plan:
        """The deployment's plan as far as it has shown itself: late if it is set so or if the provider marks its bars as
        delayed, end of day if it refuses today's. A clock that runs ahead of the provider's waits that much longer."""
        plan = self._plan
        delay = DELAYED_BY if self._provider_delays and not plan.delay else plan.delay
        return replace(
            plan,
            delay=delay,
            settle=plan.settle + self.ahead(),
            name=self._plan_name(delay) if plan.source == "polygon" else plan.source,
            is_answered=self._is_answered(),
            ends_on=self._ends_on(),
        )

    def _ends_on(self) -> date | None:
        """The last day that a plan without the running day has, once that one has opened."""
        now = self._clock()
        session = self._calendar.session_at(now) if self._end_of_day else None
        opened = session is not None and now >= session.open
        return self._calendar.previous_trading_day(ny_day(now)) if opened else None

    def _plan_name(self, delay: timedelta) -> str:
        if self._end_of_day:
            return END_OF_DAY
        if delay:
            return DELAYED
        return REAL_TIME if self._has_shown_today or self._entitlement is not None else UNKNOWN

    def ahead(self) -> timedelta:
        """How far this process's clock runs before the provider's; zero if it runs behind."""
        return max(timedelta(0), self._clock_ahead())

    @property
    def entitlement(self) -> Entitlement | None:
        """What the probe found; None before it has."""
        return self._entitlement

    def entitle(self, found: Entitlement) -> None:
        """Take over what a probe found; if that is news, what was refused before may be asked for again."""
        if self._entitlement is None or self._end_of_day == found.today:
            self._failed.forget(lambda key: True)
            if self._running_day is not None:
                self._running_day.forget_failures()
        self._end_of_day, self._has_snapshots = not found.today, found.today
        self._entitlement = found
        self._emit("entitled", today=found.today)

    def follow_calendar(self) -> None:
        """The calendar has changed: daily bars are read anew, and what failed for want of a day may be tried again."""
        self._kept.forget(lambda key: Span.DAY in key)
        self._failed.forget(lambda key: True)

    def correct_calendar_by(self, correct: Callable[[Sequence[date]], None]) -> None:
        """`correct(days)` hears of days that have a daily bar although they are past and the calendar has no session of them,
        and may change the calendar."""
        self._correct_calendar = correct

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
        self.start(ticker, list(dict.fromkeys((Span.DAY, self.plan.signal_span, Span.MINUTE))), ny_day(at))

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
        kept = self._kept.get((ticker, self.plan.signal_span, ny_day(until)))
        return kept is not None and self._is_whole(kept, self.plan.signal_span, until)

    def daily(self, ticker: str, day: date) -> Bars:
        """Daily bars of the two years before `day`, all complete. `day` itself is not among them."""
        return self._known(ticker, Span.DAY, day).bars

    def intraday(self, ticker: str, at: datetime) -> Known:
        """The day's bars that signals read, extended hours included, ended by `at`."""
        return self._as_of(self._known(ticker, self.plan.signal_span, ny_day(at)), self.plan.signal_span, at)

    def minutes(self, ticker: str, at: datetime) -> Known:
        """The day's one-minute bars, extended hours included, ended by `at`."""
        return self._as_of(self._known(ticker, Span.MINUTE, ny_day(at)), Span.MINUTE, at)

    def peek(self, ticker: str, at: datetime, span: Span | None = None) -> Known | None:
        """What `intraday` would give out of memory alone, or the day's bars of another `span`; None if that is nothing. Never
        calls the provider."""
        span = span or self.plan.signal_span
        kept = self._kept.get((ticker, span, ny_day(at)))
        return self._as_of(kept, span, at) if kept else None

    def is_complete(self, ticker: str, until: datetime) -> bool:
        """Whether the day's signal bars are final up to `until` (ruling T2) and without a hole: a later bar exists, or they
        were fetched late enough for none to be missing."""
        span = self.plan.signal_span
        return self._is_whole(self._known(ticker, span, ny_day(until)), span, until)

    def has_arrived(self, ticker: str, until: datetime) -> bool:
        """The same, whatever is missing before the last one."""
        return self._has_arrived(self._known(ticker, self.plan.signal_span, ny_day(until)), until)

    def lack(self, bars: Bars, until: datetime) -> str | None:
        """What signal bars of a day lack up to `until`, in words; None if quiet minutes can explain it."""
        span, session = self.plan.signal_span, self._session_to_fill(until)
        count = 0 if session is None else missing_bars(bars, span, session, until)
        if not count:
            return None
        found = self._hole(bars, span, until)
        if found is not None:
            return f"the bars from {found[0]:%H:%M} to {found[1]:%H:%M} are missing"
        return f"{count} of the session's bars up to {until:%H:%M} are missing"

    def _hole(self, bars: Bars, span: Span, until: datetime) -> Hole | None:
        """From when to when bars of the session are missing in a row before `until`, more than quiet minutes can explain."""
        session = self._session_to_fill(until)
        return None if session is None else hole(bars, span, session, until)

    def _session_to_fill(self, until: datetime) -> Session | None:
        """The session whose bars must all be there by `until`; None on a day without trading, and for recorded and made-up
        bars, which are what they are."""
        return self._calendar.session(ny_day(until)) if self._is_provided else None

    def _is_whole(self, known: Known, span: Span, until: datetime) -> bool:
        """Whether all bars up to `until` have arrived, without a hole."""
        return self._has_arrived(known, until) and self._hole(known.bars, span, until) is None

    def _has_arrived(self, known: Known, until: datetime) -> bool:
        """A last bar that is not here may still come, unless a later one is here, the day was over, or bars of this plan are
        final at their end."""
        if len(known.bars.since(until)) or ny_day(known.fetched) > ny_day(until):
            return True
        newest = newest_end(known.bars)
        reaches = not self.plan.settle or (newest is not None and newest >= until)
        return reaches and known.fetched >= until + self._lateness(known)

    def _lateness(self, known: Known) -> timedelta:
        return self.plan.settle + max(self.plan.delay, DELAYED_BY if known.delayed else timedelta(0))

    def _timetable(self, known: Known, span: Span, day: date) -> Timetable:
        return Timetable(self._calendar.session(day), span, self._lateness(known))

    def _as_of(self, known: Known, span: Span, at: datetime) -> Known:
        """What had ended by `at`, with how fresh that was. After the close it is stale unless it surely reaches the close."""
        bars, timetable = known.bars.until(at), self._timetable(known, span, ny_day(at))
        freshness, session = timetable.freshness(newest_end(bars), at), timetable.session
        ends_early = session is not None and at >= session.close and not self._is_whole(known, span, session.close)
        stale = known.stale or ends_early or freshness is not Freshness.CURRENT
        missing = known.missing or self._missing(bars, span, ny_day(at), newest_end(bars) or at)
        return replace(known, bars=bars, stale=stale, expired=freshness is Freshness.EXPIRED, missing=missing)

    def _is_expired(self, kept: Known, span: Span, day: date) -> bool:
        """Whether bars that are kept may stand in no longer for newer ones. Daily bars do while they reach the day."""
        now = self._clock()
        if span is Span.DAY:
            return is_behind(kept.bars, day, now, self._calendar)
        return self._timetable(kept, span, day).freshness(newest_end(kept.bars), now) is Freshness.EXPIRED

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
            with suppress(Upstream, NotEntitled):
                self.daily(ticker, session.day)
        kept = self.known_open(ticker, session.day)
        return kept or self._keep_open(ticker, session.day, self._learn_open(ticker, session, at))

    def bring(self, ticker: str, first: date, last: date) -> int:
        """Past days' one-minute bars into the cache, as few calls as pages; the days that are there cost none. Returns how
        many bars came. Days first .. last must be over. Blocks for as long as the budget takes."""
        missing = self.missing(ticker, first, last)
        if not missing:
            return 0
        with errand(Priority.BACKFILL, BACKFILL_PATIENCE_S, self._timer):
            found = self._aggregates(ticker, Span.MINUTE, missing[0], missing[-1]).bars
        for day in missing:
            bars = found[slice(*np.searchsorted(found.t, (midnight_ms(day), midnight_ms(day + ONE_DAY))).tolist())]
            self._keep_past(ticker, Span.MINUTE, day, bars)
        return len(found)

    def bring_days(self, ticker: str, first: date) -> int:
        """The daily bars that replays from `first` on need, in one call. Returns how many there are."""
        now = self._clock()
        today = ny_day(now)
        start, end = self._earliest(ticker, first - HISTORY), today - ONE_DAY
        kept = self._on_disk(ticker, Span.DAY, start, today)
        if kept is None or _is_due(kept, now):
            with errand(Priority.BACKFILL, BACKFILL_PATIENCE_S, self._timer):
                bars = self._daily_bars(ticker, start, end, now)
            self._forget_if_rebased(ticker, bars, now)
            kept = self._keep_past(ticker, Span.DAY, today, bars, start)
        return len(kept.bars)

    def missing(self, ticker: str, first: date, last: date) -> Sequence[date]:
        """The trading days first .. last of the plan's history whose one-minute bars are to be asked for: they are not in the
        cache, or are incomplete and their next try is due."""
        now = self._clock()
        days = self._calendar.trading_days(self._earliest(ticker, first), last)
        kept = ((day, self._on_disk(ticker, Span.MINUTE, day, day)) for day in days)
        return [day for day, known in kept if known is None or _is_due(known, now)]

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
        late = self.plan.lateness
        delayed = self.plan.settle + max(self.plan.delay, DELAYED_BY)
        turns = [next_minute(at, after) for after in (timedelta(0), late, late + LATE_AFTER, delayed)]
        ends = [failure.at + failure.lasts for failure in self._failed.values()]
        running = [(key[1], kept) for key, kept in self._kept.items() if key[-1] == ny_day(at)]
        ends += [end for span, kept in running for end in self._turns(kept, span, ny_day(at))]
        due = any(not self._is_fresh(kept, span, ny_day(at)) for span, kept in running)
        ends += [at + timedelta(seconds=1)] * due
        return min(turns + [end for end in ends if end > at])

    def _turns(self, kept: Known, span: Span, day: date) -> tuple[datetime, ...]:
        """When bars that are kept become stale, and expired; daily bars do not within their day."""
        if span is Span.DAY:
            return ()
        return self._timetable(kept, span, day).turns(newest_end(kept.bars))

    def age_s(self, ticker: str, at: datetime) -> float | None:
        """Market seconds since the end of the day's newest bar in memory, since the open while there is none; None on a day
        without trading."""
        session = self._calendar.session_at(at)
        if session is None:
            return None
        kept = [self._kept.get((ticker, span, session.day)) for span in (self.plan.signal_span, Span.MINUTE)]
        bars = [known.bars.until(at) for known in kept if known is not None]
        newest = [from_ms(int(found.end[-1])) for found in bars if len(found)]
        return (at - max(newest, default=session.open)).total_seconds()

    def age_allowed_s(self) -> float:
        """How old the newest bar of a ticker that is kept current may be: two bars, and their lateness."""
        return Timetable(None, self.plan.signal_span, self.plan.lateness).age_allowed().total_seconds()

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

    def _keep_open(self, ticker: str, day: date, found: OfficialOpen) -> OfficialOpen:
        winner = self._opens.put_open(ticker, day, found)
        self._emit(self._about(day, "open_learned"), ticker=ticker, day=str(day), source=winner.source)
        return winner

    def _learn_open(self, ticker: str, session: Session, at: datetime) -> OfficialOpen:
        """The official open by the first source that has it. A source that lacks it, fails or is refused passes on to the
        next (policy.md 3); a spent budget and an unknown key are about every source and do not."""
        try:
            found: OfficialOpen = self._attempt(
                ("open", ticker, session.day), lambda: self._provider_open(ticker, session)
            )
        except MissingOpen as exc:
            first = self.intraday(ticker, at).bars.since(session.open)
            if not len(first) or first.t[0] != to_ms(session.open):
                raise afresh(exc.fault or exc) from None
            return OfficialOpen(float(first.o[0]), "minute")
        return found

    def _provider_open(self, ticker: str, session: Session) -> OfficialOpen:
        """The open from the daily bar or the snapshot. Raises MissingOpen, with the fault if a source failed; the failures that
        are about every source as they are."""
        self._refuse_unentitled(Span.MINUTE, session.day, self._clock())
        if self._clock() < session.open + self.plan.lateness:
            raise MissingOpen("the open of today is not known yet", code="MISSING_DAILY_BAR")
        missing: list[MissingOpen] = []
        faults: list[PredictError] = []
        for source in (self._daily_open, self._snapshot_open):
            try:
                return source(ticker, session)
            except MissingOpen as exc:
                missing.append(exc)
            except (Upstream, NotEntitled) as exc:
                self._emit("open_source_failed", ticker=ticker, error=exc.message)
                faults.append(exc)
        first = missing[0] if missing else MissingOpen("no source of the open answers", code="MISSING_DAILY_BAR")
        raise MissingOpen(first.message, code=first.code, fault=faults[0] if faults else None)

    def _daily_open(self, ticker: str, session: Session) -> OfficialOpen:
        """The open of the daily bar that is stamped with the session's own day."""
        start = midnight_ms(session.day)
        found = self._aggregates(ticker, Span.DAY, session.day, session.day)
        prices = found.bars.o[found.bars.t == start]
        if len(prices):
            return OfficialOpen(float(prices[0]), "daily")
        if start in found.starts:
            raise MissingOpen("the daily bar of today has no opening price", code="MISSING_DAILY_OPEN")
        raise MissingOpen("the daily bar of today is not there", code="MISSING_DAILY_BAR")

    def _snapshot_open(self, ticker: str, session: Session) -> OfficialOpen:
        """The open of a snapshot that is dated within the session."""
        if not self._has_snapshots or session.day != ny_day(self._clock()):
            raise MissingOpen("there is no snapshot", code="MISSING_DAILY_BAR")
        try:
            found = self._polygon.snapshot(ticker)
        except NotEntitled:
            self._has_snapshots = False
            raise MissingOpen("the plan has no snapshots", code="MISSING_DAILY_BAR") from None
        except NotFound:
            raise MissingOpen("there is no snapshot", code="MISSING_DAILY_BAR") from None
        if found.open is None:
            raise MissingOpen("the snapshot has no open yet", code="MISSING_DAILY_BAR")
        if not found.is_of(session):
            self._emit("snapshot_refused", ticker=ticker, day=str(session.day))
            raise MissingOpen("the snapshot is not dated within the session", code="MISSING_DAILY_BAR")
        return OfficialOpen(found.open, "snapshot")

    def _known(self, ticker: str, span: Span, day: date) -> Known:
        """Fresh bars; of a followed ticker those in memory; else a fetch, and while it fails what has not expired."""
        kept = self._kept.get((ticker, span, day))
        fresh = kept is not None and self._is_fresh(kept, span, day)
        meanwhile = kept is not None and not fresh and self._is_served_meanwhile(kept, ticker, span, day)
        self._emit("looked_up", cache="memory", outcome="hit" if fresh or meanwhile else "miss")
        if kept is not None and fresh:
            return kept
        if kept is not None and meanwhile:
            return kept
        try:
            known = self._brought(ticker, span, day)
        except (TryLater, NotEntitled, Unavailable) as exc:
            if kept is None or self._is_expired(kept, span, day):
                raise
            self._emit("stale_bars_served", ticker=ticker, span=str(span), error=exc.detail)
            return replace(kept, stale=True)
        return known

    def _brought(self, ticker: str, span: Span, day: date) -> Known:
        """What a fetch brings. On a local market whose clock is fast the fetch that was joined may have begun minutes ago:
        then a second one, which begins after the caller's moment."""
        key = (ticker, span, day)
        known: Known = self._attempt(key, lambda: self._load(ticker, span, day))
        if self._plan.is_local and not self._is_fresh(known, span, day):
            known = self._attempt(key, lambda: self._load(ticker, span, day))
        return known

    def _is_served_meanwhile(self, kept: Known, ticker: str, span: Span, day: date) -> bool:
        """Whether a follower brings what is newer, and what is kept will do until then. On a local market nothing but the
        newest will do: a fetch costs no call, and between two steps of the follower minutes of a fast clock may pass."""
        if self._plan.is_local or day < ny_day(self._clock()) or not self.is_followed(ticker):
            return False
        return span is Span.DAY or not self._is_expired(kept, span, day)

    def _start(self, ticker: str, span: Span, day: date) -> Future[Any] | None:
        """Begin a fetch unless it is not needed, is under way, or failed lately."""
        key, kept = (ticker, span, day), self._kept.get((ticker, span, day))
        if (kept is not None and self._is_fresh(kept, span, day)) or self._recent_failure(key) is not None:
            return None
        return self._flight_of(key).start(key, lambda: self._coordinated(key, lambda: self._load(ticker, span, day)))

    def _attempt(self, key: Key, fetch: Callable[[], Any]) -> Any:
        """`fetch`, shared with its twins; for a while after a failure that failure again."""
        failed = self._recent_failure(key)
        if failed is not None:
            raise afresh(failed)
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
        first, last = (self._earliest(ticker, day - HISTORY), day - ONE_DAY) if span is Span.DAY else (day, day)
        return not self._cache.covers(ticker, span, first, last)

    def _from_others(self, shared: RunningDay, key: Key) -> Any:
        """What another process brought, if that will do; None if it does not. Raises the failure that it met lately."""
        found = self.known_open(*key[1:]) if key[0] == OPEN else self._adopted(key)
        failed = shared.failure(_name_of(key)) if found is None else None
        if failed is not None and failed.holds(self._clock()):
            self._failed.put(key, failed)
            raise afresh(failed.error)
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
                self._traded(kept.bars)
            self._take_over(key, kept)
        return kept if kept is not None and self._is_fresh(kept, *key[1:]) else None

    def _take_over(self, key: Key, known: Known) -> None:
        """What comes from another process counts like a fetch of this one's."""
        ticker, span, day = key
        today = day == ny_day(self._clock())
        if span is Span.DAY and today:
            self._forget_past_days(ticker, day)
        elif today:
            self._observe_today(known.delayed, known.fetched)
        self._kept.put(key, known)
        self._emit(self._about(day, "bars_known"), ticker=ticker, span=str(span), bars=len(known.bars))

    def _remembering(self, key: Key, fetch: Callable[[], Any]) -> Any:
        try:
            with self._stages.root("fetch", series=str(key)), errand(self._priority(key), PATIENCE_S, self._timer):
                return fetch()
        except PredictError as exc:
            self._failed.put(key, FetchFailure(self._clock(), _lasting(exc), afresh(exc)))
            self._emit(
                self._about(key[-1], "fetch_failed"),
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
            raise afresh(broken) from None

    def _priority(self, key: Key) -> Priority:
        if key[-1] < ny_day(self._clock()):
            return Priority.REPLAY
        return Priority.OPEN if Span.DAY in key or "open" in key else Priority.MINUTES

    def _load(self, ticker: str, span: Span, day: date) -> Known:
        """From the cache if the days are over and covered, else from the provider, and then into the cache."""
        before = self._kept.get((ticker, span, day))
        if before is not None and self._is_fresh(before, span, day):
            return before  # a twin came just before
        now = self._clock()
        first = self._earliest(ticker, day - HISTORY) if span is Span.DAY else day
        if _last_of(span, day) < first_day_of(ticker):
            return Known(no_bars(), now)
        kept = self._on_disk(ticker, span, first, day) if _last_of(span, day) < ny_day(now) else None
        known = self._asked(ticker, span, first, day, kept) if kept is None or _is_due(kept, now) else kept
        known = self._with_known(known, before, span, day)
        if span is Span.DAY and before is None and day == ny_day(now):
            self._forget_past_days(ticker, day)
        newest = self._kept.get((ticker, span, day))
        if newest is not None and known.fetched < newest.fetched <= self._clock():
            return newest  # another process's, taken over during this fetch
        self._kept.put((ticker, span, day), known)
        self._emit(self._about(day, "bars_known"), ticker=ticker, span=str(span), bars=len(known.bars))
        return known

    def _asked(self, ticker: str, span: Span, first: date, day: date, kept: Known | None) -> Known:
        """The provider's word. What is on disk, although incomplete, stands in for a fetch that fails."""
        now = self._clock()
        try:
            bars, delayed = self._fetch(ticker, span, first, day, now)
        except PredictError:
            if kept is None:
                raise
            return replace(kept, again=now + RETRY_AFTER)
        if _last_of(span, day) >= ny_day(now) and span is not Span.DAY:
            return Known(bars, now, delayed=delayed)
        return replace(self._keep_past(ticker, span, day, bars, first), delayed=delayed)

    def _keep_past(self, ticker: str, span: Span, day: date, bars: Bars, first: date | None = None) -> Known:
        """What is known of days that are over, after they were fetched: on disk from then on, unless they may still change;
        of two answers the one that lacks less."""
        now, last, first = self._clock(), _last_of(span, day), first or day
        if self._may_change(bars, span, day, now):
            missing = self._missing(bars, span, day)
            wait = DAYS_AGAIN_AFTER if len(bars) else RETRY_AFTER
            return Known(bars, now, missing=missing, again=now + wait if missing else None)
        kept = self._cache.get(ticker, span, first, last)
        if kept is not None and self._missing(kept, span, day) < self._missing(bars, span, day):
            bars = kept
        lacking = self._lacking(bars, span, day)
        self._cache.put(ticker, span, first, last, bars, now, lacking if self._is_provided else ())
        known = self._judged(ticker, span, day, bars, now)
        if lacking and self._is_provided:
            self._emit("bars_incomplete", ticker=ticker, span=str(span), days=_listed(lacking), again=known.again)
        return known if known.again is None else replace(known, again=max(known.again, now + AGAIN_AFTER[0]))

    def _on_disk(self, ticker: str, span: Span, first: date, day: date) -> Known | None:
        """Bars of the cache; daily ones end as the calendar has it now."""
        bars = self._cache.get(ticker, span, first, _last_of(span, day))
        if bars is not None and span is Span.DAY:
            self._traded(bars)
            bars = replace(bars, end=self._calendar.day_ends(bars.t))
        self._emit("looked_up", cache="disk", outcome="miss" if bars is None else "hit")
        return None if bars is None else self._judged(ticker, span, day, bars, self._clock())

    def _judged(self, ticker: str, span: Span, day: date, bars: Bars, now: datetime) -> Known:
        """Bars of days that are over, with what they lack and when that is asked for again: at once if it never was."""
        lacking = self._lacking(bars, span, day)
        again = None
        if lacking and self._is_provided:
            tries = self._cache.tries(ticker, span, lacking)
            turns = [tries[lack].again(span) if lack in tries else now for lack in lacking]
            again = min((turn for turn in turns if turn is not None), default=None)
        return Known(bars, now, missing=self._missing(bars, span, day), again=again)

    @property
    def _is_provided(self) -> bool:
        """Whether past days can get better: recorded and made-up ones are what they are."""
        return self._plan.source == "polygon"

    def _lacking(self, bars: Bars, span: Span, day: date) -> list[date]:
        """The days whose bars are not whole by the calendar: of daily bars the last ones before `day`, else `day` itself."""
        if span is Span.DAY:
            return missing_days(bars, day, self._calendar)
        return [day] if self._missing(bars, span, day) else []

    def _missing(self, bars: Bars, span: Span, day: date, until: datetime | None = None) -> int:
        """How many bars these days lack; of a session, of those that end by `until` (None: by its close)."""
        if span is Span.DAY:
            return len(missing_days(bars, day, self._calendar))
        session = self._calendar.session(day)
        return 0 if session is None else missing_bars(bars, span, session, until or session.close)

    def _about(self, day: date, event: str) -> str:
        """`past_...` if no answer about now can rest on the day: replays of old days change nothing else."""
        today = ny_day(self._clock())
        recent = day >= today or day >= self._calendar.previous_trading_day(today)
        return event if recent else f"past_{event}"

    def _earliest(self, ticker: str, day: date) -> date:
        """`day`, or the first one of the fund or of the plan's history if that is later."""
        history = [] if self._entitlement is None else [self._entitlement.history_from]
        return max([day, first_day_of(ticker), *history])

    def _forget_past_days(self, ticker: str, day: date) -> None:
        """A new day's prices may be on another basis; past days come again out of the cache, which knows."""
        self._kept.forget(lambda key: key[0] == ticker and key[-1] < day)

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

    @staticmethod
    def _may_change(bars: Bars, span: Span, day: date, now: datetime) -> bool:
        """Whether daily bars are not to be kept yet: none came, or the morning may correct them (polygon.md 3.9)."""
        return span is Span.DAY and (not len(bars) or now < ny(day, MORNING))

    def _fetch(self, ticker: str, span: Span, first: date, day: date, now: datetime) -> tuple[Bars, bool]:
        """The provider's final bars of first .. day, and whether it calls them delayed; of daily bars that of `day` is not
        kept, only its open is learned."""
        self._refuse_unentitled(span, day, now)
        if span is not Span.DAY:
            return self._intraday_bars(ticker, span, day, now)
        bars = self._daily_bars(ticker, first, day, now)
        before = int(np.searchsorted(bars.t, midnight_ms(day)))
        session = self._calendar.session(day)
        self._forget_if_rebased(ticker, bars[:before], now)
        if before < len(bars) and session is not None and now >= session.open + self.plan.lateness:
            self._keep_open(ticker, day, OfficialOpen(float(bars.o[before]), "daily"))
        return bars[:before], False

    def _refuse_unentitled(self, span: Span, day: date, now: datetime) -> None:
        """What the probe found the plan not to have costs no call."""
        if self._entitlement is None:
            return
        if day < self._entitlement.history_from:
            since = self._entitlement.history_from
            raise NotEntitled(f"the plan's history begins on {since}", since=since)
        if span is not Span.DAY and day == ny_day(now) and not self._entitlement.today:
            raise NotEntitled("the plan has no bars of the running day")

    def _intraday_bars(self, ticker: str, span: Span, day: date, now: datetime) -> tuple[Bars, bool]:
        """What today's bars say of the plan is remembered; a past day's say nothing of it."""
        today = day == ny_day(now)
        try:
            continued = self._continued(ticker, span, day, now) if today else None
            found, bars = continued or self._whole(ticker, span, day)
        except NotEntitled:
            if today:
                with self._telling_plan():
                    self._end_of_day = True
            raise
        if today:
            self._observe_today(found.delayed, now)
        return self._final(bars, now), found.delayed

    def _observe_today(self, delayed: bool, now: datetime) -> None:
        """Bars of the running day came."""
        with self._telling_plan():
            self._end_of_day, self._has_shown_today = False, True
            self._observe_delay(delayed, now)

    def _observe_delay(self, delayed: bool, now: datetime) -> None:
        """One answer marked as delayed makes the plan late; only answers without the mark for PROMPT_FOR end that."""
        if delayed or not self._provider_delays:
            self._provider_delays, self._prompt_since = delayed, None
            return
        self._prompt_since = self._prompt_since or now
        self._provider_delays = now - self._prompt_since < PROMPT_FOR

    @contextmanager
    def _telling_plan(self) -> Iterator[None]:
        """If the plan is another after the block, answers about all tickers change."""
        before = self.plan
        yield
        if self.plan != before:
            self._emit("plan_changed", plan=self.plan.name)

    def _whole(self, ticker: str, span: Span, day: date) -> tuple[Aggregates, Bars]:
        found = self._aggregates(ticker, span, day, day)
        return found, found.bars

    def _continued(self, ticker: str, span: Span, day: date, now: datetime) -> tuple[Aggregates, Bars] | None:
        """The new bars, and the whole series with them. None where the day has to be asked for whole: at first, when a full
        hour is passed, so that a decision rests on the same bars whether its server has followed all day or has just
        started, and when what is known has a hole."""
        kept = self._kept.get((ticker, span, day))
        if kept is None or not len(kept.bars) or self._clock_hour(kept.fetched) != self._clock_hour(now):
            return None
        if self._hole(kept.bars, span, newest_end(kept.bars) or now) is not None:
            return None
        found = self._aggregates(ticker, span, int(kept.bars.t[-OVERLAP:][0]), day)
        if not len(found.bars):
            raise Upstream(SHRUNK)
        passed = kept.bars.end[-1] // Span.HOUR.ms != found.bars.end[-1] // Span.HOUR.ms
        return None if passed else (found, united(kept.bars, found.bars))

    def _clock_hour(self, at: datetime) -> int:
        """The New York hour of the newest final bar's end."""
        return (at - self.plan.lateness).astimezone(NY).hour

    def _daily_bars(self, ticker: str, first: date, day: date, now: datetime) -> Bars:
        """Up to `day`, or up to the day before on a plan that refuses a range that ends today (polygon.md 6)."""
        last = min(day, ny_day(now))
        if self._end_of_day and last == day == ny_day(now):
            return self._dated(ticker, first, day - ONE_DAY)
        try:
            return self._dated(ticker, first, last)
        except NotEntitled:
            return self._dated(ticker, first, last - ONE_DAY)

    def _dated(self, ticker: str, first: date, last: date) -> Bars:
        """Daily bars of trading days. Raises Upstream if too many are not: those are another day's bars. A few on days that are
        past may show that the calendar is wrong."""
        found = self._aggregates(ticker, Span.DAY, first, last)
        bars = found.bars
        if found.delayed and last == ny_day(self._clock()):
            with self._telling_plan():
                self._observe_delay(True, self._clock())
        if len(bars) and 1 - self._is_of_trading_day(bars).mean() > MOST_ODD_DAYS:
            raise Upstream("the provider's daily bars are of other days than those asked for")
        traded = self._traded(bars)
        return bars if traded.all() else bars.where(traded)

    def _traded(self, daily: Bars) -> Bools:
        """Which daily bars lie on trading days, after those on others had their say about the calendar."""
        traded = self._is_of_trading_day(daily)
        odd = [(day_of_ms(int(t)), int(t)) for t in daily.t[~traded]]
        past = [day for day, t in odd if day < ny_day(self._clock()) and t == midnight_ms(day)]
        if not past:
            return traded
        self._correct_calendar(past)
        return self._is_of_trading_day(daily)

    def _is_of_trading_day(self, daily: Bars) -> Bools:
        """Which bars begin at midnight of a trading day."""
        if not len(daily):
            return np.zeros(0, dtype=np.bool_)
        first, last = (day_of_ms(int(t)) for t in (daily.t[0], daily.t[-1]))
        return np.isin(daily.t, [midnight_ms(day) for day in self._calendar.trading_days(first, last)])

    def _forget_if_rebased(self, ticker: str, daily: Bars, now: datetime) -> None:
        """After a split the provider re-bases all history: what is kept of the ticker is on the old basis (polygon.md
        3.13). The record of signals stays as it was said."""
        known = self._cache.peek(ticker, Span.DAY)
        firm = known[: int(np.searchsorted(known.t, to_ms(now - REVISED_FOR - ONE_DAY)))]
        _, ours, theirs = np.intersect1d(firm.t, daily.t, return_indices=True)
        if not _is_rebased(firm.c[ours], daily.c[theirs]):
            return
        self._emit("history_rebased", ticker=ticker)
        self._cache.forget(ticker)
        if self._running_day is not None:
            self._running_day.forget(ticker)
        self._kept.forget(lambda key: key[0] == ticker)
        self._opens.forget_opens(ticker, ny_day(now))

    def _final(self, bars: Bars, now: datetime) -> Bars:
        """The bars that have ended, without a last one that may still change (ruling T2)."""
        ended = bars.until(now)
        may_change = len(ended) and ended.end[-1] > to_ms(now - self.plan.lateness)
        return ended[: len(ended) - 1] if may_change else ended

    def _aggregates(self, ticker: str, span: Span, first: date | int, last: date) -> Aggregates:
        found = _begun(self._polygon.aggregates(ticker, span, first, last), self._clock())
        if found.rejected:
            self._emit("bars_rejected", ticker=ticker, span=str(span), rows=found.rejected.total())
        if found.widened:
            self._emit("bars_repaired", ticker=ticker, span=str(span), rows=found.widened)
        if found.rejected[OUTSIDE] and not len(found.bars):
            raise Upstream("the provider's bars are of other days than those asked for")
        return found

    def _is_fresh(self, known: Known, span: Span, day: date) -> bool:
        """Whether no bar that is read can have become final since the fetch. Days that were over then are final; of the
        running one nothing after the close is read before the day is over, once its bars reach the close. Daily bars are
        final if they came that morning (polygon.md 3.9). What is incomplete is asked for again after a while."""
        now = self._clock()
        if span is Span.DAY or ny_day(known.fetched) > day:
            if known.again is not None:
                return known.fetched <= now < known.again
            return span is not Span.DAY or known.fetched >= ny(day, MORNING) or now < ny(day, MORNING)
        if ny_day(now) > day:
            return False
        session = self._calendar.session(day)
        if session is not None and known.fetched >= session.close + self.plan.lateness:
            return self._is_whole(known, span, session.close) or abs(self._clock() - known.fetched) < CLOSE_AGAIN_AFTER
        return self._last_final(known.fetched, span) == self._last_final(self._clock(), span)

    def _last_final(self, at: datetime, span: Span) -> int:
        return to_ms(at - self.plan.lateness) // span.ms


def _begun(found: Aggregates, now: datetime) -> Aggregates:
    """Without bars that are stamped in the future; they count as rejected."""
    begun = int(np.searchsorted(found.bars.t, to_ms(now), side="right"))
    future = len(found.bars) - begun
    if not future:
        return found
    return replace(found, bars=found.bars[:begun], rejected=found.rejected + Counter({FUTURE: future}))


def _last_of(span: Span, day: date) -> date:
    """The last day of the series that is known by `day`: daily bars are those before it."""
    return day - ONE_DAY if span is Span.DAY else day


def _is_due(known: Known, now: datetime) -> bool:
    """Whether what is incomplete is to be asked for again."""
    return known.again is not None and known.again <= now


def _listed(days: Sequence[date]) -> str:
    return ",".join(day.isoformat() for day in days)


def _is_rebased(before: Floats, after: Floats) -> bool:
    """Whether these closes of the same days are the same but for one factor, a few corrected ones aside. A factor of its own
    for each day is no split but a wrong answer."""
    if not len(before):
        return False
    ratios = before / after
    factor = float(np.median(ratios))
    shared = float((np.abs(ratios / factor - 1) < REBASED_BY).mean())
    return abs(factor - 1) > REBASED_BY and shared >= ONE_FACTOR


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
