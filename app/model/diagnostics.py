"""What the pictures of a report show beside its figures: gains by month, calibration by hour, importance, drift."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from app.market.bars import Floats
from app.model.drift import Bins, Reference, bins_of, stability
from app.model.features import INPUTS
from app.model.samples import Rows, slot_rows
from app.model.scoring import SEED, calibration_error, losses
from app.model.training import Fitted
from app.model.v6 import SLOTS
from app.model.walk_forward import Scored, WalkForward


def gains_by_month(scored: Scored) -> dict[str, dict[str, float]]:
    """Per calendar month the sum over its rows of the log-loss that the model has less than B2, and than B2v, nats."""
    own = losses(scored.p, scored.y)
    months = np.array([f"{date.fromordinal(int(day)):%Y-%m}" for day in scored.rows.day])
    gains = {"over_b2": losses(scored.walk, scored.y) - own, "over_b2v": losses(scored.walk_v, scored.y) - own}
    return {
        str(month): {name: round(float(gain[months == month].sum()), 4) for name, gain in gains.items()}
        for month in np.unique(months)
    }


def calibration_by_hour(scored: Scored) -> dict[str, dict[str, float]]:
    """Per decision hour: rows, the mean probability, the share that came true, and the calibration error."""
    found = {}
    for hour in np.unique(scored.rows.hour):
        at = scored.rows.hour == hour
        p, y = scored.p[at], scored.y[at]
        figures = {"stated": p.mean(), "came": y.mean(), "ece": calibration_error(p, y)}
        found[str(hour)] = {"n": int(at.sum()), **{name: round(float(value), 5) for name, value in figures.items()}}
    return found


def importance(found: WalkForward) -> dict[str, float]:
    """Per input that the model reads by how much the log-loss grows, out of sample, over all slots' rows, when the input is
    that of another test day of the same block and hour (permutation importance), nats."""
    grown: dict[str, list[Floats]] = {}
    for block, model in found.fitted.items():
        test = found.tests[block]
        known = _losses(model, test)
        for name in sorted(inputs_read(model)):
            grown.setdefault(name, []).append(_losses(model, _shuffled(test, name)) - known)
    return {name: round(float(np.concatenate(parts).mean()), 6) for name, parts in grown.items()}


def drift_by_block(found: WalkForward, rows: Rows) -> dict[str, float]:
    """Per block the population stability index of what the model read in it, beside all days before it."""
    drifted = {}
    for block, test in found.tests.items():
        past = rows.where(rows.day < test.day.min())
        names = sorted(inputs_read(found.fitted[block]))
        bins = {name: _bins(past.x[:, INPUTS.index(name)]) for name in names}
        columns = [INPUTS.index(name) for name in names]
        drifted[block] = round(stability(Reference(bins, {}), test.x[:, columns]), 4)
    return drifted


def inputs_read(model: Fitted) -> frozenset[str]:
    """Names of the inputs that move any of its probabilities."""
    return model.variances[0].read.union(*(slot.read for slot in model.slots[0].values()))


def _losses(model: Fitted, test: Rows) -> Floats:
    rows = [(slot, slot_rows(test, slot)) for slot in SLOTS]
    return np.concatenate([losses(model.probabilities(slot, own), own.labels(slot)) for slot, own in rows])


def _shuffled(rows: Rows, name: str) -> Rows:
    """The rows with one input taken from another row of the same hour."""
    dice, x = np.random.default_rng(SEED), rows.x.copy()
    for hour in np.unique(rows.hour):
        at = np.flatnonzero(rows.hour == hour)
        x[at, INPUTS.index(name)] = x[dice.permutation(at), INPUTS.index(name)]
    return replace(rows, x=x)


def _bins(values: Floats) -> Bins:
    made = bins_of(values)
    low, high = made["range"]
    return Bins(low, high, np.array(made["edges"]), np.array(made["shares"]))
