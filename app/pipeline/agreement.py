"""Whether the bars that are known now give the decision that was locked. They need not: a provider may have corrected a bar
since, and another server may have locked the hour from other bars (ruling L2). The decision stays as it was shown; answers say
so."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from app.errors import PredictError
from app.market.bars import Span
from app.market.calendar import Calendar, Session
from app.market.expectations import BarsAsOf
from app.market.market_data import MarketData
from app.market.single_flight import LruCache
from app.model.features import decision_moment
from app.pipeline.decisions import Decisions
from app.signals.outcomes import is_rebased
from app.signals.policy import Decision

NUMBERS: Final = ("p_a", "p_b", "price", "today_open", "price_11am", "take_profit", "stop_loss", "entry_price")
EQUAL_TO: Final = 1e-9
"""Relative. C libraries of different kinds round the last digit of a logarithm differently."""
KEPT: Final = 64


class _Known(NamedTuple):
    """What an answer was found from. Series in memory are replaced, never changed: the same ones have the same answer."""

    decision: Decision
    daily: BarsAsOf
    intraday: BarsAsOf
    agrees: bool | None

    def is_of(self, decision: Decision, daily: BarsAsOf, intraday: BarsAsOf) -> bool:
        return self.decision is decision and self.daily is daily and self.intraday is intraday


class Agreement:
    """Compares locked decisions with the bars in memory. Fetches nothing."""

    def __init__(self, source: MarketData, decisions: Decisions, calendar: Calendar) -> None:
        self._source = source
        self._decisions = decisions
        self._calendar = calendar
        self._known: LruCache[_Known] = LruCache(KEPT)

    def of(self, decision: Decision) -> bool | None:
        """Whether the bars known now give this decision. None where that cannot be told: the bars up to its hour are not all in
        memory, its model is not the loaded one, or its prices were re-based."""
        session = self._calendar.session(decision.day)
        if session is None or not self._source.is_ready(decision.ticker, decision_moment(session, decision.hour)):
            return None
        span = self._source.observed_plan.signal_span
        daily, intraday = (self._source.memory.get(decision.ticker, s, decision.day) for s in (Span.DAY, span))
        if daily is None or intraday is None:
            return None
        key = decision.ticker, decision.day, decision.hour
        known = self._known.get(key)
        if known is None or not known.is_of(decision, daily, intraday):
            known = _Known(decision, daily, intraday, self._compared(decision, session, daily, intraday))
            self._known.put(key, known)
        return known.agrees

    def _compared(self, decision: Decision, session: Session, daily: BarsAsOf, intraday: BarsAsOf) -> bool | None:
        official = self._source.opens.known(decision.ticker, decision.day)
        if official is None or is_rebased(decision, official.price):
            return None
        bars = intraday.bars.until(decision_moment(session, decision.hour))
        try:
            now = self._decisions.of_bars(decision.ticker, session, decision.hour, bars, daily.bars, official.price)
        except PredictError:
            return None
        return _agree(decision, now) if now.model_id == decision.model_id else None


def _agree(one: Decision, other: Decision) -> bool:
    numbers = all(_is_close(getattr(one, name), getattr(other, name)) for name in NUMBERS)
    return numbers and all(map(_is_close, _ends(one), _ends(other)))


def _ends(decision: Decision) -> list[float]:
    """The ends of its ranges, USD. A signal from before there were ranges has none, which contradicts nothing."""
    return [end for found in decision.ranges for end in (found.low, found.high)]


def _is_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=EQUAL_TO)
