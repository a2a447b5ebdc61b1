"""Which model set decides an hour, and which one is served now, while promotions come in.

The decision of an hour is made by the set that was promoted when the hour began, whenever it is computed and by whichever
process. Outside the decision hours a promotion takes effect at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Final, NamedTuple

from app.errors import BrokenData
from app.market.calendar import ONE_DAY, Calendar, Session, ny, ny_day
from app.model.artefact import ModelSet
from app.model.features import decision_hours, decision_moment
from app.model.promotions import Promotions
from app.model.served import Choice, ServableSets

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class Window(NamedTuple):
    """Market time in which the served set does not change. is_hour: it is a decision hour."""

    begins: datetime
    ends: datetime
    is_hour: bool


class Served(NamedTuple):
    """The set that is served in a window."""

    models: ModelSet
    window: Window


@dataclass(frozen=True, slots=True)
class ServedStatus:
    """What is served, and what was promoted. takes_over_at: when the promoted set is served, if it is another one;
    refused: why the promoted set is not served, or why promotions cannot be read any more."""

    served: str
    promoted: str | None
    takes_over_at: datetime | None
    refused: str | None


class ServedModels:
    """The models of now and of the hours of the running day. Emits `models_changed` and `models_refused`.

    market_time: of a moment of real time, past or some seconds ahead. Safe between threads.
    """

    def __init__(
        self,
        sets: ServableSets,
        calendar: Calendar,
        clock: Callable[[], datetime],
        emit: Callable[..., None],
        market_time: Callable[[datetime], datetime] = lambda moment: moment,
    ) -> None:
        self._sets = sets
        self._calendar = calendar
        self._clock = clock
        self._emit = emit
        self._market_time = market_time
        self._lock = threading.RLock()
        self._promotions: Promotions | None = None
        self._stamp: object = None
        self._looked_at: datetime | None = None
        self._refused: str | None = None
        self._served: Served | None = None
        self._last: ModelSet | None = None
        self._of_hours: dict[datetime, ModelSet] = {}
        self._untold: list[Callable[[], None]] = []

    @property
    def models(self) -> ModelSet:
        """The set that is served now: in a decision hour the one that decides it."""
        at, served = self._clock(), self._served
        if served is None or not served.window.begins <= at < served.window.ends:
            served = self._serve(at)
        return served.models

    def deciding(self, session: Session, hour: int) -> ModelSet:
        """The set that decides an hour."""
        return self.at(decision_moment(session, hour))

    def at(self, moment: datetime) -> ModelSet:
        """The set that was served at a moment of the running day. Other days are computed by the set that is served now."""
        models, now = self.models, self._clock()
        if ny_day(now) != ny_day(moment) or now < moment:
            return models
        with self._lock:
            return self._in(self._window(moment), moment)

    def look(self) -> None:
        """Take over promotions that count since the last look. Loads a new set, so that its turn costs nothing."""
        with self._lock:
            self._read(self._clock())
        self._serve(self._clock())

    def status(self) -> ServedStatus:
        models = self.models
        with self._lock:
            if self._promotions is None or self._served is None:
                return ServedStatus(models.name, None, None, None)
            promoted, window = self._promotions.promoted, self._served.window
        waits = promoted != models.name and self._refused is None and window.is_hour
        return ServedStatus(models.name, promoted, window.ends if waits else None, self._refused)

    def _serve(self, at: datetime) -> Served:
        with self._lock:
            window = self._window(at)
            if self._looked_at is None or self._looked_at < window.begins:
                self._read(at)
            models = self._in(window, at)
            before = self._last
            if before is not None and (models.name, models.missing) != (before.name, before.missing):
                self._untold.append(lambda: self._emit("models_changed", set=models.name, before=before.name))
            served = self._served = Served(models, window)
            self._last = models
        self._tell()
        return served

    def _window(self, at: datetime) -> Window:
        session, day = self._calendar.session_at(at), ny_day(at)
        hours = [] if session is None else [decision_moment(session, hour) for hour in decision_hours(session)]
        turns = [ny(day, time(0)), *hours, *([] if session is None else [session.close]), ny(day + ONE_DAY, time(0))]
        begins = max(turn for turn in turns if turn <= at)
        return Window(begins, min(turn for turn in turns if turn > at), begins in hours)

    def _in(self, window: Window, at: datetime) -> ModelSet:
        return self._of_hour(window.begins) if window.is_hour else self._chosen(at).models

    def _of_hour(self, moment: datetime) -> ModelSet:
        """The set that decides the hour which began at `moment`. One that has models stays."""
        models = self._of_hours.get(moment)
        if models is None:
            models = self._chosen(moment).models
            self._of_hours = {m: known for m, known in self._of_hours.items() if ny_day(m) == ny_day(moment)}
            if models.models:
                self._of_hours[moment] = models
        return models

    def _chosen(self, moment: datetime) -> Choice:
        if self._promotions is None:
            return self._sets.none(self._refused or "no model set is promoted")
        return self._sets.choose(self._promotions.made_by(moment, self._moment_of))

    def _moment_of(self, promoted_at: datetime) -> datetime:
        """When a promotion was made, in market time. One that lies far ahead of a clock that is set was made before all that
        this clock shows."""
        moment = self._market_time(promoted_at)
        return EARLIEST if moment > self._clock() + ONE_DAY else moment

    def _read(self, at: datetime) -> None:
        """Read the promotions if they changed."""
        first, self._looked_at = self._looked_at is None, at
        stamp = self._sets.registry.stamp()
        if stamp == self._stamp and not first:
            return
        self._stamp = stamp
        try:
            self._promotions = self._sets.registry.promotions()
            self._refused = self._sets.choose(self._promotions.history).refused
        except BrokenData as exc:
            self._refused = exc.message
        refused = self._refused
        if refused is not None and self._promotions is not None:
            self._untold.append(lambda: self._emit("models_refused", reason=refused))

    def _tell(self) -> None:
        """Emit what happened, while no other thread waits for it."""
        with self._lock:
            untold, self._untold = self._untold, []
        for tell in untold:
            tell()
