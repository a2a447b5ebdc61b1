"""The fitting procedure of v6.md 5 and 10, the same for every fold and for the shipped model.

One procedure, frozen. The variance forecast is a least-squares line per decision hour for the logarithm of the variance that is
still to come. A slot is a logistic regression on z, the distance from the reference in units of the forecast. Tickers are
pooled. Whatever is more than that joins only if the inner validation (the last 20 % of the training days) prefers it by more
than one standard error. The choice is made once, on the days of the first evaluation, and then frozen. numpy is enough; the
same rows give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.market.bars import Bools, Floats, Ints
from app.model.features import DECISION_HOURS, FEATURES, INPUTS
from app.model.ranges import RangeForecast, fit_ranges
from app.model.samples import Rows, slot_rows
from app.model.scoring import by_day, losses, simplest
from app.model.v6 import (
    LOG_TIME_LEFT,
    MOVES,
    SLOT_HOURS,
    SLOTS,
    Slot,
    SlotName,
    VarianceForecast,
    probabilities,
    standardised,
)
from app.model.variances import VARIANCES

INNER_VALIDATION = 0.2
VARIANCE_INPUTS = tuple(name for name in VARIANCES if name != "log_time_left")
"""What the variance forecast reads; `log_time_left` is added as it is."""

TAPE_INPUTS = tuple(name for name in FEATURES if name not in VARIANCES)
"""The 29 features of v6.md 4."""

VARIANCE_PULL = 1.0
PULL = 1.0
STRONG_PULL = 100.0
"""Strength that holds coefficients near their rest, in days of evidence: ridge penalties."""

NEWTON_STEPS, CONVERGED = 60, 1e-10
REST_SLOPE = 1.6
"""Where the slope on z rests: the logistic function with this slope is closest to the normal distribution's."""


class Candidate(NamedTuple):
    """One thing to try for a slot: what it reads beside z, from the simplest on."""

    name: str
    has_bend: bool = False
    has_tickers: bool = False
    inputs: tuple[str, ...] = ()


CANDIDATES = (
    Candidate("z"),
    Candidate("z, z|z|", has_bend=True),
    Candidate("z, tickers", has_tickers=True),
    Candidate("z, 29 features", inputs=TAPE_INPUTS),
)

VARIANCE_CANDIDATES = ("pooled", "pooled, tickers")
"""The variance forecast without and with an intercept of its own for each ticker."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What the inner validation said of one candidate: its loss less that of the simplest one, the mean over days with its
    standard error; below 0 it was better. Of slots the loss is log-loss, nats; of the variance the squared error of its
    logarithm."""

    name: str
    excess: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidates the inner validation chose, and what it said of all of them, by "variance" and slot."""

    has_tickers: bool
    candidates: Mapping[SlotName, Candidate]
    tried: Mapping[str, Sequence[Tried]]

    @property
    def names(self) -> dict[str, str]:
        """What was chosen, in words."""
        return {"variance": VARIANCE_CANDIDATES[self.has_tickers], **{s: c.name for s, c in self.candidates.items()}}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model of all tickers: per ticker its forecast of the variance and its slots, and the forecast of ranges."""

    choice: Choice
    variances: Sequence[VarianceForecast]
    slots: Sequence[Mapping[SlotName, Slot]]
    ranges: RangeForecast

    def log_variance(self, rows: Rows) -> Floats:
        """The forecast for each row, (n,)."""
        return forecasts(self.variances, rows)

    def probabilities(self, slot: SlotName, rows: Rows) -> Floats:
        """P(target of the slot) for each row, (n,)."""
        return slot_probabilities([slots[slot] for slots in self.slots], rows, self.log_variance(rows))


def choose(rows: Rows) -> Choice:
    """The simplest candidates within one standard error of the best, by the inner validation of these training rows."""
    inner = is_inner(rows)
    train, held = rows.where(inner), rows.where(~inner)
    has_tickers, variance_tried = _choose_variance(train, held)
    variances = fit_variance(train, has_tickers=has_tickers)
    candidates: dict[SlotName, Candidate] = {}
    tried = {"variance": variance_tried}
    for name in SLOTS:
        candidates[name], tried[name] = _choose_slot(name, train, held, variances)
    return Choice(has_tickers, candidates, tried)


