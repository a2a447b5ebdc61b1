"""The running day as one of the processes that share it fetched it, for all of them: bars with the moment they were asked for,
failures, and which tickers are asked for.

`once` is a single flight between processes: whoever needs a series first fetches it under a lease, and the others read
what it brought. A store that cannot be used costs sharing, never an answer: each process then fetches for itself. The store is
a SQLite file for the processes on one DATA_DIR, or a Redis for those that share one (`SharedDay`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeVar

import numpy as np

from app.clock import Timer
from app.errors import BudgetSpent, NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.market.bars import COLUMNS, Bars, from_ms, to_ms
from app.market.lease import Lease
from app.market.polygon import ProviderNotFound
from app.market.shared_day import FailureRow, SeriesRow, SharedDay
from app.sqlite import Retries

T = TypeVar("T")
FOLLOWER = "follower"
POLL_S = 0.05
REOPEN_AFTER_S, SPREAD = 10.0, 0.5
"""Real seconds after which a store that failed is tried again, by one thread; up to half as many are added at random."""

WAITS_S = 10.0
"""Real seconds to wait for what another process fetches."""

APART: Final = timedelta(seconds=2)
"""How far the clocks of machines that are set by the network may be apart."""

ERRORS: tuple[type[PredictError], ...] = (BudgetSpent, NotEntitled, ProviderNotFound, TryLater, Unavailable, Upstream)
"""The failures that are shared."""

FIELDS = ("message", "code", "detail", "retry_after", "part", "fault", "since")
"""What an error may carry."""


@dataclass(frozen=True, slots=True)
class SharedSeries:
    """Bars that were asked for at `fetched` (market time); `delayed`: the provider calls them late. `missing`: how many of
    days that are over are not there, and `again`: when they are asked for again."""

    bars: Bars
    fetched: datetime
    delayed: bool
    missing: int = 0
    again: datetime | None = None


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """A fetch that failed at `at` (market time) and at `epoch_s` (real seconds since 1970). It is the answer of all processes
    until `lasts` has passed by one of the two: the provider is spared for real time (ruling M3), and a market whose clock is
    fast does not wait longer than its own."""

    at: datetime
    epoch_s: float
    lasts: timedelta
    error: PredictError

    def holds(self, at: datetime, epoch_s: float) -> bool:
        """Whether the failure is still the answer then, also by the clock of another machine."""
        passed, passed_s = at - self.at, epoch_s - self.epoch_s
        return -APART <= passed < self.lasts and -APART.total_seconds() <= passed_s < self.lasts.total_seconds()


class RunningDay:
    """What processes share of the running day. No method raises for a store that cannot be used. `emit(event, **fields)` emits
    when nothing can be shared, and when it can again."""

    def __init__(
        self,
        open_day: Callable[[], SharedDay],
        timer: Timer,
        emit: Callable[..., None],
        errors: Sequence[type[PredictError]] = (),
        clock_offset: Callable[[], timedelta] = timedelta,
    ) -> None:
        """`open_day()` opens the store, or raises Unavailable; `errors`: kinds of failure to share besides ERRORS.
        `clock_offset()`: how far this process's market clock runs ahead of the provider's; the store has the provider's time,
        which all processes share."""
        self._open_day = open_day
        self._clock_offset = clock_offset
        self._errors = {kind.__name__: kind for kind in (*ERRORS, *errors)}
        self._timer = timer
        self._emit = emit
        self._day: SharedDay | None = None
        self._failure: str | None = None
        self._is_closed = False
        self._retries = Retries(timer.now, REOPEN_AFTER_S, SPREAD)
        self._lease: Lease | None = None
        self._safely(lambda day: None, None)

    def failing(self) -> str | None:
        """Returns why nothing is shared now, or None."""
        return self._failure

    def lead(self) -> Lease | None:
        """Returns the follower's lease if this process has it, renewed; None while another one follows."""

        def renew(day: SharedDay) -> Lease | None:
            day.leases.renew_held()
            return day.leases.acquire(FOLLOWER)

        self._lease = self._safely(renew, None)
        return self._lease

    def leader(self) -> Lease | None:
        """Returns which process follows now."""
        return self._safely(lambda day: day.leases.current(FOLLOWER), None)

    def once(
        self, name: str, read: Callable[[], T | None], fetch: Callable[[], T], share: Callable[[T, Lease], None]
    ) -> T:
        """Returns what `read` finds, else what `fetch` returns, in one process at a time; `share` stores it for the others.
        Waits in steps of POLL_S for at most WAITS_S. Raises what they raise, and Upstream if another process takes too
        long."""
        ends = self._timer.now() + WAITS_S
        while True:
            value = read()
            if value is not None:
                return value
            lease = self._safely(lambda day: day.leases.acquire(name), None)
            if lease is not None:
                return self._fetched(lease, read, fetch, share)
            if self._failure is not None:
                return fetch()
            if self._timer.now() > ends:
                raise Upstream("another process is still fetching this", retry_after=5)
            self._timer.sleep(POLL_S)

    def _fetched(
        self, lease: Lease, read: Callable[[], T | None], fetch: Callable[[], T], share: Callable[[T, Lease], None]
    ) -> T:
        try:
            value = read()  # it may have come just before the lease was free
            if value is None:
                value = fetch()
                share(value, lease)
            return value
        finally:
            self._safely(lambda day: day.leases.release(lease), None)

    def get(self, name: str) -> SharedSeries | None:
        row = self._safely(lambda day: day.series(name), None)
        if row is None:
            return None
        again = None if row.again is None else self._ours(row.again)
        return SharedSeries(_unpacked(row.bars), self._ours(row.fetched), row.delayed, row.missing, again)

    def put(self, name: str, day: date, series: SharedSeries, lease: Lease) -> bool:
        """Keeps the series unless the lease has passed to another process (fencing). Returns whether it was kept."""
        again = None if series.again is None else self._providers(series.again)
        fetched, bars = self._providers(series.fetched), _packed(series.bars)
        row = SeriesRow(day, fetched, series.delayed, bars, series.missing, again)
        kept = self._safely(lambda shared: shared.put(name, row, lease), False)
        if not kept and self._failure is None:
            self._emit("bars_fenced", name=name, token=lease.token)
        return kept

    def forget(self, ticker: str) -> None:
        """Deletes the series of a ticker, whose prices are on an old basis."""
        self._safely(lambda day: day.forget(ticker), None)

    def fetched(self, since: date) -> dict[str, datetime]:
        """When the series of the days from `since` on were fetched, by name."""
        found = self._safely(lambda day: day.fetched(since), dict[str, int]())
        return {name: self._ours(fetched) for name, fetched in found.items()}

    def failure(self, name: str) -> FetchFailure | None:
        row = self._safely(lambda day: day.failure(name), None)
        known = None if row is None else self._error_of(json.loads(row.error))
        if row is None or known is None:
            return None
        return FetchFailure(self._ours(row.at), self._timer.epoch() - row.age_s, timedelta(seconds=row.lasts_s), known)

    def _error_of(self, record: dict[str, Any]) -> PredictError | None:
        """Returns the error that was stored; None for a kind that is not shared."""
        kind = self._errors.get(record["kind"])
        if kind is None:
            return None
        error = kind.__new__(kind, record["message"])
        if record.get("fault") is not None:
            record["fault"] = self._error_of(record["fault"])
        if record.get("since") is not None:
            record["since"] = date.fromisoformat(record["since"])
        error.__dict__.update({name: value for name, value in record.items() if name != "kind"})
        return error

    def fail(self, name: str, failure: FetchFailure) -> None:
        error, age_s = json.dumps(_record_of(failure.error)), self._timer.epoch() - failure.epoch_s
        row = FailureRow(self._providers(failure.at), age_s, failure.lasts.total_seconds(), error)
        self._safely(lambda day: day.fail(name, row), None)

    def forget_failures(self) -> None:
        self._safely(lambda day: day.forget_failures(), None)

    def ask_for(self, used: Mapping[str, datetime]) -> None:
        """Registers when the tickers were asked for last."""
        asked = {ticker: self._providers(at) for ticker, at in used.items()}
        self._safely(lambda day: day.ask_for(asked), None)

    def asked_for(self, since: datetime, until: datetime) -> Sequence[str]:
        """The tickers that any process was asked for in between."""
        first, last = self._providers(since), self._providers(until)
        return self._safely(lambda day: day.asked_for(first, last), ())

    def resign(self) -> None:
        """Frees the follower's lease, so that the next process takes over at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._safely(lambda day: day.leases.release(lease), None)

    def close(self) -> None:
        """Frees the lease and closes the store; nothing is shared any more."""
        self.resign()
        self._failure, self._is_closed = "closed", True
        if self._day is not None:
            self._day.close()

    def _providers(self, at: datetime) -> int:
        """A moment of this process's clock by the provider's, ms."""
        return to_ms(at - self._clock_offset())

    def _ours(self, ms: int) -> datetime:
        """A moment of the provider's clock by this process's."""
        return from_ms(ms) + self._clock_offset()

    def _safely(self, work: Callable[[SharedDay], T], otherwise: T) -> T:
        """Runs `work` on the store; returns `otherwise` while it cannot be used. It is tried again after a while."""
        is_retry = self._failure is not None
        if self._is_closed or (is_retry and not self._retries.take()):
            return otherwise
        try:
            if self._day is None:
                self._day = self._open_day()
            result = work(self._day)
        except Unavailable as exc:
            self._fail(exc.detail)
            return otherwise
        if is_retry:
            self._failure = None
            self._emit("running_day_shared")
        return result

    def _fail(self, why: str) -> None:
        is_new, self._failure = self._failure is None, why
        self._retries.postpone()
        if is_new:
            self._emit("running_day_unshared", error=why)
        if self._day is not None:
            self._day.leases.drop_held()


def _packed(bars: Bars) -> bytes:
    return b"".join(getattr(bars, name).tobytes() for name in COLUMNS)


def _unpacked(blob: bytes) -> Bars:
    columns = np.frombuffer(blob, dtype=np.int64).reshape(len(COLUMNS), -1)
    whole = {name: columns[i].copy() for i, name in enumerate(COLUMNS)}
    return Bars(**{name: c if name in ("t", "end") else c.view(np.float64) for name, c in whole.items()})


def _record_of(error: PredictError) -> dict[str, Any]:
    """Returns what an error is restored from: its kind, and those of its fields that are set."""
    fields = {name: getattr(error, name) for name in FIELDS if hasattr(error, name)}
    if fields.get("fault") is not None:
        fields["fault"] = _record_of(fields["fault"])
    if fields.get("since") is not None:
        fields["since"] = fields["since"].isoformat()
    return {"kind": type(error).__name__, **fields}
