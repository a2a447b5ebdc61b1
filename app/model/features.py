"""The V6 features (v6.md 4), by one function for training and serving: the 29 of the specification, and those that the variance
forecast reads.

What it is given is cut at the decision hour first, so it cannot look ahead. Pure: no clock, no files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from app.errors import Unavailable
from app.market.bars import Bars, Floats, Ints, to_ms
from app.market.calendar import Session, midnight_ms, ny
from app.model.elementary import log
from app.model.variances import VARIANCES, variance_features

DECISION_HOURS = (10, 11, 12, 13, 14, 15)
LATE_FROM = 11
MIN_DAYS = 21
"""Completed daily bars that V6 needs (ruling T4): sigma of 20 open-to-close returns, five-day features."""

SIGMA_DAYS = 20
MAX_STREAK = 5
MIN_RANGE = 0.0001
PRICE_MAX_AGE = timedelta(minutes=10)
"""P must come from a bar that ended within ten minutes before H, P11 before 11:00 (ruling T3)."""

FEATURES = (
    "time_pct",
    "gap",
    "gap_size",
    "gap_direction",
    "prev_return",
    "prev_range",
    "prev_body",
    "prev_bullish",
    "current_vs_open",
    "current_vs_open_direction",
    "position_in_range",
    "range_so_far_pct",
    "above_open",
    "near_high",
    "gap_filled",
    "morning_reversal",
    "last_hour_return",
    "bullish_bar_ratio",
    "first_hour_return",
    "return_3d",
    "return_5d",
    "volatility_5d",
    "mean_reversion_signal",
    "consecutive_up",
    "consecutive_down",
    "current_vs_11am",
    "above_11am",
    "is_monday",
    "is_friday",
    *VARIANCES,
)
STANDARDISED = ("open_move_sigma", "p11_move_sigma", "gap_sigma")
"""Inputs of baseline B3 (v6.md 7): ln(P/O0), ln(P/P11) and the gap, each in units of sigma. `time_pct` is the fourth."""

INPUTS = FEATURES + STANDARDISED


@dataclass(frozen=True, slots=True)
class Features:
    """What is known at the decision hour.

    values     float64, the features in the order of FEATURES
    inputs     float64, `values` and then STANDARDISED: what a model may read
    price      P, USD: close of the last bar that ended by H
    price_11am P11, USD; None before 11:00
    sigma      standard deviation (ddof 1) of the last 20 open-to-close log returns
    bars       regular-session bars used
    """

    values: Floats
    inputs: Floats
    price: float
    price_11am: float | None
    sigma: float
    bars: int

    @property
    def sha256(self) -> str:
        """Hash of the values' bytes: the fingerprint that is kept with a locked signal."""
        return hashlib.sha256(self.values.astype("<f8").tobytes()).hexdigest()


def decision_moment(session: Session, hour: int) -> datetime:
    """H:00 New York on the session's day."""
    return ny(session.day, time(hour))


def decision_hours(session: Session) -> tuple[int, ...]:
    """The session's decision hours: on the hour, 10 to 15, before its close (policy.md 10)."""
    return tuple(hour for hour in DECISION_HOURS if decision_moment(session, hour) < session.close)


def v6_features(
    session: Session, hour: int, intraday: Bars, daily: Bars, official_open: float, before: Sequence[date]
) -> Features:
    """The features of decision hour `hour`.

    intraday       the day's bars, of five minutes or finer; extended hours and later bars are cut away here
    daily          completed daily bars; the newest before the session's day must be those of `before`
    official_open  O0, USD (ruling T1)
    before         the last MIN_DAYS trading days before the session's, ascending

    Raises Unavailable: part `data` (INSUFFICIENT_DATA) if history, first bucket, P or P11 are missing, part `models`
    (MODEL_UNAVAILABLE) if a feature is not finite.
    """
    at = decision_moment(session, hour)
    today = intraday.until(at).since(session.open)
    history = _completed(daily, session.day, before)
    price = _price_at(today, at, "the decision hour")
    price_11am = price_11am_of(today, session) if hour >= LATE_FROM else None
    buckets = today.resample(_bucket_edges(session, hour))
    if buckets.t[0] != to_ms(session.open):
        raise _insufficient("the first half hour has no bars")
    sigma = _sigma(history)
    values = np.array(
        [
            session.progress(at),
            *_day_before(history, official_open),
            *_price_and_range(today, price, official_open, history.c[-1]),
            *_buckets(buckets, price, official_open),
            *_days(history),
            *_against_11am(price, price_11am),
            float(session.day.weekday() == 0),
            float(session.day.weekday() == 4),
            *variance_features(today, session, at, history, official_open, sigma),
        ]
    )
    inputs = np.concatenate([values, _standardised(price, price_11am, official_open, float(history.c[-1]), sigma)])
    if not np.isfinite(inputs).all():
        bad = ", ".join(name for name, value in zip(INPUTS, inputs, strict=True) if not np.isfinite(value))
        raise Unavailable(f"features without a value: {bad}", part="models", code="MODEL_UNAVAILABLE")
    return Features(values, inputs, price, price_11am, sigma, len(today))


