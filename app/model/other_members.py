"""Members that were tried beside the model and are not served: trees on what z leaves unexplained (v6.md 5). scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from app.market.bars import Floats
from app.model.samples import Rows, slot_rows
from app.model.scoring import by_day, losses
from app.model.training import (
    Candidate,
    Tried,
    compared,
    day_weights,
    fit_slot,
    fit_variance,
    forecasts,
    is_inner,
    slot_probabilities,
)
from app.model.v6 import SLOTS, SlotName

SEED = 42


def tried_members(rows: Rows) -> dict[str, list[Tried]]:
    """Per slot the inner validation of each member beside that of z alone. A member learns the label less z's probability, from
    all inputs, and its estimate is added to that probability."""
    inner = is_inner(rows)
    return {name: _tried(name, rows.where(inner), rows.where(~inner)) for name in SLOTS}


def _tried(name: SlotName, train: Rows, held: Rows) -> list[Tried]:
    own = slot_rows(held, name)
    estimated = estimates(name, train, held, MEMBERS.values())
    return compared(("z", *MEMBERS), [by_day(losses(p, own.labels(name)), own.day) for p in estimated])


def estimates(name: SlotName, past: Rows, test: Rows, members: Iterable[Callable[[], Any]]) -> list[Floats]:
    """The probabilities of z alone and of z with each of the members, fitted on the past, for the test rows at the hours of a
    slot."""
    variances = fit_variance(past, has_tickers=False)
    slots = fit_slot(past, forecasts(variances, past), name, Candidate("z"))
    known, asked = slot_rows(past, name), slot_rows(test, name)
    (p_known, x_known), (p_asked, x_asked) = (
        (slot_probabilities(slots, rows, log_variance), _design(rows, log_variance))
        for rows, log_variance in ((known, forecasts(variances, known)), (asked, forecasts(variances, asked)))
    )
    rest, weights = known.labels(name) - p_known, day_weights(known)
    fitted = (make().fit(x_known, rest, sample_weight=weights) for make in members)
    return [p_asked, *(np.clip(p_asked + member.predict(x_asked), 0.001, 0.999) for member in fitted)]


def _design(rows: Rows, log_variance: Floats) -> Floats:
    return np.column_stack([rows.x, log_variance, rows.hour, rows.ticker])


def _boosting() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(
        n_estimators=100, max_depth=3, learning_rate=0.03, subsample=0.5, min_samples_leaf=100, random_state=SEED
    )


def _forest() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(100, max_depth=6, min_samples_leaf=50, max_features=0.33, random_state=SEED)


def _extra_trees() -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(200, max_depth=6, min_samples_leaf=50, random_state=SEED)


MEMBERS: Mapping[str, Callable[[], Any]] = {
    "z, gradient boosting": _boosting,
    "z, random forest": _forest,
    "z, extra trees": _extra_trees,
}
