"""Training rows out of recorded bars, and the fitting procedure of v6.md 5, the same for every fold and the shipped model.

One procedure, frozen: candidates are fitted on the first 80 % of the training days and chosen by log-loss on the last
20 % (the inner validation); a Platt calibrator is fitted there too; the chosen one is fitted again on all training days.
scikit-learn is needed here and nowhere at serving time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from app.errors import BrokenData, Unavailable
from app.market.bars import Bars, Bools, Floats, Ints, to_ms
from app.market.calendar import Calendar, Session, day_of_ms, midnight_ms
from app.model.features import (
    FEATURES,
    INPUTS,
    LATE_FROM,
    MIN_DAYS,
    decision_hours,
    decision_moment,
    v6_features,
)
from app.model.v6 import SLOT_HOURS, SlotName

INNER_VALIDATION = 0.2
C_GRID = (0.01, 0.1, 1.0)
PLATT_PULL = 10.0
"""Strength that holds the calibrator near "change nothing", in days of evidence: one inner validation is 40-200 days."""

HALF_HOUR_MS = 1_800_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples, one per (day, decision hour), ascending in time; all columns have length n.

    day (ordinal), hour; x (n, len(INPUTS)); labels a: C0 > O0, b: C0 > P11 (before 11:00: False, unused), now: C0 > P;
    tie_a, tie_b: C0 equals the reference; price P, open O0, eleven P11 (P before 11:00), sigma; remaining: share of the
    day's squared 30-minute returns that came after H.
    """

    day: Ints
    hour: Ints
    x: Floats
    a: Bools
    b: Bools
    now: Bools
    tie_a: Bools
    tie_b: Bools
    price: Floats
    open: Floats
    eleven: Floats
    sigma: Floats
    remaining: Floats

    def __len__(self) -> int:
        return len(self.day)

    def where(self, mask: Bools) -> Rows:
        return Rows(*(getattr(self, field.name)[mask] for field in fields(self)))


class Candidate(NamedTuple):
    """One thing to try: the inputs and the inverse strength of the L2 penalty."""

    name: str
    inputs: tuple[str, ...]
    c: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted slot as arrays: what the artefact stores and evaluation predicts with."""

    candidate: Candidate
    center: Floats
    scale: Floats
    coef: Floats
    intercept: float
    platt: tuple[float, float]

    def probabilities(self, x: Floats) -> Floats:
        """P(target), shape (n,), for inputs of shape (n, len(INPUTS))."""
        slope, offset = self.platt
        return _sigmoid(slope * self._scores(x) + offset)

    def _scores(self, x: Floats) -> Floats:
        return np.asarray(
            (x[:, _columns(self.candidate.inputs)] - self.center) / self.scale @ self.coef + self.intercept
        )


def build_rows(intraday: Bars, daily: Bars, calendar: Calendar) -> tuple[Rows, dict[str, Any]]:
    """Samples of all days that both series have, and what was left out: {reason: [days]}.

    Uses the daily bar of a day for its open and its labels only.
    """
    collected: list[tuple[Any, ...]] = []
    excluded: dict[str, list[str]] = {}
    for session, o0, c0 in _sessions(intraday, daily, calendar):
        before = calendar.days_before(session.day, MIN_DAYS)
        for hour in decision_hours(session):
            try:
                collected.append(_sample(session, hour, intraday, daily, (o0, c0), before))
            except Unavailable as exc:
                excluded.setdefault(exc.message, []).append(f"{session.day} {hour}:00")
    if not collected:
        raise BrokenData("the bars give no training row")
    columns = [np.array(column) for column in zip(*collected, strict=True)]
    return Rows(*columns), excluded


def _sessions(intraday: Bars, daily: Bars, calendar: Calendar) -> Iterator[tuple[Session, float, float]]:
    """Sessions with intraday bars and a daily bar: (session, O0, C0)."""
    days = sorted({day_of_ms(ms) for ms in np.unique(intraday.t // HALF_HOUR_MS * HALF_HOUR_MS).tolist()})
    at = dict(zip(daily.t.tolist(), range(len(daily)), strict=True))
    for day in days:
        session, i = calendar.session(day), at.get(midnight_ms(day))
        if session is not None and i is not None:
            yield session, float(daily.o[i]), float(daily.c[i])


def _sample(
    session: Session, hour: int, intraday: Bars, daily: Bars, prices: tuple[float, float], before: Sequence[date]
) -> tuple[Any, ...]:
    o0, c0 = prices
    today = _day_bars(intraday, session)
    features = v6_features(session, hour, today, daily, o0, before)
    p = features.price
    p11 = p if features.price_11am is None else features.price_11am
    remaining = _remaining_share(today, session, hour, o0)
    labels = (c0 > o0, c0 > p11 and hour >= LATE_FROM, c0 > p, c0 == o0, c0 == p11)
    return (session.day.toordinal(), hour, features.inputs, *labels, p, o0, p11, features.sigma, remaining)


def _day_bars(intraday: Bars, session: Session) -> Bars:
    lo, hi = np.searchsorted(intraday.t, [to_ms(session.open), to_ms(session.close)])
    return intraday[int(lo) : int(hi)]


def _remaining_share(today: Bars, session: Session, hour: int, o0: float) -> float:
    """Share of the day's squared 30-minute log returns after H: one day's part of v_H (v6.md 7, B2). A label's fact,
    never an input."""
    edges = np.arange(to_ms(session.open), to_ms(session.close) + 1, HALF_HOUR_MS)
    halves = today.resample(edges)
    squared = np.diff(np.log(halves.c), prepend=np.log(o0)) ** 2
    later = halves.t >= to_ms(decision_moment(session, hour))
    return float(squared[later].sum() / max(float(squared.sum()), 1e-12))


def slot_rows(rows: Rows, slot: SlotName) -> tuple[Rows, Bools]:
    """The rows of a slot and their labels."""
    chosen = rows.where(np.isin(rows.hour, SLOT_HOURS[slot]))
    return chosen, chosen.b if slot == "late_b" else chosen.a


def b3_inputs(slot: SlotName) -> tuple[str, ...]:
    """Inputs of baseline B3 for a slot (v6.md 7)."""
    return ("p11_move_sigma" if slot == "late_b" else "open_move_sigma", "time_pct", "gap_sigma")


def candidates(slot: SlotName) -> Sequence[Candidate]:
    """What the inner validation chooses from: B3's inputs alone, or with the 29 features."""
    small = b3_inputs(slot)
    large = small + tuple(name for name in FEATURES if name not in small)
    return [Candidate(name, inputs, c) for name, inputs in (("b3", small), ("b3+29", large)) for c in C_GRID]


