"""Walk-forward evaluation (v6.md 7): expanding window, one calendar quarter per test block, baselines in every cell.

A cell is ticker x target x decision hour; hours are never pooled here. What this module reports is the only source of
any accuracy figure in an answer, a page or a document (spec decision 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from app.market.bars import Bools, Floats
from app.model.features import LATE_FROM
from app.model.training import Candidate, Rows, b3_inputs, candidates, fit_slot, losses, slot_rows
from app.model.v6 import SLOT_HOURS, SLOTS, SlotName
from app.model.verdicts import Verdict, verdict_of

FIRST_TEST = date(2022, 1, 1)
"""Start of the first test block: about 350 training days lie before it in the recorded data."""

LAST_TEST = date(2024, 12, 31)
"""The first evaluation ends here; later rows are used once, when the full model is done (ruling L5)."""

EMBARGO_DAYS = 1
BOOTSTRAPS = 2000
SEED = 20241231
ECE_BINS = 10
LONG, SHORT = 0.75, 0.25


@dataclass(frozen=True, slots=True)
class Cell:
    """Out-of-sample result of one ticker x target x decision hour. Rates are shares in 0..1, losses in nats.

    skill: mean of (log-loss of B2 - log-loss of the model), with its 95 % interval by a bootstrap over days; an interval
    above 0 says better, one below 0 worse. B0: the base rate of the training days; up_accuracy: always up; B1: sign of P
    against the reference; B2: random walk; B3: logistic regression on three inputs; B4: the model's inputs on "close > now".
    """

    ticker: str
    target: str
    hour: int
    n: int
    ties: int
    base_rate: float
    accuracy: float
    brier: float
    log_loss: float
    ece: float
    auc: float | None
    covered: float
    covered_hit_rate: float | None
    up_accuracy: float
    b0_log_loss: float
    b1_accuracy: float
    b2_accuracy: float
    b2_brier: float
    b2_log_loss: float
    b3_accuracy: float
    b3_log_loss: float
    b4_base_rate: float
    b4_accuracy: float
    b4_log_loss: float
    b4_b0_log_loss: float
    skill: float
    skill_low: float
    skill_high: float
    quarters: Mapping[str, Mapping[str, float]]

    @property
    def verdict(self) -> Verdict:
        """The only words allowed for this cell (claim rule, v6.md 7)."""
        return verdict_of(self.skill_low, self.skill_high)


@dataclass(frozen=True, slots=True)
class Scored:
    """Test rows of one slot with the probabilities that model and baselines gave them, all (n,)."""

    rows: Rows
    y: Bools
    p: Floats
    base: Floats
    walk: Floats
    b3: Floats
    now: Floats
    now_base: Floats
    quarter: Sequence[str]


def walk_forward(ticker: str, rows: Rows, first: date = FIRST_TEST, last: date = LAST_TEST) -> list[Cell]:
    """Every cell of a ticker. Rows after `last` are not used."""
    cells = []
    for slot in SLOTS:
        scored = _join([_score(rows, slot, *block) for block in quarters(first, last)])
        cells += [_cell(ticker, slot, hour, scored) for hour in SLOT_HOURS[slot]]
    return sorted(cells, key=lambda cell: (cell.target, cell.hour))


def quarters(first: date, last: date) -> Iterator[tuple[date, date, str]]:
    """(first day, day after, name) of each whole calendar quarter in first .. last."""
    start = first
    while start < last:
        month = start.month + 3
        end = date(start.year + (month > 12), (month - 1) % 12 + 1, 1)
        yield start, end, f"{start.year}Q{(start.month + 2) // 3}"
        start = end


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


def as_record(cell: Cell) -> dict[str, Any]:
    """A cell as plain values for the artefact's metadata."""
    return {**asdict(cell), "verdict": cell.verdict.value}


def from_record(record: Mapping[str, Any]) -> Cell:
    """The cell that `as_record` wrote."""
    return Cell(**{key: value for key, value in record.items() if key != "verdict"})


def _mean(cells: Sequence[Cell], column: str) -> float:
    return round(float(np.mean([getattr(cell, column) for cell in cells])), 6)


def _score(rows: Rows, slot: SlotName, start: date, end: date, name: str) -> Scored | None:
    """Trains on the days before the block (less the embargo), then predicts the block once."""
    chosen, y = slot_rows(rows, slot)
    days = np.unique(chosen.day)
    before = days[days < start.toordinal()]
    train = chosen.day < before[-EMBARGO_DAYS]
    test = (chosen.day >= start.toordinal()) & (chosen.day < end.toordinal())
    if not test.any():
        return None
    past, block = chosen.where(train), chosen.where(test)
    model = fit_slot(past, y[train], candidates(slot))
    b3 = fit_slot(past, y[train], [Candidate("b3", b3_inputs(slot), 1.0)])
    now = fit_slot(past, past.now, [Candidate("b4", model.candidate.inputs, model.candidate.c)])
    return Scored(
        rows=block,
        y=y[test],
        p=model.probabilities(block.x),
        base=_base_rates(past, y[train], block),
        walk=random_walk(past, block, slot),
        b3=b3.probabilities(block.x),
        now=now.probabilities(block.x),
        now_base=_base_rates(past, past.now, block),
        quarter=[name] * len(block),
    )


