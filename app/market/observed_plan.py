"""The plan as far as the provider has shown it: by the probe, by what it refuses, by bars that it calls delayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import lru_cache

from app.clock import Clock
from app.errors import NotEntitled
from app.market.bars import Span
from app.market.calendar import Calendar, ny_day
from app.market.inception import first_day_of
from app.market.plan import DELAYED, END_OF_DAY, REAL_TIME, UNKNOWN, Entitlement, Market, Plan

DELAYED_BY = timedelta(minutes=15)
"""How late bars are that the provider itself calls delayed (polygon.md 4)."""

PROMPT_FOR = timedelta(minutes=15)
"""How long no answer may be marked as delayed until the plan counts as real time again."""


class ObservedPlan:
    """What is known of the plan by now. `emit(event, **fields)` emits its changes.

    entitlement    what the probe found; None before it has
    is_end_of_day  the provider refuses the running day
    has_snapshots  the provider has not refused a snapshot
    """

    def __init__(
        self,
        configured: Plan,
        calendar: Calendar,
        clock: Clock,
        emit: Callable[..., None],
        clock_offset: Callable[[], timedelta],
        is_answered: Callable[[], bool],
    ) -> None:
        """`clock_offset()`: how far `clock` runs ahead of the provider's; `is_answered()`: False while the provider was asked
        and has never answered."""
        self._configured = configured
        self._plan = lru_cache(maxsize=4)(self._make_plan)
        self._calendar = calendar
        self._clock = clock
        self._emit = emit
        self._clock_offset = clock_offset
        self._is_answered = is_answered
        self._provider_delays = False
        self._prompt_since: datetime | None = None
        self._has_shown_today = False
        self.entitlement: Entitlement | None = None
        self.is_end_of_day = False
        self.has_snapshots = True

    @property
    def market(self) -> Market:
        """Which market the data come from."""
        return self._configured.market

    @property
    def is_local(self) -> bool:
        """Whether a fetch calls no provider."""
        return self._configured.is_local

    @property
    def signal_span(self) -> Span:
        """The series that signals read."""
        return self._configured.signal_span

    @property
    def current(self) -> Plan:
        """The plan: late if it is set so or if the provider marks its bars as
        delayed, end of day if it refuses today's. A clock that runs ahead of the provider's waits that much longer."""
        plan = self._configured
        delay = DELAYED_BY if self._provider_delays and not plan.delay else plan.delay
        name = self._name(delay) if plan.market.is_live else plan.market.value
        return self._plan(delay, plan.settle + self.clock_lead(), name, self._is_answered(), self._ends_on())

    def _make_plan(
        self, delay: timedelta, settle: timedelta, name: str, is_answered: bool, ends_on: date | None
    ) -> Plan:
        return replace(
            self._configured, delay=delay, settle=settle, name=name, is_answered=is_answered, ends_on=ends_on
        )

    def _ends_on(self) -> date | None:
        """The last day that a plan without the running day has, once that one has opened."""
        if not self.is_end_of_day:
            return None
        now = self._clock()
        session = self._calendar.session_at(now)
        opened = session is not None and now >= session.open
        return self._calendar.previous_trading_day(ny_day(now)) if opened else None

    def _name(self, delay: timedelta) -> str:
        if self.is_end_of_day:
            return END_OF_DAY
        if delay:
            return DELAYED
        return REAL_TIME if self._has_shown_today or self.entitlement is not None else UNKNOWN

    def clock_lead(self) -> timedelta:
        """How far this process's clock runs ahead of the provider's; zero if it runs behind."""
        return max(timedelta(0), self._clock_offset())

    def apply_entitlement(self, entitlement: Entitlement) -> bool:
        """Takes over what a probe found. Returns whether that changes the plan."""
        is_changed = self.entitlement is None or self.is_end_of_day == entitlement.has_intraday
        self.is_end_of_day, self.has_snapshots = not entitlement.has_intraday, entitlement.has_intraday
        self.entitlement = entitlement
        return is_changed

    def earliest(self, ticker: str, day: date) -> date:
        """`day`, or the first one of the fund or of the plan's history if that is later."""
        history = [] if self.entitlement is None else [self.entitlement.history_from]
        return max([day, first_day_of(ticker), *history])

    def refuse_unentitled(self, span: Span, day: date, now: datetime) -> None:
        """Raises NotEntitled for what the probe found the plan not to have, so that it costs no call."""
        if self.entitlement is None:
            return
        if day < self.entitlement.history_from:
            since = self.entitlement.history_from
            raise NotEntitled(f"the plan's history begins on {since}", since=since)
        if span is not Span.DAY and day == ny_day(now) and not self.entitlement.has_intraday:
            raise NotEntitled("the plan has no bars of the running day")

    def observe_refusal_of_today(self) -> None:
        """Records that the provider refused bars of the running day."""
        with self._emitting_changes():
            self.is_end_of_day = True

    def observe_delayed_days(self) -> None:
        """Records that daily bars that end today were marked as delayed."""
        with self._emitting_changes():
            self._observe_delay(True, self._clock())

    def observe_today(self, delayed: bool, now: datetime) -> None:
        """Records that bars of the running day were delivered; `delayed`: the provider marked them so."""
        with self._emitting_changes():
            self.is_end_of_day, self._has_shown_today = False, True
            self._observe_delay(delayed, now)

    def _observe_delay(self, delayed: bool, now: datetime) -> None:
        """One answer marked as delayed makes the plan late; only answers without the mark for PROMPT_FOR end that."""
        if delayed or not self._provider_delays:
            self._provider_delays, self._prompt_since = delayed, None
            return
        self._prompt_since = self._prompt_since or now
        self._provider_delays = now - self._prompt_since < PROMPT_FOR

    @contextmanager
    def _emitting_changes(self) -> Iterator[None]:
        """Emits `plan_changed` if the plan differs after the block; answers about all tickers then change."""
        before = self.current
        yield
        if self.current != before:
            self._emit("plan_changed", plan=self.current.name)