def fit_slot(rows: Rows, labels: Bools, choice: Sequence[Candidate]) -> Fitted:
    """The frozen procedure on one slot's training rows."""
    inner = rows.day < _inner_split(rows.day)
    train, held = rows.where(inner), rows.where(~inner)
    best, loss, scores = choice[0], np.inf, np.zeros(len(held))
    for candidate in choice:
        fitted = _fit(train, labels[inner], candidate)
        held_loss = log_loss(fitted.probabilities(held.x), labels[~inner], day_weights(held))
        if held_loss < loss:
            best, loss, scores = candidate, held_loss, fitted._scores(held.x)
    platt = _platt(scores, labels[~inner], day_weights(held))
    return _fit(rows, labels, best, platt)


def day_weights(rows: Rows) -> Floats:
    """1 / (rows of that day): each day weighs 1 (v6.md 5)."""
    _, inverse, counts = np.unique(rows.day, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[inverse])


def log_loss(p: Floats, y: Bools, weights: Floats | None = None) -> float:
    """Mean negative log-likelihood of labels y under probabilities p, both (n,)."""
    return float(np.average(losses(p, y), weights=weights))


def losses(p: Floats, y: Bools) -> Floats:
    """Negative log-likelihood per row, (n,)."""
    safe = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(-np.where(y, np.log(safe), np.log1p(-safe)))


def _inner_split(days: Ints) -> int:
    unique = np.unique(days)
    return int(unique[int(len(unique) * (1 - INNER_VALIDATION))])


def _fit(rows: Rows, labels: Bools, candidate: Candidate, platt: tuple[float, float] = (1.0, 0.0)) -> Fitted:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # one thread: the same sums whatever the number of cores

    x = rows.x[:, _columns(candidate.inputs)]
    center = np.median(x, axis=0)
    low, high = np.percentile(x, [25, 75], axis=0)
    scale = np.where(high - low > 1e-12, high - low, 1.0)
    model = LogisticRegression(C=candidate.c, max_iter=2000, tol=1e-8)
    with threadpool_limits(1):
        model.fit((x - center) / scale, labels, sample_weight=day_weights(rows))
    return Fitted(candidate, center, scale, model.coef_[0], float(model.intercept_[0]), platt)


def _platt(scores: Floats, labels: Bools, weights: Floats) -> tuple[float, float]:
    """Slope and offset on the scores by Newton's method, held near (1, 0) by a normal prior of PLATT_PULL days."""
    theta, rest = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    for _ in range(50):
        p = _sigmoid(design @ theta)
        gradient = design.T @ (weights * (p - labels)) + PLATT_PULL * (theta - rest)
        hessian = (design.T * (weights * p * (1 - p))) @ design + PLATT_PULL * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step
        if np.abs(step).max() < 1e-10:
            break
    return float(theta[0]), float(theta[1])


def _columns(inputs: Sequence[str]) -> Ints:
    return np.array([INPUTS.index(name) for name in inputs], dtype=np.int64)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0))))


def counted(excluded: Mapping[str, Sequence[str]]) -> Counter[str]:
    """How many samples were left out, by reason."""
    return Counter({reason: len(days) for reason, days in excluded.items()})
