"""The state of a ticker in the order in which it becomes known, one part after the other.

The order, and what each part holds, follow from what reads what:

1. `data`: the bars, the quote, the price. Everything else reads them.
2. `rpe`: Northstar, swing, and RPE's phases 1 to 4, which read no model (rpe.md 6).
3. `v6`: the model's probabilities, and RPE's phase 5, which is the only one that reads them. The hour's decision is locked
   before this part is given, because the record keeps the first decision of an hour: another process may have locked one on
   other bars, and then the probabilities are that one's.
4. `signal`: the locked decision or the gate before it, with what floats. It comes as the state, which holds all parts.

No part says anything that a later one takes back, and none is computed before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from app.pipeline.reading import Read, Reader
from app.pipeline.signals import HourlySignals
from app.pipeline.states import DataPart, RpePart, State, Step, TickerSignal, V6Part
from app.structure import ENOUGH_DAYS, Probabilities, analyse_session, analyse_swing, with_model
from app.telemetry.stages import Stages


class Steps:
    """Computes states part by part."""

    def __init__(self, reader: Reader, signals: HourlySignals, stages: Stages) -> None:
        self._reader = reader
        self._signals = signals
        self._stages = stages

    def without_record(self) -> Steps:
        """The same, which compute also the decisions that stand in the record."""
        return Steps(self._reader, self._signals.without_record(), self._stages)

    def steps(self, ticker: str, at: datetime, *, keep: bool) -> Iterator[Step]:
        """The parts of a state, the state last. Never raises for a fault of market or model. keep: as for signals."""
        read = self._reader.read(ticker, at)
        yield read.data
        rpe = self._rpe(ticker, read)
        yield rpe
        hourly = self._signals.hourly(ticker, at, keep=keep)
        v6 = _v6(hourly, rpe, read)
        yield v6
        data = read.data
        signal = self._signals.quoted(hourly, at, data.quote, data.quote_fault, keep=keep, fetch=True)
        yield State(data, rpe, v6, signal)

    def state(self, ticker: str, at: datetime, *, keep: bool) -> State:
        """The last of `steps`."""
        return last_of(self.steps(ticker, at, keep=keep))

    def outline(self, ticker: str, at: datetime) -> State:
        """The state without its analyses: data and signal, as `state` has them."""
        data = self._reader.read(ticker, at).data
        hourly = self._signals.hourly(ticker, at, keep=True)
        signal = self._signals.quoted(hourly, at, data.quote, data.quote_fault, keep=True, fetch=True)
        return State(data, RpePart(ticker), V6Part(ticker), signal)

    def unread(self, ticker: str, at: datetime) -> State:
        """The state of a ticker on a day that is not traded: nothing is read, nothing is known."""
        data = DataPart(ticker)
        signal = self._signals.quoted(self._signals.hourly(ticker, at, keep=False), at, data.quote, None, keep=False)
        return State(data, RpePart(ticker), V6Part(ticker), signal)

    def known(self, ticker: str, at: datetime) -> State:
        """The state of a ticker in a closed market as far as it is known without a call to the provider (v1-contract.md 4.1):
        what the day came to, and no analysis."""
        signal = self._signals.signal(ticker, at)
        return State(DataPart.of_quote(ticker, signal.quote), RpePart(ticker), V6Part(ticker), signal)

    def _rpe(self, ticker: str, read: Read) -> RpePart:
        view = read.view
        if view is None:
            return RpePart(ticker)
        with self._stages("compute-structure", ticker=ticker):
            session = analyse_session(ticker, view, stages=self._stages) if view.resolved else None
            return RpePart(ticker, session, analyse_swing(ticker, view) if len(view.days) >= ENOUGH_DAYS else None)


def last_of(steps: Iterator[Step]) -> State:
    """The state that ends these steps."""
    *_, state = steps
    assert isinstance(state, State)
    return state


def _v6(hourly: TickerSignal, rpe: RpePart, read: Read) -> V6Part:
    decision = hourly.decision
    probabilities = None if decision is None else Probabilities(decision.p_a, decision.p_b, decision.session == "early")
    intraday = None
    if rpe.session is not None and read.view is not None:
        intraday = with_model(rpe.session, read.view, probabilities)
    if decision is None:
        return V6Part(hourly.ticker, intraday=intraday)
    return V6Part(hourly.ticker, probabilities, decision.hour, decision.in_sample, intraday)
