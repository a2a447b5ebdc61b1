"""Makes a model set out of the recorded bars of all tickers: rows, the choice, walk-forward, refit on all days, metadata (v6.md
5-8).

The choice is made on the days of the first evaluation and frozen. The shipped models are fitted on all days by the frozen
procedure; what is said of them is the walk-forward (ruling L5).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import BrokenData
from app.market.bars import Floats, Ints, Span
from app.market.calendar import ONE_DAY, Calendar
from app.market.recorded import RecordedBars
from app.model import scoring
from app.model.artefact import ENGINE_VERSION, FAMILY, SCHEMA_VERSION, TARGETS, PolicyStamp, feature_code_hash
from app.model.diagnostics import calibration_by_hour, drift_by_block, gains_by_month, importance
from app.model.drift import bins_of
from app.model.evaluation import Evaluation, as_record, by_target, evaluate, range_figures, summary
from app.model.features import DECISION_HOURS, FEATURES, INPUTS, MIN_DAYS
from app.model.one_thread import one_thread
from app.model.other_members import tried_members
from app.model.ranges import LEVELS
from app.model.samples import Rows, build_rows, joined, slot_rows
from app.model.scoring import LEAST_DAYS
from app.model.training import CANDIDATES, Choice, Fitted, Tried, choose, fit
from app.model.v6 import SLOTS, Slot, V6Model, VarianceForecast
from app.model.walk_forward import (
    EMBARGO_DAYS,
    FIRST_TEST,
    LAST_TEST,
    Block,
    Scored,
    WalkForward,
    blocks_between,
    walk_forward,
)
from app.places import COMMAND

Trading = Callable[[Scored], Mapping[str, Any]]

SAME_WITHIN = 0.0005
LIBRARIES = ("numpy", "scipy", "scikit-learn")
BAR_SOURCE = "5-minute bars, regular session; daily bars"


@dataclass(frozen=True, slots=True)
class Samples:
    """The rows of all tickers, by their position in `tickers`; per ticker what was left out; a hash of the bars."""

    tickers: Sequence[str]
    rows: Rows
    excluded: Mapping[str, Mapping[str, Sequence[str]]]
    data_sha256: str


@dataclass(frozen=True, slots=True)
class Study:
    """Samples with their walk-forward under the frozen choice, and what else the report says.

    anew     the figures with the choice made anew before each block
    later    the days after the span of the first evaluation, if there are any and they are looked at
    members  what was tried and is not served
    """

    samples: Samples
    choice: Choice
    blocks: Sequence[Block]
    walk: WalkForward
    evaluation: Evaluation
    anew: Evaluation
    later: Later | None
    members: Mapping[str, Sequence[Tried]]


@dataclass(frozen=True, slots=True)
class Later:
    """The walk-forward over the days after the first evaluation, with its span."""

    span: str
    walk: WalkForward
    evaluation: Evaluation


def samples_of(recorded: RecordedBars, tickers: Sequence[str], calendar: Calendar) -> Samples:
    """The samples of the recorded bars. Raises BrokenData if a ticker's bars are not there."""
    parts, excluded = [], {}
    for position, ticker in enumerate(tickers):
        five, days = recorded.all_bars(ticker, Span.FIVE_MINUTES), recorded.all_bars(ticker, Span.DAY)
        if not len(five) or not len(days):
            raise BrokenData(f"no recorded {ticker}_5min and {ticker}_1day bars; bring them in with `{COMMAND} import`")
        rows, excluded[ticker] = build_rows(five, days, calendar, position)
        parts.append(rows)
    return Samples(tickers, joined(parts), excluded, data_hash(recorded, tickers))


def study(samples: Samples, *, looks_later: bool = True) -> Study:
    """Chooses and evaluates. Raises BrokenData if the bars do not reach over the span of the evaluation."""
    days = samples.rows.day
    if date.fromordinal(int(days.min())) >= FIRST_TEST or date.fromordinal(int(days.max())) < LAST_TEST:
        raise BrokenData(f"the recorded bars must begin before {FIRST_TEST} and reach {LAST_TEST}")
    first = samples.rows.where(days <= LAST_TEST.toordinal())
    with one_thread():
        return _studied(samples, first, looks_later=looks_later)


def _studied(samples: Samples, first: Rows, *, looks_later: bool) -> Study:
    blocks = blocks_between(FIRST_TEST, LAST_TEST)
    choice = choose(first)
    walk = walk_forward(first, blocks, choice)
    evaluation = evaluate(walk, samples.tickers)
    refuse_leaks(evaluation)
    anew = evaluate(walk_forward(first, blocks), samples.tickers)
    later = _later(samples, choice) if looks_later else None
    return Study(samples, choice, blocks, walk, evaluation, anew, later, tried_members(first))


