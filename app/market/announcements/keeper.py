"""Keeps the calendar to what is announced: asks the provider once a day, and puts what is believed into the calendar.

The provider is believed for the future, within bounds: nonsense is refused and counted, and an answer that announces more
closures than can be right changes nothing. What was announced stays known once its day has closed, since history needs it;
until then a later answer may withdraw it. If no list that was read on the day itself, from 08:00 New York on, confirmed it (the
server was down), it may have been withdrawn unnoticed: SPY's bars then show whether the day traded by the rules. All processes
that share a folder or a Redis ask once a day together, and again when they start and the last answer is old; a failure keeps
what is known and is tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any, TypeVar

from app.clock import Timer
from app.errors import PredictError, Unavailable, Upstream
from app.market.announcements.closures import MOST_UNSCHEDULED, Closure, Closures, asking_day, is_doubtful, merged
from app.market.announcements.rows import read_announcements
from app.market.announcements.store import AnnouncementStore, SqliteAnnouncements, StoredAnnouncements
from app.market.budget import Priority, call_context
from app.market.calendar import NY, ONE_DAY, Calendar, Overrides, ny_day
from app.market.polygon import Polygon
from app.sqlite import Retries

MOST_ROWS = 500
RELIED_ON_FOR_S = 900.0
"""How old, real seconds, the last good answer may be for a process that starts to rely on it. Processes that start together
or one after another then cost one call, and one that crashes again and again asks no more often than after a failure."""

PATIENCE_S = 90.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CalendarStatus:
    """What `/health` shows. `checked`: the day of asking of the last good answer; `error`: why the last try failed;
    `refused_rows`: how many rows of that answer were refused; `upcoming`: the next days whose hours differ from an ordinary
    weekday's."""

    checked: str | None
    error: str | None
    refused_rows: int
    upcoming: list[dict[str, str | None]]


