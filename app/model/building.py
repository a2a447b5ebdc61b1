"""Makes one artefact out of one ticker's recorded bars: rows, walk-forward report, refit on all days, metadata (v6.md 5-8).

The shipped model is fitted on all days by the frozen procedure; what is said of it is the walk-forward (ruling L5).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import BrokenData
from app.market.bars import Span
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from app.model import evaluation
from app.model.artefact import ENGINE_VERSION, FAMILY, SCHEMA_VERSION, TARGETS, PolicyStamp, feature_code_hash
from app.model.drift import bins_of
from app.model.evaluation import Cell, as_record, summary, walk_forward
from app.model.features import DECISION_HOURS, FEATURES, INPUTS, MIN_DAYS
from app.model.training import Fitted, Rows, build_rows, candidates, fit_slot, slot_rows
from app.model.v6 import SLOT_HOURS, SLOTS, SlotName

SAME_WITHIN = 0.0005
LIBRARIES = ("numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Study:
    """A ticker's samples and their walk-forward result."""

    ticker: str
    rows: Rows
    excluded: Mapping[str, Sequence[str]]
    data_sha256: str
    cells: Sequence[Cell]


def study(recorded: RecordedBars, ticker: str, calendar: Calendar) -> Study:
    """Evaluate one ticker on the recorded bars. Raises BrokenData if they are not there or too few."""
    five, days = recorded.all_bars(ticker, Span.FIVE_MINUTES), recorded.all_bars(ticker, Span.DAY)
    if not len(five) or not len(days):
        raise BrokenData(
            f"no recorded {ticker}_5min and {ticker}_1day bars; bring them in with `.venv/bin/predict import`"
        )
    rows, excluded = build_rows(five, days, calendar)
    first_day = date.fromordinal(int(rows.day[0]))
    if first_day >= evaluation.FIRST_TEST or date.fromordinal(int(rows.day[-1])) < evaluation.LAST_TEST:
        raise BrokenData(
            f"the recorded {ticker} bars must begin before {evaluation.FIRST_TEST} and reach {evaluation.LAST_TEST}"
        )
    return Study(ticker, rows, excluded, data_hash(recorded, ticker), walk_forward(ticker, rows))


def data_hash(recorded: RecordedBars, ticker: str) -> str:
    """SHA-256 over the content of the two series that a ticker's model is made from."""
    used = [s for s in recorded.series() if s[0] == ticker and s[1] in (Span.FIVE_MINUTES, Span.DAY)]
    return hashlib.sha256(repr([(s[1], s[5]) for s in used]).encode()).hexdigest()


def build(
    study: Study, policy: PolicyStamp, revision: str, now: datetime
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays and metadata of the shipped artefact: every slot fitted on all days."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    slots: dict[SlotName, Any] = {}
    for name in SLOTS:
        rows, labels = slot_rows(study.rows, name)
        fitted = fit_slot(rows, labels, candidates(name))
        arrays |= _slot_arrays(name, fitted)
        slots[name] = _slot_metadata(fitted, rows)
    bins = {"feature_bins": feature_bins(study.rows, {name: slot["inputs"] for name, slot in slots.items()})}
    return arrays, {**_identity(study, policy), **_provenance(revision, now), **_report(study), **bins, "slots": slots}


def feature_bins(rows: Rows, inputs: Mapping[SlotName, Sequence[str]]) -> dict[str, Any]:
    """Per input that a slot reads, where its training values lie, over the hours at which a slot reads it."""
    hours: dict[str, set[int]] = {}
    for slot, names in inputs.items():
        for name in names:
            hours.setdefault(name, set()).update(SLOT_HOURS[slot])
    return {name: bins_of(rows.x[np.isin(rows.hour, list(at)), INPUTS.index(name)]) for name, at in hours.items()}


def report_hash(records: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of an evaluation's cells, to tell whether two reports are the same."""
    return hashlib.sha256(json.dumps(list(records), sort_keys=True).encode()).hexdigest()


def reports_agree(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two reports say the same: every word, and every figure to SAME_WITHIN (other processors round differently)."""
    return _agree(json.loads(json.dumps(list(one))), json.loads(json.dumps(list(other))))


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_agree(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= SAME_WITHIN
    return bool(one == other)


def _slot_arrays(name: str, fitted: Fitted) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{name}/center": fitted.center,
        f"{name}/scale": fitted.scale,
        f"{name}/platt": np.array(fitted.platt),
        f"{name}/0/coef": fitted.coef,
        f"{name}/0/intercept": np.array(fitted.intercept),
    }


def _slot_metadata(fitted: Fitted, rows: Rows) -> dict[str, Any]:
    chosen = fitted.candidate
    return {
        "inputs": list(chosen.inputs),
        "members": [{"kind": "logistic", "weight": 1.0, "candidate": chosen.name, "C": chosen.c}],
        "calibrator": "platt",
        "n_rows": len(rows),
        "n_days": len(np.unique(rows.day)),
    }


def _identity(study: Study, policy: PolicyStamp) -> dict[str, Any]:
    days = np.unique(study.rows.day)
    return {
        "schema_version": SCHEMA_VERSION,
        "model_family": FAMILY,
        "ticker": study.ticker,
        "engine_version": ENGINE_VERSION,
        "spec_version": policy.spec_version,
        "targets": TARGETS,
        "decision_hours": list(DECISION_HOURS),
        "feature_cols": list(FEATURES),
        "feature_code_hash": feature_code_hash(),
        "feature_ranges": _ranges(study.rows),
        "min_days": MIN_DAYS,
        "thresholds": {"long": policy.long, "short": policy.short},
        "data": {
            "provider": "recorded",
            "adjusted": "splits",
            "bar_source": "5-minute bars, regular session; daily bars",
            "first_day": date.fromordinal(int(days[0])).isoformat(),
            "last_day": date.fromordinal(int(days[-1])).isoformat(),
            "n_days": len(days),
            "excluded": {reason: list(days) for reason, days in study.excluded.items()},
            "sha256": study.data_sha256,
        },
    }


def _ranges(rows: Rows) -> dict[str, list[float]]:
    """Per feature [min, median, max] of training (v6.md 8)."""
    x = rows.x[:, : len(FEATURES)]
    table = np.stack([x.min(axis=0), np.median(x, axis=0), x.max(axis=0)], axis=1)
    return {name: [float(value) for value in row] for name, row in zip(FEATURES, table, strict=True)}


def _provenance(revision: str, now: datetime) -> dict[str, Any]:
    libraries = {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    return {
        "trained_at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "code_revision": revision,
        "libraries": libraries,
        "seeds": {"bootstrap": evaluation.SEED},
    }


def _report(study: Study) -> dict[str, Any]:
    records = [as_record(cell) for cell in study.cells]
    return {
        "accuracy": summary(study.cells),
        "evaluation": {
            "span": f"{evaluation.FIRST_TEST}..{evaluation.LAST_TEST}",
            "blocks": [name for *_, name in evaluation.quarters(evaluation.FIRST_TEST, evaluation.LAST_TEST)],
            "embargo_days": evaluation.EMBARGO_DAYS,
            "report_sha256": report_hash(records),
            "cells": records,
        },
    }
