"""What a model artefact holds: arrays, and metadata about them.

Whatever does not match is refused with a reason: other feature code, another target definition, another policy (v6.md 8). The
artefact's identity is the hash over its arrays, its feature list and its data's hash (ruling L4); times and library versions
are provenance beside it. Its files are the registry's (registry.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import BrokenData
from app.market.bars import Ints
from app.model import elementary, features, variances
from app.model.features import DECISION_HOURS, FEATURES, INPUTS, MIN_DAYS
from app.model.ranges import LEVELS, RangeForecast
from app.model.swing import SwingModel
from app.model.v6 import MOVES, SLOTS, Accuracy, Coverage, Slot, SlotName, V6Model, VarianceForecast

SCHEMA_VERSION = 2
FAMILY = "v6_intraday"
ENGINE_VERSION = "V6.2"
TARGETS = {"A": "A_close_gt_open_v1", "B": "B_close_gt_p1100_v2"}
PROVENANCE = ("trained_at", "code_revision", "libraries")
"""Metadata that differs between two runs of the same training."""

Arrays = Mapping[str, npt.NDArray[Any]]
Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyStamp:
    """The policy a model must have been evaluated under: its version and its thresholds (long, short)."""

    spec_version: str
    long: float
    short: float


@dataclass(frozen=True, slots=True, eq=False)
class ModelSet:
    """What could be loaded, and for each ticker without a model the reason, as for `swing`, the models of the days. Equal to
    itself alone, so that what is derived from it can be cached. name: what the registry calls it."""

    models: Mapping[str, V6Model]
    missing: Mapping[str, str]
    name: str = "none"
    swing: SwingModel | None = None

    def that_decided(self, ticker: str, model_id: str) -> V6Model | None:
        """The model of a ticker, if it has this id: a signal of the record may be another one's."""
        model = self.models.get(ticker)
        return model if model is not None and model.model_id == model_id else None

    @property
    def set_id(self) -> str:
        """Names the loaded set; `none` if no model of it is."""
        return self.name if self.models else "none"


def feature_code_hash() -> str:
    """That of the feature modules: an artefact trained by other feature code is refused."""
    return source_hash(features, variances, elementary)


def source_hash(*modules: ModuleType) -> str:
    """SHA-256 of the source of the modules, one after the other."""
    sources = (Path(str(module.__file__)).read_bytes().replace(b"\r\n", b"\n") for module in modules)
    return hashlib.sha256(b"".join(sources)).hexdigest()


def content_hash(arrays: Arrays, metadata: Metadata) -> str:
    """The artefact's identity: arrays, feature list and data hash (ruling L4)."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    digest.update(json.dumps([metadata["feature_cols"], metadata["data"]["sha256"]]).encode())
    return digest.hexdigest()


def model_of(ticker: str, arrays: Arrays, metadata: Metadata, sha256: str, policy: PolicyStamp) -> V6Model:
    """The model that an artefact holds. Raises BrokenData with the reason if this server cannot serve it."""
    try:
        _refuse_mismatch(metadata, ticker, policy)
        return _model(ticker, arrays, metadata, sha256)
    except (KeyError, ValueError, TypeError, IndexError) as exc:
        message = "its metadata is incomplete"
        raise BrokenData(message, detail=f"{message} ({exc!r})") from None


def _model(ticker: str, arrays: Arrays, metadata: Metadata, sha256: str) -> V6Model:
    return V6Model(
        ticker=ticker,
        model_id=f"v6-{ticker}-{sha256[:12]}",
        artifact_sha256=sha256,
        data_end=date.fromisoformat(metadata["data"]["last_day"]),
        engine_version=metadata["engine_version"],
        variance=_variance(arrays, metadata["variance"]),
        slots={name: _slot(arrays, metadata["slots"][name], name) for name in SLOTS},
        ranges=_range_forecast(arrays, metadata["range"]),
        coverage=_coverage(metadata["evaluation"]["ranges"]),
        accuracy=_accuracy(metadata["accuracy"]),
        metadata=metadata,
    )


def _accuracy(stated: Metadata) -> Accuracy:
    """The hit rates that the report states. Raises BrokenData if one is no share."""
    accuracy = Accuracy(**stated)
    for rate in (accuracy.early, accuracy.late_a, accuracy.late_b, *accuracy.baselines.values()):
        if not isinstance(rate, float) or not 0 <= rate <= 1:
            raise BrokenData("a hit rate of its report is no share")
    return accuracy


def _variance(arrays: Arrays, described: Metadata) -> VarianceForecast:
    columns = _positions(described["inputs"])
    coef, intercept = (arrays[f"variance/{part}"] for part in ("coef", "intercept"))
    hours = len(DECISION_HOURS)
    if coef.shape != (hours, len(columns)) or intercept.shape != (hours,) or not _are_numbers(coef, intercept):
        raise BrokenData("the arrays of the variance forecast do not fit together")
    return VarianceForecast(columns, coef, intercept)


def _slot(arrays: Arrays, described: Metadata, name: SlotName) -> Slot:
    columns = _positions(described["inputs"])
    line, center, scale, coef = (arrays[f"{name}/{part}"] for part in ("line", "center", "scale", "coef"))
    shapes = {columns.shape, center.shape, scale.shape, coef.shape}
    if len(shapes) != 1 or line.shape != (3,) or not _are_numbers(line, center, scale, coef) or not (scale > 0).all():
        raise BrokenData(f"the arrays of slot {name} do not fit together")
    slope, bend, offset = (float(value) for value in line)
    return Slot(INPUTS.index(MOVES[name]), slope, bend, offset, columns, center, scale, coef)


def _range_forecast(arrays: Arrays, described: Metadata) -> RangeForecast:
    up, down = (arrays[f"range/{part}"] for part in ("up", "down"))
    shape = (len(DECISION_HOURS), len(LEVELS))
    rises = all(_are_numbers(far) and (far >= 0).all() and (np.diff(far) >= 0).all() for far in (up, down))
    if described["levels"] != list(LEVELS) or up.shape != shape or down.shape != shape or not rises:
        raise BrokenData("the arrays of the forecast of ranges do not fit together")
    return RangeForecast(up, down)


def _coverage(ranges: Mapping[str, Mapping[str, Metadata]]) -> Mapping[tuple[float, int], Coverage]:
    return {(level, hour): Coverage(**ranges[str(level)][str(hour)]) for level in LEVELS for hour in DECISION_HOURS}


def _positions(inputs: Sequence[str]) -> Ints:
    return np.array([INPUTS.index(name) for name in inputs], dtype=np.int64)


def _are_numbers(*arrays: npt.NDArray[Any]) -> bool:
    return all(array.dtype == np.float64 and bool(np.isfinite(array).all()) for array in arrays)


def _refuse_mismatch(metadata: Metadata, ticker: str, policy: PolicyStamp) -> None:
    expected = {
        "schema_version": SCHEMA_VERSION,
        "model_family": FAMILY,
        "ticker": ticker,
        "targets": TARGETS,
        "decision_hours": list(DECISION_HOURS),
        "feature_cols": list(FEATURES),
        "feature_code_hash": feature_code_hash(),
        "min_days": MIN_DAYS,
        "spec_version": policy.spec_version,
        "thresholds": {"long": policy.long, "short": policy.short},
    }
    for key, value in expected.items():
        if metadata[key] != value:
            raise BrokenData(f"{key} is not what this server computes")
