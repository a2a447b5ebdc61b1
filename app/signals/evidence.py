"""Whether the record contradicts its model: a sequential test, which may be looked at every day. Pure.

Each day brings one bet, on the sum of (stated - came true) over its statements, each seen from the side that it favoured,
divided by the most statements that a day can have. If the probabilities are right, this sum has the mean 0 whatever the
dependence within the day, because each statement is right given all that was known when it was made. (The mean over the day's
statements has not: how many signals a day has depends on how its first ones turn out.) The test is a Shiryaev-Roberts
e-detector, M = (M + 1) * (1 + bet * sum), averaged over several bets, over both directions (the signals are too sure, or not
sure enough), and over all statements and the traded ones. M less the number of days is then a martingale, so that by optional
stopping the mean run length to a false alarm is at least the threshold: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric
framework for sequential change detection", 2023. (Ville's inequality bounds the same for a bet that is never begun anew.) With
one test for each ticker, all of them together raise at most one false alarm in RUN_LENGTH_DAYS days.

The evidence begins anew on the day after an alarm, so that the next alarm rests on new days alone, and with each model. An
alarm stands until another model speaks, or until STANDS_DAYS days have brought no further one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import groupby
from typing import Final

import numpy as np

from app.market.bars import Floats
from app.model.features import DECISION_HOURS, LATE_FROM
from app.signals.policy import SUPPORTED
from app.signals.promise import Statement

RUN_LENGTH_DAYS: Final = 2 * 252
"""Mean number of days to a false alarm of any ticker, at least: two years of sessions."""

THRESHOLD: Final = float(RUN_LENGTH_DAYS * len(SUPPORTED))
"""Evidence that raises an alarm for one ticker."""

STANDS_DAYS: Final = 63
"""Days of the record for which an alarm stands, a quarter, unless another one follows."""

BETS: Final = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""What the sequential test bets, as shares of the largest bet."""

MOST_TRADED: Final = len(DECISION_HOURS)
MOST_STATEMENTS: Final = MOST_TRADED + sum(hour >= LATE_FROM for hour in DECISION_HOURS)
"""The most statements of one ticker and day: target A at every hour, target B from 11:00 on."""

_LARGEST_BETS: Final = np.array([[1 / 0.5, -1.0], [1 / 0.25, -1.0]])
"""A sum of all statements lies in -0.5 .. 1, one of traded ones in -0.25 .. 1: a larger bet might lose more than everything."""

_SIGNED_BETS: Final = _LARGEST_BETS[..., None] * np.array(BETS)


class Side(StrEnum):
    """How stated probabilities are wrong."""

    TOO_SURE = "too_sure"
    NOT_SURE_ENOUGH = "not_sure_enough"


@dataclass(frozen=True, slots=True)
class Alarm:
    """The day on which the evidence against a model reached THRESHOLD, and how its probabilities are wrong."""

    day: date
    side: Side


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sequential test of one model of one ticker after its last day.

    level: the evidence, of which THRESHOLD raises an alarm; alarms: all of them, the first one first; contradicts: the first of
    those that stand, None if none does."""

    days: int
    level: float
    alarms: Sequence[Alarm]
    contradicts: Alarm | None


def evidence(statements: Iterable[Statement]) -> Evidence:
    """The sequential test over the statements of one model of one ticker, in whatever order they come."""
    ordered = sorted(statements, key=lambda statement: (statement.day, statement.hour, statement.target))
    levels, alarms, number = no_levels(), list[tuple[int, Alarm]](), 0
    for number, (day, of_day) in enumerate(groupby(ordered, key=lambda statement: statement.day), start=1):
        if alarms and alarms[-1][0] == number - 1:
            levels = no_levels()
        levels = next_levels(levels, day_sums(list(of_day)))
        alarms += [(number, Alarm(day, _side(levels)))] if evidence_level(levels) >= THRESHOLD else []
    level = float(evidence_level(levels))
    return Evidence(number, level, [alarm for _, alarm in alarms], _standing(alarms, number))


def no_levels() -> Floats:
    """The levels of the detectors before the first day: by all or traded statements, direction and bet."""
    return np.zeros(_SIGNED_BETS.shape)


def next_levels(levels: Floats, sums: Floats) -> Floats:
    """The levels after one more day with these `day_sums`."""
    return np.asarray((levels + 1) * (1 + _SIGNED_BETS * sums[..., None, None]))


def evidence_level(levels: Floats) -> Floats:
    """The evidence that levels amount to."""
    return np.asarray(levels.mean(axis=(-3, -2, -1)))


def day_sums(of_day: Sequence[Statement]) -> Floats:
    """By how much the probabilities stated for the favoured sides exceed what came true, of all statements of a ticker and day
    and of the traded ones: sums, as shares of the most statements that there can be."""
    traded = [statement for statement in of_day if statement.traded]
    return np.array([_excess(of_day) / MOST_STATEMENTS, _excess(traded) / MOST_TRADED])


def _side(levels: Floats) -> Side:
    too_sure, not_sure_enough = levels.sum(axis=(0, 2))
    return Side.TOO_SURE if too_sure >= not_sure_enough else Side.NOT_SURE_ENOUGH


def _standing(alarms: Sequence[tuple[int, Alarm]], now: int) -> Alarm | None:
    """The first alarm of those that have followed each other up to now without STANDS_DAYS days between two."""
    first, end = None, now
    for number, alarm in reversed(alarms):
        if end - number >= STANDS_DAYS:
            break
        first, end = alarm, number
    return first


def _excess(statements: Iterable[Statement]) -> float:
    return sum(_stated(statement) - _came_true(statement) for statement in statements)


def _stated(statement: Statement) -> float:
    return max(statement.probability, 1 - statement.probability)


def _came_true(statement: Statement) -> bool:
    return (statement.probability > 0.5) == statement.reached
