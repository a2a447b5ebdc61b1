"""What the data of a deployment are: which market, how late, how far back (polygon.md 4), and how to find out (8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from app.clock import Clock
from app.errors import NotEntitled, Upstream
from app.market.bars import Span
from app.market.polygon import NotFound, Polygon

YEAR = timedelta(days=365)
ALL_HISTORY = date(2003, 9, 10)
BASIC_YEARS, STARTER_YEARS, DEVELOPER_YEARS = 2, 5, 10
PROBE_DAYS = timedelta(days=7)
MOST_AHEAD = timedelta(hours=1)
"""A provider's time that differs from ours by more is not believed."""

DATE_UNIT = timedelta(seconds=1)
END_OF_DAY, DELAYED, REAL_TIME, UNKNOWN = "end_of_day", "delayed", "real_time", "unknown"
"""Names of a provider's plan; `unknown` until the probe or bars of the running day have shown which one it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the data of this deployment is: its name in `data_status`, the series that signals read (ruling M6), how late
    its bars are, how long after its end a bar may still change (ruling T2), whether any bars were imported, whether there is a
    key for the provider, whether the provider is Polygon itself (`POLYGON_BASE_URL`), whether it has ever answered (also
    while nothing was asked), and the last day that it has, where it lacks the running one, once that has opened (`ends_on`)."""

    source: str
    signal_span: Span
    delay: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)
    name: str | None = None
    has_bars: bool = True
    has_key: bool = True
    is_polygon: bool = True
    is_answered: bool = True
    ends_on: date | None = None

    def about(self, day: date) -> Plan:
        """The plan as it bears on answers about `day`: those about a day that it has do not lack the running one."""
        return self if self.ends_on is None or day > self.ends_on else replace(self, ends_on=None)

    @property
    def has_data(self) -> bool:
        """Whether there is anything that bars can come from."""
        return self.has_bars and self.has_key

    @property
    def shown_name(self) -> str | None:
        """Its name in answers; None while no key tells which plan it is."""
        return self.name if self.has_key else None

    @property
    def lateness(self) -> timedelta:
        return self.delay + self.settle

    @property
    def is_local(self) -> bool:
        """Whether the bars are made or stored on this machine, so that a fetch calls no provider and takes a moment."""
        return self.source != "polygon"

    @property
    def has_today(self) -> bool:
        """Whether bars of the running day can be had at all."""
        return self.name != END_OF_DAY

    @property
    def is_known(self) -> bool:
        """Whether the provider has shown which plan it is."""
        return self.name != UNKNOWN


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What the probe found that a key may do. `today`: bars of the running day; `history_from`: the first day that is sure
    to be there."""

    today: bool
    history_from: date


class ClockSkew:
    """How far this process's market clock runs before the provider's, as the Date of the provider's answers has it (RFC
    9110 6.6.1). Every process measures its own. `emit(event, **fields)` hears when it changes."""

    def __init__(self, clock: Clock, emit: Callable[..., None]) -> None:
        self._clock = clock
        self._emit = emit
        self._ahead: timedelta | None = None

    @property
    def measured(self) -> timedelta | None:
        """How far the clock runs ahead (negative: behind); None before the first answer."""
        return self._ahead

    def ahead(self) -> timedelta:
        """The same; none while it was not measured."""
        return self._ahead or timedelta(0)

    def observe(self, said_at: datetime, took_s: float) -> None:
        """An answer that is here now was dated `said_at`, in whole seconds, by the provider within the last `took_s` seconds.
        What was known stands while it may be right; else the largest difference is taken, which waits longest. A date of
        another hour is not believed: an old answer would make every bar late by its age."""
        most = self._clock() - said_at
        if abs(most) > MOST_AHEAD:
            return
        least = most - timedelta(seconds=took_s) - DATE_UNIT
        known, self._ahead = self._ahead, self.ahead()
        if not least <= self._ahead <= most + DATE_UNIT:
            self._ahead = most
        if self._ahead != (known or timedelta(0)):
            self._emit("clock_differs", ahead_s=round(self._ahead.total_seconds(), 1))


def probe(polygon: Polygon, ticker: str, today: date) -> Entitlement:
    """Ask the provider in one call, or two while its snapshots fail, whether the key may see the running day; history as far as
    the smallest such plan has it. Raises what the client raises for a failed call."""
    intraday = _has_running_day(polygon, ticker, today)
    return Entitlement(intraday, _years_before(today, STARTER_YEARS if intraday else BASIC_YEARS))


def deepened(found: Entitlement, polygon: Polygon, ticker: str, today: date) -> Entitlement:
    """`found` with all the history there is, in at most two more calls."""
    if not found.today:
        return found
    if _reaches(polygon, ticker, date(2004, 1, 5)):
        return replace(found, history_from=ALL_HISTORY)
    ten_years = _years_before(today, DEVELOPER_YEARS)
    reached = ten_years if _reaches(polygon, ticker, ten_years) else _years_before(today, STARTER_YEARS)
    return replace(found, history_from=reached)


def _has_running_day(polygon: Polygon, ticker: str, today: date) -> bool:
    """Snapshots come with every plan that has the running day, and with no other (polygon.md 4). Snapshots that fail say
    nothing of the plan; then the minutes of today, which a plan without the running day refuses (polygon.md 6), tell."""
    try:
        polygon.snapshot(ticker)
    except NotEntitled:
        return False
    except NotFound:
        return True
    except Upstream:
        return _has_minutes(polygon, ticker, today)
    return True


def _has_minutes(polygon: Polygon, ticker: str, today: date) -> bool:
    try:
        polygon.aggregates(ticker, Span.MINUTE, today, today)
    except NotEntitled:
        return False
    return True


def _reaches(polygon: Polygon, ticker: str, day: date) -> bool:
    try:
        polygon.aggregates(ticker, Span.DAY, day, day + PROBE_DAYS)
    except NotEntitled:
        return False
    return True


def _years_before(today: date, years: int) -> date:
    """A few days inside the plan's history: where exactly it ends is not documented."""
    return today - years * YEAR + timedelta(days=3)
