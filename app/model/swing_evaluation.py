"""Walk-forward evaluation of the swing models (v6.md 9): one calendar year per test block, baselines in every horizon.

The tickers are pooled, and a day is one observation whatever their number. What this module reports is the only source of any
figure about a swing probability in an answer, a page or a document (spec decision 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from app.market.bars import Bools, Floats
from app.model.judging import auc
from app.model.one_thread import one_thread
from app.model.scoring import BOOTSTRAPS, SEED, by_day, calibration_error, losses
from app.model.swing import HORIZONS
from app.model.swing_features import FEATURES, YEAR_DAYS
from app.model.swing_training import (
    BLOCK_DAYS,
    C_GRID,
    FEW,
    VIX_INPUTS,
    VOLATILITY,
    Candidate,
    Choice,
    Samples,
    SwingRows,
    before,
    candidates,
    fit,
    fit_horizon,
    predict,
    samples_of,
)
from app.model.verdicts import Verdict, verdict_of

LAST_TEST = date(2024, 12, 31)
"""The first evaluation ends here (ruling L5)."""

LEAST_TRAINING_YEARS = 5
TREES_EVERY = 5
"""How many years the boosted trees of the table are kept, since fitting them takes longest."""

LEAST_SERVED_YEARS = 5
"""How many test years must have been predicted before they can show that a model is better."""

CHOSEN = "chosen by inner validation"
"""The row of the table that says what comes of inner validation alone, whatever the years before have shown."""

LONG, SHORT = 0.80, 0.20


class Year(NamedTuple):
    """A test year: what inner validation chose on the days before it, whether it is served, and what all of them say of the
    year's rows."""

    rows: SwingRows
    y: Bools
    choice: Choice
    is_served: bool
    p: Floats
    rivals: Mapping[str, Floats]

    @property
    def base(self) -> Floats:
        return np.full(len(self.y), self.choice.model.base_rate)

    @property
    def served(self) -> Floats:
        """What would have been served: the base rate, unless the years before had shown the chosen model to be better."""
        return self.p if self.is_served else self.base


class Scored(NamedTuple):
    """The test rows of one horizon, all years, with what was said of them, all (n,). p: what would have been served."""

    rows: SwingRows
    y: Bools
    p: Floats
    base: Floats
    rivals: Mapping[str, Floats]


def walk_forward(rows: SwingRows, tickers: Sequence[str], last: date = LAST_TEST) -> dict[str, Any]:
    """The evaluation of every horizon as plain values. No close after `last` is used."""
    return {str(horizon): report(years_of(samples_of(rows, horizon, last)), tickers) for horizon in HORIZONS}


def years_of(samples: Samples) -> dict[int, Year]:
    """Every test year, each predicted once by what was fitted on the days before it."""
    years = np.array([date.fromordinal(int(day)).year for day in samples.rows.day])
    tests = range(int(years[0]) + LEAST_TRAINING_YEARS, int(years[-1]) + 1)
    found: dict[int, Year] = {}
    trees: Any = None
    for year in tests:
        block = samples.where(years == year)
        past = before(samples, int(block.rows.place[0]))
        if trees is None or (year - tests[0]) % TREES_EVERY == 0:
            trees = _boosted(past)
        choice = fit_horizon(past, candidates())
        rivals = {**_rivals(past, block.rows), "boosted trees": _probabilities(trees, block.rows)}
        p = predict(choice.model, block.rows)
        found[year] = Year(block.rows, block.y, choice, may_serve(list(found.values())), p, rivals)
    return found


def may_serve(years: Sequence[Year]) -> bool:
    """Whether these test years show what inner validation chooses to be measurably better than the base rate."""
    if len(years) < LEAST_SERVED_YEARS:
        return False
    scored = _joined(years)
    gain = _gain(scored.base, scored.rivals[CHOSEN], scored)
    return verdict_of(*gain[1:]) is Verdict.BETTER


def _joined(years: Sequence[Year]) -> Scored:
    def column(name: str) -> Any:
        return np.concatenate([getattr(year, name) for year in years])

    rows = SwingRows(*(np.concatenate([getattr(y.rows, n) for y in years]) for n in SwingRows.__slots__))
    rivals = {name: np.concatenate([year.rivals[name] for year in years]) for name in years[0].rivals}
    return Scored(rows, column("y"), column("served"), column("base"), {CHOSEN: column("p"), **rivals})


def _rivals(past: Samples, block: SwingRows) -> dict[str, Floats]:
    """What the procedure is compared with: rules on the sign of past returns, and what it chooses from, taken as it is."""
    found = {
        f"sign of {name}": _by_sign(past, block, FEATURES.index(name))
        for name in (f"return_{past.horizon}d", f"return_{YEAR_DAYS}d")
    }
    found["logistic, volatility alone"] = predict(fit(past, Candidate("b3", VOLATILITY, 1.0)), block)
    sets = {"logistic, few inputs": FEW, "logistic, all inputs": FEATURES}
    if np.isfinite(past.rows.x).all() and np.isfinite(block.x).all():
        sets["logistic, few inputs and the VIX"] = (*FEW, *VIX_INPUTS)
    for name, inputs in sets.items():
        chosen = fit_horizon(past, [Candidate(name, inputs, c) for c in C_GRID])
        found[name] = predict(replace(chosen.model, weight=1.0), block)
    return found