def fit(rows: Rows, choice: Choice) -> Fitted:
    """What was chosen, fitted on training rows of all tickers."""
    variances = fit_variance(rows, has_tickers=choice.has_tickers)
    log_variance = forecasts(variances, rows)
    slots: list[dict[SlotName, Slot]] = [{} for _ in variances]
    for name, candidate in choice.candidates.items():
        for ticker, slot in enumerate(fit_slot(rows, log_variance, name, candidate)):
            slots[ticker][name] = slot
    return Fitted(choice, variances, slots, fit_ranges(rows.hour, rows.high, -rows.low, log_variance))


# --- the variance that is still to come ---


def fit_variance(rows: Rows, *, has_tickers: bool) -> list[VarianceForecast]:
    """Per ticker its forecast: least squares per decision hour, pooled; the tickers differ in their intercepts or in
    nothing."""
    columns, tickers = _columns(VARIANCE_INPUTS), _tickers(rows)
    target = np.log(rows.variance) - rows.x[:, LOG_TIME_LEFT]
    coef, intercept = np.zeros((len(DECISION_HOURS), len(columns))), np.zeros((tickers, len(DECISION_HOURS)))
    for row, hour in enumerate(DECISION_HOURS):
        at = rows.hour == hour
        terms = _intercepts(rows.where(at), has_tickers=has_tickers)
        coef[row], intercept[:, row] = _least_squares(rows.x[at][:, columns], terms, target[at])
    return [VarianceForecast(columns, coef, own) for own in intercept]


def forecasts(variances: Sequence[VarianceForecast], rows: Rows) -> Floats:
    """The logarithm of the variance that is forecast for each row, (n,)."""
    found = np.empty(len(rows))
    for ticker, variance in enumerate(variances):
        for hour in DECISION_HOURS:
            at = (rows.hour == hour) & (rows.ticker == ticker)
            found[at] = variance.log_variance(hour, rows.x[at])
    return found


def _choose_variance(train: Rows, held: Rows) -> tuple[bool, list[Tried]]:
    """Whether each ticker has an intercept of its own, by the squared error of the logarithm on the inner validation."""
    errors = []
    for has_tickers in (False, True):
        forecast = forecasts(fit_variance(train, has_tickers=has_tickers), held)
        errors.append(by_day((np.log(held.variance) - forecast) ** 2, held.day))
    return bool(simplest(errors, _standard_error)), compared(VARIANCE_CANDIDATES, errors)


