"""What bars say of the variance that is still to come in a day: inputs of the variance forecast (v6.md 10).

Realised variance is the sum of squared five-minute log returns; of a completed day, which is known by its daily bar alone, it
is the estimate of Garman and Klass, "On the Estimation of Security Price Volatilities from Historical Data", Journal of
Business 53 (1980). All of them are variances of log prices, as natural logarithms. Pure.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from app.market.bars import Bars, Floats, Ints, to_ms
from app.market.calendar import Session
from app.model.elementary import log

VARIANCES = (
    "log_variance_1d",
    "log_variance_5d",
    "log_variance_20d",
    "log_variance_so_far",
    "log_variance_last_hour",
    "log_sigma_squared",
    "gap_sigmas",
    "log_time_left",
)
"""Features 30 to 37 (v6.md 4)."""

LEAST_VARIANCE = 1e-9
"""A variance counts as at least this (a move of 0.003 %), because a bar without any move has no logarithm."""

FIVE_MINUTES_MS = 300_000
LAST_HOUR = timedelta(hours=1)
FULL_SESSION = timedelta(hours=6, minutes=30)
BODY_WEIGHT = 2 * math.log(2) - 1
DAYS = (1, 5, 20)


def garman_klass(daily: Bars, last: int = 0) -> Floats:
    """The estimated variance of each daily bar from its open to its close, or of each of the `last` ones, (n,)."""
    o, h, l, c = (column[-last:] for column in (daily.o, daily.h, daily.l, daily.c))  # noqa: E741 - the field's own name
    spread, body = log(h / l), log(c / o)
    return np.asarray(0.5 * spread**2 - BODY_WEIGHT * body**2)


class FiveMinutes(NamedTuple):
    """The last closes of five-minute windows that hold any bar: starts of the windows, ms, and closes, USD, both (n,)."""

    t: Ints
    c: Floats


def five_minute_closes(today: Bars, session: Session, until: datetime) -> FiveMinutes:
    """The five-minute closes of a session's regular bars up to `until`, whatever finer bars they come from."""
    edges = np.arange(to_ms(session.open), to_ms(until) + 1, FIVE_MINUTES_MS)
    after = np.searchsorted(today.t, edges)
    full = after[1:] > after[:-1]
    return FiveMinutes(edges[:-1][full], today.c[after[1:][full] - 1])


def squared_returns(five: FiveMinutes, official_open: float) -> Floats:
    """The squared log return of each five-minute close against the one before it, the first against the official open, (n,)."""
    moves = log(five.c)
    moves[1:] -= moves[:-1]
    moves[0] -= math.log(official_open)
    return np.asarray(moves * moves)


def variance_features(
    today: Bars, session: Session, at: datetime, history: Bars, official_open: float, sigma: float
) -> list[float]:
    """The features of VARIANCES, in its order.

    today    regular-session bars that had ended at the decision hour `at`
    history  completed daily bars, at least 20
    sigma    standard deviation of the last 20 open-to-close log returns
    """
    five = five_minute_closes(today, session, at)
    squared = squared_returns(five, official_open)
    first = int(np.searchsorted(five.t, to_ms(at - LAST_HOUR)))
    days = garman_klass(history, last=max(DAYS))
    variances = [*(days[-n:].sum() / n for n in DAYS), squared.sum(), squared[first:].sum(), sigma * sigma]
    gap = abs(official_open / float(history.c[-1]) - 1)
    gap_sigmas = gap / sigma if sigma > 0 else math.inf
    return [*(math.log(max(float(v), LEAST_VARIANCE)) for v in variances), gap_sigmas, log_time_left(session, at)]


def log_time_left(session: Session, at: datetime) -> float:
    """ln of the time to the close, as a share of what an ordinary day has left at that hour: 0 but on days that close early."""
    return math.log((session.close - at) / (session.open + FULL_SESSION - at))
