"""What a walk-forward comes to (v6.md 7): every cell with its baselines, and each target over all of its cells.

A cell is ticker x target x decision hour. Pooled figures say that they are pooled, with days as clusters. What this module
reports is the only source of any accuracy figure in an answer, a page or a document (spec decision 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.market.bars import Bools, Floats
from app.model.features import DECISION_HOURS, LATE_FROM
from app.model.judging import agreement, auc
from app.model.ranges import LEVELS
from app.model.samples import Rows
from app.model.scoring import (
    Interval,
    brier,
    calibration_error,
    favoured,
    hit_rate,
    losses,
    mean_by_days,
    reliability,
    surest,
)
from app.model.training import Fitted
from app.model.v6 import SLOT_HOURS, SLOTS, TARGETS
from app.model.verdicts import Verdict, verdict_of
from app.model.walk_forward import Scored, WalkForward, together

LONG, SHORT = 0.75, 0.25
MOST_PLAUSIBLE = 0.015
"""Nats over B2: a pooled gain that is surely greater is refused as a leak (docs/spec/v6.md 10)."""

MOST_BEYOND_V = 0.005
"""The same over B2v, where a leak of the direction shows."""

TERCILES = ("calm", "usual", "restless")
"""Thirds of the evaluated days by sigma, per ticker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the evaluation says of a target out of sample. Rates are shares in 0..1, losses in nats.

    skill: mean of (log-loss of B2 - log-loss of the model), with its 95 % interval by a bootstrap over days; an interval
    above 0 says better, one below 0 worse. beyond_v: the same against B2v, the random walk that is given the model's forecast
    of the variance: what is left is not the forecast's. B2: random walk. covered: share of rows beyond the thresholds.
    """

    target: str
    n: int
    base_rate: float
    accuracy: float
    brier: float
    log_loss: float
    ece: float
    covered: float
    covered_hit_rate: float | None
    covered_stated: float | None
    b2_accuracy: float
    b2_log_loss: float
    b2v_log_loss: float
    skill: float
    skill_low: float
    skill_high: float
    beyond_v: float
    beyond_v_low: float
    beyond_v_high: float
    quarters: Mapping[str, Mapping[str, float]]
    terciles: Mapping[str, Mapping[str, float]]

    @property
    def verdict(self) -> Verdict:
        """The only words allowed against the random walk (claim rule, v6.md 7)."""
        return verdict_of(self.skill_low, self.skill_high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Figures):
    """One ticker x target x decision hour, n days. B0: the base rate of the training days; up_accuracy: always up; B1: sign of
    P against the reference; B3: logistic regression on three inputs; B4: what the model reads, on "close > now"."""

    ticker: str
    hour: int
    ties: int
    auc: float | None
    up_accuracy: float
    b0_log_loss: float
    b1_accuracy: float
    b2_brier: float
    b3_accuracy: float
    b3_log_loss: float
    b4_base_rate: float
    b4_accuracy: float
    b4_log_loss: float
    b4_b0_log_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled(Figures):
    """A target over all tickers and hours, days as clusters: n rows, of `days` days."""

    hours: Sequence[int]
    days: int
    b2_ece: float
    b2_covered_hit_rate: float | None
    reliability: Sequence[Mapping[str, float]]
    agreement: Mapping[str, Any]

    @property
    def is_plausible(self) -> bool:
        """Whether the gain may be one that a better forecast of the variance can give; more smells of a leak."""
        return self.skill_low <= MOST_PLAUSIBLE and self.beyond_v_low <= MOST_BEYOND_V


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All cells, and per target ("A", "B") and for the active one ("active") the pooled figures."""

    cells: Sequence[Cell]
    pooled: Sequence[Pooled]

    def of(self, ticker: str) -> list[Cell]:
        """The cells of one ticker."""
        return [cell for cell in self.cells if cell.ticker == ticker]


def evaluate(found: WalkForward, tickers: Sequence[str]) -> Evaluation:
    """The figures of a walk-forward; tickers: by their position in its rows."""
    edges = sigma_edges(found.scored["early_a"].rows, len(tickers))
    cells = []
    for position, ticker in enumerate(tickers):
        for slot in SLOTS:
            own = found.scored[slot].where(found.scored[slot].rows.ticker == position)
            parts = ((hour, own.where(own.rows.hour == hour)) for hour in SLOT_HOURS[slot])
            cells += [_cell(ticker, TARGETS[slot], hour, part, edges) for hour, part in parts if len(part.y)]
    order = sorted(cells, key=lambda cell: (tickers.index(cell.ticker), cell.target, cell.hour))
    return Evaluation(order, [_pooled(name, scored, edges) for name, scored in by_target(found).items()])