def _by_sign(past: Samples, block: SwingRows, column: int) -> Floats:
    """How often the close was higher after a rise, and after none, on the training days."""
    rose = past.rows.x[:, column] > 0
    up, other = (float(np.average(past.y[mask], weights=past.weights[mask])) for mask in (rose, ~rose))
    return np.where(block.x[:, column] > 0, up, other)


def _boosted(past: Samples) -> Any:
    """Small boosted trees; the seed draws the rows on which they see when to stop."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=40,
        learning_rate=0.05,
        max_leaf_nodes=4,
        min_samples_leaf=200,
        l2_regularization=10.0,
        max_bins=32,
        random_state=SEED,
    )
    with one_thread():
        return model.fit(past.rows.x[:, : len(FEATURES)], past.y, sample_weight=past.weights)


def _probabilities(trees: Any, block: SwingRows) -> Floats:

    with one_thread():
        return np.asarray(trees.predict_proba(block.x[:, : len(FEATURES)])[:, 1])


def report(years: Mapping[int, Year], tickers: Sequence[str]) -> dict[str, Any]:
    """The evaluation of one horizon as plain values for the artefact's metadata."""
    scored = _joined(list(years.values()))
    y, p, base, rows = scored.y, scored.p, scored.base, scored.rows
    sure = (p > LONG) | (p < SHORT)
    return {
        "n_days": len(np.unique(rows.place)),
        "n_rows": len(rows),
        "base_rate": _mean(y.astype(float), rows),
        **_scores(p, scored),
        "auc": auc(p, y),
        "ece": round(calibration_error(p, y), 6),
        "covered": _mean(sure.astype(float), rows),
        "covered_hit_rate": round(float(((p > 0.5) == y)[sure].mean()), 6) if sure.any() else None,
        "up_accuracy": _mean(y.astype(float), rows),
        "base_log_loss": _mean(losses(base, y), rows),
        "base_brier": _mean((base - y) ** 2, rows),
        "base_accuracy": _mean(((base > 0.5) == y).astype(float), rows),
        **_named(_gain(base, p, scored), "skill"),
        "baselines": {
            name: {**_scores(rival, scored), **_named(_gain(base, rival, scored), "gain")}
            for name, rival in scored.rivals.items()
        },
        "years": {str(name): _year(year) for name, year in years.items()},
        "tickers": {ticker: _ticker(scored, rows.ticker == i) for i, ticker in enumerate(tickers)},
    }


def _scores(p: Floats, scored: Scored) -> dict[str, float]:
    y, rows = scored.y, scored.rows
    return {
        "accuracy": _mean(((p > 0.5) == y).astype(float), rows),
        "brier": _mean((p - y) ** 2, rows),
        "log_loss": _mean(losses(p, y), rows),
    }


def _year(year: Year) -> dict[str, Any]:
    rows, y, p = year.rows, year.y, year.served
    return {
        "n_days": len(np.unique(rows.place)),
        "up": _mean(y.astype(float), rows),
        "base_rate": round(year.choice.model.base_rate, 6),
        "chosen": year.choice.candidate.name,
        "served": year.is_served,
        "accuracy": _mean(((p > 0.5) == y).astype(float), rows),
        "log_loss": _mean(losses(p, y), rows),
        "base_log_loss": _mean(losses(year.base, y), rows),
        "chosen_log_loss": _mean(losses(year.p, y), rows),
    }


def _ticker(scored: Scored, at: Bools) -> dict[str, Any]:
    y, p, base = scored.y[at], scored.p[at], scored.base[at]
    return {
        "n_days": len(y),
        "up": round(float(y.mean()), 6),
        "accuracy": round(float(((p > 0.5) == y).mean()), 6),
        "log_loss": round(float(losses(p, y).mean()), 6),
        "base_log_loss": round(float(losses(base, y).mean()), 6),
    }


def _mean(values: Floats, rows: SwingRows) -> float:
    """Over days, each the mean of its tickers."""
    return round(float(by_day(values, rows.place).mean()), 6)


def _named(gain: tuple[float, float, float], name: str) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), gain, strict=True))


def _gain(base: Floats, p: Floats, scored: Scored) -> tuple[float, float, float]:
    """The mean of (log-loss of the base rate - log-loss of p), with its 95 % interval by resampling blocks of days."""
    daily = by_day(losses(base, scored.y) - losses(p, scored.y), scored.rows.place)
    n, blocks = len(daily), -(-len(daily) // BLOCK_DAYS)
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([daily, daily[:BLOCK_DAYS]]))])
    starts = np.random.default_rng(SEED).integers(0, n, (BOOTSTRAPS, blocks))
    means = (sums[starts + BLOCK_DAYS] - sums[starts]).mean(axis=1) / BLOCK_DAYS
    low, high = np.percentile(means, [2.5, 97.5])
    return round(float(daily.mean()), 6), round(float(low), 6), round(float(high), 6)
