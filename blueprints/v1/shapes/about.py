"""The shapes of `/health`, `/models` and the pattern-model routes (v1-contract.md 4.8, 4.9, 5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.model.artefact import ENGINE_VERSION, ModelSet
from app.model.swing import SwingModel
from app.model.v6 import V6Model
from app.model.verdicts import verdict_of_record
from app.signals.policy import LONG_ABOVE, SPEC_VERSION, SUPPORTED
from blueprints.services import Services
from blueprints.shared.values import Json, iso

CELL_FIELDS = (
    "target",
    "hour",
    "n",
    "ties",
    "base_rate",
    "accuracy",
    "brier",
    "log_loss",
    "ece",
    "auc",
    "covered",
    "covered_hit_rate",
    "up_accuracy",
    "b0_log_loss",
    "b1_accuracy",
    "b2_accuracy",
    "b2_brier",
    "b2_log_loss",
    "b3_accuracy",
    "b3_log_loss",
    "b4_base_rate",
    "b4_accuracy",
    "b4_log_loss",
    "b4_b0_log_loss",
    "skill",
    "skill_low",
    "skill_high",
)
"""What version 1 says of a cell, beside its verdict; version 2 has more."""


def health(served: Services) -> Json:
    """The body of `/health` (v1-contract.md 4.8). `model_loaded` is about the pattern model, which does not ship: false, so its
    clients stay quiet."""
    model_set = served.pipeline.models
    loaded = list(model_set.models)
    return {
        "status": "ok",
        "model_loaded": False,
        "version": served.version,
        "engine_version": ENGINE_VERSION,
        "spec_version": SPEC_VERSION,
        "models_loaded": loaded,
        "v6_models_loaded": loaded,
        "swing_models_loaded": [] if model_set.swing is None else list(model_set.swing.tickers),
        "supported_tickers": list(SUPPORTED),
        "active_model": model_set.set_id,
        "uptime_seconds": int(served.uptime_s()),
        "timestamp": iso(served.clock()),
        "degraded": served.degraded(),
        "operations": dict(served.operations()),
    }


def models(model_set: ModelSet) -> Json:
    """The body of `/models` (v1-contract.md 4.9)."""
    return {
        "active_version": model_set.set_id,
        "models": {ticker: _model(model_set.models.get(ticker), _swing_of(model_set, ticker)) for ticker in SUPPORTED},
        "supported_tickers": list(SUPPORTED),
        "recommended_threshold": LONG_ABOVE,
        "spec_version": SPEC_VERSION,
        "engine_version": ENGINE_VERSION,
    }


def model_info(served: Services) -> Json:
    """The body of `/model_info` (v1-contract.md 5.2), about the pattern model, which does not ship."""
    return {
        "metrics": None,
        "feature_cols": [],
        "models": {},
        "combined": None,
        "version": served.version,
    }


def no_predictions() -> Json:
    """The body of `/batch_predict` without a pattern model (v1-contract.md 5.2). An entry per pattern would be shown as a
    coin's 50 %."""
    return {"predictions": [], "models_available": []}


def accuracy(model: V6Model | None) -> Json:
    """Out-of-sample accuracy of the loaded model's own evaluation, or nothing."""
    if model is None:
        return dict.fromkeys(("early", "late_a", "late_b"))
    accuracy = model.accuracy
    return {name: round(getattr(accuracy, name), 3) for name in ("early", "late_a", "late_b")}


def _swing_of(model_set: ModelSet, ticker: str) -> SwingModel | None:
    swing = model_set.swing
    return swing if swing is not None and ticker in swing.tickers else None


def _model(model: V6Model | None, swing: SwingModel | None) -> Json:
    horizons = frozenset() if swing is None else swing.horizons.keys()
    body: Json = {
        "v6_loaded": model is not None,
        "swing_loaded": horizons >= {5, 10},
        "swing_3d_loaded": 3 in horizons,
        "swing_1d_loaded": 1 in horizons,
    }
    if model is None:
        return body
    about = model.metadata
    return body | {
        "v6_accuracy": accuracy(model),
        "version": model.model_id,
        "trained_at": about["trained_at"],
        "data_end": model.data_end.isoformat(),
        "feature_count": len(about["feature_cols"]),
        "metrics": {
            "evaluated": about["evaluation"]["span"],
            "cells": [_cell(c) for c in about["evaluation"]["cells"]],
        },
        "baselines": dict(model.accuracy.baselines),
        "artifact_sha256": model.artifact_sha256,
    }


def _cell(record: Mapping[str, Any]) -> Json:
    return {key: record[key] for key in CELL_FIELDS} | {"verdict": verdict_of_record(record).value}
