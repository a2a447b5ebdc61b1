"""What the swing models say of a ticker: a function of the daily bars up to the last completed day, and of nothing else.

It changes once a day, when the day's own bar can be had after the close, and stands until the next. Live and replay are the
same call. Where a bar is missing there is none: an outlook never rests on an older day than the last completed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import islice

from app.errors import PredictError, Unavailable
from app.market.calendar import Calendar
from app.market.inception import has_begun
from app.market.market_data import MarketData
from app.market.single_flight import deadline
from app.model.reloading import ServedModels
from app.model.swing import HORIZONS, SwingModel
from app.model.swing_features import MIN_DAYS, swing_features
from app.pipeline.gates import known_of, supported
from app.pipeline.prefetch import Prefetch
from app.pipeline.states import HorizonOutlook, SwingOutlook


class Outlooks:
    """Computes outlooks."""

    def __init__(self, source: MarketData, models: ServedModels, prefetch: Prefetch, calendar: Calendar) -> None:
        self._source = source
        self._models = models
        self._prefetch = prefetch
        self._calendar = calendar

    def of(self, tickers: Sequence[str], at: datetime) -> dict[str, SwingOutlook | PredictError]:
        """The outlooks of these tickers, or per ticker why there is none."""
        days = [] if self._models.at(at).swing is None else self._prefetch.completed_days(known_of(tickers), at)
        with deadline(self._prefetch.start(days)):
            return {ticker: self._outcome(ticker, at) for ticker in tickers}

    def outlook(self, ticker: str, at: datetime) -> SwingOutlook:
        """The outlook of a ticker at a moment. Raises PredictError with the reason where there is none."""
        model = self._model(at)
        until = self._prefetch.day_after_completed(at)
        day = self._calendar.previous_trading_day(until)
        if not has_begun(ticker, day):
            message = f"{ticker} had not begun to trade on {day}"
            raise Unavailable(message, part="data", code="INSUFFICIENT_DATA")
        self._source.settle_closures(until)  # before daily bars are read: they are those of the calendar's days
        daily = self._source.daily(ticker, until)
        features = swing_features(daily, (*self._calendar.days_before(day, MIN_DAYS - 1), day))
        probabilities = model.predict(features)
        session = self._calendar.session(day)
        assert session is not None
        return SwingOutlook(
            ticker=ticker,
            model=model,
            day=day,
            as_of=session.close,
            close=float(daily.c[-1]),
            in_sample=self._source.plan.market.is_real and day <= model.data_end,
            horizons=self._horizons(day, probabilities, at),
        )

    def _outcome(self, ticker: str, at: datetime) -> SwingOutlook | PredictError:
        try:
            return self.outlook(supported(ticker), at)
        except PredictError as exc:
            return exc

    def _model(self, at: datetime) -> SwingModel:
        """Raises Unavailable with the reason if there are no swing models."""
        models = self._models.at(at)
        if models.swing is None:
            why = models.missing.get("swing", "it is not installed")
            raise Unavailable(f"no swing model: {why}", part="models", code="MODEL_UNAVAILABLE")
        return models.swing

    def _horizons(self, day: date, probabilities: Mapping[int, float], at: datetime) -> dict[int, HorizonOutlook]:
        days = list(islice(self._calendar.days_after(day), max(HORIZONS)))
        found = {}
        for horizon in HORIZONS:
            session = self._calendar.session(days[horizon - 1])
            is_over = session is not None and at >= session.close
            probability = None if is_over else probabilities.get(horizon)
            found[horizon] = HorizonOutlook(horizon, days[horizon - 1], probability)
        return found