def random_walk(past: Rows, block: Rows, slot: SlotName) -> Floats:
    """Baseline B2: phi(ln(P/ref) / (sigma * sqrt(v_H))), v_H from the training days only."""
    reference = block.eleven if slot == "late_b" else block.open
    share = {hour: float(past.remaining[past.hour == hour].mean()) for hour in np.unique(block.hour)}
    v = np.array([share[hour] for hour in block.hour])
    return _normal_cdf(np.log(block.price / reference) / (block.sigma * np.sqrt(v)))


def _base_rates(past: Rows, y: Bools, block: Rows) -> Floats:
    rates = {hour: float(y[past.hour == hour].mean()) for hour in np.unique(block.hour)}
    return np.array([rates[hour] for hour in block.hour])


def _normal_cdf(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def _join(parts: Sequence[Scored | None]) -> Scored:
    scored = [part for part in parts if part is not None]

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in scored])

    rows = Rows(*(np.concatenate([getattr(p.rows, n) for p in scored]) for n in Rows.__slots__))
    return Scored(rows, *(column(name) for name in Scored.__slots__[1:]))


def _cell(ticker: str, slot: SlotName, hour: int, scored: Scored) -> Cell:
    at = scored.rows.hour == hour
    rows, y, p, quarter = scored.rows.where(at), scored.y[at], scored.p[at], np.array(scored.quarter)[at]
    walk, base, b3, now, now_base = (getattr(scored, n)[at] for n in ("walk", "base", "b3", "now", "now_base"))
    sure = (p > LONG) | (p < SHORT)
    gain = losses(walk, y) - losses(p, y)
    low, high = _interval(gain)
    reference, ties = (rows.eleven, rows.tie_b) if slot == "late_b" else (rows.open, rows.tie_a)
    figures = {
        "base_rate": y.mean(),
        "accuracy": _hits(p, y),
        "brier": _brier(p, y),
        "log_loss": losses(p, y).mean(),
        "ece": _ece(p, y),
        "covered": sure.mean(),
        "up_accuracy": y.mean(),
        "b0_log_loss": losses(base, y).mean(),
        "b1_accuracy": ((rows.price > reference) == y).mean(),
        "b2_accuracy": _hits(walk, y),
        "b2_brier": _brier(walk, y),
        "b2_log_loss": losses(walk, y).mean(),
        "b3_accuracy": _hits(b3, y),
        "b3_log_loss": losses(b3, y).mean(),
        "b4_base_rate": rows.now.mean(),
        "b4_accuracy": _hits(now, rows.now),
        "b4_log_loss": losses(now, rows.now).mean(),
        "b4_b0_log_loss": losses(now_base, rows.now).mean(),
        "skill": gain.mean(),
        "skill_low": low,
        "skill_high": high,
    }
    return Cell(
        ticker=ticker,
        target="B" if slot == "late_b" else "A",
        hour=hour,
        n=len(rows),
        ties=int(ties.sum()),
        auc=_auc(p, y),
        covered_hit_rate=round(_hits(p[sure], y[sure]), 6) if sure.any() else None,
        quarters={str(q): _quarter(p[quarter == q], walk[quarter == q], y[quarter == q]) for q in np.unique(quarter)},
        **{name: round(float(value), 6) for name, value in figures.items()},
    )


def _quarter(p: Floats, walk: Floats, y: Bools) -> dict[str, float]:
    figures = {
        "n": len(y),
        "accuracy": _hits(p, y),
        "log_loss": float(losses(p, y).mean()),
        "b2_log_loss": float(losses(walk, y).mean()),
    }
    return {name: round(value, 6) for name, value in figures.items()}


def _hits(p: Floats, y: Bools) -> float:
    return float(((p > 0.5) == y).mean())


def _brier(p: Floats, y: Bools) -> float:
    return float(((p - y) ** 2).mean())


def _ece(p: Floats, y: Bools) -> float:
    """Expected calibration error over ECE_BINS equal bins of p."""
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(float(p[bins == b].mean() - y[bins == b].mean())) * float((bins == b).mean()) for b in np.unique(bins)]
    return float(sum(gaps))


def _auc(p: Floats, y: Bools) -> float | None:
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(y, p)), 6) if 0 < y.sum() < len(y) else None


def _interval(gain: Floats) -> tuple[float, float]:
    """95 % interval of the mean by resampling days (a cell has one row a day)."""
    draws = np.random.default_rng(SEED).integers(0, len(gain), (BOOTSTRAPS, len(gain)))
    low, high = np.percentile(gain[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
