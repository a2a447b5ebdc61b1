"""Keeps the market current in the background, so that requests are answered from memory, and locks every decision hour.

`step()` reads the clock and starts what is due; it waits for nothing. Following costs one call a minute for each ticker in use,
shortly after the bar ends. While no ticker is in use there are calls for the decision hours alone, when the signal of every
supported ticker is computed and locked (ruling S1). A plan without the running day is not followed (ruling A4).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from app.clock import Clock, Timer
from app.errors import PredictError
from app.live.interest import IN_USE_FOR
from app.market.announcements import Announcements
from app.market.bars import Span
from app.market.budget import Priority, call_context
from app.market.calendar import ONE_DAY, Calendar, Session, close_by_rule, ny, ny_day
from app.market.completeness import REFERENCE, is_traded_past, missing_bars, reaches_past
from app.market.fetching import BACKFILL_PATIENCE_S
from app.market.market_data import MarketData
from app.market.plan import Entitlement, probe, probe_history
from app.market.polygon import Polygon
from app.market.running_day import RunningDay
from app.market.shared_fetches import REFUSED_FOR
from app.market.single_flight import LruCache, SingleFlight, deadline
from app.model.features import decision_moment
from app.pipeline import DAILY_BAR_AFTER, FIRST_HOUR, Pipeline
from app.signals.lock import decision_hour
from app.signals.policy import SUPPORTED
from app.telemetry.stages import NULL_STAGES, Stages

MAX_TRIED = 256
"""Jobs of which it is kept when they were last tried."""

TICK_S = 0.5
ENDS_WITHIN_S = 1.0
"""Real seconds for the step that is under way when the process stops."""

DEAD_AFTER_S = 30.0
"""Real seconds without a step after which requests fetch their own bars again."""

JOB_S = 20.0
DAYS_FROM = time(9)
"""From this time on, on trading days, the daily bars are fetched for the coming session (polygon.md 5)."""

ENDS_AFTER = timedelta(minutes=30)
AGAIN_AFTER = timedelta(seconds=15)
INTEREST_AGAIN_AFTER = timedelta(seconds=30)
VERIFY_AGAIN_AFTER = timedelta(seconds=60)
PROBE_AGAIN_AFTER = timedelta(seconds=60)
CALENDAR_LOOKED_AT_AFTER = timedelta(seconds=30)
HOURS_AGAIN_AFTER = timedelta(minutes=15)
PROBE_FIRST_S = 10.0
PROBE_PATIENCE_S = 90.0
"""Real seconds that a probe waits for the budget: one window of the smallest plan, and the time of a call."""


@dataclass(frozen=True, slots=True)
class Following:
    """What the follower does.

    tickers      those that are kept current
    last_step_s  real seconds since its last step, None before the first
    alive        whether it has stepped recently, so that requests may rely on it
    probe_error  why the last probe of the plan failed
    role         `leader` fetches for all processes on its DATA_DIR, `reader` reads what the leader fetched, `unshared` fetches
                 for itself because nothing can be shared, `alone` because there is nothing to share
    holder       id of the process that holds the lease
    takeovers    how often this process took the lease
    """

    tickers: Sequence[str]
    last_step_s: float | None
    alive: bool
    probe_error: str | None
    role: str
    holder: str | None
    takeovers: int


class Follower:
    """Keeps the market data current and locks the signals of every hour, by the clock.

    polygon            its plan is probed once a day; None for markets without a provider
    apply_entitlement  is called with the result of the probe
    running_day        what the processes on one DATA_DIR share
    adopt_plan         takes over a plan that another process found; returns whether there was a new one
    """

    def __init__(
        self,
        source: MarketData,
        pipeline: Pipeline,
        calendar: Calendar,
        clock: Clock,
        timer: Timer,
        emit: Callable[..., None],
        polygon: Polygon | None,
        apply_entitlement: Callable[[Entitlement], None],
        announcements: Announcements | None = None,
        stages: Stages = NULL_STAGES,
        running_day: RunningDay | None = None,
        adopt_plan: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stages = stages
        self._running_day = running_day
        self._adopt_plan = adopt_plan
        self._role = "alone" if running_day is None else "reader"
        self._takeovers = 0
        self._source = source
        self._pipeline = pipeline
        self._calendar = calendar
        self._clock = clock
        self._timer = timer
        self._emit = emit
        self._polygon = polygon
        self._apply_entitlement = apply_entitlement
        self._announcements = announcements
        self._jobs: SingleFlight[Any] = SingleFlight(2 * len(SUPPORTED) + 2)
        self._thread: threading.Thread | None = None
        self._followed: frozenset[str] = frozenset()
        self._began: float | None = None
        self._beat: float | None = None
        self._tried: LruCache[datetime] = LruCache(MAX_TRIED)
        self._probed: date | None = None
        self._probe_error: str | None = None
        source.set_follower(self.follows)

    def follows(self, ticker: str) -> bool:
        """Whether `ticker` is kept current, so that requests are answered from memory."""
        return ticker in self._followed and self._alive()

    def start(self, stopped: threading.Event) -> None:
        """Step in a thread of its own until `stopped` is set. To be called after any fork."""
        self._thread = threading.Thread(target=self.run, args=(stopped,), name="follower", daemon=True)
        self._thread.start()

    def run(self, stopped: threading.Event) -> None:
        """Step until `stopped` is set, and then resign, so that another process leads at once. A step that raises is logged and
        does not end the follower."""
        while not stopped.is_set():
            try:
                self.step()
            except Exception as exc:  # if this ended the thread, the market would no longer be kept current
                self._emit("follower_broke", error=f"{type(exc).__name__}: {exc}")
            stopped.wait(TICK_S)
        if self._running_day is not None:
            self._running_day.resign()

    def step(self) -> None:
        """Start everything that is due now."""
        at = self._clock()
        self._beat = self._timer.now()
        if self._leads():
            self._probe_once_a_day(at)
        else:
            self._read(at)
        if self._awaits_probe():
            return
        self._refresh_calendar(at)
        session = self._calendar.session_at(at)
        if session is None or not self._source.plan.has_intraday:
            self._followed = frozenset()
            return
        due = self._due(session, at)
        self._follow(session, at, due)
        for ticker in due:
            self._lock(ticker, session, at)
        if self._role != "reader":
            self._bring_days(session, at)
        if self._is_time("verify", at, VERIFY_AGAIN_AFTER):
            self._start("verify", lambda: self._pipeline.store.verify(session.day))

    def _leads(self) -> bool:
        """Whether this process fetches the market. Takes or renews the lease for it."""
        if self._running_day is None:
            return True
        lease, before = self._running_day.lead(), self._role
        self._role = "leader" if lease else "unshared" if self._running_day.failing() else "reader"
        if lease is not None and before != "leader":
            self._takeovers += 1
            self._emit("follower_leads", token=lease.token)
        elif before == "leader" and lease is None:
            self._emit("follower_lease_lost", role=self._role)
        return self._role != "reader"

    def _read(self, at: datetime) -> None:
        """Read what the leader fetched."""
        self._source.fetches.adopt(at)
        if self._adopt_plan():
            self._probed = ny_day(at)

    def _in_use(self, at: datetime) -> list[str]:
        """The tickers in use in any process on the DATA_DIR."""
        used = self._pipeline.interest.last_uses(at)
        if self._running_day is None:
            return list(used)
        if used and self._is_time(("interest", *sorted(used)), at, INTEREST_AGAIN_AFTER):
            self._running_day.ask_for(used)
        return sorted({*used, *self._running_day.asked_for(at - IN_USE_FOR, at)} & {*SUPPORTED})

    def _awaits_probe(self) -> bool:
        """Whether to wait for the first probe, which shows how many calls the plan has; for PROBE_FIRST_S at most."""
        if self._began is None:
            self._began = self._timer.now()
        early = self._timer.now() - self._began < PROBE_FIRST_S
        return early and self._source.observed_plan.entitlement is None and self._jobs.runs("probe")

    def status(self) -> Following:
        since = None if self._beat is None else self._timer.now() - self._beat
        lease = None if self._running_day is None else self._running_day.leader()
        return Following(
            tickers=sorted(self._followed),
            last_step_s=since,
            alive=self._alive(),
            probe_error=self._probe_error,
            role=self._role,
            holder=None if lease is None else lease.holder,
            takeovers=self._takeovers,
        )

    def waiting(self) -> int:
        """How many of its jobs are running or queued."""
        return self._jobs.waiting()

    def close(self) -> None:
        """Start no more jobs, and wait for the thread to end, for ENDS_WITHIN_S at most. To be called once it was stopped."""
        self._jobs.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(ENDS_WITHIN_S)

    def _alive(self) -> bool:
        return self._beat is not None and self._timer.now() - self._beat < DEAD_AFTER_S

    def _follow(self, session: Session, at: datetime, due: Sequence[str]) -> None:
        in_hours = ny(session.day, time(FIRST_HOUR)) <= at < session.close + ENDS_AFTER
        self._followed = frozenset(self._in_use(at) + list(due)) if in_hours else frozenset()
        for ticker in sorted(self._followed) if self._role != "reader" else ():
            self._source.refresh(ticker, at)
            if at >= session.open + self._source.plan.lateness:
                self._learn_open(ticker, session.day, at)

    def _learn_open(self, ticker: str, day: date, at: datetime) -> None:
        if self._source.opens.known(ticker, day) is None and self._is_time(("open", ticker, day), at, AGAIN_AFTER):
            self._start(("open", ticker, day), lambda: self._source.open_of(ticker, at))

    def _due(self, session: Session, at: datetime) -> list[str]:
        """The supported tickers whose signal of this hour is due and not locked."""
        hour = decision_hour(session, at) if session.is_open(at) else None
        if hour is None or at < decision_moment(session, hour) + self._source.plan.lateness:
            return []
        store, models = self._pipeline.store, self._pipeline.models.models
        return [t for t in SUPPORTED if t in models and store.get(t, session.day, hour) is None]

    def _lock(self, ticker: str, session: Session, at: datetime) -> None:
        """Compute and lock the signal of this hour once the bars are there."""
        hour = decision_hour(session, at)
        assert hour is not None
        key = ("lock", ticker, session.day, hour)
        if self._source.is_ready(ticker, decision_moment(session, hour)) and self._is_time(key, at, AGAIN_AFTER):
            self._start(key, lambda: self._pipeline.signal(ticker, self._clock()))

    def _bring_days(self, session: Session, at: datetime) -> None:
        """Fetch daily bars: before the open those of the days before, for all tickers; after the close the bar of the day, for
        tickers in use."""
        if ny(session.day, DAYS_FROM) <= at < session.close:
            for ticker in SUPPORTED:
                self._source.fetches.start(ticker, (Span.DAY,), session.day)
        elif at >= session.close + DAILY_BAR_AFTER:
            for ticker in self._in_use(at):
                self._source.fetches.start(ticker, (Span.DAY,), session.day + ONE_DAY)

    def _refresh_calendar(self, at: datetime) -> None:
        """Ask for announced holidays once a day for all processes on one DATA_DIR, and take over what another process got."""
        announcements, polygon = self._announcements, self._polygon
        if announcements is None or not self._is_time("calendar", at, CALENDAR_LOOKED_AT_AFTER):
            return
        announcements.load()
        if self._role != "reader":
            self._settle_calendar(announcements, at)
        if polygon is not None and self._role != "reader" and announcements.is_due(at):
            self._start("calendar", lambda: announcements.refresh(polygon, at))

    def _settle_calendar(self, announcements: Announcements, at: datetime) -> None:
        """Compare past days that may not have traded as announced with SPY's bars: closed days with daily bars, which correct
        the calendar when they are read, and early closes with the minutes of the day. While these do not show the hours of
        the day, the source asks for them again as often as for other incomplete days."""
        for day, close in announcements.doubtful(at).items():
            if close is None:
                self._source.fetches.start(REFERENCE, (Span.DAY,), ny_day(at))
            elif self._is_time(("hours", day), at, HOURS_AGAIN_AFTER):
                self._start(("hours", day), partial(self._settle_hours, announcements, day, at))

    def _settle_hours(self, announcements: Announcements, day: date, at: datetime) -> None:
        session, close = self._calendar.session(day), close_by_rule(day)
        if session is None or close is None or ny(day, close) <= session.close:
            return
        minutes = self._source.minutes(REFERENCE, ny(day, close)).bars
        reach = reaches_past(minutes, session, ny(day, close))
        if reach is None:
            return
        if is_traded_past(minutes, session, reach):
            announcements.withdraw([day], at)
        elif not missing_bars(minutes, Span.MINUTE, session, session.close):
            announcements.confirm([day], at)

    def _probe_once_a_day(self, at: datetime) -> None:
        """Probe the plan once a day, and sooner if the probe failed or the plan seems to lack the running day, since a refusal
        may be temporary."""
        polygon = self._polygon
        if polygon is None or (self._source.plan.has_intraday and self._probed == ny_day(at)):
            return
        unknown = self._source.observed_plan.entitlement is None
        if self._is_time("probe", at, PROBE_AGAIN_AFTER if unknown else REFUSED_FOR):
            self._start("probe", lambda: self._probe(polygon, at))

    def probe_now(self) -> None:
        """Run the daily probe now and wait for it. Raises what it raises; does nothing on markets without a provider."""
        if self._polygon is not None:
            self._probe(self._polygon, self._clock())

    def _probe(self, polygon: Polygon, at: datetime) -> None:
        try:
            self._probe_in_steps(polygon, ny_day(at))
        except PredictError as exc:
            self._probe_error = exc.message
            raise
        self._probe_error, self._probed = None, ny_day(at)

    def _probe_in_steps(self, polygon: Polygon, today: date) -> None:
        """Probe the most important fact first: whether the plan has the running day; then how far back its history goes. The
        history that was known is kept until then."""
        known = self._source.observed_plan.entitlement
        with call_context(Priority.PROBE, PROBE_PATIENCE_S, self._timer):
            entitlement = probe(polygon, SUPPORTED[0], today)
        if known is not None:
            history_from = (
                known.history_from if known.has_intraday == entitlement.has_intraday else entitlement.history_from
            )
            entitlement = replace(entitlement, history_from=history_from)
        self._apply_entitlement(entitlement)
        with call_context(Priority.BACKFILL, BACKFILL_PATIENCE_S, self._timer):
            entitlement = probe_history(entitlement, polygon, SUPPORTED[0], today)
        self._apply_entitlement(entitlement)
        self._emit("plan_probed", today=entitlement.has_intraday, history_from=entitlement.history_from)

    def _is_time(self, key: object, at: datetime, every: timedelta) -> bool:
        """Whether `key` was not tried in the last `every` of market time. If so, it counts as tried now."""
        tried = self._tried.get(key)
        if tried is not None and timedelta(0) <= at - tried < every:
            return False
        self._tried.put(key, at)
        return True

    def _start(self, key: object, job: Callable[[], object]) -> None:
        def limited() -> None:
            with deadline(JOB_S), self._stages.root("follow", what=str(key)):
                try:
                    job()
                except PredictError as exc:
                    self._emit("follower_failed", what=str(key), error=exc.detail)

        self._jobs.start(key, limited)
