"""The running day as one of the processes on a DATA_DIR fetched it, for all of them: bars with the moment they were asked
for, failures, and which tickers are asked for.

`once` is a single flight between processes: whoever needs a series first fetches it under a lease, and the others read
what it brought. A store that cannot be used costs sharing, never an answer: each process then fetches for itself.
`RunningDay` is the seam where another store than SQLite joins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from app.clock import Timer
from app.errors import BudgetSpent, NotEntitled, PredictError, TryLater, Unavailable, Upstream
from app.market.bars import COLUMNS, Bars, from_ms, to_ms
from app.market.lease import LEASES, Lease, SqliteLeases
from app.market.polygon import ProviderNotFound
from app.sqlite import Database
from app.telemetry.stages import NULL_STAGES, Stages

T = TypeVar("T")
SCHEMA = (
    LEASES
    + """;
CREATE TABLE IF NOT EXISTS series (
    name TEXT PRIMARY KEY, day TEXT, fetched INTEGER, delayed INTEGER, bars BLOB, written REAL, missing INTEGER,
    again INTEGER
);
CREATE TABLE IF NOT EXISTS failed_fetches (
    name TEXT PRIMARY KEY, at INTEGER, epoch_s REAL, lasts_s REAL, error TEXT
);
CREATE TABLE IF NOT EXISTS interest (ticker TEXT PRIMARY KEY, used INTEGER)
"""
)
FOLLOWER = "follower"
MOST_SERIES, MOST_FAILURES, MOST_TICKERS = 64, 256, 64
"""Rows kept, the newest."""

POLL_S = 0.05
PATIENCE_S = 2.0
"""Real seconds to wait for another process's transaction."""

REOPEN_AFTER_S = 10.0
"""Real seconds after which a store that failed is tried again."""

WAITS_S = 10.0
"""Real seconds to wait for what another process fetches."""

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
        """Whether the failure is still the answer then."""
        return timedelta(0) <= at - self.at < self.lasts and 0 <= epoch_s - self.epoch_s < self.lasts.total_seconds()


class RunningDay(Protocol):
    """What the processes on one DATA_DIR share of the running day. No method raises for a store that cannot be used."""

    def failing(self) -> str | None:
        """Returns why nothing is shared now, or None."""
        ...

    def lead(self) -> Lease | None:
        """Returns the follower's lease if this process has it, renewed; None while another one follows."""
        ...

    def leader(self) -> Lease | None:
        """Returns which process follows now."""
        ...

    def once(
        self, name: str, read: Callable[[], T | None], fetch: Callable[[], T], share: Callable[[T, Lease], None]
    ) -> T:
        """Returns what `read` finds, else what `fetch` returns, in one process at a time; `share` stores it for the others.
        Raises what they raise, and Upstream if another process takes too long."""
        ...

    def get(self, name: str) -> SharedSeries | None: ...

    def put(self, name: str, day: date, series: SharedSeries, lease: Lease) -> bool:
        """Keeps the series unless the lease has passed to another process (fencing). Returns whether it was kept."""
        ...

    def forget(self, ticker: str) -> None:
        """Deletes the series of a ticker, whose prices are on an old basis."""
        ...

    def fetched(self, since: date) -> dict[str, datetime]:
        """When the series of the days from `since` on were fetched, by name."""
        ...

    def failure(self, name: str) -> FetchFailure | None: ...

    def fail(self, name: str, failure: FetchFailure) -> None: ...

    def forget_failures(self) -> None: ...

    def ask_for(self, used: Mapping[str, datetime]) -> None:
        """Registers when the tickers were asked for last."""
        ...

    def asked_for(self, since: datetime, until: datetime) -> list[str]:
        """The tickers that any process was asked for in between."""
        ...

    def resign(self) -> None:
        """Frees the follower's lease, so that the next process takes over at once."""
        ...

    def close(self) -> None:
        """Frees the lease and closes the file; nothing is shared any more."""
        ...


