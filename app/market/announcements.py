"""Closures and early closes that the provider announces: read, judged, kept on disk, and put into the calendar (policy.md 1).

The provider is believed for the future, within bounds: nonsense is refused and counted, and an answer that announces more
closures than can be right changes nothing. What was announced stays known once its day has closed, since history needs it;
until then a later answer may withdraw it. If no list that was read on the day itself, from 08:00 New York on, confirmed it (the
server was down), it may have been withdrawn unseen: SPY's bars then show whether the day traded by the rules. All processes on
one folder ask once a day together, and again when they start and the last answer is old; a failure keeps what is known and is
tried again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TypeVar

from app.clock import Timer
from app.errors import PredictError, Unavailable, Upstream
from app.market.budget import MEMORY, Priority, call_context
from app.market.calendar import (
    CLOSE,
    NY,
    ONE_DAY,
    OPEN,
    Calendar,
    Overrides,
    close_by_rule,
    differs_from_rules,
    is_usable_override,
    ny,
    ny_day,
)
from app.market.polygon import Polygon
from app.sqlite import Database, Retries
from app.telemetry.stages import NULL_STAGES, Stages

SCHEMA = """
CREATE TABLE IF NOT EXISTS announced (day TEXT PRIMARY KEY, close TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (id INTEGER PRIMARY KEY CHECK (id = 1), tried REAL NOT NULL, day TEXT NOT NULL)
"""
ADDED_COLUMNS = {
    ("announced", "confirmed"): "TEXT NOT NULL DEFAULT ''",
    ("checks", "answered"): "REAL NOT NULL DEFAULT 0",
}
"""Columns that the file of an earlier version lacks, by table and name."""

EXCHANGES = frozenset({"NYSE", "NASDAQ"})
MOST_ROWS = 500
FARTHEST = timedelta(days=730)
MOST_UNSCHEDULED = 7
"""Days from a MONTH ago on that may differ from the rules. The longest unscheduled closure since 1933 had four days (2001)."""

MONTH = timedelta(days=30)
AGAIN_AFTER_S = 900.0
"""Real seconds between two tries while the provider fails."""

RELIED_ON_FOR_S = 900.0
"""How old, real seconds, the last good answer may be for a process that starts to rely on it. Processes that start together
or one after another then cost one call, and one that crashes again and again asks no more often than after a failure."""

ASKED_FROM = timedelta(hours=8)
PATIENCE_S = 90.0
REASONS = ("shape", "date", "past", "far", "weekend", "status", "hours")
T = TypeVar("T")


class Refused(ValueError):
    """A row that cannot be right; the message is one of REASONS."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The usable rows of an answer: the close by day, None for a day without trading; and how many were refused, by reason."""

    days: Overrides
    refused: Counter[str]


def read_announcements(rows: Iterable[Any], today: date) -> Announced:
    """The rows of NYSE and NASDAQ from `today` on. Where two differ about a day, the shorter day holds."""
    days: dict[date, time | None] = {}
    refused: Counter[str] = Counter()
    for row in rows:
        try:
            if _is_of_the_exchanges(row):
                day, close = _read(row, today)
                days[day] = _shorter(days[day], close) if day in days else close
        except Refused as exc:
            refused[str(exc)] += 1
    return Announced(days, refused)


def _is_of_the_exchanges(row: Any) -> bool:
    if not isinstance(row, dict):
        raise Refused("shape")
    return row.get("exchange") in EXCHANGES if isinstance(row.get("exchange"), str) else False


def _read(row: Mapping[str, Any], today: date) -> tuple[date, time | None]:
    try:
        day = date.fromisoformat(str(row.get("date")))
    except ValueError:
        raise Refused("date") from None
    if day < today:
        raise Refused("past")
    if day > today + FARTHEST:
        raise Refused("far")
    if day.weekday() >= 5:
        raise Refused("weekend")
    if row.get("status") not in ("closed", "early-close"):
        raise Refused("status")
    return day, None if row["status"] == "closed" else _early_close(row, day)


def _early_close(row: Mapping[str, Any], day: date) -> time:
    """The New York time of an early close of a session that opens as usual."""
    opens, closes = (_moment(row.get(name)) for name in ("open", "close"))
    if closes is None or closes.date() != day or closes.time() >= CLOSE or not is_usable_override(day, closes.time()):
        raise Refused("hours")
    if opens is not None and (opens.date(), opens.time()) != (day, OPEN):
        raise Refused("hours")
    return closes.time()


def _moment(value: Any) -> datetime | None:
    """A UTC moment as New York time; None if there is none. Raises Refused for one that cannot be read."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise Refused("hours")
        return moment.astimezone(NY)
    except (ValueError, OverflowError):
        raise Refused("hours") from None


def _shorter(one: time | None, other: time | None) -> time | None:
    return None if one is None or other is None else min(one, other)


@dataclass(frozen=True, slots=True)
class Closure:
    """A day whose hours differ from the rules: its close, None without trading; `confirmed`: the day of asking of the last
    list that named it, None if that is not known."""

    close: time | None
    confirmed: date | None


Closures = Mapping[date, Closure]


def merged(known: Closures, found: Announced, at: datetime) -> Closures:
    """What is known after an answer of `at`: days that are over stay unless they are announced anew; of the others, today
    included, one that the answer reaches beyond and no longer has was withdrawn. Raises Upstream for an answer that cannot
    be right."""
    if not found.days:
        raise Upstream("the provider's list of holidays has no usable row")
    today, last = ny_day(at), max(found.days)
    asked = _asking_day(at)
    unscheduled = {day: Closure(close, asked) for day, close in found.days.items() if differs_from_rules(day, close)}
    kept = {d: c for d, c in known.items() if d not in found.days and (_is_over(d, c.close, at) or d > last)}
    if len(unscheduled) + sum(day >= today - MONTH for day in kept) > MOST_UNSCHEDULED:
        raise Upstream("the provider announces more unscheduled closures than can be right")
    return {**kept, **unscheduled}


def _is_over(day: date, close: time | None, at: datetime) -> bool:
    """Whether `day`, which closes at `close`, is history at `at`: today is the future until its close (policy.md 1). A day
    without trading is over when it would have closed by the rules."""
    return at >= ny(day, close or close_by_rule(day) or CLOSE)


def _is_doubtful(day: date, closure: Closure, today: date) -> bool:
    """Whether `day` is past and no list that was read on it from 08:00 New York on named it: the closure may have been
    withdrawn unseen. A list of the night before counts as one of the day before."""
    return day < today and (closure.confirmed is None or closure.confirmed < day)


@dataclass(frozen=True, slots=True)
class CalendarStatus:
    """What `/health` shows: the day of asking of the last good answer, why the last try failed, how many of its
    rows were refused, and the next days whose hours differ from an ordinary weekday's."""

    checked: str | None
    error: str | None
    refused_rows: int
    upcoming: list[dict[str, str | None]]


class Announcements:
    """Keeps the calendar to what is announced. `named`: what the operator names; it wins over the provider. `path`: the file
    that the processes share. While it cannot be used, what is known stays in memory, `degraded` says so, and the file is
    tried again at a pace (`app.sqlite.Retries`)."""

    def __init__(
        self,
        path: Path,
        calendar: Calendar,
        named: Overrides,
        timer: Timer,
        emit: Callable[..., None],
        stages: Stages = NULL_STAGES,
    ) -> None:
        self._path, self._calendar, self._named, self._timer = path, calendar, dict(named), timer
        self._emit, self._stages = emit, stages
        self._lock = threading.RLock()
        self._began = timer.epoch()
        self._known = _Known({}, None, 0.0)
        self._error: str | None = None
        self._refused = 0
        self._failure: str | None = None
        self._retries = Retries(timer.now)
        try:
            self._db = self._file()
        except Unavailable as exc:
            self._db = self._in_memory(exc)
        self.load()

    def load(self) -> None:
        """Take over what is kept, whichever process learned it."""
        with self._lock:
            self._known = self._kept(_read_all)
            self._apply()

    def is_due(self, at: datetime) -> bool:
        """Whether nobody has a good answer of the day of asking, or it was old when this process started."""
        return not self._known.suffices(_asking_day(at), self._relied_on_from(), self._timer.epoch())

    def doubtful(self, at: datetime) -> Overrides:
        """Past days whose announced hours no list of their own day confirmed, with their closes; not those that the operator
        names."""
        today, closures = ny_day(at), self._known.closures
        found = {day: c.close for day, c in closures.items() if _is_doubtful(day, c, today)}
        return {day: close for day, close in found.items() if day not in self._named}

    def withdraw(self, days: Collection[date], at: datetime) -> None:
        """Bars show that `days` traded by the rules: what was announced of those that are doubtful is forgotten."""
        self._settle(lambda known, day: {d: c for d, c in known.items() if d != day}, days, at)

    def confirm(self, days: Collection[date], at: datetime) -> None:
        """Bars show that the doubtful ones of `days` traded as announced."""
        self._settle(lambda known, day: {**known, day: Closure(known[day].close, day)}, days, at)

    def _settle(self, change: Callable[[Closures, date], Closures], days: Collection[date], at: datetime) -> None:
        """`change` what is known about each of `days` that is doubtful."""
        with self._lock:
            self._known = self._kept(_read_all)
            settled = sorted({*days} & {*self.doubtful(at)})
            for day in settled:
                self._known = replace(self._known, closures=change(self._known.closures, day))
            if settled:
                self._kept(lambda db: _write_closures(db, self._known.closures))
            self._apply()

    def refresh(self, polygon: Polygon, at: datetime) -> None:
        """Ask the provider unless another process did today, or lately if this one has just started, or tries now. Raises what
        the client raises; what is known stays."""
        since, now = self._relied_on_from(), self._timer.epoch()
        if not self._kept(lambda db: _claim(db, _asking_day(at), since, now)):
            return
        try:
            with call_context(Priority.MINUTES, PATIENCE_S, self._timer):
                rows = polygon.upcoming_closures()
            self._learn(rows, at)
        except PredictError as exc:
            self._error = exc.message
            raise
        self._error = None

    def status(self, today: date) -> CalendarStatus:
        """The state of the calendar on `today`."""
        day = self._known.checked
        checked = None if day is None else day.isoformat()
        return CalendarStatus(checked, self._error, self._refused, upcoming(self._calendar, today))

    def degraded(self) -> str | None:
        """Why the file cannot be used; None while it can. Asking tries it again at a pace."""
        with self._lock:
            self._kept(lambda db: None)
            self._apply()
            return self._failure

    def close(self) -> None:
        self._db.close()

    def _learn(self, rows: list[Any], at: datetime) -> None:
        if len(rows) > MOST_ROWS:
            raise Upstream("the provider's list of holidays is too long")
        found = read_announcements(rows, ny_day(at))
        self._refused = found.refused.total()
        for reason in found.refused.elements():
            self._emit("announcement_refused", reason=reason)
        with self._lock:
            known = self._kept(_read_all).closures
            self._known = _Known(merged(known, found, at), _asking_day(at), self._timer.epoch())
            self._kept(lambda db: _write_all(db, self._known))
            self._apply()

    def _relied_on_from(self) -> float:
        """From when on, real seconds since the epoch, an answer is young enough for this process."""
        return self._began - RELIED_ON_FOR_S

    def _apply(self) -> None:
        """Swap the calendar's overrides if they are others than before."""
        announced = {day: closure.close for day, closure in self._known.closures.items()}
        before, now = self._calendar.overrides, {**announced, **self._named}
        if before == now:
            return
        self._calendar.override(now)
        changed = sorted(day for day in {*before, *now} if before.get(day, day) != now.get(day, day))
        shown = " ".join(f"{day}={_shown(now[day]) if day in now else 'by-rule'}" for day in changed[:MOST_UNSCHEDULED])
        self._emit("calendar_changed", days=shown)

    def _kept(self, work: Callable[[Database], T]) -> T:
        """`work` on the file; while that cannot be used, on a copy in memory."""
        with self._lock:
            self._try_again()
            try:
                return work(self._db)
            except Unavailable as exc:
                with suppress(Unavailable):
                    self._db.close()
                self._db = self._in_memory(exc)
                return work(self._db)

    def _try_again(self) -> None:
        """Go back to the file if it can be used again, once in a while."""
        if self._failure is None or not self._retries.take():
            return
        try:
            found = self._file()
        except Unavailable as exc:
            self._failure = exc.detail
            return
        self._db.close()
        self._db, self._failure = found, None
        self._emit("calendar_recovered")

    def _file(self) -> Database:
        """The file, with what this process knows better. What it holds is known from then on, even if it cannot be written."""
        db = Database(self._path, SCHEMA, stages=self._stages)
        try:
            kept = _read_all(db)
            self._known = kept.united(self._known)
            _add_columns(db)
            if self._known == kept:
                db.write("PRAGMA user_version = 1")  # shows that the file can be written
            else:
                _write_all(db, self._known)
        except Unavailable:
            db.close()
            raise
        return db

    def _in_memory(self, why: Unavailable) -> Database:
        self._failure = why.detail
        self._retries.postpone()
        self._emit("calendar_in_memory", error=why.message)
        db = Database(MEMORY, SCHEMA, stages=self._stages)
        _add_columns(db)
        _write_all(db, self._known)
        return db


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept: the closures; the day of asking of the last good answer, None before one; when it came, real seconds since
    the epoch."""

    closures: Closures
    checked: date | None
    answered: float

    def suffices(self, today: date, since: float, now: float) -> bool:
        """Whether the last good answer is of the day of asking and not older than `since`. One of the future is a clock's that
        was set back."""
        return self.checked == today and since <= self.answered <= now

    def united(self, other: _Known) -> _Known:
        """The one with the later answer. Of one answer, the days that neither has settled as traded by the rules, confirmed
        if either has confirmed them."""
        if other.checked is None or (self.checked is not None and self.answered > other.answered):
            return self
        if self.checked is None or self.answered < other.answered:
            return other
        both = {
            day: _confirmed(self.closures[day], other.closures[day]) for day in {*self.closures} & {*other.closures}
        }
        return replace(self, closures=both)


def _confirmed(one: Closure, other: Closure) -> Closure:
    """The one that the later list, or bars, confirmed."""
    return max(one, other, key=lambda closure: closure.confirmed or date.min)


def _asking_day(at: datetime) -> date:
    """The day of asking, which begins at 08:00 New York: what is announced over night is known before the open."""
    return ny_day(at - ASKED_FROM)


def upcoming(calendar: Calendar, today: date) -> list[dict[str, str | None]]:
    """The weekdays of the next three months that are closed or close early; `close` is New York time, None for a closed day."""
    days = (today + number * ONE_DAY for number in range(92))
    sessions = [(day, calendar.session(day)) for day in days if day.weekday() < 5]
    return [
        {"day": day.isoformat(), "close": None if session is None else session.close.astimezone(NY).strftime("%H:%M")}
        for day, session in sessions
        if session is None or session.is_short
    ]


def _shown(close: time | None) -> str:
    return "closed" if close is None else close.strftime("%H:%M")


def _add_columns(db: Database) -> None:
    """Add the columns that the file of an earlier version lacks."""
    if _missing_columns(db):
        with db.transaction():
            for table, column in _missing_columns(db):
                db.write(f"ALTER TABLE {table} ADD COLUMN {column} {ADDED_COLUMNS[table, column]}")


def _missing_columns(db: Database) -> list[tuple[str, str]]:
    """The added columns that the file has not, each with its table."""
    there = {table: {row[1] for row in db.rows(f"PRAGMA table_info({table})")} for table, _ in ADDED_COLUMNS}
    return [(table, column) for table, column in ADDED_COLUMNS if column not in there[table]]


def _claim(db: Database, today: date, since: float, now: float) -> bool:
    """Whether this process is to ask now. A time of a try that lies in the future is a clock's that was set back."""
    with db.transaction():
        row = next(iter(db.rows("SELECT tried FROM checks")), None)
        if row is not None and (_read_all(db).suffices(today, since, now) or 0 <= now - row[0] < AGAIN_AFTER_S):
            return False
        sql = "INSERT INTO checks VALUES (1, ?, '', 0) ON CONFLICT (id) DO UPDATE SET tried = excluded.tried"
        db.write(sql, (now,))
    return True


def _write_all(db: Database, known: _Known) -> None:
    with db.transaction():
        _replace_closures(db, known.closures)
        db.write("INSERT OR REPLACE INTO checks VALUES (1, 0, ?, ?)", (_text(known.checked), known.answered))


def _write_closures(db: Database, closures: Closures) -> None:
    with db.transaction():
        _replace_closures(db, closures)


def _replace_closures(db: Database, closures: Closures) -> None:
    """To be called inside a transaction."""
    rows = [(day.isoformat(), _text(c.close), _text(c.confirmed)) for day, c in closures.items()]
    db.write("DELETE FROM announced")
    db.write_many("INSERT INTO announced VALUES (?, ?, ?)", rows)


def _text(value: date | time | None) -> str:
    return "" if value is None else value.isoformat()


def _read_all(db: Database) -> _Known:
    """What is kept; a row that cannot be used is left out, and a column that is missing has its default value."""
    missing = {column for _, column in _missing_columns(db)}
    confirmed, answered = (
        ("''" if "confirmed" in missing else "confirmed"),
        ("0" if "answered" in missing else "answered"),
    )
    closures: dict[date, Closure] = {}
    for text, close, seen in db.rows(f"SELECT day, close, {confirmed} FROM announced"):
        day, at = _day(text), _time(close)
        if day is not None and (at is not None or not close) and is_usable_override(day, at):
            closures[day] = Closure(at, _day(seen))
    checks = db.rows(f"SELECT day, {answered} FROM checks")
    return _Known(closures, _day(checks[0][0]), checks[0][1]) if checks else _Known(closures, None, 0.0)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _time(text: str) -> time | None:
    try:
        return time.fromisoformat(text)
    except ValueError:
        return None
