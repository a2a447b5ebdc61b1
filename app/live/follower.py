"""Keeps the market current in the background, so that requests are answered from memory, and locks every decision hour.

`step()` reads the clock and starts what is due; it waits for nothing. Following costs one call a minute for each ticker in use,
shortly after the bar ends. While no ticker is in use there are calls for the decision hours alone, when the signal of every
supported ticker is computed and locked (ruling S1). A plan without the running day is not followed (ruling A4).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from app.clock import Clock, Timer
from app.live.calendar_upkeep import CalendarUpkeep
from app.live.interest import IN_USE_FOR
from app.live.jobs import Jobs
from app.live.plan_probe import PlanProbe
from app.market.announcements import Announcements
from app.market.bars import Span
from app.market.calendar import ONE_DAY, Calendar, Session, ny
from app.market.market_data import MarketData
from app.market.plan import Entitlement
from app.market.polygon import Polygon
from app.market.running_day import RunningDay
from app.model.features import decision_moment
from app.pipeline import DAILY_BAR_AFTER, FIRST_HOUR, Pipeline
from app.signals.lock import decision_hour
from app.signals.policy import SUPPORTED
from app.telemetry.stages import NULL_STAGES, Stages

TICK_S = 0.5
ENDS_WITHIN_S = 1.0
"""Real seconds for the step that is under way when the process stops."""

DEAD_AFTER_S = 30.0
"""Real seconds without a step after which requests fetch their own bars again."""

DAYS_FROM = time(9)
"""From this time on, on trading days, the daily bars are fetched for the coming session (polygon.md 5)."""

ENDS_AFTER = timedelta(minutes=30)
AGAIN_AFTER = timedelta(seconds=15)
INTEREST_AGAIN_AFTER = timedelta(seconds=30)
VERIFY_AGAIN_AFTER = timedelta(seconds=60)
SCORED_AGAIN_AFTER = timedelta(minutes=10)
PROBE_FIRST_S = 10.0


@dataclass(frozen=True, slots=True)
class Following:
    """What the follower does.

    tickers      those that are kept current
    last_step_s  real seconds since its last step, None before the first
    alive        whether it has stepped recently, so that requests may rely on it
    probe_error  why the last probe of the plan failed
    role         `leader` fetches for all processes that share the running day, `reader` reads what the leader fetched,
                 `unshared` fetches for itself because nothing can be shared, `alone` because there is nothing to share
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
    running_day        what processes share of the running day
    adopt_plan         takes over a plan that another process found; returns whether there was a new one
    score_record       is called now and then, in the background: closes of past days may have become known
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
        score_record: Callable[[datetime], object] = lambda at: None,
    ) -> None:
        self._running_day = running_day
        self._adopt_plan = adopt_plan
        self._score_record = score_record
        self._role = "alone" if running_day is None else "reader"
        self._takeovers = 0
        self._source = source
        self._pipeline = pipeline
        self._calendar = calendar
        self._clock = clock
        self._timer = timer
        self._emit = emit
        self._jobs = Jobs(2 * len(SUPPORTED) + 2, emit, stages, timer)
        self._probe = (
            None if polygon is None else PlanProbe(polygon, source, apply_entitlement, timer, emit, self._jobs)
        )
        self._upkeep = None
        if announcements is not None:
            self._upkeep = CalendarUpkeep(announcements, polygon, source, calendar, self._jobs)
        self._thread: threading.Thread | None = None
        self._followed: frozenset[str] = frozenset()
        self._began: float | None = None
        self._beat: float | None = None
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
        if not self._leads():
            self._read(at)
        elif self._probe is not None:
            self._probe.step(at)
        if self._awaits_probe():
            return
        if self._upkeep is not None:
            self._upkeep.step(at, leads=self._role != "reader")
        if self._jobs.is_time("record", at, SCORED_AGAIN_AFTER):
            self._jobs.start("record", lambda: self._score_record(at))
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
        if self._jobs.is_time("verify", at, VERIFY_AGAIN_AFTER):
            self._jobs.start("verify", lambda: self._pipeline.store.verify(session.day))

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
        if self._adopt_plan() and self._probe is not None:
            self._probe.count_as_done(at)

    def _in_use(self, at: datetime) -> list[str]:
        """The tickers in use in any process that shares the running day."""
        used = self._pipeline.interest.last_uses(at)
        if self._running_day is None:
            return list(used)
        if used and self._jobs.is_time(("interest", *sorted(used)), at, INTEREST_AGAIN_AFTER):
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
            probe_error=None if self._probe is None else self._probe.error,
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
        if self._source.opens.known(ticker, day) is None and self._jobs.is_time(("open", ticker, day), at, AGAIN_AFTER):
            self._jobs.start(("open", ticker, day), lambda: self._source.open_of(ticker, at))

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
        if self._source.is_ready(ticker, decision_moment(session, hour)) and self._jobs.is_time(key, at, AGAIN_AFTER):
            self._jobs.start(key, lambda: self._pipeline.signal(ticker, self._clock()))

    def _bring_days(self, session: Session, at: datetime) -> None:
        """Fetch daily bars: before the open those of the days before, for all tickers; after the close the bar of the day, for
        tickers in use."""
        if ny(session.day, DAYS_FROM) <= at < session.close:
            for ticker in SUPPORTED:
                self._source.fetches.start(ticker, (Span.DAY,), session.day)
        elif at >= session.close + DAILY_BAR_AFTER + self._source.plan.delay:
            for ticker in self._in_use(at):
                self._source.fetches.start(ticker, (Span.DAY,), session.day + ONE_DAY)

    def probe_now(self) -> None:
        """Run the daily probe now and wait for it. Raises what it raises; does nothing on markets without a provider."""
        if self._probe is not None:
            self._probe.run(self._clock())