class SqliteRunningDay:
    """The running day in a SQLite file. `emit(event, **fields)` emits when nothing can be shared, and when it can again."""

    def __init__(
        self,
        path: Path,
        timer: Timer,
        emit: Callable[..., None],
        stages: Stages = NULL_STAGES,
        errors: Sequence[type[PredictError]] = (),
        clock_offset: Callable[[], timedelta] = timedelta,
    ) -> None:
        """`errors`: kinds of failure to share besides ERRORS. `clock_offset()`: how far this process's market clock runs ahead
        of the provider's; the file has the provider's time, which all processes share."""
        self._clock_offset = clock_offset
        self._errors = {kind.__name__: kind for kind in (*ERRORS, *errors)}
        self._path = path
        self._timer = timer
        self._emit = emit
        self._stages = stages
        self._db: Database | None = None
        self._leases: SqliteLeases | None = None
        self._failure: str | None = None
        self._retry_at = 0.0
        self._lease: Lease | None = None
        self._safely(lambda db, leases: None, None)

    def failing(self) -> str | None:
        return self._failure

    def lead(self) -> Lease | None:
        def renew(db: Database, leases: SqliteLeases) -> Lease | None:
            leases.renew_held()
            return leases.acquire(FOLLOWER)

        self._lease = self._safely(renew, None)
        return self._lease

    def leader(self) -> Lease | None:
        return self._safely(lambda db, leases: leases.current(FOLLOWER), None)

    def once(
        self, name: str, read: Callable[[], T | None], fetch: Callable[[], T], share: Callable[[T, Lease], None]
    ) -> T:
        """Waits in steps of POLL_S for at most WAITS_S."""
        ends = self._timer.now() + WAITS_S
        while True:
            value = read()
            if value is not None:
                return value
            lease = self._safely(lambda db, leases: leases.acquire(name), None)
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
            self._safely(lambda db, leases: leases.release(lease), None)

    def get(self, name: str) -> SharedSeries | None:
        sql = "SELECT bars, fetched, delayed, missing, again FROM series WHERE name = ?"
        for bars, fetched, delayed, missing, again in self._rows(sql, (name,)):
            ends = None if again is None else self._ours(again)
            return SharedSeries(_unpacked(bars), self._ours(fetched), bool(delayed), missing, ends)
        return None

    def put(self, name: str, day: date, series: SharedSeries, lease: Lease) -> bool:
        again = None if series.again is None else self._providers(series.again)
        description = (name, day.isoformat(), self._providers(series.fetched), series.delayed)
        row = (*description, _packed(series.bars), self._timer.epoch(), series.missing, again)

        def write(db: Database, leases: SqliteLeases) -> bool:
            with db.transaction():
                if not leases.is_current(lease):
                    return False
                db.write("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                _trim(db, "series", "name", "written", MOST_SERIES)
                return True

        kept = self._safely(write, False)
        if not kept and self._failure is None:
            self._emit("bars_fenced", name=name, token=lease.token)
        return kept

    def forget(self, ticker: str) -> None:
        prefix = f"{ticker} "
        sql = "DELETE FROM series WHERE substr(name, 1, ?) = ?"
        self._safely(lambda db, leases: db.write(sql, (len(prefix), prefix)), 0)

    def fetched(self, since: date) -> dict[str, datetime]:
        sql = "SELECT name, fetched FROM series WHERE day >= ?"
        rows = self._rows(sql, (since.isoformat(),))
        return {name: self._ours(fetched) for name, fetched in rows}

    def failure(self, name: str) -> FetchFailure | None:
        sql = "SELECT at, epoch_s, lasts_s, error FROM failed_fetches WHERE name = ?"
        for at, epoch_s, lasts_s, error in self._rows(sql, (name,)):
            known = self._error_of(json.loads(error))
            return None if known is None else FetchFailure(self._ours(at), epoch_s, timedelta(seconds=lasts_s), known)
        return None

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
        error = json.dumps(_record_of(failure.error))
        row = (name, self._providers(failure.at), failure.epoch_s, failure.lasts.total_seconds(), error)

        def write(db: Database, leases: SqliteLeases) -> None:
            with db.transaction():
                db.write("INSERT OR REPLACE INTO failed_fetches VALUES (?, ?, ?, ?, ?)", row)
                _trim(db, "failed_fetches", "name", "at", MOST_FAILURES)

        self._safely(write, None)

    def forget_failures(self) -> None:
        self._safely(lambda db, leases: db.write("DELETE FROM failed_fetches"), 0)

    def ask_for(self, used: Mapping[str, datetime]) -> None:
        rows = [(ticker, self._providers(at)) for ticker, at in used.items()]

        def write(db: Database, leases: SqliteLeases) -> None:
            with db.transaction():
                db.write_many("INSERT OR REPLACE INTO interest VALUES (?, ?)", rows)
                _trim(db, "interest", "ticker", "used", MOST_TICKERS)

        self._safely(write, None)

    def asked_for(self, since: datetime, until: datetime) -> list[str]:
        sql = "SELECT ticker FROM interest WHERE used > ? AND used <= ? ORDER BY ticker"
        rows = self._rows(sql, (self._providers(since), self._providers(until)))
        return [ticker for (ticker,) in rows]

    def resign(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._safely(lambda db, leases: leases.release(lease), None)

    def close(self) -> None:
        self.resign()
        self._failure, self._retry_at = "closed", math.inf
        if self._db is not None:
            self._db.close()

    def _providers(self, at: datetime) -> int:
        """A moment of this process's clock by the provider's, ms."""
        return to_ms(at - self._clock_offset())

    def _ours(self, ms: int) -> datetime:
        """A moment of the provider's clock by this process's."""
        return from_ms(ms) + self._clock_offset()

    def _rows(self, sql: str, args: Sequence[Any]) -> list[Any]:
        return self._safely(lambda db, leases: db.rows(sql, args), list[Any]())

    def _safely(self, work: Callable[[Database, SqliteLeases], T], otherwise: T) -> T:
        """Runs `work` on the store; returns `otherwise` while it cannot be used. It is tried again after a while."""
        if self._failure is not None and self._timer.now() < self._retry_at:
            return otherwise
        try:
            if self._db is None or self._leases is None:
                self._db = Database(self._path, SCHEMA, PATIENCE_S, self._stages)
                self._leases = SqliteLeases(self._db, self._timer)
            result = work(self._db, self._leases)
        except Unavailable as exc:
            self._fail(exc.detail)
            return otherwise
        if self._failure is not None:
            self._failure = None
            self._emit("running_day_shared")
        return result

    def _fail(self, why: str) -> None:
        if self._failure is None:
            self._emit("running_day_unshared", error=why)
        self._failure, self._retry_at = why, self._timer.now() + REOPEN_AFTER_S
        if self._leases is not None:
            self._leases.drop_held()


def _trim(db: Database, table: str, key: str, age: str, most: int) -> None:
    """Keeps the newest rows; the names come from this module alone."""
    newest = f"SELECT {key} FROM {table} ORDER BY {age} DESC LIMIT {most}"
    db.write(f"DELETE FROM {table} WHERE {key} NOT IN ({newest})")


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