class Announcements:
    """Keeps the calendar to what is announced. `named`: what the operator names, which wins over the provider; `open_store()`
    opens what the processes share. While that cannot be used, what is known stays in memory, `degraded` says so, and it
    is tried again at a pace (`app.sqlite.Retries`)."""

    def __init__(
        self,
        open_store: Callable[[], AnnouncementStore],
        calendar: Calendar,
        named: Overrides,
        timer: Timer,
        emit: Callable[..., None],
    ) -> None:
        self._open_store, self._calendar, self._named, self._timer = open_store, calendar, dict(named), timer
        self._emit = emit
        self._lock = threading.RLock()
        self._began = timer.epoch()
        self._stored = StoredAnnouncements({}, None, 0.0)
        self._error: str | None = None
        self._refused = 0
        self._failure: str | None = None
        self._retries = Retries(timer.now)
        try:
            self._store = self._open()
        except Unavailable as exc:
            self._store = self._in_memory(exc)
        self.load()

    def load(self) -> None:
        """Loads what is stored, whichever process learned it."""
        with self._lock:
            stored = self._with_store(lambda store: store.read())
            if stored.checked is None and self._stored.checked is not None:  # a Redis that was emptied
                self._with_store(lambda store: store.write(self._stored))
            else:
                self._stored = stored
            self._apply()

    def is_due(self, at: datetime) -> bool:
        """Whether no process has a good answer of the day of asking, or that answer was old when this process started."""
        return not self._stored.suffices(asking_day(at), self._relied_on_from(), self._timer.epoch())

    def doubtful(self, at: datetime) -> Overrides:
        """Returns the past days whose announced hours no list of their own day confirmed, with their closes, without those that
        the operator names. While one is being settled, waits until the calendar has it."""
        with self._lock:
            today, closures = ny_day(at), self._stored.closures
        doubtful = {day: c.close for day, c in closures.items() if is_doubtful(day, c, today)}
        return {day: close for day, close in doubtful.items() if day not in self._named}

    def withdraw(self, days: Collection[date], at: datetime) -> None:
        """Forgets what was announced of those of `days` that are doubtful, because bars show that they traded by the rules."""
        self._settle(lambda known, day: {d: c for d, c in known.items() if d != day}, days, at)

    def confirm(self, days: Collection[date], at: datetime) -> None:
        """Confirms the doubtful ones of `days`, because bars show that they traded as announced."""
        self._settle(lambda known, day: {**known, day: Closure(known[day].close, day)}, days, at)

    def _settle(self, change: Callable[[Closures, date], Closures], days: Collection[date], at: datetime) -> None:
        """Applies `change` to what is known about each of `days` that is doubtful."""
        with self._lock:
            self._stored = self._with_store(lambda store: store.read())
            settled = sorted({*days} & {*self.doubtful(at)})
            for day in settled:
                self._stored = replace(self._stored, closures=change(self._stored.closures, day))
            if settled:
                self._with_store(lambda store: store.write_closures(self._stored.closures))
            self._apply()

    def refresh(self, polygon: Polygon, at: datetime) -> None:
        """Asks the provider, unless another process did today (lately, if this one has just started) or is asking now. Raises
        what the client raises; what is known stays."""
        since, now = self._relied_on_from(), self._timer.epoch()
        if not self._with_store(lambda store: store.claim(asking_day(at), since, now)):
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
        """Returns the state of the calendar on `today`."""
        day = self._stored.checked
        checked = None if day is None else day.isoformat()
        return CalendarStatus(checked, self._error, self._refused, upcoming(self._calendar, today))

    def degraded(self) -> str | None:
        """Returns why the store cannot be used; None while it can. Each call may try it again, at a pace."""
        with self._lock:
            self._with_store(lambda store: None)
            self._apply()
            return self._failure

    def close(self) -> None:
        self._store.close()

    def _learn(self, rows: list[Any], at: datetime) -> None:
        if len(rows) > MOST_ROWS:
            raise Upstream("the provider's list of holidays is too long")
        announced = read_announcements(rows, ny_day(at))
        self._refused = announced.refused.total()
        for reason in announced.refused.elements():
            self._emit("announcement_refused", reason=reason)
        with self._lock:
            known = self._with_store(lambda store: store.read()).closures
            self._stored = StoredAnnouncements(merged(known, announced, at), asking_day(at), self._timer.epoch())
            self._with_store(lambda store: store.write(self._stored))
            self._apply()

    def _relied_on_from(self) -> float:
        """Returns from when on, real seconds since the epoch, an answer is recent enough for this process."""
        return self._began - RELIED_ON_FOR_S

    def _apply(self) -> None:
        """Replaces the calendar's overrides if they have changed."""
        announced = {day: closure.close for day, closure in self._stored.closures.items()}
        before, now = self._calendar.overrides, {**announced, **self._named}
        if before == now:
            return
        self._calendar.override(now)
        changed = sorted(day for day in {*before, *now} if before.get(day, day) != now.get(day, day))
        shown = " ".join(f"{day}={_shown(now[day]) if day in now else 'by-rule'}" for day in changed[:MOST_UNSCHEDULED])
        self._emit("calendar_changed", days=shown)

    def _with_store(self, work: Callable[[AnnouncementStore], T]) -> T:
        """Runs `work` on the store; while that cannot be used, on a copy in memory."""
        with self._lock:
            self._return_to_store()
            try:
                return work(self._store)
            except Unavailable as exc:
                with suppress(Unavailable):
                    self._store.close()
                self._store = self._in_memory(exc)
                return work(self._store)

    def _return_to_store(self) -> None:
        """Goes back to the store once it can be used again, which is tried at a pace."""
        if self._failure is None or not self._retries.take():
            return
        try:
            store = self._open()
        except Unavailable as exc:
            self._failure = exc.detail
            return
        self._store.close()
        self._store, self._failure = store, None
        self._emit("calendar_recovered")

    def _open(self) -> AnnouncementStore:
        """Opens the store and adds what this process knows better. What it holds is known from then on, even if it cannot be
        written."""
        store = self._open_store()
        try:
            stored = store.read()
            self._stored = stored.united(self._stored)
            store.check()
            if self._stored != stored:
                store.write(self._stored)
        except Unavailable:
            store.close()
            raise
        return store

    def _in_memory(self, why: Unavailable) -> AnnouncementStore:
        self._failure = why.detail
        self._retries.postpone()
        self._emit("calendar_in_memory", error=why.message)
        store = SqliteAnnouncements()
        store.check()
        store.write(self._stored)
        return store


def upcoming(calendar: Calendar, today: date) -> list[dict[str, str | None]]:
    """Returns the weekdays of the next three months that are closed or close early; `close` is New York time, None for a closed
    day."""
    days = (today + number * ONE_DAY for number in range(92))
    sessions = [(day, calendar.session(day)) for day in days if day.weekday() < 5]
    return [
        {"day": day.isoformat(), "close": None if session is None else session.close.astimezone(NY).strftime("%H:%M")}
        for day, session in sessions
        if session is None or session.is_short
    ]


def _shown(close: time | None) -> str:
    return "closed" if close is None else close.strftime("%H:%M")
