"""The official open of a day: where it is looked for, in which order (policy.md 3), and that it is learned once (ruling T1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from app.clock import Clock
from app.errors import NotEntitled, PredictError, Upstream
from app.market.bars import Span
from app.market.calendar import Session, midnight_ms, ny_day
from app.market.observed_plan import ObservedPlan
from app.market.polygon import Aggregates, Polygon, ProviderNotFound


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

    def forget_prices(self, ticker: str, before: date) -> None:
        """Drop the opens, and whatever other prices are kept, of the days before: a split re-based them."""
        ...

    def read_prices_again(self, ticker: str, before: date) -> None:
        """Hold no prices of the days before in memory: another process may have dropped them."""
        ...


class MissingOpen(PredictError):
    """The day has no usable official open; `code` tells a missing daily bar from one without an open (policy.md 3).
    `fault`: the failure of a source that may have had it."""

    def __init__(self, message: str, *, code: str | None = None, fault: PredictError | None = None) -> None:
        super().__init__(message, code=code)
        self.fault = fault


class OfficialOpens:
    """Official opens, out of the store and from the provider.

    aggregates  the client's, with what is told of its answers
    event_of    the name of an event about a day
    """

    def __init__(
        self,
        store: OpenStore,
        polygon: Polygon,
        plan: ObservedPlan,
        clock: Clock,
        emit: Callable[..., None],
        aggregates: Callable[[str, Span, date, date], Aggregates],
        event_of: Callable[[date, str], str],
    ) -> None:
        self._store = store
        self._polygon = polygon
        self._plan = plan
        self._clock = clock
        self._emit = emit
        self._aggregates = aggregates
        self._event_of = event_of

    def known(self, ticker: str, day: date) -> OfficialOpen | None:
        """The official open if it has been learned; never calls the provider."""
        return self._store.get_open(ticker, day)

    def keep(self, ticker: str, day: date, found: OfficialOpen) -> OfficialOpen:
        """Keep an open unless one is kept already; returns the one that is kept."""
        winner = self._store.put_open(ticker, day, found)
        self._emit(self._event_of(day, "open_learned"), ticker=ticker, day=str(day), source=winner.source)
        return winner

    def forget(self, ticker: str, before: date) -> None:
        """Drop the opens, and whatever other prices are kept, of the days before, whose prices were re-based."""
        self._store.forget_prices(ticker, before)

    def read_again(self, ticker: str, before: date) -> None:
        """Read the opens of the days before from the store again: another process may have dropped them."""
        self._store.read_prices_again(ticker, before)

    def of_provider(self, ticker: str, session: Session) -> OfficialOpen:
        """The open from the daily bar or the snapshot. Raises MissingOpen, with the fault if a source failed; the failures that
        are about every source as they are."""
        self._plan.refuse_unentitled(Span.MINUTE, session.day, self._clock())
        if self._clock() < session.open + self._plan.current.lateness:
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
        if not self._plan.has_snapshots or session.day != ny_day(self._clock()):
            raise MissingOpen("there is no snapshot", code="MISSING_DAILY_BAR")
        try:
            found = self._polygon.snapshot(ticker)
        except NotEntitled:
            self._plan.has_snapshots = False
            raise MissingOpen("the plan has no snapshots", code="MISSING_DAILY_BAR") from None
        except ProviderNotFound:
            raise MissingOpen("there is no snapshot", code="MISSING_DAILY_BAR") from None
        if found.open is None:
            raise MissingOpen("the snapshot has no open yet", code="MISSING_DAILY_BAR")
        if not found.is_of(session):
            self._emit("snapshot_refused", ticker=ticker, day=str(session.day))
            raise MissingOpen("the snapshot is not dated within the session", code="MISSING_DAILY_BAR")
        return OfficialOpen(found.open, "snapshot")