def _least_squares(x: Floats, terms: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coefficients of x, held near 0 by VARIANCE_PULL in units of their spread, and of terms."""
    k, (center, scale) = x.shape[1], _scaler(x)
    design = np.hstack([(x - center) / scale, terms])
    pull = np.repeat([VARIANCE_PULL, 0.0], [k, terms.shape[1]])
    line = np.linalg.solve(design.T @ design + np.diag(pull), design.T @ y)
    coef = line[:k] / scale
    return coef, line[k:] - center @ coef


# --- slots ---


def fit_slot(
    rows: Rows, log_variance: Floats, name: SlotName, candidate: Candidate, labels: Bools | None = None
) -> list[Slot]:
    """Per ticker the slot, fitted on the rows at its hours; they differ in their offset alone. log_variance: (n,), of `rows`;
    labels: (n,), if other ones than the slot's."""
    at = np.isin(rows.hour, SLOT_HOURS[name])
    chosen, columns, move = rows.where(at), _columns(candidate.inputs), INPUTS.index(MOVES[name])
    z = standardised(chosen.x[:, move], log_variance[at])[:, None]
    center, scale = _scaler(chosen.x[:, columns])
    parts = (
        z,
        z * np.abs(z) if candidate.has_bend else z[:, :0],
        (chosen.x[:, columns] - center) / scale,
        _intercepts(chosen, has_tickers=candidate.has_tickers),
    )
    widths = [part.shape[1] for part in parts]
    pull = np.repeat([PULL, PULL, STRONG_PULL, PULL], widths)
    y = chosen.labels(name) if labels is None else labels[at]
    theta = logistic(np.hstack(parts), y, day_weights(chosen), pull)
    slope, bend, coef, offsets = np.split(theta, np.cumsum(widths)[:-1])
    offsets = np.broadcast_to(offsets, _tickers(rows))
    return [
        Slot(move, float(slope[0]), float(bend.sum()), float(offset), columns, center, scale, coef)
        for offset in offsets
    ]


def _choose_slot(
    name: SlotName, train: Rows, held: Rows, variances: Sequence[VarianceForecast]
) -> tuple[Candidate, list[Tried]]:
    """The simplest candidate within one standard error of the best on the inner validation."""
    held = slot_rows(held, name)
    log_variance, held_log_variance = (forecasts(variances, rows) for rows in (train, held))
    found = []
    for candidate in CANDIDATES:
        slots = fit_slot(train, log_variance, name, candidate)
        p = slot_probabilities(slots, held, held_log_variance)
        found.append(by_day(losses(p, held.labels(name)), held.day))
    return CANDIDATES[simplest(found, _standard_error)], compared([candidate.name for candidate in CANDIDATES], found)


def slot_probabilities(slots: Sequence[Slot], rows: Rows, log_variance: Floats) -> Floats:
    """The probability of each row by its ticker's slot, (n,)."""
    scores = np.empty(len(rows))
    for ticker, slot in enumerate(slots):
        at = rows.ticker == ticker
        scores[at] = slot.score(rows.x[at], log_variance[at])
    return probabilities(scores)


def logistic(design: Floats, labels: Bools, weights: Floats, pull: Floats) -> Floats:
    """Coefficients (k,) of a logistic regression, by Newton's method with steps of at most 1. `pull` (k,) holds them where they
    rest: the first at REST_SLOPE, the others at 0."""
    rest = np.zeros(design.shape[1])
    rest[0] = REST_SLOPE
    theta = rest.copy()
    for _ in range(NEWTON_STEPS):
        p = probabilities(design @ theta)
        gradient = design.T @ (weights * (p - labels)) + pull * (theta - rest)
        hessian = (design.T * (weights * p * (1 - p))) @ design + np.diag(pull)
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < CONVERGED:
            break
    return theta


# --- the choice ---


def is_inner(rows: Rows) -> Bools:
    """The rows of all but the last INNER_VALIDATION of the days, (n,)."""
    days = np.unique(rows.day)
    return np.asarray(rows.day < days[int(len(days) * (1 - INNER_VALIDATION))])


def day_weights(rows: Rows) -> Floats:
    """1 / (rows of that ticker and day): each day of a ticker weighs 1 (v6.md 5)."""
    _, inverse, counts = np.unique(np.stack([rows.ticker, rows.day]), axis=1, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[inverse.ravel()])


def compared(names: Sequence[str], found: Sequence[Floats]) -> list[Tried]:
    """The losses of candidates by day, each beside the first one's."""
    gaps = [values - found[0] for values in found]
    return [Tried(name, float(gap.mean()), _standard_error(gap)) for name, gap in zip(names, gaps, strict=True)]


def _standard_error(values: Floats) -> float:
    return float(values.std() / np.sqrt(len(values)))


def _tickers(rows: Rows) -> int:
    return int(rows.ticker.max()) + 1


def _intercepts(rows: Rows, *, has_tickers: bool) -> Floats:
    """A column of ones, or one column per ticker, (n, 1) or (n, tickers)."""
    return np.eye(_tickers(rows))[rows.ticker] if has_tickers else np.ones((len(rows), 1))


def _scaler(x: Floats) -> tuple[Floats, Floats]:
    """Center and spread of each column; a column that does not vary has the spread 1."""
    spread = x.std(axis=0)
    return x.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)


def _columns(inputs: Sequence[str]) -> Ints:
    return np.array([INPUTS.index(name) for name in inputs], dtype=np.int64)