def _insufficient(message: str) -> Unavailable:
    return Unavailable(message, part="data", code="INSUFFICIENT_DATA")


def _completed(daily: Bars, day: date, before: Sequence[date]) -> Bars:
    """The daily bars before `day`, checked to be enough and to be those of the last trading days, without a hole."""
    history = daily[: int(np.searchsorted(daily.t, midnight_ms(day)))]
    if len(history) < MIN_DAYS:
        raise _insufficient(f"{len(history)} completed daily bars are known; {MIN_DAYS} are needed")
    there = set(history.t[-MIN_DAYS:].tolist())
    for expected in reversed(before):
        if midnight_ms(expected) not in there:
            raise _insufficient(f"the daily bar of {expected} is missing")
    return history


def _price_at(bars: Bars, at: datetime, what: str) -> float:
    if not len(bars):
        raise _insufficient("no regular-session bar has ended yet")
    if bars.end[-1] < to_ms(at - PRICE_MAX_AGE):
        raise _insufficient(f"the last bar before {what} ended more than ten minutes before it")
    return float(bars.c[-1])


def price_11am_of(bars: Bars, session: Session) -> float:
    """P11 (v6.md 2): close of the last regular bar that ended by 11:00."""
    eleven = decision_moment(session, LATE_FROM)
    return _price_at(bars.until(eleven), eleven, "11:00")


def _bucket_edges(session: Session, hour: int) -> Ints:
    """09:30, 10:00 and the clock hours to H, ms (v6.md 3)."""
    hours = [to_ms(decision_moment(session, h)) for h in range(10, hour + 1)]
    return np.array([to_ms(session.open), *hours], dtype=np.int64)


def _day_before(x: Bars, o0: float) -> list[float]:
    """2-8: the gap, and yesterday's bar."""
    c1, c2, o1 = float(x.c[-1]), float(x.c[-2]), float(x.o[-1])
    gap = o0 / c1 - 1
    yesterday = [c1 / c2 - 1, float(x.h[-1] - x.l[-1]) / c1, (c1 - o1) / o1, float(c1 > o1)]
    return [gap, abs(gap), float(np.sign(gap)), *yesterday]


def _price_and_range(today: Bars, p: float, o0: float, c1: float) -> list[float]:
    """9-16: where the price stands against the open and in the range so far."""
    high, low = float(today.h.max()), float(today.l.min())
    spread = max(high - low, MIN_RANGE)
    gap = o0 / c1 - 1
    filled = low <= c1 if gap > 0 else high >= c1
    reversal = (gap > 0 and p < o0) or (gap < 0 and p > o0)
    return [
        p / o0 - 1,
        float(np.sign(p - o0)),
        (p - low) / spread,
        spread / o0,
        float(p > o0),
        float(high - p < p - low),
        float(filled),
        float(reversal),
    ]


def _buckets(b: Bars, p: float, o0: float) -> list[float]:
    """17-19: the hours of the session so far."""
    last_hour = p / float(b.c[-2]) - 1 if len(b) > 1 else 0.0
    return [last_hour, float((b.c > b.o).mean()), float(b.c[0]) / o0 - 1]


def _days(x: Bars) -> list[float]:
    """20-25: the days before this one. A day that closes where it opened breaks a streak."""
    c1 = float(x.c[-1])
    returns = x.c[-5:] / x.c[-6:-1] - 1
    return [
        c1 / float(x.c[-4]) - 1,
        c1 / float(x.c[-6]) - 1,
        float(returns.std()),
        -(c1 - float(x.o[-1])) / float(x.o[-1]),
        _streak((x.c > x.o)[-MAX_STREAK:]),
        _streak((x.c < x.o)[-MAX_STREAK:]),
    ]


def _streak(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """How many of the last flags are set without a break."""
    unset = np.flatnonzero(~flags[::-1])
    return float(unset[0] if len(unset) else len(flags))


def _against_11am(p: float, p11: float | None) -> list[float]:
    """26-27: 0 before 11:00."""
    return [0.0, 0.0] if p11 is None else [p / p11 - 1, float(p > p11)]


def _sigma(x: Bars) -> float:
    """Standard deviation (ddof 1) of the last 20 open-to-close log returns (v6.md 7, B2)."""
    return float(log(x.c[-SIGMA_DAYS:] / x.o[-SIGMA_DAYS:]).std(ddof=1))


def _standardised(p: float, p11: float | None, o0: float, c1: float, sigma: float) -> list[float]:
    moves = [log(p / o0), log(p / (p if p11 is None else p11)), o0 / c1 - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(np.float64(move) / sigma) for move in moves]
