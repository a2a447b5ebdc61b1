"""Members that were tried beside the model and are not served: trees on what z leaves unexplained (v6.md 5). scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from app.market.bars import Floats
from app.model.samples import Rows, slot_rows
from app.model.training import (
    Candidate,
    Tried,
    by_day,
    compared,
    day_weights,
    fit_slot,
    fit_variance,
    forecasts,
    is_inner,
    losses,
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
    log_variances = [forecasts(fit_variance(train, has_tickers=False), part) for part in (train, held)]
    slots = fit_slot(train, log_variances[0], name, Candidate("z"))
    parts = []
    for part, log_variance in zip((train, held), log_variances, strict=True):
        own = slot_rows(part, name)
        at = np.isin(part.hour, np.unique(own.hour))
        parts.append((own, slot_probabilities(slots, own, log_variance[at]), _design(own, log_variance[at])))
    (past, p_past, x_past), (test, p_test, x_test) = parts
    found = [by_day(losses(p_test, test.labels(name)), test)]
    for make in MEMBERS.values():
        member = make().fit(x_past, past.labels(name) - p_past, sample_weight=day_weights(past))
        p = np.clip(p_test + member.predict(x_test), 0.001, 0.999)
        found.append(by_day(losses(p, test.labels(name)), test))
    return compared(("z", *MEMBERS), found)


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
