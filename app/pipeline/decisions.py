"""The decision of an hour, computed from the bars that had ended by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from app.errors import Unavailable
from app.market.bars import Bars
from app.market.calendar import Calendar, Session
from app.market.completeness import missing_days, resumes_after
from app.market.market_data import MarketData
from app.model.features import MIN_DAYS, Features, decision_moment, v6_features
from app.model.price_11am import with_price_11am
from app.model.reloading import ServedModels
from app.model.v6 import V6Model
from app.pipeline.gates import NotYet
from app.signals.lock import validity
from app.signals.policy import Basis, Decision, atr, decide
from app.telemetry.stages import Stages


class Decisions:
    """Computes decisions; reads no record and writes none."""

    def __init__(
        self, source: MarketData, models: ServedModels, calendar: Calendar, emit: Callable[..., None], stages: Stages
    ) -> None:
        self._source = source
        self._models = models
        self._calendar = calendar
        self._emit = emit
        self._stages = stages

    def compute(self, ticker: str, session: Session, hour: int, price_11am: float | None = None) -> Decision:
        """The decision of an hour from its bars, neither read from the record nor written to it. `price_11am`: P11, USD, where
        one was shown before; else it is that of the bars.

        Raises MissingOpen, Unavailable, TryLater or NotEntitled: the gates, in the order of policy.md 3.
        """
        at = decision_moment(session, hour)
        official = self._source.open_of(ticker, at).price
        self._source.settle_closures(session.day)  # before daily bars are read: they are those of the calendar's days
        daily = self._source.daily(ticker, session.day)
        if not self._source.has_arrived(ticker, at):  # before the bars are read: they may only grow in between
            raise NotYet(f"the bars up to {at:%H:%M} are not all here yet")
        intraday = with_price_11am(self._source.intraday(ticker, at).bars, session, price_11am)
        self._refuse_missing_days(daily, session.day)
        before = self._calendar.days_before(session.day, MIN_DAYS)
        with self._stages("compute-v6", ticker=ticker, hour=hour, source=self._source.plan.market.value) as stage:
            lack = self._source.expectations.lack(intraday, at)
            try:
                features = _features(session, hour, intraday, daily, official, before)
            except Unavailable as exc:
                raise _with_lack(exc, lack) from None
            if lack is not None:  # a provider brings the bars later, or never
                raise NotYet(lack)
            model = self._model(ticker, session, hour)
            stage.set(model=model.model_id)
            prediction = model.predict(hour, features)
        self._emit("predicted", ticker=ticker, hour=hour, inputs=features.inputs, model=model.model_id)
        basis = self._basis(ticker, session, hour, features, official, daily, model)
        with self._stages("policy", ticker=ticker, hour=hour):
            return decide(basis, prediction)

    def of_bars(
        self, ticker: str, session: Session, hour: int, intraday: Bars, daily: Bars, official: float
    ) -> Decision:
        """The decision that these bars give, which nobody is told of. intraday: of the day, ended by the hour. Raises
        Unavailable."""
        features = _features(
            session, hour, intraday, daily, official, self._calendar.days_before(session.day, MIN_DAYS)
        )
        model = self._model(ticker, session, hour)
        basis = self._basis(ticker, session, hour, features, official, daily, model)
        return decide(basis, model.predict(hour, features))

    def _basis(
        self,
        ticker: str,
        session: Session,
        hour: int,
        features: Features,
        official: float,
        daily: Bars,
        model: V6Model,
    ) -> Basis:
        locked_at, expires_at = validity(session, hour)
        return Basis(
            ticker=ticker,
            session=session,
            hour=hour,
            features=features,
            official_open=official,
            atr=atr(daily),
            model_id=model.model_id,
            engine_version=model.engine_version,
            in_sample=self._source.plan.market.is_real and session.day <= model.data_end,
            locked_at=locked_at,
            expires_at=expires_at,
        )

    def _refuse_missing_days(self, daily: Bars, day: date) -> None:
        """Raises Unavailable naming the daily bars that are missing among the last ones, and until when there is no signal."""
        missing = missing_days(daily, day, self._calendar)
        if missing and len(daily) >= MIN_DAYS:
            bars = f"bar of {missing[0]} is" if len(missing) == 1 else f"bars of {', '.join(map(str, missing))} are"
            resumes = resumes_after(missing, self._calendar)
            raise Unavailable(
                f"the daily {bars} missing: no signal until {resumes}, since every signal reads the last {MIN_DAYS} of them",
                part="data",
                code="INSUFFICIENT_DATA",
            )

    def _model(self, ticker: str, session: Session, hour: int) -> V6Model:
        model = self._models.deciding(session, hour).models.get(ticker)
        if model is None:
            raise Unavailable(f"no model for {ticker}", part="models", code="MODEL_UNAVAILABLE")
        return model


def _features(
    session: Session, hour: int, intraday: Bars, daily: Bars, official: float, days: Sequence[date]
) -> Features:
    """`v6_features`; the names of features without a value are for the log."""
    try:
        return v6_features(session, hour, intraday, daily, official, days)
    except Unavailable as exc:
        if exc.part != "models":
            raise
        message = "the model cannot be computed from these bars"
        raise Unavailable(message, part=exc.part, code=exc.code, detail=f"{message}: {exc.detail}") from None


def _with_lack(why: Unavailable, lack: str | None) -> Unavailable:
    """Bars that do not suffice, with what they lack."""
    if lack is None or why.part != "data":
        return why
    return Unavailable(f"{why.message}: {lack}", part=why.part, code=why.code, detail=why.detail)