def by_target(found: WalkForward) -> dict[str, Scored]:
    """The scored rows of each target, and of the one that is acted on: A before 11:00, B from then on (policy.md 2)."""
    early, late_a, late_b = (found.scored[name] for name in SLOTS)
    return {"A": together([early, late_a]), "B": late_b, "active": together([early, late_b])}


def sigma_edges(rows: Rows, tickers: int) -> Floats:
    """Per ticker where the thirds of its days by sigma meet, (tickers, 2). rows: one per ticker and day."""
    return np.array([np.quantile(rows.sigma[rows.ticker == ticker], [1 / 3, 2 / 3]) for ticker in range(tickers)])


def summary(cells: Sequence[Cell]) -> dict[str, Any]:
    """Returns what v1 may claim of a ticker's model (v6.md 7, last paragraph), each figure with B1 and B2 beside it."""
    groups = {
        "early": [c for c in cells if c.target == "A" and c.hour < LATE_FROM],
        "late_a": [c for c in cells if c.target == "A" and c.hour >= LATE_FROM],
        "late_b": [c for c in cells if c.target == "B"],
    }
    figures: dict[str, Any] = {name: _mean(group, "accuracy") for name, group in groups.items()}
    figures["baselines"] = {
        f"{rule}_{name}": _mean(group, column)
        for name, group in groups.items()
        for rule, column in (("sign", "b1_accuracy"), ("walk", "b2_accuracy"))
    }
    return figures


def as_record(figures: Figures) -> dict[str, Any]:
    """A cell or pooled figures as plain values for the artefact's metadata."""
    return {**asdict(figures), "verdict": figures.verdict.value}


def cell_of(record: Mapping[str, Any]) -> Cell:
    """The cell that `as_record` wrote."""
    return Cell(**{key: value for key, value in record.items() if key != "verdict"})


def pooled_of(record: Mapping[str, Any]) -> Pooled:
    """The pooled figures that `as_record` wrote."""
    return Pooled(**{key: value for key, value in record.items() if key != "verdict"})


def _mean(cells: Sequence[Cell], column: str) -> float:
    return round(float(np.mean([getattr(cell, column) for cell in cells])), 6)


def _cell(ticker: str, target: str, hour: int, scored: Scored, edges: Floats) -> Cell:
    rows, y = scored.rows, scored.y
    reference, ties = (rows.eleven, rows.tie_b) if target == "B" else (rows.open, rows.tie_a)
    side = np.where(rows.price == reference, 0.5, (rows.price > reference).astype(np.float64))
    figures = {
        "up_accuracy": y.mean(),
        "b0_log_loss": losses(scored.base, y).mean(),
        "b1_accuracy": hit_rate(side, y),
        "b2_brier": brier(scored.walk, y),
        "b3_accuracy": hit_rate(scored.b3, y),
        "b3_log_loss": losses(scored.b3, y).mean(),
        "b4_base_rate": rows.now.mean(),
        "b4_accuracy": hit_rate(scored.now, rows.now),
        "b4_log_loss": losses(scored.now, rows.now).mean(),
        "b4_b0_log_loss": losses(scored.now_base, rows.now).mean(),
    }
    return Cell(
        ticker=ticker,
        target=target,
        hour=hour,
        n=len(rows),
        ties=int(ties.sum()),
        auc=auc(scored.p, y),
        quarters=_parts(scored, scored.quarter),
        terciles=_parts(scored, tercile_names(rows, edges)),
        **_rounded(figures),
        **_common(scored),
    )


def _pooled(name: str, scored: Scored, edges: Floats) -> Pooled:
    rows, y = scored.rows, scored.y
    names = tercile_names(rows, edges)
    sure = is_beyond(scored.p)
    figures = {
        "b2_ece": calibration_error(scored.walk, y),
        "b2_covered_hit_rate": hits_of_surest(scored.walk, y, int(sure.sum())),
    }
    return Pooled(
        target=name,
        hours=[int(hour) for hour in np.unique(rows.hour)],
        n=len(rows),
        days=len(np.unique(rows.day)),
        reliability=reliability(scored.p, y),
        quarters=_parts(scored, scored.quarter),
        terciles=_parts(scored, names),
        agreement=agreement(scored.p[sure], y[sure], names[sure], rows.day[sure], TERCILES),
        **_rounded(figures),
        **_common(scored),
    )


