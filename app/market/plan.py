"""What the data of a deployment are: which market, how late, how far back (polygon.md 4), and the probe that finds out (8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.clock import Clock
from app.errors import NotEntitled, Upstream
from app.market.bars import Span
from app.market.polygon import Polygon, ProviderNotFound

YEAR = timedelta(days=365)
ALL_HISTORY = date(2003, 9, 10)
BASIC_YEARS, STARTER_YEARS, DEVELOPER_YEARS = 2, 5, 10
PROBE_DAYS = timedelta(days=7)
MOST_AHEAD = timedelta(hours=1)
"""A provider's time that differs from this process's by more is not believed."""

DATE_UNIT = timedelta(seconds=1)
END_OF_DAY, DELAYED, REAL_TIME, UNKNOWN = "end_of_day", "delayed", "real_time", "unknown"
"""Names of a provider's plan; `unknown` until the probe or bars of the running day have shown which one it is."""


class Market(StrEnum):
    """Where bars come from (ruling M1). The values are those of the setting MARKET and of `data_status.source`."""

    POLYGON = "polygon"
    RECORDED = "recorded"
    DEMO = "demo"

    @property
    def is_live(self) -> bool:
        """Whether a provider brings the bars while they come about, so that a fetch costs a call and bars may still get better.
        Those of the other markets are made or stored on this machine, and are what they are."""
        return self is Market.POLYGON

    @property
    def is_real(self) -> bool:
        """Whether the bars are those of an exchange."""
        return self is not Market.DEMO

    @property
    def label(self) -> str | None:
        """What every text begins with where the market is not the live one (ruling M1)."""
        return None if self.is_live else self.name

    @property
    def description(self) -> str:
        """What the market shows, in words."""
        return {Market.DEMO: "a synthetic demo market", Market.RECORDED: "recorded bars"}.get(self, "market data")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the data of this deployment is: its market, the series that signals read (ruling M6), how late
    its bars are, how long after its end a bar may still change (ruling T2), whether any bars were imported, whether there is a
    key for the provider, whether the provider is Polygon itself (`POLYGON_BASE_URL`), whether it has ever answered (also
    while nothing was asked), and the last day that it has, where it lacks the running one, once that has opened (`ends_on`)."""

    market: Market
    signal_span: Span
    delay: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)
    name: str | None = None
    has_bars: bool = True
    has_key: bool = True
    is_polygon: bool = True
    is_answered: bool = True
    ends_on: date | None = None

    def for_day(self, day: date) -> Plan:
        """Returns the plan for answers about `day`: `ends_on` is None for a day whose bars it has."""
        return self if self.ends_on is None or day > self.ends_on else replace(self, ends_on=None)

    @property
    def has_data(self) -> bool:
        """Whether there is anything that bars can come from."""
        return self.has_bars and self.has_key

    @property
    def shown_name(self) -> str | None:
        """The plan's name in answers; None while no key is set."""
        return self.name if self.has_key else None

    @property
    def lateness(self) -> timedelta:
        return self.delay + self.settle

    @property
    def is_local(self) -> bool:
        """Whether the bars are made or stored on this machine, so that a fetch calls no provider and takes a moment."""
        return not self.market.is_live

    @property
    def has_intraday(self) -> bool:
        """Whether bars of the running day are available at all."""
        return self.name != END_OF_DAY

    @property
    def is_known(self) -> bool:
        """Whether the provider has shown which plan it is."""
        return self.name != UNKNOWN


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What the probe found that a key may read. `has_intraday`: whether bars of the running day; `history_from`: the first
    day that is certain to be available."""

    has_intraday: bool
    history_from: date


class ClockSkew:
    """How far this process's market clock runs ahead of the provider's, by the Date header of the provider's answers (RFC
    9110 6.6.1). Every process measures its own. A change is emitted as `clock_differs`."""

    def __init__(self, clock: Clock, emit: Callable[..., None]) -> None:
        self._clock = clock
        self._emit = emit
        self._offset: timedelta | None = None

    @property
    def measured(self) -> timedelta | None:
        """How far the clock runs ahead (behind, if negative); None before the first answer."""
        return self._offset

    def offset(self) -> timedelta:
        """How far the clock runs ahead (behind, if negative); zero before the first answer."""
        return self._offset or timedelta(0)

    def observe(self, dated_at: datetime, took_s: float) -> None:
        """Measures the skew by an answer that has just arrived: the provider dated it `dated_at`, in whole seconds, within the
        last `took_s` seconds. The skew known before is kept while it may be right; otherwise the largest possible one is
        taken, which waits longest. A date that is off by an hour is not believed, because an old answer would make every bar
        late by its age."""
        most = self._clock() - dated_at
        if abs(most) > MOST_AHEAD:
            return
        least = most - timedelta(seconds=took_s) - DATE_UNIT
        known, self._offset = self._offset, self.offset()
        if not least <= self._offset <= most + DATE_UNIT:
            self._offset = most
        if self._offset != (known or timedelta(0)):
            self._emit("clock_differs", ahead_s=round(self._offset.total_seconds(), 1))


def probe(polygon: Polygon, ticker: str, today: date) -> Entitlement:
    """Asks the provider in one call, or in two while its snapshots fail, whether the key may read the running day. The history
    is that of the smallest such plan. Raises what the client raises for a failed call."""
    intraday = _has_running_day(polygon, ticker, today)
    return Entitlement(intraday, _years_before(today, STARTER_YEARS if intraday else BASIC_YEARS))


def probe_history(entitlement: Entitlement, polygon: Polygon, ticker: str, today: date) -> Entitlement:
    """Returns `entitlement` with all the history that the key may read, in at most two more calls. Raises what the client
    raises for a failed call."""
    if not entitlement.has_intraday:
        return entitlement
    if _reaches(polygon, ticker, date(2004, 1, 5)):
        return replace(entitlement, history_from=ALL_HISTORY)
    ten_years = _years_before(today, DEVELOPER_YEARS)
    reached = ten_years if _reaches(polygon, ticker, ten_years) else _years_before(today, STARTER_YEARS)
    return replace(entitlement, history_from=reached)


def _has_running_day(polygon: Polygon, ticker: str, today: date) -> bool:
    """Whether the key may read the running day. Every plan that has the running day also has snapshots, and no other plan does
    (polygon.md 4). Where snapshots fail, the minutes of today decide, which a plan without the running day refuses
    (polygon.md 6)."""
    try:
        polygon.snapshot(ticker)
    except NotEntitled:
        return False
    except ProviderNotFound:
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
    """Returns a day a few days inside the plan's history, since it is not documented where exactly that begins."""
    return today - years * YEAR + timedelta(days=3)
