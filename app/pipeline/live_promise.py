"""The live promise: what the record's signals stated beside what came true.

Outcomes come from daily bars that this machine keeps; nothing here calls a provider. A signal whose model was trained on its
day is left out (ruling S6), an hour without a signal is a gap (ruling S7), and a signal whose outcome is not known is counted
with the reason. The background scores the record of each loaded model once a day, and answers read what it found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from app.clock import REAL_TIME
from app.errors import PredictError
from app.market.bars import Bars, Span, no_bars, united
from app.market.calendar import ONE_DAY, Calendar, ny_day
from app.market.market_data import MarketData
from app.model.v6 import V6Model
from app.pipeline.track_record import Hour, close_of, due_hours
from app.signals.evidence import Evidence, evidence
from app.signals.policy import Decision
from app.signals.promise import Statement, Traded, statements_of, traded_of
from app.signals.store import SignalStore

PAGE: Final = 200
"""Signals that are read from the record at a time."""

NOT_KEPT: Final = "the daily bar of the day is not kept"
DEMO: Final = "this is the demo market, whose made-up days say nothing about a model"
NOT_SCORED: Final = "the record has not been read since the start, or since this model was loaded"
NO_MODEL: Final = "no model is loaded"


@dataclass(frozen=True, slots=True)
class ScorableRecord:
    """What of a ticker's record can be scored, and what cannot.

    signals      how many signals the statements are of
    in_sample    how many others a model made that was trained on their day
    unknown      how many others have no known outcome, by the reason
    gaps         decision hours without a signal, from the first signal on; None: not counted
    """

    statements: Sequence[Statement]
    signals: int
    in_sample: int
    unknown: Mapping[str, int]
    gaps: int | None = None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What the record says of one model. days: those whose outcome is known, up to last_day; signals: those of these days;
    unknown: how many others have no known outcome; traded: None if too few days have a signal beyond the thresholds."""

    model_id: str
    days: int
    last_day: date | None
    signals: int
    unknown: int
    traded: Traded | None
    evidence: Evidence


class LivePromise:
    """Scores the record of one deployment against what its signals stated. models(): the loaded ones, by ticker."""

    def __init__(
        self, source: MarketData, store: SignalStore, models: Callable[[], Mapping[str, V6Model]], calendar: Calendar
    ) -> None:
        self._source = source
        self._store = store
        self._models = models
        self._calendar = calendar
        self._found: dict[str, tuple[object, ModelRecord]] = {}
        self._failure: str | None = None

    def of(self, ticker: str) -> ModelRecord | str:
        """What the record says of the loaded model of a ticker, as it was found last, or why nothing is known."""
        if not self._source.plan.market.is_real:
            return DEMO
        model, (_, found) = self._models().get(ticker), self._found.get(ticker, (None, None))
        if model is None:
            return NO_MODEL
        return found if found is not None and found.model_id == model.model_id else self._failure or NOT_SCORED

    def refresh(self, at: datetime) -> None:
        """Score the record of every loaded model, unless neither the day nor what is kept has changed since. While the record
        cannot be read, what was found before stays. Raises Unavailable then."""
        if not self._source.plan.market.is_real:
            return
        try:
            for ticker, model in self._models().items():
                days = self._kept_days(ticker, at)
                basis = (model.model_id, ny_day(at), len(days))
                if self._found.get(ticker, (None, None))[0] != basis:
                    decisions = self._signals(ticker, model.data_end, at)
                    own = [decision for decision in decisions if decision.model_id == model.model_id]
                    self._found[ticker] = basis, _model_record(model.model_id, _scorable(own, days))
        except PredictError as exc:
            self._failure = exc.message
            raise
        self._failure = None

    def read(self, ticker: str, at: datetime) -> ScorableRecord:
        """All that the record holds of a ticker of the days before `at`. Raises Unavailable while it cannot be read."""
        decisions = list(self._signals(ticker, date.min, at))
        return replace(_scorable(decisions, self._kept_days(ticker, at)), gaps=self._gaps(ticker, decisions, at))

    def _signals(self, ticker: str, after: date, at: datetime) -> Iterator[Decision]:
        """The signals of the record of the days after a day and before `at`, a page at a time; others run between two pages."""
        place, last = Hour(after, 24), ny_day(at) - ONE_DAY
        while page := self._store.listing(ticker, place, last, PAGE):
            yield from page
            place = Hour(page[-1].day, page[-1].hour)
            REAL_TIME.sleep(0)

    def _gaps(self, ticker: str, decisions: Sequence[Decision], at: datetime) -> int:
        recorded = {Hour(decision.day, decision.hour) for decision in decisions}
        if not recorded:
            return 0
        before, end = min(recorded), Hour(ny_day(at) - ONE_DAY, 24)
        return sum(due not in recorded for due in due_hours(self._calendar, ticker, before, end, at))

    def _kept_days(self, ticker: str, at: datetime) -> Bars:
        """The daily bars of the days before `at` that memory and disk have. A market of this machine makes them."""
        today = ny_day(at)
        if self._source.plan.is_local:
            with suppress(PredictError):
                return self._source.daily(ticker, today)
            return no_bars()
        held = self._source.memory.get(ticker, Span.DAY, today)
        return united(self._source.cache.peek(ticker, Span.DAY), no_bars() if held is None else held.bars)


def _scorable(decisions: Sequence[Decision], days: Bars) -> ScorableRecord:
    judged = [(decision, close_of(decision, days, NOT_KEPT)) for decision in decisions if not decision.in_sample]
    known = [(decision, close) for decision, close in judged if not isinstance(close, str)]
    return ScorableRecord(
        statements=[statement for decision, close in known for statement in statements_of(decision, close)],
        signals=len(known),
        in_sample=len(decisions) - len(judged),
        unknown=Counter(close for _, close in judged if isinstance(close, str)),
    )


def _model_record(model_id: str, record: ScorableRecord) -> ModelRecord:
    """Others run between its parts, each of which computes for a while."""
    REAL_TIME.sleep(0)
    found = evidence(record.statements)
    REAL_TIME.sleep(0)
    last = max((statement.day for statement in record.statements), default=None)
    unknown = sum(record.unknown.values())
    return ModelRecord(model_id, found.days, last, record.signals, unknown, traded_of(record.statements), found)
