"""Makes the artefact of the swing models out of recorded daily bars: rows, walk-forward report, refit on all days, metadata.

The shipped model is fitted on all days by the frozen procedure; what is said of it is the walk-forward (ruling L5). A horizon
whose walk-forward does not show the fitted model to be measurably better than the base rate is served as its base rate, and the
walk-forward itself judges what would have been served by that rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import BrokenData
from app.market.bars import Span
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from app.model import swing_evaluation as evaluation
from app.model.artefact import ENGINE_VERSION, PolicyStamp
from app.model.building import data_described, feature_ranges, provenance, report_hash
from app.model.swing import HORIZONS, TARGETS
from app.model.swing_artefact import FAMILY, SCHEMA_VERSION, arrays_of, feature_code_hash
from app.model.swing_features import FEATURES, MIN_DAYS
from app.model.swing_training import BLOCK_DAYS, VIX, Choice, SwingRows, build_rows, candidates, fit_horizon, samples_of
from app.model.verdicts import Verdict, verdict_of
from app.places import COMMAND


@dataclass(frozen=True, slots=True)
class SwingStudy:
    """The samples of all tickers and their walk-forward result, by horizon."""

    tickers: tuple[str, ...]
    rows: SwingRows
    excluded: Mapping[str, Sequence[str]]
    data_sha256: str
    report: Mapping[str, Any]


def study(recorded: RecordedBars, tickers: Sequence[str], calendar: Calendar) -> SwingStudy:
    """Evaluate the swing models on the recorded daily bars. Raises BrokenData if they are not there or too few."""
    daily = {ticker: recorded.all_bars(ticker, Span.DAY) for ticker in tickers}
    for ticker, bars in daily.items():
        if not len(bars):
            raise BrokenData(f"no recorded {ticker}_1day bars; bring them in with `{COMMAND} import`")
    rows, excluded = build_rows(daily, calendar, recorded.all_bars(VIX, Span.DAY))
    first, last = (date.fromordinal(int(rows.day[i])) for i in (0, -1))
    least = evaluation.LAST_TEST.year - evaluation.LEAST_TRAINING_YEARS
    if first.year >= least or last < evaluation.LAST_TEST:
        raise BrokenData(f"the recorded daily bars must begin before {least - 1} and reach {evaluation.LAST_TEST}")
    report = evaluation.walk_forward(rows, tickers)
    return SwingStudy(tuple(tickers), rows, excluded, data_hash(recorded, tickers), report)


def data_hash(recorded: RecordedBars, tickers: Sequence[str]) -> str:
    """SHA-256 over the content of the daily series that the models are made from."""
    used = [(s[0], s[5]) for s in recorded.series() if s[0] in (*tickers, VIX) and s[1] == Span.DAY]
    return hashlib.sha256(repr(used).encode()).hexdigest()


def build(
    study: SwingStudy, policy: PolicyStamp, revision: str, now: datetime
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays and metadata of the shipped artefact: every horizon fitted on all days."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    horizons: dict[str, Any] = {}
    for horizon in HORIZONS:
        samples = samples_of(study.rows, horizon)
        fitted = fit_horizon(samples, candidates())
        served = fitted.model if is_shown_better(study.report[str(horizon)]) else replace(fitted.model, weight=0.0)
        arrays |= arrays_of(horizon, served)
        horizons[str(horizon)] = {
            **_described(fitted),
            "weight": served.weight,
            "n_rows": len(samples.y),
            "n_days": len(np.unique(samples.rows.place)),
        }
    return arrays, {**_identity(study, policy, revision, now), **_report(study), "horizons": horizons}


def is_shown_better(report: Mapping[str, Any]) -> bool:
    """Whether the walk-forward of a horizon shows what inner validation chooses to be better than the base rate."""
    chosen = report["baselines"][evaluation.CHOSEN]
    return verdict_of(chosen["gain_low"], chosen["gain_high"]) is Verdict.BETTER


def _described(fitted: Choice) -> dict[str, Any]:
    """What the procedure chose on all days. fitted_weight: how far it would move the base rate, if the evaluation let it."""
    return {
        "kind": "base rate and logistic",
        "candidate": fitted.candidate.name,
        "inputs": list(fitted.candidate.inputs),
        "C": fitted.candidate.c,
        "base_rate": fitted.model.base_rate,
        "fitted_weight": fitted.model.weight,
    }


def _identity(study: SwingStudy, policy: PolicyStamp, revision: str, now: datetime) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "model_family": FAMILY,
        "tickers": list(study.tickers),
        "engine_version": ENGINE_VERSION,
        "spec_version": policy.spec_version,
        "targets": {str(horizon): target for horizon, target in TARGETS.items()},
        "feature_cols": list(FEATURES),
        "feature_code_hash": feature_code_hash(),
        "feature_ranges": feature_ranges(FEATURES, study.rows.x),
        "min_days": MIN_DAYS,
        "thresholds": {"bullish": evaluation.LONG, "bearish": evaluation.SHORT},
        "data": data_described(study.rows.day, study.excluded, "daily bars", study.data_sha256),
        **provenance(revision, now),
    }


def _report(study: SwingStudy) -> dict[str, Any]:
    years = sorted({year for found in study.report.values() for year in found["years"]})
    return {
        "evaluation": {
            "span": f"{years[0]}-01-01..{evaluation.LAST_TEST}",
            "blocks": years,
            "purge_days": {str(horizon): horizon for horizon in HORIZONS},
            "embargo_days": {str(horizon): horizon for horizon in HORIZONS},
            "bootstrap_block_days": BLOCK_DAYS,
            "report_sha256": report_hash([study.report]),
            "horizons": dict(study.report),
        }
    }