def _later(samples: Samples, choice: Choice) -> Later | None:
    """The quarters after the first evaluation, months while these are few, under the choice that was made before them."""
    last = date.fromordinal(int(samples.rows.day.max()))
    if len(np.unique(samples.rows.day[samples.rows.day > LAST_TEST.toordinal()])) < LEAST_DAYS:
        return None
    blocks = blocks_between(LAST_TEST + ONE_DAY, last)
    walk = walk_forward(samples.rows, blocks, choice)
    return Later(f"{blocks[0].start}..{last}", walk, evaluate(walk, samples.tickers))


def refuse_leaks(evaluation: Evaluation) -> None:
    """Raises BrokenData if a pooled gain is greater than a forecast of the variance can give."""
    for pooled in evaluation.pooled:
        if not pooled.is_plausible:
            raise BrokenData(
                f"the log-loss of target {pooled.target} is {pooled.skill:.4f} below the random walk's, which smells of a leak"
            )


def fitted_of(models: Sequence[V6Model]) -> Fitted:
    """Loaded models of all tickers as what was fitted, to score other days with them."""
    named = {candidate.name: candidate for candidate in CANDIDATES}
    chosen = {slot: named[models[0].metadata["slots"][slot]["candidate"]] for slot in SLOTS}
    return Fitted(
        Choice(has_tickers=False, candidates=chosen, tried={}),
        [model.variance for model in models],
        [model.slots for model in models],
        models[0].ranges,
    )


def data_hash(recorded: RecordedBars, tickers: Sequence[str]) -> str:
    """SHA-256 over the content of the series that the models are made from."""
    used = [s for s in recorded.series() if s[0] in tickers and s[1] in (Span.FIVE_MINUTES, Span.DAY)]
    return hashlib.sha256(repr([(s[0], s[1], s[5]) for s in used]).encode()).hexdigest()


def build(
    study: Study, policy: PolicyStamp, trading: Trading, revision: str, now: datetime
) -> dict[str, tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]]:
    """Per ticker the arrays and metadata of the shipped artefact, fitted on all days. trading: what trades on the scored rows
    would have earned."""
    with one_thread():
        fitted = fit(study.samples.rows, study.choice)
    shared = {**provenance(revision, now), **_slots(fitted, study.samples.rows)}
    artefacts, reports = {}, reports_of(study, trading)
    for position, ticker in enumerate(study.samples.tickers):
        own = study.samples.rows.where(study.samples.rows.ticker == position)
        claims = {"accuracy": summary(study.evaluation.of(ticker)), "evaluation": reports[ticker]}
        about = {**_identity(study, ticker, own, policy), **shared, **claims}
        artefacts[ticker] = _arrays(fitted, position), {**about, "feature_bins": _feature_bins(own, fitted)}
    return artefacts


def _feature_bins(rows: Rows, fitted: Fitted) -> dict[str, Any]:
    """Per input that the model reads, where a ticker's training values lie, over the hours at which it is read."""
    hours: dict[str, set[int]] = {}
    for slot, reader in fitted.slots[0].items():
        at = {int(hour) for hour in np.unique(slot_rows(rows, slot).hour)}
        for name in reader.read | fitted.variances[0].read:
            hours.setdefault(name, set()).update(at)
    return {name: bins_of(rows.x[np.isin(rows.hour, sorted(at)), INPUTS.index(name)]) for name, at in hours.items()}


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


def _arrays(fitted: Fitted, ticker: int) -> dict[str, npt.NDArray[Any]]:
    variance: VarianceForecast = fitted.variances[ticker]
    arrays = {
        "variance/coef": variance.coef,
        "variance/intercept": variance.intercept,
        "range/up": fitted.ranges.up,
        "range/down": fitted.ranges.down,
    }
    for name, slot in fitted.slots[ticker].items():
        arrays |= _slot_arrays(name, slot)
    return arrays


def _slot_arrays(name: str, slot: Slot) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{name}/line": np.array([slot.slope, slot.bend, slot.offset]),
        f"{name}/center": slot.center,
        f"{name}/scale": slot.scale,
        f"{name}/coef": slot.coef,
    }


