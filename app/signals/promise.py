"""Whether signals keep what they state: the stated probabilities of the record beside what came true. Pure.

The days are the clusters: the hours of a day and the tickers share one market, so that every interval is a bootstrap over days.
Below LEAST_DAYS days no figure is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from app.market.bars import Bools, Floats
from app.model import scoring
from app.model.scoring import ECE_BINS, LEAST_DAYS, bins_of, favoured
from app.signals.policy import Decision

LEVEL_PCT: Final = (2.5, 97.5)
SMALLEST: Final = 1e-9
"""How near to 0 and 1 a probability counts in a log-loss."""

Target = Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A probability that a locked signal stated of a target, and whether that came true. traded: it is the active one of a
    signal beyond the thresholds."""

    day: date
    ticker: str
    hour: int
    target: Target
    probability: float
    reached: bool
    traded: bool
    model_id: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, by a bootstrap over days."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Statements whose probability lies from `low` up to `high`: how many, of how many days, what they stated on average, and
    how often it came true. interval: of `observed`; None of fewer than LEAST_DAYS days, and where all outcomes are equal."""

    low: float
    high: float
    statements: int
    days: int
    stated: float | None
    observed: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Loss:
    """The mean loss of the statements, the one that is expected if they are right, and the interval of the difference."""

    observed: float
    expected: float
    difference: Interval | None


@dataclass(frozen=True, slots=True)
class Traded:
    """The signals beyond the thresholds: how many, of how many days, the mean probability that they stated for their side, how
    often that side came true, and the interval of this."""

    signals: int
    days: int
    stated: float
    right: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Score:
    """What a record of at least LEAST_DAYS days kept of what it stated. Losses are in nats; traded: None if its signals beyond
    the thresholds are of fewer days than that."""

    days: int
    statements: int
    bins: Sequence[Bin]
    log_loss: Loss
    brier: Loss
    traded: Traded | None


def statements_of(decision: Decision, close: float) -> tuple[Statement, ...]:
    """What a signal stated, whose day closed at `close`, USD: target A, and from 11:00 on target B."""
    trades = decision.action != "NO_TRADE"
    if decision.price_11am is None or decision.session == "early":
        return (_statement(decision, "A", decision.p_a, close > decision.today_open, trades),)
    return (
        _statement(decision, "A", decision.p_a, close > decision.today_open, traded=False),
        _statement(decision, "B", decision.p_b, close > decision.price_11am, trades),
    )


def _statement(decision: Decision, target: Target, p: float, reached: bool, traded: bool) -> Statement:
    return Statement(decision.day, decision.ticker, decision.hour, target, p, reached, traded, decision.model_id)


def score(statements: Sequence[Statement]) -> Score | None:
    """Scores statements, of whatever tickers and models; None of fewer than LEAST_DAYS days."""
    days, p, y = _columns(statements)
    if len(np.unique(days)) < LEAST_DAYS:
        return None
    draws = _Draws(days)
    bins = bins_of(p)
    return Score(
        days=draws.days,
        statements=len(statements),
        bins=[_bin(draws, number, bins == number, p, y) for number in range(ECE_BINS)],
        log_loss=_loss(draws, _log_losses(p, y), p * _log_losses(p, 1.0) + (1 - p) * _log_losses(p, 0.0)),
        brier=_loss(draws, (p - y) ** 2, p * (1 - p)),
        traded=traded_of(statements),
    )


def traded_of(statements: Sequence[Statement]) -> Traded | None:
    """Scores the traded statements; None of fewer than LEAST_DAYS days."""
    days, p, y = _columns([statement for statement in statements if statement.traded])
    if len(np.unique(days)) < LEAST_DAYS:
        return None
    draws, right = _Draws(days), ((p > 0.5) == (y > 0)).astype(np.float64)
    interval = draws.interval(right, np.ones(len(p), dtype=np.bool_))
    return Traded(len(p), draws.days, float(favoured(p).mean()), float(right.mean()), interval)


def _columns(statements: Sequence[Statement]) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Days as ordinals, stated probabilities, and outcomes as 0 and 1, in an order that does not depend on the statements'."""
    ordered = sorted(statements, key=lambda row: (row.day, row.ticker, row.hour, row.target))
    days = np.array([row.day.toordinal() for row in ordered], dtype=np.int64)
    p = np.array([row.probability for row in ordered], dtype=np.float64)
    return days, p, np.array([row.reached for row in ordered], dtype=np.float64)


class _Draws:
    """Days drawn again and again with replacement: how often each draw has each day."""

    def __init__(self, days: npt.NDArray[np.int64]) -> None:
        known, self._day = np.unique(days, return_inverse=True)
        self.days = len(known)
        self._counts = scoring.draws(self.days).astype(np.float64)

    def days_of(self, rows: Bools) -> int:
        return len(np.unique(self._day[rows]))

    def interval(self, values: Floats, rows: Bools) -> Interval | None:
        """Of the mean of `values` over `rows`; None of rows of too few days, and of values that are all the same."""
        if self.days_of(rows) < LEAST_DAYS or not np.ptp(values[rows]):
            return None
        sums = self._counts @ np.bincount(self._day[rows], values[rows], self.days)
        numbers = self._counts @ np.bincount(self._day[rows], minlength=self.days)
        low, high = np.percentile(sums[numbers > 0] / numbers[numbers > 0], LEVEL_PCT)
        return Interval(float(low), float(high))


def _bin(draws: _Draws, number: int, rows: Bools, p: Floats, y: Floats) -> Bin:
    low, high, count = number / ECE_BINS, (number + 1) / ECE_BINS, int(rows.sum())
    if not count:
        return Bin(low, high, 0, 0, None, None, None)
    mean = float(y[rows].mean())
    return Bin(low, high, count, draws.days_of(rows), float(p[rows].mean()), mean, draws.interval(y, rows))


def _log_losses(p: Floats, y: Floats | float) -> Floats:
    kept = np.clip(p, SMALLEST, 1 - SMALLEST)
    return np.asarray(-(y * np.log(kept) + (1 - y) * np.log(1 - kept)))


def _loss(draws: _Draws, observed: Floats, expected: Floats) -> Loss:
    every = np.ones(len(observed), dtype=np.bool_)
    return Loss(float(observed.mean()), float(expected.mean()), draws.interval(observed - expected, every))
