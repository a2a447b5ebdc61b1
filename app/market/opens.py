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

    def put_open(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        """Keeps an open unless one is kept already, and returns the kept one."""
        ...

    def forget_prices(self, ticker: str, before: date) -> None:
        """Deletes the opens, and all other prices that are kept, of the days before, which a split re-based."""
        ...

    def read_prices_again(self, ticker: str, before: date) -> None:
        """Drops the prices of the days before from memory, because another process may have deleted them."""
        ...


class MissingOpen(PredictError):
    """The day has no usable official open; `code` tells a missing daily bar from one without an open (policy.md 3).
    `fault`: the failure of a source that may have had it."""

    def __init__(self, message: str, *, code: str | None = None, fault: PredictError | None = None) -> None:
        super().__init__(message, code=code)
        self.fault = fault


class OfficialOpens:
    """Official opens, out of the store and from the provider.

    aggregates  the client's method, with the events that its answers cause
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
        """Returns the official open if it is known; never calls the provider."""
        return self._store.get_open(ticker, day)

    def keep(self, ticker: str, day: date, official_open: OfficialOpen) -> OfficialOpen:
        """Keeps an open unless one is kept already, and returns the kept one."""
        winner = self._store.put_open(ticker, day, official_open)
        self._emit(self._event_of(day, "open_learned"), ticker=ticker, day=str(day), source=winner.source)
        return winner

    def forget(self, ticker: str, before: date) -> None:
        """Deletes the opens, and all other prices that are kept, of the days before, whose prices were re-based."""
        self._store.forget_prices(ticker, before)

    def read_again(self, ticker: str, before: date) -> None:
        """Reads the opens of the days before from the store again, because another process may have deleted them."""
        self._store.read_prices_again(ticker, before)

    def learn(self, ticker: str, session: Session) -> OfficialOpen:
        """The open of the provider. It is kept before the fetch is over, so that who asks from then on causes no second one; a
        twin may have kept it just before. Raises what `of_provider` raises."""
        return self.known(ticker, session.day) or self.keep(ticker, session.day, self.of_provider(ticker, session))

    def of_provider(self, ticker: str, session: Session) -> OfficialOpen:
        """Returns the open of the daily bar or the snapshot. Raises MissingOpen, with the fault if a source failed, and
        failures that concern every source as they are."""
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
        """Returns the open of the daily bar that is stamped with the session's own day."""
        start = midnight_ms(session.day)
        aggregates = self._aggregates(ticker, Span.DAY, session.day, session.day)
        prices = aggregates.bars.o[aggregates.bars.t == start]
        if len(prices):
            return OfficialOpen(float(prices[0]), "daily")
        if start in aggregates.starts:
            raise MissingOpen("the daily bar of today has no opening price", code="MISSING_DAILY_OPEN")
        raise MissingOpen("the daily bar of today is not there", code="MISSING_DAILY_BAR")

    def _snapshot_open(self, ticker: str, session: Session) -> OfficialOpen:
        """Returns the open of a snapshot that is dated within the session."""
        if not self._plan.has_snapshots or session.day != ny_day(self._clock()):
            raise MissingOpen("there is no snapshot", code="MISSING_DAILY_BAR")
        try:
            snapshot = self._polygon.snapshot(ticker)
        except NotEntitled:
            self._plan.has_snapshots = False
            raise MissingOpen("the plan has no snapshots", code="MISSING_DAILY_BAR") from None
        except ProviderNotFound:
            raise MissingOpen("there is no snapshot", code="MISSING_DAILY_BAR") from None
        if snapshot.open is None:
            raise MissingOpen("the snapshot has no open yet", code="MISSING_DAILY_BAR")
        if not snapshot.is_of(session):
            self._emit("snapshot_refused", ticker=ticker, day=str(session.day))
            raise MissingOpen("the snapshot is not dated within the session", code="MISSING_DAILY_BAR")
        return OfficialOpen(snapshot.open, "snapshot")