def _slots(fitted: Fitted, rows: Rows) -> dict[str, Any]:
    """What each part of the model reads, and what was chosen."""
    slots, names = {}, fitted.choice.names
    for name in SLOTS:
        own, slot = slot_rows(rows, name), fitted.slots[0][name]
        slots[name] = {
            "inputs": [INPUTS[column] for column in slot.columns],
            "candidate": names[name],
            "n_rows": len(own),
            "n_days": len(np.unique(own.day)),
        }
    variance = {"inputs": [INPUTS[column] for column in fitted.variances[0].columns], "candidate": names["variance"]}
    return {"slots": slots, "variance": variance, "range": {"levels": list(LEVELS)}}


def _identity(study: Study, ticker: str, own: Rows, policy: PolicyStamp) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "model_family": FAMILY,
        "ticker": ticker,
        "engine_version": ENGINE_VERSION,
        "spec_version": policy.spec_version,
        "targets": TARGETS,
        "decision_hours": list(DECISION_HOURS),
        "feature_cols": list(FEATURES),
        "feature_code_hash": feature_code_hash(),
        "feature_ranges": feature_ranges(FEATURES, own.x),
        "min_days": MIN_DAYS,
        "thresholds": {"long": policy.long, "short": policy.short},
        "data": {"tickers": list(study.samples.tickers)}
        | data_described(own.day, study.samples.excluded[ticker], BAR_SOURCE, study.samples.data_sha256),
    }


def feature_ranges(names: Sequence[str], x: Floats) -> dict[str, list[float]]:
    """Per feature [min, median, max] of training (v6.md 8). x: (n, at least as many columns as names)."""
    x = x[:, : len(names)]
    table = np.stack([x.min(axis=0), np.median(x, axis=0), x.max(axis=0)], axis=1)
    return {name: [float(value) for value in row] for name, row in zip(names, table, strict=True)}


def data_described(days: Ints, excluded: Mapping[str, Sequence[str]], bar_source: str, sha256: str) -> dict[str, Any]:
    """What a model was trained on. days: ordinals, of any number of rows."""
    known = np.unique(days)
    return {
        "provider": "recorded",
        "adjusted": "splits",
        "bar_source": bar_source,
        "first_day": date.fromordinal(int(known[0])).isoformat(),
        "last_day": date.fromordinal(int(known[-1])).isoformat(),
        "n_days": len(known),
        "excluded": {reason: list(left_out) for reason, left_out in excluded.items()},
        "sha256": sha256,
    }


def provenance(revision: str, now: datetime) -> dict[str, Any]:
    """When, by which code and with which libraries a model was trained, and the seeds."""
    libraries = {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    return {
        "trained_at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "code_revision": revision,
        "libraries": libraries,
        "seeds": {"bootstrap": scoring.SEED},
    }


def reports_of(study: Study, trading: Trading) -> dict[str, dict[str, Any]]:
    """Per ticker the evaluation that its artefact carries: its own cells, and what is pooled over all tickers."""
    shared = {
        "span": f"{study.blocks[0].start}..{study.blocks[-1].last}",
        "blocks": [block.name for block in study.blocks],
        "embargo_days": EMBARGO_DAYS,
        **_pooled_figures(study.evaluation, study.walk, trading),
        "pooled_choosing_anew": [as_record(pooled) for pooled in study.anew.pooled],
        "tried": {part: [asdict(tried) for tried in found] for part, found in study.choice.tried.items()},
        "tried_members": {part: [asdict(tried) for tried in found] for part, found in study.members.items()},
        "importance": importance(study.walk),
        "drift": drift_by_block(study.walk, study.samples.rows),
    }
    later, known = study.later, {}
    if later is not None:
        known = {"span": later.span, **_pooled_figures(later.evaluation, later.walk, trading)}
    reports = {}
    for ticker in study.samples.tickers:
        cells = [as_record(cell) for cell in study.evaluation.of(ticker)]
        reports[ticker] = {**shared, "cells": cells, "report_sha256": report_hash(cells)}
        if later is not None:
            reports[ticker]["later"] = {**known, "cells": [as_record(cell) for cell in later.evaluation.of(ticker)]}
    return reports


def _pooled_figures(evaluation: Evaluation, walk: WalkForward, trading: Trading) -> dict[str, Any]:
    """What the report says of all tickers in a span."""
    targets = by_target(walk)
    return {
        "pooled": [as_record(pooled) for pooled in evaluation.pooled],
        "ranges": range_figures(walk),
        "months": {name: gains_by_month(scored) for name, scored in targets.items()},
        "calibration_by_hour": {name: calibration_by_hour(scored) for name, scored in targets.items()},
        "trading": dict(trading(targets["active"])),
    }