def _common(scored: Scored) -> dict[str, Any]:
    """What cells and pooled figures have in common."""
    p, y, day, sure = scored.p, scored.y, scored.rows.day, is_beyond(scored.p)
    own = losses(p, y)
    skill, beyond_v = (mean_by_days(losses(other, y) - own, day) for other in (scored.walk, scored.walk_v))
    figures = {
        "base_rate": y.mean(),
        "accuracy": hit_rate(p, y),
        "brier": brier(p, y),
        "log_loss": own.mean(),
        "ece": calibration_error(p, y),
        "covered": sure.mean(),
        "b2_accuracy": hit_rate(scored.walk, y),
        "b2_log_loss": losses(scored.walk, y).mean(),
        "b2v_log_loss": losses(scored.walk_v, y).mean(),
    }
    covered = {
        "covered_hit_rate": hit_rate(p[sure], y[sure]) if sure.any() else None,
        "covered_stated": float(favoured(p[sure]).mean()) if sure.any() else None,
    }
    return _rounded({**figures, **covered, **_named("skill", skill), **_named("beyond_v", beyond_v)})


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else round(float(value), 6) for name, value in figures.items()}


def is_beyond(p: Floats) -> Bools:
    """Whether a probability is beyond the thresholds of the policy."""
    return np.asarray((p > LONG) | (p < SHORT))


def hits_of_surest(p: Floats, y: Bools, n: int) -> float | None:
    """How often a rule is right on the n rows of which it is surest: at the coverage of another one."""
    rows = surest(p, n)
    return hit_rate(p[rows], y[rows]) if n else None


def tercile_names(rows: Rows, edges: Floats) -> NDArray[np.str_]:
    """The name of each row's third of the days, (n,)."""
    place = (rows.sigma[:, None] >= edges[rows.ticker]).sum(axis=1)
    return np.asarray(np.array(TERCILES)[place])


def _parts(scored: Scored, names: NDArray[np.str_]) -> dict[str, dict[str, float]]:
    """Per part of the rows: n, accuracy, and log-loss beside B2's and B2v's."""
    return {str(name): _part(scored.where(names == name)) for name in np.unique(names)}


def _part(scored: Scored) -> dict[str, float]:
    y = scored.y
    return _rounded(
        {
            "n": len(y),
            "accuracy": hit_rate(scored.p, y),
            "log_loss": losses(scored.p, y).mean(),
            "b2_log_loss": losses(scored.walk, y).mean(),
            "b2v_log_loss": losses(scored.walk_v, y).mean(),
        }
    )


def range_figures(found: WalkForward) -> dict[str, Any]:
    """Out of sample, by level and hour: on which share of the days the price stayed below the forecast high, above the forecast
    low, and within both; n: rows, of all tickers."""
    hours = np.concatenate([test.hour for test in found.tests.values()])
    stayed = [stayed_within(model, found.tests[name]) for name, model in found.fitted.items()]
    below, above = (np.concatenate(parts) for parts in zip(*stayed, strict=True))
    return {
        str(level): {
            str(hour): {"n": int((hours == hour).sum()), **_stayed(below[hours == hour, i], above[hours == hour, i])}
            for hour in DECISION_HOURS
        }
        for i, level in enumerate(LEVELS)
    }


def stayed_within(model: Fitted, rows: Rows) -> tuple[Bools, Bools]:
    """Whether the price stayed below the forecast high and above the forecast low of each level, both (n, levels)."""
    deviation = np.exp(0.5 * model.log_variance(rows))[:, None]
    hour = rows.hour - DECISION_HOURS[0]
    below, above = (
        far[:, None] <= forecast[hour] * deviation
        for far, forecast in ((rows.high, model.ranges.up), (-rows.low, model.ranges.down))
    )
    return below, above


def _stayed(below: Bools, above: Bools) -> dict[str, float]:
    return _rounded({"high": below.mean(), "low": above.mean(), "both": (below & above).mean()})
